/* What GraphQL queries see: who asks, and repositories with their pull requests. */
#include "agent/forge/graphql.h"
#include "agent/forge/rest_priv.h"

#include <string.h>

static json_t *owner_json(const struct forge_repo *repo)
{
	return json_pack("{s:s, s:s, s:o}", "__typename", "Organization", "login", repo->owner, "id",
	                 json_stringf("O_%lld", (long long)repo->id));
}

static json_t *short_repo(struct forge *f, const struct forge_repo *repo)
{
	return json_pack("{s:s, s:o, s:s, s:s, s:o, s:o}", "__typename", "Repository", "id",
	                 json_stringf("R_%lld", (long long)repo->id), "name", repo->name, "nameWithOwner",
	                 repo->full_name, "owner", owner_json(repo), "url",
	                 json_stringf("%s/%s", f->base, repo->full_name));
}

static json_t *pull_json(struct forge *f, const struct forge_repo *base, const json_t *pull)
{
	const json_t *head = json_get_object(pull, "head"), *repo = json_get_object(head, "repo");
	const char *full = json_get_string(repo, "full_name"), *slash = full != NULL ? strchr(full, '/') : NULL;
	_cleanup_free_ char *owner = slash != NULL ? xstrndup(full, (size_t)(slash - full)) : NULL;
	const struct forge_repo *from = owner != NULL ? forge_repo_find(f, owner, slash + 1) : NULL;
	const char *state = json_is_true(json_object_get(pull, "merged"))         ? "MERGED"
	                    : strcmp(json_get_string(pull, "state"), "open") == 0 ? "OPEN"
	                                                                          : "CLOSED";
	json_t *owner_of_head = from != NULL ? owner_json(from) : json_null();
	return json_pack("{s:s, s:o, s:O, s:O, s:O, s:s, s:b, s:O, s:O, s:O, s:O, s:b, s:o, s:o}", "__typename",
	                 "PullRequest", "id", json_stringf("PR_%lld", (long long)json_get_int(pull, "id", 0)), "number",
	                 json_object_get(pull, "number"), "title", json_object_get(pull, "title"), "url",
	                 json_object_get(pull, "html_url"), "state", state, "isDraft", 0, "headRefName",
	                 json_object_get(head, "ref"), "headRefOid", json_object_get(head, "sha"), "baseRefName",
	                 json_object_get(json_get_object(pull, "base"), "ref"), "createdAt",
	                 json_object_get(pull, "created_at"), "isCrossRepository", from != base, "headRepository",
	                 from != NULL ? short_repo(f, from) : json_null(), "headRepositoryOwner", owner_of_head);
}

static json_t *pulls_json(struct forge *f, const struct forge_repo *repo)
{
	json_t *nodes = json_array(), *pull;
	size_t i;
	json_array_foreach(repo->pulls, i, pull) json_array_append_new(nodes, pull_json(f, repo, pull));
	return json_pack("{s:s, s:I, s:o}", "__typename", "PullRequestConnection", "totalCount",
	                 (json_int_t)json_array_size(nodes), "nodes", nodes);
}

static json_t *repo_json(struct forge *f, const struct forge_repo *repo, bool may_write)
{
	static const char
		*const yes[] = {"hasIssuesEnabled", "mergeCommitAllowed", "squashMergeAllowed"},
		       *const no[] = {"hasWikiEnabled", "hasProjectsEnabled", "rebaseMergeAllowed", "isFork",
	                              "isArchived",     "isPrivate",          "deleteBranchOnMerge"},
		       /* release: gh asks it for a draft of that tag, beside REST, which has those that there are. */
			       *const none[] = {"parent", "description", "homepageUrl", "release"};
	_cleanup_free_ char *branch = forge_repo_default_branch(repo);
	json_t *out = short_repo(f, repo);
	for (size_t i = 0; i < ARRAY_SIZE(yes); i++)
		json_object_set_new(out, yes[i], json_true());
	for (size_t i = 0; i < ARRAY_SIZE(no); i++)
		json_object_set_new(out, no[i], json_false());
	for (size_t i = 0; i < ARRAY_SIZE(none); i++)
		json_object_set_new(out, none[i], json_null());
	json_object_set_new(out, "viewerPermission", json_string(may_write ? "ADMIN" : "READ"));
	json_object_set_new(out, "defaultBranchRef",
	                    json_pack("{s:s, s:s, s:s}", "__typename", "Ref", "name", branch, "prefix", "refs/heads/"));
	json_object_set_new(out, "pullRequests", pulls_json(f, repo));
	return out;
}

/* Each field of the root by itself: two of one name may ask for two repositories. NULL: there is none of that name for this token. */
static json_t *root_field(struct req *r, const struct forge_job *job, const json_t *field)
{
	const json_t *args = json_object_get(field, "args");
	const char *name = json_get_string(field, "name"), *owner = json_get_string(args, "owner"),
		   *repository = json_get_string(args, "name");
	if (strcmp(name, "viewer") == 0)
		return json_pack("{s:{s:s, s:s, s:s}}", name, "__typename", "User", "login", rest_actor_of(job), "id",
		                 "U_1");
	if (strcmp(name, "repository") != 0)
		return json_object();
	struct forge_repo *repo = owner != NULL && repository != NULL ? forge_repo_find(r->f, owner, repository) : NULL;
	if (repo == NULL || (job != NULL && job->run->repo != repo))
		return NULL;
	return json_pack("{s:o}", name, repo_json(r->f, repo, job == NULL));
}

static void reply_error(struct req *r, const char *type, const char *message)
{
	req_reply_json(r, 200, json_pack("{s:n, s:[{s:s, s:s}]}", "data", "errors", "type", type, "message", message));
}

static void reply(struct req *r, const struct forge_job *job, const json_t *fields)
{
	_cleanup_json_ json_t *data = json_object();
	size_t i;
	json_t *field;
	json_array_foreach(fields, i, field)
	{
		_cleanup_json_ json_t *root = root_field(r, job, field), *one = json_pack("[O]", field), *part = NULL;
		struct err err = ERR_INIT;
		char line[512];
		if (root == NULL) {
			reply_error(r, "NOT_FOUND", "Could not resolve to a Repository with the name that was given.");
			return;
		}
		if (graphql_pick(root, one, &part, &err) < 0) {
			reply_error(r, "undefinedField", err_line(&err, line, sizeof(line)));
			return;
		}
		json_object_update(data, part);
	}
	req_reply_json(r, 200, json_pack("{s:O}", "data", data));
}

void rest_graphql(struct req *r)
{
	check_rest_headers(r);
	struct identity who = token_identify(r, "Bearer token");
	const struct forge_job *job = who.token && who.token->kind == TOKEN_GITHUB ? who.token->job : NULL;
	if (!who.admin && !job) {
		req_reply_error(r, 401, "%s", who.given ? "Bad credentials" : "Requires authentication");
		return;
	}
	_cleanup_json_ json_t *body = req_json(r), *fields = NULL;
	const json_t *query = json_object_get(body, "query");
	struct err err = ERR_INIT;
	char line[512];
	if (!body)
		return;
	if (!json_is_string(query))
		req_reply_error(r, 400, "A query attribute must be specified and must be a string.");
	else if (graphql_read(json_string_value(query), json_string_length(query),
	                      json_get_string(body, "operationName"), json_get_object(body, "variables"), &fields,
	                      &err) < 0)
		reply_error(r, "parseError", err_line(&err, line, sizeof(line)));
	else
		reply(r, job, fields);
}
