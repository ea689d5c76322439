/* Shows what arrived, as JSON: GET /runs. It uses REST's words: queued, in_progress, completed; success, failure, cancelled,
 * skipped. */
#include "agent/forge/forge_priv.h"
#include "base/core/clock.h"
#include "base/sys/fs.h"

#include <fcntl.h>
#include <string.h>

static json_t *time_json(int64_t ms)
{
	char time[CLOCK_TEXT_SIZE];
	return ms ? json_string(clock_rfc3339(ms, time)) : json_null();
}

static const char *job_status(const struct forge_job *job)
{
	switch (job->state) {
	case JOB_RUNNING:
	case JOB_CALLED:
		return "in_progress";
	case JOB_COMPLETED:
		return "completed";
	case JOB_WAITING:
		return "waiting";
	default:
		return "queued";
	}
}

/* A blob as text, without the byte order marks that begin its blocks. */
static json_t *blob_text(const struct forge_blob *b)
{
	if (!b || b->type == BLOB_NONE)
		return json_null();
	_cleanup_(str_done) struct str text = STR_INIT(FORGE_LOG_MAX), raw = STR_INIT(FORGE_LOG_MAX);
	forge_blob_read(b, &raw);
	const char *data = str_peek(&raw);
	for (size_t i = 0; i < raw.len; i++) {
		if (i + 2 < raw.len && memcmp(data + i, "\xef\xbb\xbf", 3) == 0)
			i += 2;
		else
			str_append_c(&text, data[i]);
	}
	return json_string_lossy(str_peek(&text), text.len);
}

static int by_number(const void *a, const void *b)
{
	int64_t x = json_get_int(*(json_t *const *)a, "number", 0), y = json_get_int(*(json_t *const *)b, "number", 0);
	return x < y ? -1 : x > y;
}

static json_t *steps_json(struct forge *f, const struct forge_job *job, bool logs)
{
	size_t count = 0, total = json_object_size(job->steps);
	json_t **list = xcalloc(total + 1, sizeof(json_t *));
	const char *id;
	json_t *step;
	json_object_foreach(job->steps, id, step)
	{
		json_t *copy = json_deep_copy(step);
		json_object_set_new(copy, "id", json_string(id));
		if (!json_object_get(copy, "annotations"))
			json_object_set_new(copy, "annotations", json_array());
		if (logs) {
			json_object_set_new(copy, "log", blob_text(forge_blob_find(f, job, BLOB_STEP_LOG, id)));
			json_object_set(copy, "live", json_object_get(job->live, id));
			json_object_set_new(copy, "summary", blob_text(forge_blob_find(f, job, BLOB_SUMMARY, id)));
		}
		list[count++] = copy;
	}
	qsort(list, count, sizeof(json_t *), by_number);
	json_t *out = json_array();
	for (size_t i = 0; i < count; i++)
		json_array_append_new(out, list[i]);
	free(list);
	return out;
}

/* Summaries of steps inside composite actions, whose numbers nobody was told. */
static json_t *inner_summaries(struct forge *f, const struct forge_job *job)
{
	json_t *out = json_array();
	for (size_t i = 0; i < f->blob_count; i++)
		if (f->blobs[i]->job == job && f->blobs[i]->kind == BLOB_SUMMARY &&
		    json_object_get(job->steps, f->blobs[i]->step_id) == NULL)
			json_array_append_new(out, blob_text(f->blobs[i]));
	return out;
}

json_t *forge_job_json(struct forge *f, const struct forge_job *job, bool logs)
{
	json_t *labels = json_array();
	for (size_t i = 0; i < job->labels.count; i++)
		json_array_append_new(labels, json_string(job->labels.items[i]));
	json_t *out = json_pack(
		"{s:I, s:s, s:s, s:s, s:s, s:s?, s:s?, s:s?, s:I, s:o, s:s?, s:s?, s:O, s:O, s:O, s:b, s:o, s:o, s:o}",
		"id", (json_int_t)job->id, "key", job->def->id, "name", job->name, "job_id", job->job_id, "status",
		job_status(job), "conclusion", job->conclusion, "raw_conclusion", job->raw_conclusion, "runner",
		job->runner ? job->runner->name : NULL, "runner_id", (json_int_t)(job->runner ? job->runner->id : 0),
		"labels", labels, "environment", job->environment, "environment_url", job->environment_url,
		"annotations", job->annotations, "outputs", job->outputs, "permissions", job->permissions, "lost",
		job->lost, "created_at", time_json(job->queued_ms), "started_at", time_json(job->acquired_ms),
		"completed_at", time_json(job->completed_ms));
	if (job->def->uses != NULL)
		json_object_set_new(out, "uses", json_string(job->def->uses));
	if (job->call != NULL)
		json_object_set_new(out, "caller_id", json_string(job->call->caller->job_id));
	json_object_set_new(out, "steps", steps_json(f, job, logs));
	if (logs) {
		json_object_set_new(out, "log", blob_text(forge_blob_find(f, job, BLOB_JOB_LOG, "")));
		json_object_set_new(out, "inner_summaries", inner_summaries(f, job));
	}
	if (job->matrix)
		json_object_set(out, "matrix", job->matrix);
	if (job->telemetry)
		json_object_set(out, "telemetry", job->telemetry);
	return out;
}

json_t *forge_run_json(struct forge *f, const struct forge_run *run, bool logs)
{
	const char *status = run->conclusion ? "completed" : "queued";
	bool reviews = false, works = false;
	json_t *jobs = json_array();
	for (size_t i = 0; i < run->job_count; i++) {
		json_array_append_new(jobs, forge_job_json(f, run->jobs[i], logs));
		reviews |= !run->conclusion && run->jobs[i]->state == JOB_WAITING && run->jobs[i]->in_review;
		works |= run->jobs[i]->state == JOB_QUEUED || run->jobs[i]->state == JOB_GIVEN ||
		         run->jobs[i]->state == JOB_RUNNING;
		if (!run->conclusion && run->jobs[i]->state >= JOB_RUNNING)
			status = "in_progress";
	}
	if (reviews && !works)
		status = "waiting";
	return json_pack("{s:I, s:I, s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:s, s:s?, s:s, s:O, s:o, s:o, s:o, s:o}",
	                 "id", (json_int_t)run->id, "number", (json_int_t)run->number, "attempt", run->attempt,
	                 "plan_id", run->plan_id, "repository", run->repo->full_name, "sha", run->sha, "ref", run->ref,
	                 "event", run->event, "workflow", run->name, "title",
	                 json_string_lossy(run->title, strlen(run->title)), "status", status, "conclusion",
	                 run->conclusion, "path", run->path, "annotations", run->annotations, "created_at",
	                 time_json(run->created_ms), "run_started_at", time_json(run->started_ms), "completed_at",
	                 time_json(run->completed_ms), "jobs", jobs);
}

void forge_run_save(struct forge *f, const struct forge_run *run)
{
	if (!f->config.state_dir)
		return;
	_cleanup_json_ json_t *value = forge_run_json(f, run, true);
	_cleanup_free_ char *text = json_pretty(value);
	_cleanup_free_ char *path = xasprintf("%s/run-%lld.json", f->config.state_dir, (long long)run->id);
	struct err err = ERR_INIT;
	char line[512];
	if (fs_write_replace(AT_FDCWD, path, text, strlen(text), 0644, &err) < 0)
		forge_complain(f, "forge", err_line(&err, line, sizeof(line)));
}
