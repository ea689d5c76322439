/* What the checks of containers share: what `docker inspect` says of one, read. */
#include "base/core/clock.h"
#include "base/data/json.h"
#include "steps/health_gate/health_gate.h"

enum { LOG_MS = 5000 };

const char gate_docker_format[] =
	"{\"id\":{{json .Id}},\"name\":{{json .Name}},\"created\":{{json .Created}},\"state\":{{json .State}},\"restarts\":{{json .RestartCount}},"
	"\"labels\":{{json .Config.Labels}}}";

static void add_health(const json_t *health, struct str *why)
{
	const json_t *log = json_get_array(health, "Log");
	const char *said = json_get_string(json_array_get(log, json_array_size(log) - 1), "Output");
	_cleanup_(str_done) struct str text = STR_INIT(64 << 10), line = STR_INIT(4096);
	str_append(why, "is unhealthy");
	str_append(&text, said != NULL ? said : "");
	step_last_line(&text, &line);
	if (line.len > 0)
		str_appendf(why, ": %s", str_peek(&line));
}

static bool is_running_well(const json_t *state, struct str *why)
{
	const json_t *health = json_get_object(state, "Health");
	const char *is = json_get_string(health, "Status");
	if (is == NULL || strcmp(is, "healthy") == 0 || strcmp(is, "none") == 0)
		return true;
	if (strcmp(is, "unhealthy") == 0)
		add_health(health, why);
	else
		str_appendf(why, "runs, its health is '%s'", is);
	return false;
}

bool gate_container_is_well(const json_t *container, bool may_end, bool *ret_runs, struct str *why)
{
	const json_t *state = json_get_object(container, "state");
	const char *status = json_get_string(state, "Status");
	long long code = json_get_int(state, "ExitCode", -1);
	*ret_runs = status != NULL && strcmp(status, "running") == 0;
	if (*ret_runs)
		return is_running_well(state, why);
	if (status != NULL && strcmp(status, "exited") == 0 && code == 0 && may_end)
		return true;
	str_appendf(why, "is %s", status != NULL ? status : "unknown");
	if (status != NULL && (strcmp(status, "exited") == 0 || strcmp(status, "restarting") == 0))
		str_appendf(why, " (exit code %lld)", code);
	return false;
}

void gate_container_incarnation(const json_t *container, struct str *out)
{
	const char *id = json_get_string(container, "id"),
		   *since = json_get_string(json_get_object(container, "state"), "StartedAt");
	str_appendf(out, "%s@%s#%lld ", id != NULL ? id : "", since != NULL ? since : "",
	            (long long)json_get_int(container, "restarts", 0));
}

void gate_container_log(struct gate_check *check, const json_t *container, const char *who)
{
	const char *id = json_get_string(container, "id");
	char count[16];
	snprintf(count, sizeof(count), "%d", GATE_LOG_LINES);
	const char *const argv[] = {"sh", "-c", "exec docker logs --tail \"$2\" \"$1\" 2>&1", "sh", id, count, NULL};
	const struct target_command call = {
		.argv = argv,
		.env = check->in->env.items,
		.env_count = check->in->env.count,
		.timeout_ms = MIN(gate_left_ms(check), (int64_t)LOG_MS),
		.max_output = GATE_BODY_MAX,
	};
	_cleanup_(target_result_done) struct target_result result = TARGET_RESULT_INIT;
	if (id != NULL && gate_ask(check, &call, &result) && result.status == 0)
		gate_log_tail(check, who, &result.out);
}

bool gate_docker(struct gate_check *check, const char *const *argv, struct target_result *ret)
{
	const struct target_command call = {
		.argv = argv,
		.env = check->in->env.items,
		.env_count = check->in->env.count,
		.timeout_ms = gate_left_ms(check),
		.max_output = GATE_DOCKER_MAX,
	};
	if (!gate_query(check, &call, "the engine gave no answer", ret))
		return false;
	if (ret->status == 0)
		return true;
	_cleanup_(str_done) struct str line = STR_INIT(4096);
	step_last_line(&ret->err, &line);
	gate_result(check, false, "%s", line.len > 0 ? str_peek(&line) : "the engine gave no answer");
	return false;
}

int gate_docker_can_ask(const struct health_gate_checks *in, struct view *v, const struct gate_place *place,
                        struct err *err)
{
	(void)in;
	return gate_needs_program(v, "docker", "install the engine's command line there", place, err);
}
