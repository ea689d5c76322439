#include "agent/service/launch.h"

#include <string.h>

enum { MESSAGES_MAX = 2000 };

char *launch_url(const char *endpoint, const struct run_job *job)
{
	const char *host = strstr(endpoint, "://");
	size_t origin = host == NULL ? strlen(endpoint) : (size_t)(host + 3 - endpoint) + strcspn(host + 3, "/?#");
	return xasprintf("%.*s/actions/build/%s/jobs/%s/runnerresolve/actions", (int)origin, endpoint, job->plan_id,
	                 job->job_id);
}

json_t *launch_body(const json_t *actions, const json_t *dependencies)
{
	json_t *body = json_object();
	json_object_set(body, "actions", (json_t *)(uintptr_t)actions);
	if (json_array_size(dependencies) > 0)
		json_object_set(body, "actions_dependencies", (json_t *)(uintptr_t)dependencies);
	return body;
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
	*ret = json_incref(actions);
	return 0;
}
