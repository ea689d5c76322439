/* The REST API as far as deployments use it: what all of its parts share, the repository, references; and the routes. */
#include "agent/forge/rest_priv.h"
#include "base/core/clock.h"

#include <stdio.h>
#include <string.h>

const char *rest_actor_of(const struct forge_job *job)
{
	return job ? "github-actions[bot]" : "octocat";
}

void rest_add_common(struct req *r, json_t *object, const struct forge_job *job)
{
	const char *actor = rest_actor_of(job);
	char time[CLOCK_TEXT_SIZE];
	clock_rfc3339(r->begun_ms, time);
	time[19] = 'Z';
	time[20] = '\0';
	json_object_set_new(object, "id", json_integer(forge_id(r->f)));
	json_object_set_new(object, "node_id", json_stringf("N_%lld", (long long)r->f->next_id));
	json_object_set_new(object, "created_at", json_string(time));
	json_object_set_new(object, "updated_at", json_string(time));
	json_object_set_new(
		object, "user",
		json_pack("{s:s, s:i, s:s}", "login", actor, "id", 1, "type", strstr(actor, "[bot]") ? "Bot" : "User"));
	char id[24];
	snprintf(id, sizeof(id), "%lld", (long long)r->f->next_id);
	if (job)
		json_object_set_new(r->f->origins, id, json_string(job->job_id));
}

struct forge_repo *rest_begin(struct req *r, const char *permission, const char *level, struct forge_job **ret_job)
{
	check_rest_headers(r);
	if (limits_refuse(r))
		return NULL;
	const char *agent = req_header(r, "User-Agent");
	if (!agent || !*agent) {
		req_reply_error(
			r, 403,
			"Request forbidden by administrative rules. Please make sure your request has a User-Agent "
			"header");
		return NULL;
	}
	struct forge_repo *repo = forge_repo_need(r, 0, 1);
	return repo && token_need_permission(r, repo, permission, level, ret_job) ? repo : NULL;
}

void rest_invalid(struct req *r, const char *resource, const char *field, const char *code)
{
	if (!req_is_probe(r))
		req_complain(r, "%s: '%s' is %s", resource, field, code);
	req_reply_json(r, 422,
	               json_pack("{s:s, s:[{s:s, s:s, s:s}], s:s}", "message", "Validation Failed", "errors",
	                         "resource", resource, "field", field, "code", code, "documentation_url",
	                         "https://docs.github.com/rest"));
}

/* Everything else that the request asks for holds for the other pages too. */
static void link_pages(struct req *r, long long size, long long page, long long last)
{
	const struct {
		const char *rel;
		long long page;
		bool there;
	} links[] = {{"prev", page - 1, page > 1},
	             {"next", page + 1, page < last},
	             {"last", last, page < last},
	             {"first", 1, page > 1}};
	_cleanup_(str_done) struct str kept = STR_INIT(2048), out = STR_INIT(16384);
	for (const char *p = r->query; *p != '\0'; p += strspn(p, "&")) {
		size_t len = strcspn(p, "&");
		if (len > 0 && !str_starts(p, "page=") && !str_starts(p, "per_page="))
			str_appendf(&kept, "%.*s&", (int)len, p);
		p += len;
	}
	for (size_t i = 0; i < ARRAY_SIZE(links); i++)
		if (links[i].there)
			str_appendf(&out, "%s<%s%s?%sper_page=%lld&page=%lld>; rel=\"%s\"", out.len > 0 ? ", " : "",
			            r->f->base, r->path, str_peek(&kept), size, links[i].page, links[i].rel);
	_cleanup_free_ char *header = xasprintf("Link: %s", str_peek(&out));
	if (out.len > 0 && !out.failed && !kept.failed)
		strv_add(&r->headers, header);
}

json_t *rest_page(struct req *r, const json_t *list)
{
	long long size = 30, page = 1;
	if (req_query(r, "per_page"))
		str_parse_i64(req_query(r, "per_page"), 1, INT64_MAX, &size);
	if (req_query(r, "page"))
		str_parse_i64(req_query(r, "page"), 1, 1000000, &page);
	size = MIN(size, 100);
	size_t from = (size_t)((page - 1) * size), total = json_array_size(list);
	json_t *out = json_array();
	for (size_t i = from; i < total && i < from + (size_t)size; i++)
		json_array_append(out, json_array_get(list, i));
	link_pages(r, size, page, MAX(((long long)total + size - 1) / size, 1));
	return out;
}

void rest_reply_page(struct req *r, const json_t *list)
{
	req_reply_json(r, 200, rest_page(r, list));
}

json_t *rest_find(const json_t *list, const char *id_text)
{
	long long id = 0;
	size_t i;
	json_t *item;
	if (!str_parse_i64(id_text, 1, INT64_MAX, &id))
		return NULL;
	json_array_foreach(list, i, item) if (json_get_int(item, "id", 0) == id) return item;
	return NULL;
}
bool rest_is_one_of(const char *text, const char *const *words, size_t count)
{
	for (size_t i = 0; text && i < count; i++)
		if (strcmp(text, words[i]) == 0)
			return true;
	return false;
}

static void get_repo(struct req *r)
{
	struct forge_job *job = NULL;
	struct forge_repo *repo = rest_begin(r, "Metadata", "read", &job);
	if (!repo)
		return;
	json_t *out = forge_repo_json(r->f, repo);
	const char *contents = job ? json_get_string(job->permissions, "Contents") : "write";
	json_object_set_new(out, "permissions",
	                    json_pack("{s:b, s:b, s:b}", "admin", job == NULL, "push",
	                              contents && strcmp(contents, "write") == 0, "pull", contents != NULL));
	req_reply_json(r, 200, out);
}

static void create_ref(struct req *r)
{
	struct forge_job *job = NULL;
	struct forge_repo *repo = rest_begin(r, "Contents", "write", &job);
	_cleanup_json_ json_t *body = repo ? req_json(r) : NULL;
	if (!body)
		return;
	const char *ref = json_get_string(body, "ref"), *sha = json_get_string(body, "sha");
	if (!ref || !sha) {
		req_reply_error(r, 422, "Invalid request. \"ref\", \"sha\" weren't supplied.");
		return;
	}
	_cleanup_free_ char *commit = forge_repo_commit(repo, sha);
	struct err err = ERR_INIT;
	_cleanup_(str_done) struct str out = STR_INIT(4096);
	const char *args[] = {"update-ref", "--", ref, commit ? commit : "", "", NULL};
	if (!commit || !str_starts(ref, "refs/") || forge_repo_git(repo, args, 4096, &out, &err) < 0) {
		req_reply_error(r, 422, "Object does not exist or the reference is no good");
		return;
	}
	req_reply_json(r, 201, json_pack("{s:s, s:{s:s, s:s}}", "ref", ref, "object", "sha", commit, "type", "commit"));
}

static void rate_limit(struct req *r)
{
	req_reply_json(r, 200,
	               json_pack("{s:{s:{s:i, s:i, s:i, s:I}}}", "resources", "core", "limit", 5000, "remaining", 5000,
	                         "used", 0, "reset", (json_int_t)(clock_wall_ms() / 1000 + 3600)));
}

static void root(struct req *r)
{
	req_reply_json(
		r, 200,
		json_pack("{s:o}", "repository_url", json_stringf("%s/api/v3/repos/{owner}/{repo}", r->f->base)));
}

const struct route rest_routes[] = {
	{"GET", "", root, 0},
	{"GET", "api/v3", root, 0},
	{"GET", "rate_limit", rate_limit, 0},
	{"POST", "graphql", rest_graphql, 0},
	{"POST", "api/graphql", rest_graphql, 0},
	{"GET", "repos/+/+", get_repo, 0},
	{"GET", "repos/+/+/branches/*", rest_get_branch, 0},
	{"GET", "user/repos", rest_list_own_repos, 0},
	{"GET", "orgs/+/repos", rest_list_org_repos, 0},
	{"GET", "repos/+/+/tarball/*", git_tarball_handle, ROUTE_UNLOCKED},
	{"GET", "repos/+/+/zipball/*", git_tarball_handle, ROUTE_UNLOCKED},
	{"GET", "repos/+/+/tarball", git_tarball_handle, ROUTE_UNLOCKED},
	{"POST", "repos/+/+/commits/+/comments", rest_create_commit_comment, 0},
	{"GET", "repos/+/+/commits/+/comments", rest_list_commit_comments, 0},
	{"GET", "repos/+/+/comments/+", rest_one_commit_comment, 0},
	{"PATCH", "repos/+/+/comments/+", rest_one_commit_comment, 0},
	{"POST", "repos/+/+/issues/+/comments", rest_create_issue_comment, 0},
	{"GET", "repos/+/+/issues/+/comments", rest_list_issue_comments, 0},
	{"GET", "repos/+/+/issues/comments", rest_list_repo_comments, 0},
	{"GET", "repos/+/+/issues/comments/+", rest_one_issue_comment, 0},
	{"PATCH", "repos/+/+/issues/comments/+", rest_one_issue_comment, 0},
	{"POST", "repos/+/+/issues", rest_create_issue, 0},
	{"GET", "repos/+/+/issues", rest_list_issues, 0},
	{"GET", "repos/+/+/issues/+", rest_one_issue, 0},
	{"PATCH", "repos/+/+/issues/+", rest_one_issue, 0},
	{"POST", "repos/+/+/pulls", pulls_create, ROUTE_UNLOCKED},
	{"GET", "repos/+/+/pulls/+", pulls_get, ROUTE_UNLOCKED},
	{"PUT", "repos/+/+/pulls/+/merge", pulls_merge, ROUTE_UNLOCKED},
	{"GET", "repos/+/+/commits/+/pulls", pulls_of_commit, ROUTE_UNLOCKED},
	{"POST", "repos/+/+/deployments", rest_create_deployment, 0},
	{"GET", "repos/+/+/deployments", rest_list_deployments, 0},
	{"GET", "repos/+/+/deployments/+", rest_get_deployment, 0},
	{"POST", "repos/+/+/deployments/+/statuses", rest_create_deployment_status, 0},
	{"GET", "repos/+/+/deployments/+/statuses", rest_list_deployment_statuses, 0},
	{"GET", "repos/+/+/environments", rest_list_environments, 0},
	{"GET", "repos/+/+/environments/*", rest_get_environment, 0},
	{"PUT", "repos/+/+/environments/*", rest_put_environment, 0},
	{"DELETE", "repos/+/+/environments/*", rest_delete_environment, 0},
	{"GET", "repos/+/+/actions/runs/+/pending_deployments", rest_list_pending, 0},
	{"POST", "repos/+/+/actions/runs/+/pending_deployments", rest_review, 0},
	{"GET", "repos/+/+/actions/runs/+/approvals", rest_list_reviews, 0},
	{"POST", "repos/+/+/statuses/+", rest_create_status, 0},
	{"POST", "repos/+/+/git/refs", create_ref, 0},
	{"POST", "repos/+/+/check-runs", rest_create_check_run, 0},
	{"PATCH", "repos/+/+/check-runs/+", rest_change_check_run, 0},
	{"GET", "repos/+/+/check-runs/+/annotations", rest_list_annotations, 0},
	{"GET", "repos/+/+/commits/+/check-runs", rest_list_check_runs, 0},
	{"POST", "repos/+/+/actions/workflows/+/dispatches", rest_dispatch, 0},
	{"POST", "repos/+/+/dispatches", events_dispatch, ROUTE_UNLOCKED},
	{"POST", "repos/+/+/actions/runs/+/cancel", rest_cancel_run, 0},
	{"GET", "repos/+/+/actions/runs", rest_list_runs, 0},
	{"GET", "repos/+/+/actions/runs/+", rest_get_run, 0},
	{"GET", "repos/+/+/actions/runs/+/jobs", rest_list_jobs, 0},
	{"GET", "repos/+/+/actions/runs/+/attempts/+", rest_get_attempt, 0},
	{"GET", "repos/+/+/actions/runs/+/attempts/+/jobs", rest_list_attempt_jobs, 0},
	{"GET", "repos/+/+/actions/runs/+/logs", rest_run_logs, ROUTE_UNLOCKED},
	{"POST", "repos/+/+/actions/runs/+/rerun", rest_rerun, 0},
	{"POST", "repos/+/+/actions/runs/+/rerun-failed-jobs", rest_rerun, 0},
	{"GET", "repos/+/+/actions/runs/+/artifacts", rest_list_run_artifacts, 0},
	{"GET", "repos/+/+/actions/jobs/+", rest_get_job, 0},
	{"GET", "repos/+/+/actions/jobs/+/logs", rest_job_log, 0},
	{"POST", "repos/+/+/actions/jobs/+/rerun", rest_rerun_job, 0},
	{"GET", "repos/+/+/actions/artifacts", rest_list_artifacts, 0},
	{"GET", "repos/+/+/actions/artifacts/+", rest_one_artifact, 0},
	{"DELETE", "repos/+/+/actions/artifacts/+", rest_one_artifact, 0},
	{"GET", "repos/+/+/actions/artifacts/+/+", rest_artifact_archive, 0},
	{"GET", "repos/+/+/actions/caches", rest_list_caches, 0},
	{"DELETE", "repos/+/+/actions/caches", rest_delete_caches, 0},
	{"DELETE", "repos/+/+/actions/caches/+", rest_delete_cache, 0},
	{"GET", "repos/+/+/actions/cache/usage", rest_cache_usage, 0},
	{"GET", "repos/+/+/actions/workflows", rest_list_workflows, 0},
	{"GET", "repos/+/+/actions/workflows/+", rest_get_workflow, 0},
	{"GET", "repos/+/+/actions/workflows/+/runs", rest_list_workflow_runs, 0},
	{"PUT", "repos/+/+/actions/workflows/+/enable", rest_switch_workflow, 0},
	{"PUT", "repos/+/+/actions/workflows/+/disable", rest_switch_workflow, 0},
	{"GET", "repos/+/+/contents/*", rest_get_contents, 0},
	{0},
};
