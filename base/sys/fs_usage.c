#include "base/sys/fs_usage.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
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

static int64_t count_below(int fd, dev_t device, int depth);

/* What its owner has closed takes its room all the same: it is opened for the time of the count. */
static int64_t count_closed(int fd, const char *name, const struct stat *st, int depth)
{
	int at = openat(fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), sub = -1;
	int64_t bytes = 0;
	char path[40];
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", at);
	if (at >= 0 && chmod(path, (st->st_mode & 07777) | S_IRUSR | S_IXUSR) == 0) {
		sub = openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		bytes = sub >= 0 ? count_below(sub, st->st_dev, depth) : 0;
		(void)chmod(path, st->st_mode & 07777);
	}
	if (at >= 0)
		close(at);
	return bytes;
}

/* Takes fd. What goes meanwhile, or is another user's and cannot be opened, is not counted. */
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
		if (!S_ISDIR(st.st_mode) || depth >= DEPTH_MAX)
			continue;
		int sub = (st.st_mode & 0500) == 0500 || st.st_uid != geteuid() || geteuid() == 0
		                  ? openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
		                  : -1;
		if (sub >= 0)
			bytes += count_below(sub, device, depth + 1);
		else if (st.st_uid == geteuid())
			bytes += count_closed(fd, entry->d_name, &st, depth + 1);
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
