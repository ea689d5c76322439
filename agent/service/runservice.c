#include "agent/service/runservice.h"

#include <strings.h>

#include "agent/service/registration.h"
#include "base/core/rand.h"

enum { COMPLETE_ROUNDS = 5, COMPLETE_TRIES = 5 };

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

int run_job_read(const json_t *message, struct run_job *ret, struct err *err)
{
	const char *type = wire_string(message, "messageType");
	if (type == NULL || strcasecmp(type, "RunnerJobRequest") != 0)
		return err_set(err, ERR_UNSUPPORTED,
		               "the job's message is of type '%.60s', which the older protocol uses", type ? type : "");
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
	*ret = (struct run_job){
		.url = xstrdup(url),
		.token = xstrdup(token),
		.plan_id = xstrdup(plan),
		.job_id = xstrdup(job),
		.name = xstrdup(name ? name : job),
		.billing_owner_id = xstrdup(wire_string(message, "billingOwnerId")),
	};
	return 0;
}

void run_job_done(struct run_job *job)
{
	if (job->token != NULL)
		explicit_bzero(job->token, strlen(job->token));
	free(job->url);
	free(job->token);
	free(job->plan_id);
	free(job->job_id);
	free(job->name);
	free(job->billing_owner_id);
	*job = (struct run_job){0};
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

json_t *runservice_renew_body(const struct run_job *job)
{
	return json_pack("{s:s, s:s}", "planId", job->plan_id, "jobId", job->job_id);
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

/* One try. ERR_AUTH and ERR_NOT_FOUND are final. */
static int complete_once(struct http *h, const char *url, const struct wire_headers *headers, const char *body,
                         struct wait *w, struct err *err)
{
	struct http_response response = {0};
	struct http_request request = {
		.method = "POST",
		.url = url,
		.headers = (const char *const *)headers->lines,
		.body = body,
		.body_len = strlen(body),
		.timeout_ms = 100000,
		.follow = true,
	};
	int r = http_perform(h, &request, w, &response, err);
	if (r >= 0 && (response.status < 200 || response.status > 299)) {
		r = wire_status_error(&response, "completejob", err);
		if (r == ERR_NOT_FOUND && wire_run_service_error(&response) != 404)
			r = ERR_NETWORK;
	}
	http_response_done(&response);
	return r;
}

int runservice_complete(struct http *h, const struct run_job *job, const json_t *completion, struct wait *w,
                        struct err *err)
{
	_cleanup_free_ char *url = wire_url(job->url, "completejob"), *body = json_text(completion);
	_cleanup_(wire_headers_done) struct wire_headers headers;
	wire_headers_make(&headers, "Bearer", job->token, true, true);
	int r = 0;
	for (int try = 0; try < COMPLETE_ROUNDS * COMPLETE_TRIES; try++) {
		if (try > 0) {
			int64_t pause = try % COMPLETE_TRIES == 0 ? 5000 : 5000 + (int64_t)rand_below(10000);
			struct err ignored = ERR_INIT;
			if (wait_ms(w, registration_pace(pause), &ignored) < 0)
				break;
		}
		err_clear(err);
		r = complete_once(h, url, &headers, body, w, err);
		if (r >= 0 || r == ERR_AUTH || r == ERR_NOT_FOUND || r == ERR_CANCELLED)
			break;
	}
	return r < 0 ? err_wrap(err, r, "report the job's end") : 0;
}
