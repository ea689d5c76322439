/* snapshot: keeps a source (steps/sources) as it is before it is changed; a rollback with --data replaces it by what was kept. */
#include "steps/sources/copies.h"
#include "schemas/snapshot.h"
#include "steps/common/command.h"

static bool is_restored(const struct source_call *s)
{
	return json_get_bool(s->in, "restore_on_rollback", false);
}

static void describe(const struct step_context *c, struct str *out)
{
	_cleanup_(source_call_done) struct source_call s = {0};
	source_call_init(&s, c);
	str_appendf(out, "%s ", s.source->verb);
	s.source->describe(&s, out);
	if (is_restored(&s))
		str_append(out, ", put back on a rollback");
}

static void validate(const struct step_context *c, struct faults *faults)
{
	_cleanup_(source_call_done) struct source_call s = {0};
	const struct snapshot_in *in = c->input;
	source_call_init(&s, c);
	s.source->validate(&s, faults);
	copies_validate(&s, faults);
	step_env_faults(&in->env, "/env", faults);
	if (s.source->outside && json_object_get(s.all, "copies"))
		faults_add(faults, NULL, "/copies", "what `%s` keeps stays where it is: there are no copies of it",
		           s.source->name);
	if (in->env.count > 0 && !s.source->programs)
		faults_add(faults, NULL, "/env", "`%s` runs no programs that could use variables", s.source->name);
}

static int check(const struct step_context *c, struct faults *faults, struct err *err)
{
	_cleanup_(source_call_done) struct source_call s = {0};
	source_call_init(&s, c);
	return source_check_targets(&s, is_restored(&s), faults, err);
}

static int plan(const struct step_context *c, struct view *v, struct plan *plan, struct err *err)
{
	_cleanup_(source_call_done) struct source_call s = {0};
	source_call_init(&s, c);
	size_t before = plan->count;
	if (s.source->outside)
		return s.source->outside->keep(&s, v, is_restored(&s), plan, err);
	int r = source_plan_snapshot(&s, v, is_restored(&s), plan, err);
	return r < 0 || plan->count == before ? r : copies_plan(&s, v, plan, &plan->changes[before], err);
}

static int clean(const struct step_context *c, struct target *t, struct err *err)
{
	_cleanup_(source_call_done) struct source_call s = {0};
	source_call_init(&s, c);
	return s.source->outside ? s.source->outside->clean(&s, t, err) : source_clean(&s, t, err);
}

static int outputs(const struct step_context *c, struct view *v, struct err *err)
{
	_cleanup_(source_call_done) struct source_call s = {0};
	source_call_init(&s, c);
	return source_tell_outside(&s, v, err);
}

const struct step_type snapshot_step = {
	.info = &snapshot_info,
	.kinds = source_replace_kinds,
	.describe = describe,
	.validate = validate,
	.check = check,
	.plan = plan,
	.apply = source_apply,
	.outputs = outputs,
	.verify = source_verify,
	.undo = source_undo,
	.clean = clean,
	.back = source_back,
	.back_to = source_back_to,
};
