/* Copies content into a snapshot and back. A restored path is made whole beside the old one and takes its place by renames, so
 * that an interruption leaves one or the other, and the next try finds them under fixed names. Entries that the snapshot left out never
 * move, nor do the directories that hold them: there the entries beside them are renamed. */
#include "steps/sources/sources.h"
#include "base/sys/fs.h"

static int look(struct view *v, const char *path, struct node *ret, struct err *err)
{
	int r = host_stat(v, path, ret, err);
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
	_cleanup_(node_done) struct node n = {0};
	int r = look(&t->view, from, &n, err);

	if (r < 0)
		return r;
	const struct node_attr attr = {.set_mode = true, .mode = n.mode, .owner = n.owner, .group = n.group};
	return host_mkdir(t, to, &attr, err);
}

static int copy_some(struct target *t, const char *from, const char *to, const struct tree *tree,
                     const struct ignore *ignore, const char *dir, struct err *err);

static int copy_child(struct target *t, const char *from, const char *to, const struct tree *tree,
                      const struct ignore *ignore, const struct tree_entry *e, struct err *err)
{
	_cleanup_free_ char *source = fs_join(from, e->path), *goal = fs_join(to, e->path);

	if (ignore_matches(ignore, e->path, S_ISDIR(e->mode)))
		return 0;
	if (S_ISDIR(e->mode) && excludes_below(tree, ignore, e->path)) {
		int r = make_like(t, source, goal, err);
		return r < 0 ? r : copy_some(t, from, to, tree, ignore, e->path, err);
	}
	return host_copy(t, source, goal, err);
}

/* Copies the children of dir, each whole if nothing below it is excluded. Its own time is lost: it was made now. */
static int copy_some(struct target *t, const char *from, const char *to, const struct tree *tree,
                     const struct ignore *ignore, const char *dir, struct err *err)
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

int source_copy(struct target *t, const char *from, const char *to, const struct ignore *ignore, struct err *err)
{
	_cleanup_(node_done) struct node n = {0};
	_cleanup_(tree_done) struct tree tree = {0};

	int r = look(&t->view, from, &n, err);
	if (r < 0)
		return r;
	if (ignore && n.type == NODE_DIR) {
		r = host_tree(&t->view, from, false, &tree, err);
		if (r < 0)
			return r;
		if (excludes_below(&tree, ignore, "")) {
			r = make_like(t, from, to, err);
			return r < 0 ? r : copy_some(t, from, to, &tree, ignore, "", err);
		}
	}
	return host_copy(t, from, to, err);
}

/* ---- back ---- */

/* The current content, and the part of it that no undo may touch. */
struct now {
	struct tree tree;
	bool *excluded; /* of each entry: the snapshot left it out, or something above it */
	bool *mixed;    /* of each entry: a directory with such things below it; it never moves */
	bool any;
};

struct back {
	struct target *t;
	const char *path, *restored, *aside;
	const struct ignore *ignore;
	struct now now;
	struct tree copy;
};

static void now_done(struct now *n)
{
	tree_done(&n->tree);
	free(n->excluded);
	free(n->mixed);
}

static void mark_above(struct now *n, const char *path)
{
	_cleanup_free_ char *above = xstrdup(path);
	for (char *slash = strrchr(above, '/'); slash; slash = strrchr(above, '/')) {
		*slash = 0;
		const struct tree_entry *e = tree_find(&n->tree, above);
		if (!e || n->mixed[e - n->tree.entries])
			return;
		n->mixed[e - n->tree.entries] = true;
	}
}

static int look_now(struct view *v, const char *dir, const struct ignore *ignore, struct now *n, struct err *err)
{
	int r = ignore ? host_tree(v, dir, false, &n->tree, err) : 0;

	n->excluded = xcalloc(n->tree.count + 1, sizeof(bool));
	n->mixed = xcalloc(n->tree.count + 1, sizeof(bool));
	for (size_t i = 0; r == 0 && i < n->tree.count; i++) {
		const struct tree_entry *e = &n->tree.entries[i];
		n->excluded[i] = ignore_matches(ignore, e->path, S_ISDIR(e->mode));
		n->any = n->any || n->excluded[i];
		if (n->excluded[i])
			mark_above(n, e->path);
	}
	return r;
}

/* The directories above `path` in `root`, each like the one in `like`. */
static int make_above(struct target *t, const char *root, const char *path, const char *like, struct err *err)
{
	_cleanup_free_ char *dir = xasprintf("/%s", path);
	int r = 0;

	for (char *slash = strchr(dir, '/'); slash && r == 0; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		_cleanup_free_ char *full = xasprintf("%s%s", root, dir), *from = xasprintf("%s%s", like, dir);
		*slash = '/';
		r = make_like(t, from, full, err);
		if (r == ERR_EXISTS) {
			err_clear(err);
			r = 0;
		}
	}
	return r;
}

/* Removes the old content that was set aside. An excluded entry that got into it at the last moment goes back first. */
static int discard_aside(struct target *t, const char *aside, const char *path, const struct ignore *ignore,
                         struct err *err)
{
	_cleanup_(node_done) struct node n = {0};
	_cleanup_(tree_done) struct tree tree = {0};

	int r = look(&t->view, aside, &n, err);
	if (r == 0 && n.type == NODE_DIR && ignore)
		r = host_tree(&t->view, aside, false, &tree, err);
	for (size_t i = 0; i < tree.count && r == 0; i++) {
		_cleanup_(node_done) struct node there = {0};
		if (!is_topmost_excluded(ignore, &tree.entries[i]))
			continue;
		_cleanup_free_ char *from = fs_join(aside, tree.entries[i].path),
				    *to = fs_join(path, tree.entries[i].path);
		r = look(&t->view, to, &there, err);
		if (r == 0 && there.type != NODE_ABSENT)
			return err_set(err, ERR_CONFLICT,
			               "'%s' was left out of the snapshot and exists twice: '%s' is the previous one",
			               to, from);
		if (r == 0)
			r = make_above(t, path, tree.entries[i].path, aside, err);
		if (r == 0)
			r = host_rename(t, from, to, err);
	}
	return r < 0 || n.type == NODE_ABSENT ? r : host_remove_tree(t, aside, err);
}

/* An interrupted restore: the old content was set aside, all or a part of it, and perhaps nothing is in its place. */
static int settle_former(struct back *b, struct err *err)
{
	_cleanup_(node_done) struct node here = {0};
	_cleanup_(node_done) struct node there = {0};

	int r = look(&b->t->view, b->path, &here, err);
	if (r == 0)
		r = look(&b->t->view, b->aside, &there, err);
	if (r < 0 || there.type == NODE_ABSENT)
		return r;
	if (here.type == NODE_ABSENT)
		return host_rename(b->t, b->aside, b->path, err);
	return discard_aside(b->t, b->aside, b->path, b->ignore, err);
}

/* Nothing below it was left out of the snapshot: one rename, or two where a directory stands in the way. rel: below path, "" for path itself;
 * from: NULL where the snapshot has nothing there. */
static int replace_whole(struct back *b, const char *rel, enum node_type here, const char *from, enum node_type there,
                         struct err *err)
{
	_cleanup_free_ char *to = *rel ? fs_join(b->path, rel) : xstrdup(b->path),
			    *off = *rel ? fs_join(b->aside, rel) : xstrdup(b->aside);
	int r = 0;

	if (here == NODE_ABSENT || (from && here != NODE_DIR && there != NODE_DIR))
		return from ? host_rename(b->t, from, to, err) : 0;
	if (*rel)
		r = make_above(b->t, b->aside, rel, b->path, err);
	if (r == 0)
		r = host_rename(b->t, to, off, err);
	if (r == 0 && from)
		r = host_rename(b->t, from, to, err);
	return r < 0 ? r : discard_aside(b->t, b->aside, b->path, b->ignore, err);
}

static enum node_type type_of(const struct tree_entry *e)
{
	if (!e)
		return NODE_ABSENT;
	return S_ISDIR(e->mode) ? NODE_DIR : S_ISLNK(e->mode) ? NODE_LINK : NODE_FILE;
}

static bool is_child(const char *dir, const char *path)
{
	size_t len = strlen(dir);

	if (len > 0 && !(strncmp(path, dir, len) == 0 && path[len] == '/'))
		return false;
	return !strchr(path + (len > 0 ? len + 1 : 0), '/');
}

static int restore_within(struct back *b, const char *dir, bool held, struct err *err);

static int restore_child(struct back *b, const char *path, struct err *err)
{
	const struct tree_entry *here = tree_find(&b->now.tree, path), *there = tree_find(&b->copy, path);
	_cleanup_free_ char *from = there ? fs_join(b->restored, path) : NULL;

	if (here && b->now.excluded[here - b->now.tree.entries])
		return 0;
	if (!here || !b->now.mixed[here - b->now.tree.entries])
		return replace_whole(b, path, type_of(here), from, type_of(there), err);
	if (there && !S_ISDIR(there->mode))
		return err_set(err, ERR_CONFLICT, "'%s/%s' is a directory now, with files that the snapshot left out",
		               b->path, path);
	return restore_within(b, path, there != NULL, err);
}

/* A directory that holds what the snapshot left out stays where it is; its other entries are restored from the snapshot, or removed. */
static int restore_within(struct back *b, const char *dir, bool held, struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < b->now.tree.count && r == 0; i++)
		if (is_child(dir, b->now.tree.entries[i].path))
			r = restore_child(b, b->now.tree.entries[i].path, err);
	for (size_t i = 0; i < b->copy.count && r == 0; i++)
		if (is_child(dir, b->copy.entries[i].path) && !tree_find(&b->now.tree, b->copy.entries[i].path))
			r = restore_child(b, b->copy.entries[i].path, err);
	if (r < 0 || !held)
		return r;
	_cleanup_free_ char *like = *dir ? fs_join(b->restored, dir) : xstrdup(b->restored);
	_cleanup_free_ char *to = *dir ? fs_join(b->path, dir) : xstrdup(b->path);
	_cleanup_(node_done) struct node n = {0};
	r = look(&b->t->view, like, &n, err);
	if (r < 0)
		return r;
	const struct node_attr attr = {.set_mode = true, .mode = n.mode, .owner = n.owner, .group = n.group};
	return host_set_attr(b->t, to, &attr, err);
}

static int swap_in(struct back *b, bool held, struct err *err)
{
	struct view *v = &b->t->view;
	_cleanup_(node_done) struct node here = {0};
	_cleanup_(node_done) struct node there = {0};

	int r = look(v, b->path, &here, err);
	if (r == 0 && held)
		r = look(v, b->restored, &there, err);
	if (r == 0 && here.type == NODE_DIR)
		r = look_now(v, b->path, b->ignore, &b->now, err);
	if (r < 0)
		return r;
	if (!b->now.any)
		return replace_whole(b, "", here.type, held ? b->restored : NULL, there.type, err);
	if (held && there.type != NODE_DIR)
		return err_set(err, ERR_CONFLICT, "it is a directory now, with files that the snapshot left out");
	r = held ? host_tree(v, b->restored, false, &b->copy, err) : 0;
	if (r == 0)
		r = restore_within(b, "", held, err);
	return r < 0 || !held ? r : host_remove_tree(b->t, b->restored, err);
}

int source_copy_back(struct target *t, const char *copy, const char *path, const struct ignore *ignore, struct err *err)
{
	_cleanup_free_ char *restored = xasprintf("%s.davit-restored", path),
			    *aside = xasprintf("%s.davit-former", path);
	struct back b = {.t = t, .path = path, .restored = restored, .aside = aside, .ignore = ignore};

	int r = settle_former(&b, err);
	/* It only ever holds copies of the snapshot's content. */
	if (r == 0)
		r = host_remove_tree(t, restored, err);
	if (r == 0 && copy)
		r = host_copy(t, copy, restored, err);
	if (r == 0)
		r = swap_in(&b, copy != NULL, err);
	now_done(&b.now);
	tree_done(&b.copy);
	return r < 0 ? err_wrap(err, r, "put back the content of '%s' on '%s'", path, t->view.name) : 0;
}
