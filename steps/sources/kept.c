/* Snapshots of any source: planned, made whole, checked, put back, removed. */
#include "steps/sources/sources.h"
#include "base/sys/fs.h"
#include "steps/sources/copies.h"
#include "steps/common/retention.h"
#include <inttypes.h>

char *source_snapshots_dir(const struct step_context *c, const struct view *v)
{
	return xasprintf("%s/snapshots/%s.%s", v->facts.base, c->deployment->name, c->deployment->environment);
}

char *source_own_dir(const struct step_context *c, const struct view *v)
{
	_cleanup_free_ char *dir = source_snapshots_dir(c, v);
	return xasprintf("%s/%s/%d", dir, c->deployment->id ? c->deployment->id : "next", c->place);
}

int source_plan_snapshot(const struct source_call *s, struct view *v, bool restore, struct plan *plan, struct err *err)
{
	_cleanup_free_ char *root = source_snapshots_dir(s->c, v), *path = source_own_dir(s->c, v);
	struct source_plan learned = {0};

	int r = s->source->plan(s, v, restore, plan, &learned, err);
	if (r == 0 && learned.summary) {
		struct change *change = plan_add(plan, &change_snapshot, ACTION_CREATE, path);
		change->before = json_pack("{s:s}", "type", "absent");
		change->after = json_pack("{s:s,s:s}", "type", "dir", "mode", "0700");
		change->extra = json_incref(learned.extra);
		json_object_set_new(change->extra, "restore", json_boolean(restore));
		json_object_set_new(change->extra, "root", json_string(root));
		json_object_set_new(json_object_get(change->extra, "plan"), "restore", json_boolean(restore));
		change->summary = TAKE(learned.summary);
		json_decref(plan->shown);
		plan->shown = json_incref(learned.shown);
	}
	free(learned.summary);
	json_decref(learned.extra);
	json_decref(learned.shown);
	return r;
}

/* ---- made ---- */

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

static int put_manifest(const struct source_call *s, struct target *t, const char *path, struct tree *all, json_t *head,
                        struct err *err)
{
	const struct node_attr attr = {.set_mode = true, .mode = 0600};
	_cleanup_(str_done) struct str text = STR_INIT(MANIFEST_MAX);
	_cleanup_free_ char *file = fs_join(path, "manifest");

	(void)s;
	json_object_set_new(head, "bytes", json_integer((json_int_t)all->bytes));
	tree_sort(all);
	manifest_write(head, all, NULL, &text);
	if (text.failed)
		return err_set(err, ERR_LIMIT, "the snapshot has too many files for its manifest");
	tree_done(all);
	return host_put(t, file, text.data, text.len, &attr, err);
}

static int put_subject(const struct source_call *s, struct target *t, const char *path, struct err *err)
{
	const struct node_attr attr = {.set_mode = true, .mode = 0600};
	_cleanup_(str_done) struct str text = STR_INIT(SUBJECT_MAX);
	_cleanup_free_ char *file = fs_join(path, "subject");

	if (s->source->subject == NULL)
		return 0;
	source_subject(s, &text);
	return host_put(t, file, str_peek(&text), text.len, &attr, err);
}

static int fill(const struct source_call *s, struct target *t, struct change *change, json_t *head, struct tree *all,
                struct err *err)
{
	const char *const paths[] = {change->path};

	int r = s->source->keep(s, t, change, head, all, err);
	if (r == 0)
		r = put_subject(s, t, change->path, err);
	/* The content is durable before the manifest, which says that it is whole, and the manifest before any change: later steps rely on it. */
	if (r == 0)
		r = host_barrier(t, paths, 1, err);
	if (r == 0)
		r = put_manifest(s, t, change->path, all, head, err);
	return r < 0 ? r : host_barrier(t, paths, 1, err);
}

int source_make(const struct source_call *s, struct target *t, struct change *change, struct err *err)
{
	const struct step_context *c = s->c;
	_cleanup_(tree_done) struct tree all = {0};
	_cleanup_free_ char *deployment = xasprintf("%s.%s", c->deployment->name, c->deployment->environment);
	_cleanup_json_ json_t *head = json_pack("{s:i,s:s,s:s,s:s}", "format", MANIFEST_FORMAT, "kind", "snapshot",
	                                        "deployment", deployment, "snapshot", c->deployment->id);

	int r = make_dirs(t, change->path, err);
	if (r == ERR_EXISTS) { /* of a try that broke */
		err_clear(err);
		r = s->source->sweep ? s->source->sweep(s, t, change->path, err) : 0;
		/* As long as the directory is there the undo looks for copies. */
		if (r == 0)
			r = copies_undo(s, t, change, err);
		if (r == 0)
			r = host_remove_tree(t, change->path, err);
		if (r == 0)
			r = make_dirs(t, change->path, err);
	}
	if (r == 0)
		r = fill(s, t, change, head, &all, err);
	if (r == 0)
		r = copies_make(s, t, change, err);
	if (r < 0)
		return r;
	json_object_set_new(c->outputs, "snapshot", json_string(c->deployment->id));
	json_object_set_new(c->outputs, "path", json_string(change->path));
	json_object_set_new(c->outputs, "bytes", json_stringf("%" PRId64, all.bytes));
	return 0;
}

/* ---- check of the content ---- */

/* Reads the manifest of a snapshot entry by entry: NULL for `each` only reads them. */
static int read_manifest(struct view *v, const char *path, json_t **ret_head,
                         int (*each)(void *context, const struct tree_entry *e, struct err *err), void *context,
                         struct err *err)
{
	_cleanup_free_ char *file = fs_join(path, "manifest");
	_cleanup_(str_done) struct str text = STR_INIT(MANIFEST_MAX);
	_cleanup_json_ json_t *head = NULL;
	struct manifest_reader lines;

	int r = host_read(v, file, MANIFEST_MAX, &text, err);
	if (r == 0)
		r = manifest_open(file, str_peek(&text), text.len, &lines, &head, err);
	if (r < 0)
		return r;
	while ((r = manifest_next(&lines, err)) > 0) {
		r = each ? each(context, &lines.entry, err) : 0;
		if (r < 0)
			break;
	}
	manifest_close(&lines);
	if (r == 0 && ret_head)
		*ret_head = TAKE(head);
	return r;
}

static int count_one(void *context, const struct tree_entry *e, struct err *err)
{
	(void)e;
	(void)err;
	++*(size_t *)context;
	return 0;
}

int source_read_manifest(struct view *v, const char *path, json_t **ret_head, size_t *ret_files, struct err *err)
{
	*ret_files = 0;
	int r = read_manifest(v, path, ret_head, count_one, ret_files, err);
	return r < 0 ? err_wrap(err, r, "read the snapshot '%s' on '%s'", path, v->name) : 0;
}

int source_read_head(struct view *v, const char *path, json_t **ret, struct err *err)
{
	size_t files;
	return source_read_manifest(v, path, ret, &files, err);
}

struct checking {
	struct view *v;
	const char *path;
	struct tree now;
};

static int check_one(void *context, const struct tree_entry *e, struct err *err)
{
	struct checking *k = context;
	const struct tree_entry *there = tree_find(&k->now, e->path);
	if (there && manifest_same(e, there))
		return 0;
	return err_set(err, ERR_CONFLICT, "'%s/%s' on '%s' is not as it was kept", k->path, e->path, k->v->name);
}

int source_check(struct view *v, const char *path, json_t **ret_head, struct err *err)
{
	struct checking k = {.v = v, .path = path};
	_cleanup_free_ char *file = fs_join(path, "manifest");
	_cleanup_(node_done) struct node manifest = {0};

	int r = host_stat(v, file, &manifest, err);
	if (r == 0 && manifest.type == NODE_ABSENT)
		return err_set(err, ERR_CONFLICT, "the snapshot '%s' on '%s' has no manifest: it is not whole", path,
		               v->name);
	if (r == 0)
		r = host_tree(v, path, true, &k.now, err);
	if (r == 0)
		r = read_manifest(v, path, ret_head, check_one, &k, err);
	tree_done(&k.now);
	return r;
}

/* ---- taken back ---- */

/* Removes empty directories above. */
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

/* In this order, each durable before the next: the content back, the manifest gone, the rest gone. The next try finds a snapshot that is
 * whole, or one that is no longer needed. */
static int put_back(const struct source_call *s, struct target *t, const struct change *change, const char *manifest,
                    struct err *err)
{
	int r = source_check(&t->view, change->path, NULL, err);
	if (r == 0)
		r = s->source->put_back(s, t, change->path, change->extra, change->path, err);
	if (r == 0)
		r = host_remove(t, manifest, err);
	return r < 0 ? r : host_barrier(t, (const char *const[]){change->path}, 1, err);
}

int source_unmake(const struct source_call *s, struct target *t, const struct change *change, struct err *err)
{
	_cleanup_(node_done) struct node n = {0};
	_cleanup_(node_done) struct node manifest = {0};
	_cleanup_free_ char *file = fs_join(change->path, "manifest");

	int r = host_stat(&t->view, change->path, &n, err);
	if (r == 0 && n.type != NODE_ABSENT)
		r = host_stat(&t->view, file, &manifest, err);
	/* Without its manifest it was never whole, so nothing after it was begun; or its content is back already. */
	if (r == 0 && json_get_bool(change->extra, "restore", false) && manifest.type == NODE_FILE)
		r = put_back(s, t, change, file, err);
	if (r == 0 && n.type != NODE_ABSENT && s->source->sweep)
		r = s->source->sweep(s, t, change->path, err);
	/* The copies go before the directory, by which the next try knows that there may be some. */
	if (r == 0 && n.type != NODE_ABSENT)
		r = copies_undo(s, t, change, err);
	if (r == 0 && n.type != NODE_ABSENT)
		r = host_remove_tree(t, change->path, err);
	return r < 0 ? r : remove_empty(t, change->path, err);
}

/* ---- found again ---- */

void source_subject(const struct source_call *s, struct str *out)
{
	str_appendf(out, "%s ", s->source->name);
	s->source->subject(s, out);
}

/* True if it has this subject; for files: no subject. A missing place has neither. */
static int is_of(const struct source_call *s, struct view *v, const char *path, bool *ret, struct err *err)
{
	_cleanup_free_ char *file = fs_join(path, "subject");
	_cleanup_(str_done) struct str there = STR_INIT(SUBJECT_MAX), own = STR_INIT(SUBJECT_MAX);

	int r = host_read(v, file, SUBJECT_MAX - 1, &there, err);
	*ret = r == ERR_NOT_FOUND && s->source->subject == NULL;
	if (r == ERR_NOT_FOUND) {
		err_clear(err);
		return 0;
	}
	if (r == 0 && s->source->subject) {
		source_subject(s, &own);
		*ret = strcmp(str_peek(&there), str_peek(&own)) == 0;
	}
	return r;
}

int source_place(const struct source_call *s, struct view *v, const char *snapshot, char **ret, struct err *err)
{
	_cleanup_(strv_done) struct strv names = {0};
	int r = 0;

	*ret = NULL;
	if (s->source->subject == NULL)
		strv_addf(&names, "%d", s->c->place);
	else
		r = host_list(v, snapshot, &names, err);
	for (size_t i = 0; i < names.count && r == 0 && *ret == NULL; i++) {
		_cleanup_free_ char *path = fs_join(snapshot, names.items[i]);
		bool own = false;
		r = is_of(s, v, path, &own, err);
		if (r == 0 && own)
			*ret = TAKE(path);
	}
	return r;
}

/* A directory without a manifest means nothing. */
static int whole_place(const struct source_call *s, struct view *v, const char *snapshot, char **ret, struct err *err)
{
	_cleanup_(node_done) struct node n = {0};
	_cleanup_free_ char *path = NULL;

	int r = source_place(s, v, snapshot, &path, err);
	if (r < 0 || path == NULL)
		return r;
	_cleanup_free_ char *file = fs_join(path, "manifest");
	r = host_stat(v, file, &n, err);
	if (r == 0 && n.type == NODE_FILE)
		*ret = TAKE(path);
	return r;
}

/* Younger than that release: names sort by their time. */
bool source_is_after(const char *name, const char *release)
{
	return strcmp(name, release) > 0;
}

int source_first_after(const struct source_call *s, struct view *v, const char *release, char **ret, bool *ret_sure,
                       struct err *err)
{
	_cleanup_free_ char *dir = source_snapshots_dir(s->c, v);
	_cleanup_(retention_done) struct retention_list kept = {0};

	*ret = NULL;
	int r = retention_list(v, dir, "", "", &kept, err);
	*ret_sure = r == 0 && kept.count > 0 && !source_is_after(kept.items[0].name, release);
	for (size_t i = 0; r == 0 && *ret == NULL && i < kept.count; i++) {
		if (!source_is_after(kept.items[i].name, release))
			continue;
		_cleanup_free_ char *snapshot = fs_join(dir, kept.items[i].name);
		r = whole_place(s, v, snapshot, ret, err);
	}
	return r;
}
