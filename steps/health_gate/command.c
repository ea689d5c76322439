/* Checks by a command on a target; it must change nothing, and only reads. */
#include "base/core/clock.h"
#include "engine/target/host.h"
#include "steps/health_gate/health_gate.h"

bool gate_query(struct gate_check *check, const struct target_command *call, const char *late,
                struct target_result *ret)
{
	struct err err = ERR_INIT;
	char text[512];
	int64_t left = gate_left_ms(check);
	int r = host_query(&check->target->view, call, ret, &err);
	if (r < 0)
		gate_result(check, false, "%s", err_line(&err, text, sizeof(text)));
	else if (ret->timed_out)
		gate_result(check, false, "%s within %s", late, clock_duration(left, text));
	check->answer.cut = ret->timed_out && left < check->in->timeout_ms;
	return r >= 0 && !ret->timed_out;
}

bool gate_ask(struct gate_check *check, const struct target_command *call, struct target_result *ret)
{
	return host_query(&check->target->view, call, ret, NULL) >= 0 && !ret->timed_out;
}

static bool is_asked(const struct health_gate_checks *in)
{
	return in->command != NULL;
}

static void label(const struct health_gate_checks *in, struct str *out)
{
	step_command_show(in->command, out);
}

static void validate(const struct health_gate_checks *in, const struct gate_place *place)
{
	_cleanup_free_ char *at = xasprintf("/checks/%zu/command", place->index);
	step_command_faults(in->command, at, place->faults);
}

static void ask(struct gate_check *check)
{
	const struct health_gate_checks *in = check->in;
	_cleanup_(arena_done) struct arena arena = ARENA_INIT;
	struct step_command command = step_command_read(in->command, &arena);
	struct target_command call = {
		.argv = command.argv,
		.script = command.script,
		.env = in->env.items,
		.env_count = in->env.count,
		.timeout_ms = gate_left_ms(check),
		.max_output = GATE_BODY_MAX,
	};
	_cleanup_(target_result_done) struct target_result result = TARGET_RESULT_INIT;
	if (!gate_query(check, &call, "did not end", &result))
		return;
	_cleanup_(str_done) struct str line = STR_INIT(4096);
	check->answer.status = result.status;
	gate_begins(check, &result.out);
	if (!step_exit_accepted(&in->exit, result.status)) {
		step_last_line(result.err.len > 0 ? &result.err : &result.out, &line);
		gate_result(check, false, "exit status %d%s%s", result.status, line.len > 0 ? ": " : "",
		            str_peek(&line));
		return;
	}
	if (!gate_text_holds(in, &result.out, "output", &line))
		gate_result(check, false, "exit status %d, but %s", result.status, str_peek(&line));
	else
		gate_result(check, true, "exit status %d", result.status);
}

const struct probe_type command_probe = {
	.name = "command", .is_asked = is_asked, .label = label, .validate = validate, .ask = ask};
