/* What the agent holds to administer its own registrations: the key of a GitHub App, or a token of a person. By it tokens for one registration or
 * removal are made when they are needed. */
#pragma once
#include "base/core/str.h"
#include "base/data/json.h"
#include "base/net/http.h"

struct credential {
	char *app_id;      /* NULL: `secret` is a token */
	struct str secret; /* PEM of the App's private key, or the token; wiped */
};
#define CREDENTIAL_INIT                                                                                                \
	{                                                                                                              \
		.secret = STR_SECRET_INIT(64 << 10)                                                                    \
	}
void credential_done(struct credential *c);
/* The form that is sealed; text: wipe. */
void credential_write(const struct credential *c, struct str *text);
int credential_read(const char *text, size_t len, struct credential *ret, struct err *err);
/* Asks for a token for the repository, organisation or enterprise of url. event: "registration", "remove". An App's key is exchanged for a token of its
 * installation there, with the right to administer runners and no other. Blocks. ret: wipe. */
int credential_runner_token(struct http *h, const struct credential *c, const char *url, const char *event,
                            struct wait *w, struct str *ret, struct err *err);
