/* What registration.c, token.c and poll.c tell each other. */
#pragma once
#include "agent/listener/listener_priv.h"

/* ---- registration.c */
void endpoint_enter(struct endpoint *e, enum endpoint_step step);
void endpoint_wait_then(struct endpoint *e, enum endpoint_step step, int64_t ms);
/* The longer of our own pause and the one that the service asks for (listener_pause_asked). */
void endpoint_wait_as_asked(struct endpoint *e, enum endpoint_step step, int64_t own_ms,
                            const struct http_response *response);
const char *endpoint_place(const struct endpoint *e); /* its URL, for people */
void endpoint_write_state(const struct endpoint *e, const char *state, const char *text);
/* The first failure of a streak is told, the others are not. */
void endpoint_tell_failure(struct endpoint *e, const struct err *err);
/* Something that no retry mends: told with its way out. */
void endpoint_end_with(struct endpoint *e, int exit_code, const struct err *err);

/* The service takes no agent of this age. */
void endpoint_version_refused(struct endpoint *e, struct err *err);
/* Before a request that names the version. */
void endpoint_announce_version(struct endpoint *e);

/* ---- token.c */
int endpoint_load_key(const struct endpoint *e, struct oauth_key **ret, struct err *err);
void endpoint_get_token(struct endpoint *e, enum endpoint_step after);
void endpoint_drop_token(struct endpoint *e);
/* A 401: one new token at once, then a pause before each further one. */
void endpoint_refused(struct endpoint *e, enum endpoint_step step, const struct err *err);

/* ---- renew.c */
/* A credential is kept for it, and it was forgotten while nobody listened: who takes a runner away that listens has decided so. */
bool endpoint_can_renew(const struct endpoint *e);
void endpoint_renew(struct endpoint *e);
/* The service does not know this runner. True: since `configure --replace` has just made it anew, or is about to, which is looked at in a
 * moment, at the given step: it goes on. */
bool endpoint_is_made_anew(struct endpoint *e, enum endpoint_step step);

/* ---- poll.c */
void endpoint_poll(struct endpoint *e);
