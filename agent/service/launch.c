#include "agent/service/launch.h"

#include <string.h>

enum { MESSAGES_MAX = 2000 };

int launch_request(const struct run_job *job, const json_t *message, const json_t *actions, struct service_request *ret,
                   struct err *err)
{
	return job->type->actions(job, message, actions, ret, err);
}

/* On the origin of the endpoint. free() */
static char *url_of(const char *endpoint, const struct run_job *job)
{
	const char *host = strstr(endpoint, "://");
	size_t origin = host == NULL ? strlen(endpoint) : (size_t)(host + 3 - endpoint) + strcspn(host + 3, "/?#");
	return xasprintf("%.*s/actions/build/%s/jobs/%s/runnerresolve/actions", (int)origin, endpoint, job->plan_id,
	                 job->job_id);
}

int launch_of_run_service(const struct run_job *job, const json_t *message, const json_t *actions,
                          struct service_request *ret, struct err *err)
{
	const char *endpoint =
		wire_string(wire_get(wire_get(message, "variables"), "system.github.launch_endpoint"), "value");
	const json_t *dependencies = wire_get(message, "dependencies");
	if (endpoint == NULL || endpoint[0] == '\0')
		return err_set(err, ERR_PROTOCOL, "the job's message names no service that resolves actions");
	*ret = (struct service_request){.url = url_of(endpoint, job), .json = json_object(), .caller = AS_JOB};
	json_object_set(ret->json, "actions", (json_t *)(uintptr_t)actions);
	if (json_array_size(dependencies) > 0)
		json_object_set(ret->json, "actions_dependencies", (json_t *)(uintptr_t)dependencies);
	return 0;
}

/* The older services spell it otherwise; readers need one form. */
static void spell(json_t *info)
{
	static const struct {
		const char *from, *to;
	} names[] = {{"nameWithOwner", "name"},
	             {"ref", "version"},
	             {"resolvedNameWithOwner", "resolved_name"},
	             {"resolvedSha", "resolved_sha"},
	             {"tarballUrl", "tar_url"}};
	for (size_t i = 0; json_is_object(info) && i < ARRAY_SIZE(names); i++) {
		json_t *value = wire_get(info, names[i].from);
		if (value != NULL && json_object_get(info, names[i].to) == NULL)
			json_object_set(info, names[i].to, value);
	}
}

/* The service's own sentences, one an action. */
static int refused(const json_t *answer, struct err *err)
{
	_cleanup_(str_done) struct str text = STR_INIT(MESSAGES_MAX);
	const char *key;
	json_t *error;
	json_object_foreach(wire_get(answer, "errors"), key, error)
	{
		const char *message = wire_string(error, "message");
		if (message != NULL)
			str_appendf(&text, "%s%s", text.len > 0 ? ". " : "", message);
	}
	return err_set(err, ERR_NOT_FOUND, "%s", text.len > 0 ? str_peek(&text) : "the service resolves no actions");
}

int launch_read(const struct http_response *response, bool helpful, json_t **ret, bool *ret_again, struct err *err)
{
	_cleanup_json_ json_t *answer = NULL;
	*ret_again = true;
	if (helpful && response->status == 422) {
		*ret_again = false;
		int r = wire_read_object(response, &answer, err);
		return r < 0 ? r : refused(answer, err);
	}
	if (response->status < 200 || response->status > 299) {
		*ret_again = response->status != 429;
		int r = wire_status_error(response, "resolve actions", err);
		return response->status == 429 ? err_hint(err, r, "GitHub has reached an internal rate limit") : r;
	}
	int r = wire_read_object(response, &answer, err);
	if (r < 0)
		return r;
	json_t *actions = wire_get(answer, "actions");
	if (!json_is_object(actions))
		return err_set(err, ERR_PROTOCOL, "the answer about actions has no 'actions'");
	const char *key;
	json_t *info;
	json_object_foreach(actions, key, info) spell(info);
	*ret = json_incref(actions);
	return 0;
}
