#include "agent/service/runservice.h"

#include <strings.h>

#include "agent/service/launch.h"
#include "agent/service/registration.h"
#include "agent/service/v1_locations.h"
#include "base/core/log.h"
#include "base/core/rand.h"

enum { TRIES_OF_ROUND = 5, ASKED_MAX_MS = 2 * 60 * 1000, PREPARE_TRIES = 5 };

json_t *runservice_acquire_body(const char *request_id, const char *billing_owner_id)
{
	json_t *body = json_pack("{s:s, s:s}", "jobMessageId", request_id, "runnerOS", wire_os());
	if (billing_owner_id != NULL)
		json_object_set_new(body, "billingOwnerId", json_string(billing_owner_id));
	return body;
}

/* The endpoint named SystemVssConnection; there must be exactly one. */
static const json_t *system_connection(const json_t *message)
{
	const json_t *endpoints = wire_get(wire_get(message, "resources"), "endpoints"), *found = NULL;
	size_t i;
	json_t *endpoint;
	json_array_foreach((json_t *)endpoints, i, endpoint)
	{
		const char *name = wire_string(endpoint, "name");
		if (name == NULL || strcasecmp(name, "SystemVssConnection") != 0)
			continue;
		if (found != NULL)
			return NULL;
		found = endpoint;
	}
	return found;
}

static const struct job_type *const types[] = {&job_of_run_service, &job_of_v1};

static const struct job_type *type_of(const char *message_type)
{
	for (size_t i = 0; message_type != NULL && i < ARRAY_SIZE(types); i++)
		if (strcasecmp(message_type, types[i]->message_type) == 0)
			return types[i];
	return NULL;
}

int run_job_read(const json_t *message, struct run_job *ret, struct err *err)
{
	const char *type = wire_string(message, "messageType");
	const struct job_type *its = type_of(type);
	if (its == NULL)
		return err_set(err, ERR_UNSUPPORTED, "the job's message is of type '%.60s', which is not known",
		               type ? type : "");
	const json_t *connection = system_connection(message);
	const char *url = wire_string(connection, "url");
	const char *token = wire_string(wire_get(wire_get(connection, "authorization"), "parameters"), "AccessToken");
	const char *plan = wire_string(wire_get(message, "plan"), "planId"), *job = wire_string(message, "jobId");
	const char *lacks = connection == NULL ? "one system connection"
	                    : url == NULL      ? "the run service's URL"
	                    : token == NULL    ? "the job's token"
	                    : plan == NULL     ? "the plan's id"
	                    : job == NULL      ? "the job's id"
	                                       : NULL;
	if (lacks != NULL)
		return err_set(err, ERR_PROTOCOL, "the job's message lacks %s", lacks);
	const char *name = wire_string(message, "jobDisplayName");
	struct run_job run = {
		.type = its,
		.url = xstrdup(url),
		.token = xstrdup(token),
		.plan_id = xstrdup(plan),
		.job_id = xstrdup(job),
		.name = xstrdup(name ? name : job),
		.billing_owner_id = xstrdup(wire_string(message, "billingOwnerId")),
	};
	int r = its->read(message, &run, err);
	if (r < 0) {
		run_job_done(&run);
		return r;
	}
	*ret = run;
	return 0;
}

/* ---- its texts, as they are kept and freed ---- */

struct text_member {
	const char *key;
	size_t offset;
	bool required;
};
#define MEMBER(name, need)                                                                                             \
	{                                                                                                              \
#name, offsetof(struct run_job, name), need                                                            \
	}
static const struct text_member members[] = {
	MEMBER(url, true),          MEMBER(token, true),
	MEMBER(plan_id, true),      MEMBER(job_id, true),
	MEMBER(name, true),         MEMBER(billing_owner_id, false),
	MEMBER(reference, false),   MEMBER(scope, false),
	MEMBER(hub, false),         MEMBER(timeline, false),
	MEMBER(environment, false), MEMBER(orchestration, false),
	MEMBER(request_url, false), MEMBER(request_version, false),
};
#undef MEMBER

static char **member_of(const struct run_job *job, const struct text_member *m)
{
	return (char **)((char *)(uintptr_t)job + m->offset);
}

void run_job_done(struct run_job *job)
{
	if (job->token != NULL)
		explicit_bzero(job->token, strlen(job->token));
	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		free(*member_of(job, &members[i]));
	v1_locations_free(job->locations);
	*job = (struct run_job){.url = NULL};
}

void run_job_write(const struct run_job *job, json_t *record)
{
	json_object_set_new(record, "message_type", json_string(job->type->message_type));
	json_object_set_new(record, "request_id", json_integer(job->request_id));
	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		const char *text = *member_of(job, &members[i]);
		if (text != NULL)
			json_object_set_new(record, members[i].key, json_string(text));
	}
}

int run_job_load(const json_t *record, struct run_job *ret, struct err *err)
{
	const char *type = json_get_string(record, "message_type");
	/* Releases before this one knew one generation. */
	struct run_job job = {.type = type == NULL ? &job_of_run_service : type_of(type),
	                      .request_id = json_get_int(record, "request_id", 0)};
	bool fine = job.type != NULL;
	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		const char *text = json_get_string(record, members[i].key);
		fine = fine && (text != NULL || !members[i].required);
		*member_of(&job, &members[i]) = xstrdup(text);
	}
	if (!fine) {
		run_job_done(&job);
		return err_set(err, ERR_PROTOCOL, "the record of a job is not whole");
	}
	*ret = job;
	return 0;
}

/* A value of a dictionary in the form {"t":2,"d":[{"k":…,"v":…}]}, or of a plain object. */
static const json_t *context_get(const json_t *dictionary, const char *key)
{
	const json_t *pairs = json_object_get(dictionary, "d");
	if (!json_is_array(pairs))
		return wire_get(dictionary, key);
	size_t i;
	json_t *pair;
	json_array_foreach((json_t *)pairs, i, pair)
	{
		const char *name = json_string_value(json_object_get(pair, "k"));
		if (name != NULL && strcasecmp(name, key) == 0)
			return json_object_get(pair, "v");
	}
	return NULL;
}

static const char *context_text(const json_t *dictionary, const char *key)
{
	const json_t *value = context_get(dictionary, key);
	return json_is_object(value) ? json_string_value(json_object_get(value, "s")) : json_string_value(value);
}

json_t *run_job_report(const json_t *message)
{
	json_t *report = json_object();
	const json_t *variables = wire_get(message, "variables"),
		     *github = wire_get(wire_get(message, "contextData"), "github");
	const char *token = wire_string(wire_get(variables, "system.github.token"), "value");
	if (token != NULL)
		json_object_set_new(report, "token", json_string(token));
	static const char *const names[] = {"api_url", "server_url",  "repository", "sha", "ref",
	                                    "run_id",  "run_attempt", "workflow",   "job"};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const char *text = context_text(github, names[i]);
		if (text != NULL)
			json_object_set_new(report, names[i], json_string(text));
	}
	const char *name = wire_string(message, "jobDisplayName");
	if (name != NULL)
		json_object_set_new(report, "job_name", json_string(name));
	return report;
}

int runservice_read_renewal(const struct http_response *response, int64_t *ret_locked_until_wall_ms, struct err *err)
{
	_cleanup_json_ json_t *answer = NULL;
	int r = wire_read_object(response, &answer, err);
	if (r < 0)
		return r;
	int64_t until = wire_time(wire_string(answer, "lockedUntil"));
	if (until == 0)
		return err_set(err, ERR_PROTOCOL, "the answer to a renewal has no time in lockedUntil");
	*ret_locked_until_wall_ms = until;
	return 0;
}

json_t *runservice_completion(const struct run_job *job, const char *conclusion)
{
	json_t *body =
		json_pack("{s:s, s:s, s:s}", "planId", job->plan_id, "jobId", job->job_id, "conclusion", conclusion);
	if (job->billing_owner_id != NULL)
		json_object_set_new(body, "billingOwnerId", json_string(job->billing_owner_id));
	return body;
}

void runservice_annotate(json_t *completion, const char *level, const char *message)
{
	json_t *list = json_object_get(completion, "annotations");
	if (!json_is_array(list)) {
		list = json_array();
		json_object_set_new(completion, "annotations", list);
	}
	json_t *annotation = json_pack("{s:s}", "level", level);
	json_object_set_new(annotation, "message", json_string_lossy(message, strlen(message)));
	json_array_append_new(list, annotation);
}

/* ---- the run service's ---- */

static int read_nothing(const json_t *message, struct run_job *job, struct err *err)
{
	(void)message;
	(void)job;
	(void)err;
	return 0;
}

static bool prepare(const struct run_job *job, struct service_request *ret)
{
	(void)job;
	(void)ret;
	return false;
}

static int prepared(struct run_job *job, const struct http_response *response, struct err *err)
{
	(void)job;
	(void)response;
	(void)err;
	return 0;
}

static void renew(const struct run_job *job, struct service_request *ret)
{
	*ret = (struct service_request){.url = wire_url(job->url, "renewjob"),
	                                .json = json_pack("{s:s, s:s}", "planId", job->plan_id, "jobId", job->job_id),
	                                .caller = AS_JOB};
}

static bool is_gone(const struct http_response *response)
{
	return wire_run_service_error(response) == 404;
}

static int complete(const struct run_job *job, const json_t *completion, int index, struct service_request *ret,
                    struct err *err)
{
	(void)err;
	if (index > 0)
		return 0;
	*ret = (struct service_request){.url = wire_url(job->url, "completejob"),
	                                .json = json_incref((json_t *)(uintptr_t)completion),
	                                .caller = AS_JOB};
	return 1;
}

const struct job_type job_of_run_service = {
	.message_type = "RunnerJobRequest",
	.read = read_nothing,
	.prepare = prepare,
	.prepared = prepared,
	.renew = renew,
	.inquire = prepare,
	.is_gone = is_gone,
	.complete = complete,
	.actions = launch_of_run_service,
};

/* ---- by whoever may block ---- */

int runservice_prepare(struct http *h, struct run_job *job, struct wait *w, struct err *err)
{
	int r = 0;
	for (int try = 0; try < PREPARE_TRIES; try++) {
		struct service_request q = {.url = NULL};
		struct http_response response = {.status = 0};
		struct err ignored = ERR_INIT;
		if (!job->type->prepare(job, &q))
			return 0;
		err_clear(err);
		if (try > 0 && wait_ms(w, registration_pace(100LL << try), &ignored) < 0)
			r = ERR_CANCELLED;
		else
			r = service_request_perform(h, &q, job->token, w, &response, err);
		if (r >= 0 && (response.status < 200 || response.status > 299))
			r = wire_status_error(&response, "ask what the service has", err);
		if (r >= 0)
			r = job->type->prepared(job, &response, err);
		http_response_done(&response);
		service_request_done(&q);
		if (r >= 0 || r == ERR_AUTH || r == ERR_CANCELLED)
			break;
	}
	return r < 0 ? err_wrap(err, r, "prepare the reports of the job") : 0;
}

static enum runservice_end end_of_answer(const struct run_job *job, const struct http_response *response)
{
	if (response->status >= 200 && response->status <= 299)
		return RUNSERVICE_SENT;
	if (job->type->is_gone(response))
		return RUNSERVICE_GONE;
	switch (response->status) {
	case 401:
	case 409:
	case 410:
		return RUNSERVICE_GONE;
	case 404: /* without the service's own word it may be anything that stands in between [10.2] */
	case 408:
	case 425:
	case 429:
		return RUNSERVICE_LATER;
	default:
		return response->status >= 400 && response->status <= 499 ? RUNSERVICE_REFUSED : RUNSERVICE_LATER;
	}
}

enum runservice_end runservice_completed(const struct run_job *job, int result, const struct http_response *response,
                                         const struct err *failure, bool *taken, struct err *err)
{
	static const char what[] = "report the job's end";
	if (result < 0) {
		*taken = *taken || response->resent || failure == NULL || http_was_sent(failure);
		if (failure != NULL && err != NULL)
			*err = *failure;
		err_wrap(err, result, "%s", what);
		return RUNSERVICE_LATER;
	}
	enum runservice_end end = end_of_answer(job, response);
	/* What stands in between may have lost the service's answer; one that has no time for us (503) has done nothing. */
	*taken = *taken || response->resent || (response->status >= 500 && response->status != 503);
	if (end == RUNSERVICE_GONE && *taken) {
		log_info("service", "the end of job '%s' is with the service: the answer to an earlier try was lost",
		         job->name);
		return RUNSERVICE_SENT;
	}
	if (end != RUNSERVICE_SENT)
		wire_status_error(response, what, err);
	return end;
}

json_t *runservice_smaller(const json_t *completion, int refusals, const char *why)
{
	const json_t *outputs = json_get_object(completion, "outputs");
	bool has_outputs = json_object_size(outputs) > 0;
	if (refusals > (has_outputs ? 2 : 1))
		return NULL;
	static const char *const kept[] = {"planId", "jobId", "conclusion", "billingOwnerId"};
	json_t *smaller = json_object();
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		if (json_object_get(completion, kept[i]) != NULL)
			json_object_set(smaller, kept[i], json_object_get(completion, kept[i]));
	bool with_outputs = has_outputs && refusals == 1;
	if (with_outputs)
		json_object_set(smaller, "outputs", (json_t *)(uintptr_t)outputs);
	/* Who needs this job must not go on without its outputs. */
	if (has_outputs && !with_outputs)
		json_object_set_new(smaller, "conclusion", json_string("failed"));
	_cleanup_free_ char *text =
		xasprintf("The service refused the whole result of this job (%s): %s missing here.", why,
	                  has_outputs && !with_outputs ? "its steps, annotations and outputs are"
	                                               : "its steps and annotations are");
	runservice_annotate(smaller, has_outputs && !with_outputs ? "failure" : "warning", text);
	return smaller;
}

int64_t runservice_complete_pause(int tries, int64_t asked_ms)
{
	int64_t own = tries % TRIES_OF_ROUND == 0 ? 5000 : 5000 + (int64_t)rand_below(10000);
	int64_t pause = registration_pace(own), asked = MIN(asked_ms, (int64_t)ASKED_MAX_MS);
	return MAX(pause, asked);
}
