/* changed: whether the files that a push or a pull request changes start a workflow, which names paths. */
#include "agent/forge/forge_priv.h"

#include <string.h>

enum { CHANGED_MAX = 16 << 20 };

static bool is_nothing(const char *sha)
{
	return strspn(sha, "0") == strlen(sha);
}

/* Of a new branch: what its commits change that are on no other. */
static int ask_git(const struct forge_repo *repo, const char *ref, const char *before, const char *after,
                   struct str *out)
{
	_cleanup_free_ char *others = xasprintf("--exclude=%s", ref + (str_starts(ref, "refs/heads/") ? 11 : 0));
	const char *of_new[] = {"log", "--format=", "--name-only", "-z",         "-m",
	                        after, "--not",     others,        "--branches", NULL};
	const char *between[] = {"diff", "--name-only", "-z", "--no-renames", before, after, NULL};
	return forge_repo_git(repo, is_nothing(before) ? of_new : between, CHANGED_MAX, out, NULL);
}

bool changed_paths_start(const struct forge_repo *repo, const struct workflow *w, const char *event, const char *ref,
                         const char *before, const char *after)
{
	_cleanup_(strv_done) struct strv paths = {0};
	_cleanup_(str_done) struct str names = STR_INIT(CHANGED_MAX);
	if (!workflow_has_path_filter(w, event) || str_starts(ref, "refs/tags/"))
		return true;
	if (ask_git(repo, ref, before, after, &names) < 0)
		return true; /* what cannot be told starts it, as at GitHub */
	for (size_t at = 0; at < names.len; at += strlen(names.data + at) + 1) {
		const char *name = names.data + at + strspn(names.data + at, "\n");
		if (*name != '\0')
			strv_add(&paths, name);
	}
	return workflow_wants_paths(w, event, &paths);
}
