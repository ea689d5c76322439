#include "base/tree_open.h"
#include "base/fs.h"
#include <errno.h>
#include <fcntl.h>

int tree_open(int dirfd, const char *path, int flags, struct err *err)
{
	struct err first = ERR_INIT;

	flags |= O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
	int fd = fs_open_beneath(dirfd, path, flags | O_NOATIME, 0, &first);
	if (fd == ERR_PERMISSION) /* O_NOATIME is for owners only */
		fd = fs_open_beneath(dirfd, path, flags, 0, &first);
	if (fd < 0 && err)
		*err = first;
	return fd;
}
