#include "base/sys/fs_beneath.h"

#include "base/sys/fs.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { STEP_FLAGS = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC };

static int refused(struct err *err, const char *path)
{
	return err_set(err, ERR_REFUSED, "'%s' leads through a link or out of its directory", path);
}

/* Removes "//", "." and "..", so that each component is named once. */
static int plain(const char *path, char **ret, struct err *err)
{
	struct err why = ERR_INIT;
	if (path[0] == '/')
		return refused(err, path);
	int r = fs_normalize(path, ret, &why);
	if (r == ERR_INVALID && path[0] != '\0')
		return refused(err, path);
	if (r < 0 && err != NULL)
		*err = why;
	return r;
}

static bool is_link(int dir, const char *name)
{
	struct stat st;
	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode);
}

/* Opens one component. A link gives ELOOP, even with O_DIRECTORY or O_PATH. */
static int open_step(int dir, const char *name, int flags, mode_t mode)
{
	int fd = openat(dir, name, flags | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0) {
		if (errno == ENOTDIR && is_link(dir, name))
			errno = ELOOP;
		return -1;
	}
	struct stat st;
	if ((flags & O_PATH) && !(flags & O_NOFOLLOW) && fstat(fd, &st) == 0 && S_ISLNK(st.st_mode)) {
		close(fd);
		errno = ELOOP;
		return -1;
	}
	return fd;
}

/* path is changed. */
static int open_by_steps(int root, char *path, int flags, mode_t mode)
{
	_cleanup_close_ int at = openat(root, ".", STEP_FLAGS);
	if (at < 0)
		return -1;
	char *part = path;
	for (char *slash; (slash = strchr(part, '/')) != NULL; part = slash + 1) {
		*slash = '\0';
		int next = open_step(at, part, STEP_FLAGS, 0);
		if (next < 0)
			return -1;
		close(at);
		at = next;
	}
	return open_step(at, part, flags, mode);
}

/* Like open: -1 and errno. */
static int open_plain(int root, const char *path, int flags, mode_t mode)
{
	struct open_how how = {
		.flags = (unsigned int)(flags | O_CLOEXEC),
		.mode = flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)) ? mode : 0,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	long fd = syscall(SYS_openat2, root, path, &how, sizeof(how));
	/* EPERM may come from a seccomp filter too; EAGAIN says that something was renamed meanwhile. */
	if (fd >= 0 || (errno != ENOSYS && errno != EPERM && errno != EAGAIN))
		return (int)fd;
	_cleanup_free_ char *copy = xstrdup(path);
	return open_by_steps(root, copy, flags, mode);
}

static int open_failed(int errnum, const char *path, struct err *err)
{
	if (errnum == EXDEV || errnum == ELOOP)
		return refused(err, path);
	return err_errno(err, errnum, "open '%s'", path);
}

int fs_open_beneath(int root, const char *path, int flags, mode_t mode, struct err *err)
{
	_cleanup_free_ char *name = NULL;
	int r = plain(path, &name, err);
	if (r < 0)
		return r;
	int fd = open_plain(root, name, flags, mode);
	return fd < 0 ? open_failed(errno, path, err) : fd;
}

int fs_open_within(const char *root, const char *path, int flags, char **ret_real, struct err *err)
{
	_cleanup_free_ char *real_root = fs_real_path(root, err);
	if (real_root == NULL)
		return ERR_NOT_FOUND;
	_cleanup_free_ char *joined = path[0] == '/' ? xstrdup(path) : fs_join(real_root, path);
	_cleanup_free_ char *real = fs_real_path(joined, err);
	if (real == NULL)
		return ERR_NOT_FOUND;
	if (!fs_below(real_root, real))
		return err_set(err, ERR_REFUSED, "'%s' leaves %s: it is %s", path, real_root, real);
	_cleanup_close_ int dir = open(real_root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_errno(err, errno, "open %s", real_root);
	const char *rest = real + (strcmp(real_root, "/") == 0 ? 0 : strlen(real_root));
	rest += *rest == '/';
	int fd = fs_open_beneath(dir, *rest != '\0' ? rest : ".", flags, 0, err);
	if (fd >= 0)
		*ret_real = TAKE(real);
	return fd;
}

int fs_stat_beneath(int root, const char *path, struct stat *ret, struct err *err)
{
	_cleanup_close_ int fd = fs_open_beneath(root, path, O_PATH | O_NOFOLLOW, 0, err);
	if (fd < 0)
		return fd;
	return fstat(fd, ret) == 0 ? 0 : err_errno(err, errno, "look at '%s'", path);
}

int fs_read_beneath(int root, const char *path, size_t max, struct str *out, struct err *err)
{
	struct stat st;
	_cleanup_close_ int fd = fs_open_beneath(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, err);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) != 0)
		return err_errno(err, errno, "look at '%s'", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, ERR_REFUSED, "'%s' is not a regular file", path);
	return fs_read_fd(fd, path, max, out, err);
}

int fs_parent_beneath(int root, const char *path, char **ret_name, struct err *err)
{
	_cleanup_free_ char *name = NULL;
	int r = plain(path, &name, err);
	if (r < 0)
		return r;
	if (strcmp(name, ".") == 0)
		return err_set(err, ERR_INVALID, "'%s' is the directory itself", path);
	char *slash = strrchr(name, '/');
	if (slash != NULL)
		*slash = '\0';
	int fd = open_plain(root, slash ? name : ".", O_PATH | O_DIRECTORY, 0);
	if (fd < 0)
		return open_failed(errno, path, err);
	*ret_name = xstrdup(slash ? slash + 1 : name);
	return fd;
}

/* Enters a directory, which is made if it is missing. */
static int make_step(int dir, const char *name, mode_t mode)
{
	int fd = open_step(dir, name, STEP_FLAGS, 0);
	if (fd >= 0 || errno != ENOENT)
		return fd;
	if (mkdirat(dir, name, mode) != 0 && errno != EEXIST)
		return -1;
	return open_step(dir, name, STEP_FLAGS, 0);
}

int fs_mkdirs_beneath(int root, const char *path, mode_t mode, struct err *err)
{
	_cleanup_free_ char *name = NULL;
	int r = plain(path, &name, err);
	if (r < 0)
		return r;
	_cleanup_close_ int at = openat(root, ".", STEP_FLAGS);
	char *rest = NULL;
	for (char *part = strtok_r(name, "/", &rest); at >= 0 && part != NULL; part = strtok_r(NULL, "/", &rest)) {
		int next = make_step(at, part, mode);
		int errnum = errno;
		close(at);
		at = next;
		errno = errnum;
	}
	int fd = at < 0 ? -1 : openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	if (errno == ELOOP)
		return refused(err, path);
	return err_errno(err, errno, "make the directory '%s'", path);
}

int fs_rename_beneath(int root, const char *from, const char *to, unsigned flags, struct err *err)
{
	_cleanup_free_ char *old_name = NULL, *new_name = NULL;
	_cleanup_close_ int old_dir = fs_parent_beneath(root, from, &old_name, err);
	if (old_dir < 0)
		return old_dir;
	_cleanup_close_ int new_dir = fs_parent_beneath(root, to, &new_name, err);
	if (new_dir < 0)
		return new_dir;
	int r = flags ? fs_renameat2(old_dir, old_name, new_dir, new_name, flags)
	              : renameat(old_dir, old_name, new_dir, new_name);
	return r == 0 ? 0 : err_errno(err, errno, "rename '%s' to '%s'", from, to);
}

int fs_unlink_beneath(int root, const char *path, struct err *err)
{
	_cleanup_free_ char *name = NULL;
	_cleanup_close_ int dir = fs_parent_beneath(root, path, &name, err);
	if (dir < 0)
		return dir;
	return unlinkat(dir, name, 0) == 0 ? 0 : err_errno(err, errno, "remove '%s'", path);
}

int fs_remove_tree_beneath(int root, const char *path, struct err *err)
{
	_cleanup_free_ char *name = NULL;
	struct err why = ERR_INIT;
	_cleanup_close_ int dir = fs_parent_beneath(root, path, &name, &why);
	if (dir == ERR_NOT_FOUND)
		return 0;
	if (dir < 0 && err != NULL)
		*err = why;
	return dir < 0 ? dir : fs_remove_tree(dir, name, err);
}
