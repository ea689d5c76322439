/* source of files: a copy on the target itself, in the order of `paths`: PLACE/N. Never by hard links: a file that is written in place would
 * change in both. */
#include "steps/sources/sources.h"
#include "base/secret/digest.h"
#include "base/sys/fs.h"
#include <inttypes.h>
#include <malloc.h>

enum { SPACE_MARGIN = 16 << 20, SPACE_PER_FILE = 4096, TRIM_AT = 10000 };

static const char *type_name(enum node_type type)
{
	return type == NODE_ABSENT ? "absent" : type == NODE_DIR ? "dir" : type == NODE_LINK ? "link" : "file";
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

static void describe(const struct source_call *s, struct str *out)
{
	const json_t *paths = json_get_array(s->in, "paths");

	for (size_t i = 0; i < json_array_size(paths); i++)
		str_appendf(out, "%s%s", i ? ", " : "", json_string_value(json_array_get(paths, i)));
}

static void validate(const struct source_call *s, struct faults *faults)
{
	const json_t *paths = json_get_array(s->in, "paths");

	for (size_t i = 0; i < json_array_size(paths); i++) {
		const char *given = json_string_value(json_array_get(paths, i));
		_cleanup_free_ char *pointer = xasprintf("/files/paths/%zu", i), *path = NULL;
		if (fs_normalize(given, &path, NULL) < 0 || *path != '/' || strcmp(path, "/") == 0) {
			faults_add(faults, NULL, pointer, "'%s' cannot be kept", given);
			faults_hint(faults, "an absolute path below /");
			continue;
		}
		for (size_t k = 0; k < i; k++) {
			const char *former = json_string_value(json_array_get(paths, k));
			_cleanup_free_ char *other = NULL;
			if (fs_normalize(former, &other, NULL) < 0)
				continue;
			if (fs_below(other, path) || fs_below(path, other))
				faults_add(faults, NULL, pointer, "'%s' and '%s' hold the same files", former, given);
		}
	}
}

/* ---- plan ---- */

int source_measure(struct view *v, const char *path, const struct ignore *ignore, enum node_type *ret_type,
                   struct source_sizes *sizes, struct err *err)
{
	_cleanup_(node_done) struct node n = {0};
	_cleanup_(tree_done) struct tree tree = {0};

	int r = host_stat(v, path, &n, err);
	if (r < 0)
		return r;
	*ret_type = n.type;
	if (n.type == NODE_OTHER)
		return err_set(err, ERR_REFUSED, "'%s' on '%s' is not a file, directory or link", path, v->name);
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

int source_space_below_base(struct view *v, int64_t *ret_room, struct err *err)
{
	_cleanup_free_ char *path = xstrdup(v->facts.base);

	for (;;) {
		_cleanup_(node_done) struct node there = {0};
		int r = host_stat(v, path, &there, err);
		if (r < 0)
			return r;
		if (there.type != NODE_ABSENT || strcmp(path, "/") == 0)
			return host_space(v, path, ret_room, err);
		char *slash = strrchr(path, '/');
		slash[slash == path] = 0;
	}
}

int source_check_space(struct view *v, const struct source_sizes *sizes, struct plan *plan, int64_t *ret_room,
                       struct err *err)
{
	const char *path = v->facts.base;
	int64_t need = sizes->bytes + sizes->files * SPACE_PER_FILE + SPACE_MARGIN;

	plan_add_room(plan, path, need - SPACE_MARGIN, sizes->files);
	int r = source_space_below_base(v, ret_room, err);
	/* Sharing of blocks cannot be tested in advance: always requires room for a copy. */
	if (r == 0 && *ret_room < need) {
		r = err_set(err, ERR_REFUSED,
		            "'%s' on '%s' has %" PRId64 " MB free, the snapshot may need %" PRId64 " MB", path, v->name,
		            *ret_room / 1000000, need / 1000000 + 1);
		err_hint(err, r, "make room, exclude something, or set the target's `base:` to a larger file system");
	}
	return r;
}

static int plan(const struct source_call *s, struct view *v, bool to_put_back, struct plan *plan,
                struct source_plan *ret, struct err *err)
{
	const json_t *given = json_get_array(s->in, "paths"), *exclude = json_get_array(s->in, "exclude");
	_cleanup_json_ json_t *paths = json_array(), *names = json_array(),
			      *patterns = exclude ? json_incref((json_t *)(uintptr_t)exclude) : json_array();
	struct ignore *ignore = make_ignore(patterns);
	struct source_sizes sizes = {0};
	int64_t room = 0;
	int r = 0;
	(void)plan;
	(void)to_put_back;

	for (size_t i = 0; i < json_array_size(given) && r == 0; i++) {
		_cleanup_free_ char *one = NULL;
		enum node_type type = NODE_ABSENT;
		r = fs_normalize(json_string_value(json_array_get(given, i)), &one, err);
		if (r == 0)
			r = source_measure(v, one, ignore, &type, &sizes, err);
		if (r == 0) {
			json_array_append_new(paths, json_pack("{s:s,s:s}", "path", one, "type", type_name(type)));
			json_array_append_new(names, json_string(one));
		}
	}
	ignore_free(ignore);
	if (r == 0)
		r = source_check_space(v, &sizes, plan, &room, err);
	if (r < 0)
		return r;
	ret->extra = json_pack("{s:O,s:O,s:{s:s,s:O,s:O}}", "paths", paths, "exclude", patterns, "plan", "type",
	                       "snapshot", "paths", names, "exclude", patterns);
	ret->summary = xasprintf("snapshot of %zu paths, %" PRId64 " files, %.1f MB", json_array_size(paths),
	                         sizes.files, (double)sizes.bytes / 1e6);
	ret->shown = json_pack("{s:O,s:I,s:I,s:I,s:s}", "paths", paths, "files", (json_int_t)sizes.files, "bytes",
	                       (json_int_t)sizes.bytes, "free", (json_int_t)room, "method",
	                       v->facts.has_reflink ? "reflink where the file system can, else copy" : "copy");
	return 0;
}

/* ---- keep ---- */

/* What the comparison needs of an entry. A tree of hundreds of thousands is held beside that of its copy, so its size counts. */
struct brief {
	char *path, *link;
	int64_t size, mtime_ns;
	mode_t mode;
};
struct briefs {
	struct brief *items;
	size_t count;
};

static void briefs_done(struct briefs *b)
{
	for (size_t i = 0; i < b->count; i++) {
		free(b->items[i].path);
		free(b->items[i].link);
	}
	free(b->items);
#ifdef __GLIBC__
	/* Small pieces stay with the process: they would be held beside the list of the copy and its text. */
	if (b->count > TRIM_AT)
		malloc_trim(0);
#endif
	*b = (struct briefs){0};
}

/* Takes the names over, and leaves nothing of the tree. */
static void briefs_take(struct briefs *b, struct tree *from)
{
	b->items = xcalloc(from->count + 1, sizeof(*b->items));
	for (size_t i = 0; i < from->count; i++) {
		struct tree_entry *e = &from->entries[i];
		b->items[b->count++] = (struct brief){.size = e->size, .mtime_ns = e->mtime_ns, .mode = e->mode};
		b->items[i].path = TAKE(e->path);
		b->items[i].link = TAKE(e->link);
	}
	tree_done(from);
}

/* A live directory may change while it is copied. An entry that differs in the copy must have changed since. */
static int compare_copy(const struct step_context *c, struct view *v, const char *path, const struct briefs *before,
                        const struct tree *copy, const struct ignore *ignore, struct err *err)
{
	size_t changed = 0;

	for (size_t i = 0; i < before->count; i++) {
		const struct brief *e = &before->items[i];
		const struct tree_entry *there = tree_find(copy, e->path);
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
		c->report(c->engine, "%zu file%s of %s changed while %s copied", changed, changed == 1 ? "" : "s", path,
		          changed == 1 ? "it was" : "they were");
	return 0;
}

static void put_below(struct tree_entry *e, const char *prefix)
{
	size_t before = strlen(prefix) + 1, len = strlen(e->path) + 1;
	e->path = xrealloc(e->path, before + len);
	memmove(e->path + before, e->path, len);
	memcpy(e->path, prefix, before - 1);
	e->path[before - 1] = '/';
}

static void add_entries(struct tree *all, const char *prefix, struct tree *from)
{
	int64_t bytes = 0;
	for (size_t i = 0; i < from->count; i++) {
		put_below(&from->entries[i], prefix);
		bytes += from->entries[i].size;
	}
	if (all->count == 0) {
		tree_done(all);
		*all = *from;
		*from = (struct tree){0};
		all->bytes = bytes;
		return;
	}
	for (size_t i = 0; i < from->count; i++)
		*tree_add(all) = from->entries[i];
	all->bytes += bytes;
	from->count = 0;
}

static int copy_directory(const struct step_context *c, struct target *t, const char *path, const char *goal,
                          const struct ignore *ignore, struct tree *ret, struct err *err)
{
	_cleanup_(tree_done) struct tree walked = {0};
	_cleanup_(briefs_done) struct briefs before = {0};
	int r = host_tree(&t->view, path, false, &walked, err);

	if (r < 0)
		return r;
	briefs_take(&before, &walked);
	r = source_copy(t, path, goal, ignore, err);
	if (r == 0)
		r = host_tree(&t->view, goal, true, ret, err);
	return r < 0 ? r : compare_copy(c, &t->view, path, &before, ret, ignore, err);
}

static int add_file(struct view *v, const char *goal, const char *number, struct tree *all, struct err *err)
{
	_cleanup_(node_done) struct node n = {0};
	char hex[DIGEST_HEX];
	int r = host_stat(v, goal, &n, err);

	if (r == 0)
		r = host_digest(v, goal, hex, err);
	if (r < 0)
		return r;
	struct tree_entry *e = tree_add(all);
	e->path = xstrdup(number);
	e->mode = S_IFREG | n.mode;
	e->size = n.size;
	all->bytes += n.size;
	return tree_entry_set_hex(e, hex) ? 0 : err_set(err, ERR_PROTOCOL, "'%s' is no digest", hex);
}

int source_copy_path(const struct step_context *c, struct target *t, const char *path, const char *goal,
                     const char *number, const char *type, const struct ignore *ignore, struct tree *all,
                     struct err *err)
{
	struct view *v = &t->view;
	_cleanup_(tree_done) struct tree copy = {0};
	int r = strcmp(type, "dir") == 0 ? copy_directory(c, t, path, goal, ignore, &copy, err)
	                                 : source_copy(t, path, goal, ignore, err);

	if (r < 0)
		return err_wrap(err, r, "copy '%s' on '%s'", path, v->name);
	if (strcmp(type, "file") == 0)
		return add_file(v, goal, number, all, err);
	add_entries(all, number, &copy);
	return 0;
}

int source_add_directory(struct target *t, const char *dir, struct tree *all, struct err *err)
{
	int r = host_tree(&t->view, dir, true, all, err);
	int64_t bytes = 0;

	for (size_t i = 0; i < all->count; i++)
		bytes += S_ISREG(all->entries[i].mode) ? all->entries[i].size : 0;
	all->bytes = bytes;
	return r;
}

static int keep(const struct source_call *s, struct target *t, const struct change *change, json_t *head,
                struct tree *all, struct err *err)
{
	const json_t *paths = json_get_array(change->extra, "paths"),
		     *exclude = json_get_array(change->extra, "exclude");
	struct ignore *ignore = make_ignore(exclude);
	size_t i;
	json_t *one;
	int r = 0;

	json_object_set(head, "paths", (json_t *)(uintptr_t)paths);
	json_object_set(head, "exclude", (json_t *)(uintptr_t)exclude);
	json_array_foreach((json_t *)(uintptr_t)paths, i, one)
	{
		const char *path = json_get_string(one, "path"), *type = json_get_string(one, "type");
		if (r < 0 || strcmp(type, "absent") == 0)
			continue;
		char number[24];
		snprintf(number, sizeof(number), "%zu", i);
		_cleanup_free_ char *goal = fs_join(change->path, number);
		r = source_copy_path(s->c, t, path, goal, number, type, ignore, all, err);
	}
	ignore_free(ignore);
	return r;
}

/* ---- back ---- */

static int make_durable(struct target *t, const json_t *all, struct err *err)
{
	const char **paths = xcalloc(json_array_size(all) + 1, sizeof(*paths));
	size_t count = 0;

	for (size_t i = 0; i < json_array_size(all); i++)
		if (json_get_string(json_array_get(all, i), "path"))
			paths[count++] = json_get_string(json_array_get(all, i), "path");
	int r = count > 0 ? host_barrier(t, paths, count, err) : 0;
	free(paths);
	return r;
}

static int put_back(const struct source_call *s, struct target *t, const char *from, const json_t *head,
                    const char *own, struct err *err)
{
	const json_t *paths = json_get_array(head, "paths");
	struct ignore *ignore = make_ignore(json_get_array(head, "exclude"));
	size_t i;
	json_t *one;
	int r = 0;
	(void)own;

	json_array_foreach((json_t *)(uintptr_t)paths, i, one)
	{
		const char *path = json_get_string(one, "path"), *type = json_get_string(one, "type");
		_cleanup_free_ char *copy = xasprintf("%s/%zu", from, i);
		if (r < 0 || !path || !type)
			continue;
		s->c->report(s->c->engine, "put back %s", path);
		r = source_copy_back(t, strcmp(type, "absent") == 0 ? NULL : copy, path, ignore, err);
	}
	ignore_free(ignore);
	return r < 0 ? r : make_durable(t, paths, err);
}

const struct source source_files = {
	.name = "files",
	.verb = "keep a copy of",
	.describe = describe,
	.validate = validate,
	.plan = plan,
	.keep = keep,
	.put_back = put_back,
};
