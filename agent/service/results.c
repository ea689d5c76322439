#include "agent/service/results_priv.h"

#include "agent/service/wire.h"
#include "base/core/clock.h"
#include "base/core/log.h"

#define RECEIVER "twirp/results.services.receiver.Receiver/"
#define STEPS_UPDATE "twirp/github.actions.results.api.v1.WorkflowStepUpdateService/WorkflowStepsUpdate"
static const char azure[] = "BLOB_STORAGE_TYPE_AZURE";
static const char storage_version[] = "x-ms-version: 2023-11-03";

struct results *results_new(struct http *h, const char *base, const struct run_job *job)
{
	struct results *r = xcalloc(1, sizeof(*r));
	*r = (struct results){
		.http = h, .job = job, .base = xstrdup(base), .changed = json_object(), .left = json_object()};
	wire_headers_make(&r->headers, "Bearer", job->token, true, true);
	return r;
}

static void upload_free(struct upload *u)
{
	free(u->step_id);
	free(u->data);
	free(u->url);
	free(u);
}

void results_free(struct results *r)
{
	if (r == NULL)
		return;
	r->closing = true;
	if (r->updating)
		http_cancel(r->update);
	while (r->uploads != NULL) {
		struct upload *u = r->uploads;
		r->uploads = u->next;
		if (u->running)
			http_cancel(u->transfer);
		upload_free(u);
	}
	while (r->streams != NULL) {
		struct stream *s = r->streams;
		r->streams = s->next;
		free(s->step_id);
		free(s->url);
		free(s);
	}
	json_decref(r->changed);
	json_decref(r->sent);
	json_decref(r->left);
	wire_headers_done(&r->headers);
	free(r->base);
	free(r);
}

void results_freep(struct results **r)
{
	results_free(*r);
}

size_t results_queued_bytes(const struct results *r)
{
	return r->queued_bytes;
}

bool results_is_idle(const struct results *r)
{
	for (const struct upload *u = r->uploads; u != NULL; u = u->next)
		if (!u->parked)
			return false;
	return !r->updating && json_object_size(r->changed) == 0;
}

int results_failures(const struct results *r)
{
	return r->failures;
}

static json_t *time_or_null(int64_t wall_ms)
{
	char text[CLOCK_TEXT_SIZE];
	return wall_ms > 0 ? json_string(clock_rfc3339(wall_ms, text)) : json_null();
}

static bool is_success(int result, const struct http_response *response)
{
	return result >= 0 && response->status >= 200 && response->status <= 299;
}

/* Whatever its status, an answer of these services counts by its `ok`, which is false where it is absent [results 2.2]. */
static bool is_ok(int result, const struct http_response *response)
{
	_cleanup_json_ json_t *answer = NULL;
	return is_success(result, response) && wire_read_object(response, &answer, NULL) >= 0 &&
	       wire_bool(answer, "ok", false);
}

/* Another try may succeed: nobody answered, or the service is not well. */
static bool is_transient(int result, const struct http_response *response)
{
	if (result < 0)
		return result == ERR_NETWORK || result == ERR_TIMEOUT;
	return response != NULL && (response->status == 408 || response->status == 429 || response->status >= 500);
}

static void note_failure(struct results *r, const char *what, int result, const struct http_response *response,
                         const struct err *err)
{
	char line[512];
	r->failures++;
	if (result < 0)
		log_debug("results", "%s failed: %s", what, err_line(err, line, sizeof(line)));
	else
		log_debug("results", "%s failed: status %d%s", what, response->status,
		          is_success(result, response) ? ", not ok" : "");
}

/* ---- step states ---- */

static void update_done(void *context, int result, struct http_response *response, const struct err *err)
{
	struct results *r = context;
	r->updating = false;
	r->update = NULL;
	if (is_ok(result, response)) {
		r->update_failures = 0;
	} else {
		note_failure(r, "WorkflowStepsUpdate", result, response, err);
		if (++r->update_failures <= UPDATE_FAILURES_MAX)
			json_object_update_missing(r->changed, r->sent);
		else if (is_transient(result, response))
			json_object_update(r->left, r->sent);
	}
	http_response_done(response);
	if (!r->closing)
		results_pump(r);
}

static json_t *update_body(struct results *r)
{
	json_t *steps = json_array(), *step;
	const char *id;
	json_object_foreach(r->changed, id, step) json_array_append(steps, step);
	json_decref(r->sent);
	r->sent = TAKE(r->changed);
	r->changed = json_object();
	return json_pack("{s:o, s:I, s:s, s:s}", "steps", steps, "change_order", (json_int_t)++r->change_order,
	                 "workflow_job_run_backend_id", r->job->job_id, "workflow_run_backend_id", r->job->plan_id);
}

static void start_update(struct results *r)
{
	if (r->updating || json_object_size(r->changed) == 0)
		return;
	_cleanup_json_ json_t *body = update_body(r);
	_cleanup_free_ char *text = json_text(body), *url = wire_url(r->base, STEPS_UPDATE);
	struct http_request request = {
		.method = "POST",
		.url = url,
		.headers = (const char *const *)r->headers.lines,
		.body = text,
		.body_len = strlen(text),
		.timeout_ms = wire_call_ms(),
		.retries = wire_retries(),
	};
	struct err err = ERR_INIT;
	r->update = http_start(r->http, &request, update_done, r, &err);
	r->updating = r->update != NULL;
	if (r->update == NULL)
		note_failure(r, "WorkflowStepsUpdate", err.code, NULL, &err);
}

void results_step(struct results *r, const struct results_step *s)
{
	json_t *step = json_pack("{s:s, s:i, s:i, s:o, s:o, s:i}", "external_id", s->id, "number", s->number, "status",
	                         (int)s->status, "started_at", time_or_null(s->started_wall_ms), "completed_at",
	                         time_or_null(s->completed_wall_ms), "conclusion", (int)s->conclusion);
	json_object_set_new(step, "name", json_string_lossy(s->name, strlen(s->name)));
	json_object_update(step, (json_t *)(uintptr_t)s->background);
	json_object_set_new(r->changed, s->id, step);
	json_object_update_missing(r->changed, r->left);
	json_object_clear(r->left);
	results_pump(r);
}

/* ---- logs and summaries ---- */

static const char *what_of(const struct upload *u)
{
	return u->summary ? "StepSummary" : u->step_id != NULL ? "StepLogs" : "JobLogs";
}

struct stream *results_stream(struct results *r, const char *step_id)
{
	for (struct stream *s = r->streams; s != NULL; s = s->next)
		if (step_id == NULL ? s->step_id == NULL : s->step_id != NULL && strcmp(s->step_id, step_id) == 0)
			return s;
	struct stream *s = xcalloc(1, sizeof(*s));
	*s = (struct stream){.next = r->streams, .step_id = xstrdup(step_id)};
	r->streams = s;
	return s;
}

void results_drop(struct upload *u)
{
	struct results *r = u->results;
	for (struct upload **at = &r->uploads; *at != NULL; at = &(*at)->next) {
		if (*at == u) {
			*at = u->next;
			break;
		}
	}
	if (u->running)
		r->running--;
	*(u->parked ? &r->parked_bytes : &r->queued_bytes) -= u->len;
	upload_free(u);
}

static void upload_failed(struct upload *u, int result, const struct http_response *response, const struct err *err)
{
	static const char *const stages[] = {"get the URL", "create", "write", "seal", "announce"};
	char what[96];
	snprintf(what, sizeof(what), "%s: %s%s", what_of(u), stages[u->stage],
	         u->too_large ? ", which is too large for the service," : "");
	note_failure(u->results, what, result, response, err);
	if (is_transient(result, response) && results_park(u))
		return;
	if (!u->summary)
		results_stream(u->results, u->step_id)->broken = true;
	results_drop(u);
}

static json_t *upload_ids(const struct upload *u)
{
	const struct run_job *job = u->results->job;
	json_t *body = json_pack("{s:s, s:s}", "workflow_run_backend_id", job->plan_id, "workflow_job_run_backend_id",
	                         job->job_id);
	if (u->step_id != NULL)
		json_object_set_new(body, "step_backend_id", json_string(u->step_id));
	return body;
}

static void stage_done(void *context, int result, struct http_response *response, const struct err *err);

static void start_call(struct upload *u, const char *name, const json_t *body)
{
	struct results *r = u->results;
	_cleanup_free_ char *text = json_text(body), *url = wire_url(r->base, name);
	struct http_request request = {
		.method = "POST",
		.url = url,
		.headers = (const char *const *)r->headers.lines,
		.body = text,
		.body_len = strlen(text),
		.timeout_ms = wire_call_ms(),
		.retries = wire_retries(),
	};
	struct err err = ERR_INIT;
	u->transfer = http_start(r->http, &request, stage_done, u, &err);
	if (u->transfer == NULL)
		upload_failed(u, err.code, NULL, &err);
}

static void start_url(struct upload *u)
{
	_cleanup_json_ json_t *body = upload_ids(u);
	char name[128];
	snprintf(name, sizeof(name), RECEIVER "Get%sSignedBlobURL", what_of(u));
	start_call(u, name, body);
}

static void start_metadata(struct upload *u)
{
	_cleanup_json_ json_t *body = upload_ids(u);
	char name[128];
	json_object_set_new(body, "uploaded_at", time_or_null(clock_wall_ms()));
	if (u->summary)
		json_object_set_new(body, "size", json_integer((json_int_t)u->len));
	else
		json_object_set_new(body, "line_count", json_integer(u->line_count));
	snprintf(name, sizeof(name), RECEIVER "Create%sMetadata", what_of(u));
	start_call(u, name, body);
}

static bool is_whole(const struct upload *u)
{
	return u->summary || (u->first && u->final);
}

/* The request of a blob's stage: the URL carries the credential, so no Authorization. */
static void start_blob(struct upload *u)
{
	const char *headers[HEADERS_MAX];
	size_t n = 0;
	char position[64];
	const char *suffix = "";
	bool body = u->stage == STAGE_WRITE, typed = !u->summary || !u->is_azure;
	/* Of a summary nothing is said, which to the storage is this. */
	headers[n++] = typed ? "Content-Type: text/plain" : "Content-Type: application/octet-stream";
	if (u->is_azure) {
		headers[n++] = storage_version;
		if (u->stage == STAGE_CREATE || is_whole(u)) {
			headers[n++] = is_whole(u) ? "x-ms-blob-type: BlockBlob" : "x-ms-blob-type: AppendBlob";
			if (typed)
				headers[n++] = "x-ms-blob-content-type: text/plain";
		} else if (u->stage == STAGE_WRITE) {
			/* Makes a repeated block recognisable: 412 says that it already exists. */
			snprintf(position, sizeof(position), "x-ms-blob-condition-appendpos: %lld",
			         (long long)u->offset);
			headers[n++] = position;
		}
	}
	if (u->stage == STAGE_WRITE && !is_whole(u))
		suffix = !u->is_azure && u->final ? "&comp=appendblock&seal=true" : "&comp=appendblock";
	else if (u->stage == STAGE_SEAL)
		suffix = "&comp=seal";
	headers[n] = NULL;
	_cleanup_free_ char *url = xasprintf("%s%s", u->url, suffix);
	struct http_request request = {
		.method = "PUT",
		.url = url,
		.headers = headers,
		.body = body ? u->data : "",
		.body_len = body ? u->len : 0,
		.borrow_body = true,
		.timeout_ms = wire_call_ms(),
		.retries = wire_retries(),
	};
	struct err err = ERR_INIT;
	u->transfer = http_start(u->results->http, &request, stage_done, u, &err);
	if (u->transfer == NULL)
		upload_failed(u, err.code, NULL, &err);
}

static void start_stage(struct upload *u)
{
	switch (u->stage) {
	case STAGE_URL:
		start_url(u);
		break;
	case STAGE_CREATE:
	case STAGE_WRITE:
	case STAGE_SEAL:
		start_blob(u);
		break;
	case STAGE_METADATA:
		start_metadata(u);
		break;
	}
}

static void keep_url(const struct upload *u)
{
	struct stream *s = results_stream(u->results, u->step_id);
	free(s->url);
	s->url = xstrdup(u->url);
	s->is_azure = u->is_azure;
	s->url_mono_ms = clock_mono_ms();
}

static bool read_url(struct upload *u, const struct http_response *response)
{
	_cleanup_json_ json_t *answer = NULL;
	if (wire_read_object(response, &answer, NULL) < 0)
		return false;
	const char *url = json_get_string(answer, u->summary ? "summary_url" : "logs_url");
	const char *storage = json_get_string(answer, "blob_storage_type");
	if (url == NULL || url[0] == '\0' || strlen(url) > URL_MAX)
		return false;
	free(u->url);
	u->url = xstrdup(url);
	u->url_is_kept = false;
	u->is_azure = storage != NULL && strcmp(storage, azure) == 0;
	/* Of a log the limit says nothing [results 2.4]. */
	int64_t limit = u->summary ? wire_int(answer, "soft_size_limit", 0) : 0;
	u->too_large = limit > 0 && u->len > (uint64_t)limit;
	if (!u->summary)
		keep_url(u);
	return !u->too_large;
}

static bool use_kept_url(struct upload *u)
{
	struct stream *s = u->summary ? NULL : results_stream(u->results, u->step_id);
	if (s == NULL || s->url == NULL || clock_mono_ms() - s->url_mono_ms > URL_LIFE_MS)
		return false;
	u->url = xstrdup(s->url);
	u->is_azure = s->is_azure;
	u->url_is_kept = true;
	return true;
}

/* True when this was the last stage. */
static bool next_stage(struct upload *u)
{
	switch (u->stage) {
	case STAGE_URL:
		u->stage = !is_whole(u) && u->first ? STAGE_CREATE : STAGE_WRITE;
		/* The last block was full when the step ended: the storage does not accept an empty append. */
		if (u->is_azure && u->stage == STAGE_WRITE && !u->summary && !is_whole(u) && u->len == 0)
			u->stage = STAGE_SEAL;
		return false;
	case STAGE_CREATE:
		u->stage = STAGE_WRITE;
		return false;
	case STAGE_WRITE:
		if (!u->final && !u->summary)
			return true;
		u->stage = u->is_azure && !is_whole(u) ? STAGE_SEAL : STAGE_METADATA;
		u->stored = u->stage == STAGE_METADATA;
		return false;
	case STAGE_SEAL:
		u->stage = STAGE_METADATA;
		u->stored = true;
		return false;
	case STAGE_METADATA:
		break;
	}
	return true;
}

static void ask_for_url(struct upload *u)
{
	u->url_is_kept = false;
	u->stage = STAGE_URL;
	start_stage(u);
}

static void stage_done(void *context, int result, struct http_response *response, const struct err *err)
{
	struct upload *u = context;
	struct results *r = u->results;
	bool repeated = result >= 0 && response->status == 412 && u->stage == STAGE_WRITE && !is_whole(u);
	bool good = is_success(result, response) || repeated;
	if (good && u->stage == STAGE_METADATA)
		good = is_ok(result, response);
	else if (good && u->stage == STAGE_URL)
		good = read_url(u, response);
	/* The signature of an earlier block's URL may have expired. */
	bool ask_again = !good && u->url_is_kept && result >= 0 && (response->status == 401 || response->status == 403);
	if (ask_again)
		ask_for_url(u);
	else if (!good)
		upload_failed(u, result, response, err);
	else if (next_stage(u))
		results_drop(u);
	else
		start_stage(u);
	http_response_done(response);
	if (!r->closing)
		results_pump(r);
}

/* An earlier block of the same log; NULL: there is none that is pending. */
static const struct upload *earlier(const struct upload *u)
{
	for (const struct upload *e = u->results->uploads; e != u; e = e->next)
		if (results_same_log(e, u))
			return e;
	return NULL;
}

static void give_up(struct upload *u)
{
	struct results *r = u->results;
	r->failures++;
	if (!u->summary)
		results_stream(r, u->step_id)->broken = true;
	results_drop(u);
}

void results_pump(struct results *r)
{
	start_update(r);
	for (struct upload *u = r->uploads, *next; u != NULL && r->running < PARALLEL_MAX; u = next) {
		next = u->next;
		if (u->running || u->parked)
			continue;
		if (!u->summary && results_stream(r, u->step_id)->broken) {
			give_up(u);
			continue;
		}
		const struct upload *before = earlier(u);
		/* One behind a parked block must not hold up the step whose output fills the queue. */
		if (before != NULL && before->parked && !results_park(u))
			give_up(u);
		if (before != NULL)
			continue;
		u->running = true;
		r->running++;
		if (u->stored)
			u->stage = STAGE_METADATA;
		else if (use_kept_url(u))
			next_stage(u);
		start_stage(u);
	}
}

struct upload *results_add(struct results *r, const char *step_id, char *data, size_t len)
{
	struct upload *u = xcalloc(1, sizeof(*u)), **at = &r->uploads;
	*u = (struct upload){.results = r, .step_id = xstrdup(step_id), .data = data, .len = len};
	while (*at != NULL)
		at = &(*at)->next;
	*at = u;
	r->queued_bytes += len;
	return u;
}

void results_log(struct results *r, const char *step_id, char *data, size_t len, bool first, bool final,
                 int64_t line_count)
{
	struct upload *u = results_add(r, step_id, data, len);
	struct stream *s = results_stream(r, step_id);
	u->first = first;
	u->final = final;
	u->line_count = line_count;
	u->offset = s->offset;
	s->offset += (int64_t)len;
	results_pump(r);
}

void results_summary(struct results *r, const char *step_id, char *data, size_t len)
{
	struct upload *u = results_add(r, step_id, data, len);
	u->summary = u->first = u->final = true;
	results_pump(r);
}
