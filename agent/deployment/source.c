#include "agent/deployment/source.h"

#include "base/git/extensions.h"
#include "base/sys/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <git2.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void repository_freep(git_repository **r)
{
	git_repository_free(*r);
}

static void object_freep(git_object **o)
{
	git_object_free(*o);
}

static void reference_freep(git_reference **r)
{
	git_reference_free(*r);
}

static void status_list_freep(git_status_list **l)
{
	git_status_list_free(*l);
}

static void config_freep(git_config **c)
{
	git_config_free(*c);
}

static int git_failed(struct err *err, const char *what)
{
	const git_error *e = git_error_last();
	return err_set(err, ERR_IO, "%s: %s", what, e ? e->message : "libgit2 gives no reason");
}

static char *head_commit(git_repository *repo)
{
	_cleanup_(object_freep) git_object *commit = NULL;
	if (git_revparse_single(&commit, repo, "HEAD^{commit}") != 0)
		return NULL;
	char hex[GIT_OID_HEXSZ + 1];
	return xstrdup(git_oid_tostr(hex, sizeof(hex), git_object_id(commit)));
}

static char *head_ref(git_repository *repo)
{
	_cleanup_(reference_freep) git_reference *head = NULL;
	if (git_repository_head_detached(repo) != 0 || git_repository_head(&head, repo) != 0)
		return NULL;
	return xstrdup(git_reference_name(head));
}

/* The longest prefix of all `url.BASE.insteadOf = PREFIX` counts. */
struct rewrite {
	const char *url;
	size_t prefix;
	char *base;
};

static int note_rewrite(const git_config_entry *entry, void *context)
{
	static const char before[] = "url.", behind[] = ".insteadof";
	struct rewrite *w = context;
	size_t len = strlen(entry->name), around = sizeof(before) + sizeof(behind) - 2;
	if (len <= around || !str_starts(entry->name, before) || !str_ends(entry->name, behind) ||
	    entry->value == NULL || strlen(entry->value) <= w->prefix || !str_starts(w->url, entry->value))
		return 0;
	w->prefix = strlen(entry->value);
	free(w->base);
	w->base = xstrndup(entry->name + sizeof(before) - 1, len - around);
	return 0;
}

/* The origin's address as git would use it. git_remote_lookup gives the same, but leaks 20 KB in libgit2 1.5 for each
 * line of the configuration that it compares (match data of a regular expression that does not match). */
static char *origin_url(git_repository *repo)
{
	_cleanup_(config_freep) git_config *config = NULL;
	struct rewrite w = {0};
	if (git_repository_config_snapshot(&config, repo) != 0 ||
	    git_config_get_string(&w.url, config, "remote.origin.url") != 0)
		return NULL;
	git_config_foreach(config, note_rewrite, &w);
	_cleanup_free_ char *base = w.base;
	return xasprintf("%s%s", base != NULL ? base : "", w.url + w.prefix);
}

/* "https://host/owner/name.git", "git@host:owner/name" → "owner/name" */
static char *origin_repository(git_repository *repo)
{
	_cleanup_free_ char *url = origin_url(repo);
	if (url == NULL)
		return NULL;
	size_t len = strlen(url);
	if (str_ends(url, ".git"))
		url[len - 4] = '\0';
	char *name = strrchr(url, '/');
	if (name == NULL || name == url || name[1] == '\0')
		return NULL;
	*name = '\0';
	char *owner = url + strlen(url);
	while (owner > url && owner[-1] != '/' && owner[-1] != ':')
		owner--;
	if (owner == url || *owner == '\0')
		return NULL;
	return xasprintf("%s/%s", owner, name + 1);
}

static int read_work_tree(git_repository *repo, struct deployment_source *ret, struct err *err)
{
	_cleanup_(status_list_freep) git_status_list *changed = NULL;
	git_status_options options;
	git_status_options_init(&options, GIT_STATUS_OPTIONS_VERSION);
	options.show = GIT_STATUS_SHOW_INDEX_AND_WORKDIR;
	options.flags = GIT_STATUS_OPT_INCLUDE_UNTRACKED | GIT_STATUS_OPT_EXCLUDE_SUBMODULES;
	if (git_status_list_new(&changed, repo, &options) != 0)
		return git_failed(err, "compare the work tree with its commit");
	ret->dirty = git_status_list_entrycount(changed) > 0;
	ret->commit = head_commit(repo);
	ret->ref = head_ref(repo);
	ret->git_dir = xstrdup(git_repository_commondir(repo));
	ret->repository = origin_repository(repo);
	return 0;
}

/* libgit2 reads all certificates of this machine when it starts: not where there is nothing for it. HEAD: a directory may be a repository
 * itself, and say where its work tree is. */
static bool may_have_repository(const char *directory, bool search)
{
	static const char *const signs[] = {".git", "HEAD"};
	_cleanup_free_ char *at = xstrdup(directory);
	for (bool top = false; !top;) {
		top = !search || strcmp(at, "/") == 0;
		for (size_t i = 0; i < ARRAY_SIZE(signs); i++) {
			_cleanup_free_ char *sign = fs_join(at, signs[i]);
			if (faccessat(AT_FDCWD, sign, F_OK, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT)
				return true;
		}
		char *slash = strrchr(at, '/');
		slash[slash == at ? 1 : 0] = '\0';
	}
	return false;
}

int deployment_source_find(const char *path, bool search, struct deployment_source *ret, struct err *err)
{
	char real[PATH_MAX];
	struct stat st;
	if (realpath(path, real) == NULL || stat(real, &st) != 0)
		return err_errno(err, errno, "find '%s'", path);
	if (!S_ISDIR(st.st_mode)) {
		char *slash = strrchr(real, '/');
		slash[slash == real ? 1 : 0] = '\0';
	}
	if (!may_have_repository(real, search)) {
		ret->root = xstrdup(real);
		return 0;
	}
	git_libgit2_init();
	git_extensions_allow();
	/* A work area made by a worker of another uid is still ours; we only read it. */
	git_libgit2_opts(GIT_OPT_SET_OWNER_VALIDATION, 0);
	_cleanup_(repository_freep) git_repository *repo = NULL;
	int r = git_repository_open_ext(&repo, real, search ? 0 : GIT_REPOSITORY_OPEN_NO_SEARCH, NULL);
	const char *top = r == 0 ? git_repository_workdir(repo) : NULL;
	if (top == NULL) {
		ret->root = xstrdup(real);
		return 0;
	}
	r = read_work_tree(repo, ret, err);
	if (r < 0) {
		deployment_source_done(ret);
		return r;
	}
	size_t len = strlen(top);
	ret->root = xstrndup(top, len > 1 && top[len - 1] == '/' ? len - 1 : len);
	return 0;
}

void deployment_source_done(struct deployment_source *s)
{
	freep(&s->root);
	freep(&s->commit);
	freep(&s->ref);
	freep(&s->git_dir);
	freep(&s->repository);
	s->dirty = false;
}
