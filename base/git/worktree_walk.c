#include "base/git/worktree_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sys/fs.h"

enum { WALK_DEPTH_MAX = 128 };

static bool same_stat(const git_index_entry *e, const struct stat *st)
{
	if (e->mtime.seconds == 0 || e->file_size != (uint32_t)st->st_size || e->ino != (uint32_t)st->st_ino)
		return false;
	if (e->mtime.seconds != (int32_t)st->st_mtim.tv_sec || e->mtime.nanoseconds != (uint32_t)st->st_mtim.tv_nsec ||
	    e->ctime.seconds != (int32_t)st->st_ctim.tv_sec || e->ctime.nanoseconds != (uint32_t)st->st_ctim.tv_nsec)
		return false;
	if (e->mode == GIT_FILEMODE_LINK)
		return S_ISLNK(st->st_mode);
	bool executable = (st->st_mode & 0100) != 0;
	return S_ISREG(st->st_mode) && executable == (e->mode == GIT_FILEMODE_BLOB_EXECUTABLE);
}

/* A file as old as the index may have changed since, within the clock's resolution. */
static bool is_racy(const struct git_worktree *w, const struct stat *st)
{
	return st->st_mtim.tv_sec > w->index_time.tv_sec ||
	       (st->st_mtim.tv_sec == w->index_time.tv_sec && st->st_mtim.tv_nsec >= w->index_time.tv_nsec);
}

static bool same_content(const struct git_worktree *w, const git_index_entry *e)
{
	git_oid id;
	return e->mode != GIT_FILEMODE_LINK &&
	       git_repository_hashfile(&id, w->area->repo, e->path, GIT_OBJECT_BLOB, e->path) == 0 &&
	       git_oid_equal(&id, &e->id);
}

static int compare_paths(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool was_tracked(const struct git_worktree *w, const char *path)
{
	return w->former.count > 0 &&
	       bsearch(&path, w->former.items, w->former.count, sizeof(w->former.items[0]), compare_paths) != NULL;
}

static int walk(struct git_worktree *w, int dir, struct str *path, int depth, struct err *err);

/* The first entry that does not come before the path. */
static size_t lower_bound(const struct git_worktree *w, const char *path)
{
	size_t low = 0, high = w->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (strcmp(git_index_get_byindex(w->index, middle)->path, path) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool git_worktree_has(const struct git_worktree *w, const char *directory)
{
	size_t position;
	if (w->sparse == NULL)
		return git_index_find_prefix(&position, w->index, directory) == 0;
	_cleanup_free_ char *behind = xstrdup(directory);
	behind[strlen(behind) - 1] = '/' + 1;
	return w->wanted[lower_bound(w, behind)] > w->wanted[lower_bound(w, directory)];
}

/* An entry of the index for this very path that is wanted. */
static bool find_wanted(const struct git_worktree *w, const char *path, size_t *ret)
{
	return git_index_find(ret, w->index, path) == 0 && !w->written[*ret].skipped;
}

static int remove_thing(struct git_worktree *w, int dir, const char *name, struct err *err)
{
	int r = fs_remove_tree(dir, name, err);
	if (r >= 0)
		w->result->removed++;
	return r;
}

static int walk_directory(struct git_worktree *w, int dir, const char *name, struct str *path, int depth,
                          struct err *err)
{
	size_t position;
	size_t mark = path->len;
	if (find_wanted(w, str_peek(path), &position)) {
		const git_index_entry *e = git_index_get_byindex(w->index, position);
		if (e->mode == GIT_FILEMODE_COMMIT)
			return 0;
		return remove_thing(w, dir, name, err);
	}
	str_append_c(path, '/');
	bool wanted = git_worktree_has(w, str_peek(path));
	if (!wanted && w->clean) {
		str_truncate(path, mark);
		return remove_thing(w, dir, name, err);
	}
	int sub _cleanup_close_ = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (sub < 0)
		return err_errno(err, errno, "open %s", str_peek(path));
	int r = walk(w, take_fd(&sub), path, depth + 1, err);
	str_truncate(path, mark);
	/* A directory that only held tracked files of the previous commit is removed with them. */
	if (r >= 0 && !wanted)
		unlinkat(dir, name, AT_REMOVEDIR);
	return r;
}

static int walk_entry(struct git_worktree *w, int dir, const struct dirent *entry, struct str *path, int depth,
                      struct err *err)
{
	struct stat st;
	size_t position;
	if (entry->d_type == DT_DIR)
		return walk_directory(w, dir, entry->d_name, path, depth, err);
	if (fstatat(dir, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? 0 : err_errno(err, errno, "look at %s", str_peek(path));
	if (S_ISDIR(st.st_mode))
		return walk_directory(w, dir, entry->d_name, path, depth, err);
	if (git_index_find(&position, w->index, str_peek(path)) == 0) {
		const git_index_entry *e = git_index_get_byindex(w->index, position);
		if (w->written[position].skipped)
			return remove_thing(w, dir, entry->d_name, err);
		if (same_stat(e, &st) && (!is_racy(w, &st) || same_content(w, e)))
			w->written[position].present = true;
		return 0;
	}
	size_t mark = path->len;
	str_append_c(path, '/');
	bool in_the_way = git_worktree_has(w, str_peek(path));
	str_truncate(path, mark);
	if (w->clean || in_the_way || was_tracked(w, str_peek(path)))
		return remove_thing(w, dir, entry->d_name, err);
	return 0;
}

/* Takes dir. path is the directory's with a trailing slash, or empty. */
static int walk(struct git_worktree *w, int dir, struct str *path, int depth, struct err *err)
{
	DIR *d = dir >= 0 ? fdopendir(dir) : NULL;
	if (d == NULL) {
		closep(&dir);
		return err_errno(err, errno, "list %s", str_peek(path));
	}
	int r = depth > WALK_DEPTH_MAX ? err_set(err, ERR_LIMIT, "%s lies too deep", str_peek(path)) : 0;
	size_t mark = path->len;
	struct dirent *entry;
	while (r >= 0 && (entry = readdir(d)) != NULL) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
		    (depth == 0 && strcmp(entry->d_name, ".git") == 0))
			continue;
		str_append(path, entry->d_name);
		if (path->failed)
			r = err_set(err, ERR_LIMIT, "a path in the work area is too long");
		else
			r = walk_entry(w, dirfd(d), entry, path, depth, err);
		str_truncate(path, mark);
	}
	closedir(d);
	if (r >= 0)
		r = wait_check(w->wait, err);
	return r;
}

int git_worktree_walk(struct git_worktree *w, struct err *err)
{
	struct str path _cleanup_(str_done) = STR_INIT(4096);
	return walk(w, openat(w->root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), &path, 0, err);
}
