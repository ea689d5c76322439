/* snapshot of files: a copy on the target itself, below BASE, in the order of `paths`: BASE/snapshots/NAME.ENVIRONMENT/ID/STEP/N.
 * Never by hard links: a file that is written in place would change in both. */
#include "steps/snapshot/snapshot.h"
#include "base/sys/fs.h"
#include "steps/common/retention.h"
#include "steps/common/manifest.h"
#include <inttypes.h>

enum { SPACE_MARGIN = 16 << 20, SPACE_PER_FILE = 4096 };

static const char *type_name(enum node_type type)
{
	return type == NODE_ABSENT ? "absent" : type == NODE_DIR ? "dir" : type == NODE_LINK ? "link" : "file";
}

static char *snapshots_dir(const struct step_context *c, const struct view *v)
{
	return xasprintf("%s/snapshots/%s.%s", v->facts.base, c->deployment->name, c->deployment->environment);
}

/* NULL when nothing is excluded. */
static struct ignore *make_ignore(const json_t *patterns)
{
	struct ignore *i = NULL;
	size_t n;
	json_t *p;

	json_array_foreach((json_t *)(uintptr_t)patterns, n, p)
	{
		if (!i)
			i = ignore_new();
		ignore_add(i, json_string_value(p));
	}
	return i;
}

static json_t *text_list(const struct field_strings *s)
{
	json_t *list = json_array();
	for (size_t i = 0; i < s->count; i++)
		json_array_append_new(list, json_string(s->items[i]));
	return list;
}

static void describe(const struct step_context *c, struct str *out)
{
	const struct snapshot_in *in = c->input;

	str_append(out, "keep a copy of ");
	for (size_t i = 0; i < in->files.paths.count; i++)
		str_appendf(out, "%s%s", i ? ", " : "", in->files.paths.items[i]);
	if (in->files.restore_on_rollback)
		str_append(out, ", put back on a rollback");
}

static void validate(const struct step_context *c, struct faults *faults)
{
	const struct snapshot_in *in = c->input;
	const struct field_strings *paths = &in->files.paths;

	for (size_t i = 0; i < paths->count; i++) {
		_cleanup_free_ char *pointer = xasprintf("/files/paths/%zu", i), *path = NULL;
		if (fs_normalize(paths->items[i], &path, NULL) < 0 || *path != '/' || strcmp(path, "/") == 0) {
			faults_add(faults, NULL, pointer, "'%s' cannot be kept", paths->items[i]);
			faults_hint(faults, "an absolute path below /");
			continue;
		}
		for (size_t k = 0; k < i; k++) {
			_cleanup_free_ char *other = NULL;
			if (fs_normalize(paths->items[k], &other, NULL) < 0)
				continue;
			if (fs_below(other, path) || fs_below(path, other))
				faults_add(faults, NULL, pointer, "'%s' and '%s' hold the same files", paths->items[k],
				           paths->items[i]);
		}
	}
}

/* ---- plan ---- */

struct sizes {
	int64_t bytes, files;
};

static int measure(struct view *v, const char *path, const struct ignore *ignore, enum node_type *ret_type,
                   struct sizes *sizes, struct err *err)
{
	_cleanup_(node_done) struct node n = {0};
	_cleanup_(tree_done) struct tree tree = {0};

	int r = host_stat(v, path, &n, err);
	if (r < 0)
		return r;
	*ret_type = n.type;
	if (n.type == NODE_OTHER)
		return err_set(err, ERR_REFUSED, "'%s' on '%s' is no file, directory or link", path, v->name);
	if (fs_below(path, v->facts.base) || fs_below(v->facts.base, path))
		return err_set(err, ERR_REFUSED, "'%s' on '%s' holds davit's own files (%s)", path, v->name,
		               v->facts.base);
	if (n.type != NODE_DIR) {
		sizes->bytes += n.type == NODE_FILE ? n.size : 0;
		sizes->files += n.type != NODE_ABSENT;
		return 0;
	}
	r = host_tree(v, path, false, &tree, err);
	for (size_t i = 0; i < tree.count && r == 0; i++) {
		const struct tree_entry *e = &tree.entries[i];
		if (ignore && ignore_matches(ignore, e->path, S_ISDIR(e->mode)))
			continue;
		sizes->bytes += e->size;
		sizes->files++;
	}
	return r;
}

static int check_space(struct view *v, const struct sizes *sizes, int64_t *ret_room, struct err *err)
{
	_cleanup_free_ char *path = xstrdup(v->facts.base);
	int64_t need = sizes->bytes + sizes->files * SPACE_PER_FILE + SPACE_MARGIN;
	int r;

	for (;;) {
		_cleanup_(node_done) struct node there = {0};
		r = host_stat(v, path, &there, err);
		if (r < 0)
			return r;
		if (there.type != NODE_ABSENT || strcmp(path, "/") == 0)
			break;
		char *slash = strrchr(path, '/');
		slash[slash == path] = 0;
	}
	r = host_space(v, path, ret_room, err);
	/* Whether blocks can be shared is known only by trying: room for a copy is asked for in any case. */
	if (r == 0 && *ret_room < need) {
		r = err_set(err, ERR_REFUSED,
		            "'%s' on '%s' has %" PRId64 " MB free, the snapshot may need %" PRId64 " MB", path, v->name,
		            *ret_room / 1000000, need / 1000000 + 1);
		err_hint(err, r, "make room, exclude something, or set the target's `base:` to a larger file system");
	}
	return r;
}

static int plan(const struct step_context *c, struct view *v, struct plan *plan, struct err *err)
{
	const struct snapshot_in *in = c->input;
	_cleanup_free_ char *dir = snapshots_dir(c, v);
	_cleanup_free_ char *path =
		xasprintf("%s/%s/%d", dir, c->deployment->id ? c->deployment->id : "next", c->place);
	_cleanup_json_ json_t *paths = json_array(), *exclude = text_list(&in->files.exclude), *names = json_array();
	struct ignore *ignore = make_ignore(exclude);
	struct sizes sizes = {0};
	int64_t room = 0;
	int r = 0;

	for (size_t i = 0; i < in->files.paths.count && r == 0; i++) {
		_cleanup_free_ char *one = NULL;
		enum node_type type = NODE_ABSENT;
		r = fs_normalize(in->files.paths.items[i], &one, err);
		if (r == 0)
			r = measure(v, one, ignore, &type, &sizes, err);
		if (r == 0) {
			json_array_append_new(paths, json_pack("{s:s,s:s}", "path", one, "type", type_name(type)));
			json_array_append_new(names, json_string(one));
		}
	}
	ignore_free(ignore);
	if (r == 0)
		r = check_space(v, &sizes, &room, err);
	if (r < 0)
		return r;
	struct change *change = plan_add(plan, &change_snapshot, ACTION_CREATE, path);
	change->before = json_pack("{s:s}", "type", "absent");
	change->after = json_pack("{s:s,s:s}", "type", "dir", "mode", "0700");
	change->extra = json_pack("{s:O,s:O,s:b,s:s,s:{s:s,s:O,s:O,s:b}}", "paths", paths, "exclude", exclude,
	                          "restore", in->files.restore_on_rollback, "root", dir, "plan", "type", "snapshot",
	                          "paths", names, "exclude", exclude, "restore", in->files.restore_on_rollback);
	change->summary = xasprintf("snapshot of %zu paths, %" PRId64 " files, %.1f MB", json_array_size(paths),
	                            sizes.files, (double)sizes.bytes / 1e6);
	plan->shown = json_pack("{s:O,s:I,s:I,s:I,s:s}", "paths", paths, "files", (json_int_t)sizes.files, "bytes",
	                        (json_int_t)sizes.bytes, "free", (json_int_t)room, "method",
	                        v->facts.has_reflink ? "reflink where the file system can, else copy" : "copy");
	return 0;
}

/* ---- apply ---- */

static int make_dirs(struct target *t, const char *path, struct err *err)
{
	const struct node_attr attr = {.set_mode = true, .mode = 0700};
	size_t base = strlen(t->view.facts.base);
	_cleanup_free_ char *dir = xstrdup(path);

	for (char *slash = strchr(dir + base + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		int r = host_mkdir(t, dir, &attr, err);
		if (r == ERR_EXISTS)
			err_clear(err);
		else if (r < 0)
			return r;
		*slash = '/';
	}
	return host_mkdir(t, path, &attr, err);
}

/* A live directory may change while it is copied. What is not in the copy as it was before must have changed since. */
static int compare_copy(const struct step_context *c, struct view *v, const char *path, const struct tree *before,
                        const struct tree *copy, const struct ignore *ignore, struct err *err)
{
	size_t changed = 0;

	for (size_t i = 0; i < before->count; i++) {
		const struct tree_entry *e = &before->entries[i], *there = tree_find(copy, e->path);
		_cleanup_(node_done) struct node now = {0};
		if (S_ISDIR(e->mode) || (ignore && ignore_matches(ignore, e->path, false)))
			continue;
		if (there && (there->mode & S_IFMT) == (e->mode & S_IFMT) && there->size == e->size &&
		    (S_ISLNK(e->mode) ? strcmp(there->link, e->link) == 0
		                      : there->mtime_ns / 1000000000 == e->mtime_ns / 1000000000))
			continue;
		_cleanup_free_ char *full = fs_join(path, e->path);
		int r = host_stat(v, full, &now, err);
		if (r < 0)
			return r;
		if (now.type == (S_ISLNK(e->mode) ? NODE_LINK : NODE_FILE) && now.size == e->size &&
		    now.mtime_ns == e->mtime_ns)
			return err_set(err, ERR_CONFLICT, "the copy of '%s' on '%s' is not like it", full, v->name);
		changed++;
	}
	if (changed > 0)
		c->report(c->engine, "%zu files of %s changed while they were copied", changed, path);
	return 0;
}

static void add_entries(struct tree *all, const char *prefix, struct tree *from)
{
	for (size_t i = 0; i < from->count; i++) {
		struct tree_entry *e = tree_add(all), *o = &from->entries[i];
		*e = *o;
		e->path = xasprintf("%s/%s", prefix, o->path);
		e->link = TAKE(o->link);
		all->bytes += e->size;
	}
}

static int copy_path(const struct step_context *c, struct target *t, const char *path, const char *goal,
                     const char *number, const char *type, const struct ignore *ignore, struct tree *all,
                     struct err *err)
{
	struct view *v = &t->view;
	_cleanup_(tree_done) struct tree before = {0};
	_cleanup_(tree_done) struct tree copy = {0};
	int r = 0;

	if (strcmp(type, "dir") == 0)
		r = host_tree(v, path, false, &before, err);
	if (r == 0)
		r = snapshot_copy(t, path, goal, ignore, err);
	if (r == 0 && strcmp(type, "dir") == 0)
		r = host_tree(v, goal, true, &copy, err);
	if (r == 0 && strcmp(type, "dir") == 0)
		r = compare_copy(c, v, path, &before, &copy, ignore, err);
	if (r < 0)
		return err_wrap(err, r, "copy '%s' on '%s'", path, v->name);
	if (strcmp(type, "file") == 0) {
		_cleanup_(node_done) struct node n = {0};
		struct tree_entry *e = tree_add(all);
		r = host_stat(v, goal, &n, err);
		e->path = xstrdup(number);
		e->mode = S_IFREG | n.mode;
		e->size = n.size;
		all->bytes += n.size;
		return r < 0 ? r : host_digest(v, goal, e->digest, err);
	}
	add_entries(all, number, &copy);
	return 0;
}

static int put_manifest(const struct step_context *c, struct target *t, const char *path, struct tree *all,
                        const json_t *extra, struct err *err)
{
	const struct node_attr attr = {.set_mode = true, .mode = 0600};
	_cleanup_(str_done) struct str text = STR_INIT(MANIFEST_MAX);
	_cleanup_free_ char *file = fs_join(path, "manifest"),
			    *deployment = xasprintf("%s.%s", c->deployment->name, c->deployment->environment);
	_cleanup_json_ json_t *head =
		json_pack("{s:i,s:s,s:s,s:s,s:O,s:O,s:I}", "format", MANIFEST_FORMAT, "kind", "snapshot", "deployment",
	                  deployment, "snapshot", c->deployment->id, "paths", json_object_get(extra, "paths"),
	                  "exclude", json_object_get(extra, "exclude"), "bytes", (json_int_t)all->bytes);

	tree_sort(all);
	manifest_write(head, all, NULL, &text);
	if (text.failed)
		return err_set(err, ERR_LIMIT, "the snapshot has too many files for its manifest");
	return host_put(t, file, text.data, text.len, &attr, err);
}

static int apply(const struct step_context *c, struct target *t, struct change *change, struct err *err)
{
	const json_t *paths = json_get_array(change->extra, "paths");
	struct ignore *ignore = make_ignore(json_get_array(change->extra, "exclude"));
	_cleanup_(tree_done) struct tree all = {0};
	size_t i;
	json_t *one;

	int r = make_dirs(t, change->path, err);
	if (r == ERR_EXISTS) { /* of a try that broke */
		err_clear(err);
		r = host_remove_tree(t, change->path, err);
		if (r == 0)
			r = make_dirs(t, change->path, err);
	}
	json_array_foreach((json_t *)(uintptr_t)paths, i, one)
	{
		const char *path = json_get_string(one, "path"), *type = json_get_string(one, "type");
		if (r < 0 || strcmp(type, "absent") == 0)
			continue;
		char number[24];
		snprintf(number, sizeof(number), "%zu", i);
		_cleanup_free_ char *goal = fs_join(change->path, number);
		r = copy_path(c, t, path, goal, number, type, ignore, &all, err);
	}
	ignore_free(ignore);
	/* The content is durable before the manifest says that it is whole, and that before anything is changed: what comes next counts on it. */
	if (r == 0)
		r = host_barrier(t, (const char *const[]){change->path}, 1, err);
	if (r == 0)
		r = put_manifest(c, t, change->path, &all, change->extra, err);
	if (r == 0)
		r = host_barrier(t, (const char *const[]){change->path}, 1, err);
	if (r < 0)
		return r;
	json_object_set_new(c->outputs, "snapshot", json_string(c->deployment->id));
	json_object_set_new(c->outputs, "path", json_string(change->path));
	json_object_set_new(c->outputs, "bytes", json_stringf("%" PRId64, all.bytes));
	return 0;
}

/* ---- what is in it is what was put into it ---- */

static int check_manifest(struct view *v, const char *path, struct err *err)
{
	_cleanup_free_ char *file = fs_join(path, "manifest");
	_cleanup_(str_done) struct str text = STR_INIT(MANIFEST_MAX);
	_cleanup_(tree_done) struct tree now = {0};
	_cleanup_(manifest_done) struct manifest m = {0};

	int r = host_read(v, file, MANIFEST_MAX, &text, err);
	if (r == ERR_NOT_FOUND)
		return err_set(err, ERR_CONFLICT, "the snapshot '%s' on '%s' has no manifest: it is not whole", path,
		               v->name);
	if (r == 0)
		r = manifest_parse(file, str_peek(&text), text.len, &m, err);
	if (r == 0)
		r = host_tree(v, path, true, &now, err);
	for (size_t i = 0; i < m.tree.count && r == 0; i++) {
		const struct tree_entry *e = &m.tree.entries[i], *there = tree_find(&now, e->path);
		if (!there || !manifest_same(e, there))
			r = err_set(err, ERR_CONFLICT, "'%s/%s' on '%s' is not as it was kept", path, e->path, v->name);
	}
	return r;
}

static int verify(const struct step_context *c, struct view *v, const struct change *change, struct err *err)
{
	(void)c;
	return check_manifest(v, change->path, err);
}

static int restore_all(const struct step_context *c, struct target *t, const struct change *change, struct err *err)
{
	const json_t *paths = json_get_array(change->extra, "paths");
	size_t i;
	json_t *one;

	int r = check_manifest(&t->view, change->path, err);
	if (r < 0)
		return r;
	struct ignore *ignore = make_ignore(json_get_array(change->extra, "exclude"));
	json_array_foreach((json_t *)(uintptr_t)paths, i, one)
	{
		const char *path = json_get_string(one, "path"), *type = json_get_string(one, "type");
		_cleanup_free_ char *copy = xasprintf("%s/%zu", change->path, i);
		if (r < 0 || !path || !type)
			continue;
		c->report(c->engine, "put back %s", path);
		r = snapshot_restore(t, strcmp(type, "absent") == 0 ? NULL : copy, path, ignore, err);
	}
	ignore_free(ignore);
	return r;
}

/* What is left of the directories above, when they are empty. */
static int remove_empty(struct target *t, const char *path, struct err *err)
{
	_cleanup_free_ char *dir = xstrdup(path);

	for (int i = 0; i < 3; i++) {
		char *slash = strrchr(dir, '/');
		if (!slash || slash == dir)
			return 0;
		*slash = 0;
		if (!fs_below(t->view.facts.base, dir) || strcmp(t->view.facts.base, dir) == 0)
			return 0;
		int r = host_remove(t, dir, err);
		if (r < 0 && r != ERR_EXISTS && r != ERR_NOT_FOUND)
			return r;
		if (r < 0)
			err_clear(err);
		if (r == ERR_EXISTS)
			return 0;
	}
	return 0;
}

/* In this order, each durable before the next: the content back, the manifest gone, the rest gone. Whoever goes on finds a snapshot that is
 * whole, or one that has nothing more to give. */
static int put_back(const struct step_context *c, struct target *t, const struct change *change, const char *manifest,
                    struct err *err)
{
	const json_t *all = json_get_array(change->extra, "paths");
	const char **paths = xcalloc(json_array_size(all) + 1, sizeof(*paths));
	size_t count = 0;

	int r = restore_all(c, t, change, err);
	for (size_t i = 0; i < json_array_size(all); i++)
		if (json_get_string(json_array_get(all, i), "path"))
			paths[count++] = json_get_string(json_array_get(all, i), "path");
	if (r == 0 && count > 0)
		r = host_barrier(t, paths, count, err);
	free(paths);
	if (r == 0)
		r = host_remove(t, manifest, err);
	if (r == 0)
		r = host_barrier(t, (const char *const[]){change->path}, 1, err);
	return r;
}

static int undo(const struct step_context *c, struct target *t, const struct change *change, struct err *err)
{
	_cleanup_(node_done) struct node n = {0};
	_cleanup_(node_done) struct node manifest = {0};
	_cleanup_free_ char *file = fs_join(change->path, "manifest");

	int r = host_stat(&t->view, change->path, &n, err);
	if (r == 0 && n.type != NODE_ABSENT)
		r = host_stat(&t->view, file, &manifest, err);
	/* Without its manifest it was never whole, so nothing after it was begun; or its content is back already. */
	if (r == 0 && json_get_bool(change->extra, "restore", false) && manifest.type == NODE_FILE)
		r = put_back(c, t, change, file, err);
	if (r == 0 && n.type != NODE_ABSENT)
		r = host_remove_tree(t, change->path, err);
	return r < 0 ? r : remove_empty(t, change->path, err);
}

/* The newest snapshot that this step made and that is whole: its place; NULL: none. A directory without one says nothing. */
static int newest_whole(const struct step_context *c, struct view *v, const char *former_release, char **ret,
                        struct manifest *m, struct err *err)
{
	_cleanup_free_ char *dir = snapshots_dir(c, v);
	_cleanup_(retention_done) struct retention_list kept = {0};

	int r = retention_list(v, dir, "", "", &kept, err);
	for (size_t i = kept.count; r == 0 && i-- > 0;) {
		const char *name = kept.items[i].name;
		_cleanup_(str_done) struct str text = STR_INIT(MANIFEST_MAX);
		if (former_release &&
		    (strcmp(name, former_release) == 0 || strncmp(name, former_release, RETENTION_TIME) < 0))
			return 0;
		_cleanup_free_ char *path = xasprintf("%s/%s/%d", dir, name, c->place),
				    *file = fs_join(path, "manifest");
		r = host_read(v, file, MANIFEST_MAX, &text, err);
		if (r == ERR_NOT_FOUND) {
			err_clear(err);
			r = 0;
			continue;
		}
		if (r == 0)
			r = manifest_parse(file, str_peek(&text), text.len, m, err);
		if (r < 0)
			return err_wrap(err, r, "read the snapshot '%s' on '%s'", path, v->name);
		*ret = TAKE(path);
		return 0;
	}
	return r;
}

/* davit rollback --data: the snapshot that the deployment took which replaced the former release, the newest one. An undo has put its content
 * back by itself. */
static int restore(const struct step_context *c, struct target *t, const char *former_release, struct err *err)
{
	_cleanup_(manifest_done) struct manifest m = {0};
	_cleanup_free_ char *path = NULL;
	struct change change = {0};

	if (c->deployment->undoing)
		return 0;
	int r = newest_whole(c, &t->view, former_release, &path, &m, err);
	if (r < 0)
		return r;
	if (!path)
		return err_set(err, ERR_NOT_FOUND, "there is no snapshot that was taken after release '%s'",
		               former_release ? former_release : "-");
	change.path = path;
	change.extra = m.head;
	return restore_all(c, t, &change, err);
}

static void describe_after(const struct step_context *c, struct str *out)
{
	const struct snapshot_in *in = c->input;
	if (c->deployment->undoing)
		return;
	str_append(out, "put back what was kept before that release of ");
	for (size_t i = 0; i < in->files.paths.count; i++)
		str_appendf(out, "%s%s", i ? ", " : "", in->files.paths.items[i]);
}

/* What an undo that died left of a snapshot's directory is none, and takes the place of none. */
static int drop_empty(struct target *t, const char *dir, struct retention_list *kept, struct err *err)
{
	size_t whole = 0;
	int r = 0;

	for (size_t i = 0; i < kept->count && r == 0; i++) {
		_cleanup_free_ char *path = fs_join(dir, kept->items[i].name);
		_cleanup_(strv_done) struct strv names = {0};
		r = host_list(&t->view, path, &names, err);
		if (r == 0 && names.count == 0)
			r = host_remove(t, path, err);
		else if (r == 0) {
			const struct retention_entry one = kept->items[i];
			kept->items[i] = kept->items[whole];
			kept->items[whole++] = one;
		}
	}
	while (r == 0 && kept->count > whole)
		free(kept->items[--kept->count].name);
	return r;
}

static int clean(const struct step_context *c, struct target *t, struct err *err)
{
	const struct snapshot_in *in = c->input;
	_cleanup_free_ char *dir = snapshots_dir(c, &t->view);
	_cleanup_(retention_done) struct retention_list kept = {0};

	int r = retention_list(&t->view, dir, "", "", &kept, err);
	if (r == 0)
		r = drop_empty(t, dir, &kept, err);
	for (size_t i = 0; r == 0 && i + (size_t)in->files.keep < kept.count; i++) {
		_cleanup_free_ char *path = fs_join(dir, kept.items[i].name);
		r = host_remove_tree(t, path, err);
		if (r == 0)
			c->report(c->engine, "removed snapshot %s", kept.items[i].name);
	}
	return r;
}

const struct step_type snapshot_step = {
	.info = &snapshot_info,
	.describe = describe,
	.validate = validate,
	.plan = plan,
	.apply = apply,
	.verify = verify,
	.undo = undo,
	.restore = restore,
	.after = describe_after,
	.clean = clean,
};
