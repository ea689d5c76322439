/* Saves the content that a change replaces in the target's copy before the first change; the undo restores it. */
#include "engine/change/change_priv.h"
#include "engine/alone/alone.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

char *change_undo_path(const char *lock_dir, const struct change *c, const char *suffix)
{
	return xasprintf("%s/undo/%" PRId64 "%s", lock_dir, c->id, suffix);
}

int change_absent_is_fine(int r, struct err *err)
{
	if (r != ERR_NOT_FOUND)
		return r;
	err_clear(err);
	return 0;
}

/* ---- saved ---- */

/* Under a name of its own first, so that undo/ID is whole or absent. */
static int save_copy(struct target *t, const struct change *c, struct err *err)
{
	_cleanup_free_ char *saved = change_undo_path(t->lock_dir, c, "");
	_cleanup_free_ char *part = change_undo_path(t->lock_dir, c, ".part");
	int r = host_remove_tree(t, part, err);
	if (r == 0)
		r = host_copy(t, c->path, part, err);
	if (r == 0)
		r = host_rename(t, part, saved, err);
	return r;
}

/* A directory's attributes only: an empty one that has them. */
static int save_directory(struct target *t, const struct change *c, struct err *err)
{
	_cleanup_free_ char *saved = change_undo_path(t->lock_dir, c, "");
	_cleanup_free_ char *part = change_undo_path(t->lock_dir, c, ".part");
	int r = host_remove_tree(t, part, err);
	if (r == 0)
		r = host_mkdir(t, part, NULL, err);
	if (r == 0)
		r = host_dress_like(t, part, c->path, err);
	if (r == 0)
		r = host_remove_tree(t, saved, err);
	if (r == 0)
		r = host_rename(t, part, saved, err);
	return r;
}

int change_save_file(struct change_call *x, const struct change *c, struct err *err)
{
	return node_type_of(c->before) == NODE_FILE ? save_copy(x->t, c, err) : 0;
}

int change_save_directory(struct change_call *x, const struct change *c, struct err *err)
{
	bool changes = node_type_of(c->before) == NODE_DIR && c->action != ACTION_ADOPT && x->v->type->dress_like;
	return changes ? save_directory(x->t, c, err) : 0;
}

/* ---- restored ---- */

int change_put_link(struct target *t, const char *path, const char *link, bool over_file, struct err *err)
{
	if (!over_file)
		return host_symlink(t, path, link, err);
	_cleanup_free_ char *beside = target_fresh_name(path, "link");
	int r = host_symlink(t, beside, link, err);
	if (r == 0)
		r = host_rename(t, beside, path, err);
	return r;
}

/* Puts a copy of the saved file beside the path and renames it over the path, with owner, mode, time and ACL. The content is durable
 * before the name: a power cut must not leave the name with half of the content. */
int change_restore_file(struct target *t, const struct change *c, struct err *err)
{
	_cleanup_free_ char *saved = change_undo_path(t->lock_dir, c, "");
	_cleanup_free_ char *beside = target_fresh_name(c->path, "undo");
	const char *const paths[] = {beside};
	int r = host_copy(t, saved, beside, err);
	if (r == 0)
		r = host_barrier(t, paths, 1, err);
	if (r == 0)
		r = host_rename(t, beside, c->path, err);
	return r;
}

/* The saved attributes of a directory: owner, mode, ACL, time. A deployment by an earlier davit has none. */
static int dress_again(struct target *t, const struct change *c, struct err *err)
{
	_cleanup_free_ char *saved = change_undo_path(t->lock_dir, c, "");
	_cleanup_(node_done) struct node n = {0};
	if (t->view.type->dress_like == NULL)
		return 0;
	int r = host_stat(&t->view, saved, &n, err);
	return r < 0 || n.type != NODE_DIR ? r : host_dress_like(t, c->path, saved, err);
}

static int make_again(struct target *t, const struct change *c, struct err *err)
{
	struct node_attr attr;
	change_attr_from(c->before, true, &attr);
	int r = host_mkdir(t, c->path, &attr, err);
	if (r == ERR_EXISTS)
		r = host_set_attr(t, c->path, &attr, err);
	return r < 0 ? r : dress_again(t, c, err);
}

int change_restore_directory(struct target *t, const struct change *c, struct err *err)
{
	struct node_attr attr;
	change_attr_from(c->before, true, &attr);
	int r = host_set_attr(t, c->path, &attr, err);
	return r < 0 ? r : dress_again(t, c, err);
}

int change_restore(struct change_call *x, const struct change *c, struct err *err)
{
	struct target *t = x->t;
	if (c->action == ACTION_ADOPT)
		return 0;
	switch (node_type_of(c->before)) {
	case NODE_ABSENT:
		return change_absent_is_fine(host_remove(t, c->path, err), err);
	case NODE_FILE:
		return change_restore_file(t, c, err);
	case NODE_LINK:
		return change_put_link(t, c->path, json_get_string(c->before, "link"),
		                       node_type_of(c->after) == NODE_FILE, err);
	case NODE_DIR:
		return make_again(t, c, err);
	case NODE_OTHER:
	default:
		return err_set(err, ERR_UNSUPPORTED, "'%s' was not a file, directory or link", c->path);
	}
}

void change_restore_alone(const struct change *c, struct str *out)
{
	if (c->action != ACTION_ADOPT)
		alone_line_restore(c, false, out);
}
