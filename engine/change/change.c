/* From a change to its driver. The record alone: engine/record/change.c. */
#include "engine/change/change.h"

#include <stdio.h>
#include <string.h>

static const struct change_type *const types[] = {&change_file, &change_dir,     &change_link,     &change_remove,
                                                  &change_move, &change_release, &change_snapshot, &change_command};

const struct change_type *const *change_type_all(size_t *ret_count)
{
	*ret_count = ARRAY_SIZE(types);
	return types;
}

const struct change_type *change_type_find(const char *kind)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (strcmp(types[i]->name, kind) == 0)
			return types[i];
	return NULL;
}

void change_find_types(struct plan *p, const struct change_type *(*find)(const char *kind))
{
	for (size_t i = 0; i < p->count; i++) {
		struct change *c = &p->changes[i];
		c->type = find ? find(c->kind) : NULL;
		if (c->type == NULL)
			c->type = change_type_find(c->kind);
	}
}

bool change_has(const struct change *c, enum change_flag flag)
{
	return c->type && (c->type->flags & (unsigned int)flag) != 0;
}

struct change *plan_add(struct plan *p, const struct change_type *type, enum change_action action, const char *path)
{
	struct change *c = plan_add_kind(p, type->name, action, path);
	c->type = type;
	return c;
}

/* ---- asked of the driver ---- */

static int is_known(const struct change *c, struct err *err)
{
	return c->type ? 0 : err_set(err, ERR_UNSUPPORTED, "this program knows no changes of the kind '%s'", c->kind);
}

int change_compare(struct view *v, const char *lock_dir, const struct change *c, enum change_match *ret,
                   struct err *err)
{
	struct change_call x = {.v = v, .lock_dir = lock_dir};
	int r = is_known(c, err);
	if (r < 0)
		return r;
	*ret = MATCH_NEITHER;
	return c->type->compare ? c->type->compare(&x, c, ret, err) : 0;
}

int change_explain(struct view *v, const struct change *c, struct str *out, struct err *err)
{
	struct change_call x = {.v = v};
	int r = is_known(c, err);
	return r < 0 || c->type->explain == NULL ? r : c->type->explain(&x, c, out, err);
}

int change_save_former(struct target *t, const struct change *c, struct err *err)
{
	struct change_call x = {.v = &t->view, .t = t, .lock_dir = t->lock_dir};
	int r = is_known(c, err);
	if (r == 0 && c->type->save)
		r = c->type->save(&x, c, err);
	return r < 0 ? err_wrap(err, r, "save the previous content of '%s' on '%s'", c->path, t->view.name) : 0;
}

int change_call_apply(struct change_call *x, struct change *c, struct err *err)
{
	int r = is_known(c, err);
	if (r == 0 && c->type->apply == NULL)
		return err_set(err, ERR_UNSUPPORTED, "a %s is made by its step", c->kind);
	if (r == 0)
		r = c->type->apply(x, c, err);
	return r < 0 ? err_wrap(err, r, "%s '%s' on '%s'", change_action_name(c->action), c->path, x->v->name) : 0;
}

int change_apply(struct target *t, struct change *c, struct err *err)
{
	struct change_call x = {.v = &t->view, .t = t, .lock_dir = t->lock_dir};
	return change_call_apply(&x, c, err);
}

int change_call_resume(struct change_call *x, const struct change *c, struct err *err)
{
	int r = is_known(c, err);
	if (r < 0 || c->type->resume == NULL)
		return r;
	r = c->type->resume(x, c, err);
	return r < 0 ? err_wrap(err, r, "wait for the task for '%s' on '%s'", c->path, x->v->name) : 0;
}

int change_call_undo(struct change_call *x, const struct change *c, struct err *err)
{
	int r = is_known(c, err);
	if (r == 0 && c->type->undo == NULL)
		return err_set(err, ERR_UNSUPPORTED, "'%s' has no undo", c->summary ? c->summary : c->path);
	if (r == 0)
		r = c->type->undo(x, c, err);
	return r < 0 ? err_wrap(err, r, "take back '%s' on '%s'", c->path, x->v->name) : 0;
}

int change_undo(struct target *t, const struct change *c, struct err *err)
{
	struct change_call x = {.v = &t->view, .t = t, .lock_dir = t->lock_dir};
	return change_call_undo(&x, c, err);
}

int change_settle(struct target *t, const struct change *c, struct err *err)
{
	struct change_call x = {.v = &t->view, .t = t, .lock_dir = t->lock_dir};
	int r = c->type && c->type->settle ? c->type->settle(&x, c, err) : 0;
	return r < 0 ? err_wrap(err, r, "settle '%s' on '%s'", c->path, t->view.name) : 0;
}

int change_guard(struct change_call *x, struct err *err)
{
	return x->guard ? x->guard(x->context, err) : 0;
}

int change_note_task(struct change_call *x, const char *task, struct err *err)
{
	if (x->note_task == NULL)
		return err_set(err, ERR_UNSUPPORTED, "a task can be noted only where the engine makes the change");
	return x->note_task(x->context, task, err);
}

/* ---- asked of the record ---- */

bool change_path_within(const char *dir, const char *path)
{
	size_t len = strlen(dir);
	return strncmp(dir, path, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

bool change_touches(const struct change *c, const char *path)
{
	if (change_path_within(c->path, path) || change_path_within(path, c->path))
		return true;
	return c->type && c->type->touches && c->type->touches(c, path);
}

bool change_names(const struct change *c, const char *path)
{
	return c->type && c->type->names && c->type->names(c, path);
}

const char *change_release_of(const struct change *c)
{
	return c->type && c->type->release_of ? c->type->release_of(c) : NULL;
}

bool change_switches(const struct change *c)
{
	return change_has(c, CHANGE_SWITCH) && (c->type->release_of == NULL || change_release_of(c));
}
