/* Jobs of runs, as GitHub's REST calls show them, and their logs. */
#include "agent/forge/rest_priv.h"
#include "agent/forge/services_priv.h"

#include <string.h>

struct forge_job *rest_need_job(struct req *r, const struct forge_repo *repo)
{
	long long id = 0;
	str_parse_i64(r->args[2], 1, INT64_MAX, &id);
	for (size_t i = 0; i < r->f->run_count; i++) {
		struct forge_run *run = r->f->runs[i];
		for (size_t j = 0; run->repo == repo && j < run->job_count; j++)
			if (run->jobs[j]->id == id)
				return run->jobs[j];
		for (size_t j = 0; run->repo == repo && j < run->former_count; j++)
			if (run->former[j]->id == id)
				return run->former[j];
	}
	req_reply_error(r, 404, "Not Found");
	return NULL;
}

/* What nobody was told a conclusion of has one of null. */
static json_t *steps_of(const json_t *shown)
{
	static const char *const members[] = {"name", "status", "conclusion", "number", "started_at", "completed_at"};
	json_t *out = json_array(), *step;
	size_t i;
	json_array_foreach(json_object_get(shown, "steps"), i, step)
	{
		json_t *one = json_object();
		for (size_t m = 0; m < ARRAY_SIZE(members); m++) {
			json_t *value = json_object_get(step, members[m]);
			json_object_set(one, members[m], value != NULL ? value : json_null());
		}
		json_array_append_new(out, one);
	}
	return out;
}

json_t *rest_job_json(struct forge *f, const struct forge_job *job)
{
	const struct forge_run *run = job->run;
	json_t *out = forge_job_json(f, job, false);
	long long id = (long long)job->id;
	if (job->acquired_ms == 0) /* people's programs reckon with a time */
		json_object_set_new(
			out, "started_at",
			json_incref(json_object_get(out, job->completed_ms ? "completed_at" : "created_at")));
	json_object_set_new(out, "steps", steps_of(out));
	json_object_set_new(out, "node_id", json_stringf("J_%lld", id));
	json_object_set_new(out, "run_id", json_integer(run->id));
	json_object_set_new(out, "run_attempt", json_integer(job->attempt));
	json_object_set_new(out, "workflow_name", json_string(run->name));
	json_object_set_new(out, "head_sha", json_string(run->sha));
	json_object_set_new(out, "head_branch", rest_branch_of(run));
	json_object_set_new(out, "runner_name", job->runner ? json_string(job->runner->name) : json_null());
	json_object_set_new(out, "run_url",
	                    json_stringf("%s/api/v3/repos/%s/actions/runs/%lld", f->base, run->repo->full_name,
	                                 (long long)run->id));
	json_object_set_new(out, "url",
	                    json_stringf("%s/api/v3/repos/%s/actions/jobs/%lld", f->base, run->repo->full_name, id));
	json_object_set_new(out, "check_run_url",
	                    json_stringf("%s/api/v3/repos/%s/check-runs/%lld", f->base, run->repo->full_name, id));
	json_object_set_new(out, "html_url",
	                    json_stringf("%s/%s/actions/runs/%lld/job/%lld", f->base, run->repo->full_name,
	                                 (long long)run->id, id));
	return out;
}

void rest_list_jobs(struct req *r)
{
	struct forge_repo *repo = rest_begin(r, "Actions", "read", NULL);
	struct forge_run *run = repo ? rest_need_run(r, repo) : NULL;
	const char *filter = req_query(r, "filter");
	_cleanup_json_ json_t *jobs = json_array();
	if (!run)
		return;
	for (size_t i = 0; filter && strcmp(filter, "all") == 0 && i < run->former_count; i++)
		json_array_append_new(jobs, rest_job_json(r->f, run->former[i]));
	for (size_t i = 0; i < run->job_count; i++)
		json_array_append_new(jobs, rest_job_json(r->f, run->jobs[i]));
	req_reply_json(r, 200,
	               json_pack("{s:i, s:o}", "total_count", (int)json_array_size(jobs), "jobs", rest_page(r, jobs)));
}

/* In that attempt another job ran in its place. */
static bool is_replaced(const struct forge_job *job, struct forge_job *const *jobs, size_t count, int attempt)
{
	for (size_t i = 0; i < count; i++)
		if (jobs[i]->attempt > job->attempt && jobs[i]->attempt <= attempt &&
		    strcmp(jobs[i]->name, job->name) == 0)
			return true;
	return false;
}

static void add_jobs_of(struct req *r, const struct forge_run *run, struct forge_job *const *jobs, size_t count,
                        int attempt, json_t *out)
{
	for (size_t i = 0; i < count; i++)
		if (jobs[i]->attempt <= attempt && !is_replaced(jobs[i], run->former, run->former_count, attempt) &&
		    !is_replaced(jobs[i], run->jobs, run->job_count, attempt))
			json_array_append_new(out, rest_job_json(r->f, jobs[i]));
}

void rest_list_attempt_jobs(struct req *r)
{
	struct forge_repo *repo = rest_begin(r, "Actions", "read", NULL);
	struct forge_run *run = repo ? rest_need_run(r, repo) : NULL;
	long long attempt = 0;
	if (!run)
		return;
	if (!str_parse_i64(r->args[3], 1, run->attempt, &attempt)) {
		req_reply_error(r, 404, "Not Found");
		return;
	}
	_cleanup_json_ json_t *jobs = json_array();
	add_jobs_of(r, run, run->former, run->former_count, (int)attempt, jobs);
	add_jobs_of(r, run, run->jobs, run->job_count, (int)attempt, jobs);
	req_reply_json(r, 200,
	               json_pack("{s:i, s:o}", "total_count", (int)json_array_size(jobs), "jobs", rest_page(r, jobs)));
}

void rest_get_job(struct req *r)
{
	struct forge_repo *repo = rest_begin(r, "Actions", "read", NULL);
	struct forge_job *job = repo ? rest_need_job(r, repo) : NULL;
	if (job)
		req_reply_json(r, 200, rest_job_json(r->f, job));
}

void rest_job_log(struct req *r)
{
	struct forge_repo *repo = rest_begin(r, "Actions", "read", NULL);
	struct forge_job *job = repo ? rest_need_job(r, repo) : NULL;
	const struct forge_blob *log = job ? forge_blob_find(r->f, job, BLOB_JOB_LOG, "") : NULL;
	if (!job)
		return;
	if (!log || !log->registered)
		req_reply_error(r, 404, "Not Found");
	else
		storage_send(r, storage_view(log->fd, (int64_t)log->len, "text/plain; charset=utf-8"));
}

static json_t *annotation_json(const json_t *a)
{
	const char *path = json_get_string(a, "path"), *title = json_get_string(a, "title");
	json_int_t line = json_get_int(a, "startLine", 1);
	return json_pack("{s:s, s:I, s:I, s:s, s:s, s:s?, s:s}", "path", path ? path : ".github", "start_line", line,
	                 "end_line", (json_int_t)json_get_int(a, "endLine", line), "annotation_level",
	                 json_get_string(a, "level"), "message", json_get_string(a, "message"), "title", title,
	                 "raw_details", "");
}

json_t *rest_job_annotations(const struct forge_job *job)
{
	json_t *out = json_array(), *annotation, *step;
	const char *id;
	size_t i;
	json_array_foreach(job->annotations, i, annotation) json_array_append_new(out, annotation_json(annotation));
	json_object_foreach(job->steps, id, step)
		json_array_foreach(json_object_get(step, "annotations"), i, annotation)
			json_array_append_new(out, annotation_json(annotation));
	return out;
}
