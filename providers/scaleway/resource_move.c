#include "providers/scaleway/resource_move.h"

#include "base/core/mem.h"
#include "engine/change/change.h"

#include <string.h>

enum { ROUNDS_MAX = 40, REFUSED_MAX = 4, REFUSED_PAUSE_MS = 500, TASK_MAX = 2000 };

bool resource_is_absent(const json_t *node)
{
	const char *type = json_get_string(node, "type");
	return type == NULL || strcmp(type, "absent") == 0;
}

/* ---- what is there ---- */

void resource_seen_done(struct resource_seen *r)
{
	json_decref(r->object);
	json_decref(r->surplus);
	free(r->left);
	*r = (struct resource_seen){0};
}

static int get(const struct object_call *o, const char *id, bool settled, json_t **ret, struct err *err)
{
	return settled ? object_settle(o, id, ret, err) : object_get(o, id, ret, err);
}

/* By the mark of the deployment that made it; the oldest is the one that stays. */
static int find_made(const struct object_call *o, const json_t *node, const char *but, bool settled,
                     struct resource_seen *ret, struct err *err)
{
	json_t *all _cleanup_json_ = NULL;
	const char *mark = json_get_string(node, "mark"), *name = json_get_string(node, "name"), *first = NULL;
	int r = object_find(o, name != NULL ? name : "", &all, err);
	for (size_t i = 0; r == 0 && i < json_array_size(all); i++) {
		json_t *one = json_array_get(all, i);
		bool own =
			mark != NULL && object_has_mark(one, mark) && (but == NULL || strcmp(object_id(one), but) != 0);
		if (own && first == NULL)
			first = object_id(one);
		else if (own && ret->surplus == NULL)
			ret->surplus = json_incref(one);
		else if (!own && (but == NULL || strcmp(object_id(one), but) != 0))
			ret->foreign = true;
	}
	/* A list may hold less of it than the object itself. */
	return r == 0 && first != NULL ? get(o, first, settled, &ret->object, err) : r;
}

/* What can be made again as it was has another id then. */
static int find_made_again(const struct object_call *o, const json_t *node, bool settled, struct resource_seen *ret,
                           struct err *err)
{
	json_t *all _cleanup_json_ = NULL;
	const char *name = json_get_string(node, "name");
	int r = object_find(o, name != NULL ? name : "", &all, err);
	return r == 0 && json_array_size(all) > 0
	               ? get(o, object_id(json_array_get(all, 0)), settled, &ret->object, err)
	               : r;
}

static int find_left(const struct object_call *o, const struct change *c, struct resource_seen *ret, struct err *err)
{
	return o->kind->left != NULL && c->task != NULL ? o->kind->left(o->s, c->task, o->wait, &ret->left, err) : 0;
}

int resource_look(const struct object_call *o, const struct change *c, bool settled, struct resource_seen *ret,
                  struct err *err)
{
	const char *id = json_get_string(c->before, "id");
	bool replaces = c->action == ACTION_REPLACE;
	*ret = (struct resource_seen){0};
	int r = id != NULL ? get(o, id, settled, &ret->object, err) : 0;
	ret->former = replaces && ret->object != NULL;
	if (r == 0 && ret->object == NULL && (id == NULL || replaces))
		r = find_made(o, c->after, id, settled, ret, err);
	else if (r == 0 && ret->object == NULL && o->kind->lost == NULL && resource_is_absent(c->after))
		r = find_made_again(o, c->before, settled, ret, err);
	if (r == 0 && ret->object == NULL)
		r = find_left(o, c, ret, err);
	if (r < 0)
		resource_seen_done(ret);
	return r;
}

/* ---- requests ---- */

int move_ask(struct scaleway_move *m, const char *method, const char *path, const json_t *body, json_t **ret,
             struct err *err)
{
	int r = change_guard(m->x, err);
	return r < 0 ? r : scaleway_call(m->s, method, path, body, m->x->v->wait, ret, err);
}

bool move_wants(const struct scaleway_move *m, const json_t *now, const char *attribute)
{
	const json_t *from = json_object_get(m->from, attribute), *to = json_object_get(m->to, attribute);
	bool made = resource_is_absent(m->from) || m->c->action == ACTION_REPLACE;
	bool changes = made ? to != NULL : !object_same(from, to);
	return changes && !object_same(json_object_get(now, attribute), to);
}

void move_add_tags(const struct scaleway_move *m, const json_t *object, const json_t *now, json_t *body)
{
	if (move_wants(m, now, "tags"))
		json_object_set_new(body, "tags",
		                    object_tags(m->kind, object, json_object_get(m->to, "tags"), NULL, NULL));
}

bool move_is_refused_now(int r, const struct err *err)
{
	return r == ERR_FAILED && (err->foreign == 409 || err->foreign == 412 || err->foreign == 423);
}

/* ---- made ---- */

/* Words are only added: what stays behind each that was ever made must be found. */
static int note(struct scaleway_move *m, const char *word, struct err *err)
{
	const char *noted = m->c->task != NULL ? m->c->task : "";
	if (strstr(noted, word) != NULL)
		return 0;
	_cleanup_free_ char *all = xasprintf("%s%s%s", noted, noted[0] != '\0' ? " " : "", word);
	if (strlen(all) > TASK_MAX)
		return err_set(err, ERR_LIMIT, "too many requests were made for '%s'", m->c->path);
	return m->x->note_task != NULL ? change_note_task(m->x, all, err) : 0;
}

static int note_object(struct scaleway_move *m, const json_t *object, struct err *err)
{
	_cleanup_free_ char *word = xasprintf("made=%s", object_id(object)),
			    *behind = m->kind->names != NULL ? m->kind->names(object) : NULL;
	int r = note(m, word, err);
	return r == 0 && behind != NULL ? note(m, behind, err) : r;
}

static int create(struct scaleway_move *m, struct err *err)
{
	const char *name = json_get_string(m->to, "name"), *collection = m->kind->path;
	json_t *body _cleanup_json_ = json_object(), *answer _cleanup_json_ = NULL;
	_cleanup_free_ char *path = m->kind->block ? scaleway_block_path(m->s, "%s", collection)
	                                           : scaleway_instance_path(m->s, "%s", collection);
	if (!m->kind->tagged_name)
		json_set_string(body, "name", name);
	json_set_string(body, m->kind->block ? "project_id" : "project", scaleway_project(m->s));
	json_object_set_new(
		body, "tags",
		object_tags(m->kind, NULL, json_object_get(m->to, "tags"), name, json_get_string(m->to, "mark")));
	int r = m->kind->body != NULL ? m->kind->body(m, body, err) : 0;
	if (r == 0)
		r = move_ask(m, "POST", path, body, &answer, err);
	if (r < 0)
		return r;
	const json_t *object = m->kind->wrap != NULL ? json_object_get(answer, m->kind->wrap) : answer;
	if (object_id(object) == NULL)
		return err_set(err, ERR_UNKNOWN, "POST %s: the answer names no %s", path, m->kind->word);
	r = note_object(m, object, err);
	return r < 0 ? r : MOVE_MORE;
}

/* ---- removed ---- */

static int delete_at(struct scaleway_move *m, const char *path, struct err *err)
{
	int r = move_ask(m, "DELETE", path, NULL, NULL, err);
	if (r == ERR_NOT_FOUND) {
		err_clear(err);
		r = 0;
	}
	return r < 0 ? r : MOVE_MORE;
}

static int delete_object(struct scaleway_move *m, const json_t *object, struct err *err)
{
	_cleanup_free_ char *path = object_path(m->s, m->kind, object_id(object), "");
	int r = m->kind->clear != NULL ? m->kind->clear(m, object, err) : 0;
	if (r != 0)
		return r;
	r = note_object(m, object, err);
	return r < 0 ? r : delete_at(m, path, err);
}

/* ---- the way ---- */

static int refuse_foreign(const struct scaleway_move *m, struct err *err)
{
	return err_set(err, ERR_CONFLICT, "a %s '%s' exists meanwhile that this deployment did not make", m->kind->word,
	               json_get_string(m->to, "name"));
}

static int refuse_broken(const struct scaleway_move *m, const json_t *object, const char *why, struct err *err)
{
	err_set(err, ERR_FAILED, "the %s '%s' %s", m->kind->word, json_get_string(m->to, "name"), why);
	return err_hint(err, ERR_FAILED, "its id is %s: Scaleway's console or support can tell more",
	                object_id(object));
}

static int change_it(struct scaleway_move *m, const struct object_call *o, const json_t *object, struct err *err)
{
	json_t *now _cleanup_json_ = NULL;
	const char *why = m->kind->broken != NULL ? m->kind->broken(object) : NULL;
	int r = why != NULL ? refuse_broken(m, object, why, err) : object_node(o, object, &now, err);
	return r < 0 ? r : m->kind->next(m, object, now, err);
}

static int next(struct scaleway_move *m, const struct object_call *o, const struct resource_seen *seen, struct err *err)
{
	bool goes = resource_is_absent(m->to) || seen->former;
	if (seen->left != NULL)
		return delete_at(m, seen->left, err);
	if (seen->surplus != NULL)
		return delete_object(m, seen->surplus, err);
	if (goes)
		return seen->object != NULL ? delete_object(m, seen->object, err) : MOVE_DONE;
	if (seen->object != NULL)
		return change_it(m, o, seen->object, err);
	return seen->foreign && m->kind->lost != NULL ? refuse_foreign(m, err) : create(m, err);
}

static int go(struct scaleway_move *m, struct err *err)
{
	const struct object_call o = {m->s, m->kind, m->x->v->wait};
	struct resource_seen seen _cleanup_(resource_seen_done) = {0};
	int r = resource_look(&o, m->c, true, &seen, err);
	return r < 0 ? r : next(m, &o, &seen, err);
}

int resource_move(struct scaleway_move *m, struct err *err)
{
	struct err own = ERR_INIT;
	int refused = 0;
	for (int i = 0; i < ROUNDS_MAX; i++) {
		err_clear(&own);
		int r = go(m, &own);
		/* A state that passes is no failure; one that stays is. */
		if (move_is_refused_now(r, &own) && refused++ < REFUSED_MAX)
			r = wait_aside(m->x->v->wait, REFUSED_PAUSE_MS, &own) == 0 ? MOVE_MORE : own.code;
		if (r < 0 && err != NULL)
			*err = own;
		if (r <= 0)
			return r;
	}
	return err_set(err, ERR_FAILED, "the %s of '%s' does not become what was asked for", m->kind->word, m->c->path);
}
