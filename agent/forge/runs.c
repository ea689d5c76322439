/* Runs and their jobs: from a workflow to queued jobs, and to the end. */
#include "agent/forge/services_priv.h"
#include "base/core/clock.h"
#include "base/core/rand.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { REDELIVER_MS = 10 * 1000, GIVEN_LOST_MS = 60 * 1000 };

int64_t forge_id(struct forge *f)
{
	return ++f->next_id;
}

struct forge_run *forge_run_find(struct forge *f, int64_t id)
{
	for (size_t i = 0; i < f->run_count; i++)
		if (f->runs[i]->id == id)
			return f->runs[i];
	return NULL;
}

void forge_annotate(json_t *list, const char *level, const char *fmt, ...)
{
	char text[1024];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	json_array_append_new(
		list, json_pack("{s:s, s:o}", "level", level, "message", json_string_lossy(text, strlen(text))));
}

static void only_read(struct forge_job *job)
{
	const char *name;
	json_t *level;
	json_object_foreach(job->permissions, name, level) if (strcmp(json_string_value(level), "write") == 0)
		json_string_set(level, "read");
}

void forge_run_only_reads(struct forge_run *run)
{
	run->from_fork = true;
	for (size_t i = 0; i < run->job_count; i++)
		only_read(run->jobs[i]);
}

struct forge_job *forge_job_new(struct forge *f, struct forge_run *run, struct forge_call *call,
                                const struct workflow_job *def)
{
	struct forge_job *job = xcalloc(1, sizeof(*job));
	job->run = run;
	job->call = call;
	job->def = def;
	job->id = forge_id(f);
	job->attempt = run->attempt;
	job->name = forge_call_name(call, def->id);
	job->state = JOB_WAITING;
	job->steps = json_object();
	job->live = json_object();
	job->held = json_object();
	job->annotations = json_array();
	job->outputs = json_object();
	job->permissions = forge_call_permissions(job);
	if (run->from_fork) /* a leg, or one of a later attempt: the run is known by now */
		only_read(job);
	job->queued_ms = clock_wall_ms();
	rand_uuid4(job->job_id);
	rand_uuid4(job->request_id);
	return job;
}

struct forge_run *forge_run_new(struct forge *f, struct forge_repo *repo, struct workflow *workflow, const char *path,
                                const char *event, const char *ref, const char *sha, json_t *payload)
{
	struct forge_run *run = xcalloc(1, sizeof(*run));
	run->id = forge_id(f);
	run->number = ++repo->run_number;
	run->attempt = 1;
	run->attempts = json_array();
	run->reviews = json_array();
	rand_uuid4(run->plan_id);
	run->repo = repo;
	run->workflow = workflow;
	run->path = xstrdup(path);
	run->name = xstrdup(workflow ? workflow->name : path);
	run->event = xstrdup(event);
	run->ref = xstrdup(ref);
	run->sha = xstrdup(sha);
	run->payload = payload;
	run->created_ms = run->started_ms = clock_wall_ms();
	run->annotations = json_array();
	const char *message = json_get_string(json_object_get(payload, "head_commit"), "message");
	run->title = message ? xstrndup(message, strcspn(message, "\n")) : xstrdup(run->name);
	for (size_t i = 0; workflow && i < workflow->job_count; i++) {
		if (!run->jobs)
			run->jobs = xcalloc(workflow->job_count, sizeof(struct forge_job *));
		run->jobs[run->job_count++] = forge_job_new(f, run, NULL, &workflow->jobs[i]);
	}
	f->runs = xgrow(f->runs, &f->run_cap, f->run_count + 1, sizeof(struct forge_run *));
	f->runs[f->run_count++] = run;
	forge_event(f, "run %lld of %s: %s (%s)", (long long)run->id, repo->full_name, run->name, event);
	return run;
}

void forge_run_note_silent_events(struct forge_run *run)
{
	const char *name;
	for (size_t n = 0; run->workflow != NULL && (name = workflow_silent_event(run->workflow, n)) != NULL; n++)
		forge_annotate(run->annotations, "warning", "the event '%s' starts nothing at this forge", name);
}

static void run_complete(struct forge *f, struct forge_run *run, const char *conclusion)
{
	run->conclusion = conclusion;
	run->completed_ms = clock_wall_ms();
	forge_event(f, "run %lld: %s", (long long)run->id, conclusion);
	events_note_run(f, run, "completed");
	forge_run_save(f, run);
}

void forge_run_fail_workflow(struct forge *f, struct forge_run *run, const struct faults *faults,
                             const struct yaml_doc *doc, const struct err *err)
{
	(void)doc;
	for (size_t i = 0; i < faults->count; i++)
		json_array_append_new(run->annotations, json_pack("{s:s, s:s, s:s, s:i, s:i}", "level", "failure",
		                                                  "message", faults->items[i].text, "path", run->path,
		                                                  "startLine", faults->items[i].mark.line,
		                                                  "startColumn", faults->items[i].mark.column));
	char line[1024];
	if (!faults->count)
		forge_annotate(run->annotations, "failure", "%s", err_line(err, line, sizeof(line)));
	run_complete(f, run, "failure");
}

/* ---- before a job is queued ---- */

void forge_job_end_early(struct forge *f, struct forge_job *job, const char *conclusion)
{
	job->state = JOB_COMPLETED;
	job->conclusion = conclusion;
	job->completed_ms = clock_wall_ms();
	forge_event(f, "job %s of run %lld: %s", job->name, (long long)job->run->id, conclusion);
}

/* Asks a runner to end its job; a job that is not given out yet ends here. */
void forge_job_begin(struct forge *f, struct forge_job *job)
{
	job->state = JOB_RUNNING;
	job->acquired_ms = clock_wall_ms();
	forge_job_make_message(f, job);
	if (!job->run->in_progress)
		events_note_run(f, job->run, "in_progress");
	job->run->in_progress = true;
}

static void job_cancel(struct forge *f, struct forge_job *job)
{
	if (job->state == JOB_QUEUED)
		forge_job_end_early(f, job, "cancelled");
	if (job->state == JOB_CALLED && !job->cancelled) {
		job->cancelled = true;
		for (size_t i = 0; i < job->run->job_count; i++)
			if (job->run->jobs[i]->call != NULL && job->run->jobs[i]->call->caller == job)
				job_cancel(f, job->run->jobs[i]);
	}
	if ((job->state != JOB_RUNNING && job->state != JOB_GIVEN) || job->cancelled)
		return;
	int64_t ms = job->cancel_ms > 0 ? job->cancel_ms : f->config.cancel_ms, s = ms / 1000;
	job->cancelled = true;
	job->cancel_deadline_ms = clock_mono_ms() + ms;
	if (job->runner != NULL)
		json_array_append_new(job->runner->queue, json_pack("{s:s, s:{s:s, s:o}}", "type", "JobCancellation",
		                                                    "body", "jobId", job->job_id, "timeout",
		                                                    json_stringf("%02d:%02d:%02d", (int)(s / 3600),
		                                                                 (int)(s / 60 % 60), (int)(s % 60))));
	forge_wake(f);
}

/* Of a matrix with fail-fast, when one leg failed. */
static void cancel_other_legs(struct forge *f, struct forge_job *job)
{
	for (size_t i = 0; i < job->run->job_count; i++) {
		struct forge_job *other = job->run->jobs[i];
		if (!forge_job_fails_others(job, other))
			continue;
		if (other->state == JOB_WAITING)
			forge_job_end_early(f, other, "cancelled");
		else
			job_cancel(f, other);
	}
}

static bool needs_are_over(const struct forge_job *job)
{
	for (size_t i = 0; i < job->def->needs.count; i++)
		for (size_t j = 0; j < job->run->job_count; j++)
			if (job->run->jobs[j]->call == job->call &&
			    strcmp(job->run->jobs[j]->def->id, job->def->needs.items[i]) == 0 &&
			    job->run->jobs[j]->state != JOB_COMPLETED)
				return false;
	return true;
}

static int resolve_labels(struct forge *f, struct forge_job *job, struct err *err)
{
	_cleanup_json_ json_t *value = NULL;
	int r = eval_template(f, job->run, job, job->def->runs_on, &value, err);
	if (r < 0)
		return err_wrap(err, r, "runs-on");
	size_t i;
	json_t *item;
	if (json_is_string(value))
		strv_add(&job->labels, json_string_value(value));
	json_array_foreach(value, i, item) if (json_is_string(item)) strv_add(&job->labels, json_string_value(item));
	return job->labels.count ? 0 : err_set(err, ERR_INVALID, "runs-on names no label");
}

/* "build / test (linux)" */
static int resolve_name(struct forge *f, struct forge_job *job, struct err *err)
{
	_cleanup_free_ char *own = NULL;
	int r = 0;
	if (job->def->name != NULL)
		r = eval_string(f, job->run, job, job->def->name, &own, err);
	else
		own = xstrdup(job->def->id);
	if (r < 0)
		return r;
	_cleanup_free_ char *leg = forge_job_leg_name(job, own);
	free(job->name);
	job->name = forge_call_name(job->call, leg);
	return 0;
}

static int resolve(struct forge *f, struct forge_job *job, struct err *err)
{
	const struct workflow_job *def = job->def;
	int r = def->uses != NULL ? 0 : resolve_labels(f, job, err);
	if (r >= 0)
		r = resolve_name(f, job, err);
	if (r >= 0 && def->environment_name)
		r = eval_string(f, job->run, job, def->environment_name, &job->environment, err);
	if (r >= 0 && def->concurrency_group)
		r = eval_string(f, job->run, job, def->concurrency_group, &job->group, err);
	_cleanup_json_ json_t *may_fail = NULL;
	if (r >= 0 && def->continue_on_error)
		r = eval_template(f, job->run, job, def->continue_on_error, &may_fail, err);
	job->may_fail = json_is_true(may_fail);
	_cleanup_json_ json_t *minutes = NULL;
	if (r >= 0 && def->cancel_timeout_minutes)
		r = eval_template(f, job->run, job, def->cancel_timeout_minutes, &minutes, err);
	if (json_is_number(minutes))
		job->cancel_ms = (int64_t)(MIN(json_number_value(minutes), 24 * 60) * 60 * 1000);
	return r;
}

/* ---- the life of a run ---- */

/* Everything about it that is known now that its needs are over. *ret_over: it ends here. */
static int make_ready(struct forge *f, struct forge_job *job, bool *ret_over, struct err *err)
{
	bool wanted = false;
	size_t legs = 1;
	int r = eval_condition(f, job, &wanted, err);
	if (r >= 0 && wanted)
		r = forge_job_expand(f, job, &legs, err);
	*ret_over = r >= 0 && (!wanted || legs == 0);
	if (*ret_over)
		forge_job_end_early(f, job, !wanted && forge_job_is_cancelled(job) ? "cancelled" : "skipped");
	else if (r >= 0)
		r = resolve(f, job, err);
	job->resolved = r >= 0;
	return r;
}

static void job_fail(struct forge *f, struct forge_job *job, const struct err *err)
{
	char line[1024];
	forge_annotate(job->annotations, "failure", "%s: %s", forge_job_workflow(job)->path,
	               err_line(err, line, sizeof(line)));
	forge_job_end_early(f, job, "failure");
	cancel_other_legs(f, job);
}

static void job_try_queue(struct forge *f, struct forge_job *job)
{
	struct err err = ERR_INIT;
	bool over = false;
	if (job->resolved && forge_job_is_cancelled(job)) {
		forge_job_end_early(f, job, "cancelled");
		return;
	}
	int r = job->resolved ? 0 : make_ready(f, job, &over, &err);
	if (r >= 0 && (over || environments_hold(f, job) || !forge_job_has_turn(job) || !forge_job_may_start(f, job)))
		return;
	if (r >= 0 && job->def->uses != NULL)
		r = forge_call_begin(f, job, &err);
	if (r < 0) {
		job_fail(f, job, &err);
		return;
	}
	job->state = job->def->uses != NULL ? JOB_CALLED : JOB_QUEUED;
	job->queued_ms = clock_wall_ms();
	forge_event(f, "job %s of run %lld %s", job->name, (long long)job->run->id,
	            job->def->uses != NULL ? "begins its workflow" : "queued");
	forge_wake(f);
}

const char *forge_run_conclusion(const struct forge_run *run, const struct forge_call *call)
{
	bool failed = false, cancelled = call == NULL ? run->cancelled : call->caller->cancelled, all_skipped = true;
	for (size_t i = 0; i < run->job_count; i++) {
		const struct forge_job *job = run->jobs[i];
		if (job->call != call)
			continue;
		if (job->state != JOB_COMPLETED)
			return NULL;
		failed |= strcmp(job->conclusion, "failure") == 0 && !job->may_fail;
		cancelled |= strcmp(job->conclusion, "cancelled") == 0;
		all_skipped &= strcmp(job->conclusion, "skipped") == 0;
	}
	return failed ? "failure" : cancelled ? "cancelled" : all_skipped ? "skipped" : "success";
}

/* Moves a job on, if anything has changed for it. */
static bool advance_job(struct forge *f, struct forge_job *job)
{
	enum job_state before = job->state;
	if (job->state == JOB_WAITING && needs_are_over(job))
		job_try_queue(f, job);
	else if (job->state == JOB_CALLED && forge_call_end(f, job))
		cancel_other_legs(f, job);
	return job->state != before;
}

static bool advance_once(struct forge *f, struct forge_run *run)
{
	bool changed = false;
	for (size_t i = 0; i < run->job_count; i++)
		changed |= advance_job(f, run->jobs[i]);
	const char *conclusion = forge_run_conclusion(run, NULL);
	if (conclusion != NULL)
		run_complete(f, run, conclusion);
	return changed && conclusion == NULL;
}

static void start_run(struct forge *f, struct forge_run *run)
{
	struct err err = ERR_INIT;
	char *text = NULL;
	if (!run->group && run->workflow->concurrency_group &&
	    eval_string(f, run, NULL, run->workflow->concurrency_group, &run->group, &err) < 0) {
		struct faults none = {0};
		forge_run_fail_workflow(f, run, &none, NULL, &err);
		for (size_t i = 0; i < run->job_count; i++)
			forge_job_end_early(f, run->jobs[i], "failure");
		return;
	}
	if (run->workflow->run_name && eval_string(f, run, NULL, run->workflow->run_name, &text, NULL) >= 0) {
		free(run->title);
		run->title = text;
	}
	run->started = forge_run_may_start(f, run);
}

void forge_run_advance(struct forge *f, struct forge_run *run)
{
	if (run->conclusion || !run->workflow)
		return;
	if (!run->started)
		start_run(f, run);
	while (run->started && !run->conclusion && advance_once(f, run))
		continue;
	forge_wake(f);
}

/* Something ended: others of its group may continue. */
static void advance_all(struct forge *f)
{
	for (size_t i = 0; i < f->run_count; i++)
		forge_run_advance(f, f->runs[i]);
}

void forge_job_complete(struct forge *f, struct forge_job *job, const char *conclusion)
{
	console_print_held(job, true);
	forge_job_end_early(f, job, conclusion);
	cancel_other_legs(f, job);
	if (job->github_token)
		job->github_token->revoked = true;
	struct forge_runner *runner = job->runner;
	if (runner && runner->job == job) {
		runner->job = NULL;
		if (runner->ephemeral)
			forge_runner_remove(f, runner);
	}
	advance_all(f);
}

void forge_run_cancel(struct forge *f, struct forge_run *run)
{
	if (run->conclusion || run->cancelled)
		return;
	run->cancelled = true;
	forge_event(f, "run %lld is cancelled", (long long)run->id);
	for (size_t i = 0; i < run->job_count; i++)
		job_cancel(f, run->jobs[i]);
	if (!run->started) {
		for (size_t i = 0; i < run->job_count; i++)
			forge_job_end_early(f, run->jobs[i], "cancelled");
		run_complete(f, run, "cancelled");
	}
	forge_run_advance(f, run);
	forge_wake(f);
}

/* ---- who gets a job ---- */

bool forge_runner_serves(const struct forge_runner *runner, const struct forge_repo *repo)
{
	_cleanup_free_ char *as_repo = xasprintf("repos/%s", repo->full_name);
	_cleanup_free_ char *as_owner = xasprintf("orgs/%s", repo->owner);
	return strcmp(runner->scope, as_repo) == 0 || strcmp(runner->scope, as_owner) == 0;
}

static bool labels_fit(const struct forge_job *job, const struct forge_runner *runner)
{
	for (size_t i = 0; i < job->labels.count; i++) {
		bool found = false;
		for (size_t j = 0; j < runner->labels.count; j++)
			found |= strcasecmp(job->labels.items[i], runner->labels.items[j]) == 0;
		if (!found)
			return false;
	}
	return true;
}

struct forge_job *forge_job_for_runner(struct forge *f, const struct forge_runner *runner)
{
	for (size_t i = 0; i < f->run_count; i++) {
		if (!forge_runner_serves(runner, f->runs[i]->repo))
			continue;
		for (size_t j = 0; j < f->runs[i]->job_count; j++)
			if (f->runs[i]->jobs[j]->state == JOB_QUEUED && labels_fit(f->runs[i]->jobs[j], runner))
				return f->runs[i]->jobs[j];
	}
	return NULL;
}

/* ---- time passes ---- */

static void tick_running(struct forge *f, struct forge_job *job, int64_t now)
{
	if (job->deadline_ms && now > job->deadline_ms && !job->cancelled) {
		forge_annotate(job->annotations, "failure", "The job has exceeded the maximum execution time");
		job_cancel(f, job); /* its own time is up; the others of the run continue */
	}
	bool lapsed = now > job->locked_until_ms, out_of_time = job->cancelled && now > job->cancel_deadline_ms;
	if (!lapsed && !out_of_time)
		return;
	job->lost = true;
	if (lapsed)
		forge_annotate(job->annotations, "failure",
		               "The self-hosted runner lost communication with the server. Verify the machine is "
		               "running and has a healthy network connection.");
	forge_job_complete(f, job, out_of_time ? "cancelled" : "failure");
	job->github_token->revoked = false; /* it expires by itself; a recovery may still report */
}

static void tick_given(struct forge *f, struct forge_job *job, int64_t now)
{
	struct forge_runner *runner = job->runner;
	if (now - job->given_mono_ms > REDELIVER_MS)
		forge_wake(f);
	if (now - job->given_mono_ms < GIVEN_LOST_MS && !runner->deleted)
		return;
	runner->job = NULL;
	job->runner = NULL;
	job->state = JOB_QUEUED;
	if (job->cancelled)
		forge_job_complete(f, job, "cancelled");
	forge_wake(f);
}

void forge_tick(struct forge *f)
{
	int64_t now = clock_mono_ms();
	artifacts_tick(f);
	caches_tick(f);
	for (size_t i = 0; i < f->run_count; i++)
		for (size_t j = 0; !f->runs[i]->conclusion && j < f->runs[i]->job_count; j++) {
			struct forge_job *job = f->runs[i]->jobs[j];
			if (job->state == JOB_RUNNING)
				tick_running(f, job, now);
			else if (job->state == JOB_GIVEN)
				tick_given(f, job, now);
		}
}
