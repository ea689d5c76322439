#include "steps/archive_upload/archive_upload.h"
#include "base/secret/digest.h"
#include "base/sys/fs.h"
#include "steps/common/paths.h"
#include <inttypes.h>

enum { LARGEST_SHOWN = 5, SPACE_MARGIN = 16 << 20, SPACE_PER_FILE = 4096 };

/* ---- differences ---- */

static bool is_content(const struct tree_entry *e)
{
	return !S_ISDIR(e->mode);
}

static void count_entry(struct upload *u, size_t i, const struct tree_entry *former)
{
	const struct tree_entry *e = &u->source->tree.entries[i];
	struct upload_counts *n = &u->counts;

	u->same[i] = former && manifest_same(e, former);
	if (!is_content(e))
		return;
	if (u->same[i]) {
		n->same++;
		n->same_bytes += e->size;
	} else if (former && is_content(former)) {
		n->changed++;
		n->changed_bytes += e->size;
	} else {
		n->fresh++;
		n->fresh_bytes += e->size;
	}
}

static void count_gone(struct upload *u, const struct tree_entry *former)
{
	if (!is_content(former))
		return;
	u->counts.gone++;
	u->counts.gone_bytes += former->size;
}

/* True if anything differs, directories and modes included. */
static bool compare_trees(struct upload *u)
{
	const struct tree *t = &u->source->tree;
	struct upload_former_lines f;
	bool differs = u->former_release == NULL;

	u->same = xcalloc(MAX(t->count, (size_t)1), sizeof(bool));
	upload_former_begin(&u->former, &f);
	for (size_t i = 0; i < t->count; i++) {
		int order = -1;
		for (; f.there && (order = strcmp(f.reader.entry.path, t->entries[i].path)) < 0;
		     upload_former_next(&f)) {
			count_gone(u, &f.reader.entry);
			differs = true;
		}
		bool found = f.there && order == 0;
		count_entry(u, i, found ? &f.reader.entry : NULL);
		differs |= !u->same[i];
		if (found)
			upload_former_next(&f);
	}
	for (; f.there; upload_former_next(&f)) {
		count_gone(u, &f.reader.entry);
		differs = true;
	}
	upload_former_end(&f);
	return differs;
}

/* ---- for people ---- */

struct lump {
	const char *path;
	size_t len;
	int64_t bytes;
	size_t files;
};

static int compare_lumps(const void *a, const void *b)
{
	int64_t x = ((const struct lump *)a)->bytes, y = ((const struct lump *)b)->bytes;
	return x < y ? 1 : x > y ? -1 : 0;
}

/* The top of the tree by size, each directory as one thing: a forgotten exclude stands first. */
static json_t *largest_tops(const struct tree *t)
{
	struct lump *lumps = NULL;
	size_t count = 0, cap = 0;
	json_t *list = json_array();

	for (size_t i = 0; i < t->count; i++) {
		const char *path = t->entries[i].path;
		size_t len = strcspn(path, "/");
		if (S_ISDIR(t->entries[i].mode))
			continue;
		/* Entries below one directory are adjacent. */
		if (count == 0 || lumps[count - 1].len != len || memcmp(lumps[count - 1].path, path, len) != 0) {
			lumps = xgrow(lumps, &cap, count + 1, sizeof(*lumps));
			lumps[count++] = (struct lump){path, len, 0, 0};
		}
		lumps[count - 1].bytes += t->entries[i].size;
		lumps[count - 1].files++;
	}
	if (count > 0)
		qsort(lumps, count, sizeof(*lumps), compare_lumps);
	for (size_t i = 0; i < MIN(count, (size_t)LARGEST_SHOWN); i++)
		json_array_append_new(list, json_pack("{s:o,s:I,s:I}", "path",
		                                      json_string_lossy(lumps[i].path, lumps[i].len), "bytes",
		                                      (json_int_t)lumps[i].bytes, "files", (json_int_t)lumps[i].files));
	free(lumps);
	return list;
}

static json_t *largest_files(const struct tree *t)
{
	const struct tree_entry *best[LARGEST_SHOWN] = {0};
	json_t *list = json_array();

	for (size_t i = 0; i < t->count; i++) {
		const struct tree_entry *e = &t->entries[i];
		if (!S_ISREG(e->mode))
			continue;
		for (int k = 0; k < LARGEST_SHOWN; k++) {
			if (best[k] && best[k]->size >= e->size)
				continue;
			memmove(&best[k + 1], &best[k], (size_t)(LARGEST_SHOWN - 1 - k) * sizeof(best[0]));
			best[k] = e;
			break;
		}
	}
	for (int k = 0; k < LARGEST_SHOWN && best[k]; k++)
		json_array_append_new(list, json_pack("{s:o,s:I}", "path",
		                                      json_string_lossy(best[k]->path, strlen(best[k]->path)), "bytes",
		                                      (json_int_t)best[k]->size));
	return list;
}

static json_t *shown(const struct upload *u)
{
	const struct upload_counts *n = &u->counts;
	json_t *dirty = json_array();

	for (size_t i = 0; i < u->source->dirty.count; i++)
		json_array_append_new(dirty,
		                      json_string_lossy(u->source->dirty.items[i], strlen(u->source->dirty.items[i])));
	return json_pack("{s:{s:I,s:I,s:I,s:I},s:{s:I,s:I,s:I,s:I},s:o,s:o,s:o,s:o}", "files", "new",
	                 (json_int_t)n->fresh, "changed", (json_int_t)n->changed, "gone", (json_int_t)n->gone,
	                 "unchanged", (json_int_t)n->same, "bytes", "new", (json_int_t)n->fresh_bytes, "changed",
	                 (json_int_t)n->changed_bytes, "gone", (json_int_t)n->gone_bytes, "unchanged",
	                 (json_int_t)n->same_bytes, "largest", largest_tops(&u->source->tree), "largest_files",
	                 largest_files(&u->source->tree), "former",
	                 u->former_name ? json_string(u->former_name) : json_null(), "dirty", dirty);
}

static char *summary(const struct upload *u)
{
	const struct upload_counts *n = &u->counts;
	_cleanup_(str_done) struct str s = STR_INIT(4096);

	str_appendf(&s, "release %s: %zu new files (", u->release, n->fresh);
	upload_show_size(n->fresh_bytes, &s);
	str_appendf(&s, "), %zu changed (", n->changed);
	upload_show_size(n->changed_bytes, &s);
	str_appendf(&s, "), %zu gone, %zu unchanged", n->gone, n->same);
	if (u->source->dirty_count > 0)
		str_append(&s, ", from a dirty work tree");
	else if (u->source->git)
		str_appendf(&s, ", commit %.12s", u->source->commit);
	else
		str_append(&s, ", no commit");
	return str_take(&s);
}

/* ---- the changes ---- */

static struct change *add(struct plan *plan, const struct change_type *kind, enum change_action action,
                          const char *path, const char *before, json_t *after, const char *text)
{
	struct change *c = plan_add(plan, kind, action, path);

	c->before = json_pack("{s:s}", "type", before);
	c->after = after;
	c->summary = xstrdup(text);
	return c;
}

static json_t *link_node(const char *to)
{
	return json_pack("{s:s,s:s}", "type", "link", "link", to);
}

static struct change *add_move(struct plan *plan, const char *from, const char *to)
{
	_cleanup_free_ char *text = xasprintf("move %s to %s", from, to);
	struct change *c = plan_add(plan, &change_move, ACTION_ADOPT, from);

	c->extra = json_pack("{s:s}", "to", to);
	c->summary = xstrdup(text);
	return c;
}

/* Directories that are missing above `path`, and itself with `self`, are the release's to make: its undo removes them if they are
 * empty then, and leaves those that an application has begun to use. */
static int plan_made(struct view *v, struct upload *u, const char *path, bool self, struct err *err)
{
	_cleanup_free_ char *dir = xasprintf("%s%s", path, self ? "/" : "");

	for (char *slash = strchr(dir + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		const struct node *n;
		bool is_dir = true, made;
		*slash = 0;
		made = strv_has(&u->made, dir);
		int r = made ? 0 : node_cache_stat(&u->seen, v, dir, &n, err);
		bool absent = !made && r == 0 && n->type == NODE_ABSENT;
		if (r == 0 && !made && !absent)
			r = node_cache_is_directory(&u->seen, v, dir, &is_dir, err);
		if (r < 0)
			return r;
		if (!is_dir)
			return err_set(err, ERR_REFUSED, "'%s' on '%s' is not a directory", dir, v->name);
		if (absent)
			strv_add(&u->made, dir);
		*slash = '/';
	}
	return 0;
}

/* Moves the paths of `shared` from the old code into shared/, and leaves a link in their place. */
static int adopt_shared(struct view *v, struct upload *u, const char *old, const char *name, struct plan *plan,
                        struct strv *adopted, struct err *err)
{
	_cleanup_free_ char *was = fs_join(old, name), *from = fs_join(u->at.before, name),
			    *to = fs_join(u->at.shared, name);
	_cleanup_free_ char *link = upload_shared_link(name, name);
	const struct node *n;

	int r = node_cache_stat(&u->seen, v, was, &n, err);
	if (r < 0 || n->type == NODE_ABSENT || n->type == NODE_LINK)
		return r;
	r = node_cache_stat(&u->seen, v, to, &n, err);
	if (r < 0 || n->type != NODE_ABSENT)
		return r;
	r = plan_made(v, u, to, false, err);
	if (r < 0)
		return r;
	add_move(plan, from, to);
	_cleanup_free_ char *text = xasprintf("link %s to %s", from, link);
	add(plan, &change_link, ACTION_CREATE, from, "absent", link_node(link), text);
	strv_add(adopted, name);
	return 0;
}

static int adopt_all_shared(struct view *v, struct upload *u, const char *old, struct plan *plan, struct strv *adopted,
                            struct err *err)
{
	int r = 0;

	for (size_t n = 0; r == 0; n++) {
		_cleanup_free_ char *name = upload_shared_name(u->in, n);
		if (!name)
			break;
		r = adopt_shared(v, u, old, name, plan, adopted, err);
	}
	return r;
}

static bool is_ours(const char *name)
{
	return strcmp(name, "releases") == 0 || strcmp(name, "shared") == 0 || strcmp(name, "current") == 0;
}

/* Code that lies unpacked in PATH itself. */
static int adopt_in_place(struct view *v, struct upload *u, const struct strv *names, struct plan *plan,
                          struct strv *adopted, struct err *err)
{
	int r = plan_made(v, u, u->at.before, true, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < names->count; i++) {
		if (is_ours(names->items[i]))
			continue;
		_cleanup_free_ char *from = fs_join(u->at.path, names->items[i]),
				    *to = fs_join(u->at.before, names->items[i]);
		add_move(plan, from, to);
	}
	return adopt_all_shared(v, u, u->at.path, plan, adopted, err);
}

static int refuse_second_adoption(struct view *v, struct upload *u, struct err *err)
{
	const struct node *n;
	int r = node_cache_stat(&u->seen, v, u->at.before, &n, err);

	if (r < 0 || n->type == NODE_ABSENT)
		return r;
	r = err_set(err, ERR_REFUSED, "'%s' is there already, so '%s' cannot be adopted", u->at.before, u->at.path);
	return err_hint(err, r, "move it away by hand");
}

static int list_path(struct view *v, struct upload *u, struct strv *ret, size_t *ret_foreign, struct err *err)
{
	const struct node *n;
	int r = node_cache_stat(&u->seen, v, u->at.path, &n, err);

	if (r < 0 || n->type == NODE_ABSENT)
		return r;
	r = host_list(v, u->at.path, ret, err);
	if (r == ERR_NOT_FOUND) {
		err_clear(err);
		return 0;
	}
	if (r < 0)
		return err_wrap(err, r, "list '%s' on '%s'", u->at.path, v->name);
	for (size_t i = 0; i < ret->count; i++)
		*ret_foreign += !is_ours(ret->items[i]);
	return 0;
}

/* Takes over files from before davit, or refuses to overwrite them. *ret_moved: `current` is moved away. */
static int plan_adoption(struct view *v, struct upload *u, const struct node *current, struct plan *plan,
                         struct strv *adopted, bool *ret_moved, struct err *err)
{
	_cleanup_(strv_done) struct strv names = {0};
	size_t foreign = 0;
	int r;

	if (current->type == NODE_LINK)
		return 0;
	if (current->type == NODE_DIR) {
		if (!u->in->adopt) {
			r = err_set(err, ERR_REFUSED, "'%s' on '%s' is a real directory", u->at.current, v->name);
			return err_hint(err, r, "with `adopt: true` it moves to %s first, and a rollback moves it back",
			                u->at.before);
		}
		r = refuse_second_adoption(v, u, err);
		if (r < 0)
			return r;
		add_move(plan, u->at.current, u->at.before);
		*ret_moved = true;
		return adopt_all_shared(v, u, u->at.current, plan, adopted, err);
	}
	if (current->type != NODE_ABSENT)
		return err_set(err, ERR_REFUSED, "'%s' on '%s' is neither a link nor a directory", u->at.current,
		               v->name);
	r = list_path(v, u, &names, &foreign, err);
	if (r < 0 || foreign == 0)
		return r;
	if (u->in->adopt) {
		r = refuse_second_adoption(v, u, err);
		return r < 0 ? r : adopt_in_place(v, u, &names, plan, adopted, err);
	}
	strv_addf(&plan->warnings, "%zu other things lie in %s and stay: `adopt: true` would take them over as %s",
	          foreign, u->at.path, u->at.before);
	return 0;
}

static int plan_shared(struct view *v, struct upload *u, struct plan *plan, const struct strv *adopted, struct err *err)
{
	for (size_t n = 0;; n++) {
		_cleanup_free_ char *name = upload_shared_name(u->in, n);
		if (!name)
			return 0;
		_cleanup_free_ char *path = fs_join(u->at.shared, name);
		const struct node *there;
		bool file = n >= u->in->shared.count;
		if (strv_has(adopted, name))
			continue;
		int r = node_cache_stat(&u->seen, v, path, &there, err);
		if (r < 0)
			return r;
		enum node_type type = there->type;
		if (type == NODE_ABSENT)
			r = plan_made(v, u, path, !file, err);
		if (r < 0)
			return r;
		if (type == NODE_ABSENT && file)
			strv_addf(&plan->warnings,
			          "the shared file %s is not there: its link leads nowhere until it is", path);
		if (type == NODE_FILE && !file) {
			r = err_set(err, ERR_REFUSED, "'%s' on '%s' is a file and no directory", path, v->name);
			return err_hint(err, r, "name it in `shared_files`");
		}
	}
}

static json_t *shared_list(const struct archive_upload_in *in)
{
	json_t *list = json_array();

	for (size_t n = 0;; n++) {
		_cleanup_free_ char *name = upload_shared_name(in, n);
		if (!name)
			return list;
		json_array_append_new(list, json_string(name));
	}
}

static void make_manifest(struct upload *u)
{
	const struct tree *t = &u->source->tree;
	size_t files = 0;

	for (size_t i = 0; i < t->count; i++)
		files += is_content(&t->entries[i]);
	u->head = json_pack("{s:i,s:s,s:s,s:s,s:o,s:b,s:o,s:I,s:I,s:s}", "format", MANIFEST_FORMAT, "kind", "release",
	                    "deployment", u->deployment, "release", u->release, "commit",
	                    u->source->git ? json_string(u->source->commit) : json_null(), "dirty",
	                    u->source->dirty_count > 0, "shared", shared_list(u->in), "files", (json_int_t)files,
	                    "bytes", (json_int_t)t->bytes, "tree", u->tree_digest);
	if (u->in->owner)
		json_object_set_new(u->head, "owner", json_string(u->in->owner));
	if (u->in->group)
		json_object_set_new(u->head, "group", json_string(u->in->group));
	manifest_digest(u->head, t, u->source->blobs, u->manifest_digest);
}

/* A directory that exists, at PATH or above it, tells how much room there is. */
static int check_space(struct view *v, struct upload *u, struct plan *plan, struct err *err)
{
	const struct upload_counts *n = &u->counts;
	int64_t files = (int64_t)(n->fresh + n->changed) + (u->in->hard_links ? 0 : (int64_t)n->same);
	int64_t need = n->fresh_bytes + n->changed_bytes + files * SPACE_PER_FILE + SPACE_MARGIN, room = 0;
	_cleanup_free_ char *path = xstrdup(u->at.path);
	int r;

	if (!u->in->hard_links)
		need += n->same_bytes;
	plan_add_room(plan, u->at.path, need - SPACE_MARGIN, files);
	for (;;) {
		const struct node *there;
		r = node_cache_stat(&u->seen, v, path, &there, err);
		if (r < 0)
			return r;
		if (there->type != NODE_ABSENT || strcmp(path, "/") == 0)
			break;
		char *slash = strrchr(path, '/');
		slash[slash == path] = 0;
	}
	r = host_space(v, path, &room, err);
	if (r < 0)
		return err_wrap(err, r, "ask for the free space at '%s' on '%s'", path, v->name);
	if (room >= need)
		return 0;
	r = err_set(err, ERR_REFUSED, "'%s' on '%s' has %" PRId64 " MB free, the release needs %" PRId64 " MB",
	            u->at.path, v->name, room / 1000000, need / 1000000 + 1);
	return err_hint(err, r, "make room, or keep fewer releases (`keep`)");
}

static int refuse_dirty(const struct upload *u, struct err *err)
{
	_cleanup_(str_done) struct str s = STR_INIT(ERR_FRAME_SIZE - 80);

	if (u->source->dirty_count == 0 || u->in->allow_dirty)
		return 0;
	for (size_t i = 0; i < u->source->dirty.count; i++) {
		if (!str_appendf(&s, "%s%s", i ? ", " : "", u->source->dirty.items[i]))
			break;
	}
	s.failed = false;
	if (u->source->dirty_count > u->source->dirty.count)
		str_appendf(&s, " and %zu more", u->source->dirty_count - u->source->dirty.count);
	int r = err_set(err, ERR_REFUSED, "the source is dirty (%s)", str_peek(&s));
	return err_hint(err, r, "commit it, exclude it, or set `allow_dirty: true`, which marks the release");
}

static bool other_shares(const struct upload *u)
{
	_cleanup_json_ json_t *now = shared_list(u->in);
	const json_t *then = json_get_array(u->former.head, "shared");

	return then ? !json_equal(now, then) : json_array_size(now) > 0;
}

static bool other_owner(const struct upload *u)
{
	const char *owner = json_get_string(u->former.head, "owner"), *group = json_get_string(u->former.head, "group");

	return strcmp(owner ? owner : "", u->in->owner ? u->in->owner : "") != 0 ||
	       strcmp(group ? group : "", u->in->group ? u->in->group : "") != 0;
}

static struct change *add_release(struct upload *u, struct plan *plan)
{
	_cleanup_free_ char *text = summary(u);
	struct change *c = add(plan, &change_release, ACTION_CREATE, u->at.release, "absent",
	                       json_pack("{s:s,s:s}", "type", "dir", "mode", "0755"), text);

	c->payload = u;
	c->payload_free = upload_free;
	return c;
}

static json_t *release_extra(const struct upload *u)
{
	json_t *made = json_array();

	for (size_t i = 0; i < u->made.count; i++)
		json_array_append_new(made, json_string_lossy(u->made.items[i], strlen(u->made.items[i])));
	return json_pack("{s:s,s:s,s:s,s:o,s:{s:s,s:s,s:o,s:s,s:s,s:s},s:o,s:b}", "manifest", u->at.manifest,
	                 "manifest_digest", u->manifest_digest, "release", u->release, "made", made, "plan", "path",
	                 u->at.path, "tree", u->tree_digest, "shared", shared_list(u->in), "type", "release", "owner",
	                 u->in->owner ? u->in->owner : "", "group", u->in->group ? u->in->group : "", "commit",
	                 u->source->git ? json_string(u->source->commit) : json_null(), "dirty",
	                 u->source->dirty_count > 0);
}

static void add_switch(struct upload *u, const struct node *current, bool moved, struct plan *plan)
{
	_cleanup_free_ char *to = xasprintf("releases/%s", u->release), *text = xasprintf("%s → %s", u->at.current, to);
	struct change *c =
		add(plan, &change_link, current->type == NODE_ABSENT || moved ? ACTION_CREATE : ACTION_UPDATE,
	            u->at.current, "absent", link_node(to), text);

	if (current->type == NODE_LINK) {
		json_decref(c->before);
		c->before = link_node(current->link);
	}
	c->extra = json_pack("{s:b,s:s,s:{s:s,s:s}}", "switch", 1, "root", u->at.path, "plan", "switch", u->at.path,
	                     "tree", u->tree_digest);
}

/* The release first: it takes long, and the old one serves meanwhile. Adopted paths move just before the switch. */
static int plan_changes(struct view *v, struct upload *u, const struct node *current, struct plan *plan,
                        bool *ret_taken, struct err *err)
{
	_cleanup_(strv_done) struct strv adopted = {0};
	bool moved = false;

	int r = check_space(v, u, plan, err);
	if (r == 0)
		r = plan_made(v, u, u->at.releases, true, err);
	if (r < 0)
		return r;
	size_t at = plan->count;
	add_release(u, plan);
	*ret_taken = true;
	r = plan_adoption(v, u, current, plan, &adopted, &moved, err);
	if (r == 0)
		r = plan_shared(v, u, plan, &adopted, err);
	if (r < 0)
		return r;
	plan->changes[at].extra = release_extra(u);
	add_switch(u, current, moved, plan);
	return 0;
}

/* Looks at everything that the plan needs, at once. */
static int look_ahead(struct view *v, struct upload *u, struct err *err)
{
	_cleanup_(strv_done) struct strv paths = {0};

	node_cache_add_way(&paths, u->at.releases);
	strv_add(&paths, u->at.current);
	for (size_t n = 0;; n++) {
		_cleanup_free_ char *name = upload_shared_name(u->in, n);
		if (!name)
			break;
		_cleanup_free_ char *path = fs_join(u->at.shared, name);
		node_cache_add_way(&paths, path);
	}
	return node_cache_fetch(&u->seen, v, &paths, err);
}

/* A link to elsewhere would make us write, and later remove, at a path that nobody named. */
static int refuse_links(struct view *v, struct upload *u, struct err *err)
{
	const char *const paths[] = {u->at.path, u->at.releases};
	const struct node *n;

	for (size_t i = 0; i < ARRAY_SIZE(paths) && !u->in->adopt; i++) {
		int r = node_cache_stat(&u->seen, v, paths[i], &n, err);
		if (r < 0)
			return r;
		if (n->type != NODE_LINK)
			continue;
		r = err_set(err, ERR_REFUSED, "'%s' on '%s' is a link to '%s'", paths[i], v->name, n->link);
		return err_hint(err, r,
		                "name the directory itself in `path:`, or say by `adopt: true` that the link is meant");
	}
	return 0;
}

static int prepare(const struct step_context *c, struct view *v, struct upload *u, struct node *current,
                   struct plan *plan, struct err *err)
{
	const struct archive_upload_in *in = c->input;
	_cleanup_free_ char *path = NULL;

	int r = fs_normalize(in->path, &path, err);
	if (r < 0)
		return r;
	u->in = in;
	u->release = xstrdup(c->deployment->id ? c->deployment->id : "next");
	u->deployment = xasprintf("%s.%s", c->deployment->name, c->deployment->environment);
	upload_places_of(path, u->release, &u->at);
	/* The target first: the source is being read meanwhile. */
	r = look_ahead(v, u, err);
	if (r == 0)
		r = refuse_links(v, u, err);
	if (r == 0)
		r = upload_find_former(c, v, u, current, err);
	if (r == 0)
		r = upload_source_open(c, in, c->wait, &u->source, err);
	if (r == 0)
		r = refuse_dirty(u, err);
	if (r == 0 && u->source->tree.count == 0) {
		r = err_set(err, ERR_REFUSED, "the source '%s' has nothing to send", u->source->path);
		err_hint(err, r, "was it built? are the excludes too wide?");
	}
	if (r == 0)
		r = upload_place_shared(u, err);
	if (r == 0)
		r = upload_distrust_former(c, v, u, plan, err);
	if (r == 0)
		r = upload_source_digest(c, u->source, &u->former, c->wait, err);
	return r;
}

static void set_outputs(const struct step_context *c, const char *release, const char *path)
{
	json_object_set_new(c->outputs, "release", json_string(release));
	json_object_set_new(c->outputs, "path", json_string(path));
	json_object_set_new(c->outputs, "files", json_string("0"));
	json_object_set_new(c->outputs, "bytes", json_string("0"));
}

int archive_upload_plan(const struct step_context *c, struct view *v, struct plan *plan, struct err *err)
{
	struct upload *u = xcalloc(1, sizeof(*u));
	_cleanup_(node_done) struct node current = {0};
	bool taken = false;

	int r = prepare(c, v, u, &current, plan, err);
	if (r == 0) {
		u->other_shares = u->former_release && other_shares(u);
		u->other_owner = u->former_release && other_owner(u);
		bool differs = compare_trees(u) || u->other_shares || u->other_owner;
		manifest_tree_digest(&u->source->tree, u->tree_digest);
		for (size_t i = 0; i < u->source->notes.count; i++)
			strv_add(&plan->warnings, u->source->notes.items[i]);
		plan->shown = shown(u);
		u->largest = json_incref(json_object_get(plan->shown, "largest"));
		if (differs) {
			make_manifest(u);
			r = plan_changes(v, u, &current, plan, &taken, err);
		} else {
			set_outputs(c, u->former_name, u->former_release);
		}
	}
	u->former.text = NULL;
	upload_drop_large_text(c);
	if (r == 0)
		upload_source_remember(c, u->source);
	if (!taken)
		upload_free(u);
	return r;
}
