/* The way back behind a committed deployment: each change the other way round, by what its record says and by the contents that were kept
 * (former.c). What is as before already needs none; what somebody changed since, and what is gone, is refused. */
#include "steps/apply/apply.h"
#include "steps/apply/former.h"
#include "steps/machine/machine.h"
#include "steps/sources/sources.h"

#include "base/sys/fs.h"
#include <string.h>

enum { CONTENT_MAX = 64 << 20 };

struct way {
	const struct step_context *c;
	struct view *v;
	struct change former; /* a borrowed copy, with its driver */
	bool force;
	const json_t *state_row; /* {"key","row","former"}; NULL: no resource, as a directory on the way to one */
	const struct resource_type *type; /* NULL: as above */
	struct plan *plan;
};

static bool is_absent(const json_t *node)
{
	return node_type_of(node) == NODE_ABSENT;
}

static int not_as_left(const struct way *w, struct err *err)
{
	err_set(err, ERR_CONFLICT, "'%s' on '%s' is not as that deployment left it", w->former.path, w->v->name);
	return err_hint(err, ERR_CONFLICT, "`davit rollback ID --force` takes it back all the same");
}

static int gone(const struct way *w, struct err *err)
{
	if (w->force)
		return err_set(err, ERR_UNSUPPORTED, "what it was before is gone");
	err_set(err, ERR_REFUSED, "what '%s' on '%s' was before is gone", w->former.path, w->v->name);
	return err_hint(err, ERR_REFUSED,
	                "deploy the commit of before; `--force` leaves it as it is, and takes the rest back");
}

static struct change *add(struct way *w, const struct change_type *kind, enum change_action action, const json_t *now)
{
	struct change *change = plan_add(w->plan, kind, action, w->former.path);
	change->before = json_deep_copy(now);
	change->after = json_deep_copy(w->former.before);
	change->summary = xasprintf("as before that deployment");
	return change;
}

/* ---- files, links, directories ---- */

static bool goes(const struct plan *plan, const char *path)
{
	for (size_t i = 0; i < plan->count; i++)
		if (strcmp(plan->changes[i].path, path) == 0 && is_absent(plan->changes[i].after))
			return true;
	return false;
}

static int removed(struct way *w, const json_t *now, struct err *err)
{
	_cleanup_(strv_done) struct strv names = {0};
	int r = node_type_of(now) == NODE_DIR ? host_list(w->v, w->former.path, &names, err) : 0;
	for (size_t i = 0; r == 0 && i < names.count; i++) {
		_cleanup_free_ char *path = fs_join(w->former.path, names.items[i]);
		if (!goes(w->plan, path))
			return err_set(err, ERR_UNSUPPORTED, "other things lie in the directory");
	}
	if (r == 0)
		add(w, &change_remove, ACTION_DESTROY, now);
	return r;
}

/* The content is there still where only its attributes were changed. */
static int content_of(struct way *w, const json_t *now, struct str *out, struct err *err)
{
	const char *digest = json_get_string(w->former.before, "digest"), *there = json_get_string(now, "digest");
	if (digest == NULL)
		return gone(w, err);
	if (there != NULL && strcmp(there, digest) == 0)
		return host_read(w->v, w->former.path, CONTENT_MAX, out, err);
	int r = former_read(w->c, w->v, digest, out, err);
	if (r != ERR_NOT_FOUND)
		return r;
	err_clear(err);
	return gone(w, err);
}

static int file_again(struct way *w, const json_t *now, enum change_action action, struct err *err)
{
	_cleanup_(str_done) struct str content = STR_INIT(CONTENT_MAX);
	int r = content_of(w, now, &content, err);
	if (r == 0)
		str_append_n(&add(w, &change_file, action, now)->content, str_peek(&content), content.len);
	return r;
}

static int back_node(struct way *w, struct err *err)
{
	enum change_match match = MATCH_NEITHER;
	_cleanup_json_ json_t *now = NULL;
	int r = change_compare(w->v, NULL, &w->former, &match, err);
	if (r < 0 || match == MATCH_BEFORE || match == MATCH_BOTH)
		return r;
	r = target_look(w->v, w->former.path, true, &now, err);
	if (r < 0)
		return r;
	enum node_type was = node_type_of(w->former.before), is = node_type_of(now);
	bool other = is == NODE_OTHER ||
	             (is == NODE_DIR) != (was == NODE_DIR ||
	                                  (is_absent(w->former.before) && node_type_of(w->former.after) == NODE_DIR));
	if ((match != MATCH_AFTER && !w->force) || (other && is != NODE_ABSENT))
		return not_as_left(w, err);
	enum change_action action = is == NODE_ABSENT ? ACTION_CREATE : is == was ? ACTION_UPDATE : ACTION_REPLACE;
	switch (was) {
	case NODE_ABSENT:
		return removed(w, now, err);
	case NODE_FILE:
		return file_again(w, now, action, err);
	case NODE_LINK:
		add(w, &change_link, action, now);
		return 0;
	case NODE_DIR:
		add(w, &change_dir, action, now);
		return 0;
	case NODE_OTHER:
	default:
		return gone(w, err);
	}
}

/* ---- what a host has beside files ---- */

static bool has_data(const struct way *w, const json_t *node)
{
	return w->type->identity != NULL && json_get_string(json_object_get(node, "notes"), "data") != NULL;
}

/* The text of a unit's file lies where the file was kept. */
static int fill(struct way *w, struct change *change, struct err *err)
{
	const char *digest = json_get_string(change->after, "digest"),
		   *there = json_get_string(change->before, "digest");
	static const char none[] = "none";
	if (digest == NULL || strcmp(digest, none) == 0 || (there != NULL && strcmp(digest, there) == 0))
		return 0;
	int r = former_read(w->c, w->v, digest, &change->content, err);
	if (r != ERR_NOT_FOUND)
		return r;
	err_clear(err);
	return gone(w, err);
}

/* Why what was made since cannot go, or what went cannot come again. */
static int may_turn(struct way *w, const struct change *change, struct err *err)
{
	struct resource_call x = {.c = w->c, .v = w->v, .plan = w->plan, .row = json_object_get(w->state_row, "row")};
	_cleanup_json_ json_t *now = NULL;
	_cleanup_(str_done) struct str why = STR_INIT(4096);
	if (w->former.action == ACTION_DESTROY || w->former.action == ACTION_REPLACE)
		if (has_data(w, w->former.before))
			return gone(w, err);
	if (x.row == NULL || json_is_null(x.row))
		x.row = json_object_get(w->state_row, "former");
	int r = w->type->look(&x, apply_id_of_key(w->former.path), &now, err);
	if (r == 0 && has_data(w, now))
		return err_set(err, ERR_UNSUPPORTED, "data lie in it");
	if (r == 0 && w->type->forbids != NULL)
		r = w->type->forbids(&x, now, change->after, change->action, &why, err);
	return r == 0 && why.len > 0 ? err_set(err, ERR_REFUSED, "'%s' %s", w->former.path, str_peek(&why)) : r;
}

static void drop_from(struct plan *plan, size_t from)
{
	while (plan->count > from)
		change_done(&plan->changes[--plan->count]);
}

static int back_machine(struct way *w, struct err *err)
{
	size_t before = w->plan->count;
	int r = machine_back(w->v, &w->former, w->force, w->plan, err);
	if (r == ERR_CONFLICT)
		err_hint(err, r, "`davit rollback ID --force` takes it back all the same");
	if (r < 0 || w->plan->count == before)
		return r;
	struct change *change = &w->plan->changes[before];
	r = may_turn(w, change, err);
	if (r == 0)
		r = fill(w, change, err);
	if (r < 0)
		drop_from(w->plan, before);
	return r;
}

/* ---- rows ---- */

/* As it will be once what is planned so far is made. */
static int look_then(struct way *w, struct resource_call *x, json_t **ret, struct err *err)
{
	for (size_t i = w->plan->count; i-- > 0;) {
		if (strcmp(w->plan->changes[i].path, w->former.path) != 0)
			continue;
		*ret = json_deep_copy(w->plan->changes[i].after);
		return 0;
	}
	return w->type->look(x, apply_id_of_key(json_get_string(w->state_row, "key")), ret, err);
}

/* Nothing is there to be changed, but the row of before comes back: what apply takes for its own is as before, too. */
static int row_alone(struct way *w, struct err *err)
{
	_cleanup_(node_cache_done) struct node_cache seen = {0};
	struct resource_call x = {.c = w->c, .v = w->v, .plan = w->plan, .seen = &seen};
	_cleanup_json_ json_t *now = NULL;
	const json_t *row = json_object_get(w->state_row, "row"), *former = json_object_get(w->state_row, "former");
	x.row = json_is_null(row) ? former : row;
	if (w->type == NULL || json_equal((json_t *)(uintptr_t)row, (json_t *)(uintptr_t)former))
		return 0;
	int r = look_then(w, &x, &now, err);
	if (r < 0)
		return r;
	struct change *change = plan_add(w->plan, w->former.type, ACTION_ADOPT, w->former.path);
	change->before = json_deep_copy(now);
	change->after = json_deep_copy(now);
	change->summary = xasprintf(json_is_null(former) ? "no longer managed, as before that deployment"
	                                                 : "managed as before that deployment");
	return 0;
}

static void turn_row(struct way *w, struct change *change)
{
	const json_t *row = json_object_get(w->state_row, "row"), *former = json_object_get(w->state_row, "former");
	if (w->state_row == NULL)
		return;
	change_set_state_row(change, json_get_string(w->state_row, "key"), json_is_null(former) ? NULL : former,
	                     json_is_null(row) ? NULL : row);
}

/* ---- both ---- */

static const struct resource_type *type_of(const struct step_type *step, const json_t *state_row)
{
	const char *key = json_get_string(state_row, "key");
	_cleanup_free_ char *name = key != NULL ? xstrndup(key, strcspn(key, ":")) : NULL;
	return name != NULL ? resource_type_named(step, name) : NULL;
}

static int back_on_host(struct way *w, struct err *err)
{
	size_t before = w->plan->count;
	bool of_machine = machine_kind_named(w->former.kind) != NULL;
	int r = 0;
	if (w->former.type == NULL || (of_machine && w->type == NULL))
		return err_set(err, ERR_UNSUPPORTED, "this davit has no resource of that kind");
	if (w->former.action != ACTION_ADOPT)
		r = of_machine ? back_machine(w, err) : back_node(w, err);
	if (r == 0 && w->plan->count == before)
		r = row_alone(w, err);
	if (r == 0 && w->plan->count > before)
		turn_row(w, &w->plan->changes[before]);
	return r;
}

/* A record of what was kept leads to its source; else an API's objects have no way back. */
static int back_on_api(const struct step_context *c, struct view *v, const struct change *former, struct plan *plan,
                       struct err *err)
{
	for (size_t i = 0; c->type->choices[i] != NULL; i++) {
		const struct source *source = resource_type_of(c->type->choices[i])->source;
		if (source == NULL || strcmp(source->outside->target, v->kind->name) != 0)
			continue;
		const struct source_call s = {.source = source, .c = c};
		return source->outside->back(&s, v, former, plan, err);
	}
	return err_set(err, ERR_UNSUPPORTED, "nothing of it was kept");
}

/* The drivers of nodes are the engine's, those of machines begin their kind. */
static const struct change_type *driver_of(const struct change *c)
{
	const struct machine_kind *kind = machine_kind_named(c->kind);
	static const struct change_type *const nodes[] = {&change_file, &change_dir, &change_link, &change_remove};
	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++)
		if (strcmp(nodes[i]->name, c->kind) == 0)
			return nodes[i];
	return kind != NULL ? &kind->change : NULL;
}

int apply_back(const struct step_context *c, struct view *v, const struct change *former, bool force, struct plan *plan,
               struct err *err)
{
	if (v->kind->host == NULL)
		return back_on_api(c, v, former, plan, err);
	const json_t *row = json_object_get(former->extra, "state_row");
	struct way w = {.c = c,
	                .v = v,
	                .former = *former,
	                .force = force,
	                .state_row = row,
	                .type = type_of(c->type, row),
	                .plan = plan};
	w.former.type = driver_of(former);
	return back_on_host(&w, err);
}
