/* run: a command on a target. Its effect cannot be looked at, so the author says how to take it back: `undo`, in
 * its turn among the other changes, or `after_undo`, once everything is restored. */
#include "engine/alone/alone.h"
#include "steps/common/command.h"
#include "base/secret/mask.h"
#include "base/core/shown.h"
#include "schemas/run.h"

static void show(const struct step_context *c, struct str *out)
{
	const struct run_in *in = c->input;
	if (in->command != NULL) {
		step_command_show(in->command, out);
		return;
	}
	_cleanup_json_ json_t *script = json_string(in->script != NULL ? in->script : "");
	step_command_show(script, out);
}

static void describe(const struct step_context *c, struct str *out)
{
	str_append(out, "run `");
	show(c, out);
	str_append(out, "`");
}

static void validate(const struct step_context *c, struct faults *faults)
{
	const struct run_in *in = c->input;
	step_command_faults(in->command, "/command", faults);
	if (in->script != NULL && mask_finds(mask_process(), in->script, strlen(in->script))) {
		faults_add(faults, NULL, "/script", "a secret is part of the script");
		faults_hint(faults, "give it by `env:` and let the script use the variable");
	}
	if (!step_command_is_none(in->undo))
		step_command_faults(in->undo, "/undo", faults);
	if (step_command_is_none(in->after_undo))
		faults_add(faults, NULL, "/after_undo", "leave `after_undo` out when nothing has to run");
	else
		step_command_faults(in->after_undo, "/after_undo", faults);
	step_env_faults(&in->env, "/env", faults);
	if (in->timeout_ms <= 0)
		faults_add(faults, NULL, "/timeout", "the time must be longer than nothing");
}

/* The parts that the plan's digest counts: the commands, and the names of the variables. */
static json_t *digested(const struct step_context *c)
{
	const struct run_in *in = c->input;
	json_t *plan = json_object();
	if (in->command != NULL)
		json_object_set(plan, "command", (json_t *)(uintptr_t)in->command);
	else
		json_object_set_new(plan, "script", json_string(in->script));
	if (in->undo != NULL)
		json_object_set(plan, "undo", (json_t *)(uintptr_t)in->undo);
	if (in->after_undo != NULL)
		json_object_set(plan, "after_undo", (json_t *)(uintptr_t)in->after_undo);
	if (in->cwd != NULL)
		json_object_set_new(plan, "cwd", json_string(in->cwd));
	if (in->become_user != NULL)
		json_object_set_new(plan, "become_user", json_string(in->become_user));
	if (in->env.count > 0) {
		json_t *names = json_array();
		for (size_t i = 0; i < in->env.count; i++)
			json_array_append_new(names, json_string(in->env.items[i].key));
		json_object_set_new(plan, "env", names);
	}
	return plan;
}

static int plan_run(const struct step_context *c, struct view *v, struct plan *plan, struct err *err)
{
	(void)err;
	const struct run_in *in = c->input;
	if (in->when == RUN_WHEN_CHANGED && c->changed_before != NULL &&
	    !c->changed_before(c->engine, c->index, v->name))
		return 0;
	struct change *change = plan_add(plan, &change_command, ACTION_RUN, in->cwd != NULL ? in->cwd : "/");
	if (change->extra == NULL)
		change->extra = json_object();
	json_object_set_new(change->extra, "plan", digested(c));
	_cleanup_(str_done) struct str text = STR_INIT(16384);
	show(c, &text);
	if (in->undo == NULL && in->after_undo == NULL) {
		strv_addf(&plan->warnings,
		          "`%s` has neither `undo` nor `after_undo`: a rollback cannot take its effect back",
		          str_peek(&text));
		str_append(&text, " (no undo)");
	} else if (in->undo != NULL && !step_command_is_none(in->undo)) {
		str_append(&text, " (undo: ");
		step_command_show(in->undo, &text);
		str_append_c(&text, ')');
	} else if (in->after_undo != NULL) {
		str_append(&text, " (after undo: ");
		step_command_show(in->after_undo, &text);
		str_append_c(&text, ')');
	}
	for (size_t i = 0; i < in->env.count; i++)
		str_appendf(&text, "%s%s", i == 0 ? " with " : ", ", in->env.items[i].key);
	free(change->summary);
	change->summary = str_take(&text);
	return 0;
}

static int run_one(const struct step_context *c, struct target *t, const json_t *value, const char *former,
                   bool checks_exit, struct err *err)
{
	const struct run_in *in = c->input;
	_cleanup_(arena_done) struct arena arena = ARENA_INIT;
	struct step_command command = {.script = in->script};
	if (value != NULL)
		command = step_command_read(value, &arena);
	if (command.script != NULL)
		command.script = arena_printf(&arena, "set -e\n%s", command.script);
	struct step_run_options o = {
		.env = &in->env,
		.cwd = in->cwd,
		.user = in->become_user,
		.timeout_ms = in->timeout_ms,
		.exit_list = checks_exit ? &in->exit : NULL,
		.extra_name = former != NULL ? "DAVIT_FORMER_RELEASE" : NULL,
		.extra_value = former,
	};
	return step_command_run(c, t, &command, &o, err);
}

static int apply(const struct step_context *c, struct target *t, struct change *change, struct err *err)
{
	(void)change;
	const struct run_in *in = c->input;
	int r = run_one(c, t, in->command, NULL, true, err);
	if (r == 0)
		return 0;
	_cleanup_(str_done) struct str text = STR_INIT(16384);
	show(c, &text);
	_cleanup_free_ char *shown = shown_text(str_peek(&text), text.len, 200);
	return err_wrap(err, r, "`%s` on '%s'", shown, t->view.name);
}

/* Nothing that could be looked at: the exit status was the proof. */
static int verify(const struct step_context *c, struct view *v, const struct change *change, struct err *err)
{
	(void)c;
	(void)v;
	(void)change;
	(void)err;
	return 0;
}

static int undo(const struct step_context *c, struct target *t, const struct change *change, struct err *err)
{
	const struct run_in *in = c->input;
	if (step_command_is_none(in->undo) || (in->undo == NULL && in->after_undo != NULL))
		return 1;
	if (in->undo == NULL)
		return err_hint(
			err,
			err_set(err, ERR_UNSUPPORTED, "`%s` has no `undo`: its effect stays",
		                change->summary != NULL ? change->summary : "run"),
			"take it back by hand; give the step `undo:`, `after_undo:` or `undo: none` for the next time");
	int r = run_one(c, t, in->undo, NULL, false, err);
	return r < 0 ? err_wrap(err, r, "undo of `run` on '%s'", t->view.name) : 0;
}

static int restore(const struct step_context *c, struct target *t, const char *former_release, struct err *err)
{
	const struct run_in *in = c->input;
	if (in->after_undo == NULL)
		return 0;
	if (former_release == NULL && in->when_none == RUN_WHEN_NONE_SKIP) {
		if (c->report != NULL)
			c->report(
				c->engine,
				"after_undo is left out: '%s' had nothing of an earlier deployment (when_none: run would run it)",
				t->view.name);
		return 0;
	}
	int r = run_one(c, t, in->after_undo, former_release == NULL ? "" : former_release, false, err);
	return r < 0 ? err_wrap(err, r, "after_undo on '%s'", t->view.name) : 0;
}

/* What lies on a target for later holds nothing that may be a secret. */
static int may_run_alone(const struct run_in *in, struct err *err)
{
	if (in->env.count > 0)
		return err_set(err, ERR_UNSUPPORTED, "its variables may be secrets, which are not left on a target");
	if (in->become_user != NULL)
		return err_set(err, ERR_UNSUPPORTED, "it runs as the user '%s'", in->become_user);
	return 0;
}

static int command_alone(const struct run_in *in, const char *what, int64_t id, const json_t *value, struct str *out,
                         struct err *err)
{
	_cleanup_(arena_done) struct arena arena = ARENA_INIT;
	struct step_command command = step_command_read(value, &arena);
	struct alone_command alone = {.argv = command.argv, .cwd = in->cwd, .timeout_ms = in->timeout_ms};
	int r = may_run_alone(in, err);
	if (r < 0)
		return r;
	if (command.script != NULL)
		alone.script = arena_printf(&arena, "set -e\n%s", command.script);
	alone_line_command(what, id, &alone, out);
	return 0;
}

static int undo_alone(const struct step_context *c, const struct change *change, struct str *out, struct err *err)
{
	const struct run_in *in = c->input;
	if (step_command_is_none(in->undo) || (in->undo == NULL && in->after_undo != NULL))
		return 0;
	if (in->undo == NULL)
		return err_set(err, ERR_UNSUPPORTED, "it has no `undo`");
	return command_alone(in, "undo", change->id, in->undo, out, err);
}

static int restore_alone(const struct step_context *c, const char *former_release, struct str *out, struct err *err)
{
	const struct run_in *in = c->input;
	if (in->after_undo == NULL || (former_release == NULL && in->when_none == RUN_WHEN_NONE_SKIP))
		return 0;
	return command_alone(in, "after", c->index, in->after_undo, out, err);
}

static void describe_after(const struct step_context *c, struct str *out)
{
	const struct run_in *in = c->input;
	if (in->after_undo == NULL)
		return;
	str_append(out, "run `");
	step_command_show(in->after_undo, out);
	str_append(out, "`");
}

const struct step_type run_step = {
	.info = &run_info,
	.describe = describe,
	.validate = validate,
	.plan = plan_run,
	.apply = apply,
	.verify = verify,
	.undo = undo,
	.restore = restore,
	.after = describe_after,
	.undo_alone = undo_alone,
	.restore_alone = restore_alone,
};
