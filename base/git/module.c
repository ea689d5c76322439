/* Where the files of a submodule lie, as git has it: its work tree with a file `.git` that names .git/modules/NAME, whose configuration names
 * the work tree. Both names come from the repository, and what lies there may come from an earlier job. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/git/files.h"
#include "base/git/git_priv.h"
#include "base/sys/fs.h"
#include "base/sys/fs_beneath.h"

static const char modules[] = "modules";

/* From one absolute directory to another. free() */
static char *relative(const char *from, const char *to)
{
	struct str out _cleanup_(str_done) = STR_INIT(64 * 1024);
	size_t same = 0, i = 0;
	for (; from[i] != '\0' && from[i] == to[i]; i++)
		if (from[i] == '/')
			same = i + 1;
	if ((from[i] == '\0' || from[i] == '/') && (to[i] == '\0' || to[i] == '/'))
		same = i + (from[i] == '/' || to[i] == '/');
	for (const char *c = from + MIN(same, strlen(from)); *c != '\0'; c += strcspn(c, "/"), c += *c == '/')
		str_append(&out, "../");
	str_append(&out, to + MIN(same, strlen(to)));
	return str_take(&out);
}

/* ---- the work tree ---- */

static int open_tree(struct git_area *a, const struct git_area *super, const char *path, struct err *err)
{
	struct git_files files _cleanup_(git_files_done) = GIT_FILES_INIT(super->root);
	_cleanup_free_ char *within = xasprintf("%s/", path);
	const char *name;
	if (!git_files_safe(path))
		return err_set(err, ERR_REFUSED, "'%s' would leave the work area", path);
	int r = git_files_parent(&files, within, &name, err);
	if (r < 0)
		return r;
	a->root = fcntl(files.dir, F_DUPFD_CLOEXEC, 3);
	if (a->root < 0)
		return err_errno(err, errno, "open %s", path);
	a->path = git_area_path_of(a->root, err);
	return a->path != NULL ? 0 : ERR_IO;
}

/* ---- its .git ---- */

static bool is_repository(int directory)
{
	return fs_exists(directory, "HEAD") && fs_exists(directory, "objects");
}

/* The directory that holds that of NAME. A repository on the way is one of an earlier commit. */
static int open_store(struct git_area *a, const struct git_area *super, const char *name, struct err *err)
{
	const char *slash = strrchr(name, '/');
	_cleanup_free_ char *whole =
		slash == NULL ? xstrdup(modules) : xasprintf("%s/%.*s", modules, (int)(slash - name), name);
	for (char *end = slash == NULL ? NULL : strchr(whole + strlen(modules) + 1, '/');; end = strchr(end + 1, '/')) {
		if (slash == NULL)
			break;
		_cleanup_free_ char *part = xstrndup(whole, end != NULL ? (size_t)(end - whole) : strlen(whole));
		int fd _cleanup_close_ = fs_open_beneath(super->git, part, O_RDONLY | O_DIRECTORY, 0, NULL);
		int r = fd >= 0 && is_repository(fd) ? fs_remove_tree_beneath(super->git, part, err) : 0;
		if (r < 0)
			return r;
		if (end == NULL)
			break;
	}
	a->store = fs_mkdirs_beneath(super->git, whole, 0777, err);
	if (a->store < 0) {
		/* A link or a file: no git has made that. */
		err_clear(err);
		int r = fs_remove_tree(super->git, modules, err);
		if (r < 0)
			return r;
		a->store = fs_mkdirs_beneath(super->git, whole, 0777, err);
	}
	a->git_name = xstrdup(slash == NULL ? name : slash + 1);
	return a->store < 0 ? a->store : 0;
}

static int find_git(struct git_area *a, const struct git_area *super, const char *name, struct err *err)
{
	struct stat st;
	int r = open_store(a, super, name, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *store = git_area_path_of(a->store, err);
	if (store == NULL)
		return ERR_IO;
	a->git_path = fs_join(store, a->git_name);
	if (fstatat(a->store, a->git_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(st.st_mode))
		return fs_remove_tree(a->store, a->git_name, err);
	return 0;
}

/* ---- the two know each other ---- */

static int link_tree(struct git_area *a, struct err *err)
{
	_cleanup_free_ char *way = relative(a->path, a->git_path), *text = xasprintf("gitdir: %s\n", way);
	struct str now _cleanup_(str_done) = STR_INIT(64 * 1024);
	struct stat st;
	if (fs_read_plain(a->root, ".git", 64 * 1024 - 1, &now, NULL) >= 0 && strcmp(str_peek(&now), text) == 0)
		return 0;
	int r = fstatat(a->root, ".git", &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode)
	                ? fs_remove_tree(a->root, ".git", err)
	                : 0;
	return r < 0 ? r : fs_write_replace(a->root, ".git", text, strlen(text), 0644, err);
}

int git_area_configure_module(struct git_area *a, struct err *err)
{
	git_config *all _cleanup_(config_freep) = NULL, *own _cleanup_(config_freep) = NULL;
	_cleanup_free_ char *way = relative(a->git_path, a->path);
	git_buf fetch = {NULL, 0, 0};
	int r = git_repository_config(&all, a->repo);
	if (r == 0)
		r = git_config_open_level(&own, all, GIT_CONFIG_LEVEL_LOCAL);
	if (r == 0)
		r = git_area_configure(own, "core.worktree", way);
	if (r == 0)
		r = git_area_configure(own, "core.bare", "false");
	if (r == 0)
		r = git_area_configure(own, "gc.auto", "0");
	if (r == 0)
		r = git_area_configure(own, "remote.origin.url", a->url);
	if (r == 0 && git_config_get_string_buf(&fetch, own, "remote.origin.fetch") == GIT_ENOTFOUND)
		r = git_config_set_string(own, "remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*");
	git_buf_dispose(&fetch);
	return r == 0 ? 0 : git_area_error(err, r, "configure the submodule");
}

int git_area_open_module(struct git_area *super, const char *name, const char *path, const char *url, bool clean,
                         struct git_area **ret, struct err *err)
{
	struct git_area *a _cleanup_(git_area_freep) = xcalloc(1, sizeof(*a));
	a->root = a->git = a->store = -1;
	a->module = true;
	int r = open_tree(a, super, path, err);
	if (r >= 0)
		r = find_git(a, super, name, err);
	if (r >= 0)
		r = git_area_begin(a, url, clean, err);
	if (r >= 0)
		r = git_area_configure_module(a, err);
	if (r >= 0)
		r = link_tree(a, err);
	if (r >= 0)
		*ret = TAKE(a);
	return r;
}
