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
	const struct rest g = rest_of_step(c, notify_token(c));
	bool later = false;
	if (rest_ask(&g, method, path, body, what, permission, ret_body, &later, err) == 0)
		return NOTIFY_SENT;
	return later ? NOTIFY_LATER : NOTIFY_NEVER;
}
