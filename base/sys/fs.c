#include "base/sys/fs.h"

#include "base/core/rand.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Not every kernel's linux/magic.h names these. */
enum { MAGIC_CIFS = (int)0xff534d42, MAGIC_SMB2 = (int)0xfe534d42, MAGIC_CEPH = 0x00c36400, MAGIC_FUSE = 0x65735546 };

int fs_read(int dirfd, const char *path, size_t max, struct str *out, struct err *err)
{
	_cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return err_errno(err, errno, "open '%s'", path);
	return fs_read_fd(fd, path, max, out, err);
}

int fs_open_plain(int dirfd, const char *path, int flags, struct err *err)
{
	_cleanup_close_ int fd = openat(dirfd, path, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	int errnum = errno;
	struct stat st;
	if (fd < 0 && errnum == ELOOP)
		return err_set(err, ERR_INVALID, "'%s' is a symbolic link, not a file", path);
	/* A FIFO without a reader, a socket, a device without a driver. */
	if (fd < 0 && (errnum == ENXIO || errnum == ENODEV || errnum == EISDIR))
		return err_set(err, ERR_INVALID, "'%s' is not a regular file", path);
	if (fd < 0)
		return err_errno(err, errnum, "open '%s'", path);
	if (fstat(fd, &st) < 0)
		return err_errno(err, errno, "look at '%s'", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, ERR_INVALID, "'%s' is not a regular file", path);
	int plain = fd;
	fd = -1;
	return plain;
}

int fs_read_plain(int dirfd, const char *path, size_t max, struct str *out, struct err *err)
{
	_cleanup_close_ int fd = fs_open_plain(dirfd, path, O_RDONLY, err);
	return fd < 0 ? fd : fs_read_fd(fd, path, max, out, err);
}

int fs_read_fd(int fd, const char *path, size_t max, struct str *out, struct err *err)
{
	size_t before = out->len;
	for (;;) {
		/* Reads up to the lower of the two limits; one byte more, read aside, tells whether the file ends there. */
		size_t room = MIN((size_t)64 << 10, MIN(max - (out->len - before), out->max - out->len));
		char one_more;
		char *at = room > 0 ? str_reserve(out, room) : &one_more;
		if (at == NULL)
			return err_set(err, ERR_LIMIT, "no room for '%s'", path);
		ssize_t n = read(fd, at, room > 0 ? room : 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, errno, "read '%s'", path);
		if (n == 0)
			return 0;
		if (room == 0) {
			size_t ceiling = out->len - before;
			str_truncate(out, before);
			return err_set(err, ERR_LIMIT, "'%s' is larger than %zu bytes", path, ceiling);
		}
		out->len += (size_t)n;
		out->data[out->len] = '\0';
	}
}

int fs_write_all(int fd, const void *data, size_t len, struct err *err)
{
	const char *at = data;
	while (len > 0) {
		ssize_t n = write(fd, at, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, errno, "write");
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

/* The directory part, "." when there is none, "/" for entries of the root. free() */
static char *parent_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	if (slash == NULL)
		return xstrdup(".");
	return slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));
}

static int write_replace(int dirfd, const char *path, const void *data, size_t len, mode_t mode, bool durable,
                         struct err *err)
{
	char suffix[13];
	rand_hex(suffix, 12);
	_cleanup_free_ char *parent = parent_of(path);
	_cleanup_free_ char *private_name = xasprintf("%s/.davit-%s", parent, suffix);
	_cleanup_close_ int fd =
		openat(dirfd, private_name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(err, errno, "make a file in '%s'", parent);
	int r = fs_write_all(fd, data, len, err);
	if (r < 0)
		r = err_wrap(err, r, "write '%s'", path);
	if (r == 0 && fchmod(fd, mode) != 0)
		r = err_errno(err, errno, "set the mode of '%s'", path);
	if (r == 0 && durable && fsync(fd) != 0)
		r = err_errno(err, errno, "sync '%s'", path);
	if (r == 0 && renameat(dirfd, private_name, dirfd, path) != 0)
		r = err_errno(err, errno, "replace '%s'", path);
	if (r < 0) {
		unlinkat(dirfd, private_name, 0);
		return r;
	}
	return durable ? fs_sync_dir(dirfd, parent, err) : 0;
}

int fs_renameat2(int old_dir, const char *from, int new_dir, const char *to, unsigned flags)
{
	return (int)syscall(SYS_renameat2, old_dir, from, new_dir, to, flags);
}

int fs_write_atomic(int dirfd, const char *path, const void *data, size_t len, mode_t mode, struct err *err)
{
	return write_replace(dirfd, path, data, len, mode, true, err);
}

int fs_write_replace(int dirfd, const char *path, const void *data, size_t len, mode_t mode, struct err *err)
{
	return write_replace(dirfd, path, data, len, mode, false, err);
}

static int make_one_dir(int dirfd, const char *path, mode_t mode, struct err *err)
{
	if (mkdirat(dirfd, path, mode) == 0)
		return 0;
	int errnum = errno;
	struct stat st;
	if (errnum == EEXIST && fstatat(dirfd, path, &st, 0) == 0 && S_ISDIR(st.st_mode))
		return 0;
	/* A directory below a read-only or foreign parent may exist already and give another error than EEXIST. */
	if (errnum != EEXIST && fstatat(dirfd, path, &st, 0) == 0 && S_ISDIR(st.st_mode))
		return 0;
	return err_errno(err, errnum == EEXIST ? ENOTDIR : errnum, "make the directory '%s'", path);
}

int fs_mkdirs(int dirfd, const char *path, mode_t mode, struct err *err)
{
	_cleanup_free_ char *part = xstrdup(path);
	for (char *at = part + 1; *part && *at; at++) {
		if (*at != '/')
			continue;
		*at = '\0';
		int r = make_one_dir(dirfd, part, mode, err);
		*at = '/';
		if (r < 0)
			return r;
	}
	return *part ? make_one_dir(dirfd, part, mode, err) : 0;
}

static void closedirp(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

/* One removal. Entries deeper than DEPTH_MAX are moved to its top first, so that no tree needs more descriptors than a process has. */
struct removal {
	dev_t device;
	int top; /* of the tree's own directory; -1: not entered yet */
	bool moved;
	bool goes_on; /* behind what cannot be removed */
};
enum { DEPTH_MAX = 100, REMOVAL_ROUNDS = 100000 };

static int empty_dir(int fd, struct removal *m, int depth, struct err *err);

/* Works even if the owner has no permission, and does not change an entry that may be swapped in under its name. */
static int enter_dir(int fd, const char *name)
{
	int sub = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (sub >= 0 || errno != EACCES)
		return sub;
	_cleanup_close_ int at = openat(fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	char link[40];
	snprintf(link, sizeof(link), "/proc/self/fd/%d", at);
	if (at < 0 || chmod(link, 0700) != 0)
		return -1;
	return openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static bool move_up(int fd, const char *name, struct removal *m)
{
	char up[40] = ".davit-gone-";
	rand_hex(up + strlen(up), 16);
	if (m->top < 0 || renameat(fd, name, m->top, up) != 0)
		return false;
	m->moved = true;
	return true;
}

static int empty_top(int fd, struct removal *m, struct err *err)
{
	int r = 0;
	m->top = fd;
	for (int round = 0; r == 0 && (round == 0 || m->moved); round++) {
		m->moved = false;
		r = round < REMOVAL_ROUNDS ? empty_dir(fd, m, 1, err)
		                           : err_set(err, ERR_LIMIT, "directories lie too deep");
	}
	return r;
}

static int remove_entry(int fd, const char *name, struct removal *m, int depth, struct err *err)
{
	struct stat st;
	if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? 0 : err_errno(err, errno, "look at '%s'", name);
	if (!S_ISDIR(st.st_mode)) {
		if (unlinkat(fd, name, 0) != 0 && errno != ENOENT)
			return err_errno(err, errno, "remove '%s'", name);
		return 0;
	}
	if (st.st_dev != m->device)
		return err_set(err, ERR_REFUSED, "'%s' is another file system: it is not entered", name);
	if (depth >= DEPTH_MAX && move_up(fd, name, m))
		return 0;
	_cleanup_close_ int sub = enter_dir(fd, name);
	if (sub < 0)
		return err_errno(err, errno, "enter '%s'", name);
	/* A module cache has directories that their owner may not write to. Other users' directories refuse this too, which is reported below. */
	if ((st.st_mode & 0300) != 0300)
		(void)fchmod(sub, 0700);
	int r = depth == 0 ? empty_top(sub, m, err) : empty_dir(sub, m, depth + 1, err);
	if (r < 0)
		return err_wrap(err, r, "in '%s'", name);
	if (unlinkat(fd, name, AT_REMOVEDIR) != 0 && errno != ENOENT)
		return err_errno(err, errno, "remove the directory '%s'", name);
	return 0;
}

static int empty_dir(int fd, struct removal *m, int depth, struct err *err)
{
	if (depth > 512)
		return err_set(err, ERR_LIMIT, "directories lie deeper than 512");
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (copy < 0)
		return err_errno(err, errno, "read a directory");
	_cleanup_(closedirp) DIR *dir = fdopendir(copy);
	if (dir == NULL) {
		int errnum = errno;
		close(copy);
		return err_errno(err, errnum, "read a directory");
	}
	for (int first = 0;;) {
		errno = 0;
		const struct dirent *entry = readdir(dir);
		if (entry == NULL)
			return first < 0 ? first : errno ? err_errno(err, errno, "read a directory") : 0;
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		int r = remove_entry(fd, entry->d_name, m, depth, first < 0 ? NULL : err);
		if (r < 0 && !m->goes_on)
			return r;
		first = first < 0 ? first : r;
	}
}

static int remove_tree(int dirfd, const char *path, bool goes_on, struct err *err)
{
	struct stat st;
	if (fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : err_errno(err, errno, "look at '%s'", path);
	struct removal m = {.device = st.st_dev, .top = -1, .goes_on = goes_on};
	return remove_entry(dirfd, path, &m, 0, err);
}

int fs_remove_tree(int dirfd, const char *path, struct err *err)
{
	return remove_tree(dirfd, path, false, err);
}

int fs_remove_what_goes(int dirfd, const char *path, struct err *err)
{
	return remove_tree(dirfd, path, true, err);
}

int fs_sync_dir(int dirfd, const char *path, struct err *err)
{
	_cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, errno, "open the directory '%s'", path);
	/* Some file systems cannot sync a directory and say EINVAL: their entries are as durable as they get. */
	if (fsync(fd) != 0 && errno != EINVAL)
		return err_errno(err, errno, "sync the directory '%s'", path);
	return 0;
}

int fs_make_temp_dir(const char *prefix, char **ret_path, struct err *err)
{
	const char *base = getenv("TMPDIR");
	if (base == NULL || base[0] != '/')
		base = "/tmp";
	_cleanup_free_ char *path = xasprintf("%s/%s-XXXXXX", base, prefix);
	if (mkdtemp(path) == NULL)
		return err_errno(err, errno, "make a temporary directory in '%s'", base);
	*ret_path = TAKE(path);
	return 0;
}

bool fs_exists(int dirfd, const char *path)
{
	struct stat st;
	return fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

char *fs_join(const char *dir, const char *name)
{
	if (*dir == '\0')
		return xstrdup(name);
	while (*name == '/')
		name++;
	if (*name == '\0')
		return xstrdup(dir);
	return xasprintf(str_ends(dir, "/") ? "%s%s" : "%s/%s", dir, name);
}

int fs_normalize(const char *path, char **ret, struct err *err)
{
	bool absolute = path[0] == '/';
	_cleanup_(str_done) struct str out = STR_INIT(PATH_MAX);
	if (*path == '\0')
		return err_set(err, ERR_INVALID, "an empty path");
	for (const char *at = path; *at;) {
		size_t len = strcspn(at, "/");
		if (len == 2 && strncmp(at, "..", 2) == 0) {
			if (out.len == 0)
				return err_set(err, ERR_INVALID, "the path '%s' leaves its root", path);
			const char *slash = strrchr(out.data, '/');
			str_truncate(&out, slash ? (size_t)(slash - out.data) : 0);
		} else if (len > 0 && !(len == 1 && *at == '.')) {
			if (absolute || out.len > 0)
				str_append_c(&out, '/');
			str_append_n(&out, at, len);
		}
		at += len;
		while (*at == '/')
			at++;
	}
	if (out.failed)
		return err_set(err, ERR_LIMIT, "a path of more than %d bytes", PATH_MAX);
	if (out.len == 0)
		str_append(&out, absolute ? "/" : ".");
	*ret = str_take(&out);
	return 0;
}

bool fs_below(const char *dir, const char *path)
{
	size_t len = strlen(dir);
	if (strcmp(dir, "/") == 0)
		return path[0] == '/';
	if (strcmp(dir, ".") == 0)
		return path[0] != '/';
	return strncmp(dir, path, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

/* FUSE also carries local file systems: only its network forms count, and their names stand in mountinfo. */
static bool fuse_is_network(int fd)
{
	struct stat st;
	if (fstat(fd, &st) != 0)
		return false;
	FILE *mounts = fopen("/proc/self/mountinfo", "re");
	if (mounts == NULL)
		return false;
	char line[4096];
	bool found = false;
	while (!found && fgets(line, sizeof(line), mounts)) {
		unsigned int major_number, minor_number;
		const char *type = strstr(line, " - ");
		if (type == NULL || sscanf(line, "%*u %*u %u:%u", &major_number, &minor_number) != 2)
			continue;
		if (st.st_dev == makedev(major_number, minor_number))
			found = strstr(type, "sshfs") || strstr(type, "s3fs") || strstr(type, "gluster") ||
			        strstr(type, "rclone") || strstr(type, "davfs");
	}
	fclose(mounts);
	return found;
}

bool fs_is_network(int fd)
{
	struct statfs fs;
	if (fstatfs(fd, &fs) != 0)
		return false;
	switch ((int)fs.f_type) {
	case NFS_SUPER_MAGIC:
	case SMB_SUPER_MAGIC:
	case V9FS_MAGIC:
	case AFS_SUPER_MAGIC:
	case CODA_SUPER_MAGIC:
	case MAGIC_CIFS:
	case MAGIC_SMB2:
	case MAGIC_CEPH:
		return true;
	case MAGIC_FUSE:
		return fuse_is_network(fd);
	default:
		return false;
	}
}

char *fs_real_path(const char *path, struct err *err)
{
	char *real = realpath(path, NULL);
	if (real == NULL)
		err_errno(err, errno, "find '%s'", path);
	return real;
}
