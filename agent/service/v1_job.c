/* A job of the older services: renewed at the pool with the runner's token, reported to the timeline of its plan, ended by an event of
 * the plan [5.4, 5.7]. */
#include "agent/service/runservice.h"

#include <ctype.h>
#include <strings.h>

#include "agent/service/v1_answer.h"
#include "agent/service/v1_job.h"
#include "base/core/clock.h"

enum { PLAN_VERSION_MIN = 8, PERCENT_DONE = 100, QUERY_MAX = 512 };

static int read_job(const json_t *message, struct run_job *job, struct err *err)
{
	const json_t *plan = wire_get(message, "plan");
	const char *scope = wire_string(plan, "scopeIdentifier"), *hub = wire_string(plan, "planType");
	const char *timeline = wire_string(wire_get(message, "timeline"), "id"),
		   *name = wire_string(message, "jobName");
	const char *lacks = scope == NULL      ? "the plan's scope"
	                    : hub == NULL      ? "the plan's type"
	                    : timeline == NULL ? "the timeline's id"
	                                       : NULL;
	if (lacks != NULL)
		return err_set(err, ERR_PROTOCOL, "the job's message lacks %s", lacks);
	if (wire_int(plan, "version", PLAN_VERSION_MIN) < PLAN_VERSION_MIN)
		return err_set(err, ERR_UNSUPPORTED,
		               "the job's plan has version %lld; its end can be reported from %d on",
		               (long long)wire_int(plan, "version", 0), PLAN_VERSION_MIN);
	job->scope = xstrdup(scope);
	job->hub = xstrdup(hub);
	job->timeline = xstrdup(timeline);
	job->reference = xstrdup(name);
	job->request_id = wire_int(message, "requestId", 0);
	job->environment = xstrdup(wire_string(wire_get(message, "actionsEnvironment"), "name"));
	job->orchestration =
		xstrdup(wire_string(wire_get(wire_get(message, "variables"), "system.orchestrationId"), "value"));
	return 0;
}

static bool prepare(const struct run_job *job, struct service_request *ret)
{
	if (job->locations != NULL)
		return false;
	v1_locations_ask(job->url, ret);
	ret->caller = AS_JOB;
	return true;
}

static int prepared(struct run_job *job, const struct http_response *response, struct err *err)
{
	return v1_locations_read(job->url, str_peek(&response->body), response->body.len, &job->locations, err);
}

static void renew(const struct run_job *job, struct service_request *ret)
{
	*ret = (struct service_request){.method = "PATCH",
	                                .url = xasprintf("%s%slockToken=00000000-0000-0000-0000-000000000000",
	                                                 job->request_url,
	                                                 strchr(job->request_url, '?') != NULL ? "&" : "?"),
	                                .version = xstrdup(job->request_version),
	                                .orchestration = xstrdup(job->orchestration),
	                                .json = json_pack("{s:I}", "requestId", (json_int_t)job->request_id),
	                                .caller = AS_RUNNER};
}

static bool inquire(const struct run_job *job, struct service_request *ret)
{
	*ret = (struct service_request){
		.url = xstrdup(job->request_url), .version = xstrdup(job->request_version), .caller = AS_RUNNER};
	return true;
}

/* Enums come as texts or as numbers [0.3]. */
static char *result_of(const struct http_response *response)
{
	static const char *const names[] = {"succeeded", "succeededWithIssues", "failed", "canceled", "skipped",
	                                    "abandoned"};
	_cleanup_json_ json_t *answer = NULL;
	if (response->status < 200 || response->status > 299 || wire_read_object(response, &answer, NULL) < 0)
		return NULL;
	const char *text = wire_string(answer, "result");
	int64_t number = text == NULL ? wire_int(answer, "result", -1) : -1;
	return xstrdup(number >= 0 && number < (int64_t)ARRAY_SIZE(names) ? names[number] : text);
}

static bool is_gone(const struct http_response *response)
{
	static const char *const classes[] = {"TaskAgentJobNotFoundException",
	                                      "TaskAgentJobTokenExpiredException",
	                                      "TaskOrchestrationPlanNotFoundException",
	                                      "TaskOrchestrationPlanSecurityException",
	                                      "TaskOrchestrationPlanTerminatedException",
	                                      NULL};
	return v1_error_is(response, classes);
}

int v1_job_request(const struct run_job *job, enum v1_call call, const struct v1_value *more, const char *query,
                   struct service_request *ret, struct err *err)
{
	struct v1_value values[V1_VALUES_MAX] = {{"scopeIdentifier", job->scope},
	                                         {"hubName", job->hub},
	                                         {"planId", job->plan_id},
	                                         {"timelineId", job->timeline}};
	size_t n = 4;
	for (; more != NULL && more->name != NULL && n + 1 < V1_VALUES_MAX; more++)
		values[n++] = *more;
	if (job->locations == NULL)
		return err_set(err, ERR_INTERNAL, "the service's resources are not known yet");
	ret->caller = AS_JOB;
	ret->orchestration = xstrdup(job->orchestration);
	return v1_locations_request(job->locations, call, values, query, ret, err);
}

json_t *v1_job_list(json_t *items)
{
	return json_pack("{s:I, s:o}", "count", (json_int_t)json_array_size(items), "value", items);
}

/* An annotation of ours as an issue of a record. */
static json_t *issue_of(const json_t *annotation)
{
	static const struct {
		const char *from, *to;
	} names[] = {{"title", "title"},          {"path", "file"},       {"startLine", "line"},
	             {"endLine", "endLine"},      {"startColumn", "col"}, {"endColumn", "endColumn"},
	             {"stepNumber", "stepNumber"}};
	const char *level = json_get_string(annotation, "level");
	json_t *data = json_object();
	bool placed = json_object_get(annotation, "path") != NULL;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const json_t *value = json_object_get(annotation, names[i].from);
		/* Without a file it is the line of the log. */
		const char *to = !placed && strcmp(names[i].to, "line") == 0 ? "logFileLineNumber" : names[i].to;
		if (value == NULL || (!placed && strcmp(names[i].to, "endLine") == 0))
			continue;
		json_object_set_new(data, to,
		                    json_is_integer(value) ? json_stringf("%lld", (long long)json_integer_value(value))
		                                           : json_incref((json_t *)(uintptr_t)value));
	}
	const char *type = level != NULL && strcmp(level, "failure") == 0  ? "error"
	                   : level != NULL && strcmp(level, "notice") == 0 ? "notice"
	                                                                   : "warning";
	json_t *issue = json_pack("{s:s, s:n, s:o}", "type", type, "category", "data", data);
	json_object_set(issue, "message", json_object_get(annotation, "message"));
	return issue;
}

void v1_job_set_issues(json_t *record, const json_t *annotations)
{
	json_t *issues = json_array(), *annotation;
	int counts[3] = {0};
	size_t i;
	json_array_foreach((json_t *)(uintptr_t)annotations, i, annotation)
	{
		json_t *issue = issue_of(annotation);
		const char *type = json_get_string(issue, "type");
		counts[type[0] == 'e' ? 0 : type[0] == 'w' ? 1 : 2]++;
		json_array_append_new(issues, issue);
	}
	json_object_set_new(record, "errorCount", json_integer(counts[0]));
	json_object_set_new(record, "warningCount", json_integer(counts[1]));
	json_object_set_new(record, "noticeCount", json_integer(counts[2]));
	json_object_set_new(record, "issues", issues);
}

/* The job's own record, before the event: its issues are the job's annotations. */
static json_t *job_record(const struct run_job *job, const json_t *completion)
{
	char text[CLOCK_TEXT_SIZE];
	json_t *record = json_pack("{s:s, s:s, s:s, s:i}", "id", job->job_id, "type", "Job", "state", "completed",
	                           "percentComplete", PERCENT_DONE);
	json_object_set_new(record, "name", json_string(job->name));
	json_object_set(record, "result", json_object_get(completion, "conclusion"));
	json_object_set_new(record, "finishTime", json_string(clock_rfc3339(clock_wall_ms(), text)));
	v1_job_set_issues(record, json_object_get(completion, "annotations"));
	return record;
}

/* Here a kind begins with a small letter, and the general one is not said [01: 5.7]. */
static json_t *job_telemetry(const json_t *completion)
{
	json_t *list = json_array(), *entry;
	size_t i;
	json_array_foreach(json_object_get(completion, "telemetry"), i, entry)
	{
		_cleanup_free_ char *type = xstrdup(json_get_string(entry, "type"));
		json_t *told = json_pack("{s:O}", "message", json_object_get(entry, "message"));
		if (type != NULL && strcmp(type, "General") != 0) {
			type[0] = (char)tolower((unsigned char)type[0]);
			json_object_set_new(told, "type", json_string(type));
		}
		json_array_append_new(list, told);
	}
	return list;
}

static json_t *step_telemetry(const json_t *step)
{
	static const char *const names[][2] = {{"external_id", "stepId"},     {"type", "type"},
	                                       {"action_name", "action"},     {"ref", "ref"},
	                                       {"conclusion", "result"},      {"started_at", "startTime"},
	                                       {"completed_at", "finishTime"}};
	json_t *told = json_object();
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (json_object_get(step, names[i][0]) != NULL)
			json_object_set(told, names[i][1], json_object_get(step, names[i][0]));
	int64_t from = wire_time(json_get_string(step, "started_at")),
		until = wire_time(json_get_string(step, "completed_at"));
	if (from > 0 && until >= from)
		json_object_set_new(told, "executionTimeInSeconds", json_integer((until - from + 999) / 1000));
	return told;
}

/* Of steps that ran: of a skipped one nothing is known. */
static json_t *steps_telemetry(const json_t *completion)
{
	json_t *list = json_array(), *step;
	size_t i;
	json_array_foreach(json_object_get(completion, "stepResults"), i,
	                   step) if (json_get_string(step, "type") != NULL)
		json_array_append_new(list, step_telemetry(step));
	return list;
}

static json_t *completed_event(const struct run_job *job, const json_t *completion)
{
	json_t *event = json_pack("{s:s, s:s, s:I}", "name", "JobCompleted", "jobId", job->job_id, "requestId",
	                          (json_int_t)job->request_id);
	json_object_set(event, "result", json_object_get(completion, "conclusion"));
	json_t *outputs = json_object_get(completion, "outputs");
	json_object_set_new(event, "outputs", outputs != NULL ? json_incref(outputs) : json_object());
	if (job->environment != NULL) {
		json_t *environment = json_pack("{s:s}", "name", job->environment);
		json_t *url = json_object_get(completion, "environmentUrl");
		if (url != NULL)
			json_object_set(environment, "url", url);
		json_object_set_new(event, "actionsEnvironment", environment);
	}
	json_object_set_new(event, "actionsStepsTelemetry", steps_telemetry(completion));
	json_object_set_new(event, "jobTelemetry", job_telemetry(completion));
	return event;
}

static int complete(const struct run_job *job, const json_t *completion, int index, struct service_request *ret,
                    struct err *err)
{
	if (index > 1)
		return 0;
	*ret = (struct service_request){.method = index == 0 ? "PATCH" : "POST"};
	int r = v1_job_request(job, index == 0 ? V1_RECORDS : V1_PLAN_EVENTS, NULL, NULL, ret, err);
	if (r < 0) {
		service_request_done(ret);
		return r;
	}
	ret->json = index == 0 ? v1_job_list(json_pack("[o]", job_record(job, completion)))
	                       : completed_event(job, completion);
	return 1;
}

static int ask_for_actions(const struct run_job *job, const json_t *message, const json_t *actions,
                           struct service_request *ret, struct err *err)
{
	_cleanup_(str_done) struct str query = STR_INIT(QUERY_MAX);
	(void)message;
	str_append(&query, "jobId=");
	wire_escape(&query, job->job_id);
	*ret = (struct service_request){.method = "POST"};
	int r = v1_job_request(job, V1_ACTION_DOWNLOADS, NULL, str_peek(&query), ret, err);
	if (r < 0)
		return r;
	json_t *list = json_array(), *action;
	size_t i;
	json_array_foreach((json_t *)(uintptr_t)actions, i, action) json_array_append_new(
		list, json_pack("{s:O, s:O, s:s}", "nameWithOwner", json_object_get(action, "action"), "ref",
	                        json_object_get(action, "version"), "path",
	                        json_get_string(action, "path") ? json_get_string(action, "path") : ""));
	ret->json = json_pack("{s:o}", "actions", list);
	return 0;
}

const struct job_type job_of_v1 = {
	.message_type = "PipelineAgentJobRequest",
	.renewed_by_runner = true,
	.read = read_job,
	.prepare = prepare,
	.prepared = prepared,
	.renew = renew,
	.inquire = inquire,
	.result = result_of,
	.is_gone = is_gone,
	.complete = complete,
	.actions = ask_for_actions,
};
