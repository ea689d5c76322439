#include "base/git/files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/sys/fs.h"
#include "base/core/mem.h"

enum { MODE_EXECUTABLE = 0100755, MODE_LINK = 0120000 };

void git_files_done(struct git_files *f)
{
	free(f->dir_path);
	closep(&f->dir);
}

static bool safe_component(const char *name, size_t len)
{
	if (len == 0 || (len == 1 && name[0] == '.') || (len == 2 && name[0] == '.' && name[1] == '.'))
		return false;
	return !(len == 4 && strncasecmp(name, ".git", 4) == 0);
}

bool git_files_safe(const char *path)
{
	do {
		size_t len = strcspn(path, "/");
		if (!safe_component(path, len))
			return false;
		path += len;
	} while (*path++ == '/');
	return true;
}

int git_files_parent(struct git_files *f, const char *path, const char **ret_name, struct err *err)
{
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) : 0;
	*ret_name = slash ? slash + 1 : path;
	if (f->dir >= 0 && strlen(f->dir_path) == len && memcmp(f->dir_path, path, len) == 0)
		return 0;
	int at _cleanup_close_ = dup(f->root);
	_cleanup_free_ char *whole = xstrndup(path, len);
	char *rest = NULL;
	for (char *part = strtok_r(whole, "/", &rest); part != NULL; part = strtok_r(NULL, "/", &rest)) {
		int next = openat(at, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0 && (errno == ENOTDIR || errno == ELOOP)) {
			if (f->fresh)
				return err_set(err, ERR_EXISTS, "%s: '%s' is not a directory", path, part);
			unlinkat(at, part, 0);
		}
		if (next < 0) {
			if (mkdirat(at, part, 0777) != 0 && errno != EEXIST)
				return err_errno(err, errno, "make the directory of %s", path);
			next = openat(at, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		}
		if (next < 0)
			return err_errno(err, errno, "open the directory of %s", path);
		close(at);
		at = next;
	}
	closep(&f->dir);
	free(f->dir_path);
	f->dir = take_fd(&at);
	f->dir_path = xstrndup(path, len);
	return 0;
}

static void clear_way(struct git_files *f, const char *name)
{
	if (unlinkat(f->dir, name, 0) != 0 && (errno == EISDIR || errno == EPERM))
		fs_remove_tree(f->dir, name, NULL);
}

static int write_link(struct git_files *f, const char *name, const void *data, size_t len, struct stat *ret)
{
	_cleanup_free_ char *target = xstrndup(data, len);
	if (symlinkat(target, f->dir, name) != 0)
		return -errno;
	return fstatat(f->dir, name, ret, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : -errno;
}

static int open_regular(struct git_files *f, const char *name, unsigned mode)
{
	return openat(f->dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
	              mode == MODE_EXECUTABLE ? 0777 : 0666);
}

static int write_regular(struct git_files *f, const char *name, unsigned mode, const void *data, size_t len,
                         struct stat *ret, struct err *err)
{
	int fd _cleanup_close_ = open_regular(f, name, mode);
	if (fd < 0)
		return -errno;
	int r = fs_write_all(fd, data, len, err);
	if (r < 0)
		return 1;
	return fstat(fd, ret) == 0 ? 0 : -errno;
}

/* 0, an errno negated, or 1: err has it. */
static int write_once(struct git_files *f, const char *name, unsigned mode, const void *data, size_t len,
                      struct stat *ret, struct err *err)
{
	if (mode == MODE_LINK)
		return write_link(f, name, data, len, ret);
	return write_regular(f, name, mode, data, len, ret, err);
}

int git_files_open(struct git_files *f, const char *path, unsigned mode, struct err *err)
{
	const char *name;
	int r = git_files_parent(f, path, &name, err);
	if (r < 0)
		return r;
	int fd = open_regular(f, name, mode);
	if (fd < 0 && errno == EEXIST && !f->fresh) {
		clear_way(f, name);
		fd = open_regular(f, name, mode);
	}
	return fd < 0 ? err_errno(err, errno, "write %s", path) : fd;
}

int git_files_write(struct git_files *f, const char *path, unsigned mode, const void *data, size_t len,
                    struct stat *ret, struct err *err)
{
	const char *name;
	struct err why = ERR_INIT;
	int r = git_files_parent(f, path, &name, err);
	if (r < 0)
		return r;
	r = write_once(f, name, mode, data, len, ret, &why);
	if (r == -EEXIST && !f->fresh) {
		clear_way(f, name);
		r = write_once(f, name, mode, data, len, ret, &why);
	}
	if (r < 0)
		return err_errno(err, -r, "write %s", path);
	if (r > 0) {
		if (err != NULL)
			*err = why;
		return err_wrap(err, why.code, "write %s", path);
	}
	return 0;
}
