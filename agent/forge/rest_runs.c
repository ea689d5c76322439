/* Workflow runs: dispatched, listed, cancelled; their logs as an archive. */
#include "agent/forge/rest_priv.h"
#include "agent/forge/services_priv.h"
#include "base/core/clock.h"

#include <string.h>

void rest_dispatch(struct req *r)
{
	struct forge_job *job = NULL;
	struct forge_repo *repo = rest_begin(r, "Actions", "write", &job);
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
	_cleanup_free_ char *path = rest_workflow_path(r, repo, r->args[2]);
	int result = path == NULL
	                     ? err_set(&err, ERR_NOT_FOUND, "Not Found")
	                     : push_dispatch_workflow(r->f, repo, strrchr(path, '/') + 1, json_get_string(body, "ref"),
	                                              json_object_get(body, "inputs"), rest_actor_of(job), &run, &err);
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

struct forge_run *rest_need_run(struct req *r, const struct forge_repo *repo)
{
	long long id = 0;
	struct forge_run *run = str_parse_i64(r->args[2], 1, INT64_MAX, &id) ? forge_run_find(r->f, id) : NULL;
	if (!run || run->repo != repo) {
		req_reply_error(r, 404, "Not Found");
		return NULL;
	}
	return run;
}

void rest_cancel_run(struct req *r)
{
	struct forge_repo *repo = rest_begin(r, "Actions", "write", NULL);
	struct forge_run *run = repo ? rest_need_run(r, repo) : NULL;
	if (!run)
		return;
	if (run->conclusion) {
		req_reply_error(r, 409, "Cannot cancel a workflow run that is completed");
		return;
	}
	forge_run_cancel(r->f, run);
	req_reply_json(r, 202, json_object());
}

/* ---- a run as REST shows it ---- */

json_t *rest_branch_of(const struct forge_run *run)
{
	const json_t *head = json_get_object(json_get_object(run->payload, "pull_request"), "head");
	const char *branch = json_get_string(head, "ref"), *ref = run->ref;
	static const char *const fronts[] = {"refs/heads/", "refs/tags/"};
	for (size_t i = 0; i < ARRAY_SIZE(fronts); i++)
		ref = str_starts(ref, fronts[i]) ? ref + strlen(fronts[i]) : ref;
	return json_string(branch != NULL ? branch : ref);
}

static void add_urls(struct forge *f, const struct forge_run *run, json_t *out)
{
	static const char *const below[] = {"jobs", "logs", "artifacts", "cancel", "rerun"};
	_cleanup_free_ char *url =
		xasprintf("%s/api/v3/repos/%s/actions/runs/%lld", f->base, run->repo->full_name, (long long)run->id);
	json_object_set_new(out, "url", json_string(url));
	for (size_t i = 0; i < ARRAY_SIZE(below); i++) {
		_cleanup_free_ char *name = xasprintf("%s_url", below[i]);
		json_object_set_new(out, name, json_stringf("%s/%s", url, below[i]));
	}
	json_object_set_new(out, "html_url",
	                    json_stringf("%s/%s/actions/runs/%lld", f->base, run->repo->full_name, (long long)run->id));
	json_object_set_new(out, "workflow_url",
	                    json_stringf("%s/api/v3/repos/%s/actions/workflows/%lld", f->base, run->repo->full_name,
	                                 (long long)rest_workflow_id(f, run->repo, run->path)));
}

static json_t *head_commit_of(const struct forge_run *run)
{
	const json_t *commit = json_object_get(run->payload, "head_commit");
	const char *message = json_get_string(commit, "message");
	json_t *author = json_object_get(commit, "author");
	return json_pack("{s:s, s:s, s:o}", "id", run->sha, "message", message != NULL ? message : run->title, "author",
	                 author != NULL ? json_incref(author) : json_null());
}

json_t *rest_run_json(struct forge *f, const struct forge_run *run)
{
	json_t *out = forge_run_json(f, run, false);
	const char *actor = run->actor ? run->actor : "octocat";
	json_object_del(out, "jobs");
	json_object_set_new(out, "node_id", json_stringf("R_%lld", (long long)run->id));
	json_object_set_new(out, "name", json_string(run->name));
	json_object_set_new(out, "display_title", json_incref(json_object_get(out, "title")));
	json_object_set_new(out, "head_sha", json_string(run->sha));
	json_object_set_new(out, "head_branch", rest_branch_of(run));
	json_object_set_new(out, "head_commit", head_commit_of(run));
	json_object_set_new(out, "run_number", json_integer(run->number));
	json_object_set_new(out, "run_attempt", json_integer(run->attempt));
	json_object_set_new(out, "workflow_id", json_integer(rest_workflow_id(f, run->repo, run->path)));
	json_object_set_new(out, "updated_at",
	                    json_incref(json_object_get(out, run->completed_ms ? "completed_at" : "run_started_at")));
	json_object_set_new(out, "repository", forge_repo_json(f, run->repo));
	json_object_set_new(out, "head_repository", json_incref(json_object_get(out, "repository")));
	json_object_set_new(out, "actor", json_pack("{s:s, s:i, s:s}", "login", actor, "id", 1, "type", "User"));
	json_object_set_new(out, "triggering_actor", json_incref(json_object_get(out, "actor")));
	json_object_set_new(out, "pull_requests", json_array());
	add_urls(f, run, out);
	return out;
}

/* ---- lists ---- */

static bool has(struct req *r, const char *query, const char *value)
{
	const char *wanted = req_query(r, query);
	return !wanted || !*wanted || (value && strcmp(wanted, value) == 0);
}

static bool is_wanted(struct req *r, const json_t *run)
{
	return (has(r, "status", json_get_string(run, "status")) ||
	        has(r, "status", json_get_string(run, "conclusion"))) &&
	       has(r, "head_sha", json_get_string(run, "head_sha")) && has(r, "event", json_get_string(run, "event")) &&
	       has(r, "branch", json_get_string(run, "head_branch")) &&
	       has(r, "actor", json_get_string(json_object_get(run, "actor"), "login"));
}

/* path NULL: of all workflows. The newest first. */
static void list_runs(struct req *r, const struct forge_repo *repo, const char *path)
{
	_cleanup_json_ json_t *list = json_array();
	for (size_t i = r->f->run_count; i-- > 0;) {
		const struct forge_run *run = r->f->runs[i];
		if (run->repo != repo || (path != NULL && strcmp(run->path, path) != 0))
			continue;
		_cleanup_json_ json_t *one = rest_run_json(r->f, run);
		if (is_wanted(r, one))
			json_array_append(list, one);
	}
	req_reply_json(r, 200,
	               json_pack("{s:i, s:o}", "total_count", (int)json_array_size(list), "workflow_runs",
	                         rest_page(r, list)));
}

void rest_list_runs(struct req *r)
{
	struct forge_repo *repo = rest_begin(r, "Actions", "read", NULL);
	if (repo)
		list_runs(r, repo, NULL);
}

void rest_list_workflow_runs(struct req *r)
{
	struct forge_repo *repo = rest_begin(r, "Actions", "read", NULL);
	_cleanup_free_ char *path = repo ? rest_workflow_path(r, repo, r->args[2]) : NULL;
	if (path)
		list_runs(r, repo, path);
	else if (repo)
		req_reply_error(r, 404, "Not Found");
}

void rest_get_run(struct req *r)
{
	struct forge_repo *repo = rest_begin(r, "Actions", "read", NULL);
	struct forge_run *run = repo ? rest_need_run(r, repo) : NULL;
	if (run)
		req_reply_json(r, 200, rest_run_json(r->f, run));
}

void rest_get_attempt(struct req *r)
{
	struct forge_repo *repo = rest_begin(r, "Actions", "read", NULL);
	struct forge_run *run = repo ? rest_need_run(r, repo) : NULL;
	long long attempt = 0;
	if (!run)
		return;
	str_parse_i64(r->args[3], 1, run->attempt, &attempt);
	if (attempt == run->attempt)
		req_reply_json(r, 200, rest_run_json(r->f, run));
	else if (attempt > 0)
		req_reply_json(r, 200, json_incref(json_array_get(run->attempts, (size_t)attempt - 1)));
	else
		req_reply_error(r, 404, "Not Found");
}

/* ---- logs ---- */

/* Packing takes time: without the lock. Logs of a run that is over do not change. */
static void log_archive(struct req *r, struct forge_run *run)
{
	if (run->conclusion == NULL) {
		req_reply_error(r, 404, "Not Found");
		return;
	}
	struct storage_blob *b = storage_new(r->f);
	_cleanup_(log_entries_done) struct log_entries entries = {0};
	log_archive_entries(r->f, run, &entries);
	storage_hold(b);
	pthread_mutex_unlock(&r->f->lock);
	bool good = log_archive_write(&entries, b);
	pthread_mutex_lock(&r->f->lock);
	storage_release(b);
	_cleanup_free_ char *url = good ? storage_address(r->f, b, false) : NULL;
	if (run->log_archive != NULL)
		storage_remove(run->log_archive);
	run->log_archive = b;
	if (!good) {
		req_reply_error(r, 500, "The logs cannot be packed");
		return;
	}
	req_reply_header(r, "Location: %s", url);
	req_reply(r, 302);
}

void rest_run_logs(struct req *r)
{
	pthread_mutex_lock(&r->f->lock);
	struct forge_repo *repo = rest_begin(r, "Actions", "read", NULL);
	struct forge_run *run = repo ? rest_need_run(r, repo) : NULL;
	if (run)
		log_archive(r, run);
	pthread_mutex_unlock(&r->f->lock);
}
