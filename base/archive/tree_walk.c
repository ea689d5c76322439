/* The walk: names first, then contents, both by two threads. */
#include "base/archive/archive.h"
#include "base/secret/digest.h"
#include "base/sys/fs.h"
#include "base/archive/ignore.h"
#include "base/archive/tree_open.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
	WALK_ALONE = 6 /* directories at the top */,

	WALK_MAX_DEPTH = 500,
	WALK_PATH_MAX = 16384,
	WALK_LINK_MAX = 4096
};
enum { KEEP_BLOCK = 4 << 20, KEEP_ALIGN = 2 << 20 }; /* of the size of large pages */
enum { DIGEST_THREADS = 2, DIGEST_BUFFER = 256 << 10, DIGEST_CHECK_EVERY = 16 << 20 /* bytes */, DIGEST_ALONE = 64 };
enum { GIVE_BACK = 4 << 20 /* bytes */ };

void tree_done(struct tree *t)
{
	for (size_t i = 0; i < t->count; i++) {
		free(t->entries[i].path);
		free(t->entries[i].link);
	}
	tree_forget(t);
	free(t->blocks);
	free(t->entries);
	*t = (struct tree){0};
}

void tree_forget(struct tree *t)
{
	for (size_t i = 0; i < t->count; i++)
		t->entries[i].content = NULL;
	for (size_t i = 0; i < t->block_count; i++)
		free(t->blocks[i]);
	t->block_count = 0;
}

struct tree_entry *tree_add(struct tree *t)
{
	t->entries = xgrow(t->entries, &t->cap, t->count + 1, sizeof(*t->entries));
	struct tree_entry *e = &t->entries[t->count++];
	*e = (struct tree_entry){0};
	return e;
}

static int compare_entries(const void *a, const void *b)
{
	return strcmp(((const struct tree_entry *)a)->path, ((const struct tree_entry *)b)->path);
}

void tree_sort(struct tree *t)
{
	for (size_t i = 1; i < t->count; i++) {
		if (strcmp(t->entries[i - 1].path, t->entries[i].path) > 0) {
			qsort(t->entries, t->count, sizeof(*t->entries), compare_entries);
			return;
		}
	}
}

const struct tree_entry *tree_find(const struct tree *t, const char *path)
{
	struct tree_entry key = {.path = (char *)path};

	if (t->count == 0)
		return NULL;
	return bsearch(&key, t->entries, t->count, sizeof(*t->entries), compare_entries);
}

void tree_entry_hex(const struct tree_entry *e, char hex[2 * TREE_DIGEST_BYTES + 1])
{
	str_hex(e->digest, e->digest_from == TREE_DIGEST_NONE ? 0 : sizeof(e->digest), hex);
}

bool tree_entry_set_hex(struct tree_entry *e, const char *hex)
{
	bool good = str_from_hex(hex, sizeof(e->digest), e->digest);
	e->digest_from = good ? TREE_DIGEST_GIVEN : TREE_DIGEST_NONE;
	return good;
}

struct walk {
	int top; /* borrowed */
	struct ignore *ignore;
	struct wait *wait;
	struct tree tree;
	struct str path; /* of the directory being read, with its slash; "" at the top */
	unsigned seen;
};

struct dir_name {
	char *name;
	unsigned char type;
};
struct dir_names {
	struct dir_name *items;
	size_t count, cap;
};

static void names_done(struct dir_names *n)
{
	for (size_t i = 0; i < n->count; i++)
		free(n->items[i].name);
	free(n->items);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(((const struct dir_name *)a)->name, ((const struct dir_name *)b)->name);
}

static void close_dirp(DIR **d)
{
	if (*d)
		closedir(*d);
}

static int read_names(int fd, const char *where, struct dir_names *ret, struct err *err)
{
	int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK);
	_cleanup_(close_dirp) DIR *d = own < 0 ? NULL : fdopendir(own);

	if (!d) {
		int e = errno;
		if (own >= 0)
			close(own);
		return err_errno(err, e, "read directory '%s'", *where ? where : ".");
	}
	for (;;) {
		errno = 0;
		const struct dirent *entry = readdir(d);
		if (!entry)
			break;
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		ret->items = xgrow(ret->items, &ret->cap, ret->count + 1, sizeof(*ret->items));
		ret->items[ret->count++] = (struct dir_name){xstrdup(entry->d_name), entry->d_type};
	}
	if (errno != 0)
		return err_errno(err, errno, "read directory '%s'", *where ? where : ".");
	if (ret->count > 1)
		qsort(ret->items, ret->count, sizeof(*ret->items), compare_names);
	return 0;
}

static const char *type_name(mode_t mode)
{
	if (S_ISSOCK(mode))
		return "socket";
	if (S_ISFIFO(mode))
		return "named pipe";
	if (S_ISBLK(mode) || S_ISCHR(mode))
		return "device";
	return "thing of unknown type";
}

static int read_link(int fd, const char *name, const char *path, char **ret, struct err *err)
{
	char target[WALK_LINK_MAX + 1];
	ssize_t n = readlinkat(fd, name, target, sizeof(target));

	if (n < 0)
		return err_errno(err, errno, "read link '%s'", path);
	if (n > WALK_LINK_MAX)
		return err_set(err, ERR_LIMIT, "link '%s' points to more than %d bytes", path, WALK_LINK_MAX);
	*ret = xstrndup(target, (size_t)n);
	return 0;
}

static int walk_directory(struct walk *w, int fd, int depth, struct err *err);

static int walk_into(struct walk *w, int fd, const char *name, int depth, struct err *err)
{
	if (depth >= WALK_MAX_DEPTH)
		return err_set(err, ERR_LIMIT, "'%s' lies more than %d directories deep", w->path.data, WALK_MAX_DEPTH);
	_cleanup_close_ int sub = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (sub < 0)
		return err_errno(err, errno, "open directory '%s'", w->path.data);
	str_append_c(&w->path, '/');
	return walk_directory(w, sub, depth + 1, err);
}

/* w->path holds the entry's path. */
static int walk_entry(struct walk *w, int fd, const struct dir_name *n, int depth, struct err *err)
{
	const char *path = w->path.data;
	struct stat st;

	/* An excluded entry is not even examined, unless that is needed to tell if it is a directory. */
	bool known = n->type != DT_UNKNOWN;
	if (known && ignore_matches_here(w->ignore, path, n->type == DT_DIR))
		return 0;
	if (fstatat(fd, n->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(err, errno, "look at '%s'", path);
	if (!known && ignore_matches_here(w->ignore, path, S_ISDIR(st.st_mode)))
		return 0;
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode) && !S_ISLNK(st.st_mode)) {
		int r = err_set(err, ERR_INVALID, "'%s' is a %s", path, type_name(st.st_mode));
		return err_hint(err, r, "exclude it, or remove it");
	}
	struct tree_entry *e = tree_add(&w->tree);
	e->path = xstrndup(path, w->path.len);
	e->mode = st.st_mode;
	e->mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	if (S_ISREG(st.st_mode)) {
		e->size = st.st_size;
		e->ctime_ns = (int64_t)st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec;
		e->dev = st.st_dev;
		e->ino = st.st_ino;
		w->tree.bytes += st.st_size;
	} else if (S_ISLNK(st.st_mode)) {
		return read_link(fd, n->name, path, &e->link, err);
	} else {
		return walk_into(w, fd, n->name, depth, err);
	}
	return 0;
}

static int walk_directory(struct walk *w, int fd, int depth, struct err *err)
{
	_cleanup_(names_done) struct dir_names names = {0};
	size_t len = w->path.len, mark;

	int r = read_names(fd, str_peek(&w->path), &names, err);
	if (r < 0)
		return r;
	r = ignore_enter(w->ignore, fd, str_peek(&w->path), &mark, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < names.count && r == 0; i++) {
		if (w->wait && (w->seen++ & 255) == 0)
			r = wait_check(w->wait, err);
		if (r == 0 && !str_append(&w->path, names.items[i].name))
			r = err_set(err, ERR_LIMIT, "a path below '%s' is longer than %d bytes", str_peek(&w->path),
			            WALK_PATH_MAX);
		if (r == 0)
			r = walk_entry(w, fd, &names.items[i], depth, err);
		str_truncate(&w->path, len);
	}
	ignore_leave(w->ignore, mark);
	return r;
}

/* Each thread takes the next item of a list, until one of them fails: that is the failure of all. */
struct team {
	atomic_size_t next;
	atomic_bool stop;
	pthread_mutex_t lock; /* of r and err, and of what else they share */
	int r;
	struct err err;
};
#define TEAM_INIT                                                                                                      \
	{                                                                                                              \
		.lock = PTHREAD_MUTEX_INITIALIZER                                                                      \
	}

static void team_fail(struct team *t, int r, const struct err *err)
{
	pthread_mutex_lock(&t->lock);
	if (t->r == 0) {
		t->r = r;
		t->err = *err;
	}
	pthread_mutex_unlock(&t->lock);
	atomic_store(&t->stop, true);
}

static int team_end(struct team *t, struct err *err)
{
	pthread_mutex_destroy(&t->lock);
	if (t->r < 0 && err)
		*err = t->err;
	return t->r;
}

/* Two threads: each takes the next top entry and walks all of it. */

struct part {
	struct tree tree;
};

struct walking {
	int top;
	const struct ignore *ignore;
	struct wait *wait;
	struct dir_names names;
	struct part *parts; /* one for each name */
	struct team team;
};

static void *walk_some(void *context)
{
	struct walking *g = context;
	struct walk w = {.top = g->top, .wait = g->wait, .path = STR_INIT(WALK_PATH_MAX)};
	struct err err = ERR_INIT;
	size_t mark;

	w.ignore = ignore_begin(g->ignore);
	int r = ignore_enter(w.ignore, g->top, "", &mark, &err);
	while (r == 0 && !atomic_load(&g->team.stop)) {
		size_t i = atomic_fetch_add(&g->team.next, 1);
		if (i >= g->names.count)
			break;
		if (w.wait && (w.seen++ & 255) == 0)
			r = wait_check(w.wait, &err);
		str_append(&w.path, g->names.items[i].name);
		if (r == 0)
			r = walk_entry(&w, g->top, &g->names.items[i], 0, &err);
		str_clear(&w.path);
		g->parts[i].tree = w.tree;
		w.tree = (struct tree){0};
	}
	if (r < 0)
		team_fail(&g->team, r, &err);
	ignore_end(w.ignore);
	str_done(&w.path);
	return NULL;
}

/* What the parts of a large tree took lies between the names, and no later list fits into it. */
static void give_back(size_t bytes, size_t *freed)
{
	*freed += bytes;
#ifdef __GLIBC__
	if (*freed >= GIVE_BACK) {
		malloc_trim(0);
		*freed = 0;
	}
#endif
}

/* In the given order, so sorted as by one walk. The largest part becomes the whole: a tree often lies in one directory of its top, and its list
 * would be held twice. */
static void join_parts(struct walking *g, struct tree *ret)
{
	size_t count = 0, freed = 0, largest = 0, before = 0;

	for (size_t i = 0; i < g->names.count; i++) {
		if (g->parts[i].tree.count > g->parts[largest].tree.count) {
			largest = i;
			before = count;
		}
		count += g->parts[i].tree.count;
	}
	if (g->names.count > 0) {
		ret->cap = MAX(count, (size_t)1);
		struct tree *whole = &g->parts[largest].tree;
		ret->entries = xrealloc(TAKE(whole->entries), ret->cap * sizeof(*ret->entries));
		memmove(ret->entries + before, ret->entries, whole->count * sizeof(*ret->entries));
	}
	for (size_t i = 0; i < g->names.count; i++) {
		struct tree *part = &g->parts[i].tree;
		if (i != largest && part->count > 0)
			memcpy(ret->entries + ret->count, part->entries, part->count * sizeof(*part->entries));
		ret->count += part->count;
		ret->bytes += part->bytes;
		if (i == largest)
			continue;
		free(part->entries);
		give_back(part->cap * sizeof(*part->entries), &freed);
	}
}

static bool worth_a_thread(const struct dir_names *names)
{
	size_t dirs = 0;

	for (size_t i = 0; i < names->count; i++)
		dirs += names->items[i].type == DT_DIR;
	return dirs >= WALK_ALONE;
}

int tree_walk(int dirfd, const struct ignore *ignore, bool digests, struct wait *wait, struct tree *ret,
              struct err *err)
{
	struct ignore *none = ignore ? NULL : ignore_new();
	struct walking g = {.top = dirfd, .ignore = ignore ? ignore : none, .wait = wait, .team = TEAM_INIT};
	struct tree tree = {0};
	pthread_t other;

	int r = read_names(dirfd, "", &g.names, err);
	if (r == 0) {
		g.parts = xcalloc(MAX(g.names.count, (size_t)1), sizeof(*g.parts));
		bool two = worth_a_thread(&g.names) && pthread_create(&other, NULL, walk_some, &g) == 0;
		walk_some(&g);
		if (two)
			pthread_join(other, NULL);
		join_parts(&g, &tree);
		r = team_end(&g.team, err);
	}
	free(g.parts);
	names_done(&g.names);
	ignore_free(none);
	tree_sort(&tree);
	if (r == 0 && digests)
		r = tree_digest(dirfd, &tree, NULL, false, wait, err);
	if (r < 0)
		tree_done(&tree);
	else
		*ret = tree;
	return r;
}

/* Digests. */

struct digesting {
	int top;
	struct tree *tree;
	const bool *leave;
	int64_t keep; /* bytes at most */
	struct wait *wait;
	atomic_llong kept; /* bytes */
	struct team team;  /* its lock is of the tree's blocks too */
};

/* The work of one thread. Kept contents lie one after the other: malloc would cost as much as reading the files again. */
struct digester {
	struct digesting *g;
	struct digest *digest;
	struct tree_opener opener;
	char *buffer;
	char *keep_at;
	size_t keep_left;
	int64_t unchecked; /* bytes since the last check for a cancel */
};

static void new_block(struct digester *d)
{
	struct tree *t = d->g->tree;
	void *block = NULL;

	d->keep_left = 0;
	if (posix_memalign(&block, KEEP_ALIGN, KEEP_BLOCK) != 0)
		return;
	madvise(block, KEEP_BLOCK, MADV_HUGEPAGE);
	d->keep_at = block;
	d->keep_left = KEEP_BLOCK;
	pthread_mutex_lock(&d->g->team.lock);
	t->blocks = xgrow(t->blocks, &t->block_cap, t->block_count + 1, sizeof(*t->blocks));
	t->blocks[t->block_count++] = block;
	pthread_mutex_unlock(&d->g->team.lock);
}

/* The file is in the buffer as a whole. */
static void keep_content(struct digester *d, struct tree_entry *e)
{
	size_t size = (size_t)e->size;

	if (size == 0 || atomic_fetch_add(&d->g->kept, e->size) + e->size > d->g->keep)
		return;
	if (d->keep_left < size)
		new_block(d);
	if (d->keep_left < size)
		return;
	e->content = memcpy(d->keep_at, d->buffer, size);
	d->keep_at += size;
	d->keep_left -= size;
}

/* The fixed cost of a file, in bytes. */
static int check_now_and_then(struct digester *d, int64_t bytes, struct err *err)
{
	d->unchecked += bytes;
	if (d->unchecked < DIGEST_CHECK_EVERY)
		return 0;
	d->unchecked = 0;
	return d->g->wait ? wait_check(d->g->wait, err) : 0;
}

static int digest_entry(struct digester *d, struct tree_entry *e, struct err *err)
{
	_cleanup_close_ int fd = tree_open(&d->opener, e->path, err);
	int64_t size = 0;

	if (fd < 0)
		return fd == ERR_NOT_FOUND ? err_set(err, ERR_CONFLICT, "'%s' vanished while it was read", e->path)
		                           : fd;
	for (;;) {
		ssize_t n = read(fd, d->buffer, DIGEST_BUFFER);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, errno, "read '%s'", e->path);
		digest_update(d->digest, d->buffer, (size_t)n);
		size += n;
		/* A short read at the expected size is the end: saves the last read of most files. */
		if (n == 0 || (n < DIGEST_BUFFER && size == e->size))
			break;
		int r = check_now_and_then(d, n, err);
		if (r < 0)
			return r;
		if (atomic_load(&d->g->team.stop))
			return 0;
	}
	digest_raw(d->digest, e->digest);
	e->digest_from = TREE_DIGEST_READ;
	if (d->g->keep > 0 && size == e->size && size < DIGEST_BUFFER)
		keep_content(d, e);
	if (size != e->size) {
		e->digest_from = TREE_DIGEST_NONE;
		return err_set(err, ERR_CONFLICT, "'%s' changed while it was read", e->path);
	}
	return 0;
}

static void *digest_some(void *context)
{
	struct digesting *g = context;
	struct digester d = {
		.g = g, .digest = digest_new(), .opener = TREE_OPENER_INIT(g->top), .buffer = xmalloc(DIGEST_BUFFER)};
	struct err err = ERR_INIT;

	while (!atomic_load(&g->team.stop)) {
		size_t i = atomic_fetch_add(&g->team.next, 1);
		if (i >= g->tree->count)
			break;
		struct tree_entry *e = &g->tree->entries[i];
		int r = check_now_and_then(&d, DIGEST_CHECK_EVERY / 32, &err);
		if (r == 0 && S_ISREG(e->mode) && e->digest_from == TREE_DIGEST_NONE && !(g->leave && g->leave[i]))
			r = digest_entry(&d, e, &err);
		if (r < 0)
			team_fail(&g->team, r, &err);
	}
	tree_opener_done(&d.opener);
	digest_free(d.digest);
	free(d.buffer);
	return NULL;
}

int tree_digest(int dirfd, struct tree *tree, const bool *leave, bool keep, struct wait *w, struct err *err)
{
	struct digesting g = {.top = dirfd, .tree = tree, .leave = leave, .wait = w, .team = TEAM_INIT};
	if (keep)
		g.keep = TREE_KEPT_MAX - (int64_t)MIN(tree->count, (size_t)TREE_KEPT_MAX) * TREE_KEPT_LESS;
	pthread_t threads[DIGEST_THREADS - 1];
	int started = 0;

	while (tree->count > DIGEST_ALONE && started < DIGEST_THREADS - 1 &&
	       pthread_create(&threads[started], NULL, digest_some, &g) == 0)
		started++;
	digest_some(&g);
	for (int i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
	return team_end(&g.team, err);
}
