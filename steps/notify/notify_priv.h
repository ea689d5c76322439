/* What the parts of `notify` share. A channel is one way to say how a deployment ended: it composes messages, which hold all that is to be
 * said and no secret, and sends one of them. A message lies in the outbox until it is sent (outbox.c), so that a later run can send it
 * with its own token. */
#pragma once
#include "engine/run/step.h"
#include "providers/github/rest.h"
#include "schemas/notify.h"

/* A message: {"format":1, "channel", "key", "made_ms", "tries", …}. The key tells what it is said to: a newer message of the same
 * channel and key takes its place. */
enum { NOTIFY_FORMAT = 1, NOTIFY_ANNOTATION_MAX = 1000 };

/* What became of a message that was to be sent. */
enum notify_sent {
	NOTIFY_SENT,
	NOTIFY_NOT_OURS, /* another step of another deployment sends such messages */
	NOTIFY_LATER,    /* it failed, and may succeed later */
	NOTIFY_NEVER,    /* it was refused */
};

struct notify_channel {
	const char *name;
	const char *said; /* "a comment on the commit" */
	bool (*is_asked)(const struct notify_in *in);
	/* Of GitHub's permissions; NULL: it needs no token. probe: the path of a POST that needs it and is refused without a body. */
	const char *permission;
	const char *pointer;
	char *(*probe)(const struct step_context *c);
	void (*compose)(const struct step_context *c, const struct step_outcome *outcome, json_t *messages);
	enum notify_sent (*send)(const struct step_context *c, const json_t *message, struct err *err);
};
extern const struct notify_channel notify_commit_comment, notify_pull_request, notify_deployment_status,
	notify_check_run, notify_webhook;

const char *notify_token(const struct step_context *c);
/* A new message, added to the list; borrowed. */
json_t *notify_message(const struct step_context *c, json_t *messages, const char *channel, const char *key);

/* ---- github.c ---- */

/* A request to GitHub that must be answered by 2xx. *ret_body may be NULL; else owned. */
enum notify_sent notify_ask(const struct step_context *c, const char *method, const char *path, const json_t *body,
                            const char *what, const char *permission, json_t **ret_body, struct err *err);
/* The messages's repository is the one of this deployment: the token is good for no other. */
bool notify_is_ours(const struct step_context *c, const json_t *message);

/* ---- text.c ---- */

/* Markdown, bounded, secrets masked. */
void notify_text(const struct step_context *c, const struct step_outcome *outcome, struct str *out);
/* "shop to test: deployed": one line without markup, at most 140 characters. */
void notify_headline(const struct step_context *c, const struct step_outcome *outcome, struct str *out);
/* The line that finds our comment again: hidden in Markdown. */
void notify_marker(const struct step_context *c, struct str *out);
/* The last answer of each check after the changes: label → {"check", "ok", "seen", "try"}. The caller's. */
json_t *notify_checks(const struct step_outcome *outcome);

/* ---- annotations.c ---- */

/* At most NOTIFY_ANNOTATION_MAX, as check runs have them. The caller's. */
json_t *notify_annotations(const struct step_context *c, const struct step_outcome *outcome);

/* ---- webhook.c, webhook_body.c ---- */

void notify_webhook_faults(const struct notify_in *in, struct faults *faults);

/* As schemas/webhook.json says it, masked. The caller's. */
json_t *notify_webhook_body(const struct step_context *c, const struct step_outcome *outcome, const char *delivery);

/* ---- outbox.c ---- */

/* A message that cannot be kept is not an error: it is sent all the same. */
void notify_outbox_keep(const struct step_context *c, const json_t *message);
void notify_outbox_drop(const struct step_context *c, const json_t *message);
/* All that are kept for this deployment's name and environment, oldest first; what is too old is dropped. The caller's. */
json_t *notify_outbox_list(const struct step_context *c);
