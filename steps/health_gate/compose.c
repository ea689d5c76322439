/* The containers of a compose project, found by the label that compose gives them: it needs no compose file, and no compose. */
#include "base/core/clock.h"
#include "base/data/json.h"
#include "steps/health_gate/health_gate.h"

enum { SETTLE_MS = 10000, TEXT_MAX = 8192, LOGS_MAX = 3 };

static const char find_all[] =
	"ids=$(docker ps -aq --no-trunc --filter \"label=com.docker.compose.project=$1\") || exit\n"
	"[ -n \"$ids\" ] || exit 0\n"
	"exec docker inspect --type container --format \"$2\" $ids";

static bool is_asked(const struct health_gate_checks *in)
{
	return in->has_compose;
}

static void label(const struct health_gate_checks *in, struct str *out)
{
	str_appendf(out, "compose project %s", in->compose.project);
}

struct project {
	struct gate_check *check;
	struct str why, incarnation;
	struct strv running; /* services */
	size_t count, ended, logs;
};

static bool must_run(const struct health_gate_checks_compose *in, const char *service)
{
	for (size_t i = 0; i < in->services.count; i++)
		if (strcmp(in->services.items[i], service) == 0)
			return true;
	return false;
}

static bool differs(const json_t *a, const json_t *b, const char *label)
{
	const char *x = json_get_string(a, label), *y = json_get_string(b, label);
	return x != NULL && y != NULL && strcmp(x, y) != 0;
}

static bool is_of_one_service(const json_t *a, const json_t *b)
{
	const char *x = json_get_string(a, "com.docker.compose.service"),
		   *y = json_get_string(b, "com.docker.compose.service");
	return x != NULL && y != NULL && strcmp(x, y) == 0;
}

/* Of one service, made before `other`, of another configuration or image. */
static bool is_older(const json_t *container, const json_t *other)
{
	const json_t *mine = json_get_object(container, "labels"), *labels = json_get_object(other, "labels");
	const char *made = json_get_string(container, "created"), *other_made = json_get_string(other, "created");
	int64_t at, other_at;
	return made != NULL && other_made != NULL && clock_parse_rfc3339(made, &at) == 0 &&
	       clock_parse_rfc3339(other_made, &other_at) == 0 && at < other_at && is_of_one_service(mine, labels) &&
	       (differs(mine, labels, "com.docker.compose.config-hash") ||
	        differs(mine, labels, "com.docker.compose.image"));
}

static bool is_up(const json_t *container)
{
	const char *status = json_get_string(json_get_object(container, "state"), "Status");
	return status != NULL && strcmp(status, "running") == 0;
}

static bool has_newer(const json_t *all, const json_t *container, bool that_runs)
{
	size_t i;
	json_t *other;
	json_array_foreach((json_t *)(uintptr_t)all, i, other)
	{
		if (is_older(container, other) && (!that_runs || is_up(other)))
			return true;
	}
	return false;
}

static bool has_older_that_runs(const json_t *all, const json_t *container)
{
	size_t i;
	json_t *other;
	json_array_foreach((json_t *)(uintptr_t)all, i, other)
	{
		if (is_older(other, container) && is_up(other))
			return true;
	}
	return false;
}

/* What a replacement keeps until the commit stands still beside a newer one that runs. */
static bool is_former(const json_t *all, const json_t *container)
{
	return !is_up(container) && has_newer(all, container, true);
}

static void add_container(struct project *p, const json_t *all, const json_t *container)
{
	const json_t *labels = json_get_object(container, "labels");
	const char *service = json_get_string(labels, "com.docker.compose.service"),
		   *once = json_get_string(labels, "com.docker.compose.oneoff");
	_cleanup_(str_done) struct str why = STR_INIT(4096);
	bool runs;
	/* Of `compose run`: no part of what is deployed. */
	if (service == NULL || (once != NULL && strcmp(once, "True") == 0))
		return;
	/* One whose former version still runs is no task that ends. */
	bool may_end = !must_run(&p->check->in->compose, service) && !has_older_that_runs(all, container);
	bool ok = gate_container_is_well(container, may_end, &runs, &why);
	long long restarts = json_get_int(container, "restarts", 0);
	p->count++;
	p->ended += !runs;
	if (runs && !has_newer(all, container, false))
		strv_add(&p->running, service);
	if (runs)
		gate_container_incarnation(container, &p->incarnation);
	if (!ok)
		str_appendf(&p->why, "%s%s %s", p->why.len > 0 ? "; " : "", service, str_peek(&why));
	if (restarts > 0)
		str_appendf(&p->why, "%s%s was restarted %lld time%s", p->why.len > 0 ? "; " : "", service, restarts,
		            restarts == 1 ? "" : "s");
	p->check->answer.ok = p->check->answer.ok && ok;
	if ((!ok || restarts > 0) && p->logs++ < LOGS_MAX)
		gate_container_log(p->check, container, service);
}

static void judge(struct project *p)
{
	const struct health_gate_checks_compose *in = &p->check->in->compose;
	bool ok = p->check->answer.ok && p->count > 0;
	for (size_t i = 0; i < in->services.count; i++) {
		if (strv_has(&p->running, in->services.items[i]))
			continue;
		ok = false;
		str_appendf(&p->why, "%s%s does not run", p->why.len > 0 ? "; " : "", in->services.items[i]);
	}
	if (p->count == 0 && p->why.len == 0)
		str_append(&p->why, "has no container");
	p->check->answer.incarnation = str_take(&p->incarnation);
	_cleanup_free_ char *ended = p->ended > 0 ? xasprintf(", %zu ended with 0", p->ended) : NULL;
	if (ok)
		gate_result(p->check, true, "%zu run%s%s%s", p->count - p->ended, ended != NULL ? ended : "",
		            p->why.len > 0 ? "; " : "", str_peek(&p->why));
	else
		gate_result(p->check, false, "%s", str_peek(&p->why));
}

static void read_containers(struct project *p, const struct str *text)
{
	_cleanup_json_ json_t *all = json_array();
	size_t i;
	json_t *one;
	for (const char *line = str_peek(text); *line != '\0';) {
		size_t len = strcspn(line, "\n");
		json_t *container = NULL;
		if (json_parse(line, len, GATE_DOCKER_MAX, &container, NULL) == 0)
			json_array_append_new(all, container);
		line += len + (line[len] == '\n');
	}
	json_array_foreach(all, i, one) if (!is_former(all, one)) add_container(p, all, one);
}

static void ask(struct gate_check *check)
{
	const char *const argv[] = {"sh", "-c", find_all, "sh", check->in->compose.project, gate_docker_format, NULL};
	_cleanup_(target_result_done) struct target_result result = TARGET_RESULT_INIT;
	struct project p = {.check = check, .why = STR_INIT(TEXT_MAX), .incarnation = STR_INIT(GATE_BODY_MAX)};
	if (!gate_docker(check, argv, &result))
		return;
	check->answer.ok = true;
	read_containers(&p, &result.out);
	judge(&p);
	str_done(&p.why);
	str_done(&p.incarnation);
	strv_done(&p.running);
}

const struct probe_type compose_probe = {.name = "compose",
                                         .is_asked = is_asked,
                                         .label = label,
                                         .settle_ms = SETTLE_MS,
                                         .ask = ask,
                                         .can_ask = gate_docker_can_ask};
