#include "base/sys/fs_usage.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/core/mem.h"

enum { BLOCK = 512, DEPTH_MAX = 400 };

static void closedirp(DIR **dir)
{
	if (*dir != NULL)
		closedir(*dir);
}

/* A file with several names is shared among them, so that it counts once where all of them lie here. */
static int64_t bytes_of(const struct stat *st)
{
	int64_t bytes = (int64_t)st->st_blocks * BLOCK;
	return S_ISDIR(st->st_mode) || st->st_nlink < 2 ? bytes : bytes / (int64_t)st->st_nlink;
}

/* Takes fd. What goes or cannot be opened meanwhile is not counted. */
static int64_t count_below(int fd, dev_t device, int depth)
{
	int64_t bytes = 0;
	_cleanup_(closedirp) DIR *dir = fdopendir(fd);
	if (dir == NULL) {
		close(fd);
		return 0;
	}
	for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
		struct stat st;
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
		    fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_dev != device)
			continue;
		bytes += bytes_of(&st);
		int sub = S_ISDIR(st.st_mode) && depth < DEPTH_MAX
		                  ? openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
		                  : -1;
		if (sub >= 0)
			bytes += count_below(sub, device, depth + 1);
	}
	return bytes;
}

int fs_usage(int dirfd, const char *path, int64_t *ret_bytes, struct err *err)
{
	struct stat st;
	int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0) {
		int errnum = errno;
		if (fd >= 0)
			close(fd);
		return err_errno(err, errnum, "look into '%s'", path);
	}
	*ret_bytes = bytes_of(&st) + count_below(fd, st.st_dev, 0);
	return 0;
}

int fs_free_space(const char *path, int64_t *ret_free, int64_t *ret_size, struct err *err)
{
	_cleanup_free_ char *there = xstrdup(path);
	struct statvfs st;
	while (statvfs(there, &st) < 0) {
		char *slash = strrchr(there, '/');
		if (errno != ENOENT || slash == NULL || slash[1] == '\0')
			return err_errno(err, errno, "ask for the free space at '%s'", path);
		slash[slash == there] = '\0';
	}
	*ret_free = (int64_t)(st.f_bavail * st.f_frsize);
	*ret_size = (int64_t)(st.f_blocks * st.f_frsize);
	return 0;
}
