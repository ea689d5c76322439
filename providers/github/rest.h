/* GitHub's REST interface as deployments need it: a token, a bounded answer, and an error that names the permission. */
#pragma once
#include "base/net/http.h"
#include "engine/run/step.h"

/* Who asks whom. Borrowed. */
struct rest {
	struct http *http; /* NULL: every call fails */
	const struct wait *wait;
	const char *api_url; /* NULL: https://api.github.com */
	const char *token;
};
struct rest rest_of_step(const struct step_context *c, const char *token);

struct rest_reply {
	int status;
	json_t *body;
	char *accepted; /* X-Accepted-GitHub-Permissions */
	bool limited;   /* refused for now, since too much was asked */
};
void rest_reply_done(struct rest_reply *r);
/* path from "/repos/…"; body NULL: none. Any status is a success here; GET is retried, others only when nothing was
 * sent. */
int rest_call(const struct rest *g, const char *method, const char *path, const json_t *body, struct rest_reply *ret,
              struct err *err);
/* One that must be answered by 2xx. *ret_body (may be NULL) is the caller's; *ret_later (may be NULL): it failed, and may succeed later. */
int rest_ask(const struct rest *g, const char *method, const char *path, const json_t *body, const char *what,
             const char *permission, json_t **ret_body, bool *ret_later, struct err *err);
/* An answer that is not 2xx as an error: the operation, the service's message, the needed permission. */
int rest_refused(const struct rest_reply *r, const char *what, const char *permission, struct err *err);
/* The same request may succeed later, or with a fresh token. */
bool rest_may_retry(const struct rest_reply *r);
/* The login that authors what this token makes: "octocat", "github-actions[bot]". REST tells an installation's token nothing of itself, so
 * GraphQL is asked. ERR_NOT_FOUND: this service does not say. free() */
int rest_author(const struct rest *g, char **ret, struct err *err);
