#include "base/git/prewrite.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/secret/digest.h"
#include "base/core/str.h"
#include "base/git/git_priv.h"
#include "base/git/files.h"

enum { BUCKETS = 1 << 16 };

/* An object that a received tree names but that has not arrived yet. It may be expected in many places. */
struct expected {
	struct expected *next; /* of the bucket */
	git_oid id;
	uint32_t mode;
	char *path; /* "": the root */
};

struct git_early {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct str queue; /* with the lock: bytes that the thread has not taken yet */
	bool ended, idle; /* with the lock: no more will come; the thread wants no more */
	atomic_bool stop;

	/* The thread's, until it is joined. */
	git_oid commit;
	struct git_files files;
	struct expected **buckets;
	size_t expected;
	bool disturbed; /* something is not as in an empty area, or is to be converted: nothing counts */
	struct git_early_file *written;
	size_t count, capacity;
};

/* ---- expected objects ---- */

static struct expected **bucket_of(struct git_early *e, const git_oid *id)
{
	return &e->buckets[((size_t)id->id[0] << 8 | id->id[1]) % BUCKETS];
}

static bool expect(struct git_early *e, const git_oid *id, uint32_t mode, char *path)
{
	struct expected **bucket = bucket_of(e, id);
	struct expected *x = xmalloc(sizeof(*x));
	*x = (struct expected){.next = *bucket, .id = *id, .mode = mode, .path = path};
	*bucket = x;
	return ++e->expected < EARLY_EXPECTED_MAX;
}

static void forget(struct git_early *e)
{
	for (size_t i = 0; e->buckets != NULL && i < BUCKETS; i++) {
		while (e->buckets[i] != NULL) {
			struct expected *x = e->buckets[i];
			e->buckets[i] = x->next;
			free(x->path);
			free(x);
		}
	}
	free(TAKE(e->buckets));
}

/* "tree ID\n" is the first line of a commit. */
static bool on_commit(struct git_early *e, const git_oid *id, const char *data, size_t len)
{
	git_oid tree;
	if (!git_oid_equal(id, &e->commit) || len < 46 || memcmp(data, "tree ", 5) != 0 ||
	    git_oid_fromstrn(&tree, data + 5, 40) != 0)
		return true;
	return expect(e, &tree, GIT_FILEMODE_TREE, xstrdup(""));
}

/* One entry of a tree: "MODE NAME\0ID". Returns its length; 0: invalid. */
static size_t read_entry(const char *data, size_t len, uint32_t *ret_mode, const char **ret_name)
{
	size_t i = 0;
	uint32_t mode = 0;
	for (; i < len && data[i] >= '0' && data[i] <= '7' && i < 7; i++)
		mode = mode * 8 + (uint32_t)(data[i] - '0');
	if (i == 0 || i >= len || data[i] != ' ')
		return 0;
	const char *name = data + i + 1, *end = memchr(name, '\0', len - i - 1);
	if (end == NULL || (size_t)(data + len - end) < 1 + GIT_OID_RAWSZ)
		return 0;
	*ret_mode = mode;
	*ret_name = name;
	return (size_t)(end - data) + 1 + GIT_OID_RAWSZ;
}

/* A mode as in the index; 0: left alone. */
static uint32_t plain_mode(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return mode & 0100 ? GIT_FILEMODE_BLOB_EXECUTABLE : GIT_FILEMODE_BLOB;
	case S_IFLNK:
		return GIT_FILEMODE_LINK;
	case S_IFDIR:
		return GIT_FILEMODE_TREE;
	default:
		return 0;
	}
}

static bool on_tree(struct git_early *e, const struct expected *x, const char *data, size_t len)
{
	uint32_t mode;
	const char *name;
	size_t n;
	for (; len > 0 && (n = read_entry(data, len, &mode, &name)) > 0; data += n, len -= n) {
		git_oid id;
		mode = plain_mode(mode);
		if (strcmp(name, ".gitattributes") == 0) {
			e->disturbed = true;
			return false;
		}
		if (mode == 0 || strchr(name, '/') != NULL || !git_files_safe(name) ||
		    strlen(x->path) + strlen(name) + 1 > EARLY_PATH_MAX)
			continue;
		memcpy(id.id, data + n - GIT_OID_RAWSZ, GIT_OID_RAWSZ);
		if (!expect(e, &id, mode, xasprintf("%s%s%s", x->path, x->path[0] ? "/" : "", name)))
			return false;
	}
	return true;
}

/* ---- writing ---- */

static bool on_blob(struct git_early *e, const struct expected *x, const char *data, size_t len)
{
	struct git_early_file file = {
		.path = NULL,
		.id = x->id,
		.mode = x->mode,
		.lfs_pointer = x->mode != GIT_FILEMODE_LINK && git_area_is_lfs_pointer(data, len),
	};
	/* The cause does not matter (a full disk, a path twice in a tree): the regular write meets it again and reports it. */
	if (git_files_write(&e->files, x->path, x->mode, data, len, &file.st, NULL) < 0) {
		e->disturbed = true;
		return false;
	}
	if (e->count == e->capacity) {
		e->capacity = MAX(e->capacity * 2, (size_t)1024);
		e->written = xrealloc(e->written, e->capacity * sizeof(file));
	}
	file.path = xstrdup(x->path);
	e->written[e->count++] = file;
	return true;
}

static bool on_object(void *context, git_object_t type, const char *data, size_t len)
{
	struct git_early *e = context;
	static const char *const names[] = {
		[GIT_OBJECT_COMMIT] = "commit", [GIT_OBJECT_TREE] = "tree", [GIT_OBJECT_BLOB] = "blob"};
	git_oid id;
	if (atomic_load(&e->stop))
		return false;
	digest_git_object(names[type], data, len, id.id);
	if (type == GIT_OBJECT_COMMIT)
		return on_commit(e, &id, data, len);
	/* New ones go to the front of their bucket and do not disturb the walk. */
	for (struct expected *x = *bucket_of(e, &id); x != NULL; x = x->next) {
		bool is_tree = x->mode == GIT_FILEMODE_TREE;
		if (!git_oid_equal(&x->id, &id) || is_tree != (type == GIT_OBJECT_TREE))
			continue;
		if (!(is_tree ? on_tree(e, x, data, len) : on_blob(e, x, data, len)))
			return false;
	}
	return true;
}

/* ---- the thread ---- */

static void *early_main(void *context)
{
	struct git_early *e = context;
	struct git_unpack *unpack = git_unpack_new(on_object, e);
	struct str piece = STR_INIT(EARLY_QUEUE);
	for (bool more = true; more;) {
		pthread_mutex_lock(&e->lock);
		while (e->queue.len == 0 && !e->ended)
			pthread_cond_wait(&e->changed, &e->lock);
		struct str empty = piece;
		piece = e->queue;
		e->queue = empty;
		pthread_cond_signal(&e->changed);
		pthread_mutex_unlock(&e->lock);
		more = piece.len > 0 && git_unpack_feed(unpack, piece.data, piece.len);
		str_clear(&piece);
	}
	pthread_mutex_lock(&e->lock);
	e->idle = true;
	pthread_cond_signal(&e->changed);
	pthread_mutex_unlock(&e->lock);
	str_done(&piece);
	git_unpack_free(unpack);
	git_files_done(&e->files);
	forget(e);
	return NULL;
}

struct git_early *git_early_start(int root, const char *commit)
{
	struct git_early *e = xcalloc(1, sizeof(*e));
	e->queue = (struct str)STR_INIT(EARLY_QUEUE);
	e->files = (struct git_files)GIT_FILES_INIT(root);
	e->files.fresh = true;
	e->buckets = xcalloc(BUCKETS, sizeof(struct expected *));
	git_oid_fromstr(&e->commit, commit);
	pthread_mutex_init(&e->lock, NULL);
	pthread_cond_init(&e->changed, NULL);
	if (pthread_create(&e->thread, NULL, early_main, e) != 0) {
		forget(e);
		free(e);
		return NULL;
	}
	return e;
}

void git_early_feed(struct git_early *e, const void *data, size_t len)
{
	pthread_mutex_lock(&e->lock);
	while (!e->idle && e->queue.len > 0 && e->queue.len + len > EARLY_QUEUE)
		pthread_cond_wait(&e->changed, &e->lock);
	/* A piece that does not fit even alone ends it: the thread would miss it. */
	if (!e->idle && !e->ended && !str_append_n(&e->queue, data, len))
		e->ended = true;
	pthread_cond_signal(&e->changed);
	pthread_mutex_unlock(&e->lock);
}

void git_early_end(struct git_early *e, bool at_once)
{
	atomic_store(&e->stop, at_once);
	pthread_mutex_lock(&e->lock);
	e->ended = true;
	pthread_cond_signal(&e->changed);
	pthread_mutex_unlock(&e->lock);
	pthread_join(e->thread, NULL);
}

const struct git_early_file *git_early_files(const struct git_early *e, size_t *ret_count)
{
	*ret_count = e->disturbed ? 0 : e->count;
	return e->written;
}

void git_early_free(struct git_early *e)
{
	if (e == NULL)
		return;
	for (size_t i = 0; i < e->count; i++)
		free(e->written[i].path);
	free(e->written);
	str_done(&e->queue);
	pthread_cond_destroy(&e->changed);
	pthread_mutex_destroy(&e->lock);
	free(e);
}
