/* reports: the timeline of a job of the older services: records of its steps, their logs, attachments, and the lines of
 * the live console [results 1]. Records are sent one request after the other, and so are the parts of one log. */
#include "agent/service/v1_timeline_priv.h"

#include "agent/service/v1_job.h"
#include "base/core/clock.h"
#include "base/core/log.h"

#include <stdio.h>

static const char summary_type[] = "Checks.Step.Summary";

static bool is_good(int result, const struct http_response *response)
{
	return result >= 0 && response->status >= 200 && response->status <= 299;
}

/* Another try may succeed: nobody answered, or the service is not well. */
static bool is_transient(int result, const struct http_response *response)
{
	if (result < 0)
		return result == ERR_NETWORK || result == ERR_TIMEOUT;
	return response != NULL && (response->status == 408 || response->status == 429 || response->status >= 500);
}

static void note_failure(struct timeline *t, const char *what, int result, const struct http_response *response,
                         const struct err *err)
{
	char line[512];
	t->failures++;
	if (result < 0 && err != NULL)
		log_debug("timeline", "%s: %s", what, err_line(err, line, sizeof(line)));
	else
		log_debug("timeline", "%s: status %d", what, response != NULL ? response->status : 0);
}

/* data: of a body that is no JSON; lent. */
static struct http_transfer *start(struct timeline *t, struct service_request *q, const char *data, size_t len,
                                   http_done_fn done, void *context, struct err *err)
{
	_cleanup_free_ char *text = q->json != NULL ? json_text(q->json) : NULL;
	_cleanup_(wire_headers_done) struct wire_headers headers;
	service_request_headers(q, t->job->token, data != NULL, &headers);
	struct http_request request = {
		.method = q->method,
		.url = q->url,
		.headers = (const char *const *)headers.lines,
		.body = text != NULL ? text : data,
		.body_len = text != NULL ? strlen(text) : len,
		.borrow_body = text == NULL,
		.timeout_ms = wire_call_ms(),
		.retries = wire_retries(),
	};
	struct http_transfer *transfer = http_start(t->http, &request, done, context, err);
	service_request_done(q);
	return transfer;
}

/* ---- records ---- */

void timeline_add_older(json_t *records, const json_t *older)
{
	const char *id;
	json_t *record;
	json_object_foreach((json_t *)(uintptr_t)older, id, record)
	{
		json_t *newer = json_object_get(records, id);
		if (newer != NULL)
			json_object_update_missing(newer, record);
		else
			json_object_set(records, id, record);
	}
}

/* What a later change of a record says replaces what an earlier one said. */
static void change(struct timeline *t, const char *id, json_t *record)
{
	json_t *pending = json_object_get(t->changed, id);
	if (pending != NULL)
		json_object_update_new(pending, record);
	else
		json_object_set_new(t->changed, id, record);
	timeline_add_older(t->changed, t->left);
	json_object_clear(t->left);
}

static void update_done(void *context, int result, struct http_response *response, const struct err *err)
{
	struct timeline *t = context;
	t->updating = false;
	t->update = NULL;
	if (is_good(result, response)) {
		t->update_failures = 0;
	} else {
		note_failure(t, "records", result, response, err);
		if (++t->update_failures <= UPDATE_FAILURES_MAX)
			timeline_add_older(t->changed, t->sent);
		else if (is_transient(result, response))
			timeline_add_older(t->left, t->sent);
	}
	http_response_done(response);
	if (!t->closing)
		timeline_pump(t);
}

static void start_update(struct timeline *t)
{
	if (t->updating || json_object_size(t->changed) == 0)
		return;
	struct service_request q = {.method = "PATCH"};
	struct err err = ERR_INIT;
	json_t *records = json_array(), *record;
	const char *id;
	json_object_foreach(t->changed, id, record) json_array_append(records, record);
	json_decref(t->sent);
	t->sent = TAKE(t->changed);
	t->changed = json_object();
	q.json = v1_job_list(records);
	if (v1_job_request(t->job, V1_RECORDS, NULL, NULL, &q, &err) >= 0)
		t->update = start(t, &q, NULL, 0, update_done, t, &err);
	service_request_done(&q);
	t->updating = t->update != NULL;
	if (t->update == NULL)
		note_failure(t, "records", err.code, NULL, &err);
}

static void set_time(json_t *record, const char *key, int64_t wall_ms)
{
	char text[CLOCK_TEXT_SIZE];
	json_object_set_new(record, key, wall_ms > 0 ? json_string(clock_rfc3339(wall_ms, text)) : json_null());
}

static json_t *record_of(const struct timeline *t, const char *id, const char *type, const char *state)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:i, s:i}", "id", id, "type", type, "state", state, "workerName",
	                 t->worker, "attempt", 1, "changeId", 0);
}

/* The members of a background step, as this service spells them. */
static void set_background(json_t *record, const json_t *background)
{
	static const struct {
		const char *from, *to;
	} names[] = {{"is_background", "isBackground"},
	             {"background_control_type", "backgroundControlType"},
	             {"background_control_step_ids", "backgroundControlStepIds"},
	             {"parallel_group_id", "parallelGroupId"}};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		json_t *value = json_object_get(background, names[i].from);
		if (value != NULL)
			json_object_set(record, names[i].to, value);
	}
}

/* What has no name of its own has its id, less the hyphens. */
static void set_reference(json_t *record, const char *name, const char *id)
{
	_cleanup_(str_done) struct str plain = STR_INIT(64);
	for (const char *p = id; name == NULL && *p != '\0'; p++)
		if (*p != '-')
			str_append_c(&plain, *p);
	json_object_set_new(record, "refName", json_string(name != NULL ? name : str_peek(&plain)));
}

static void tell_step(void *sink, const struct results_step *s)
{
	struct timeline *t = sink;
	bool over = s->status == RESULTS_COMPLETED;
	json_t *record = record_of(t, s->id, "Task",
	                           over                               ? "completed"
	                           : s->status == RESULTS_IN_PROGRESS ? "inProgress"
	                                                              : "pending");
	json_object_set_new(record, "parentId", json_string(t->job->job_id));
	json_object_set_new(record, "name", json_string_lossy(s->name, strlen(s->name)));
	set_reference(record, s->reference, s->id);
	json_object_set_new(record, "order", json_integer(s->number));
	json_object_set_new(record, "percentComplete", json_integer(over ? PERCENT_DONE : 0));
	set_time(record, "startTime", s->started_wall_ms);
	set_time(record, "finishTime", s->completed_wall_ms);
	json_object_set_new(record, "result", over && s->result != NULL ? json_string(s->result) : json_null());
	if (s->background != NULL)
		set_background(record, s->background);
	v1_job_set_issues(record, s->annotations);
	change(t, s->id, record);
	timeline_pump(t);
}

static void tell_job(struct timeline *t, const char *os)
{
	const struct run_job *job = t->job;
	json_t *record = record_of(t, job->job_id, "Job", "inProgress");
	json_object_set_new(record, "name", json_string(job->name));
	if (job->reference != NULL)
		json_object_set_new(record, "refName", json_string(job->reference));
	json_object_set_new(record, "agentPlatform", json_string(os));
	json_object_set_new(record, "percentComplete", json_integer(0));
	set_time(record, "startTime", clock_wall_ms());
	change(t, job->job_id, record);
	timeline_pump(t);
}

/* ---- logs and summaries ---- */

static void part_free(struct part *p)
{
	free(p->record);
	free(p->data);
	free(p);
}

void timeline_drop(struct part *p)
{
	struct timeline *t = p->timeline;
	struct part **at = &t->parts;
	while (*at != NULL && *at != p)
		at = &(*at)->next;
	if (*at == p)
		*at = p->next;
	if (p->running)
		t->running--;
	*(p->parked ? &t->parked_bytes : &t->queued_bytes) -= p->len;
	part_free(p);
}

static int64_t log_of(const struct part *p)
{
	return json_get_int(p->timeline->logs, p->record, 0);
}

static void part_failed(struct part *p, int result, const struct http_response *response, const struct err *err)
{
	note_failure(p->timeline, p->summary ? "summary" : "log", result, response, err);
	if (is_transient(result, response) && timeline_park(p))
		return;
	if (!p->summary)
		json_object_set_new(p->timeline->logs, p->record, json_integer(-1));
	timeline_drop(p);
}

static void part_done(void *context, int result, struct http_response *response, const struct err *err);

static void start_part(struct part *p)
{
	struct timeline *t = p->timeline;
	struct service_request q = {.method = p->summary ? "PUT" : "POST"};
	struct err err = ERR_INIT;
	char number[24];
	int r;
	p->creating = !p->summary && log_of(p) == 0;
	if (p->creating) {
		q.json = json_pack("{s:i, s:o}", "id", 0, "path", json_stringf("logs\\%s", p->record));
		r = v1_job_request(t->job, V1_LOGS, NULL, NULL, &q, &err);
	} else if (p->summary) {
		const struct v1_value values[] = {
			{"recordId", t->job->job_id}, {"type", summary_type}, {"name", p->record}, {0}};
		q.content_type = "application/octet-stream";
		r = v1_job_request(t->job, V1_ATTACHMENTS, values, NULL, &q, &err);
	} else {
		(void)snprintf(number, sizeof(number), "%lld", (long long)log_of(p));
		const struct v1_value values[] = {{"logId", number}, {0}};
		q.content_type = "application/octet-stream";
		r = v1_job_request(t->job, V1_LOGS, values, NULL, &q, &err);
	}
	p->transfer = r < 0 ? NULL : start(t, &q, p->creating ? NULL : p->data, p->len, part_done, p, &err);
	service_request_done(&q);
	if (p->transfer == NULL)
		part_failed(p, err.code, NULL, &err);
}

/* The number that a log was made under. False: the answer has none. */
static bool read_log(struct part *p, const struct http_response *response)
{
	_cleanup_json_ json_t *answer = NULL;
	int64_t id = wire_read_object(response, &answer, NULL) < 0 ? 0 : wire_int(answer, "id", 0);
	if (id <= 0)
		return false;
	json_object_set_new(p->timeline->logs, p->record, json_integer(id));
	return true;
}

static void tell_log_place(struct timeline *t, const char *record, int64_t log)
{
	change(t, record, json_pack("{s:s, s:{s:I, s:n}}", "id", record, "log", "id", (json_int_t)log, "location"));
}

static void part_done(void *context, int result, struct http_response *response, const struct err *err)
{
	struct part *p = context;
	struct timeline *t = p->timeline;
	bool good = is_good(result, response) && (!p->creating || read_log(p, response));
	if (!good) {
		part_failed(p, result, response, err);
	} else if (p->creating && p->len > 0) {
		start_part(p);
	} else {
		if (p->final && !p->summary)
			tell_log_place(t, p->record, log_of(p));
		timeline_drop(p);
	}
	http_response_done(response);
	if (!t->closing)
		timeline_pump(t);
}

/* The one of the same log that goes first; NULL: none. */
static const struct part *earlier(const struct part *p)
{
	for (const struct part *e = p->timeline->parts; e != p; e = e->next)
		if (e->summary == p->summary && strcmp(e->record, p->record) == 0)
			return e;
	return NULL;
}

static void begin_part(struct part *p)
{
	struct timeline *t = p->timeline;
	int64_t log = p->summary ? 0 : log_of(p);
	if (log < 0) {
		t->failures++;
		timeline_drop(p);
	} else if (log > 0 && p->len == 0) {
		/* All of it was full parts. */
		tell_log_place(t, p->record, log);
		timeline_drop(p);
	} else {
		p->running = true;
		t->running++;
		start_part(p);
	}
}

void timeline_pump(struct timeline *t)
{
	for (struct part *p = t->parts, *next; p != NULL && t->running < PARALLEL_MAX; p = next) {
		next = p->next;
		if (p->running || p->parked)
			continue;
		const struct part *before = earlier(p);
		/* One behind a parked part must not hold up the step whose output fills the queue. */
		if (before != NULL && before->parked && !timeline_park(p))
			part_failed(p, ERR_LIMIT, NULL, NULL);
		if (before == NULL)
			begin_part(p);
	}
	start_update(t);
}

struct part *timeline_add(struct timeline *t, const char *record, char *data, size_t len)
{
	struct part *p = xcalloc(1, sizeof(*p)), **at = &t->parts;
	*p = (struct part){.timeline = t, .record = xstrdup(record), .data = data, .len = len};
	while (*at != NULL)
		at = &(*at)->next;
	*at = p;
	t->queued_bytes += len;
	return p;
}

static void tell_log(void *sink, const char *step_id, char *data, size_t len, bool first, bool final, int64_t lines)
{
	struct timeline *t = sink;
	(void)first;
	(void)lines;
	timeline_add(t, step_id != NULL ? step_id : t->job->job_id, data, len)->final = final;
	timeline_pump(t);
	if (step_id == NULL && final)
		v1_feed_end(t->feed);
}

static void tell_summary(void *sink, const char *step_id, char *data, size_t len)
{
	struct timeline *t = sink;
	timeline_add(t, step_id, data, len)->summary = true;
	timeline_pump(t);
}

/* ---- the rest ---- */

static void tell_lines(void *sink, const char *step_id, const char *text, size_t len, int64_t line)
{
	v1_feed_lines(((struct timeline *)sink)->feed, step_id, text, len, line);
}

static int64_t turn(void *sink, int64_t now_ms)
{
	return v1_feed_turn(((struct timeline *)sink)->feed, now_ms);
}

static size_t queued_bytes(const void *sink)
{
	return ((const struct timeline *)sink)->queued_bytes;
}

static bool is_idle(const void *sink)
{
	const struct timeline *t = sink;
	for (const struct part *p = t->parts; p != NULL; p = p->next)
		if (!p->parked)
			return false;
	return !t->updating && json_object_size(t->changed) == 0 && v1_feed_is_idle(t->feed);
}

static int failures(const void *sink)
{
	return ((const struct timeline *)sink)->failures;
}

static void timeline_free(void *sink)
{
	struct timeline *t = sink;
	t->closing = true;
	if (t->updating)
		http_cancel(t->update);
	while (t->parts != NULL) {
		struct part *p = t->parts;
		t->parts = p->next;
		if (p->running)
			http_cancel(p->transfer);
		part_free(p);
	}
	v1_feed_free(t->feed);
	json_decref(t->logs);
	json_decref(t->changed);
	json_decref(t->sent);
	json_decref(t->left);
	free(t->worker);
	free(t);
}

static const struct report_type timeline_reports = {
	.free = timeline_free,
	.step = tell_step,
	.log = tell_log,
	.summary = tell_summary,
	.lines = tell_lines,
	.queued_bytes = queued_bytes,
	.is_idle = is_idle,
	.failures = failures,
	.turn = turn,
	.name = "older_results",
	.retry = timeline_retry,
	.keep = timeline_keep,
};

static struct timeline *timeline_new(struct http *h, const struct run_job *job, const char *worker)
{
	struct timeline *t = xcalloc(1, sizeof(*t));
	*t = (struct timeline){.http = h,
	                       .job = job,
	                       .worker = xstrdup(worker),
	                       .logs = json_object(),
	                       .changed = json_object(),
	                       .left = json_object(),
	                       .feed = v1_feed_new(h, job)};
	return t;
}

void reports_add_timeline(struct reports *r, struct http *h, const struct run_job *job, const char *worker,
                          const char *os)
{
	struct timeline *t = timeline_new(h, job, worker);
	reports_add(r, &timeline_reports, t);
	tell_job(t, os);
}

bool reports_restore_timeline(struct reports *r, struct http *h, const struct run_job *job, const json_t *kept)
{
	struct timeline *t = timeline_new(h, job, "");
	bool whole = timeline_restore(t, kept);
	reports_add(r, &timeline_reports, t);
	if (whole)
		timeline_pump(t);
	return whole;
}
