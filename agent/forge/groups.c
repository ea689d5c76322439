/* groups: `concurrency` of runs and jobs: one of a group runs, one waits. */
#include "agent/forge/forge_priv.h"

#include <string.h>
#include <strings.h>

static bool job_is_active(const struct forge_job *job)
{
	return job->state >= JOB_QUEUED && job->state < JOB_COMPLETED;
}

static bool same_group(const char *a, const char *b)
{
	return a && b && strcasecmp(a, b) == 0;
}

/* cancel-in-progress, which may be an expression; one that fails cancels nothing. */
static bool wants_cancel(struct forge *f, const struct forge_run *run, const struct forge_job *job, const json_t *token)
{
	_cleanup_json_ json_t *value = NULL;
	if (token == NULL || eval_template(f, run, job, token, &value, NULL) < 0)
		return false;
	return json_is_true(value) || (json_is_string(value) && strcasecmp(json_string_value(value), "true") == 0);
}

bool forge_run_may_start(struct forge *f, struct forge_run *run)
{
	bool free_now = true;
	for (size_t i = 0; run->group && i < f->run_count; i++) {
		struct forge_run *other = f->runs[i];
		if (other == run || other->conclusion || other->repo != run->repo ||
		    !same_group(other->group, run->group))
			continue;
		if (!other->started && other->id < run->id)
			forge_run_cancel(f, other); /* only the newest waits */
		else if (other->started) {
			free_now = false;
			if (!other->cancelled && wants_cancel(f, run, NULL, run->workflow->concurrency_cancel))
				forge_run_cancel(f, other);
		}
	}
	return free_now;
}

/* A group of a job that holds the workflow which the job belongs to: both would wait for ever. */
static bool holds_itself(struct forge *f, struct forge_job *job, const struct forge_job *other)
{
	for (const struct forge_call *call = job->call; call != NULL; call = call->caller->call)
		if (call->caller == other) {
			forge_annotate(job->annotations, "failure",
			               "Canceling since a deadlock for concurrency group '%.100s' was detected "
			               "between '%.100s' and '%.100s'",
			               job->group, other->name, job->name);
			forge_job_end_early(f, job, "cancelled");
			return true;
		}
	return false;
}

bool forge_job_may_start(struct forge *f, struct forge_job *job)
{
	bool free_now = true;
	for (size_t i = 0; job->group && i < f->run_count; i++)
		for (size_t j = 0; f->runs[i]->repo == job->run->repo && j < f->runs[i]->job_count; j++) {
			struct forge_job *other = f->runs[i]->jobs[j];
			if (other == job || other->state == JOB_COMPLETED || !same_group(other->group, job->group))
				continue;
			if (job_is_active(other)) {
				free_now = false;
				if (holds_itself(f, job, other))
					return false;
				if (!other->cancelled && wants_cancel(f, job->run, job, job->def->concurrency_cancel))
					forge_run_cancel(f, other->run);
			} else if (other->id < job->id) {
				forge_job_end_early(f, other, "cancelled");
			}
		}
	return free_now;
}
