#include "base/archive/tree_open.h"
#include "base/sys/fs_beneath.h"
#include "base/core/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>

enum { OPEN_FLAGS = O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK };

void tree_opener_done(struct tree_opener *o)
{
	closep(&o->dir);
	free(o->dir_path);
	o->dir_path = NULL;
}

/* The descriptor of the directory, reached without a link; the top itself for "". */
static int enter(struct tree_opener *o, const char *path, size_t len, struct err *err)
{
	if (len == 0)
		return o->top;
	if (o->dir >= 0 && o->dir_len == len && memcmp(o->dir_path, path, len) == 0)
		return o->dir;
	tree_opener_done(o);
	o->dir_path = xstrndup(path, len);
	o->dir_len = len;
	o->dir = fs_open_beneath(o->top, o->dir_path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0, err);
	return o->dir;
}

int tree_open(struct tree_opener *o, const char *path, struct err *err)
{
	const char *slash = strrchr(path, '/');
	int dir = enter(o, path, slash ? (size_t)(slash - path) : 0, err);

	if (dir < 0)
		return dir;
	const char *name = slash ? slash + 1 : path;
	int fd = openat(dir, name, OPEN_FLAGS | O_NOATIME);
	if (fd < 0 && errno == EPERM) /* O_NOATIME is for owners only */
		fd = openat(dir, name, OPEN_FLAGS);
	if (fd < 0 && errno == ELOOP)
		return err_set(err, ERR_CONFLICT, "'%s' is a link now", path);
	return fd < 0 ? err_errno(err, errno, "open '%s'", path) : fd;
}
