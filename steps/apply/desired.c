/* The desired state: from the input or a file of the source tree, read by the same table, all faults at once. */
#include "base/sys/fs.h"
#include "base/sys/fs_beneath.h"
#include "base/secret/mask.h"
#include "steps/apply/apply.h"
#include "steps/common/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

const char *resource_kind_name(enum resource_kind kind)
{
	static const char *const names[] = {"file", "directory", "link"};
	return names[kind];
}

void resources_done(struct resources *r)
{
	free(r->items);
	yaml_freep(&r->doc);
	arena_done(&r->arena);
	*r = (struct resources){0};
}

bool resources_allow(const struct resources *r, const char *key)
{
	for (size_t i = 0; i < r->allow_destroy.count; i++) {
		if (strcmp(r->allow_destroy.items[i], key) == 0)
			return true;
	}
	return false;
}

static void fill(const struct apply_resources *in, struct resource *r)
{
	r->mode = -1;
	if (in->has_directory) {
		r->kind = RESOURCE_DIRECTORY;
		r->path = in->directory.path;
		r->owner = in->directory.owner;
		r->group = in->directory.group;
		r->protect = in->directory.protect;
		r->mode = in->directory.has_mode ? (long)in->directory.mode : -1;
	} else if (in->has_link) {
		r->kind = RESOURCE_LINK;
		r->path = in->link.path;
		r->to = in->link.to;
		r->protect = in->link.protect;
	} else {
		r->kind = RESOURCE_FILE;
		r->path = in->file.path;
		r->content = in->file.content;
		r->source = in->file.source;
		r->owner = in->file.owner;
		r->group = in->file.group;
		r->protect = in->file.protect;
		r->mode = in->file.has_mode ? (long)in->file.mode : -1;
	}
}

static void member(const struct resource *r, const char *name, char *out, size_t size)
{
	snprintf(out, size, "%s/%s", r->pointer, name);
}

static bool holds_secret(const char *text)
{
	return text != NULL && mask_finds(mask_process(), text, strlen(text));
}

static void check_one(struct resource *r, struct resources *all, struct faults *faults)
{
	char at[96];
	member(r, "path", at, sizeof(at));
	_cleanup_free_ char *path = step_target_path(r->path, at, faults);
	r->path = arena_strdup(&all->arena, path != NULL ? path : r->path);
	r->key = arena_printf(&all->arena, "%s:%s", resource_kind_name(r->kind), r->path);
	if (holds_secret(r->content)) {
		member(r, "content", at, sizeof(at));
		faults_add(faults, all->doc, at, "the content of '%s' holds a secret", r->path);
		faults_hint(faults, "write it with secret-write, which keeps it out of plan, journal and reports");
	}
	if (r->mode >= 0 && (r->mode & 0002) != 0) {
		member(r, "mode", at, sizeof(at));
		faults_add(faults, all->doc, at, "mode %04lo lets everybody on the target write '%s'", r->mode,
		           r->path);
	}
	if (r->source != NULL && (r->source[0] == '/' || strcmp(r->source, "..") == 0 || str_starts(r->source, "../") ||
	                          strstr(r->source, "/../") != NULL)) {
		member(r, "source", at, sizeof(at));
		faults_add(faults, all->doc, at, "'%s' lies outside the source tree", r->source);
	}
}

static int by_path(const void *a, const void *b)
{
	const struct resource *const *x = a, *const *y = b;
	return strcmp((*x)->path, (*y)->path);
}

/* One path belongs to one resource; nothing lies below a file or a link. */
static void check_together(struct resources *all, struct faults *faults)
{
	const struct resource **sorted = xcalloc(all->count + 1, sizeof(*sorted));
	for (size_t i = 0; i < all->count; i++)
		sorted[i] = &all->items[i];
	qsort(sorted, all->count, sizeof(*sorted), by_path);
	for (size_t i = 1; i < all->count; i++) {
		const struct resource *a = sorted[i - 1], *b = sorted[i];
		char at[96];
		member(b, "path", at, sizeof(at));
		if (strcmp(a->path, b->path) == 0)
			faults_add(faults, all->doc, at, "'%s' stands twice in the desired state", b->path);
		else if (a->kind != RESOURCE_DIRECTORY && fs_below(a->path, b->path))
			faults_add(faults, all->doc, at, "'%s' lies below '%s', which is a %s", b->path, a->path,
			           resource_kind_name(a->kind));
	}
	free(sorted);
}

static void take(const struct apply_in *in, struct resources *all, struct faults *faults)
{
	all->items = xcalloc(in->resources_count + 1, sizeof(*all->items));
	all->allow_destroy = in->allow_destroy;
	all->count = 0;
	for (size_t i = 0; i < in->resources_count; i++) {
		struct resource *r = &all->items[all->count];
		fill(&in->resources[i], r);
		/* One that the reader has refused already. */
		if (r->path == NULL || r->path[0] != '/' || (r->kind == RESOURCE_LINK && r->to == NULL))
			continue;
		all->count++;
		snprintf(r->pointer, sizeof(r->pointer), "/resources/%zu/%s", i, resource_kind_name(r->kind));
		check_one(r, all, faults);
	}
	check_together(all, faults);
}

void apply_read_inline(const struct step_context *c, struct resources *ret, struct faults *faults)
{
	*ret = (struct resources){0};
	const struct apply_in *in = c->input;
	take(in, ret, faults);
}

/* Of the tree: what a repository names leads to nothing outside of it. */
static int read_document(const char *root, const char *name, const struct yaml_limits *limits, struct yaml_doc **ret,
                         struct err *err)
{
	_cleanup_(str_done) struct str text = STR_SECRET_INIT(limits->max_bytes);
	_cleanup_free_ char *path = fs_join(root, name), *real = NULL;
	_cleanup_close_ int fd = fs_open_within(root, path, O_RDONLY | O_NONBLOCK, &real, err);
	int r = fd < 0 ? fd : fs_read_fd(fd, name, limits->max_bytes, &text, err);
	return r < 0 ? r : yaml_read(name, str_peek(&text), text.len, limits, ret, err);
}

static int read_file(const struct step_context *c, const char *name, struct resources *ret, struct faults *faults,
                     struct err *err)
{
	const struct apply_in *in = c->input;
	const struct yaml_limits limits = {
		.max_bytes = 1 << 20, .max_nodes = 100000, .max_depth = 100, .keep_octal = true};
	struct apply_in *document = arena_alloc(&ret->arena, sizeof(*document));
	int r = read_document(c->deployment->source_root, name, &limits, &ret->doc, err);
	if (r < 0)
		return err_wrap(err, r, "the desired state");
	struct faults own = {0};
	r = fields_read(&apply_fields, yaml_root(ret->doc), ret->doc, "", false, &ret->arena, document, &own, err);
	if (r == 0 || r == ERR_INVALID) {
		if (document->file != NULL || document->target.count > 0 || document->targets != NULL ||
		    document->deployment != NULL)
			faults_add(&own, ret->doc, "", "a desired state holds `resources` and `allow_destroy` only");
		take(document, ret, &own);
	}
	for (size_t i = 0; i < own.count; i++) {
		const struct fault *f = &own.items[i];
		faults_add(faults, NULL, "/file", "%s:%d:%d: %s: %s", name, f->mark.line, f->mark.column, f->pointer,
		           f->text);
		if (f->hint != NULL)
			faults_hint(faults, "%s", f->hint);
	}
	if (own.count == 0 && in->allow_destroy.count > 0) {
		size_t count = in->allow_destroy.count + document->allow_destroy.count;
		const char **names = arena_alloc(&ret->arena, (count + 1) * sizeof(*names));
		for (size_t i = 0; i < count; i++)
			names[i] = i < in->allow_destroy.count
			                   ? in->allow_destroy.items[i]
			                   : document->allow_destroy.items[i - in->allow_destroy.count];
		ret->allow_destroy = (struct field_strings){names, count};
	}
	faults_done(&own);
	return r == ERR_INVALID && faults->count > 0 ? 0 : r;
}

int apply_read(const struct step_context *c, struct resources *ret, struct faults *faults, struct err *err)
{
	const struct apply_in *in = c->input;
	*ret = (struct resources){0};
	if (in->file == NULL) {
		apply_read_inline(c, ret, faults);
		return 0;
	}
	return read_file(c, in->file, ret, faults, err);
}

int resource_content(const struct step_context *c, const struct resource *r, struct str *out, struct err *err)
{
	if (r->content != NULL) {
		str_append(out, r->content);
		return 0;
	}
	_cleanup_close_ int root = open(c->deployment->source_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return err_set(err, ERR_NOT_FOUND, "the source tree '%s' cannot be opened", c->deployment->source_root);
	int read = fs_read_beneath(root, r->source, APPLY_MAX_CONTENT, out, err);
	if (read == ERR_LIMIT)
		return err_hint(err, err_set(err, ERR_LIMIT, "'%s' is larger than 64 MiB", r->source),
		                "archive-upload is for files of that size");
	return read < 0 ? err_wrap(err, read, "the source of '%s'", r->path) : 0;
}
