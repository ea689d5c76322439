#include "agent/service/reports.h"

#include "agent/service/wire.h"

enum { SINKS_MAX = 2 };

struct reports {
	struct {
		const struct report_type *type;
		void *sink;
	} all[SINKS_MAX];
	size_t count;
};

struct reports *reports_new(void)
{
	return xcalloc(1, sizeof(struct reports));
}

void reports_add(struct reports *r, const struct report_type *type, void *sink)
{
	if (r->count == SINKS_MAX) {
		type->free(sink);
		return;
	}
	r->all[r->count].type = type;
	r->all[r->count++].sink = sink;
}

void reports_free(struct reports *r)
{
	for (size_t i = 0; r != NULL && i < r->count; i++)
		r->all[i].type->free(r->all[i].sink);
	free(r);
}

bool reports_any(const struct reports *r)
{
	return r != NULL && r->count > 0;
}

void reports_step(struct reports *r, const struct results_step *step)
{
	for (size_t i = 0; i < r->count; i++)
		r->all[i].type->step(r->all[i].sink, step);
}

/* Each service has its own; the last one takes the given one. */
static char *share(const struct reports *r, size_t i, char *data, size_t len)
{
	return i + 1 == r->count ? data : memcpy(xmalloc(len + 1), data, len);
}

void reports_log(struct reports *r, const char *step_id, char *data, size_t len, bool first, bool final, int64_t lines)
{
	for (size_t i = 0; i < r->count; i++)
		r->all[i].type->log(r->all[i].sink, step_id, share(r, i, data, len), len, first, final, lines);
	if (r->count == 0)
		free(data);
}

void reports_summary(struct reports *r, const char *step_id, char *data, size_t len)
{
	for (size_t i = 0; i < r->count; i++)
		r->all[i].type->summary(r->all[i].sink, step_id, share(r, i, data, len), len);
	if (r->count == 0)
		free(data);
}

void reports_lines(struct reports *r, const char *step_id, const char *text, size_t len, int64_t line)
{
	for (size_t i = 0; r != NULL && i < r->count; i++)
		if (r->all[i].type->lines != NULL)
			r->all[i].type->lines(r->all[i].sink, step_id, text, len, line);
}

size_t reports_queued_bytes(const struct reports *r)
{
	size_t most = 0;
	for (size_t i = 0; r != NULL && i < r->count; i++) {
		size_t its = r->all[i].type->queued_bytes(r->all[i].sink);
		most = MAX(most, its);
	}
	return most;
}

bool reports_is_idle(const struct reports *r)
{
	bool idle = true;
	for (size_t i = 0; r != NULL && i < r->count; i++)
		idle = idle && r->all[i].type->is_idle(r->all[i].sink);
	return idle;
}

int reports_failures(const struct reports *r)
{
	int failures = 0;
	for (size_t i = 0; r != NULL && i < r->count; i++)
		failures += r->all[i].type->failures(r->all[i].sink);
	return failures;
}

int64_t reports_turn(struct reports *r, int64_t now_ms)
{
	int64_t due = 0;
	for (size_t i = 0; r != NULL && i < r->count; i++) {
		int64_t its = r->all[i].type->turn != NULL ? r->all[i].type->turn(r->all[i].sink, now_ms) : 0;
		if (its != 0 && (due == 0 || its < due))
			due = its;
	}
	return due;
}

void reports_retry(struct reports *r, bool now)
{
	for (size_t i = 0; r != NULL && i < r->count; i++)
		r->all[i].type->retry(r->all[i].sink, now);
}

json_t *reports_keep(const struct reports *r)
{
	json_t *all = json_object();
	for (size_t i = 0; r != NULL && i < r->count; i++) {
		json_t *its = r->all[i].type->keep(r->all[i].sink);
		if (its != NULL)
			json_object_set_new(all, r->all[i].type->name, its);
	}
	if (json_object_size(all) > 0)
		return all;
	json_decref(all);
	return NULL;
}

/* ---- the results service ---- */

static void results_end(void *sink)
{
	results_free(sink);
}

static void tell_step(void *sink, const struct results_step *step)
{
	results_step(sink, step);
}

static void tell_log(void *sink, const char *step_id, char *data, size_t len, bool first, bool final, int64_t lines)
{
	results_log(sink, step_id, data, len, first, final, lines);
}

static void tell_summary(void *sink, const char *step_id, char *data, size_t len)
{
	results_summary(sink, step_id, data, len);
}

static size_t queued_bytes(const void *sink)
{
	return results_queued_bytes(sink);
}

static bool is_idle(const void *sink)
{
	return results_is_idle(sink);
}

static int failures(const void *sink)
{
	return results_failures(sink);
}

static void try_again(void *sink, bool now)
{
	results_retry(sink, now);
}

static json_t *keep(const void *sink)
{
	return results_keep(sink);
}

static const struct report_type results_reports = {
	.name = "results",
	.free = results_end,
	.step = tell_step,
	.log = tell_log,
	.summary = tell_summary,
	.queued_bytes = queued_bytes,
	.is_idle = is_idle,
	.failures = failures,
	.retry = try_again,
	.keep = keep,
};

void reports_add_results(struct reports *r, struct http *h, const char *base, const struct run_job *job)
{
	reports_add(r, &results_reports, results_new(h, base, job));
}

bool reports_restore(struct reports *r, struct http *h, const struct run_job *job, const json_t *kept)
{
	const json_t *of_results = json_get_object(kept, "results"),
		     *of_timeline = json_get_object(kept, "older_results");
	const char *base = json_get_string(of_results, "base");
	bool whole = true;
	if (base != NULL) {
		struct results *results = results_new(h, base, job);
		reports_add(r, &results_reports, results);
		whole = results_restore(results, of_results);
	}
	if (of_timeline != NULL && job->locations != NULL)
		whole = reports_restore_timeline(r, h, job, of_timeline) && whole;
	return whole;
}

void reports_add_of_message(struct reports *r, struct http *h, const struct run_job *job, const json_t *message,
                            const char *worker)
{
	const char *base =
		wire_string(wire_get(wire_get(message, "variables"), "system.github.results_endpoint"), "value");
	if (job->locations != NULL)
		reports_add_timeline(r, h, job, worker, wire_os());
	if (base != NULL && base[0] != '\0')
		reports_add_results(r, h, base, job);
}
