/* GitHub's REST interface as steps need it: a token, a bounded answer, and an error that names the permission. */
#pragma once
#include "base/net/http.h"
#include "engine/run/step.h"

struct rest_reply {
	int status;
	json_t *body;
	char *accepted;
}; /* accepted: X-Accepted-GitHub-Permissions */
void rest_reply_done(struct rest_reply *r);
/* path from "/repos/…"; body NULL: none. Any status is a success here; GET is retried, others only when nothing was
 * sent. */
int rest_call(const struct step_context *c, const char *token, const char *method, const char *path, const json_t *body,
              struct rest_reply *ret, struct err *err);
/* An answer that is not 2xx as an error: the operation, the service's message, the needed permission. */
int rest_refused(const struct rest_reply *r, const char *what, const char *permission, struct err *err);
