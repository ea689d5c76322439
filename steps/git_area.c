#include "steps/git_area.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "steps/git_area_priv.h"

int git_area_error(struct err *err, int code, const char *what)
{
	const git_error *e = git_error_last();
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
	git_libgit2_init();
	git_libgit2_opts(GIT_OPT_SET_OWNER_VALIDATION, 0);
	/* Objects come from a pack whose checksum the indexer verifies; hashing each again on reading doubles the time. */
	git_libgit2_opts(GIT_OPT_ENABLE_STRICT_HASH_VERIFICATION, 0);
	done = true;
}

static bool is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* except: a name that does not count, or NULL. */
static bool is_empty_dir(const char *path, const char *except)
{
	DIR *d = opendir(path);
	if (d == NULL)
		return errno == ENOENT;
	bool empty = true;
	struct dirent *entry;
	while (empty && (entry = readdir(d)) != NULL)
		empty = is_dots(entry->d_name) || (except != NULL && strcmp(entry->d_name, except) == 0);
	closedir(d);
	return empty;
}

static int empty_dir(const char *path, const char *except, struct err *err)
{
	int dir _cleanup_close_ = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return errno == ENOENT ? 0 : err_errno(err, errno, "open the work area %s", path);
	DIR *d = fdopendir(dup(dir));
	if (d == NULL)
		return err_errno(err, errno, "list the work area %s", path);
	int r = 0;
	struct dirent *entry;
	while (r >= 0 && (entry = readdir(d)) != NULL)
		if (!is_dots(entry->d_name) && (except == NULL || strcmp(entry->d_name, except) != 0))
			r = fs_remove_tree(dir, entry->d_name, err);
	closedir(d);
	return r;
}

/* As it was written: what git_remote_url says went through url.*.insteadOf, and would be another one. */
static bool origin_is(git_repository *repo, const char *url)
{
	git_config *config _cleanup_(config_freep) = NULL;
	const char *origin;
	return git_repository_config_snapshot(&config, repo) == 0 &&
	       git_config_get_string(&origin, config, "remote.origin.url") == 0 && strcmp(origin, url) == 0;
}

bool git_area_is_empty(const struct git_area *a)
{
	return is_empty_dir(a->path, ".git");
}

static char *mark_of(const char *path)
{
	return xasprintf("%s/.git/davit-unfinished", path);
}

int git_area_begin_files(struct git_area *a, struct err *err)
{
	_cleanup_free_ char *mark = mark_of(a->path);
	return fs_write_replace(AT_FDCWD, mark, "", 0, 0644, err);
}

static int remove_unfinished(const char *path, struct err *err)
{
	_cleanup_free_ char *mark = mark_of(path);
	if (access(mark, F_OK) != 0)
		return 0;
	int r = empty_dir(path, ".git", err);
	if (r >= 0)
		unlink(mark);
	return r;
}

void git_area_forget_files(struct git_area *a)
{
	remove_unfinished(a->path, NULL);
}

/* Opens the repository when it is exactly here and its origin is url. */
static bool open_existing(const char *path, const char *url, git_repository **ret)
{
	git_repository *repo _cleanup_(repository_freep) = NULL;
	if (git_repository_open_ext(&repo, path, GIT_REPOSITORY_OPEN_NO_SEARCH, NULL) != 0)
		return false;
	if (!origin_is(repo, url))
		return false;
	/* What a killed predecessor left locked. */
	_cleanup_free_ char *lock = xasprintf("%s/.git/index.lock", path);
	unlink(lock);
	*ret = TAKE(repo);
	return true;
}

static int create(const char *path, const char *url, git_repository **ret, struct err *err)
{
	git_repository_init_options options;
	git_remote *origin _cleanup_(remote_freep) = NULL;
	git_repository *repo _cleanup_(repository_freep) = NULL;
	git_remote_create_options remote;
	git_remote_create_options_init(&remote, GIT_REMOTE_CREATE_OPTIONS_VERSION);
	git_repository_init_options_init(&options, GIT_REPOSITORY_INIT_OPTIONS_VERSION);
	options.flags = GIT_REPOSITORY_INIT_MKDIR | GIT_REPOSITORY_INIT_MKPATH;
	options.initial_head = "main";
	int r = git_repository_init_ext(&repo, path, &options);
	remote.repository = repo;
	remote.name = "origin";
	remote.flags = GIT_REMOTE_CREATE_SKIP_INSTEADOF;
	if (r == 0)
		r = git_remote_create_with_opts(&origin, url, &remote);
	if (r != 0)
		return git_area_error(err, r, "make the work area");
	*ret = TAKE(repo);
	return 0;
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

int git_area_open(const char *path, const char *url, bool clean, struct git_area **ret, struct err *err)
{
	struct git_area *a _cleanup_(git_area_freep) = xcalloc(1, sizeof(*a));
	git_area_library();
	int r = fs_mkdirs(AT_FDCWD, path, 0755, err);
	if (r < 0)
		return err_wrap(err, r, "make the work area");
	if (!open_existing(path, url, &a->repo)) {
		if (!is_empty_dir(path, NULL)) {
			if (!clean) {
				r = err_set(err, ERR_EXISTS, "%s holds files that are not a checkout of %s", path, url);
				return err_hint(err, r, "empty it, or leave `clean` on");
			}
			r = empty_dir(path, NULL, err);
		}
		if (r >= 0)
			r = create(path, url, &a->repo, err);
		if (r < 0)
			return r;
	}
	r = remove_unfinished(path, err);
	if (r < 0)
		return err_wrap(err, r, "remove what a first checkout left");
	a->path = xstrdup(path);
	a->url = xstrdup(url);
	read_head(a);
	*ret = TAKE(a);
	return 0;
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

static bool in_the_way(const char *name, const char *wanted)
{
	const char *shorter = strlen(name) < strlen(wanted) ? name : wanted, *longer = shorter == name ? wanted : name;
	size_t len = strlen(shorter);
	return strncmp(shorter, longer, len) == 0 && longer[len] == '/';
}

/* A branch that is gone on the server may stand where this one needs a directory, or lie below its name. */
static int set_reference(struct git_area *a, const char *name, const git_oid *id)
{
	git_reference *made _cleanup_(reference_freep) = NULL;
	git_strarray names = { NULL, 0 };
	int r = git_reference_create(&made, a->repo, name, id, 1, NULL);
	if (r == 0)
		return 0;
	r = git_reference_list(&names, a->repo);
	for (size_t i = 0; r == 0 && i < names.count; i++)
		if (in_the_way(names.strings[i], name))
			r = git_reference_remove(a->repo, names.strings[i]);
	git_strarray_dispose(&names);
	return r == 0 ? git_reference_create(&made, a->repo, name, id, 1, NULL) : r;
}

/* HEAD and the references, once the work tree is right. */
static int set_references(struct git_area *a, const git_oid *id, const char *ref, struct err *err)
{
	int r;
	if (ref != NULL && str_starts(ref, "refs/heads/")) {
		_cleanup_free_ char *remote = xasprintf("refs/remotes/origin/%s", ref + strlen("refs/heads/"));
		r = set_reference(a, ref, id);
		if (r == 0)
			r = set_reference(a, remote, id);
		if (r == 0)
			r = git_repository_set_head(a->repo, ref);
	} else {
		if (ref != NULL && str_starts(ref, "refs/tags/"))
			set_reference(a, ref, id);
		r = git_repository_set_head_detached(a->repo, id);
	}
	return r == 0 ? 0 : git_area_error(err, r, "set HEAD");
}

int git_area_checkout(struct git_area *a, const char *commit, const char *ref, bool clean, struct wait *wait,
                      struct git_area_result *ret, struct err *err)
{
	git_oid id;
	git_commit *object _cleanup_(commit_freep) = NULL;
	int r = git_oid_fromstr(&id, commit);
	if (r == 0)
		r = git_commit_lookup(&object, a->repo, &id);
	if (r != 0)
		return git_area_error(err, r, "read the commit");
	r = git_area_write_tree(a, object, clean, wait, ret, err);
	if (r < 0)
		return err_wrap(err, r, "write the files of %.12s", commit);
	r = set_references(a, &id, ref, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *mark = mark_of(a->path);
	unlink(mark);
	read_head(a);
	return 0;
}

void git_area_free(struct git_area *a)
{
	if (a == NULL)
		return;
	git_early_free(a->early);
	git_repository_free(a->repo);
	free(a->path);
	free(a->url);
	free(a);
}

void git_area_freep(struct git_area **a)
{
	git_area_free(*a);
	*a = NULL;
}
