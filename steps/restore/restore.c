/* restore: a source becomes what a snapshot holds (steps/sources/replace.c). */
#include "steps/sources/sources.h"
#include "schemas/restore.h"
#include "steps/common/command.h"

static void describe(const struct step_context *c, struct str *out)
{
	_cleanup_(source_call_done) struct source_call s = {0};
	const struct restore_in *in = c->input;
	source_call_init(&s, c);
	str_append(out, "put back ");
	s.source->describe(&s, out);
	str_appendf(out, " from %s%s", in->from.snapshot ? "the snapshot " : "the newest snapshot",
	            in->from.snapshot ? in->from.snapshot : "");
	if (in->from.deployment)
		str_appendf(out, " of the deployment %s", in->from.deployment);
	if (in->from.environment)
		str_appendf(out, " in the environment %s", in->from.environment);
}

static bool is_elsewhere(const struct step_context *c)
{
	const struct restore_in *in = c->input;
	return (in->from.deployment && strcmp(in->from.deployment, c->deployment->name) != 0) ||
	       (in->from.environment && strcmp(in->from.environment, c->deployment->environment) != 0);
}

static void validate(const struct step_context *c, struct faults *faults)
{
	_cleanup_(source_call_done) struct source_call s = {0};
	const struct restore_in *in = c->input;
	source_call_init(&s, c);
	s.source->validate(&s, faults);
	step_env_faults(&in->env, "/env", faults);
	if (in->env.count > 0 && !s.source->programs)
		faults_add(faults, NULL, "/env", "`%s` runs no programs that could use variables", s.source->name);
	if (in->from.name && s.source->subject == NULL)
		faults_add(faults, NULL, "/from/name", "files are found by their paths");
}

static int plan(const struct step_context *c, struct view *v, struct plan *plan, struct err *err)
{
	_cleanup_(source_call_done) struct source_call s = {0};
	_cleanup_(source_from_done) struct source_from from = {0};
	source_call_init(&s, c);
	if (is_elsewhere(c) && !s.source->moves)
		return err_hint(err, err_set(err, ERR_REFUSED, "only dumps move between environments"),
		                "of a database `postgres` or `command`; files go by `archive-upload`");
	int r = source_find_from(&s, v, json_object_get(s.all, "from"), &from, err);
	return r < 0 ? r : source_plan_replace(&s, v, &from, plan, err);
}

const struct step_type restore_step = {
	.info = &restore_info,
	.kinds = source_replace_kinds,
	.describe = describe,
	.validate = validate,
	.plan = plan,
	.apply = source_apply,
	.verify = source_verify,
	.undo = source_undo,
	.back = source_back,
};
