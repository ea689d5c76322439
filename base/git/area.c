#include "base/git/area.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "base/sys/fs.h"
#include "base/sys/fs_beneath.h"
#include "base/core/log.h"
#include "base/git/extensions.h"
#include "base/git/git_priv.h"
#include "base/git/large.h"
#include "base/git/mend.h"

int git_area_error(struct err *err, int code, const char *what)
{
	const git_error *e = git_error_last();
	size_t refused = git_large_refused();
	if (refused > 0)
		return git_large_error(what, refused, err);
	int ours = code == GIT_ENOTFOUND ? ERR_NOT_FOUND : code == GIT_EUSER ? ERR_CANCELLED : ERR_IO;
	if (errno == ENOSPC)
		ours = ERR_NO_SPACE;
	return err_set(err, ours, "%s: %s", what, e && e->message ? e->message : "libgit2 gives no reason");
}

void git_area_library(void)
{
	static bool done;
	if (done)
		return;
	git_large_library();
	git_libgit2_init();
	git_libgit2_opts(GIT_OPT_SET_OWNER_VALIDATION, 0);
	git_extensions_allow();
	/* Objects come from a pack whose checksum the indexer verifies; hashing each again on reading doubles the time. */
	git_libgit2_opts(GIT_OPT_ENABLE_STRICT_HASH_VERIFICATION, 0);
	done = true;
}

static bool is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* except: a name that does not count, or NULL. */
static bool is_empty_dir(int root, const char *except)
{
	int fd = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	if (d == NULL) {
		closep(&fd);
		return false;
	}
	bool empty = true;
	struct dirent *entry;
	while (empty && (entry = readdir(d)) != NULL)
		empty = is_dots(entry->d_name) || (except != NULL && strcmp(entry->d_name, except) == 0);
	closedir(d);
	return empty;
}

static int empty_dir(int dir, const char *except, struct err *err)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	if (d == NULL) {
		int errnum = errno;
		closep(&fd);
		return err_errno(err, errnum, "list a directory of the work area");
	}
	int r = 0;
	struct dirent *entry;
	while (r >= 0 && (entry = readdir(d)) != NULL)
		if (!is_dots(entry->d_name) && (except == NULL || strcmp(entry->d_name, except) != 0))
			r = fs_remove_tree(dir, entry->d_name, err);
	closedir(d);
	return r;
}

/* As written: git_remote_url applies url.*.insteadOf and would return another URL. */
static bool origin_is(git_repository *repo, const char *url)
{
	git_config *config _cleanup_(config_freep) = NULL;
	const char *origin;
	return git_repository_config_snapshot(&config, repo) == 0 &&
	       git_config_get_string(&origin, config, "remote.origin.url") == 0 && strcmp(origin, url) == 0;
}

bool git_area_is_empty(const struct git_area *a)
{
	return is_empty_dir(a->root, ".git");
}

static const char mark[] = "davit-unfinished"; /* in .git */

int git_area_begin_files(struct git_area *a, struct err *err)
{
	return fs_write_replace(a->git, mark, "", 0, 0644, err);
}

static int remove_unfinished(struct git_area *a, struct err *err)
{
	if (!fs_exists(a->git, mark))
		return 0;
	int r = empty_dir(a->root, ".git", err);
	if (r >= 0)
		unlinkat(a->git, mark, 0);
	return r;
}

void git_area_forget_files(struct git_area *a)
{
	remove_unfinished(a, NULL);
}

int git_area_handle(const struct git_area *a, git_repository **ret)
{
	if (!a->module)
		return git_repository_open_ext(ret, a->path, GIT_REPOSITORY_OPEN_NO_SEARCH, NULL);
	/* Where the work tree is, is not asked of the files of an earlier job. */
	const unsigned flags = GIT_REPOSITORY_OPEN_NO_SEARCH | GIT_REPOSITORY_OPEN_NO_DOTGIT | GIT_REPOSITORY_OPEN_BARE;
	git_repository *repo _cleanup_(repository_freep) = NULL;
	int r = git_repository_open_ext(&repo, a->git_path, flags, NULL);
	if (r == 0)
		r = git_repository_set_workdir(repo, a->path, 0);
	if (r == 0)
		*ret = TAKE(repo);
	return r;
}

/* Opens the repository if it is exactly here and its origin is the area's. */
static bool open_existing(struct git_area *a)
{
	git_repository *repo _cleanup_(repository_freep) = NULL;
	if (git_area_handle(a, &repo) != 0 || (!a->module && !origin_is(repo, a->url)))
		return false;
	a->repo = TAKE(repo);
	return true;
}

static int open_git(struct git_area *a, struct err *err)
{
	closep(&a->git);
	a->git = fs_open_beneath(a->store, a->git_name, O_RDONLY | O_DIRECTORY, 0, err);
	return a->git < 0 ? a->git : 0;
}

static int init(struct git_area *a, git_repository **ret)
{
	git_repository_init_options options;
	git_repository *repo _cleanup_(repository_freep) = NULL;
	git_config *config _cleanup_(config_freep) = NULL;
	git_repository_init_options_init(&options, GIT_REPOSITORY_INIT_OPTIONS_VERSION);
	options.flags = GIT_REPOSITORY_INIT_MKDIR | GIT_REPOSITORY_INIT_MKPATH;
	options.initial_head = "main";
	if (!a->module)
		return git_repository_init_ext(ret, a->path, &options);
	options.flags |= GIT_REPOSITORY_INIT_BARE | GIT_REPOSITORY_INIT_NO_DOTGIT_DIR;
	int r = git_repository_init_ext(&repo, a->git_path, &options);
	if (r == 0)
		r = git_repository_config(&config, repo);
	if (r == 0)
		r = git_config_set_bool(config, "core.bare", 0);
	if (r == 0)
		r = git_config_set_bool(config, "core.logallrefupdates", 1);
	return r == 0 ? git_area_handle(a, ret) : r;
}

static int create(struct git_area *a, struct err *err)
{
	git_remote *origin _cleanup_(remote_freep) = NULL;
	git_repository *repo _cleanup_(repository_freep) = NULL;
	git_config *config _cleanup_(config_freep) = NULL;
	git_remote_create_options remote;
	git_remote_create_options_init(&remote, GIT_REMOTE_CREATE_OPTIONS_VERSION);
	int r = init(a, &repo);
	remote.repository = repo;
	remote.name = "origin";
	remote.flags = GIT_REMOTE_CREATE_SKIP_INSTEADOF;
	if (r == 0)
		r = git_remote_create_with_opts(&origin, a->url, &remote);
	if (r == 0)
		r = git_repository_config(&config, repo);
	/* Nobody's `git fetch` of a job begins to tidy up beside its steps. */
	if (r == 0)
		r = git_config_set_string(config, "gc.auto", "0");
	if (r != 0)
		return git_area_error(err, r, "make the work area");
	a->repo = TAKE(repo);
	r = open_git(a, err);
	return r >= 0 && a->module ? git_area_configure_module(a, err) : r;
}

static void read_head(struct git_area *a)
{
	git_oid id;
	a->head[0] = '\0';
	if (git_reference_name_to_id(&id, a->repo, "HEAD") == 0) {
		git_oid_tostr(a->head, sizeof(a->head), &id);
		if (!git_area_has(a, a->head))
			a->head[0] = '\0';
	}
}

void git_area_files_done(struct git_area *a)
{
	unlinkat(a->git, mark, 0);
	read_head(a);
}

char *git_area_path_of(int directory, struct err *err)
{
	char real[PATH_MAX];
	_cleanup_free_ char *link = xasprintf("/proc/self/fd/%d", directory);
	ssize_t len = readlink(link, real, sizeof(real));
	if (len > 0 && len < (ssize_t)sizeof(real))
		return xstrndup(real, (size_t)len);
	err_errno(err, len < 0 ? errno : ENAMETOOLONG, "find the path of the work area");
	return NULL;
}

/* Makes and opens the directory. */
static int open_place(struct git_area *a, const char *root, const char *below, struct err *err)
{
	int r = fs_mkdirs(AT_FDCWD, root, 0755, err);
	if (r < 0)
		return r;
	int fd _cleanup_close_ = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, errno, "open the workspace %s", root);
	a->root = fs_mkdirs_beneath(fd, below, 0755, err);
	if (a->root == ERR_REFUSED)
		return err_hint(
			err, ERR_REFUSED,
			"a work area lies below the workspace and not behind a symbolic link; give another `path:`, or remove the link");
	if (a->root < 0)
		return a->root;
	a->path = git_area_path_of(a->root, err);
	if (a->path == NULL)
		return ERR_IO;
	a->git_path = fs_join(a->path, ".git");
	a->git_name = xstrdup(".git");
	a->store = fcntl(a->root, F_DUPFD_CLOEXEC, 3);
	return a->store >= 0 ? 0 : err_errno(err, errno, "open the workspace %s", root);
}

/* True if the commit of HEAD exists, and those at which the history ends. */
static bool has_what_it_names(struct git_area *a)
{
	struct strv shallow _cleanup_(strv_done) = {0};
	git_oid id;
	char hex[GIT_HEX];
	int r = git_reference_name_to_id(&id, a->repo, "HEAD");
	if (r != 0 && r != GIT_ENOTFOUND)
		return false;
	if (r == 0 && !git_area_has(a, git_oid_tostr(hex, sizeof(hex), &id)))
		return false;
	bool has = git_area_read_shallow(a, &shallow, NULL) >= 0;
	for (size_t i = 0; has && i < shallow.count; i++)
		has = git_area_has_object(a, shallow.items[i]);
	return has;
}

/* 0: there is none to keep, or it was removed; 1: open. */
static int open_kept(struct git_area *a, bool clean, struct err *err)
{
	struct stat st;
	_cleanup_free_ char *why = NULL;
	bool is_dir = fstatat(a->store, a->git_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
	int r = is_dir ? git_mend(a->store, a->git_name, &why, err) : 0;
	if (r < 0)
		return err_wrap(err, r, "fix the work area");
	if (r > 0) {
		log_debug("git", "%s: %s: it is recreated", a->git_path, why);
		a->renewed = true;
		return fs_remove_tree(a->store, a->git_name, err);
	}
	if (is_dir && open_existing(a)) {
		r = open_git(a, err);
		if (r >= 0)
			r = git_token_forget(a->repo, !a->module, err);
		if (r < 0 || has_what_it_names(a))
			return r < 0 ? r : 1;
		a->renewed = true;
		r = git_area_renew(a, err);
		return r < 0 ? r : 1;
	}
	if (a->module)
		return fs_remove_tree(a->store, a->git_name, err);
	if (is_empty_dir(a->root, NULL))
		return 0;
	if (clean)
		return empty_dir(a->root, NULL, err);
	r = err_set(err, ERR_EXISTS, "%s holds files that are not a checkout of %s", a->path, a->url);
	return err_hint(err, r, "empty it, or leave `clean` on");
}

int git_area_open(const char *root, const char *below, const char *url, bool clean, struct git_area **ret,
                  struct err *err)
{
	struct git_area *a _cleanup_(git_area_freep) = xcalloc(1, sizeof(*a));
	a->root = a->git = a->store = -1;
	int r = open_place(a, root, below, err);
	if (r < 0)
		return err_wrap(err, r, "make the work area");
	r = git_area_begin(a, url, clean, err);
	if (r >= 0)
		*ret = TAKE(a);
	return r;
}

int git_area_begin(struct git_area *a, const char *url, bool clean, struct err *err)
{
	git_area_library();
	a->url = xstrdup(url);
	int r = open_kept(a, clean, err);
	if (r < 0)
		return r;
	a->kept = r > 0;
	if (r == 0)
		r = create(a, err);
	else
		r = remove_unfinished(a, err);
	if (r < 0)
		return err_wrap(err, r, a->kept ? "remove what a first checkout left" : "prepare the work area");
	read_head(a);
	return 0;
}

int git_area_renew(struct git_area *a, struct err *err)
{
	git_repository_free(TAKE(a->repo));
	a->kept = false;
	a->head[0] = '\0';
	int r = open_git(a, NULL) >= 0 ? empty_dir(a->git, "index", err) : fs_remove_tree(a->store, a->git_name, err);
	if (r >= 0)
		r = create(a, err);
	return r < 0 ? err_wrap(err, r, "recreate the work area") : 0;
}

void git_area_want_lfs(struct git_area *a, void (*report)(void *context, const char *fmt, ...), void *context)
{
	a->lfs = (struct git_area_lfs){true, report, context};
}

const char *git_area_head(const struct git_area *a)
{
	return a->head;
}

bool git_area_has(const struct git_area *a, const char *commit)
{
	git_oid id;
	git_commit *found _cleanup_(commit_freep) = NULL;
	git_tree *tree _cleanup_(tree_freep) = NULL;
	return git_oid_fromstr(&id, commit) == 0 && git_commit_lookup(&found, a->repo, &id) == 0 &&
	       git_commit_tree(&tree, found) == 0;
}

bool git_area_has_object(const struct git_area *a, const char *id)
{
	git_oid oid;
	git_object *found = NULL;
	bool has = git_oid_fromstr(&oid, id) == 0 && git_object_lookup(&found, a->repo, &oid, GIT_OBJECT_ANY) == 0;
	git_object_free(found);
	return has;
}

void git_area_free(struct git_area *a)
{
	if (a == NULL)
		return;
	git_early_free(a->early);
	git_repository_free(a->repo);
	closep(&a->root);
	closep(&a->git);
	closep(&a->store);
	free(a->git_name);
	free(a->path);
	free(a->git_path);
	free(a->url);
	free(a);
}

void git_area_freep(struct git_area **a)
{
	git_area_free(*a);
	*a = NULL;
}
