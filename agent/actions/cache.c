#include "agent/actions/cache.h"

#include "base/core/clock.h"
#include "base/core/rand.h"
#include "base/core/str.h"
#include "base/secret/digest.h"
#include "base/sys/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILES_MAX = 100000, LEFT_BEHIND_S = 3600 };
static const char temporary_prefix[] = "new-";

int cache_open(const char *state_dir, struct err *err)
{
	_cleanup_free_ char *path = fs_join(state_dir, "actions");
	int r = fs_mkdirs(AT_FDCWD, path, 0700, err);
	if (r < 0)
		return err_wrap(err, r, "the cache of actions '%s'", path);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? err_errno(err, errno, "open the cache of actions '%s'", path) : fd;
}

char *cache_name(const char *server, const char *repository, const char *commit)
{
	char hex[DIGEST_HEX];
	_cleanup_free_ char *key = xasprintf("%s\n%s\n%s", server, repository, commit);
	digest_of(key, strlen(key), hex);
	return xasprintf("%s.tar.gz", hex);
}

int cache_find(int dir, const char *name, struct err *err)
{
	int fd = fs_open_plain(dir, name, O_RDONLY, err);
	if (fd >= 0)
		futimens(fd, NULL);
	return fd;
}

int cache_begin(int dir, char **ret_temporary, struct err *err)
{
	char id[37];
	rand_uuid4(id);
	_cleanup_free_ char *name = xasprintf("%s%s", temporary_prefix, id);
	int fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(err, errno, "make a file in the cache of actions");
	*ret_temporary = TAKE(name);
	return fd;
}

struct cached {
	char name[80];
	int64_t bytes, used_ns;
};

static int by_use(const void *a, const void *b)
{
	const struct cached *p = a, *q = b;
	return p->used_ns < q->used_ns ? -1 : p->used_ns > q->used_ns;
}

/* Lists the archives; what a worker left behind when it died goes. */
static size_t list(int dir, struct cached **ret, int64_t *ret_bytes)
{
	size_t count = 0, cap = 0;
	DIR *d = fdopendir(fcntl(dir, F_DUPFD_CLOEXEC, 3));
	if (d == NULL)
		return 0;
	rewinddir(d);
	for (struct dirent *e; count < FILES_MAX && (e = readdir(d)) != NULL;) {
		struct stat st;
		if (strlen(e->d_name) >= sizeof((*ret)->name) ||
		    fstatat(dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
			continue;
		if (str_starts(e->d_name, temporary_prefix)) {
			if (clock_wall_ms() / 1000 - st.st_mtim.tv_sec > LEFT_BEHIND_S)
				unlinkat(dir, e->d_name, 0);
			continue;
		}
		*ret = xgrow(*ret, &cap, count + 1, sizeof((*ret)[0]));
		struct cached *c = &(*ret)[count++];
		memcpy(c->name, e->d_name, strlen(e->d_name) + 1);
		c->bytes = st.st_size;
		c->used_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
		*ret_bytes += st.st_size;
	}
	closedir(d);
	return count;
}

static void bound(int dir, const char *newest, int64_t max_bytes)
{
	struct cached *files = NULL;
	int64_t bytes = 0;
	size_t count = list(dir, &files, &bytes);
	if (count > 0)
		qsort(files, count, sizeof(files[0]), by_use);
	for (size_t i = 0; i < count && bytes > max_bytes; i++) {
		if (strcmp(files[i].name, newest) == 0 || unlinkat(dir, files[i].name, 0) < 0)
			continue;
		bytes -= files[i].bytes;
	}
	free(files);
}

int cache_keep(int dir, const char *temporary, const char *name, int64_t max_bytes, struct err *err)
{
	if (renameat(dir, temporary, dir, name) < 0)
		return err_errno(err, errno, "keep an archive in the cache of actions");
	bound(dir, name, max_bytes);
	return 0;
}

void cache_drop(int dir, const char *name)
{
	unlinkat(dir, name, 0);
}
