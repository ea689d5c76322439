/* The local target: whole files and trees. */
#include "engine/target/local/local.h"

#include "base/sys/fs.h"
#include "base/sys/proc.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_DEPTH = 512 };

/* ---- copy ---- */

static int copy_attributes(int from, int to, const struct stat *st, struct err *err)
{
	const struct timespec times[2] = {st->st_atim, st->st_mtim};
	/* An ordinary user may copy only his own files: the owner is the same then, and the right to change it is not needed. */
	if ((st->st_uid != geteuid() || st->st_gid != getegid()) && fchown(to, st->st_uid, st->st_gid) != 0)
		return err_errno(err, errno, "copy the owner");
	int r = local_copy_extended(from, to, S_ISDIR(st->st_mode), err);
	if (r < 0)
		return r;
	if (fchmod(to, st->st_mode & 07777) != 0)
		return err_errno(err, errno, "copy the mode");
	if (futimens(to, times) != 0)
		return err_errno(err, errno, "copy the time");
	return 0;
}

/* From where `from` stands to `end`, or to its end where that comes first. */
static int copy_stretch(int from, int to, off_t end, const struct wait *w, struct err *err)
{
	enum { CHUNK = 1 << 20 };
	_cleanup_free_ char *buf = xmalloc(CHUNK);
	off_t at = lseek(from, 0, SEEK_CUR);
	while (at < end) {
		int r = w ? wait_check(w, err) : 0;
		if (r < 0)
			return r;
		ssize_t n = read(from, buf, end - at < CHUNK ? (size_t)(end - at) : CHUNK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, errno, "read");
		if (n == 0)
			return 0;
		r = fs_write_all(to, buf, (size_t)n, err);
		if (r < 0)
			return r;
		at += n;
	}
	return 0;
}

/* The next stretch of data from *at on; false: only a hole is left, or nothing. */
static bool next_stretch(int from, off_t *at, off_t *ret_end)
{
	off_t data = lseek(from, *at, SEEK_DATA);
	if (data < 0 && errno == ENXIO)
		return false;
	off_t end = data < 0 ? -1 : lseek(from, data, SEEK_HOLE);
	if (end < 0) { /* a file system that does not say where its holes are */
		data = *at;
		end = lseek(from, 0, SEEK_END);
	}
	*at = data;
	*ret_end = end;
	return data < end;
}

/* Holes stay holes: the image of a disk would take all of its size otherwise. */
static int copy_bytes(int from, int to, const struct wait *w, struct err *err)
{
	off_t at = 0, end = 0;
	if (ioctl(to, FICLONE, from) == 0)
		return 0;
	for (; next_stretch(from, &at, &end); at = end) {
		if (lseek(from, at, SEEK_SET) < 0 || lseek(to, at, SEEK_SET) < 0)
			return err_errno(err, errno, "seek");
		int r = copy_stretch(from, to, end, w, err);
		if (r < 0)
			return r;
	}
	off_t size = lseek(from, 0, SEEK_END);
	if (size > lseek(to, 0, SEEK_END) && ftruncate(to, size) != 0)
		return err_errno(err, errno, "write");
	return 0;
}

static int copy_file(int from_dir, const char *from_name, int to_dir, const char *to_name, const struct wait *w,
                     struct err *err)
{
	struct stat st;
	_cleanup_close_ int from = openat(from_dir, from_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY);
	if (from < 0)
		return err_errno(err, errno, "open '%s'", from_name);
	_cleanup_close_ int to = openat(to_dir, to_name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (to < 0)
		return err_errno(err, errno, "make '%s'", to_name);
	if (fstat(from, &st) != 0)
		return err_errno(err, errno, "look at '%s'", from_name);
	int r = copy_bytes(from, to, w, err);
	if (r == 0)
		r = copy_attributes(from, to, &st, err);
	return r < 0 ? err_wrap(err, r, "copy '%s'", from_name) : 0;
}

static int copy_link(int from_dir, const char *from_name, int to_dir, const char *to_name, const struct stat *st,
                     struct err *err)
{
	char text[4097];
	ssize_t len = readlinkat(from_dir, from_name, text, sizeof(text) - 1);
	if (len < 0)
		return err_errno(err, errno, "read the link '%s'", from_name);
	text[len] = '\0';
	if (symlinkat(text, to_dir, to_name) != 0)
		return err_errno(err, errno, "make the link '%s'", to_name);
	if ((st->st_uid != geteuid() || st->st_gid != getegid()) &&
	    fchownat(to_dir, to_name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) != 0)
		return err_errno(err, errno, "copy the owner of '%s'", from_name);
	return 0;
}

static int copy_entry(int from_dir, const char *from_name, int to_dir, const char *to_name, int depth,
                      const struct wait *w, struct err *err);

static int copy_entries(int from, int to, int depth, const struct wait *w, struct err *err)
{
	int copy = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	if (dir == NULL) {
		int errnum = errno;
		closep(&copy);
		return err_errno(err, errnum, "read a directory");
	}
	int r = 0;
	const struct dirent *entry;
	while (r == 0 && (entry = readdir(dir)) != NULL)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			r = copy_entry(from, entry->d_name, to, entry->d_name, depth + 1, w, err);
	closedir(dir);
	return r;
}

static int copy_dir(int from_dir, const char *from_name, int to_dir, const char *to_name, int depth,
                    const struct wait *w, struct err *err)
{
	struct stat st;
	if (depth > MAX_DEPTH)
		return err_set(err, ERR_LIMIT, "directories lie deeper than %d", MAX_DEPTH);
	_cleanup_close_ int from = openat(from_dir, from_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (from < 0 || fstat(from, &st) != 0)
		return err_errno(err, errno, "open '%s'", from_name);
	if (mkdirat(to_dir, to_name, 0700) != 0)
		return err_errno(err, errno, "make '%s'", to_name);
	_cleanup_close_ int to = openat(to_dir, to_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (to < 0)
		return err_errno(err, errno, "open '%s'", to_name);
	int r = copy_entries(from, to, depth, w, err);
	return r < 0 ? r : copy_attributes(from, to, &st, err);
}

static int copy_entry(int from_dir, const char *from_name, int to_dir, const char *to_name, int depth,
                      const struct wait *w, struct err *err)
{
	struct stat st;
	if (fstatat(from_dir, from_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return err_errno(err, errno, "look at '%s'", from_name);
	if (S_ISREG(st.st_mode))
		return copy_file(from_dir, from_name, to_dir, to_name, w, err);
	if (S_ISLNK(st.st_mode))
		return copy_link(from_dir, from_name, to_dir, to_name, &st, err);
	if (S_ISDIR(st.st_mode))
		return copy_dir(from_dir, from_name, to_dir, to_name, depth, w, err);
	return err_set(err, ERR_UNSUPPORTED, "'%s' is a device, pipe or socket", from_name);
}

int local_copy(struct target *t, const char *from, const char *to, struct err *err)
{
	struct stat st;
	int r = local_enter(t, to, err);
	if (r < 0)
		return r;
	if (lstat(to, &st) == 0)
		return local_leave(t, err_set(err, ERR_EXISTS, "'%s' is there already", to));
	r = copy_entry(AT_FDCWD, from, AT_FDCWD, to, 0, t->view.wait, err);
	if (r < 0)
		fs_remove_tree(AT_FDCWD, to, NULL);
	return local_leave(t, r);
}

/* ---- clone_files ---- */

static int make_parents(int to, const char *path, struct err *err)
{
	const char *slash = strrchr(path, '/');
	if (slash == NULL)
		return 0;
	_cleanup_free_ char *dir = xstrndup(path, (size_t)(slash - path));
	return fs_mkdirs(to, dir, 0755, err);
}

static int clone_one(int from, int to, const char *path, bool hard_link, const struct wait *w, struct err *err)
{
	struct stat st;
	int r = make_parents(to, path, err);
	if (r < 0)
		return r;
	if (fstatat(from, path, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return err_errno(err, errno, "look at '%s'", path);
	if (S_ISLNK(st.st_mode))
		return copy_link(from, path, to, path, &st, err);
	if (hard_link && linkat(from, path, to, path, 0) == 0)
		return 0;
	/* The file system may forbid links to this file (another owner, too many): a copy is as good. */
	return copy_file(from, path, to, path, w, err);
}

static bool leaves_its_directory(const char *path)
{
	_cleanup_free_ char *normal = NULL;
	return path[0] == '/' || fs_normalize(path, &normal, NULL) < 0;
}

int local_clone_files(struct target *t, const char *from, const char *to, const struct strv *paths, bool hard_links,
                      struct err *err)
{
	int r = local_enter(t, to, err);
	if (r < 0)
		return r;
	_cleanup_close_ int from_fd = open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int to_fd = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (from_fd < 0 || to_fd < 0)
		r = err_errno(err, errno, "open '%s'", from_fd < 0 ? from : to);
	for (size_t i = 0; r == 0 && i < paths->count; i++) {
		const char *path = paths->items[i];
		r = t->view.wait ? wait_check(t->view.wait, err) : 0;
		if (r == 0)
			r = leaves_its_directory(path) ? err_set(err, ERR_REFUSED, "'%s' leaves its directory", path)
			                               : clone_one(from_fd, to_fd, path, hard_links, t->view.wait, err);
	}
	return local_leave(t, r);
}

/* ---- unpack ---- */

/* The unpacker runs in a thread of its own, since both sides are loops that call us back. The producer stays in this thread, with its waits,
 * its cancel and the lock's renewal. */
struct unpacker {
	int socket, dir;
	char buf[64 << 10];
	int result;
	struct err err;
};

static int read_part(void *context, const void **data, size_t *len, struct err *err)
{
	struct unpacker *u = context;
	ssize_t n;
	do
		n = recv(u->socket, u->buf, sizeof(u->buf), 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_errno(err, errno, "read the archive");
	*data = u->buf;
	*len = (size_t)n;
	return 0;
}

static void *unpack_thread(void *context)
{
	struct unpacker *u = context;
	struct wait none = WAIT_INIT;
	const struct archive_limits limits = {.max_bytes = INT64_MAX, .max_entries = INT64_MAX};
	u->result = archive_unpack(read_part, u, u->dir, &limits, &none, &u->err);
	/* Further bytes (padding after the end mark) are useless; a producer in the middle gets an error. */
	shutdown(u->socket, u->result < 0 ? SHUT_RDWR : SHUT_WR);
	const void *data;
	size_t len = 1;
	while (u->result == 0 && len > 0 && read_part(u, &data, &len, NULL) == 0)
		;
	return NULL;
}

struct feed {
	int socket;
	struct wait *wait;
};

static int write_part(void *context, const void *data, size_t len, struct err *err)
{
	struct feed *f = context;
	const char *at = data;
	while (len > 0) {
		ssize_t n = send(f->socket, at, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
			int r = wait_fd(f->wait, f->socket, POLLOUT, err);
			if (r < 0)
				return r;
			continue;
		}
		if (n < 0)
			return err_set(err, ERR_FAILED, "the archive could not be unpacked");
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

int local_unpack(struct target *t, const char *dir, enum archive_compression compression, target_produce_fn produce,
                 void *context, struct err *err)
{
	(void)compression; /* libarchive sees it */
	struct wait none = WAIT_INIT;
	int pair[2];
	int r = local_enter(t, dir, err);
	if (r < 0)
		return r;
	_cleanup_close_ int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir_fd < 0)
		return local_leave(t, err_errno(err, errno, "open '%s'", dir));
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		return local_leave(t, err_errno(err, errno, "make a socket pair"));
	_cleanup_free_ struct unpacker *u = xcalloc(1, sizeof(*u));
	struct feed feed = {.socket = pair[1], .wait = t->view.wait ? t->view.wait : &none};
	pthread_t thread;
	u->socket = pair[0];
	u->dir = dir_fd;
	int rc = pthread_create(&thread, NULL, unpack_thread, u);
	if (rc != 0) {
		r = err_errno(err, rc, "start a thread");
	} else {
		r = produce(context, write_part, &feed, err);
		shutdown(pair[1], r < 0 ? SHUT_RDWR : SHUT_WR);
		pthread_join(thread, NULL);
		/* The unpacker's reason is the better one, unless the producer failed first and so cut the stream. */
		if (u->result < 0 && (r == 0 || r == ERR_FAILED)) {
			r = u->result;
			if (err)
				*err = u->err;
		}
	}
	close(pair[0]);
	close(pair[1]);
	return local_leave(t, r);
}
