/* How content gets into a snapshot and back. A restored path is made whole beside the old one and takes its place by renames, so
 * that a break leaves one or the other, and going on finds them under fixed names. */
#include "steps/snapshot.h"
#include "base/fs.h"

static int look(struct view *v, const char *path, struct node *ret, struct err *err)
{
	int r = v->type->stat(v, path, ret, err);
	return r < 0 ? err_wrap(err, r, "look at '%s' on '%s'", path, v->name) : 0;
}

/* Excluded, and nothing above it is. */
static bool is_topmost_excluded(const struct ignore *ignore, const struct tree_entry *e)
{
	if (!ignore || !ignore_matches(ignore, e->path, S_ISDIR(e->mode)))
		return false;
	_cleanup_free_ char *above = xstrdup(e->path);
	char *slash = strrchr(above, '/');
	if (!slash)
		return true;
	*slash = 0;
	return !ignore_matches(ignore, above, true);
}

/* dir: "" for all of the tree. */
static bool excludes_below(const struct tree *tree, const struct ignore *ignore, const char *dir)
{
	size_t len = strlen(dir);

	for (size_t i = 0; i < tree->count; i++) {
		const struct tree_entry *e = &tree->entries[i];
		if (len > 0 && !(strncmp(e->path, dir, len) == 0 && e->path[len] == '/'))
			continue;
		if (ignore_matches(ignore, e->path, S_ISDIR(e->mode)))
			return true;
	}
	return false;
}

static int make_like(struct target *t, const char *from, const char *to, struct err *err)
{
	_cleanup_(node_done) struct node n = { 0 };
	int r = look(&t->view, from, &n, err);

	if (r < 0)
		return r;
	const struct node_attr attr = { .set_mode = true, .mode = n.mode, .owner = n.owner, .group = n.group };
	return t->view.type->mkdir(t, to, &attr, err);
}

static int copy_some(struct target *t, const char *from, const char *to, const struct tree *tree, const struct ignore *ignore,
                     const char *dir, struct err *err);

static int copy_child(struct target *t, const char *from, const char *to, const struct tree *tree, const struct ignore *ignore,
                      const struct tree_entry *e, struct err *err)
{
	_cleanup_free_ char *source = fs_join(from, e->path), *goal = fs_join(to, e->path);

	if (ignore_matches(ignore, e->path, S_ISDIR(e->mode)))
		return 0;
	if (S_ISDIR(e->mode) && excludes_below(tree, ignore, e->path)) {
		int r = make_like(t, source, goal, err);
		return r < 0 ? r : copy_some(t, from, to, tree, ignore, e->path, err);
	}
	return t->view.type->copy(t, source, goal, err);
}

/* The children of dir, each whole where nothing below it is excluded. Its own time is lost: it was made now. */
static int copy_some(struct target *t, const char *from, const char *to, const struct tree *tree, const struct ignore *ignore,
                     const char *dir, struct err *err)
{
	size_t len = strlen(dir);
	int r = 0;

	for (size_t i = 0; i < tree->count && r == 0; i++) {
		const char *path = tree->entries[i].path;
		if (len > 0 && !(strncmp(path, dir, len) == 0 && path[len] == '/'))
			continue;
		if (strchr(path + (len > 0 ? len + 1 : 0), '/'))
			continue;
		r = copy_child(t, from, to, tree, ignore, &tree->entries[i], err);
	}
	return r;
}

int snapshot_copy(struct target *t, const char *from, const char *to, const struct ignore *ignore, struct err *err)
{
	_cleanup_(node_done) struct node n = { 0 };
	_cleanup_(tree_done) struct tree tree = { 0 };

	int r = look(&t->view, from, &n, err);
	if (r < 0)
		return r;
	if (ignore && n.type == NODE_DIR) {
		r = t->view.type->tree(&t->view, from, false, &tree, err);
		if (r < 0)
			return r;
		if (excludes_below(&tree, ignore, "")) {
			r = make_like(t, from, to, err);
			return r < 0 ? r : copy_some(t, from, to, &tree, ignore, "", err);
		}
	}
	return t->view.type->copy(t, from, to, err);
}

/* ---- back ---- */

static int make_above(struct target *t, const char *root, const char *path, struct err *err)
{
	const struct node_attr attr = { .set_mode = true, .mode = 0755 };
	_cleanup_free_ char *dir = xstrdup(path);

	for (char *slash = strchr(dir, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		_cleanup_free_ char *full = fs_join(root, dir);
		int r = t->view.type->mkdir(t, full, &attr, err);
		if (r == ERR_EXISTS)
			err_clear(err);
		else if (r < 0)
			return r;
		*slash = '/';
	}
	return 0;
}

/* What was never in the snapshot moves over from the old directory. */
static int keep_excluded(struct target *t, const char *old, const char *restored, const struct ignore *ignore, struct err *err)
{
	_cleanup_(tree_done) struct tree tree = { 0 };
	int r = ignore ? t->view.type->tree(&t->view, old, false, &tree, err) : 0;

	for (size_t i = 0; i < tree.count && r == 0; i++) {
		if (!is_topmost_excluded(ignore, &tree.entries[i]))
			continue;
		_cleanup_free_ char *from = fs_join(old, tree.entries[i].path), *to = fs_join(restored, tree.entries[i].path);
		r = make_above(t, restored, tree.entries[i].path, err);
		if (r == 0)
			r = t->view.type->rename(t, from, to, err);
	}
	return r;
}

/* An interrupted restore: the old one stands aside and nothing is in its place. */
static int settle_former(struct target *t, const char *path, const char *aside, struct err *err)
{
	_cleanup_(node_done) struct node here = { 0 };
	_cleanup_(node_done) struct node there = { 0 };

	int r = look(&t->view, path, &here, err);
	if (r == 0)
		r = look(&t->view, aside, &there, err);
	if (r < 0 || there.type == NODE_ABSENT)
		return r;
	if (here.type == NODE_ABSENT)
		return t->view.type->rename(t, aside, path, err);
	return t->view.type->remove_tree(t, aside, err);
}

static int swap_in(struct target *t, const char *restored, const char *path, const char *aside, const struct ignore *ignore,
                   struct err *err)
{
	const struct target_type *type = t->view.type;
	_cleanup_(node_done) struct node here = { 0 };
	_cleanup_(node_done) struct node there = { 0 };

	int r = look(&t->view, path, &here, err);
	if (r == 0 && restored)
		r = look(&t->view, restored, &there, err);
	if (r < 0)
		return r;
	if (here.type == NODE_ABSENT)
		return restored ? type->rename(t, restored, path, err) : 0;
	if (restored && here.type != NODE_DIR && there.type != NODE_DIR)
		return type->rename(t, restored, path, err);
	r = type->rename(t, path, aside, err);
	if (r == 0 && restored && here.type == NODE_DIR && there.type == NODE_DIR)
		r = keep_excluded(t, aside, restored, ignore, err);
	if (r == 0 && restored)
		r = type->rename(t, restored, path, err);
	if (r == 0)
		r = type->remove_tree(t, aside, err);
	return r;
}

int snapshot_restore(struct target *t, const char *copy, const char *path, const struct ignore *ignore, struct err *err)
{
	_cleanup_free_ char *restored = xasprintf("%s.davit-restored", path), *aside = xasprintf("%s.davit-former", path);

	int r = settle_former(t, path, aside, err);
	if (r == 0)
		r = t->view.type->remove_tree(t, restored, err);
	if (r == 0 && copy)
		r = t->view.type->copy(t, copy, restored, err);
	if (r == 0)
		r = swap_in(t, copy ? restored : NULL, path, aside, ignore, err);
	return r < 0 ? err_wrap(err, r, "put back the content of '%s' on '%s'", path, t->view.name) : 0;
}
