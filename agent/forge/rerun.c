/* A run that is over runs again, whole or where it failed: a new attempt of the same run. Jobs of former attempts stay, for who asks for
 * their logs. */
#include "agent/forge/rest_priv.h"
#include "base/core/clock.h"

#include <string.h>

/* Jobs of a called workflow run again with the job that calls it. */
static struct forge_job *top_of(struct forge_job *job)
{
	while (job->call != NULL)
		job = job->call->caller;
	return job;
}

static bool failed(const struct forge_job *job)
{
	return strcmp(job->conclusion, "failure") == 0 || strcmp(job->conclusion, "cancelled") == 0;
}

static bool needs(const struct workflow_job *def, const struct workflow_job *other)
{
	return strv_has(&def->needs, other->id);
}

/* What depends on a job that runs again does too: its definitions, over and over until nothing is added. */
static void add_dependents(const struct workflow *w, const bool *first, bool *again)
{
	for (bool added = true; added;) {
		added = false;
		for (size_t i = 0; i < w->job_count; i++)
			for (size_t j = 0; j < w->job_count && !again[i]; j++)
				if ((first[j] || again[j]) && needs(&w->jobs[i], &w->jobs[j]))
					added = again[i] = true;
	}
}

static size_t index_of(const struct workflow *w, const struct workflow_job *def)
{
	return (size_t)(def - w->jobs);
}

/* Of a job that runs again by itself its own leg, of one that depends on it everything anew. */
static struct forge_job *new_attempt(struct forge *f, struct forge_job *old, bool whole)
{
	struct forge_job *job = forge_job_new(f, old->run, NULL, old->def);
	if (!whole) {
		job->matrix = json_incref(old->matrix);
		job->strategy = json_incref(old->strategy);
	}
	return job;
}

static void put_away(struct forge_run *run, struct forge_job *job)
{
	run->former = xgrow(run->former, &run->former_cap, run->former_count + 1, sizeof(struct forge_job *));
	run->former[run->former_count++] = job;
}

static void replace_jobs(struct forge *f, struct forge_run *run, const struct forge_job *only, bool all)
{
	const struct workflow *w = run->workflow;
	_cleanup_free_ bool *first = xcalloc(w->job_count + 1, sizeof(bool)),
			    *whole = xcalloc(w->job_count + 1, sizeof(bool)),
			    *made = xcalloc(w->job_count + 1, sizeof(bool));
	for (size_t i = 0; i < run->job_count; i++) {
		struct forge_job *job = run->jobs[i];
		if (job->call == NULL && (only != NULL ? job == only : all || failed(job)))
			first[index_of(w, job->def)] = true;
	}
	add_dependents(w, first, whole);
	for (size_t i = 0; all && i < w->job_count; i++)
		whole[i] = true;
	size_t kept = 0;
	for (size_t i = 0; i < run->job_count; i++) {
		struct forge_job *job = run->jobs[i], *top = top_of(job);
		size_t at = index_of(w, top->def);
		bool again = whole[at] || (first[at] && (only != NULL ? top == only : failed(top)));
		if (!again) {
			run->jobs[kept++] = job;
			continue;
		}
		put_away(run, job);
		if (job == top && !(whole[at] && made[at]))
			run->jobs[kept++] = new_attempt(f, job, whole[at]);
		made[at] |= job == top;
	}
	run->job_count = kept;
}

bool rerun_is_possible(const struct forge_run *run)
{
	return run->conclusion != NULL && run->workflow != NULL && run->job_count > 0;
}

void rerun_begin(struct forge *f, struct forge_run *run, struct forge_job *only, bool all)
{
	json_array_append_new(run->attempts, rest_run_json(f, run));
	run->attempt++;
	replace_jobs(f, run, only != NULL ? top_of(only) : NULL, all);
	run->conclusion = NULL;
	run->cancelled = run->started = run->in_progress = false;
	run->completed_ms = 0;
	run->started_ms = clock_wall_ms();
	forge_event(f, "run %lld of %s: attempt %d", (long long)run->id, run->repo->full_name, run->attempt);
	forge_run_advance(f, run);
}

/* ---- REST ---- */

static bool has_failed(const struct forge_run *run)
{
	for (size_t i = 0; i < run->job_count; i++)
		if (failed(run->jobs[i]))
			return true;
	return false;
}

static void begin_again(struct req *r, struct forge_run *run, struct forge_job *only, bool all)
{
	if (!rerun_is_possible(run)) {
		req_reply_error(r, 403, "%s",
		                run->conclusion == NULL
		                        ? "This workflow is already running"
		                        : "Unable to retry this workflow run because it was created with faults");
		return;
	}
	if (only == NULL && !all && !has_failed(run)) {
		req_reply_error(r, 403, "The workflow run has no failed jobs");
		return;
	}
	rerun_begin(r->f, run, only, all);
	req_reply_json(r, 201, json_object());
}

void rest_rerun(struct req *r)
{
	struct forge_repo *repo = rest_begin(r, "Actions", "write", NULL);
	struct forge_run *run = repo ? rest_need_run(r, repo) : NULL;
	if (run)
		begin_again(r, run, NULL, str_ends(r->path, "/rerun"));
}

void rest_rerun_job(struct req *r)
{
	struct forge_repo *repo = rest_begin(r, "Actions", "write", NULL);
	struct forge_job *job = repo ? rest_need_job(r, repo) : NULL;
	if (!job)
		return;
	for (size_t i = 0; i < job->run->job_count; i++)
		if (job->run->jobs[i] == job) {
			begin_again(r, job->run, job, false);
			return;
		}
	req_reply_error(r, 403, "This job is of a former attempt");
}
