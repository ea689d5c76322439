/* The REST API as far as deployments use it: repository, comments, deployments, statuses, check runs, runs. */
#include "agent/forge/forge_priv.h"
#include "base/core/clock.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* The name of `owner` for the sender of this request. */
static const char *actor_of(const struct forge_job *job)
{
	return job ? "github-actions[bot]" : "octocat";
}

/* Adds the members of every API answer: id, times, author. The job that made it is kept apart, for requests to the forge itself. */
static void add_common(struct req *r, json_t *object, const struct forge_job *job)
{
	const char *actor = actor_of(job);
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

/* The repository and the permission; NULL: answered. */
static struct forge_repo *begin(struct req *r, const char *permission, const char *level, struct forge_job **ret_job)
{
	check_rest_headers(r);
	req_reply_header(r, "X-RateLimit-Limit: 5000");
	req_reply_header(r, "X-RateLimit-Remaining: 4999");
	req_reply_header(r, "X-RateLimit-Used: 1");
	req_reply_header(r, "X-RateLimit-Reset: %lld", (long long)(r->begun_ms / 1000 + 3600));
	req_reply_header(r, "X-RateLimit-Resource: core");
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

static void validation_failed(struct req *r, const char *resource, const char *field, const char *code)
{
	if (!req_is_probe(r))
		req_complain(r, "%s: '%s' is %s", resource, field, code);
	req_reply_json(r, 422,
	               json_pack("{s:s, s:[{s:s, s:s, s:s}], s:s}", "message", "Validation Failed", "errors",
	                         "resource", resource, "field", field, "code", code, "documentation_url",
	                         "https://docs.github.com/rest"));
}

/* The answer to a GET of a list, by per_page and page. */
static void reply_page(struct req *r, const json_t *list)
{
	long long size = 30, page = 1;
	if (req_query(r, "per_page"))
		str_parse_i64(req_query(r, "per_page"), 1, 100, &size);
	if (req_query(r, "page"))
		str_parse_i64(req_query(r, "page"), 1, 1000000, &page);
	size_t from = (size_t)((page - 1) * size), total = json_array_size(list);
	json_t *out = json_array();
	for (size_t i = from; i < total && i < from + (size_t)size; i++)
		json_array_append(out, json_array_get(list, i));
	if (from + (size_t)size < total)
		req_reply_header(r, "Link: <%s%s?per_page=%lld&page=%lld>; rel=\"next\"", r->f->base, r->path, size,
		                 page + 1);
	req_reply_json(r, 200, out);
}

static json_t *find_by_id(const json_t *list, const char *id_text)
{
	long long id = 0;
	size_t i;
	json_t *item;
	if (!str_parse_i64(id_text, 1, INT64_MAX, &id))
		return NULL;
	json_array_foreach(list, i, item) if (json_get_int(item, "id", 0) == id) return item;
	return NULL;
}

static void get_repo(struct req *r)
{
	struct forge_job *job = NULL;
	struct forge_repo *repo = begin(r, "Metadata", "read", &job);
	if (!repo)
		return;
	json_t *out = forge_repo_json(r->f, repo);
	const char *contents = job ? json_get_string(job->permissions, "Contents") : "write";
	json_object_set_new(out, "permissions",
	                    json_pack("{s:b, s:b, s:b}", "admin", job == NULL, "push",
	                              contents && strcmp(contents, "write") == 0, "pull", contents != NULL));
	req_reply_json(r, 200, out);
}

/* ---- comments ---- */

static json_t *read_comment(struct req *r, const char *resource)
{
	static const struct member members[] = {
		{"body", 'n', true}, {"path", 's', false}, {"position", 'i', false}, {"line", 'n', false}};
	json_t *body = req_json(r);
	if (!body)
		return NULL;
	const char *text = json_get_string(body, "body");
	if (!check_members(r, body, resource, members, ARRAY_SIZE(members)) || !text || !*text) {
		validation_failed(r, resource, "body", "missing");
	} else if (strlen(text) > 65536) {
		validation_failed(r, resource, "body", "too long (maximum is 65536 characters)");
	} else {
		return body;
	}
	json_decref(body);
	return NULL;
}

static void create_commit_comment(struct req *r)
{
	struct forge_job *job = NULL;
	struct forge_repo *repo = begin(r, "Contents", "read", &job);
	if (!repo)
		return;
	_cleanup_free_ char *sha = forge_repo_commit(repo, r->args[2]);
	if (!sha) {
		req_reply_error(r, 404, "No commit found for SHA: %s", r->args[2]);
		return;
	}
	json_t *comment = read_comment(r, "CommitComment");
	if (!comment)
		return;
	add_common(r, comment, job);
	long long id = json_get_int(comment, "id", 0);
	json_object_set_new(comment, "commit_id", json_string(sha));
	json_object_set_new(comment, "url",
	                    json_stringf("%s/api/v3/repos/%s/comments/%lld", r->f->base, repo->full_name, id));
	json_object_set_new(comment, "html_url",
	                    json_stringf("%s/%s/commit/%s#commitcomment-%lld", r->f->base, repo->full_name, sha, id));
	json_array_append_new(repo->comments, comment);
	forge_event(r->f, "comment on %.12s of %s", sha, repo->full_name);
	req_reply_header(r, "Location: %s", json_get_string(comment, "url"));
	req_reply_json(r, 201, json_incref(comment));
}

static void list_commit_comments(struct req *r)
{
	struct forge_repo *repo = begin(r, "Metadata", "read", NULL);
	_cleanup_free_ char *sha = repo ? forge_repo_commit(repo, r->args[2]) : NULL;
	if (!repo)
		return;
	_cleanup_json_ json_t *out = json_array();
	size_t i;
	json_t *comment;
	json_array_foreach(repo->comments, i, comment) if (sha && strcmp(json_get_string(comment, "commit_id"), sha) ==
	                                                                  0) json_array_append(out, comment);
	reply_page(r, out);
}

static void change_comment_in(struct req *r, struct forge_repo *repo, json_t *list, const char *id)
{
	json_t *comment = repo ? find_by_id(list, id) : NULL;
	if (!repo)
		return;
	if (!comment) {
		req_reply_error(r, 404, "Not Found");
	} else if (strcmp(r->method, "GET") == 0) {
		req_reply_json(r, 200, json_incref(comment));
	} else {
		_cleanup_json_ json_t *change = read_comment(r, "Comment");
		if (!change)
			return;
		char time[CLOCK_TEXT_SIZE];
		json_object_set(comment, "body", json_object_get(change, "body"));
		json_object_set_new(comment, "updated_at", json_string(clock_rfc3339(r->begun_ms, time)));
		req_reply_json(r, 200, json_incref(comment));
	}
}

static void one_commit_comment(struct req *r)
{
	struct forge_repo *repo = begin(r, strcmp(r->method, "GET") == 0 ? "Metadata" : "Contents",
	                                strcmp(r->method, "GET") == 0 ? "read" : "write", NULL);
	change_comment_in(r, repo, repo ? repo->comments : NULL, r->args[2]);
}

static void create_issue_comment(struct req *r)
{
	struct forge_job *job = NULL;
	struct forge_repo *repo = begin(r, "Issues", "write", &job);
	if (!repo)
		return;
	json_t *comment = read_comment(r, "IssueComment");
	if (!comment)
		return;
	add_common(r, comment, job);
	json_object_set_new(comment, "issue_url",
	                    json_stringf("%s/api/v3/repos/%s/issues/%s", r->f->base, repo->full_name, r->args[2]));
	json_array_append_new(repo->issue_comments, comment);
	req_reply_json(r, 201, json_incref(comment));
}

static void list_issue_comments(struct req *r)
{
	struct forge_repo *repo = begin(r, "Issues", "read", NULL);
	if (!repo)
		return;
	_cleanup_json_ json_t *out = json_array();
	_cleanup_free_ char *tail = xasprintf("/issues/%s", r->args[2]);
	size_t i;
	json_t *comment;
	json_array_foreach(repo->issue_comments, i, comment) if (str_ends(json_get_string(comment, "issue_url"), tail))
		json_array_append(out, comment);
	reply_page(r, out);
}

static void one_issue_comment(struct req *r)
{
	struct forge_repo *repo = begin(r, "Issues", strcmp(r->method, "GET") == 0 ? "read" : "write", NULL);
	change_comment_in(r, repo, repo ? repo->issue_comments : NULL, r->args[2]);
}

/* ---- deployments ---- */

static void create_deployment(struct req *r)
{
	static const struct member members[] = {{"ref", 'S', true},
	                                        {"task", 's', false},
	                                        {"auto_merge", 'b', false},
	                                        {"required_contexts", 'n', false},
	                                        {"payload", 'n', false},
	                                        {"environment", 's', false},
	                                        {"description", 'n', false},
	                                        {"transient_environment", 'b', false},
	                                        {"production_environment", 'b', false}};
	struct forge_job *job = NULL;
	struct forge_repo *repo = begin(r, "Deployments", "write", &job);
	if (!repo)
		return;
	_cleanup_json_ json_t *body = req_json(r);
	if (!body)
		return;
	if (!check_members(r, body, "a deployment", members, ARRAY_SIZE(members))) {
		validation_failed(r, "Deployment", "ref", "invalid");
		return;
	}
	_cleanup_free_ char *sha = forge_repo_commit(repo, json_get_string(body, "ref"));
	if (!sha) {
		req_reply_error(r, 422, "No ref found for: %s", json_get_string(body, "ref"));
		return;
	}
	json_t *d = json_deep_copy(body);
	json_object_del(d, "auto_merge");
	json_object_del(d, "required_contexts");
	add_common(r, d, job);
	json_object_set_new(d, "sha", json_string(sha));
	json_object_set_new(d, "url",
	                    json_stringf("%s/api/v3/repos/%s/deployments/%lld", r->f->base, repo->full_name,
	                                 (long long)json_get_int(d, "id", 0)));
	json_object_set_new(d, "statuses_url", json_stringf("%s/statuses", json_get_string(d, "url")));
	if (!json_object_get(d, "environment"))
		json_object_set_new(d, "environment", json_string("production"));
	if (!json_object_get(d, "task"))
		json_object_set_new(d, "task", json_string("deploy"));
	json_array_append_new(repo->deployments, d);
	req_reply_json(r, 201, json_incref(d));
}

static void list_deployments(struct req *r)
{
	struct forge_repo *repo = begin(r, "Deployments", "read", NULL);
	if (!repo)
		return;
	static const char *const filters[] = {"sha", "ref", "task", "environment"};
	_cleanup_json_ json_t *out = json_array();
	for (size_t i = json_array_size(repo->deployments); i-- > 0;) {
		json_t *d = json_array_get(repo->deployments, i);
		bool fits = true;
		for (size_t n = 0; n < ARRAY_SIZE(filters); n++) {
			const char *wanted = req_query(r, filters[n]), *have = json_get_string(d, filters[n]);
			fits &= !wanted || (have && strcmp(wanted, have) == 0);
		}
		if (fits)
			json_array_append(out, d);
	}
	reply_page(r, out);
}

static bool in_words(const char *text, const char *const *words, size_t count)
{
	for (size_t i = 0; text && i < count; i++)
		if (strcmp(text, words[i]) == 0)
			return true;
	return false;
}

static void create_deployment_status(struct req *r)
{
	static const struct member members[] = {{"state", 'S', true},         {"log_url", 's', false},
	                                        {"target_url", 's', false},   {"description", 's', false},
	                                        {"environment", 's', false},  {"environment_url", 's', false},
	                                        {"auto_inactive", 'b', false}};
	static const char *const states[] = {"error",  "failure", "inactive", "in_progress",
	                                     "queued", "pending", "success"};
	struct forge_job *job = NULL;
	struct forge_repo *repo = begin(r, "Deployments", "write", &job);
	json_t *deployment = repo ? find_by_id(repo->deployments, r->args[2]) : NULL;
	if (!repo)
		return;
	if (!deployment) {
		req_reply_error(r, 404, "Not Found");
		return;
	}
	_cleanup_json_ json_t *body = req_json(r);
	if (!body)
		return;
	const char *description = json_get_string(body, "description");
	if (!check_members(r, body, "a deployment status", members, ARRAY_SIZE(members)) ||
	    !in_words(json_get_string(body, "state"), states, ARRAY_SIZE(states))) {
		validation_failed(r, "DeploymentStatus", "state", "invalid");
		return;
	}
	if (description && strlen(description) > 140) {
		validation_failed(r, "DeploymentStatus", "description", "too long (maximum is 140 characters)");
		return;
	}
	json_t *status = json_deep_copy(body);
	add_common(r, status, job);
	json_object_set(status, "deployment_id", json_object_get(deployment, "id"));
	json_object_set(status, "deployment_url", json_object_get(deployment, "url"));
	if (!json_object_get(status, "environment"))
		json_object_set(status, "environment", json_object_get(deployment, "environment"));
	json_array_append_new(repo->deployment_statuses, status);
	req_reply_json(r, 201, json_incref(status));
}

static void list_deployment_statuses(struct req *r)
{
	struct forge_repo *repo = begin(r, "Deployments", "read", NULL);
	json_t *deployment = repo ? find_by_id(repo->deployments, r->args[2]) : NULL;
	if (!repo)
		return;
	if (!deployment) {
		req_reply_error(r, 404, "Not Found");
		return;
	}
	_cleanup_json_ json_t *out = json_array();
	for (size_t i = json_array_size(repo->deployment_statuses); i-- > 0;) {
		json_t *status = json_array_get(repo->deployment_statuses, i);
		if (json_equal(json_object_get(status, "deployment_id"), json_object_get(deployment, "id")))
			json_array_append(out, status);
	}
	reply_page(r, out);
}

/* ---- commit statuses, check runs ---- */

static void create_ref(struct req *r)
{
	struct forge_job *job = NULL;
	struct forge_repo *repo = begin(r, "Contents", "write", &job);
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

static void create_status(struct req *r)
{
	static const struct member members[] = {
		{"state", 'S', true}, {"target_url", 'n', false}, {"description", 'n', false}, {"context", 's', false}};
	static const char *const states[] = {"error", "failure", "pending", "success"};
	struct forge_job *job = NULL;
	struct forge_repo *repo = begin(r, "Statuses", "write", &job);
	_cleanup_json_ json_t *body = repo ? req_json(r) : NULL;
	if (!body)
		return;
	if (!check_members(r, body, "a status", members, ARRAY_SIZE(members)) ||
	    !in_words(json_get_string(body, "state"), states, ARRAY_SIZE(states))) {
		validation_failed(r, "Status", "state", "invalid");
		return;
	}
	_cleanup_free_ char *sha = forge_repo_commit(repo, r->args[2]);
	if (!sha) {
		req_reply_error(r, 422, "No commit found for SHA: %s", r->args[2]);
		return;
	}
	json_t *status = json_deep_copy(body);
	add_common(r, status, job);
	json_object_set_new(status, "sha", json_string(sha));
	if (!json_object_get(status, "context"))
		json_object_set_new(status, "context", json_string("default"));
	json_array_append_new(repo->statuses, status);
	req_reply_json(r, 201, json_incref(status));
}

static void check_run(struct req *r)
{
	static const char *const statuses[] = {"queued", "in_progress", "completed"};
	struct forge_job *job = NULL;
	struct forge_repo *repo = begin(r, "Checks", "write", &job);
	_cleanup_json_ json_t *body = repo ? req_json(r) : NULL;
	if (!body)
		return;
	bool creating = strcmp(r->method, "POST") == 0;
	json_t *kept = creating ? json_object() : find_by_id(repo->check_runs, r->args[2]);
	const char *status = json_get_string(body, "status");
	json_t *output = json_object_get(body, "output");
	if (!kept) {
		req_reply_error(r, 404, "Not Found");
		return;
	}
	const char *missing = creating && !json_get_string(body, "name")       ? "name"
	                      : creating && !json_get_string(body, "head_sha") ? "head_sha"
	                      : output && !json_get_string(output, "summary")  ? "output.summary"
	                      : status && !in_words(status, statuses, 3)       ? "status"
	                                                                       : NULL;
	if (missing) {
		validation_failed(r, "CheckRun", missing, "missing or invalid");
		if (creating)
			json_decref(kept);
		return;
	}
	json_object_update(kept, body);
	if (json_get_string(body, "conclusion"))
		json_object_set_new(kept, "status", json_string("completed"));
	if (creating) {
		add_common(r, kept, job);
		json_array_append_new(repo->check_runs, kept);
	}
	req_reply_json(r, creating ? 201 : 200, json_incref(kept));
}

/* ---- workflows and runs ---- */

static void dispatch(struct req *r)
{
	struct forge_job *job = NULL;
	struct forge_repo *repo = begin(r, "Actions", "write", &job);
	_cleanup_json_ json_t *body = repo ? req_json(r) : NULL;
	if (!body)
		return;
	static const struct member members[] = {
		{"ref", 'S', true}, {"inputs", 'o', false}, {"return_run_details", 'b', false}};
	if (!check_members(r, body, "a dispatch", members, ARRAY_SIZE(members))) {
		req_reply_error(r, 422, "Invalid request");
		return;
	}
	struct err err = ERR_INIT;
	struct forge_run *run = NULL;
	char line[512];
	int result = push_dispatch_workflow(r->f, repo, r->args[2], json_get_string(body, "ref"),
	                                    json_object_get(body, "inputs"), actor_of(job), &run, &err);
	if (result < 0)
		req_reply_error(r, result == ERR_NOT_FOUND ? 404 : 422, "%s", err_line(&err, line, sizeof(line)));
	else if (json_get_bool(body, "return_run_details", false))
		req_reply_json(r, 200,
		               json_pack("{s:I, s:o, s:o}", "workflow_run_id", (json_int_t)run->id, "run_url",
		                         json_stringf("%s/api/v3/repos/%s/actions/runs/%lld", r->f->base,
		                                      repo->full_name, (long long)run->id),
		                         "html_url",
		                         json_stringf("%s/%s/actions/runs/%lld", r->f->base, repo->full_name,
		                                      (long long)run->id)));
	else
		req_reply(r, 204);
}

static struct forge_run *need_run(struct req *r, const struct forge_repo *repo)
{
	long long id = 0;
	struct forge_run *run = str_parse_i64(r->args[2], 1, INT64_MAX, &id) ? forge_run_find(r->f, id) : NULL;
	if (!run || run->repo != repo) {
		req_reply_error(r, 404, "Not Found");
		return NULL;
	}
	return run;
}

static void cancel_run(struct req *r)
{
	struct forge_repo *repo = begin(r, "Actions", "write", NULL);
	struct forge_run *run = repo ? need_run(r, repo) : NULL;
	if (!run)
		return;
	if (run->conclusion) {
		req_reply_error(r, 409, "Cannot cancel a workflow run that is completed");
		return;
	}
	forge_run_cancel(r->f, run);
	req_reply_json(r, 202, json_object());
}

static json_t *rest_run(struct forge *f, const struct forge_run *run)
{
	json_t *out = forge_run_json(f, run, false);
	json_object_del(out, "jobs");
	json_object_set_new(out, "name", json_string(run->name));
	json_object_set_new(out, "head_sha", json_string(run->sha));
	json_object_set_new(out, "head_branch",
	                    json_string(strncmp(run->ref, "refs/heads/", 11) == 0 ? run->ref + 11 : run->ref));
	json_object_set_new(out, "run_number", json_integer(run->number));
	json_object_set_new(out, "run_attempt", json_integer(1));
	json_object_set_new(out, "html_url",
	                    json_stringf("%s/%s/actions/runs/%lld", f->base, run->repo->full_name, (long long)run->id));
	return out;
}

static void list_runs(struct req *r)
{
	struct forge_repo *repo = begin(r, "Actions", "read", NULL);
	if (!repo)
		return;
	const char *status = req_query(r, "status"), *sha = req_query(r, "head_sha"), *event = req_query(r, "event");
	json_t *list = json_array();
	for (size_t i = r->f->run_count; i-- > 0;) {
		const struct forge_run *run = r->f->runs[i];
		json_t *one = run->repo == repo ? rest_run(r->f, run) : NULL;
		const char *now = json_get_string(one, "status"), *conclusion = json_get_string(one, "conclusion");
		if (one && (!status || strcmp(status, now) == 0 || (conclusion && strcmp(status, conclusion) == 0)) &&
		    (!sha || strcmp(sha, run->sha) == 0) && (!event || strcmp(event, run->event) == 0))
			json_array_append(list, one);
		json_decref(one);
	}
	req_reply_json(r, 200,
	               json_pack("{s:i, s:o}", "total_count", (int)json_array_size(list), "workflow_runs", list));
}

static void get_run(struct req *r)
{
	struct forge_repo *repo = begin(r, "Actions", "read", NULL);
	struct forge_run *run = repo ? need_run(r, repo) : NULL;
	if (run)
		req_reply_json(r, 200, rest_run(r->f, run));
}

static void list_jobs(struct req *r)
{
	struct forge_repo *repo = begin(r, "Actions", "read", NULL);
	struct forge_run *run = repo ? need_run(r, repo) : NULL;
	if (!run)
		return;
	_cleanup_json_ json_t *whole = forge_run_json(r->f, run, false);
	json_t *jobs = json_object_get(whole, "jobs");
	req_reply_json(r, 200, json_pack("{s:i, s:O}", "total_count", (int)json_array_size(jobs), "jobs", jobs));
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
	{"GET", "repos/+/+", get_repo, 0},
	{"GET", "repos/+/+/tarball/*", git_tarball_handle, ROUTE_UNLOCKED},
	{"GET", "repos/+/+/zipball/*", git_tarball_handle, ROUTE_UNLOCKED},
	{"GET", "repos/+/+/tarball", git_tarball_handle, ROUTE_UNLOCKED},
	{"POST", "repos/+/+/commits/+/comments", create_commit_comment, 0},
	{"GET", "repos/+/+/commits/+/comments", list_commit_comments, 0},
	{"GET", "repos/+/+/comments/+", one_commit_comment, 0},
	{"PATCH", "repos/+/+/comments/+", one_commit_comment, 0},
	{"POST", "repos/+/+/issues/+/comments", create_issue_comment, 0},
	{"GET", "repos/+/+/issues/+/comments", list_issue_comments, 0},
	{"GET", "repos/+/+/issues/comments/+", one_issue_comment, 0},
	{"PATCH", "repos/+/+/issues/comments/+", one_issue_comment, 0},
	{"POST", "repos/+/+/deployments", create_deployment, 0},
	{"GET", "repos/+/+/deployments", list_deployments, 0},
	{"POST", "repos/+/+/deployments/+/statuses", create_deployment_status, 0},
	{"GET", "repos/+/+/deployments/+/statuses", list_deployment_statuses, 0},
	{"POST", "repos/+/+/statuses/+", create_status, 0},
	{"POST", "repos/+/+/git/refs", create_ref, 0},
	{"POST", "repos/+/+/check-runs", check_run, 0},
	{"PATCH", "repos/+/+/check-runs/+", check_run, 0},
	{"POST", "repos/+/+/actions/workflows/+/dispatches", dispatch, 0},
	{"POST", "repos/+/+/actions/runs/+/cancel", cancel_run, 0},
	{"GET", "repos/+/+/actions/runs", list_runs, 0},
	{"GET", "repos/+/+/actions/runs/+", get_run, 0},
	{"GET", "repos/+/+/actions/runs/+/jobs", list_jobs, 0},
	{0},
};
