/* The results service: step states, and the blobs that hold logs and summaries. Source: the runner's Twirp calls and
 * Azure's blob protocol as far as runners speak it. */
#include "agent/forge/services_priv.h"
#include "base/core/clock.h"
#include "base/secret/digest.h"

#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { SUMMARY_LIMIT = 1048576, APPEND_LIMIT = 50000 };

/* The body and the job that token and body agree on; NULL: answered. *ret_body is the caller's even then. */
static struct forge_job *begin(struct req *r, const struct member *members, size_t count, json_t **ret_body)
{
	check_service_headers(r);
	struct forge_token *t = token_need(r, TOKEN_JOB);
	if (!t)
		return NULL;
	*ret_body = req_json(r);
	if (!*ret_body)
		return NULL;
	if (!check_members(r, *ret_body, "the request", members, count)) {
		twirp_error(r, 400, "malformed", "the request is not valid");
		return NULL;
	}
	const char *plan = json_get_string(*ret_body, "workflow_run_backend_id"),
		   *job = json_get_string(*ret_body, "workflow_job_run_backend_id");
	if (strcmp(plan, t->job->run->plan_id) != 0 || strcmp(job, t->job->job_id) != 0) {
		req_complain(r, "the run and the job are not those of the token");
		twirp_error(r, 404, "not_found", "no such job");
		return NULL;
	}
	if (t->job->state == JOB_COMPLETED) {
		if (!t->job->lost)
			req_complain(r, "the job was completed before: nothing may be sent after completejob");
		twirp_error(r, 412, "failed_precondition", "the job is completed");
		return NULL;
	}
	return t->job;
}

/* ---- step states ---- */

static const char *status_name(int64_t status)
{
	return status == 3 ? "in_progress" : status == 5 ? "pending" : status == 6 ? "completed" : NULL;
}

static const char *conclusion_name(int64_t conclusion)
{
	switch (conclusion) {
	case 2:
		return "success";
	case 3:
		return "failure";
	case 4:
		return "cancelled";
	case 7:
		return "skipped";
	default:
		return NULL;
	}
}

static bool check_step(struct req *r, const struct forge_job *job, const json_t *step, size_t index)
{
	static const struct member members[] = {{"external_id", 'g', true},
	                                        {"number", 'i', true},
	                                        {"name", 's', true},
	                                        {"status", 'i', true},
	                                        {"started_at", 'M', true},
	                                        {"completed_at", 'M', true},
	                                        {"conclusion", 'i', true},
	                                        {"is_background", 'b', false},
	                                        {"background_control_type", 's', false},
	                                        {"background_control_step_ids", 'a', false},
	                                        {"parallel_group_id", 's', false}};
	_cleanup_free_ char *where = xasprintf("step %zu", index + 1);
	if (!check_members(r, step, where, members, ARRAY_SIZE(members)))
		return false;
	int64_t status = json_get_int(step, "status", 0), conclusion = json_get_int(step, "conclusion", 0),
		number = json_get_int(step, "number", 0);
	bool completed = status == 6;
	if (!status_name(status) && status != 0)
		req_complain(r, "%s: %lld is not a status (3, 5, 6)", where, (long long)status);
	if (!conclusion_name(conclusion) && conclusion != 0)
		req_complain(r, "%s: %lld is not a conclusion (0, 2, 3, 4, 7)", where, (long long)conclusion);
	if (completed && !conclusion)
		req_complain(r, "%s is completed without a conclusion", where);
	if (!completed && conclusion)
		req_complain(r, "%s has a conclusion but is not completed", where);
	if (number < 1)
		req_complain(r, "%s: numbers begin with 1", where);
	const char *id;
	json_t *other;
	json_object_foreach(job->steps, id, other) if (json_get_int(other, "number", 0) == number &&
	                                               strcmp(id, json_get_string(step, "external_id")) != 0)
		req_complain(r, "%s: number %lld belongs to another step", where, (long long)number);
	json_t *before = json_object_get(job->steps, json_get_string(step, "external_id"));
	const char *was = json_get_string(before, "status");
	if (was && strcmp(was, "completed") == 0 && !completed)
		req_complain(r, "%s was completed and is no more", where);
	return true;
}

static void steps_update(struct req *r)
{
	static const struct member members[] = {{"steps", 'a', true},
	                                        {"change_order", 'i', true},
	                                        {"workflow_job_run_backend_id", 'g', true},
	                                        {"workflow_run_backend_id", 'g', true}};
	_cleanup_json_ json_t *body = NULL;
	struct forge_job *job = begin(r, members, ARRAY_SIZE(members), &body);
	if (!job)
		return;
	int64_t order = json_get_int(body, "change_order", 0);
	size_t i;
	json_t *step;
	json_array_foreach(json_object_get(body, "steps"), i, step) if (!check_step(r, job, step, i))
	{
		twirp_error(r, 400, "malformed", "a step is not valid");
		return;
	}
	if (order < 1)
		req_complain(r, "change_order begins with 1");
	if (order <= job->change_order) { /* a late repetition: known already */
		req_reply_json(r, 200, json_pack("{s:b}", "ok", 1));
		return;
	}
	job->change_order = order;
	json_array_foreach(json_object_get(body, "steps"), i, step)
	{
		const char *id = json_get_string(step, "external_id");
		json_t *kept = json_object_get(job->steps, id);
		if (!kept) {
			kept = json_object();
			json_object_set_new(job->steps, id, kept);
		}
		const char *status = status_name(json_get_int(step, "status", 0));
		const char *conclusion = conclusion_name(json_get_int(step, "conclusion", 0));
		json_object_set(kept, "number", json_object_get(step, "number"));
		json_object_set(kept, "name", json_object_get(step, "name"));
		json_object_set_new(kept, "status", json_string(status ? status : "unknown"));
		json_object_set_new(kept, "conclusion", conclusion ? json_string(conclusion) : json_null());
		json_object_set(kept, "started_at", json_object_get(step, "started_at"));
		json_object_set(kept, "completed_at", json_object_get(step, "completed_at"));
	}
	console_print_held(job, false);
	req_reply_json(r, 200, json_pack("{s:b}", "ok", 1));
}

/* ---- blobs ---- */

struct forge_blob *forge_blob_find(struct forge *f, const struct forge_job *job, enum blob_kind kind,
                                   const char *step_id)
{
	for (size_t i = 0; i < f->blob_count; i++)
		if (f->blobs[i]->job == job && f->blobs[i]->kind == kind && strcmp(f->blobs[i]->step_id, step_id) == 0)
			return f->blobs[i];
	return NULL;
}

static struct forge_blob *blob_for(struct forge *f, struct forge_job *job, enum blob_kind kind, const char *step_id)
{
	struct forge_blob *b = forge_blob_find(f, job, kind, step_id);
	if (b)
		return b;
	static const char *const shapes[] = {"logs/steps/step-logs-%s.txt", "logs/job/job-logs.txt%s",
	                                     "summaries/step-summary-%s.md", "diagnostics/diagnostic-logs.zip%s"};
	b = xcalloc(1, sizeof(*b));
	b->kind = kind;
	b->job = job;
	memcpy(b->step_id, step_id, strlen(step_id) + 1);
	b->fd = -1;
	_cleanup_free_ char *tail = xasprintf(shapes[kind], step_id);
	b->path = xasprintf("actions-results/%s/workflow-job-run-%s/%s", job->run->plan_id, job->job_id, tail);
	digest_hmac_hex(f->key, sizeof(f->key), b->path, strlen(b->path), b->signature);
	f->blobs = xgrow(f->blobs, &f->blob_cap, f->blob_count + 1, sizeof(struct forge_blob *));
	f->blobs[f->blob_count++] = b;
	return b;
}

static json_t *signed_url(struct forge *f, const struct forge_blob *b)
{
	char time[CLOCK_TEXT_SIZE];
	clock_rfc3339(clock_wall_ms() + 3600 * 1000, time);
	return json_stringf("%s/_services/blobs/%s?se=%.19sZ&sig=%s&sp=cw&spr=https&sr=b&sv=2025-11-05", f->base,
	                    b->path, time, b->signature);
}

static void get_url(struct req *r, enum blob_kind kind, const char *member, bool per_step, bool limit)
{
	static const struct member members[] = {{"workflow_run_backend_id", 'g', true},
	                                        {"workflow_job_run_backend_id", 'g', true},
	                                        {"step_backend_id", 'g', true}};
	_cleanup_json_ json_t *body = NULL;
	struct forge_job *job = begin(r, members, per_step ? 3 : 2, &body);
	if (!job)
		return;
	struct forge_blob *b = blob_for(r->f, job, kind, per_step ? json_get_string(body, "step_backend_id") : "");
	if (b->registered)
		req_complain(r, "the log or summary was registered as complete before");
	json_t *answer =
		json_pack("{s:o, s:s}", member, signed_url(r->f, b), "blob_storage_type", "BLOB_STORAGE_TYPE_AZURE");
	if (limit)
		json_object_set_new(answer, "soft_size_limit", json_string("1048576"));
	req_reply_json(r, 200, answer);
}

static void step_logs_url(struct req *r)
{
	get_url(r, BLOB_STEP_LOG, "logs_url", true, true);
}

static void job_logs_url(struct req *r)
{
	get_url(r, BLOB_JOB_LOG, "logs_url", false, false);
}

static void summary_url(struct req *r)
{
	get_url(r, BLOB_SUMMARY, "summary_url", true, true);
}

static void diagnostic_url(struct req *r)
{
	get_url(r, BLOB_DIAGNOSTIC, "diag_logs_url", false, false);
}

/* Each stamped line has seven digits; a text of several lines has one stamp in front of its first. */
static void check_log(struct req *r, const struct forge_blob *b)
{
	static const char shape[] = "0000-00-00T00:00:00.0000000Z ";
	char head[3 + sizeof(shape)] = "";
	const char *data = head;
	if (b->fd >= 0 && pread(b->fd, head, sizeof(head) - 1, 0) < 0)
		req_complain(r, "the log cannot be read");
	if (memcmp(data, "\xef\xbb\xbf", 3) == 0)
		data += 3;
	for (size_t i = 0; i < sizeof(shape) - 1; i++)
		if (shape[i] == '0' ? data[i] < '0' || data[i] > '9' : data[i] != shape[i]) {
			req_complain(r, "the log does not begin with a time of seven digits and a blank: '%.40s'",
			             data);
			break;
		}
	if (!forge_blob_is_utf8(b))
		req_complain(r, "the log is not UTF-8");
}

static void metadata(struct req *r, enum blob_kind kind, bool per_step)
{
	static const struct member step_members[] = {{"workflow_run_backend_id", 'g', true},
	                                             {"workflow_job_run_backend_id", 'g', true},
	                                             {"uploaded_at", 'm', true},
	                                             {"line_count", 'i', true},
	                                             {"step_backend_id", 'g', true}};
	static const struct member summary_members[] = {{"workflow_run_backend_id", 'g', true},
	                                                {"workflow_job_run_backend_id", 'g', true},
	                                                {"uploaded_at", 'm', true},
	                                                {"size", 'i', true},
	                                                {"step_backend_id", 'g', true}};
	_cleanup_json_ json_t *body = NULL;
	struct forge_job *job =
		begin(r, kind == BLOB_SUMMARY ? summary_members : step_members, per_step ? 5 : 4, &body);
	if (!job)
		return;
	struct forge_blob *b =
		forge_blob_find(r->f, job, kind, per_step ? json_get_string(body, "step_backend_id") : "");
	if (!b || b->type == BLOB_NONE) {
		req_complain(r, "nothing was uploaded for it");
		twirp_error(r, 404, "not_found", "no such blob");
		return;
	}
	if (b->registered)
		req_complain(r, "it was registered before");
	if (kind == BLOB_SUMMARY) {
		if (json_get_int(body, "size", -1) != (int64_t)b->len)
			req_complain(r, "size is %lld, the blob has %zu bytes",
			             (long long)json_get_int(body, "size", -1), b->len);
		if (b->len > SUMMARY_LIMIT)
			req_complain(r, "the summary is larger than soft_size_limit");
	} else {
		if (json_get_int(body, "line_count", -1) != b->lines)
			req_complain(r, "line_count is %lld, the log has %lld lines",
			             (long long)json_get_int(body, "line_count", -1), (long long)b->lines);
		if (b->type == BLOB_APPEND && !b->sealed)
			req_complain(r, "the append blob was not sealed");
		check_log(r, b);
	}
	b->registered = true;
	req_reply_json(r, 200, json_pack("{s:b}", "ok", 1));
}

static void step_logs_metadata(struct req *r)
{
	metadata(r, BLOB_STEP_LOG, true);
}

static void job_logs_metadata(struct req *r)
{
	metadata(r, BLOB_JOB_LOG, false);
}

static void summary_metadata(struct req *r)
{
	metadata(r, BLOB_SUMMARY, true);
}

/* ---- Azure's side ---- */

static void blob_error(struct req *r, int status, const char *code)
{
	_cleanup_free_ char *xml = xasprintf(
		"\xef\xbb\xbf<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>%s</Code><Message>%s</Message>"
		"</Error>",
		code, code);
	req_reply_header(r, "x-ms-error-code: %s", code);
	req_reply_text(r, status, "application/xml", xml, strlen(xml));
}

static void blob_done(struct req *r, const struct forge_blob *b, int status)
{
	req_reply_header(r, "ETag: \"0x8D%zX%llX\"", b->len, (long long)b->appends);
	req_reply_header(r, "x-ms-request-id: %08llx-0000-0000-0000-000000000000",
	                 (long long)r->begun_ms & 0xffffffffLL);
	req_reply_header(r, "x-ms-version: 2025-11-05");
	req_reply_header(r, "x-ms-request-server-encrypted: true");
	req_reply(r, status);
}

static void check_blob_headers(struct req *r, const struct forge_blob *b, bool creating)
{
	if (req_header(r, "Authorization"))
		req_complain(r, "a signed URL takes no Authorization: the job's token went to the storage");
	if (!req_header(r, "Content-Length"))
		req_complain(r, "a blob request needs Content-Length");
	const char *type = req_header(r, "x-ms-blob-content-type");
	if (!type)
		type = req_header(r, "Content-Type");
	bool log = b->kind == BLOB_STEP_LOG || b->kind == BLOB_JOB_LOG;
	if (creating && log && (!type || strncasecmp(type, "text/plain", 10) != 0))
		req_complain(r, "the content type of a log is text/plain, not '%.60s'", type ? type : "");
	if (creating && b->kind == BLOB_SUMMARY && type && strncasecmp(type, "text/plain", 10) == 0)
		req_complain(r, "a summary is not text/plain");
}

static void create_blob(struct req *r, struct forge_blob *b)
{
	const char *type = req_header(r, "x-ms-blob-type"), *condition = req_header(r, "If-None-Match");
	check_blob_headers(r, b, true);
	if (!type || (strcmp(type, "BlockBlob") != 0 && strcmp(type, "AppendBlob") != 0)) {
		req_complain(r, "x-ms-blob-type must be BlockBlob or AppendBlob, not '%.40s'", type ? type : "");
		blob_error(r, 400, "MissingRequiredHeader");
		return;
	}
	if (condition && strcmp(condition, "*") == 0 && b->type != BLOB_NONE) {
		blob_error(r, 409, "BlobAlreadyExists");
		return;
	}
	bool append = strcmp(type, "AppendBlob") == 0;
	if (append && r->body.len) {
		req_complain(r, "an append blob is created with an empty body");
		blob_error(r, 400, "InvalidHeaderValue");
		return;
	}
	b->type = append ? BLOB_APPEND : BLOB_BLOCK;
	b->sealed = false;
	b->appends = 0;
	if (!forge_blob_clear(b) || !forge_blob_append(b, str_peek(&r->body), r->body.len)) {
		blob_error(r, 500, "InternalError");
		return;
	}
	blob_done(r, b, 201);
}

static void append_block(struct req *r, struct forge_blob *b)
{
	check_blob_headers(r, b, false);
	const char *position = req_header(r, "x-ms-blob-condition-appendpos"),
		   *seal = req_header(r, "x-ms-blob-sealed"), *seal_query = req_query(r, "seal");
	long long expected = 0;
	if (b->type == BLOB_NONE) {
		req_complain(r, "there is no append blob yet");
		blob_error(r, 404, "BlobNotFound");
	} else if (b->type != BLOB_APPEND) {
		req_complain(r, "the blob is no append blob");
		blob_error(r, 409, "InvalidBlobType");
	} else if (b->sealed) {
		req_complain(r, "the blob is sealed");
		blob_error(r, 409, "BlobIsSealed");
	} else if (!r->body.len) {
		req_complain(r, "an append of nothing");
		blob_error(r, 400, "InvalidHeaderValue");
	} else if (position && (!str_parse_i64(position, 0, INT64_MAX, &expected) || expected != (long long)b->len)) {
		blob_error(r, 412, "AppendPositionConditionNotMet");
	} else if (b->appends >= APPEND_LIMIT || !forge_blob_append(b, str_peek(&r->body), r->body.len)) {
		blob_error(r, 409, "BlockCountExceedsLimit");
	} else {
		req_reply_header(r, "x-ms-blob-append-offset: %zu", b->len - r->body.len);
		req_reply_header(r, "x-ms-blob-committed-block-count: %lld", (long long)++b->appends);
		b->sealed =
			(seal && strcasecmp(seal, "true") == 0) || (seal_query && strcasecmp(seal_query, "true") == 0);
		blob_done(r, b, 201);
	}
}

static void seal_blob(struct req *r, struct forge_blob *b)
{
	if (b->type != BLOB_APPEND) {
		req_complain(r, "the blob is no append blob");
		blob_error(r, b->type == BLOB_NONE ? 404 : 409, "InvalidBlobType");
		return;
	}
	b->sealed = true;
	req_reply_header(r, "x-ms-blob-sealed: true");
	blob_done(r, b, 200);
}

static void put_blob(struct req *r)
{
	struct forge_blob *b = NULL;
	for (size_t i = 0; i < r->f->blob_count && !b; i++)
		if (strcmp(r->f->blobs[i]->path, r->args[0]) == 0)
			b = r->f->blobs[i];
	const char *signature = req_query(r, "sig"), *operation = req_query(r, "comp");
	if (!b || !signature || strcmp(signature, b->signature) != 0) {
		req_complain(r, "the URL is not one that was signed");
		blob_error(r, 403, "AuthenticationFailed");
		return;
	}
	if (b->job->state == JOB_COMPLETED && !b->job->lost)
		req_complain(r, "the job was completed before: nothing may be uploaded after completejob");
	if (b->registered)
		req_complain(r, "the blob was registered as complete before");
	if (!operation)
		create_blob(r, b);
	else if (strcmp(operation, "appendblock") == 0)
		append_block(r, b);
	else if (strcmp(operation, "seal") == 0)
		seal_blob(r, b);
	else {
		req_complain(r, "comp=%.40s is not used by runners", operation);
		blob_error(r, 400, "InvalidQueryParameterValue");
	}
}

#define RECEIVER "_services/results/twirp/results.services.receiver.Receiver/"
const struct route results_routes[] = {
	{"POST", "_services/results/twirp/github.actions.results.api.v1.WorkflowStepUpdateService/WorkflowStepsUpdate",
         steps_update, 0},
	{"POST", RECEIVER "GetStepLogsSignedBlobURL", step_logs_url, 0},
	{"POST", RECEIVER "CreateStepLogsMetadata", step_logs_metadata, 0},
	{"POST", RECEIVER "GetJobLogsSignedBlobURL", job_logs_url, 0},
	{"POST", RECEIVER "CreateJobLogsMetadata", job_logs_metadata, 0},
	{"POST", RECEIVER "GetStepSummarySignedBlobURL", summary_url, 0},
	{"POST", RECEIVER "CreateStepSummaryMetadata", summary_metadata, 0},
	{"POST", RECEIVER "GetJobDiagLogsSignedBlobURL", diagnostic_url, 0},
	{"PUT", "_services/blobs/*", put_blob, ROUTE_BLOB},
	{0},
};
