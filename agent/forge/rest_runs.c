/* Workflow runs: dispatched, listed, cancelled. */
#include "agent/forge/rest_priv.h"
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
	int result = push_dispatch_workflow(r->f, repo, r->args[2], json_get_string(body, "ref"),
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

void rest_cancel_run(struct req *r)
{
	struct forge_repo *repo = rest_begin(r, "Actions", "write", NULL);
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

void rest_list_runs(struct req *r)
{
	struct forge_repo *repo = rest_begin(r, "Actions", "read", NULL);
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

void rest_get_run(struct req *r)
{
	struct forge_repo *repo = rest_begin(r, "Actions", "read", NULL);
	struct forge_run *run = repo ? need_run(r, repo) : NULL;
	if (run)
		req_reply_json(r, 200, rest_run(r->f, run));
}

void rest_list_jobs(struct req *r)
{
	struct forge_repo *repo = rest_begin(r, "Actions", "read", NULL);
	struct forge_run *run = repo ? need_run(r, repo) : NULL;
	if (!run)
		return;
	_cleanup_json_ json_t *whole = forge_run_json(r->f, run, false);
	json_t *jobs = json_object_get(whole, "jobs");
	req_reply_json(r, 200, json_pack("{s:i, s:O}", "total_count", (int)json_array_size(jobs), "jobs", jobs));
}
