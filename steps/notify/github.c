/* What the channels of GitHub share: one request, and whether a failure may pass. */
#include "steps/notify/notify_priv.h"

bool notify_is_ours(const struct step_context *c, const json_t *message)
{
	const char *repository = json_get_string(message, "repository");
	return repository != NULL && c->deployment->repository != NULL &&
	       strcmp(repository, c->deployment->repository) == 0;
}

enum notify_sent notify_ask(const struct step_context *c, const char *method, const char *path, const json_t *body,
                            const char *what, const char *permission, json_t **ret_body, struct err *err)
{
	_cleanup_(rest_reply_done) struct rest_reply reply = {0};
	int r = rest_call(c, notify_token(c), method, path, body, &reply, err);
	if (r < 0) {
		err_wrap(err, r, "%s", what);
		return r == ERR_INVALID || r == ERR_AUTH ? NOTIFY_NEVER : NOTIFY_LATER;
	}
	if (reply.status < 200 || reply.status > 299) {
		rest_refused(&reply, what, permission, err);
		return rest_may_retry(&reply) ? NOTIFY_LATER : NOTIFY_NEVER;
	}
	if (ret_body != NULL)
		*ret_body = TAKE(reply.body);
	return NOTIFY_SENT;
}
