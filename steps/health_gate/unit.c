/* A unit of systemd, as `systemctl show` describes it: one NAME=VALUE a line. */
#include "steps/health_gate/health_gate.h"

enum { SETTLE_MS = 10000, VALUE_MAX = 256, LOG_MS = 5000 };

struct unit_state {
	char load[VALUE_MAX], active[VALUE_MAX], sub[VALUE_MAX], result[VALUE_MAX], restarts[VALUE_MAX],
		code[VALUE_MAX], invocation[VALUE_MAX];
};

static bool is_asked(const struct health_gate_checks *in)
{
	return in->has_unit;
}

static void label(const struct health_gate_checks *in, struct str *out)
{
	str_appendf(out, "unit %s", in->unit.name);
}

static void read_state(const struct str *text, struct unit_state *ret)
{
	const struct {
		const char *name;
		char *value;
	} members[] = {{"LoadState=", ret->load},         {"ActiveState=", ret->active}, {"SubState=", ret->sub},
	               {"Result=", ret->result},          {"NRestarts=", ret->restarts}, {"ExecMainStatus=", ret->code},
	               {"InvocationID=", ret->invocation}};
	for (const char *line = str_peek(text); *line != '\0';) {
		size_t len = strcspn(line, "\n");
		for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
			size_t name = strlen(members[i].name);
			if (strncmp(line, members[i].name, name) == 0)
				snprintf(members[i].value, VALUE_MAX, "%.*s", (int)(len - name), line + name);
		}
		line += len + (line[len] == '\n');
	}
}

static void take_log(struct gate_check *check)
{
	static const char script[] = "exec journalctl $1 -u \"$2\" -n \"$3\" -o cat --no-pager 2>/dev/null";
	char count[16];
	snprintf(count, sizeof(count), "%d", GATE_LOG_LINES);
	const char *const argv[] = {
		"sh", "-c", script, "sh", check->in->unit.user ? "--user" : "", check->in->unit.name, count, NULL};
	const struct target_command call = {
		.argv = argv, .timeout_ms = MIN(gate_left_ms(check), (int64_t)LOG_MS), .max_output = GATE_BODY_MAX};
	_cleanup_(target_result_done) struct target_result result = TARGET_RESULT_INIT;
	if (gate_ask(check, &call, &result) && result.status == 0)
		gate_log_tail(check, check->in->unit.name, &result.out);
}

static void judge(struct gate_check *check, const struct unit_state *s)
{
	long long restarts = 0;
	bool ok = strcmp(s->active, "active") == 0;
	bool restarted = str_parse_i64(s->restarts, 1, INT32_MAX, &restarts);
	check->answer.incarnation = xasprintf("%s#%s", s->invocation, s->restarts);
	if (strcmp(s->load, "not-found") == 0) {
		gate_result(check, false, "there is no such unit");
		return;
	}
	if (!ok || restarted)
		take_log(check);
	_cleanup_free_ char *times =
		restarted ? xasprintf(", was restarted %lld time%s", restarts, restarts == 1 ? "" : "s") : NULL;
	if (ok)
		gate_result(check, true, "is active (%s)%s", s->sub, times != NULL ? times : "");
	else
		gate_result(check, false, "is %s (%s%s%s, exit code %s)%s", *s->active != '\0' ? s->active : "unknown",
		            s->sub, *s->result != '\0' ? ", " : "", s->result, *s->code != '\0' ? s->code : "?",
		            times != NULL ? times : "");
}

static void ask(struct gate_check *check)
{
	static const char properties[] = "LoadState,ActiveState,SubState,Result,NRestarts,ExecMainStatus,InvocationID";
	const char *const argv[] = {"systemctl",
	                            check->in->unit.user ? "--user" : "--system",
	                            "show",
	                            "--property",
	                            properties,
	                            "--",
	                            check->in->unit.name,
	                            NULL};
	const struct target_command call = {.argv = argv,
	                                    .env = check->in->env.items,
	                                    .env_count = check->in->env.count,
	                                    .timeout_ms = gate_left_ms(check),
	                                    .max_output = GATE_BODY_MAX};
	_cleanup_(target_result_done) struct target_result result = TARGET_RESULT_INIT;
	_cleanup_(str_done) struct str line = STR_INIT(4096);
	struct unit_state state = {0};
	if (!gate_query(check, &call, "systemctl did not end", &result))
		return;
	step_last_line(&result.err, &line);
	if (result.status != 0) {
		gate_result(check, false, "%s", line.len > 0 ? str_peek(&line) : "systemctl gave no answer");
		return;
	}
	read_state(&result.out, &state);
	judge(check, &state);
}

static int can_ask(const struct health_gate_checks *in, struct view *v, const struct gate_place *place, struct err *err)
{
	(void)in;
	return gate_needs_program(v, "systemctl", "the target has no systemd: ask by a `command`", place, err);
}

const struct probe_type unit_probe = {
	.name = "unit", .is_asked = is_asked, .label = label, .settle_ms = SETTLE_MS, .ask = ask, .can_ask = can_ask};
