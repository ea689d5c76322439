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

/* Of what `from` means on the targets of the deployment, the newest. */
static int search_copies(const struct source_call *s, struct view *v, const json_t *from, struct copy_found *ret,
                         struct err *err)
{
	const char *only = json_get_string(from, "copy"), *name;
	json_t *ignored;

	if (only)
		return copy_find(s, v, only, from, ret, err);
	json_object_foreach((json_t *)(uintptr_t)s->c->deployment->targets, name, ignored)
	{
		struct copy_found one _cleanup_(copy_found_done) = {0};
		int r = strcmp(name, v->name) == 0 ? 0 : copy_find(s, v, name, from, &one, err);
		if (r < 0)
			return r;
		if (one.name == NULL || (ret->name && strcmp(one.name, ret->name) <= 0))
			continue;
		copy_found_done(ret);
		*ret = one;
		one = (struct copy_found){0};
	}
	return 0;
}

/* The snapshot itself where it is still there, unless a copy is asked for. */
static int find_any(const struct source_call *s, struct view *v, struct source_from *from, struct copy_found *copy,
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
	r = search_copies(s, v, given, copy, &why);
	if (copy->name) {
		from->path = source_fetched_dir(s->c, v);
		from->head = json_incref(copy->head);
		from->copy_target = xstrdup(copy->target);
		from->copy_name = xstrdup(copy->name);
		return 0;
	}
	/* Nothing was copied, as far as can be seen: the snapshot is what is missing. */
	if (r == 0 && only)
		return err_hint(err, err_set(err, ERR_REFUSED, "'%s' has no copy that holds it", only),
		                "`from` names another target, snapshot or name");
	if (err)
		*err = r < 0 ? why : gone;
	return r < 0 ? r : ERR_REFUSED;
}

/* Its tar, and what is in it. */
static int check_room_for(struct view *v, const struct copy_found *copy, struct plan *plan, struct err *err)
{
	const struct source_sizes sizes = {.bytes = 2 * copy->bytes, .files = 1};
	int64_t room;

	return source_check_space(v, &sizes, plan, &room, err);
}

static int plan(const struct step_context *c, struct view *v, struct plan *plan, struct err *err)
{
	_cleanup_(source_call_done) struct source_call s = {0};
	_cleanup_(source_from_done) struct source_from from = {0};
	struct copy_found copy _cleanup_(copy_found_done) = {0};
	source_call_init(&s, c);
	if (is_elsewhere(c) && !s.source->moves)
		return err_hint(err, err_set(err, ERR_REFUSED, "only dumps move between environments"),
		                "of a database `postgres` or `command`; files go by `archive-upload`");
	int r = find_any(&s, v, &from, &copy, err);
	if (r == 0 && copy.name)
		r = check_room_for(v, &copy, plan, err);
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
