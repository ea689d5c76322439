/* Our own extraction: libarchive reads the members, this file makes them, each from a descriptor of its parent that
 * was reached without following a link. So a member cannot leave the directory, whatever was unpacked before it. */
#include "base/archive/archive.h"
#include "base/archive/locale.h"
#include "base/sys/fs.h"
#include "base/sys/fs_beneath.h"
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { UNPACK_PATH_MAX = 4096, UNPACK_CHECK_EVERY = 64 };

struct dir_todo {
	char *path;
	mode_t mode;
	struct timespec mtime;
};

struct unpacking {
	int top;
	archive_read_fn read;
	void *context;
	struct wait *wait;
	struct archive *archive;
	struct archive_limits limits;
	int64_t bytes, entries;
	int read_result;
	struct err read_err;
	int parent; /* open descriptor of parent_path; -1: none */
	char *parent_path;
	struct dir_todo *dirs; /* attributes are set last: a directory may forbid new entries */
	size_t dir_count, dir_cap;
};

static la_ssize_t take_in(struct archive *a, void *context, const void **data)
{
	struct unpacking *u = context;
	size_t len = 0;
	int r = u->wait ? wait_check(u->wait, &u->read_err) : 0;

	if (r == 0)
		r = u->read(u->context, data, &len, &u->read_err);
	if (r < 0) {
		u->read_result = r;
		archive_set_error(a, EIO, "input failed");
		return -1;
	}
	return (la_ssize_t)len;
}

static int read_error(struct unpacking *u, const char *what, struct err *err)
{
	if (u->read_result < 0) {
		if (err)
			*err = u->read_err;
		return u->read_result;
	}
	const char *text = archive_error_string(u->archive);
	return err_set(err, ERR_INVALID, "%s: %s", what, text ? text : "not a tar archive");
}

/* The member's name in a form safe for people. */
static const char *shown(const char *name, char buf[256])
{
	_cleanup_(str_done) struct str s = STR_INIT(2000);
	str_append_safe(&s, name, MIN(strlen(name), (size_t)200));
	snprintf(buf, 256, "%.250s", str_peek(&s));
	return buf;
}

static int refuse(struct err *err, const char *name, const char *why)
{
	char buf[256];
	return err_set(err, ERR_REFUSED, "archive member '%s' %s", shown(name, buf), why);
}

/* "./a//b/" → "a/b"; "" is the directory itself. */
static int clean_name(const char *name, const char *member, char **ret, struct err *err)
{
	_cleanup_(str_done) struct str out = STR_INIT(UNPACK_PATH_MAX);

	if (*name == '/')
		return refuse(err, member,
		              name == member ? "has an absolute name" : "is a hard link to an absolute name");
	for (const char *p = name; *p;) {
		size_t len = strcspn(p, "/");
		if (len == 2 && memcmp(p, "..", 2) == 0)
			return refuse(err, member,
			              name == member ? "leads out of the directory ('..')"
			                             : "is a hard link that leads out of the directory ('..')");
		if (len > 255)
			return refuse(err, member, "has a name longer than 255 bytes");
		if (len > 0 && !(len == 1 && *p == '.')) {
			if (out.len > 0)
				str_append_c(&out, '/');
			str_append_n(&out, p, len);
		}
		p += len;
		p += strspn(p, "/");
	}
	if (out.failed)
		return refuse(err, member, "has a path longer than 4096 bytes");
	*ret = str_take(&out);
	return 0;
}

/* One step down, made when missing. ELOOP or ENOTDIR: something else stands in the way. */
static int step_into(int fd, const char *name, bool make)
{
	int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	int sub = openat(fd, name, flags);

	if (sub < 0 && errno == ENOENT && make) {
		if (mkdirat(fd, name, 0755) < 0 && errno != EEXIST)
			return -1;
		sub = openat(fd, name, flags);
	}
	return sub;
}

static int way_error(const char *member, int e, struct err *err)
{
	char buf[256];

	if (e == ELOOP || e == ENOTDIR)
		return refuse(err, member, "would pass through a link or a file that is not a directory");
	return err_errno(err, e, "make the directory of archive member '%s'", shown(member, buf));
}

/* A descriptor of the directory `path` ("" is the top), walked from the top without following links; kept for the next member. */
static int enter_parent(struct unpacking *u, const char *path, size_t len, const char *member, int *ret,
                        struct err *err)
{
	if (u->parent >= 0 && strlen(u->parent_path) == len && memcmp(u->parent_path, path, len) == 0) {
		*ret = u->parent;
		return 0;
	}
	_cleanup_close_ int fd = fcntl(u->top, F_DUPFD_CLOEXEC, 3);
	_cleanup_free_ char *copy = xstrndup(path, len);
	if (fd < 0)
		return err_errno(err, errno, "open the directory to unpack into");
	for (char *p = copy, *next; p && *p; p = next) {
		next = strchr(p, '/');
		if (next)
			*next++ = 0;
		int sub = step_into(fd, p, true);
		if (sub < 0)
			return way_error(member, errno, err);
		close(fd);
		fd = sub;
	}
	closep(&u->parent);
	free(u->parent_path);
	u->parent_path = xstrndup(path, len);
	u->parent = take_fd(&fd);
	*ret = u->parent;
	return 0;
}

/* Removes any entry of that name that is not a full directory. */
static int clear_place(int fd, const char *name, const char *member, struct err *err)
{
	char buf[256];

	if (unlinkat(fd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return err_errno(err, errno, "replace '%s'", shown(member, buf));
	if (unlinkat(fd, name, AT_REMOVEDIR) == 0)
		return 0;
	if (errno == ENOTEMPTY || errno == EEXIST)
		return refuse(err, member, "would replace a directory that is not empty");
	return err_errno(err, errno, "replace '%s'", shown(member, buf));
}

static int count_bytes(struct unpacking *u, int64_t more, const char *member, struct err *err)
{
	char buf[256];

	if (u->limits.max_bytes > 0 && more > u->limits.max_bytes - u->bytes)
		return err_set(err, ERR_LIMIT, "archive member '%s' passes the limit of %lld bytes", shown(member, buf),
		               (long long)u->limits.max_bytes);
	u->bytes += more;
	return 0;
}

static int write_at(int fd, const char *data, size_t len, int64_t offset)
{
	while (len > 0) {
		ssize_t n = pwrite(fd, data, len, offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		data += n;
		offset += n;
		len -= (size_t)n;
	}
	return 0;
}

static int write_content(struct unpacking *u, int fd, const char *member, int64_t size, struct err *err)
{
	char buf[256];
	int64_t end = 0;

	for (;;) {
		const void *data;
		size_t len;
		la_int64_t offset;
		int r = archive_read_data_block(u->archive, &data, &len, &offset);
		if (r == ARCHIVE_EOF)
			break;
		if (r != ARCHIVE_OK)
			return read_error(u, shown(member, buf), err);
		if (offset < end || offset > INT64_MAX - (int64_t)len)
			return refuse(err, member, "has invalid content");
		r = count_bytes(u, offset + (int64_t)len - end, member, err);
		if (r < 0)
			return r;
		if (write_at(fd, data, len, offset) < 0)
			return err_errno(err, errno, "write '%s'", shown(member, buf));
		end = offset + (int64_t)len;
	}
	if (size > end) { /* a sparse file's last hole */
		int r = count_bytes(u, size - end, member, err);
		if (r < 0)
			return r;
		if (ftruncate(fd, size) < 0)
			return err_errno(err, errno, "write '%s'", shown(member, buf));
	}
	return 0;
}

static struct timespec entry_mtime(struct archive_entry *e)
{
	struct timespec t = {0, UTIME_OMIT};

	if (archive_entry_mtime_is_set(e))
		t = (struct timespec){archive_entry_mtime(e), archive_entry_mtime_nsec(e)};
	return t;
}

static int make_file(struct unpacking *u, int dir, const char *name, const char *member, struct archive_entry *e,
                     struct err *err)
{
	char buf[256];
	int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	_cleanup_close_ int fd = openat(dir, name, flags, 0600);

	if (fd < 0 && errno == EEXIST) {
		int r = clear_place(dir, name, member, err);
		if (r < 0)
			return r;
		fd = openat(dir, name, flags, 0600);
	}
	if (fd < 0)
		return err_errno(err, errno, "make '%s'", shown(member, buf));
	int r = write_content(u, fd, member, archive_entry_size_is_set(e) ? archive_entry_size(e) : 0, err);
	if (r < 0)
		return r;
	struct timespec times[2] = {{0, UTIME_OMIT}, entry_mtime(e)};
	if (fchmod(fd, archive_entry_perm(e) & 0777) < 0 || futimens(fd, times) < 0)
		return err_errno(err, errno, "set mode and time of '%s'", shown(member, buf));
	return 0;
}

static int make_symlink(int dir, const char *name, const char *member, struct archive_entry *e, struct err *err)
{
	char buf[256];
	const char *target = archive_entry_symlink(e);

	if (!target || !*target)
		return refuse(err, member, "is a link to nothing");
	if (symlinkat(target, dir, name) < 0) {
		if (errno != EEXIST)
			return err_errno(err, errno, "make link '%s'", shown(member, buf));
		int r = clear_place(dir, name, member, err);
		if (r < 0)
			return r;
		if (symlinkat(target, dir, name) < 0)
			return err_errno(err, errno, "make link '%s'", shown(member, buf));
	}
	struct timespec times[2] = {{0, UTIME_OMIT}, entry_mtime(e)};
	utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW); /* some file systems keep no time of a link: no harm */
	return 0;
}

/* The first name must be a file that lies in the directory already, reached without a link. */
static int open_link_source(struct unpacking *u, const char *path, const char *member, int *ret_dir,
                            const char **ret_name, struct err *err)
{
	const char *slash = strrchr(path, '/');
	_cleanup_close_ int fd = fcntl(u->top, F_DUPFD_CLOEXEC, 3);
	_cleanup_free_ char *copy = xstrndup(path, slash ? (size_t)(slash - path) : 0);
	struct stat st;

	if (fd < 0)
		return err_errno(err, errno, "open the directory to unpack into");
	for (char *p = copy, *next; p && *p; p = next) {
		next = strchr(p, '/');
		if (next)
			*next++ = 0;
		int sub = step_into(fd, p, false);
		if (sub < 0)
			return errno == ENOENT ? refuse(err, member, "is a hard link to a file that is not there")
			                       : way_error(member, errno, err);
		close(fd);
		fd = sub;
	}
	*ret_name = slash ? slash + 1 : path;
	if (fstatat(fd, *ret_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return refuse(err, member, "is a hard link to a file that is not there");
	if (!S_ISREG(st.st_mode))
		return refuse(err, member, "is a hard link to something that is not a file");
	*ret_dir = take_fd(&fd);
	return 0;
}

static int make_hardlink(struct unpacking *u, int dir, const char *name, const char *member, const char *path,
                         struct archive_entry *e, struct err *err)
{
	_cleanup_free_ char *source = NULL;
	_cleanup_close_ int source_dir = -1;
	const char *source_name = NULL;
	char buf[256];

	int r = clean_name(archive_entry_hardlink(e), member, &source, err);
	if (r < 0)
		return r;
	if (strcmp(source, path) == 0)
		return 0; /* a link to itself: already so */
	r = open_link_source(u, source, member, &source_dir, &source_name, err);
	if (r < 0)
		return r;
	if (linkat(source_dir, source_name, dir, name, 0) == 0)
		return 0;
	if (errno == EEXIST) {
		r = clear_place(dir, name, member, err);
		if (r < 0)
			return r;
		if (linkat(source_dir, source_name, dir, name, 0) == 0)
			return 0;
	}
	return err_errno(err, errno, "make hard link '%s'", shown(member, buf));
}

static int make_directory(struct unpacking *u, int dir, const char *name, const char *member, const char *path,
                          struct archive_entry *e, struct err *err)
{
	char buf[256];
	struct stat st;

	if (mkdirat(dir, name, 0700) < 0) {
		if (errno != EEXIST)
			return err_errno(err, errno, "make directory '%s'", shown(member, buf));
		if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return err_errno(err, errno, "look at '%s'", shown(member, buf));
		if (!S_ISDIR(st.st_mode))
			return refuse(err, member, "is a directory where a link or file stands");
	}
	u->dirs = xgrow(u->dirs, &u->dir_cap, u->dir_count + 1, sizeof(*u->dirs));
	u->dirs[u->dir_count++] = (struct dir_todo){xstrdup(path), archive_entry_perm(e) & 0777, entry_mtime(e)};
	return 0;
}

static int make_member(struct unpacking *u, const char *member, const char *path, struct archive_entry *e,
                       struct err *err)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	mode_t type = archive_entry_filetype(e);
	int dir = -1;

	if (*path == 0) /* the directory itself: its attributes are the caller's business */
		return type == AE_IFDIR ? 0 : refuse(err, member, "has no name");
	if (!archive_entry_hardlink(e) && type != AE_IFREG && type != AE_IFDIR && type != AE_IFLNK)
		return refuse(err, member, "is a device, pipe or socket");
	int r = enter_parent(u, path, slash ? (size_t)(slash - path) : 0, member, &dir, err);
	if (r < 0)
		return r;
	if (archive_entry_hardlink(e))
		return make_hardlink(u, dir, name, member, path, e, err);
	if (type == AE_IFDIR)
		return make_directory(u, dir, name, member, path, e, err);
	if (type == AE_IFLNK)
		return make_symlink(dir, name, member, e, err);
	return make_file(u, dir, name, member, e, err);
}

static int unpack_entry(struct unpacking *u, struct archive_entry *e, struct err *err)
{
	const char *name = archive_entry_pathname(e);
	_cleanup_free_ char *path = NULL, *member = NULL;
	char buf[256];

	if (!name)
		name = archive_entry_pathname_utf8(e);
	if (!name)
		return err_set(err, ERR_INVALID, "archive member %lld has a name that is not text",
		               (long long)u->entries);
	member = xstrdup(name);
	if (u->limits.max_entries > 0 && u->entries > u->limits.max_entries)
		return err_set(err, ERR_LIMIT, "archive member '%s' passes the limit of %lld members",
		               shown(member, buf), (long long)u->limits.max_entries);
	int r = clean_name(member, member, &path, err);
	return r < 0 ? r : make_member(u, member, path, e, err);
}

static int unpack_members(struct unpacking *u, struct err *err)
{
	for (;;) {
		struct archive_entry *e;
		int r = archive_read_next_header(u->archive, &e);
		if (r == ARCHIVE_EOF)
			return 0;
		/* A warning concerns attributes or a name's characters; the member is usable. */
		if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
			return read_error(u, "read the archive", err);
		u->entries++;
		r = u->wait && u->entries % UNPACK_CHECK_EVERY == 0 ? wait_check(u->wait, err) : 0;
		if (r == 0)
			r = unpack_entry(u, e, err);
		if (r < 0)
			return r;
	}
}

/* Sets the attributes of the last made, deepest directories first, so that one without write permission does not block its own children. */
static int set_directories(struct unpacking *u, struct err *err)
{
	for (size_t i = u->dir_count; i > 0; i--) {
		const struct dir_todo *d = &u->dirs[i - 1];
		struct timespec times[2] = {{0, UTIME_OMIT}, d->mtime};
		_cleanup_close_ int fd = fs_open_beneath(u->top, d->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, NULL);
		char buf[256];
		if (fd < 0)
			continue; /* a later member of the same name took its place */
		if (fchmod(fd, d->mode) < 0 || futimens(fd, times) < 0)
			return err_errno(err, errno, "set mode and time of '%s'", shown(d->path, buf));
	}
	return 0;
}

static int unpack_open(struct unpacking *u, struct err *err)
{
	struct archive *a = u->archive;

	/* No filters that start a program, no format but tar. */
	if (archive_read_support_format_tar(a) != ARCHIVE_OK || archive_read_support_filter_gzip(a) != ARCHIVE_OK ||
	    archive_read_support_filter_zstd(a) != ARCHIVE_OK || archive_read_support_filter_xz(a) != ARCHIVE_OK ||
	    archive_read_support_filter_bzip2(a) != ARCHIVE_OK ||
	    archive_read_open2(a, u, NULL, take_in, NULL, NULL) != ARCHIVE_OK)
		return read_error(u, "read the archive", err);
	return 0;
}

int archive_unpack(archive_read_fn read, void *context, int dirfd, const struct archive_limits *limits, struct wait *w,
                   struct err *err)
{
	_cleanup_(archive_locale_leave) _unused_ struct archive_locale locale = archive_locale_enter();
	struct unpacking u = {.top = dirfd, .read = read, .context = context, .wait = w, .parent = -1};

	if (limits)
		u.limits = *limits;
	u.archive = archive_read_new();
	if (!u.archive)
		abort(); /* no memory */
	int r = unpack_open(&u, err);
	if (r == 0)
		r = unpack_members(&u, err);
	if (r == 0)
		r = set_directories(&u, err);
	archive_read_free(u.archive);
	closep(&u.parent);
	free(u.parent_path);
	for (size_t i = 0; i < u.dir_count; i++)
		free(u.dirs[i].path);
	free(u.dirs);
	return r;
}
