/* The work tree of a commit. libgit2's own checkout writes every file of a fresh tree through many calls; here the index knows
 * the existing files (size, time, inode), and two threads write only those that differ.
 *
 * Order: index ← tree (unchanged entries keep their stat data) → one walk over the directory: files that are unchanged by the
 * index stay, unknown ones are removed → the rest is written → index written. Names come from the network: each
 * component is checked, directories are opened without following links, so nothing is written outside the area. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sys/fs.h"
#include "base/sys/fs_beneath.h"
#include "base/git/worktree_priv.h"
#include "base/git/convert.h"
#include "base/git/files.h"
#include "base/git/large.h"
#include "base/git/lfs.h"
#include "base/git/lfs_store.h"
#include "base/git/partial.h"
#include "base/git/sparse.h"
#include "base/git/tree_size.h"

enum { WRITERS = 2, CHUNK = 64 };

/* ---- writing ---- */

struct writer {
	struct git_worktree *w;
	git_repository *repo; /* a handle of its own: libgit2's caches are not shared between threads */
	git_odb *odb;
	struct git_files files;
};

static void writer_done(struct writer *t)
{
	git_odb_free(t->odb);
	git_repository_free(t->repo);
	git_files_done(&t->files);
}

bool git_area_is_lfs_pointer(const char *data, size_t len)
{
	static const char head[] = "version https://git-lfs.github.com/spec/";
	return len < LFS_POINTER_MAX && len > sizeof(head) && memcmp(data, head, sizeof(head) - 1) == 0;
}

/* 0: written, 1: it needs conversion or is not stored whole. */
static int write_large(struct writer *t, const git_index_entry *e, size_t size, struct stat *ret, struct err *err)
{
	struct git_conversion conversion _cleanup_(git_conversion_done) = {0};
	int r = t->w->filters ? git_conversion_find(t->repo, &t->w->commit, NULL, e->path, &conversion, err) : 0;
	if (r < 0 || !git_conversion_is_none(&conversion))
		return r < 0 ? r : 1;
	int fd _cleanup_close_ = git_files_open(&t->files, e->path, e->mode, err);
	if (fd < 0)
		return fd;
	r = git_large_write(t->w->area->git, &e->id, size, fd, e->path, t->w->wait, err);
	if (r == 0 && fstat(fd, ret) != 0)
		r = err_errno(err, errno, "look at %s", e->path);
	return r;
}

/* A content is written as it is: git converts the pointer in its place. To git a file that is not older than the index by a second may have changed since, and it
 * would compare, for which it needs git-lfs. */
static int write_lfs(struct writer *t, const git_index_entry *e, const struct lfs_file *file, struct stat *ret,
                     struct err *err)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {0}};
	int fd _cleanup_close_ = git_files_open(&t->files, e->path, e->mode, err);
	if (fd < 0)
		return fd;
	int r = lfs_store_copy(t->w->area->git, &file->pointer, fd, t->w->wait, err);
	if (r < 0)
		return err_wrap(err, r, "write %s", e->path);
	clock_gettime(CLOCK_REALTIME_COARSE, &times[1]);
	times[1].tv_sec--;
	if (futimens(fd, times) != 0 || fstat(fd, ret) != 0)
		return err_errno(err, errno, "set the time of %s", e->path);
	return 0;
}

/* As git-lfs has files that are to be locked before they are changed. */
static int make_read_only(struct writer *t, const git_index_entry *e, struct stat *ret, struct err *err)
{
	const char *name;
	int r = git_files_parent(&t->files, e->path, &name, err);
	if (r < 0)
		return r;
	int fd _cleanup_close_ = openat(t->files.dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fchmod(fd, ret->st_mode & 0555) != 0 || fstat(fd, ret) != 0)
		return err_errno(err, errno, "set the mode of %s", e->path);
	return 0;
}

static int check_size(struct writer *t, const git_index_entry *e, struct stat *ret, struct err *err)
{
	size_t size;
	git_object_t type;
	int r = git_odb_read_header(&size, &type, t->odb, &e->id);
	if (r != 0)
		return git_area_error(err, r, e->path);
	if (e->mode == GIT_FILEMODE_LINK)
		return size < PATH_MAX ? 1
		                       : err_set(err, ERR_LIMIT, "%s: a link to a path of %zu bytes", e->path, size);
	if (size <= GIT_WHOLE_MAX)
		return 1;
	r = write_large(t, e, size, ret, err);
	return r == 1 && size > GIT_MEMORY_MAX ? git_large_error(e->path, size, err) : r;
}

static int write_blob(struct writer *t, const git_index_entry *e, struct stat *ret, struct err *err)
{
	git_blob *blob _cleanup_(blob_freep) = NULL;
	int r = check_size(t, e, ret, err);
	if (r <= 0)
		return r;
	r = git_blob_lookup(&blob, t->repo, &e->id);
	if (r != 0)
		return git_area_error(err, r, e->path);
	struct git_content content _cleanup_(git_content_done) = GIT_CONTENT_INIT;
	content.data = git_blob_rawcontent(blob);
	content.len = (size_t)git_blob_rawsize(blob);
	if (e->mode != GIT_FILEMODE_LINK) {
		if (git_area_is_lfs_pointer(content.data, content.len))
			atomic_fetch_add(&t->w->pointers, 1);
		struct git_conversion conversion _cleanup_(git_conversion_done) = {0};
		if (t->w->filters)
			r = git_conversion_find(t->repo, &t->w->commit, blob, e->path, &conversion, err);
		if (r >= 0)
			r = git_convert(&conversion, &e->id, e->path, &content, err);
		if (r < 0)
			return r;
		atomic_fetch_add(&t->w->unencoded, content.unencoded);
	}
	return git_files_write(&t->files, e->path, e->mode, content.data, content.len, ret, err);
}

/* A submodule stays an empty directory, as with git without --recurse-submodules. What else stands there is replaced. */
static int make_submodule(struct writer *t, const git_index_entry *e, struct err *err)
{
	const char *name;
	_cleanup_free_ char *within = xasprintf("%s/", e->path);
	return git_files_parent(&t->files, within, &name, err);
}

static int write_entry(struct writer *t, size_t position, struct err *err)
{
	const git_index_entry *e = git_index_get_byindex(t->w->index, position);
	struct git_written *written = &t->w->written[position];
	if (written->present || written->skipped)
		return 0;
	if (!git_files_safe(e->path)) {
		int r = err_set(err, ERR_REFUSED,
		                "the commit holds a file called '%s', which would leave the work area", e->path);
		return err_hint(err, r, "remove it from the repository");
	}
	if (e->mode == GIT_FILEMODE_COMMIT)
		return make_submodule(t, e, err);
	const struct lfs_file *file = t->w->lfs != NULL ? git_lfs_file(t->w->lfs, position) : NULL;
	int r = file != NULL ? write_lfs(t, e, file, &written->st, err) : write_blob(t, e, &written->st, err);
	if (r >= 0 && written->lockable)
		r = make_read_only(t, e, &written->st, err);
	written->is_new = r >= 0;
	atomic_fetch_add(&t->w->files, 1);
	return r;
}

static void *writer_main(void *context)
{
	struct writer *t = context;
	struct git_worktree *w = t->w;
	struct err err = ERR_INIT;
	int r = 0;
	while (atomic_load(&w->failed) == 0) {
		size_t from = atomic_fetch_add(&w->next, CHUNK);
		if (from >= w->count)
			return NULL;
		for (size_t i = from; r >= 0 && i < MIN(from + CHUNK, w->count); i++)
			r = write_entry(t, i, &err);
		if (r >= 0)
			r = wait_check(w->wait, &err);
		if (r < 0) {
			pthread_mutex_lock(&w->err_lock);
			if (atomic_load(&w->failed) == 0) {
				atomic_store(&w->failed, r);
				w->err = err;
			}
			pthread_mutex_unlock(&w->err_lock);
		}
	}
	return NULL;
}

static int write_all(struct git_worktree *w, size_t missing, struct err *err)
{
	struct writer writers[WRITERS];
	pthread_t threads[WRITERS];
	/* A thread costs more than a handful of files. */
	int count = missing > 4 * CHUNK ? WRITERS : 1, started = 0, r = 0;
	for (int i = 0; i < count; i++) {
		writers[i] = (struct writer){.w = w, .files = GIT_FILES_INIT(w->root)};
		if (git_area_handle(w->area, &writers[i].repo) != 0 ||
		    git_repository_odb(&writers[i].odb, writers[i].repo) != 0)
			r = git_area_error(err, -1, "open the work area");
	}
	for (int i = 1; r >= 0 && i < count; i++) {
		if (pthread_create(&threads[i], NULL, writer_main, &writers[i]) != 0)
			break;
		started = i;
	}
	if (r >= 0)
		writer_main(&writers[0]);
	for (int i = 1; i <= started; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < count; i++)
		writer_done(&writers[i]);
	if (r >= 0 && atomic_load(&w->failed) != 0) {
		*err = w->err;
		r = atomic_load(&w->failed);
	}
	return r;
}

/* ---- the whole ---- */

bool git_area_converts(git_repository *repo)
{
	git_config *config = NULL;
	bool converts = false;
	static const char *const keys[] = {"core.autocrlf", "core.eol", "core.attributesfile"};
	if (git_repository_config_snapshot(&config, repo) == 0) {
		for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
			const char *value = NULL;
			converts |= git_config_get_string(&value, config, keys[i]) == 0 && strcmp(value, "false") != 0;
		}
		git_config_free(config);
	}
	return converts;
}

/* Conversion is looked up a file at a time, which is slow: only done if something asks for it. */
static bool needs_filters(struct git_worktree *w)
{
	bool needed = git_area_converts(w->area->repo);
	for (size_t i = 0; !needed && i < w->count; i++) {
		const char *path = git_index_get_byindex(w->index, i)->path;
		const char *name = strrchr(path, '/');
		needed = strcmp(name ? name + 1 : path, ".gitattributes") == 0;
	}
	return needed;
}

/* Takes over files written while the pack arrived, if the index wants exactly these. */
static void take_early(struct git_worktree *w)
{
	size_t count = 0, position;
	const struct git_early_file *files =
		w->area->early && !w->filters ? git_early_files(w->area->early, &count) : NULL;
	for (size_t i = 0; i < count; i++) {
		if (git_index_find(&position, w->index, files[i].path) != 0)
			continue;
		const git_index_entry *e = git_index_get_byindex(w->index, position);
		if (e->mode != files[i].mode || !git_oid_equal(&e->id, &files[i].id))
			continue;
		w->written[position] = (struct git_written){.present = true, .is_new = true, .st = files[i].st};
		atomic_fetch_add(&w->pointers, files[i].lfs_pointer);
		atomic_fetch_add(&w->files, 1);
	}
	git_early_free(TAKE(w->area->early));
}

/* The contents that are missing. A pointer that an earlier job left is not what is wanted, though the index knows it as unchanged. */
static int bring_lfs(struct git_worktree *w, struct err *err)
{
	size_t position;
	struct lfs_file file;
	const git_oid *config = git_index_find(&position, w->index, ".lfsconfig") == 0
	                                ? &git_index_get_byindex(w->index, position)->id
	                                : NULL;
	int r = git_lfs_new(w->area, &w->commit, config, &w->lfs, err);
	for (size_t i = 0; r >= 0 && w->filters && i < w->count; i++) {
		const git_index_entry *e = git_index_get_byindex(w->index, i);
		if (w->written[i].skipped)
			continue;
		r = git_lfs_look(w->lfs, e, &file, &w->written[i].lockable, err);
		bool is_content = e->file_size == (uint32_t)file.pointer.size && e->file_size != file.pointer_size;
		if (r <= 0 || (w->written[i].present && is_content))
			continue;
		w->written[i].present = false;
		file.position = i;
		git_lfs_want(w->lfs, &file, e->path);
	}
	return r < 0 ? r : git_lfs_download(w->lfs, w->area->remote, err);
}

static int update_index(struct git_worktree *w, struct err *err)
{
	/* Entries are changed in place: nothing is added or moved, so the order holds. */
	for (size_t i = 0; i < w->count; i++) {
		git_index_entry *e = (git_index_entry *)git_index_get_byindex(w->index, i);
		if (w->written[i].skipped) {
			e->flags_extended |= GIT_INDEX_ENTRY_SKIP_WORKTREE;
			e->mtime = e->ctime = (git_index_time){0, 0};
			e->file_size = e->ino = e->dev = e->uid = e->gid = 0;
		}
		if (!w->written[i].is_new)
			continue;
		const struct stat *st = &w->written[i].st;
		e->ctime = (git_index_time){(int32_t)st->st_ctim.tv_sec, (uint32_t)st->st_ctim.tv_nsec};
		e->mtime = (git_index_time){(int32_t)st->st_mtim.tv_sec, (uint32_t)st->st_mtim.tv_nsec};
		e->dev = (uint32_t)st->st_dev;
		e->ino = (uint32_t)st->st_ino;
		e->uid = st->st_uid;
		e->gid = st->st_gid;
		e->file_size = (uint32_t)st->st_size;
	}
	int r = git_index_write(w->index);
	return r == 0 ? 0 : git_area_error(err, r, "write the index");
}

static int read_index(struct git_worktree *w, git_commit *commit, struct err *err)
{
	git_tree *tree _cleanup_(tree_freep) = NULL;
	struct stat st;
	int r = git_commit_tree(&tree, commit);
	if (r != 0)
		return git_area_error(err, r, "read the tree");
	r = git_tree_check_size(w->area->repo, tree, err);
	if (r < 0)
		return r;
	if (git_repository_index(&w->index, w->area->repo) != 0) {
		/* Truncated or of another format: only its knowledge of the files is lost. */
		unlinkat(w->area->git, "index", 0);
		r = git_repository_index(&w->index, w->area->repo);
	}
	if (r != 0)
		return git_area_error(err, r, "open the index");
	if (stat(git_index_path(w->index), &st) == 0)
		w->index_time = st.st_mtim;
	if (!w->clean) {
		size_t before = git_index_entrycount(w->index);
		for (size_t i = 0; i < before; i++)
			strv_add(&w->former, git_index_get_byindex(w->index, i)->path);
		strv_sort(&w->former);
	}
	r = git_index_read_tree(w->index, tree);
	if (r != 0)
		return git_area_error(err, r, "read the tree");
	w->count = git_index_entrycount(w->index);
	w->written = xcalloc(w->count, sizeof(w->written[0]));
	return 0;
}

/* Of the files that say how others are written, those whose directories have some. */
static bool is_read_beside(const struct git_worktree *w, const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;
	if (strcmp(path, ".gitmodules") == 0 || strcmp(path, ".lfsconfig") == 0)
		return true;
	if (strcmp(name, ".gitattributes") != 0)
		return false;
	_cleanup_free_ char *directory = xstrndup(path, (size_t)(name - path));
	return directory[0] == '\0' || git_worktree_has(w, directory);
}

static void skip_others(struct git_worktree *w)
{
	w->wanted = xcalloc(w->count + 1, sizeof(w->wanted[0]));
	for (size_t i = 0; i < w->count; i++) {
		const git_index_entry *e = git_index_get_byindex(w->index, i);
		w->written[i].skipped = !git_sparse_includes(w->sparse, e->path, e->mode == GIT_FILEMODE_COMMIT);
		w->wanted[i + 1] = w->wanted[i] + !w->written[i].skipped;
	}
}

/* A filter left blobs at the server: those that are to be written come at once, with the files that say how. */
static int bring_blobs(struct git_worktree *w, const struct git_remote_access *remote, struct err *err)
{
	git_odb *odb _cleanup_(odb_freep) = NULL;
	struct strv ids _cleanup_(strv_done) = {0};
	char hex[GIT_HEX];
	/* Which files LFS keeps is read from all of them. */
	bool all = w->area->lfs.wanted;
	if (git_repository_odb(&odb, w->area->repo) != 0)
		return git_area_error(err, -1, "open the object database");
	for (size_t i = 0; i < w->count; i++) {
		const git_index_entry *e = git_index_get_byindex(w->index, i);
		bool needed = !w->written[i].skipped && (all || !w->written[i].present);
		if (e->mode != GIT_FILEMODE_COMMIT && (needed || is_read_beside(w, e->path)) &&
		    !git_odb_exists_ext(odb, &e->id, GIT_ODB_LOOKUP_NO_REFRESH))
			strv_add(&ids, git_oid_tostr(hex, sizeof(hex), &e->id));
	}
	return git_partial_bring(w->area, remote, &ids, err);
}

static void worktree_done(struct git_worktree *w)
{
	git_lfs_free(w->lfs);
	git_index_free(w->index);
	free(w->written);
	free(w->wanted);
	strv_done(&w->former);
	closep(&w->root);
	pthread_mutex_destroy(&w->err_lock);
}

int git_area_write_tree(struct git_area *a, git_commit *commit, const struct git_writing *how,
                        struct git_area_result *ret, struct err *err)
{
	struct git_worktree w _cleanup_(worktree_done) = {
		.area = a, .clean = how->clean, .sparse = how->sparse, .wait = how->wait, .root = -1, .result = ret};
	pthread_mutex_init(&w.err_lock, NULL);
	*ret = (struct git_area_result){0};
	git_oid_cpy(&w.commit, git_commit_id(commit));
	w.root = fcntl(a->root, F_DUPFD_CLOEXEC, 3);
	if (w.root < 0)
		return err_errno(err, errno, "open the work area %s", a->path);
	int r = read_index(&w, commit, err);
	if (r < 0)
		return r;
	if (w.sparse != NULL)
		skip_others(&w);
	w.filters = needs_filters(&w);
	take_early(&w);
	r = git_worktree_walk(&w, err);
	if (r >= 0 && how->remote != NULL)
		r = bring_blobs(&w, how->remote, err);
	if (r >= 0 && a->lfs.wanted)
		r = bring_lfs(&w, err);
	if (r < 0)
		return r;
	size_t missing = 0;
	for (size_t i = 0; i < w.count; i++) {
		missing += !w.written[i].present && !w.written[i].skipped;
		ret->submodules +=
			!w.written[i].skipped && git_index_get_byindex(w.index, i)->mode == GIT_FILEMODE_COMMIT;
	}
	r = write_all(&w, missing, err);
	if (w.lfs != NULL)
		git_lfs_count(w.lfs, ret);
	if (r >= 0)
		r = update_index(&w, err);
	ret->files = w.sparse != NULL ? w.wanted[w.count] : w.count;
	ret->written = atomic_load(&w.files);
	ret->lfs_pointers = atomic_load(&w.pointers);
	ret->unencoded = atomic_load(&w.unencoded);
	return r;
}
