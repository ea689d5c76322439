/* view: what is told of a run, as it happens: lines for a person, or a JSON object a line for a program. */
#include "agent/run/view_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/core/clock.h"
#include "base/core/log.h"
#include "base/secret/mask.h"

enum { TEXT_MAX = 1 << 20, NAME_MAX_WIDTH = 24 };

struct view *view_new(bool json, bool verbose)
{
	struct view *v = xcalloc(1, sizeof(*v));
	v->json = json;
	v->verbose = verbose;
	v->colours = !json && log_colours(STDOUT_FILENO);
	const char *term = getenv("TERM");
	v->live = !json && isatty(STDOUT_FILENO) && term != NULL && strcmp(term, "dumb") != 0;
	return v;
}

static void remove_step(struct seen_job *job, struct seen_step *step)
{
	struct seen_step **p = &job->steps;
	while (*p != step)
		p = &(*p)->next;
	*p = step->next;
	free(step->title);
	free(step->group);
	str_done(&step->held);
	free(step);
}

void view_free(struct view *v)
{
	for (struct seen_job *job = v->jobs, *next; job != NULL; job = next) {
		next = job->next;
		free(job->name);
		while (job->steps != NULL)
			remove_step(job, job->steps);
		free(job);
	}
	free(v);
}

void view_freep(struct view **v)
{
	if (*v != NULL)
		view_free(*v);
}

/* Masked: names are made from values of the run. */
char *view_safe(const char *text, size_t len)
{
	_cleanup_(str_done) struct str masked = STR_INIT(TEXT_MAX), safe = STR_INIT(TEXT_MAX);
	mask_apply(mask_process(), text, len, &masked);
	str_append_safe(&safe, str_peek(&masked), masked.len);
	return str_take(&safe);
}

void view_time(int64_t ms, char out[32])
{
	if (ms < 60 * 1000)
		snprintf(out, 32, "%.1f s", (double)ms / 1000);
	else
		snprintf(out, 32, "%" PRId64 " min %" PRId64 " s", ms / 60000, ms / 1000 % 60);
}

/* ---- JSON */

static void print_event(json_t *event)
{
	_cleanup_free_ char *text = json_text(event);
	puts(text);
	fflush(stdout);
	json_decref(event);
}

static json_t *job_event(const char *what, const json_t *job)
{
	static const char *const members[] = {"job_id",     "key",         "name",         "status",
	                                      "conclusion", "annotations", "matrix",       "uses",
	                                      "caller_id",  "started_at",  "completed_at", "outputs"};
	json_t *event = json_pack("{s:s}", "event", what);
	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		if (json_object_get(job, members[i]) != NULL)
			json_object_set(event, members[i], json_object_get(job, members[i]));
	return event;
}

/* ---- jobs */

static struct seen_job *find_job(const struct view *v, const char *job_id)
{
	for (struct seen_job *job = v->jobs; job != NULL; job = job->next)
		if (strcmp(job->job_id, job_id) == 0)
			return job;
	return NULL;
}

static struct seen_job *add_job(struct view *v, const char *job_id)
{
	struct seen_job *job = xcalloc(1, sizeof(*job)), **p = &v->jobs;
	(void)snprintf(job->job_id, sizeof(job->job_id), "%s", job_id);
	while (*p != NULL)
		p = &(*p)->next;
	*p = job;
	return job;
}

static void name_job(struct view *v, struct seen_job *job, const char *name)
{
	free(job->name);
	job->name = view_safe(name, strlen(name));
	size_t width = view_columns(job->name, NAME_MAX_WIDTH, NULL);
	v->name_width = MAX(v->name_width, width);
}

static const struct {
	const char *conclusion, *word;
	enum mark mark;
} ends[] = {
	{"success", "succeeded", MARK_DONE},
	{"failure", "failed", MARK_FAILED},
	{"cancelled", "cancelled", MARK_FAILED},
	{"skipped", "skipped", MARK_SKIPPED},
};

static size_t end_of(const char *conclusion)
{
	for (size_t i = 0; conclusion != NULL && i < ARRAY_SIZE(ends); i++)
		if (strcmp(ends[i].conclusion, conclusion) == 0)
			return i;
	return 1;
}

/* Why a job failed that no step explains. */
static void say_annotations(struct view *v, const struct seen_job *job, const json_t *annotations)
{
	size_t i;
	json_t *annotation;
	json_array_foreach((json_t *)(uintptr_t)annotations, i, annotation)
	{
		const char *text = json_get_string(annotation, "message");
		_cleanup_free_ char *safe = view_safe(text != NULL ? text : "", text != NULL ? strlen(text) : 0);
		view_say(v, job, MARK_FAILED, safe);
	}
}

static void job_ended(struct view *v, struct seen_job *job, const json_t *now)
{
	size_t end = end_of(json_get_string(now, "conclusion"));
	char time[32], text[128];
	view_time(clock_mono_ms() - job->started_ms, time);
	if (job->started_ms != 0)
		(void)snprintf(text, sizeof(text), "%s (%s)", ends[end].word, time);
	else
		(void)snprintf(text, sizeof(text), "%s", ends[end].word);
	while (job->steps != NULL) {
		lines_close(v, job, job->steps, false);
		remove_step(job, job->steps);
	}
	say_annotations(v, job, json_object_get(now, "annotations"));
	view_say(v, job, ends[end].mark, text);
}

static void job_changed(struct view *v, struct seen_job *job, const json_t *now)
{
	static const char *const states[] = {"waiting", "queued", "in_progress", "completed"};
	const char *status = json_get_string(now, "status");
	for (size_t i = 0; i < ARRAY_SIZE(states); i++)
		if (strcmp(states[i], status) == 0)
			job->status = states[i];
	name_job(v, job, json_get_string(now, "name"));
	job->calls = json_object_get(now, "uses") != NULL;
	if (strcmp(status, "in_progress") == 0)
		job->started_ms = clock_mono_ms();
	if (v->json && strcmp(status, "waiting") != 0)
		print_event(job_event("job", now));
	else if (!v->json && strcmp(status, "in_progress") == 0)
		view_say(v, job, MARK_START, "started");
	else if (!v->json && strcmp(status, "completed") == 0)
		job_ended(v, job, now);
}

void view_jobs(struct view *v, const json_t *run)
{
	size_t i;
	json_t *now;
	json_array_foreach(json_object_get(run, "jobs"), i, now)
	{
		const char *id = json_get_string(now, "job_id");
		struct seen_job *job = find_job(v, id);
		if (job == NULL)
			job = add_job(v, id);
		if (job->status == NULL || strcmp(job->status, json_get_string(now, "status")) != 0)
			job_changed(v, job, now);
	}
}

/* ---- steps */

static struct seen_step *find_step(const struct seen_job *job, int64_t number)
{
	for (struct seen_step *step = job->steps; step != NULL; step = step->next)
		if (step->number == number)
			return step;
	return NULL;
}

static struct seen_step *step_begins(struct view *v, struct seen_job *job, const json_t *now)
{
	const char *name = json_get_string(now, "name");
	struct seen_step *step = xcalloc(1, sizeof(*step));
	*step = (struct seen_step){.next = job->steps,
	                           .number = json_get_int(now, "number", 0),
	                           .title = view_safe(name, strlen(name)),
	                           .started_ms = clock_mono_ms(),
	                           .background = json_get_bool(now, "background", false),
	                           .held = STR_INIT(TEXT_MAX)};
	step->quiet = !v->verbose && json_get_bool(now, "frame", false);
	step->headed = step->quiet;
	job->steps = step;
	return step;
}

void view_step_says(struct view *v, const struct seen_job *job, const struct seen_step *step, enum mark mark,
                    const char *text)
{
	_cleanup_free_ char *whose = step->background ? xasprintf("%s | %s", step->title, text) : NULL;
	view_say(v, job, mark, whose != NULL ? whose : text);
}

void view_head(struct view *v, const struct seen_job *job, struct seen_step *step)
{
	if (!step->headed)
		view_say(v, job, MARK_START, step->title);
	step->headed = true;
}

static void step_ends(struct view *v, struct seen_job *job, const json_t *now)
{
	size_t end = end_of(json_get_string(now, "conclusion"));
	struct seen_step *step = find_step(job, json_get_int(now, "number", 0));
	bool failed = ends[end].mark == MARK_FAILED, quiet = step != NULL && step->quiet;
	const char *name = json_get_string(now, "name");
	_cleanup_free_ char *safe = view_safe(name, strlen(name));
	char time[32];
	if (step != NULL && ends[end].mark != MARK_SKIPPED)
		view_head(v, job, step);
	if (step != NULL)
		lines_close(v, job, step, failed);
	view_time(json_get_int(now, "completed_ms", 0) - json_get_int(now, "started_ms", 0), time);
	_cleanup_free_ char *text = ends[end].mark == MARK_DONE ? xasprintf("%s (%s)", safe, time)
	                            : failed                    ? xasprintf("%s: %s (%s)", safe, ends[end].word, time)
	                                                        : xasprintf("%s: %s", safe, ends[end].word);
	if (!quiet || failed)
		view_say(v, job, ends[end].mark, text);
	if (step != NULL)
		remove_step(job, step);
}

void view_event(struct view *v, const char *job_id, const json_t *event)
{
	struct seen_job *job = find_job(v, job_id);
	const json_t *step = json_object_get(event, "step"), *lines = json_object_get(event, "lines");
	struct seen_step *seen;
	if (job == NULL)
		return;
	if (v->json) {
		json_t *copy = json_pack("{s:s, s:s, s:s}", "event",
		                         step != NULL    ? "step"
		                         : lines != NULL ? "log"
		                                         : "summary",
		                         "job_id", job_id, "job", job->name);
		json_object_update(copy, (json_t *)(uintptr_t)event);
		print_event(copy);
	} else if (step != NULL && strcmp(json_get_string(step, "status"), "in_progress") == 0) {
		step_begins(v, job, step);
	} else if (step != NULL && strcmp(json_get_string(step, "status"), "completed") == 0) {
		step_ends(v, job, step);
	} else if (json_is_string(lines) && (seen = find_step(job, json_get_int(event, "number", 0))) != NULL) {
		lines_show(v, job, seen, json_string_value(lines), json_string_length(lines));
	}
}

/* ---- the run */

void view_begin(struct view *v, const char *path, const char *event, const struct deployment_source *source)
{
	if (v->json) {
		print_event(json_pack("{s:s, s:s, s:s, s:s?, s:s?, s:b}", "event", "run", "workflow", path, "trigger",
		                      event, "sha", source->commit, "ref", source->ref, "dirty", source->dirty));
		return;
	}
	_cleanup_free_ char *safe = view_safe(path, strlen(path));
	_cleanup_free_ char *text = xasprintf("%s, %s, commit %.12s", safe, event, source->commit);
	view_say(v, NULL, MARK_START, text);
	if (source->dirty)
		view_say(v, NULL, MARK_NOTE,
		         "the work tree has changes that are not committed: a checkout gets the commit without them");
}

void view_note(struct view *v, const char *text)
{
	if (!v->json)
		view_say(v, NULL, MARK_NOTE, text);
}

static void print_end(const json_t *run)
{
	json_t *jobs = json_array(), *job;
	size_t i;
	json_array_foreach(json_object_get(run, "jobs"), i, job) json_array_append_new(jobs, job_event("job", job));
	print_event(json_pack("{s:s, s:O, s:o}", "event", "end", "conclusion", json_object_get(run, "conclusion"),
	                      "jobs", jobs));
}

void view_end(struct view *v, const json_t *run)
{
	if (v->json) {
		print_end(run);
		return;
	}
	size_t end = end_of(json_get_string(run, "conclusion"));
	say_annotations(v, NULL, json_object_get(run, "annotations"));
	view_say(v, NULL, ends[end].mark, ends[end].word);
	view_clear(v);
	fflush(stdout);
}
