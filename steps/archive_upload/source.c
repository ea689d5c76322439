#include "steps/archive_upload/archive_upload.h"
#include "base/core/clock.h"
#include "base/sys/fs.h"
#include "base/sys/fs_beneath.h"
#include "steps/archive_upload/known.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct upload_source *upload_source_ref(struct upload_source *s)
{
	s->users++;
	return s;
}

void upload_source_unref(struct upload_source *s)
{
	if (!s || --s->users > 0)
		return;
	closep(&s->fd);
	free(s->path);
	tree_done(&s->tree);
	free(s->blobs);
	strv_done(&s->dirty);
	strv_done(&s->notes);
	free(s);
}

void upload_source_dirty(struct upload_source *s, const char *what, const char *path)
{
	if (s->dirty_count++ < DIRTY_SHOWN)
		strv_addf(&s->dirty, "%s: %s", what, path);
}

/* "/name" for a path of `shared`: its place in the release belongs to the link. */
static void ignore_add_path(struct ignore *i, const char *path)
{
	_cleanup_(str_done) struct str pattern = STR_INIT(2 * 4096 + 2);

	str_append_c(&pattern, '/');
	for (const char *p = path; *p; p++) {
		if (strchr("*?[\\ !#", *p))
			str_append_c(&pattern, '\\');
		str_append_c(&pattern, *p);
	}
	while (pattern.len > 1 && pattern.data[pattern.len - 1] == '/')
		str_truncate(&pattern, pattern.len - 1);
	ignore_add(i, str_peek(&pattern));
}

const char *upload_source_root(const struct step_context *c)
{
	return c->deployment->source_root ? c->deployment->source_root : ".";
}

char *upload_source_limit(const struct step_context *c, const char *source)
{
	_cleanup_free_ char *root = fs_real_path(upload_source_root(c), NULL);

	return root && fs_below(root, source) ? TAKE(root) : xstrdup(source);
}

/* An absolute path is used as given. One of the tree comes from a repository: it must not lead outside, not even by a link. */
static int open_exclude_file(const struct step_context *c, const char *source, const char *file, struct err *err)
{
	_cleanup_free_ char *path = fs_join(source, file), *limit = upload_source_limit(c, source), *real = NULL;
	struct stat st;

	_cleanup_close_ int fd = *file == '/' ? open(file, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
	                                      : fs_open_within(limit, path, O_RDONLY | O_NONBLOCK, &real, err);
	if (fd < 0)
		return *file == '/' ? err_errno(err, errno, "open '%s'", file) : fd;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(err, ERR_REFUSED, "'%s' is not a file", file);
	return take_fd(&fd);
}

static int add_exclude_files(struct ignore *i, const struct step_context *c, const char *source, struct err *err)
{
	const struct archive_upload_in *in = c->input;
	const struct field_strings *files = &in->exclude_from;

	for (size_t n = 0; n < files->count; n++) {
		const char *file = files->items[n];
		if (strcmp(file, ".gitignore") == 0 || strcmp(file, ".dockerignore") == 0) {
			ignore_add_file_name(i, file);
			continue;
		}
		_cleanup_close_ int fd = open_exclude_file(c, source, file, err);
		int r = fd < 0 ? fd : ignore_add_open_file(i, fd, file, err);
		if (r < 0)
			return err_wrap(err, r, "`exclude_from`");
	}
	return 0;
}

static int make_ignore(const struct step_context *c, const char *source, struct ignore **ret, struct err *err)
{
	const struct archive_upload_in *in = c->input;
	struct ignore *i = ignore_new();
	int r = add_exclude_files(i, c, source, err);

	if (r < 0) {
		ignore_free(i);
		return r;
	}
	for (size_t n = 0; n < in->exclude.count; n++)
		ignore_add(i, in->exclude.items[n]);
	ignore_add(i, ".git");
	for (size_t n = 0;; n++) {
		_cleanup_free_ char *name = upload_shared_name(in, n);
		if (!name)
			break;
		ignore_add_path(i, name);
	}
	*ret = i;
	return 0;
}

/* The umask of this machine must not show in the release: two checkouts of a commit are the same release. */
static void settle_modes(struct tree *t)
{
	for (size_t i = 0; i < t->count; i++) {
		struct tree_entry *e = &t->entries[i];
		if (S_ISLNK(e->mode))
			e->mode = S_IFLNK | 0777;
		else
			e->mode = (e->mode & S_IFMT) | (e->mode & 0755);
	}
}

static int open_source(const struct step_context *c, const struct archive_upload_in *in, struct upload_source *s,
                       struct err *err)
{
	if (*in->source != '/') {
		s->fd = fs_open_within(upload_source_root(c), in->source, O_RDONLY | O_DIRECTORY, &s->path, err);
		return s->fd < 0 ? err_wrap(err, s->fd, "the source '%s'", in->source) : 0;
	}
	s->path = fs_real_path(in->source, err);
	if (!s->path)
		return err_wrap(err, err && err->code < 0 ? err->code : ERR_NOT_FOUND, "the source '%s'", in->source);
	s->fd = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->fd < 0)
		return err_errno(err, errno, "open the source '%s'", s->path);
	return 0;
}

/* A changed .gitattributes may give the same blob another form in the work tree. */
static bool is_attributes(const char *path)
{
	const char *slash = strrchr(path, '/');
	return strcmp(slash ? slash + 1 : path, ".gitattributes") == 0;
}

static bool same_attribute_files(const struct upload_source *s, const struct upload_former *former)
{
	struct upload_former_lines f;
	size_t ours = 0, same = 0, theirs = 0;

	for (size_t i = 0; i < s->tree.count; i++)
		ours += is_attributes(s->tree.entries[i].path);
	for (upload_former_begin(former, &f); f.there; upload_former_next(&f)) {
		if (!is_attributes(f.reader.entry.path))
			continue;
		const struct tree_entry *e = tree_find(&s->tree, f.reader.entry.path);
		theirs++;
		same += e && manifest_blob_same(&s->blobs[e - s->tree.entries], &f.reader.blob);
	}
	upload_former_end(&f);
	return ours == same && theirs == same;
}

static struct upload_last *last_of(const struct step_context *c)
{
	struct upload_memory *memory = c->memory;
	return &memory->last;
}

static struct upload_ahead *ahead_of(const struct step_context *c)
{
	struct upload_memory *memory = c->memory;
	return &memory->ahead;
}

/* The same source with the same excludes, for the same deployment. */
static char *key_of(const struct step_context *c)
{
	_cleanup_free_ char *input = json_canonical(c->input_json);
	return xasprintf("%s %s %s", c->deployment->id ? c->deployment->id : "-", upload_source_root(c), input);
}

static bool take_last(const struct step_context *c, struct upload_source **ret)
{
	struct upload_last *last = last_of(c);
	_cleanup_free_ char *key = key_of(c);

	if (c->index != 0 || !last->fresh || !last->key || strcmp(last->key, key) != 0)
		return false;
	last->fresh = false; /* once: a third plan looks again */
	*ret = upload_source_ref(last->source);
	return true;
}

void upload_source_forget(struct upload_last *last)
{
	upload_source_unref(TAKE(last->source));
	free(TAKE(last->key));
}

static void remember(const struct step_context *c, struct upload_source *s)
{
	struct upload_last *last = last_of(c);
	struct upload_source *now = upload_source_ref(s); /* it may be the last one */
	upload_source_forget(last);
	last->key = key_of(c);
	last->fresh = true;
	last->source = now;
}

/* Refuses names that cannot be sent: an archive and a manifest hold names as UTF-8. */
static int check_names(const struct tree *tree, struct err *err)
{
	enum { SHOWN = 5 };
	_cleanup_(str_done) struct str names = STR_INIT(ERR_FRAME_SIZE);
	size_t count = 0;
	for (size_t i = 0; i < tree->count; i++) {
		const struct tree_entry *e = &tree->entries[i];
		const char *link = e->link ? e->link : "";
		if (str_is_utf8(e->path, strlen(e->path)) && str_is_utf8(link, strlen(link)))
			continue;
		if (count++ >= SHOWN)
			continue;
		str_append(&names, count == 1 ? "'" : ", '");
		str_append_safe(&names, e->path, MIN(strlen(e->path), (size_t)60));
		str_append(&names, "'");
	}
	if (count == 0)
		return 0;
	int r = err_set(err, ERR_INVALID, "%s%s: %s not UTF-8", str_peek(&names), count > SHOWN ? " and more" : "",
	                count == 1 ? "the name (or where the link points) is"
	                           : "the names (or where the links point) are");
	return err_hint(err, r, "rename them, or leave them out with `exclude`");
}

static int read_source(const struct step_context *c, const struct archive_upload_in *in, struct wait *w,
                       struct upload_source **ret, struct err *err)
{
	struct upload_source *s = xcalloc(1, sizeof(*s));
	struct ignore *ignore = NULL;

	*s = (struct upload_source){.users = 1, .fd = -1, .looked_ns = clock_wall_ms() * 1000000};
	int r = open_source(c, in, s, err);
	if (r == 0)
		r = make_ignore(c, s->path, &ignore, err);
	if (r == 0)
		r = tree_walk(s->fd, ignore, false, w, &s->tree, err);
	if (r == 0)
		r = check_names(&s->tree, err);
	if (r == 0) {
		s->blobs = xcalloc(MAX(s->tree.count, (size_t)1), sizeof(*s->blobs));
		r = upload_source_git(s, ignore, w, err);
	}
	ignore_free(ignore);
	if (r < 0) {
		upload_source_unref(s);
		return r;
	}
	settle_modes(&s->tree);
	*ret = s;
	return 0;
}

/* Digests files that git does not know; they are always needed. */
static void *read_ahead(void *memory)
{
	struct upload_ahead *ahead = memory;
	struct wait w = WAIT_INIT;

	w.cancel_fd = ahead->stop;
	ahead->r = read_source(ahead->c, ahead->c->input, &w, &ahead->source, NULL);
	if (ahead->r == 0) {
		struct upload_source *s = ahead->source;
		_cleanup_free_ bool *leave = xcalloc(s->tree.count + 1, sizeof(*leave));
		for (size_t i = 0; i < s->tree.count; i++)
			leave[i] = manifest_blob_known(&s->blobs[i]);
		upload_known_recall(ahead->c, s->path, &s->tree);
		/* A failure here occurs again, and is reported, where it counts. */
		tree_digest(s->fd, &s->tree, leave, true, &w, NULL);
	}
	eventfd_write(ahead->done, 1);
	return NULL;
}

static void forget_ahead(struct upload_ahead *ahead)
{
	ahead->begun = false;
	closep(&ahead->stop);
	closep(&ahead->done);
	free(TAKE(ahead->key));
}

void upload_source_begin(const struct step_context *c)
{
	struct upload_ahead *ahead = ahead_of(c);
	if (ahead->begun)
		return;
	ahead->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ahead->done = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (ahead->stop < 0 || ahead->done < 0) {
		closep(&ahead->stop);
		closep(&ahead->done);
		return;
	}
	ahead->key = key_of(c);
	ahead->c = c;
	ahead->begun = pthread_create(&ahead->thread, NULL, read_ahead, ahead) == 0;
	if (!ahead->begun)
		forget_ahead(ahead);
}

void upload_source_end(const struct step_context *c)
{
	struct upload_ahead *ahead = ahead_of(c);
	if (!ahead->begun || ahead->c != c)
		return;
	eventfd_write(ahead->stop, 1);
	pthread_join(ahead->thread, NULL);
	forget_ahead(ahead);
	if (ahead->r == 0)
		upload_source_unref(TAKE(ahead->source));
}

/* 1: taken, 0: there is nothing to take. After a failure the regular read meets it again. */
static int take_ahead(const struct step_context *c, struct wait *w, struct upload_source **ret, struct err *err)
{
	struct upload_ahead *ahead = ahead_of(c);
	_cleanup_free_ char *key = key_of(c);

	if (!ahead->begun || ahead->c != c || strcmp(ahead->key, key) != 0)
		return 0;
	int r = w ? wait_fd(w, ahead->done, POLLIN, err) : 0;
	if (r < 0) {
		upload_source_end(c);
		return r;
	}
	pthread_join(ahead->thread, NULL);
	forget_ahead(ahead);
	if (ahead->r == 0)
		*ret = TAKE(ahead->source);
	return ahead->r == 0;
}

int upload_source_open(const struct step_context *c, const struct archive_upload_in *in, struct wait *w,
                       struct upload_source **ret, struct err *err)
{
	if (take_last(c, ret))
		return 0;
	int r = take_ahead(c, w, ret, err);
	return r < 0 ? r : r > 0 ? 0 : read_source(c, in, w, ret, err);
}

static void take_digest(struct tree_entry *to, const struct tree_entry *from)
{
	memcpy(to->digest, from->digest, sizeof(to->digest));
	to->digest_from = from->digest_from;
}

static void recall(const struct upload_last *last, struct upload_source *s)
{
	if (!last->key || last->source == s || strcmp(last->source->path, s->path) != 0)
		return;
	for (size_t i = 0; i < s->tree.count; i++) {
		struct tree_entry *e = &s->tree.entries[i];
		if (!S_ISREG(e->mode) || e->digest_from != TREE_DIGEST_NONE)
			continue;
		const struct tree_entry *known = tree_find(&last->source->tree, e->path);
		if (known && S_ISREG(known->mode) && known->mtime_ns == e->mtime_ns && known->size == e->size &&
		    known->ctime_ns == e->ctime_ns && known->ino == e->ino)
			take_digest(e, known);
	}
}

/* A content with the same blob id and size has the same digest. */
static void take_former(struct upload_source *s, const struct upload_former *former)
{
	struct upload_former_lines f;
	upload_former_begin(former, &f);
	for (size_t i = 0; i < s->tree.count; i++) {
		struct tree_entry *e = &s->tree.entries[i];
		const struct tree_entry *then = &f.reader.entry;
		int order = -1;
		while (f.there && (order = strcmp(then->path, e->path)) < 0)
			upload_former_next(&f);
		if (f.there && order == 0 && S_ISREG(e->mode) && S_ISREG(then->mode) && e->size == then->size &&
		    manifest_blob_same(&s->blobs[i], &f.reader.blob))
			take_digest(e, then);
	}
	upload_former_end(&f);
}

int upload_source_digest(const struct step_context *c, struct upload_source *s, const struct upload_former *former,
                         struct wait *w, struct err *err)
{
	if (same_attribute_files(s, former))
		take_former(s, former);
	recall(last_of(c), s);
	upload_known_recall(c, s->path, &s->tree);
	return tree_digest(s->fd, &s->tree, NULL, true, w, err);
}

void upload_source_remember(const struct step_context *c, struct upload_source *s)
{
	upload_known_keep(c, s->path, &s->tree, s->looked_ns);
	remember(c, s);
}
