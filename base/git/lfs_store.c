#include "base/git/lfs_store.h"

#include "base/secret/digest.h"
#include "base/sys/fs.h"
#include "base/sys/fs_beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { CHUNK = 256 << 10, PATH = 160 };
static const char unfinished[] = "lfs/davit-unfinished";

static const char *place_of(const struct lfs_pointer *p, char path[PATH])
{
	snprintf(path, PATH, "lfs/objects/%.2s/%.2s/%s", p->oid, p->oid + 2, p->oid);
	return path;
}

static const char *unfinished_of(const struct lfs_pointer *p, char path[PATH])
{
	snprintf(path, PATH, "%s/%s", unfinished, p->oid);
	return path;
}

/* A link or a file in the place of one of its directories is removed. */
static int make_directory(int git, const char *path, struct err *err)
{
	struct stat st;
	_cleanup_free_ char *part = xstrdup(path);
	for (char *slash = strchr(part, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (fs_stat_beneath(git, part, &st, NULL) == 0 && !S_ISDIR(st.st_mode))
			fs_unlink_beneath(git, part, NULL);
		*slash = '/';
	}
	*strrchr(part, '/') = '\0';
	int fd _cleanup_close_ = fs_mkdirs_beneath(git, part, 0777, err);
	return fd < 0 ? fd : 0;
}

void lfs_store_begin(int git)
{
	fs_remove_tree_beneath(git, unfinished, NULL);
}

static int open_plain(int git, const struct lfs_pointer *p, struct err *err)
{
	char path[PATH];
	struct stat st;
	int fd _cleanup_close_ = fs_open_beneath(git, place_of(p, path), O_RDONLY | O_NONBLOCK, 0, err);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != p->size)
		return err_set(err, ERR_CONFLICT, "the stored content %.12s is another one", p->oid);
	return take_fd(&fd);
}

/* Pieces of a file to `take`; < 0 of it ends. */
static int read_all(int fd, int (*take)(void *context, const void *data, size_t len, struct err *err), void *context,
                    const struct wait *wait, struct err *err)
{
	_cleanup_free_ char *buffer = xmalloc(CHUNK);
	for (;;) {
		int r = wait != NULL ? wait_check(wait, err) : 0;
		if (r < 0)
			return r;
		ssize_t n = read(fd, buffer, CHUNK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n == 0 ? 0 : err_errno(err, errno, "read a stored content");
		r = take(context, buffer, (size_t)n, err);
		if (r < 0)
			return r;
	}
}

static int hash(void *context, const void *data, size_t len, struct err *err)
{
	(void)err;
	digest_update(context, data, len);
	return 0;
}

bool lfs_store_has(int git, const struct lfs_pointer *p, const struct wait *wait)
{
	char path[PATH], hex[DIGEST_HEX];
	int fd _cleanup_close_ = open_plain(git, p, NULL);
	struct digest *digest _cleanup_(digest_freep) = digest_new();
	if (fd >= 0 && read_all(fd, hash, digest, wait, NULL) == 0) {
		digest_hex(digest, hex);
		if (strcmp(hex, p->oid) == 0)
			return true;
	}
	fs_remove_tree_beneath(git, place_of(p, path), NULL);
	return false;
}

int lfs_arrival_begin(struct lfs_arrival *a, int git, const struct lfs_pointer *p, struct err *err)
{
	char path[PATH];
	*a = (struct lfs_arrival){.git = git, .fd = -1, .pointer = p, .digest = digest_new()};
	int r = make_directory(git, unfinished_of(p, path), err);
	if (r < 0)
		return r;
	fs_remove_tree_beneath(git, path, NULL);
	a->fd = fs_open_beneath(git, path, O_WRONLY | O_CREAT | O_EXCL, 0666, err);
	return a->fd < 0 ? a->fd : 0;
}

int lfs_arrival_add(struct lfs_arrival *a, const void *data, size_t len, struct err *err)
{
	if (len > a->pointer->size - a->len)
		return err_set(err, ERR_LIMIT, "more than the %llu bytes of its pointer came",
		               (unsigned long long)a->pointer->size);
	a->len += len;
	digest_update(a->digest, data, len);
	return fs_write_all(a->fd, data, len, err);
}

int lfs_arrival_end(struct lfs_arrival *a, struct err *err)
{
	char hex[DIGEST_HEX], from[PATH], to[PATH];
	if (a->len != a->pointer->size)
		return err_set(err, ERR_PROTOCOL, "%llu bytes came instead of %llu", (unsigned long long)a->len,
		               (unsigned long long)a->pointer->size);
	digest_hex(a->digest, hex);
	if (strcmp(hex, a->pointer->oid) != 0)
		return err_set(err, ERR_PROTOCOL, "another content came, with the SHA-256 %.12s…", hex);
	int r = make_directory(a->git, place_of(a->pointer, to), err);
	if (r >= 0)
		r = fs_rename_beneath(a->git, unfinished_of(a->pointer, from), to, 0, err);
	if (r >= 0)
		closep(&a->fd);
	return r;
}

void lfs_arrival_done(struct lfs_arrival *a)
{
	char path[PATH];
	if (a->fd >= 0)
		fs_unlink_beneath(a->git, unfinished_of(a->pointer, path), NULL);
	closep(&a->fd);
	digest_freep(&a->digest);
}

static int write_to(void *context, const void *data, size_t len, struct err *err)
{
	return fs_write_all(*(const int *)context, data, len, err);
}

int lfs_store_copy(int git, const struct lfs_pointer *p, int to, const struct wait *wait, struct err *err)
{
	int from _cleanup_close_ = open_plain(git, p, err);
	if (from < 0)
		return from;
	/* A file system that shares blocks needs no copy. */
	return ioctl(to, FICLONE, from) == 0 ? 0 : read_all(from, write_to, &to, wait, err);
}
