/* tree: what git knows of the work tree. */
#include "agent/validate/validate.h"
#include "base/git/extensions.h"
#include "base/core/mem.h"

#include <git2.h>
#include <string.h>

static void repository_freep(git_repository **r)
{
	git_repository_free(*r);
}
static void index_freep(git_index **i)
{
	git_index_free(*i);
}
static void status_freep(git_status_list **l)
{
	git_status_list_free(*l);
}
static void walk_freep(git_revwalk **w)
{
	git_revwalk_free(*w);
}
static void commit_freep(git_commit **c)
{
	git_commit_free(*c);
}
static void tree_freep(git_tree **t)
{
	git_tree_free(*t);
}
static void diff_freep(git_diff **d)
{
	git_diff_free(*d);
}

enum { COMMITS_MAX = 1000 };

static const struct yaml_mark nowhere = {0, 0};

static int git_failed(struct err *err, const char *what)
{
	const git_error *e = git_error_last();
	return err_set(err, ERR_IO, "%s: %s", what, e != NULL ? e->message : "libgit2 gives no reason");
}

static int list_tracked(git_repository *repo, struct strv *tracked, struct err *err)
{
	_cleanup_(index_freep) git_index *index = NULL;
	if (git_repository_index(&index, repo) != 0)
		return git_failed(err, "read the index");
	for (size_t i = 0; i < git_index_entrycount(index); i++)
		strv_add(tracked, git_index_get_byindex(index, i)->path);
	return 0;
}

/* Directories that hold changes of a database, by the names that frameworks give them. */
static bool is_migration_name(const char *name, size_t len)
{
	static const char *const names[] = {"migrations", "migrate", "migration"};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strlen(names[i]) == len && memcmp(names[i], name, len) == 0)
			return true;
	return false;
}

/* The length of the part of path that is a directory of migrations; 0: it lies in none. */
static size_t migration_dir(const char *path, const struct strv *given)
{
	for (size_t i = 0; i < given->count; i++) {
		const char *dir = given->items[i];
		size_t len = strlen(dir);
		while (len > 0 && dir[len - 1] == '/')
			len--;
		if (strncmp(path, dir, len) == 0 && path[len] == '/')
			return len;
	}
	for (const char *part = path, *slash; given->count == 0 && (slash = strchr(part, '/')) != NULL;
	     part = slash + 1)
		if (is_migration_name(part, (size_t)(slash - part)))
			return (size_t)(slash - path);
	return strncmp(path, "alembic/versions/", 17) == 0 && given->count == 0 ? 16 : 0;
}

static const char *change_of(unsigned flags)
{
	if (flags & GIT_STATUS_WT_NEW)
		return "not added to git";
	if (flags & (GIT_STATUS_WT_DELETED | GIT_STATUS_INDEX_DELETED))
		return "deleted, and not committed";
	if (flags & (GIT_STATUS_INDEX_NEW | GIT_STATUS_INDEX_MODIFIED | GIT_STATUS_INDEX_RENAMED))
		return "added, but not committed";
	return "changed, and not committed";
}

static int find_dirty(git_repository *repo, const struct strv *given, struct findings *findings, struct err *err)
{
	_cleanup_(status_freep) git_status_list *list = NULL;
	git_status_options options;
	git_status_options_init(&options, GIT_STATUS_OPTIONS_VERSION);
	options.show = GIT_STATUS_SHOW_INDEX_AND_WORKDIR;
	options.flags = GIT_STATUS_OPT_INCLUDE_UNTRACKED | GIT_STATUS_OPT_RECURSE_UNTRACKED_DIRS |
	                GIT_STATUS_OPT_EXCLUDE_SUBMODULES;
	if (git_status_list_new(&list, repo, &options) != 0)
		return git_failed(err, "compare the work tree with its commit");
	for (size_t i = 0; i < git_status_list_entrycount(list); i++) {
		const git_status_entry *entry = git_status_byindex(list, i);
		const git_diff_delta *delta =
			entry->index_to_workdir != NULL ? entry->index_to_workdir : entry->head_to_index;
		if (delta == NULL || migration_dir(delta->new_file.path, given) == 0)
			continue;
		finding_add(findings, delta->new_file.path, nowhere, FINDING_ERROR, "migration-not-committed",
		            "commit it, or the deployment runs other migrations than you tried", "the migration is %s",
		            change_of(entry->status));
	}
	return 0;
}

/* Hides what any remote has, as far as this clone knows. False: there is no remote. */
static bool hide_remotes(git_repository *repo, git_revwalk *walk)
{
	git_reference_iterator *refs;
	git_reference *ref;
	bool any = false;
	if (git_reference_iterator_glob_new(&refs, repo, "refs/remotes/*") != 0)
		return false;
	while (git_reference_next(&ref, refs) == 0) {
		any |= git_revwalk_hide_ref(walk, git_reference_name(ref)) == 0;
		git_reference_free(ref);
	}
	git_reference_iterator_free(refs);
	return any;
}

static void note_unpushed(git_repository *repo, const git_oid *id, const struct strv *given, struct strv *ret)
{
	_cleanup_(commit_freep) git_commit *commit = NULL, *parent = NULL;
	_cleanup_(tree_freep) git_tree *tree = NULL, *before = NULL;
	_cleanup_(diff_freep) git_diff *diff = NULL;
	if (git_commit_lookup(&commit, repo, id) != 0 || git_commit_tree(&tree, commit) != 0)
		return;
	if (git_commit_parentcount(commit) > 0 && git_commit_parent(&parent, commit, 0) == 0)
		git_commit_tree(&before, parent);
	if (git_diff_tree_to_tree(&diff, repo, before, tree, NULL) != 0)
		return;
	for (size_t i = 0; i < git_diff_num_deltas(diff); i++) {
		const char *path = git_diff_get_delta(diff, i)->new_file.path;
		if (migration_dir(path, given) > 0 && !strv_has(ret, path))
			strv_add(ret, path);
	}
}

static void find_unpushed(git_repository *repo, const struct strv *given, struct findings *findings)
{
	_cleanup_(walk_freep) git_revwalk *walk = NULL;
	struct strv paths = {.count = 0};
	git_oid id;
	if (git_revwalk_new(&walk, repo) != 0 || git_revwalk_push_head(walk) != 0 || !hide_remotes(repo, walk))
		return;
	for (int n = 0; n < COMMITS_MAX && git_revwalk_next(&id, walk) == 0; n++)
		note_unpushed(repo, &id, given, &paths);
	for (size_t i = 0; i < paths.count; i++)
		finding_add(findings, paths.items[i], nowhere, FINDING_ERROR, "migration-not-pushed",
		            "push the commit before you deploy: others cannot go back to what they do not have",
		            "the migration is committed, but no remote has the commit");
	strv_done(&paths);
}

int validate_tree(const char *top, const struct strv *migrations, struct findings *findings, struct strv *tracked,
                  struct err *err)
{
	git_libgit2_init();
	git_extensions_allow();
	git_libgit2_opts(GIT_OPT_SET_OWNER_VALIDATION, 0); /* it is only read */
	_cleanup_(repository_freep) git_repository *repo = NULL;
	if (git_repository_open_ext(&repo, top, GIT_REPOSITORY_OPEN_NO_SEARCH, NULL) != 0)
		return 0;
	int r = list_tracked(repo, tracked, err);
	if (r == 0 && !git_repository_is_bare(repo))
		r = find_dirty(repo, migrations, findings, err);
	if (r == 0)
		find_unpushed(repo, migrations, findings);
	return r;
}
