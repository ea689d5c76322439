/* Compares the files to send with the commit. One pass over index and walk, both sorted by path: a file whose
 * time and size are those in the index holds the index's blob (as git assumes too); others are hashed. */
#include "steps/archive_upload/source.h"
#include "base/git/extensions.h"
#include "base/sys/fs.h"
#include <errno.h>
#include <fcntl.h>
#include <git2.h>
#include <git2/sys/mempack.h>
#include <git2/sys/odb_backend.h>
#include <git2/sys/repository.h>
#include <sys/stat.h>

enum { LFS_POINTER_MAX = 1024, SECRETS_SHOWN = 5, HEAVY_MAX = 8 };

struct git_look {
	struct upload_source *source;
	const struct ignore *ignore;
	struct wait *wait;
	git_repository *repo;
	git_index *index;
	char *prefix;               /* of the source in the work tree, with its slash; "" at the top */
	struct timespec index_time; /* of the index file: later changes may not show in a file's time */
	char *ignored_dir;          /* the last directory of untracked files and whether git ignores it */
	bool ignored_dir_is;
	size_t lfs, modules;
	struct strv secrets; /* ignored by git, but sent: names that look like secrets … */
	size_t secret_count;
	struct heavy {
		char *dir;
		size_t files;
		int64_t bytes;
	} heavy[HEAVY_MAX]; /* … and files that a build makes again */
	size_t heavy_count;
};

static int git_err(struct err *err, const char *what)
{
	const git_error *e = git_error_last();
	return err_set(err, ERR_IO, "%s: %s", what, e && e->message ? e->message : "libgit2 failed");
}

static void hex_of(const git_oid *id, char hex[BLOB_HEX])
{
	git_oid_tostr(hex, BLOB_HEX, id);
}

/* Finds staged but uncommitted changes. The index remembers the tree it was read from, so nothing is computed for a clean one. New
 * objects go into memory, not into the repository. */
static int index_tree(struct git_look *g, git_oid *ret)
{
	git_odb *odb = NULL;
	git_odb_backend *memory = NULL;
	int r = git_repository_odb(&odb, g->repo);

	if (r == 0)
		r = git_mempack_new(&memory);
	if (r == 0)
		r = git_odb_add_backend(odb, memory, 999);
	if (r == 0)
		r = git_index_write_tree(ret, g->index);
	git_odb_free(odb);
	return r;
}

static bool below_prefix(const struct git_look *g, const char *path)
{
	return path && str_starts(path, g->prefix) && path[strlen(g->prefix)] != 0;
}

static int staged(const git_diff_delta *d, float progress, void *context)
{
	struct git_look *g = context;
	const char *path = d->new_file.path ? d->new_file.path : d->old_file.path;

	(void)progress;
	if (below_prefix(g, path) && !ignore_matches(g->ignore, path + strlen(g->prefix), false))
		upload_source_dirty(g->source, "staged", path + strlen(g->prefix));
	return 0;
}

static int look_at_staged(struct git_look *g, git_tree *head, struct err *err)
{
	git_diff *diff = NULL;
	git_oid tree;

	if (git_index_has_conflicts(g->index)) {
		upload_source_dirty(g->source, "unmerged", ".");
		return 0;
	}
	if (head && index_tree(g, &tree) == 0 && git_oid_equal(&tree, git_tree_id(head)))
		return 0;
	if (git_diff_tree_to_index(&diff, g->repo, head, g->index, NULL) < 0)
		return git_err(err, "compare the index with the commit");
	int r = git_diff_foreach(diff, staged, NULL, NULL, NULL, g);
	git_diff_free(diff);
	return r < 0 ? git_err(err, "compare the index with the commit") : 0;
}

static bool same_time(const struct git_look *g, const git_index_entry *ie, const struct tree_entry *e)
{
	int64_t seconds = e->mtime_ns / 1000000000, nanoseconds = e->mtime_ns % 1000000000;

	if (ie->mtime.seconds != (int32_t)seconds || ie->file_size != (uint32_t)e->size)
		return false;
	if (ie->mtime.nanoseconds != 0 && ie->mtime.nanoseconds != (uint32_t)nanoseconds)
		return false;
	/* As old as the index: may have been changed after it. */
	return seconds < g->index_time.tv_sec ||
	       (seconds == g->index_time.tv_sec && nanoseconds < g->index_time.tv_nsec);
}

static int hash_entry(struct git_look *g, const git_index_entry *ie, const struct tree_entry *e, git_oid *ret)
{
	if (S_ISLNK(e->mode))
		return git_odb_hash(ret, e->link, strlen(e->link), GIT_OBJECT_BLOB);
	return git_repository_hashfile(ret, g->repo, ie->path, GIT_OBJECT_BLOB, NULL);
}

static int look_at_tracked(struct git_look *g, const git_index_entry *ie, size_t i, struct err *err)
{
	struct tree_entry *e = &g->source->tree.entries[i];
	git_oid id;

	if (S_ISDIR(e->mode)) /* a submodule */
		return 0;
	if ((S_ISLNK(e->mode) != 0) != (ie->mode == GIT_FILEMODE_LINK)) {
		upload_source_dirty(g->source, "type changed", e->path);
		return 0;
	}
	if (!same_time(g, ie, e)) {
		if (hash_entry(g, ie, e, &id) < 0)
			return git_err(err, e->path);
		if (!git_oid_equal(&id, &ie->id)) {
			upload_source_dirty(g->source, "modified", e->path);
			return 0;
		}
	}
	memcpy(g->source->blobs[i].id, ie->id.id, BLOB_BYTES);
	if (S_ISLNK(e->mode))
		return 0;
	bool executable = ie->mode == GIT_FILEMODE_BLOB_EXECUTABLE;
	if (executable != ((e->mode & 0100) != 0))
		upload_source_dirty(g->source, "mode changed", e->path);
	else
		e->mode = S_IFREG | (executable ? 0755 : 0644);
	return 0;
}

/* Whole directories are ignored mostly (dist, node_modules): asked once each. */
static int is_ignored(struct git_look *g, const char *path, bool *ret)
{
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) : 0;
	int ignored = 0;

	if (len > 0) {
		if (!g->ignored_dir || strlen(g->ignored_dir) != len || memcmp(g->ignored_dir, path, len) != 0) {
			free(g->ignored_dir);
			g->ignored_dir = xstrndup(path, len);
			_cleanup_free_ char *full = xasprintf("%s%s/", g->prefix, g->ignored_dir);
			if (git_ignore_path_is_ignored(&ignored, g->repo, full) < 0)
				return -1;
			g->ignored_dir_is = ignored != 0;
		}
		if (g->ignored_dir_is) {
			*ret = true;
			return 0;
		}
	}
	_cleanup_free_ char *full = xasprintf("%s%s", g->prefix, path);
	int r = git_ignore_path_is_ignored(&ignored, g->repo, full);
	*ret = ignored != 0;
	return r;
}

static bool looks_secret(const char *path)
{
	static const char *const names[] = {".env",   "id_rsa", "id_ecdsa", "id_ed25519", "credentials.json",
	                                    ".netrc", ".npmrc", ".pypirc"};
	static const char *const ends[] = {".pem",      ".key",  ".p12",     ".pfx",   ".jks",
	                                   ".keystore", ".kdbx", ".tfstate", ".tfvars"};
	static const char *const harmless[] = {".example", ".sample", ".template", ".dist"};
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
		if (str_ends(name, ends[i]))
			return true;
	for (size_t i = 0; i < ARRAY_SIZE(harmless); i++)
		if (str_ends(name, harmless[i]))
			return false;
	return str_starts(name, ".env.");
}

/* Length of the part of `path` that names a directory which tools fill again by themselves; 0: none. */
static size_t heavy_part(const char *path)
{
	static const char *const names[] = {"node_modules", ".venv",   "venv",   "target", "__pycache__", ".terraform",
	                                    ".next",        ".gradle", ".cache", ".tox",   "vendor"};

	for (const char *part = path, *slash; (slash = strchr(part, '/')) != NULL; part = slash + 1)
		for (size_t i = 0; i < ARRAY_SIZE(names); i++)
			if (strlen(names[i]) == (size_t)(slash - part) &&
			    memcmp(part, names[i], (size_t)(slash - part)) == 0)
				return (size_t)(slash - path);
	return 0;
}

/* Git ignores it but it is sent: reported if it is likely to be a mistake. */
static void remember_ignored(struct git_look *g, const struct tree_entry *e)
{
	size_t len = heavy_part(e->path), i = 0;

	if (len == 0) {
		if (looks_secret(e->path) && g->secret_count++ < SECRETS_SHOWN)
			strv_add(&g->secrets, e->path);
		return;
	}
	while (i < g->heavy_count && (strlen(g->heavy[i].dir) != len || memcmp(g->heavy[i].dir, e->path, len) != 0))
		i++;
	if (i == HEAVY_MAX)
		return;
	if (i == g->heavy_count)
		g->heavy[g->heavy_count++] = (struct heavy){.dir = xstrndup(e->path, len)};
	g->heavy[i].files++;
	g->heavy[i].bytes += e->size;
}

static void note_ignored(struct git_look *g)
{
	_cleanup_(str_done) struct str s = STR_INIT(64 << 10);

	for (size_t i = 0; i < g->secrets.count; i++)
		str_appendf(&s, "%s%s", i > 0 ? ", " : "", g->secrets.items[i]);
	if (g->secret_count > g->secrets.count)
		str_appendf(&s, " and %zu more", g->secret_count - g->secrets.count);
	if (g->secret_count > 0)
		strv_addf(&g->source->notes,
		          "%s look%s like secrets, git ignores them, and they are sent: name them in `exclude`, or set "
		          "`exclude_from: .gitignore`",
		          str_peek(&s), g->secret_count == 1 ? "s" : "");
	for (size_t i = 0; i < g->heavy_count; i++)
		strv_addf(
			&g->source->notes,
			"%s (%zu files, %.1f MB) is ignored by git and is sent: name it in `exclude` where the target makes "
			"its own",
			g->heavy[i].dir, g->heavy[i].files, (double)g->heavy[i].bytes / 1e6);
}

static int look_at_untracked(struct git_look *g, size_t i, const char *module, struct err *err)
{
	const char *path = g->source->tree.entries[i].path;
	bool ignored = false;

	if (S_ISDIR(g->source->tree.entries[i].mode))
		return 0;
	if (module && str_starts(path, module) && path[strlen(module)] == '/')
		return 0;
	if (is_ignored(g, path, &ignored) < 0)
		return git_err(err, path);
	if (ignored)
		remember_ignored(g, &g->source->tree.entries[i]);
	else
		upload_source_dirty(g->source, "untracked", path);
	return 0;
}

static bool is_gone(const struct git_look *g, const git_index_entry *ie, const char *path)
{
	struct stat st;

	if (ie->flags_extended & GIT_INDEX_ENTRY_SKIP_WORKTREE)
		return false;
	/* On the disk and not in the walk: excluded. */
	return fstatat(g->source->fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0 && (errno == ENOENT || errno == ENOTDIR) &&
	       !ignore_matches(g->ignore, path, false);
}

static int look_at_files(struct git_look *g, struct err *err)
{
	struct tree *t = &g->source->tree;
	size_t count = git_index_entrycount(g->index), k = 0, skip = strlen(g->prefix), i = 0;
	const char *module = NULL;
	int r = 0;

	if (skip > 0 && git_index_find_prefix(&k, g->index, g->prefix) < 0)
		k = count;
	while (r == 0 && (i < t->count || k < count)) {
		const git_index_entry *ie = k < count ? git_index_get_byindex(g->index, k) : NULL;
		if (ie && !below_prefix(g, ie->path)) {
			k = count;
			continue;
		}
		int order = !ie ? -1 : i == t->count ? 1 : strcmp(t->entries[i].path, ie->path + skip);
		if (ie && order >= 0 && ie->mode == GIT_FILEMODE_COMMIT) {
			module = ie->path + skip;
			g->modules++;
		}
		if (g->wait && (i & 255) == 0)
			r = wait_check(g->wait, err);
		if (r < 0)
			break;
		if (order < 0) {
			r = look_at_untracked(g, i++, module, err);
		} else if (order > 0) {
			if (is_gone(g, ie, ie->path + skip))
				upload_source_dirty(g->source, "deleted", ie->path + skip);
			k++;
		} else {
			r = look_at_tracked(g, ie, i++, err);
			k++;
		}
	}
	return r;
}

/* Directories with tracked files come from git: their mode is not the umask's. */
static void settle_directories(struct upload_source *s)
{
	for (size_t i = 0; i < s->tree.count; i++) {
		if (!manifest_blob_known(&s->blobs[i]))
			continue;
		_cleanup_free_ char *dir = xstrdup(s->tree.entries[i].path);
		for (char *slash = strrchr(dir, '/'); slash; slash = strrchr(dir, '/')) {
			*slash = 0;
			struct tree_entry *e = (struct tree_entry *)tree_find(&s->tree, dir);
			if (!e || e->mode == (S_IFDIR | 0755))
				break;
			e->mode = S_IFDIR | 0755;
		}
	}
}

static bool is_lfs_pointer(int fd, const struct tree_entry *e)
{
	static const char start[] = "version https://git-lfs.github.com/spec/";
	_cleanup_(str_done) struct str text = STR_INIT(LFS_POINTER_MAX);

	return S_ISREG(e->mode) && e->size < LFS_POINTER_MAX && e->size > (int64_t)sizeof(start) &&
	       fs_read(fd, e->path, LFS_POINTER_MAX, &text, NULL) == 0 && str_starts(str_peek(&text), start);
}

/* Only if a filter is named: else a small file would be opened for nothing. */
static void look_for_lfs(struct git_look *g)
{
	struct upload_source *s = g->source;
	const struct tree_entry *attributes = tree_find(&s->tree, ".gitattributes");
	_cleanup_(str_done) struct str text = STR_INIT(1 << 20);

	if (!attributes || fs_read(s->fd, ".gitattributes", 1 << 20, &text, NULL) < 0 ||
	    !strstr(str_peek(&text), "filter=lfs"))
		return;
	for (size_t i = 0; i < s->tree.count; i++)
		g->lfs += manifest_blob_known(&s->blobs[i]) && is_lfs_pointer(s->fd, &s->tree.entries[i]);
}

static void note(struct git_look *g)
{
	if (g->lfs > 0)
		strv_addf(&g->source->notes, "%zu files are Git LFS pointers and are sent as such", g->lfs);
	if (g->modules > 0)
		strv_addf(&g->source->notes, "%zu submodules are sent as they lie there", g->modules);
	note_ignored(g);
}

static int find_prefix(struct git_look *g, struct err *err)
{
	const char *workdir = git_repository_workdir(g->repo);
	_cleanup_free_ char *top = workdir ? fs_real_path(workdir, err) : NULL;

	if (!top)
		return workdir ? ERR_IO : 1; /* a bare repository */
	size_t len = strlen(top);
	if (strncmp(g->source->path, top, len) != 0)
		return 1;
	const char *rest = g->source->path + len;
	rest += *rest == '/';
	g->prefix = *rest ? xasprintf("%s/", rest) : xstrdup("");
	return 0;
}

static int look(struct git_look *g, struct err *err)
{
	git_commit *commit = NULL;
	git_tree *tree = NULL;
	git_oid head;
	struct stat st;

	int r = find_prefix(g, err);
	if (r != 0)
		return MIN(r, 0);
	if (git_reference_name_to_id(&head, g->repo, "HEAD") == 0) {
		if (git_commit_lookup(&commit, g->repo, &head) < 0 || git_commit_tree(&tree, commit) < 0) {
			git_commit_free(commit);
			return git_err(err, "read the commit of the work tree");
		}
		g->source->git = true;
		hex_of(&head, g->source->commit);
	}
	if (git_repository_index(&g->index, g->repo) < 0) {
		r = git_err(err, "read the index of the work tree");
	} else {
		const char *path = git_index_path(g->index);
		if (path && stat(path, &st) == 0)
			g->index_time = st.st_mtim;
		r = look_at_staged(g, tree, err);
	}
	if (r == 0)
		r = look_at_files(g, err);
	if (r == 0) {
		settle_directories(g->source);
		look_for_lfs(g);
		note(g);
	}
	git_tree_free(tree);
	git_commit_free(commit);
	return r;
}

int upload_source_git(struct upload_source *s, const struct ignore *ignore, struct wait *w, struct err *err)
{
	struct git_look g = {.source = s, .ignore = ignore, .wait = w};

	git_libgit2_init();
	git_extensions_allow();
	/* The work tree may be another user's, a runner's: it is only read, and no hook or filter of it is run. */
	git_libgit2_opts(GIT_OPT_SET_OWNER_VALIDATION, 0);
	int r = git_repository_open_ext(&g.repo, s->path, 0, NULL);
	if (r == GIT_ENOTFOUND)
		r = 0; /* no git: a plain directory */
	else if (r < 0)
		r = git_err(err, "open the git repository of the source");
	else
		r = look(&g, err);
	free(g.prefix);
	free(g.ignored_dir);
	strv_done(&g.secrets);
	for (size_t i = 0; i < g.heavy_count; i++)
		free(g.heavy[i].dir);
	git_index_free(g.index);
	git_repository_free(g.repo);
	git_libgit2_shutdown();
	return r;
}
