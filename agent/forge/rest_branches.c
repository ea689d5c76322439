/* Branches, and the repositories that somebody has. */
#include "agent/forge/rest_priv.h"

#include <string.h>

void rest_get_branch(struct req *r)
{
	struct forge_repo *repo = rest_begin(r, "Contents", "read", NULL);
	if (!repo)
		return;
	_cleanup_free_ char *ref = xasprintf("refs/heads/%s", r->args[2]), *sha = forge_repo_commit(repo, ref);
	if (!sha) {
		req_reply_error(r, 404, "Branch not found");
		return;
	}
	req_reply_json(r, 200,
	               json_pack("{s:s, s:{s:s, s:o}, s:b}", "name", r->args[2], "commit", "sha", sha, "url",
	                         json_stringf("%s/api/v3/repos/%s/commits/%s", r->f->base, repo->full_name, sha),
	                         "protected", 0));
}

/* Of the person whose token it is: all that the forge serves, or those of one owner. */
static void list(struct req *r, const char *owner)
{
	_cleanup_json_ json_t *all = json_array();
	check_rest_headers(r);
	if (limits_refuse(r))
		return;
	for (size_t i = 0; i < r->f->repo_count; i++)
		if (owner == NULL || strcmp(owner, r->f->repos[i]->owner) == 0)
			json_array_append_new(all, forge_repo_json(r->f, r->f->repos[i]));
	rest_reply_page(r, all);
}

void rest_list_own_repos(struct req *r)
{
	struct identity who = token_identify(r, "Bearer token Basic");
	if (!who.admin)
		req_reply_error(r, 401, "Requires authentication");
	else
		list(r, NULL);
}

void rest_list_org_repos(struct req *r)
{
	struct identity who = token_identify(r, "Bearer token Basic");
	if (!who.admin)
		req_reply_error(r, 401, "Requires authentication");
	else
		list(r, r->args[0]);
}
