/* HEAD, branches and what follows them. */
#include "base/git/git_priv.h"

#include <string.h>

static bool in_the_way(const char *name, const char *wanted)
{
	const char *shorter = strlen(name) < strlen(wanted) ? name : wanted, *longer = shorter == name ? wanted : name;
	size_t len = strlen(shorter);
	return strncmp(shorter, longer, len) == 0 && longer[len] == '/';
}

/* A branch that is gone on the server may be in the way of this one's directory, or lie below its name. */
int git_area_set_reference(struct git_area *a, const char *name, const git_oid *id)
{
	git_reference *made _cleanup_(reference_freep) = NULL;
	git_strarray names = {NULL, 0};
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

int git_area_configure(git_config *config, const char *key, const char *value)
{
	git_buf now = {NULL, 0, 0};
	bool same = git_config_get_string_buf(&now, config, key) == 0 && strcmp(now.ptr, value) == 0;
	git_buf_dispose(&now);
	return same ? 0 : git_config_set_string(config, key, value);
}

int git_area_follow_origin(struct git_area *a, const char *branch, const char *name)
{
	_cleanup_free_ char *remote = xasprintf("branch.%s.remote", branch),
			    *merge = xasprintf("branch.%s.merge", branch);
	git_config *config _cleanup_(config_freep) = NULL;
	int r = git_repository_config(&config, a->repo);
	if (r == 0)
		r = git_area_configure(config, remote, "origin");
	return r == 0 ? git_area_configure(config, merge, name) : r;
}

/* Branches of an earlier job; of the server's, those of a fetch of all are today's. */
static int forget_branches(struct git_area *a, const struct git_wanted *want, bool all)
{
	git_strarray names = {NULL, 0};
	bool by_branch = want->ref != NULL && str_starts(want->ref, "refs/heads/");
	const char *branch = by_branch ? want->ref + strlen("refs/heads/") : "";
	int r = git_reference_list(&names, a->repo);
	for (size_t i = 0; r == 0 && i < names.count; i++) {
		const char *name = names.strings[i];
		bool ours = str_starts(name, "refs/heads/"), theirs = !all && str_starts(name, "refs/remotes/origin/");
		size_t prefix = strlen(ours ? "refs/heads/" : "refs/remotes/origin/");
		if ((ours || theirs) && !(by_branch && strcmp(name + prefix, branch) == 0))
			r = git_reference_remove(a->repo, name);
	}
	git_strarray_dispose(&names);
	return r;
}

int git_area_set_references(struct git_area *a, const struct git_wanted *want, bool all, struct err *err)
{
	git_oid id, object;
	int r = git_oid_fromstr(&id, want->commit);
	if (r == 0)
		r = git_oid_fromstr(&object, want->object);
	if (r == 0 && want->ref != NULL && str_starts(want->ref, "refs/heads/")) {
		const char *branch = want->ref + strlen("refs/heads/");
		_cleanup_free_ char *remote = xasprintf("refs/remotes/origin/%s", branch);
		r = git_area_set_reference(a, want->ref, &id);
		if (r == 0)
			r = git_area_set_reference(a, remote, &id);
		if (r == 0)
			r = git_repository_set_head(a->repo, want->ref);
		if (r == 0)
			r = git_area_follow_origin(a, branch, want->ref);
	} else if (r == 0) {
		if (want->ref != NULL && str_starts(want->ref, "refs/tags/"))
			git_area_set_reference(a, want->ref, &object);
		if (want->ref != NULL && str_starts(want->ref, "refs/pull/")) {
			_cleanup_free_ char *pull = xasprintf("refs/remotes/%s", want->ref + strlen("refs/"));
			r = git_area_set_reference(a, pull, &id);
		}
		if (r == 0)
			r = git_repository_set_head_detached(a->repo, &id);
	}
	if (r == 0 && a->kept && !a->module)
		r = forget_branches(a, want, all);
	return r == 0 ? 0 : git_area_error(err, r, "set HEAD");
}
