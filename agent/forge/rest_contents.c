/* A file of a commit, as GitHub's contents call gives it. */
#include "agent/forge/rest_priv.h"
#include "base/secret/base64.h"

#include <string.h>

enum { CONTENTS_MAX = 1 << 20, SHA_MAX = 128 };

/* ref: a branch, a tag or a commit; NULL: the default branch. free(); NULL: there is none. */
static char *commit_of(const struct forge_repo *repo, const char *ref)
{
	_cleanup_free_ char *branch = ref == NULL ? forge_repo_default_branch(repo) : NULL;
	return ref != NULL ? forge_repo_commit(repo, ref) : forge_repo_commit(repo, branch);
}

void rest_get_contents(struct req *r)
{
	struct forge_repo *repo = rest_begin(r, "Contents", "read", NULL);
	if (!repo)
		return;
	const char *path = r->args[2], *ref = req_query(r, "ref"), *slash = strrchr(path, '/');
	_cleanup_free_ char *commit = commit_of(repo, ref);
	if (commit == NULL) {
		req_reply_error(r, 404, "No commit found for the ref %s", ref != NULL ? ref : "");
		return;
	}
	_cleanup_(str_done) struct str data = STR_INIT(CONTENTS_MAX), sha = STR_INIT(SHA_MAX),
				       text = STR_INIT(2 * CONTENTS_MAX);
	_cleanup_free_ char *object = xasprintf("%s:%s", commit, path);
	const char *rev_parse[] = {"rev-parse", object, NULL};
	if (push_read_file(repo, commit, path, &data, NULL) < 0 ||
	    forge_repo_git(repo, rev_parse, SHA_MAX, &sha, NULL) < 0) {
		req_reply_error(r, 404, "Not Found");
		return;
	}
	base64_encode(data.data, data.len, &text);
	req_reply_json(r, 200,
	               json_pack("{s:s, s:s, s:s, s:s, s:I, s:s%, s:s}", "type", "file", "encoding", "base64", "name",
	                         slash != NULL ? slash + 1 : path, "path", path, "size", (json_int_t)data.len, "sha",
	                         str_peek(&sha), strcspn(str_peek(&sha), "\n"), "content", str_peek(&text)));
}
