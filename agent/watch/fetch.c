/* The tree of a commit: its archive, by REST, unpacked by a process that holds no secret, into a directory of this place alone. */
#include "agent/watch/watch_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/core/clock.h"
#include "base/sys/fs.h"

enum { DOWNLOAD_MS = 10 * 60 * 1000, UNPACK_MS = 11 * 60 * 1000, SAID_MAX = 4096 };
#define ARCHIVE_MAX ((int64_t)1 << 30)

static char *work_dir(const struct place *p)
{
	return fs_join(p->dir, "work");
}

/* GitHub's archives hold one directory, whose name is of owner, repository and commit. */
char *place_tree(const struct place *p)
{
	_cleanup_free_ char *work = work_dir(p), *all = fs_join(work, "tree");
	char *found = NULL;
	DIR *dir = opendir(all);
	for (struct dirent *entry; dir != NULL && found == NULL && (entry = readdir(dir)) != NULL;)
		if (entry->d_name[0] != '.')
			found = fs_join(all, entry->d_name);
	if (dir != NULL)
		closedir(dir);
	return found;
}

void place_sweep(struct place *p)
{
	_cleanup_free_ char *work = work_dir(p);
	(void)fs_remove_tree(AT_FDCWD, work, NULL);
}

static int unpack(int archive, int into, struct wait *w, struct err *err)
{
	_cleanup_free_ char *program = fs_helper_program("davit-step", err), *number = xasprintf("%d", into);
	static const char *const env[] = {"PATH=/usr/bin:/bin", "LC_ALL=C", NULL};
	if (program == NULL)
		return ERR_NOT_FOUND;
	const char *argv[] = {program, "unpack-action", number, NULL};
	const int keep[] = {into, -1};
	const struct proc_options options = {.argv = argv, .env = env, .stdin_fd = archive, .keep_fds = keep};
	_cleanup_(str_done) struct str said = STR_INIT(SAID_MAX), safe = STR_INIT(4 * SAID_MAX);
	struct wait limit = wait_within(w, UNPACK_MS);
	int status = 0;
	if (lseek(archive, 0, SEEK_SET) < 0)
		return err_errno(err, errno, "read the archive");
	int r = proc_run(&options, NULL, 0, SAID_MAX, &limit, NULL, &said, &status, err);
	if (r < 0 || status == 0)
		return r;
	str_append_safe(&safe, str_peek(&said), strcspn(str_peek(&said), "\n"));
	return err_set(err, ERR_INVALID, "%s", safe.len > 0 ? str_peek(&safe) : "the archive cannot be unpacked");
}

int place_fetch(struct place *p, struct wait *w, struct err *err)
{
	const char *sha = json_get_string(place_current(p), "sha");
	_cleanup_free_ char *work = work_dir(p), *tree = fs_join(work, "tree"), *archive = fs_join(work, "archive"),
			    *path = xasprintf("/repos/%s/tarball/%s", p->repository, sha);
	if (*sha == '\0')
		return err_set(err, ERR_NOT_FOUND, "the deployment names no commit");
	place_sweep(p);
	int r = fs_mkdirs(AT_FDCWD, tree, 0700, err);
	if (r < 0)
		return r;
	_cleanup_close_ int fd = open(archive, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	_cleanup_close_ int into = open(tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || into < 0)
		return err_errno(err, errno, "make %s", fd < 0 ? archive : tree);
	r = api_download(p->api, path, fd, ARCHIVE_MAX, DOWNLOAD_MS, w, err);
	if (r == 0)
		r = unpack(fd, into, w, err);
	(void)unlink(archive);
	_cleanup_free_ char *found = r == 0 ? place_tree(p) : NULL;
	if (r == 0 && found == NULL)
		r = err_set(err, ERR_INVALID, "the archive is empty");
	return r < 0 ? err_wrap(err, r, "fetch the commit %.12s", sha) : 0;
}
