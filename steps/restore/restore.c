/* restore: a source becomes what a snapshot holds (steps/sources/replace.c). */
#include "steps/sources/copies.h"
#include "base/sys/fs.h"
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
	if (in->from.copy)
		str_appendf(out, ", by its copy on %s", in->from.copy);
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
	if (s.source->outside && (in->from.name || in->from.copy))
		faults_add(faults, NULL, in->from.name ? "/from/name" : "/from/copy",
		           "what `%s` keeps is found by this deployment's records", s.source->name);
	else if (in->from.name && s.source->subject == NULL)
		faults_add(faults, NULL, "/from/name", "files are found by their paths");
}

/* The snapshot itself where it is still there, unless a copy is asked for. */
static int find_any(const struct source_call *s, struct view *v, struct source_from *from, struct plan *plan,
                    struct err *err)
{
	const json_t *given = json_object_get(s->all, "from");
	const char *only = json_get_string(given, "copy");
	struct err gone = ERR_INIT, why = ERR_INIT;

	int r = only ? ERR_NOT_FOUND : source_find_from(s, v, given, from, &gone);
	if (r != ERR_REFUSED && r != ERR_NOT_FOUND) {
		if (err && r < 0)
			*err = gone;
		return r;
	}
	r = copy_search(s, v, given, from, plan, &why);
	if (r == 0 && from->copy_name)
		return 0;
	if (r < 0)
		err_hint(&why, r, "`from: { copy, snapshot }` names another one");
	/* Nothing was copied, as far as can be seen: the snapshot is what is missing. */
	if (r == 0 && only)
		return err_hint(err, err_set(err, ERR_REFUSED, "'%s' has no copy that holds it", only),
		                "`from` names another target, snapshot or name");
	if (err)
		*err = r < 0 ? why : gone;
	return r < 0 ? r : ERR_REFUSED;
}

static int check(const struct step_context *c, struct faults *faults, struct err *err)
{
	_cleanup_(source_call_done) struct source_call s = {0};
	source_call_init(&s, c);
	return source_check_targets(&s, true, faults, err);
}

static int plan(const struct step_context *c, struct view *v, struct plan *plan, struct err *err)
{
	_cleanup_(source_call_done) struct source_call s = {0};
	_cleanup_(source_from_done) struct source_from from = {0};
	source_call_init(&s, c);
	if (source_is_elsewhere(&s, json_object_get(s.all, "from")) && !s.source->moves)
		return err_hint(err, err_set(err, ERR_REFUSED, "only dumps move between environments"),
		                "of a database `postgres` or `command`; files go by `archive-upload`");
	if (s.source->outside)
		return s.source->outside->replace(&s, v, json_object_get(s.all, "from"), plan, err);
	int r = find_any(&s, v, &from, plan, err);
	return r < 0 ? r : source_plan_replace(&s, v, &from, plan, err);
}

static int outputs(const struct step_context *c, struct view *v, struct err *err)
{
	_cleanup_(source_call_done) struct source_call s = {0};
	source_call_init(&s, c);
	return source_tell_outside(&s, v, err);
}

const struct step_type restore_step = {
	.info = &restore_info,
	.kinds = source_replace_kinds,
	.describe = describe,
	.validate = validate,
	.check = check,
	.plan = plan,
	.apply = source_apply,
	.outputs = outputs,
	.verify = source_verify,
	.undo = source_undo,
	.back = source_back,
};
