/* What the services of actions have in common: who calls, and how an error is told. */
#include "agent/forge/services_priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void twirp_error(struct req *r, int status, const char *code, const char *fmt, ...)
{
	char text[512];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	req_reply_json(
		r, status,
		json_pack("{s:s, s:o, s:{}}", "code", code, "msg", json_string_lossy(text, strlen(text)), "meta"));
}

struct forge_job *twirp_begin(struct req *r, const struct member *members, size_t count, json_t **ret_body)
{
	struct forge_token *t = token_need(r, TOKEN_JOB);
	if (t == NULL)
		return NULL;
	if (t->job->state == JOB_COMPLETED) {
		twirp_error(r, 412, "failed_precondition", "the job is completed");
		return NULL;
	}
	*ret_body = req_json(r);
	if (*ret_body == NULL)
		return NULL;
	if (!check_members(r, *ret_body, "the request", members, count)) {
		twirp_error(r, 400, "invalid_argument", "the request is not valid");
		return NULL;
	}
	return t->job;
}

struct forge_job *twirp_begin_own(struct req *r, const struct member *members, size_t count, bool any_job,
                                  json_t **ret_body)
{
	struct forge_job *job = twirp_begin(r, members, count, ret_body);
	if (job == NULL)
		return NULL;
	const char *plan = json_get_string(*ret_body, "workflow_run_backend_id"),
		   *id = json_get_string(*ret_body, "workflow_job_run_backend_id");
	if (strcmp(plan, job->run->plan_id) == 0 && (any_job || strcmp(id, job->job_id) == 0))
		return job;
	req_complain(r, "the run and the job are not those of the token");
	twirp_error(r, 403, "permission_denied", "the run and the job are not those of the token");
	return NULL;
}

bool twirp_number(const json_t *object, const char *key, int64_t *ret)
{
	const json_t *value = json_object_get(object, key);
	long long number;
	if (json_is_integer(value))
		*ret = json_integer_value(value);
	else if (json_is_string(value) && str_parse_i64(json_string_value(value), 0, INT64_MAX, &number))
		*ret = number;
	else
		return false;
	return *ret >= 0;
}
