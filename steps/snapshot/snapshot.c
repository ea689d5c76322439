/* snapshot: keeps a source (steps/sources) as it is before it is changed. */
#include "steps/sources/sources.h"
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
	step_env_faults(&in->env, "/env", faults);
	if (in->env.count > 0 && !s.source->programs)
		faults_add(faults, NULL, "/env", "`%s` runs no programs that could use variables", s.source->name);
}

static int plan(const struct step_context *c, struct view *v, struct plan *plan, struct err *err)
{
	_cleanup_(source_call_done) struct source_call s = {0};
	source_call_init(&s, c);
	return source_plan_snapshot(&s, v, is_restored(&s), plan, err);
}

static int apply(const struct step_context *c, struct target *t, struct change *change, struct err *err)
{
	_cleanup_(source_call_done) struct source_call s = {0};
	source_call_init(&s, c);
	return source_make(&s, t, change, err);
}

static int verify(const struct step_context *c, struct view *v, const struct change *change, struct err *err)
{
	(void)c;
	return source_check(v, change->path, NULL, err);
}

static int undo(const struct step_context *c, struct target *t, const struct change *change, struct err *err)
{
	_cleanup_(source_call_done) struct source_call s = {0};
	source_call_init(&s, c);
	return source_undo(&s, t, change, err);
}

/* An undo has put the content back by itself; what a dead rollback was about to put back is left to the next one. */
static int restore(const struct step_context *c, struct target *t, const char *former_release, struct err *err)
{
	_cleanup_(source_call_done) struct source_call s = {0};
	source_call_init(&s, c);
	return c->deployment->undoing ? source_sweep_all(&s, t, err)
	                              : source_put_back_newest(&s, t, former_release, err);
}

static void describe_after(const struct step_context *c, struct str *out)
{
	_cleanup_(source_call_done) struct source_call s = {0};
	if (c->deployment->undoing)
		return;
	source_call_init(&s, c);
	str_append(out, "put back what was kept before that release of ");
	s.source->describe(&s, out);
}

static int clean(const struct step_context *c, struct target *t, struct err *err)
{
	_cleanup_(source_call_done) struct source_call s = {0};
	source_call_init(&s, c);
	return source_clean(&s, t, err);
}

const struct step_type snapshot_step = {
	.info = &snapshot_info,
	.describe = describe,
	.validate = validate,
	.plan = plan,
	.apply = apply,
	.verify = verify,
	.undo = undo,
	.restore = restore,
	.after = describe_after,
	.clean = clean,
};
