/* The changes of a deployment whose journal is not here, from the copies on its targets. A target speaks for itself only: each record
 * counts for the target it lies on, for a step of the file that is the step that ran, and for a path which that step may touch. A record
 * that does not match is never acted on: a person decides. */
#include "engine/run/run_priv.h"

#include "base/secret/digest.h"
#include "base/sys/fs.h"
#include <inttypes.h>
#include <string.h>

static int refuse(const struct etarget *et, const struct change *c, struct err *err, const char *why)
{
	return err_set(err, ERR_CONFLICT, "the record of change %" PRId64 " ('%s') on '%s' %s", c->id, c->path,
	               et->name, why);
}

/* ---- the step ---- */

void engine_step_identity(struct engine *e, struct estep *s)
{
	_cleanup_json_ json_t *step = engine_digest_step(e, s);
	/* Without a table no member of its input is a secret. */
	if (s->type->info->inputs == NULL)
		json_object_set(step, "input", s->input);
	_cleanup_free_ char *text = json_canonical(step);
	digest_of(text, strlen(text), s->identity);
}

static bool step_is_on(const struct estep *s, const char *target)
{
	for (size_t i = 0; i < s->target_count; i++)
		if (strcmp(s->etargets[i]->name, target) == 0)
			return true;
	return false;
}

/* An old record does not have its inputs. */
static const char *step_differs(const struct estep *s, const char *step, const char *id, const char *identity)
{
	if (step == NULL || strcmp(step, s->type->info->name) != 0 || (id && strcmp(id, s->id) != 0))
		return "is not of the step that stands there in the file";
	return identity && strcmp(identity, s->identity) != 0 ? "was made with other inputs than the file has now"
	                                                      : NULL;
}

int engine_check_steps(struct engine *e, const json_t *steps, struct err *err)
{
	for (size_t i = 0; i < json_array_size(steps); i++) {
		const json_t *ran = json_array_get(steps, i);
		int64_t index = json_get_int(ran, "index", -1);
		const char *name = json_get_string(ran, "step");
		if (!json_get_bool(ran, "begun", false))
			continue;
		const char *why = index < 0 || (size_t)index >= e->step_count
		                          ? "is not in the file any more"
		                          : step_differs(&e->steps[index], name, json_get_string(ran, "id"),
		                                         json_get_string(ran, "inputs"));
		if (why)
			return err_set(err, ERR_CONFLICT, "step %" PRId64 " (%s) of %s %s", index + 1,
			               name ? name : "?", e->id, why);
	}
	return 0;
}

/* ---- the path ---- */

struct place {
	const char *path;
	bool ancestors; /* directories above the step's paths count too: they are removed only when they are empty */
	bool found;
};

static void look_in(const json_t *value, struct place *p);

/* allow_destroy names removals by kind and path. */
static const char *without_kind(const char *text)
{
	static const char *const kinds[] = {"file:", "directory:", "link:"};
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (str_starts(text, kinds[i]))
			return text + strlen(kinds[i]);
	return text;
}

static void compare(const char *text, struct place *p)
{
	char *named = NULL;
	text = without_kind(text);
	if (text[0] == '/' && fs_normalize(text, &named, NULL) == 0)
		p->found = p->found || fs_below(named, p->path) || (p->ancestors && fs_below(p->path, named));
	free(named);
}

static void look_in(const json_t *value, struct place *p)
{
	const char *key;
	json_t *member;
	if (json_is_string(value))
		compare(json_string_value(value), p);
	for (size_t i = 0; json_is_array(value) && i < json_array_size(value); i++)
		look_in(json_array_get(value, i), p);
	json_object_foreach((json_t *)value, key, member)
	{
		compare(key, p);
		look_in(member, p);
	}
}

static bool is_normal(const char *path)
{
	_cleanup_free_ char *normal = NULL;
	return path[0] == '/' && fs_normalize(path, &normal, NULL) == 0 && strcmp(normal, path) == 0;
}

static bool is_own_snapshot(const struct engine *e, const struct etarget *et, const char *path)
{
	_cleanup_free_ char *snapshots =
		xasprintf("%s/snapshots/%s.%s/", et->t->view.facts.base, e->name, e->environment);
	return is_normal(path) && str_starts(path, snapshots);
}

/* The input, and what stands in the file that it names. */
static int find_named(struct estep *s, struct err *err)
{
	json_t *more _cleanup_json_ = NULL, *value;
	const char *key;
	if (s->named != NULL)
		return 0;
	int r = s->type->named != NULL && s->typed != NULL ? s->type->named(&s->context, &more, err) : 0;
	if (r < 0)
		return r;
	s->named = json_copy(s->input);
	json_object_foreach(more, key, value)
	{
		json_t *there = json_object_get(s->named, key), *both = json_is_array(there) ? json_copy(there) : NULL;
		if (both != NULL && json_is_array(value))
			json_array_extend(both, value);
		json_object_set(s->named, key, both != NULL ? both : value);
		json_decref(both);
	}
	return 0;
}

static bool may_touch(const struct estep *s, const char *path, bool ancestors)
{
	struct place p = {.path = path, .ancestors = ancestors};
	if (path == NULL || !is_normal(path))
		return false;
	look_in(s->named, &p);
	return p.found;
}

/* Checks the step's own members that name paths which an undo removes, moves or fills. */
static bool extra_may_touch(const struct estep *s, const json_t *extra)
{
	static const char *const names[] = {"to", "manifest"}, *const lists[] = {"made", "paths"};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const json_t *value = json_object_get(extra, names[i]);
		if (value && !may_touch(s, json_string_value(value), false))
			return false;
	}
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		const json_t *list = json_object_get(extra, lists[i]);
		for (size_t k = 0; k < json_array_size(list); k++) {
			const json_t *one = json_array_get(list, k);
			const char *path = json_is_string(one) ? json_string_value(one) : json_get_string(one, "path");
			if (!may_touch(s, path, i == 0))
				return false;
		}
	}
	return true;
}

static bool only_made_a_folder(const struct change *c)
{
	return change_has(c, CHANGE_EMPTY) && node_type_of(c->before) == NODE_ABSENT;
}

static bool is_about_its_step(struct engine *e, const struct etarget *et, const struct estep *s, const struct change *c)
{
	/* A way back is no command. */
	const struct estep *led = engine_maker(e, (struct estep *)s, c);
	if (led != s)
		return !change_has(c, CHANGE_BLIND) && step_is_on(led, c->target) && is_about_its_step(e, et, led, c);
	if (s->type == &engine_way_back)
		return engine_may_switch(s, et->name, c);
	if (c->type->is_named)
		return c->type->is_named(c, s->named);
	/* The command comes from the file: its record does not hold it. */
	return change_has(c, CHANGE_BLIND) || (change_has(c, CHANGE_ASIDE) && is_own_snapshot(e, et, c->path)) ||
	       may_touch(s, c->path, only_made_a_folder(c));
}

static int check_record(struct engine *e, const struct etarget *et, const struct change *c, bool first, struct err *err)
{
	if (c->id < 1)
		return refuse(et, c, err, "has no number");
	if (c->type == NULL)
		return refuse(et, c, err, "is of a kind that this program does not know");
	const struct etarget *of = engine_target(e, c->target);
	if (of == NULL || of->anchor != et)
		return refuse(et, c, err, "is about another target");
	/* A rollback makes no other changes: a target that claims one for a deployment would shift the steps of others. */
	bool rollback = c->step && strcmp(c->step, engine_way_back.info->name) == 0;
	if (rollback && first) {
		int r = engine_expect_way_back(e, c->step_index, err);
		if (r < 0)
			return r;
	}
	if (rollback != (engine_way_back_of(e) != NULL))
		return refuse(et, c, err, "is not of the deployment that the other targets know");
	if (c->step_index < 0 || (size_t)c->step_index >= e->step_count)
		return refuse(et, c, err, "is of a step that the file does not have");
	struct estep *s = &e->steps[c->step_index];
	/* The inputs of a rollback are not part of a file, but its links are. */
	bool way_back = s->type == &engine_way_back;
	const char *why = step_differs(s, c->step, c->step_id, way_back ? NULL : c->step_inputs);
	if (why == NULL && !step_is_on(s, c->target))
		why = "is of a step that is not for this target";
	int r = why == NULL ? find_named(s, err) : 0;
	if (r == 0 && why == NULL)
		r = find_named(engine_maker(e, s, c), err);
	if (r < 0)
		return err_wrap(err, r, "the record of change %" PRId64 " ('%s') on '%s'", c->id, c->path, et->name);
	if (why == NULL && !is_about_its_step(e, et, s, c))
		why = "is about a path that its step does not name";
	if (why == NULL && change_has(c, CHANGE_FILES) && !extra_may_touch(engine_maker(e, s, c), c->extra))
		why = "names a further path that its step does not name";
	return why ? refuse(et, c, err, why) : 0;
}

/* ---- all of them ---- */

static int compare_ids(const void *a, const void *b)
{
	int64_t x = ((const struct change *)a)->id, y = ((const struct change *)b)->id;
	return x < y ? -1 : x > y;
}

static int read_copies(struct engine *e, struct plan *all, struct err *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < e->host_count; i++) {
		struct etarget *et = &e->targets[i];
		_cleanup_(plan_done) struct plan one = {0};
		if (!et->locked)
			continue;
		r = lock_read_changes(&et->t->view, et->t->lock_dir, &one, err);
		change_find_types(&one, e->o->find_change);
		for (size_t k = 0; r == 0 && k < one.count; k++)
			r = check_record(e, et, &one.changes[k], k + all->count == 0, err);
		for (size_t k = 0; r == 0 && k < one.count; k++) {
			all->changes = xgrow(all->changes, &all->cap, all->count + 1, sizeof(all->changes[0]));
			all->changes[all->count++] = one.changes[k];
		}
		if (r == 0)
			one.count = 0; /* they are in `all` now */
	}
	if (r == 0 && all->count > 0)
		qsort(all->changes, all->count, sizeof(all->changes[0]), compare_ids);
	for (size_t i = 1; r == 0 && i < all->count; i++)
		if (all->changes[i].id == all->changes[i - 1].id)
			r = err_set(err, ERR_CONFLICT, "'%s' and '%s' both claim to have change %" PRId64,
			            all->changes[i - 1].target, all->changes[i].target, all->changes[i].id);
	return r;
}

/* This journal had it before another machine did, or came from another machine itself: what it was and which steps ran stands in it. */
static int recall(struct engine *e, struct err *err)
{
	_cleanup_json_ json_t *doc = NULL;
	bool had = engine_way_back_of(e) != NULL;
	int r = store_deployment_get(e->store, e->id, &doc, err);
	if (r == 0)
		r = engine_recall_way_back(e, doc, err);
	if (r == 0 && !had && engine_way_back_of(e))
		r = engine_seal(e, err);
	return r < 0 ? r : engine_load_history(e, err);
}

static int import(struct engine *e, struct err *err)
{
	_cleanup_(plan_done) struct plan all = {0}, known = {0};
	int r = store_change_list(e->store, e->id, &known, err);
	if (r == 0 && known.count > 0)
		return recall(e, err);
	if (r < 0)
		return r;
	r = read_copies(e, &all, err);
	if (r < 0 || all.count == 0)
		return r;
	for (size_t i = 0; i < all.count; i++) {
		struct estep *s = &e->steps[all.changes[i].step_index];
		if (s->begun)
			continue;
		/* Only the target shows if a change was made: its step counts as begun. */
		s->begun = true;
		_cleanup_json_ json_t *doc = json_pack("{s:i, s:s, s:s, s:s, s:s, s:b, s:s}", "index", s->index, "step",
		                                       s->type->info->name, "id", s->id, "name", s->display, "inputs",
		                                       s->identity, "begun", 1, "state", "running");
		r = store_step_add(e->store, e->id, s->index, doc, err);
		if (r < 0)
			return r;
	}
	return store_changes_import(e->store, e->id, &all, err);
}

int engine_import_changes(struct engine *e, struct err *err)
{
	char line[ERR_FRAME_SIZE];
	int r = import(e, err);
	if (r != ERR_CONFLICT || err == NULL)
		return r;
	_cleanup_free_ char *reason = xstrdup(err_line(err, line, sizeof(line)));
	engine_hold(e, reason, NULL);
	return err_hint(
		err, r,
		"nothing was undone, and a rollback would be refused as this was: put the targets right by hand, then davit unlock %s.%s --accept",
		e->name, e->environment);
}
