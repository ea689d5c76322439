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
struct credential_token {
	struct str text; /* wiped */
	int64_t life_ms; /* from now on */
};
#define CREDENTIAL_TOKEN_INIT                                                                                          \
	{                                                                                                              \
		.text = STR_SECRET_INIT(64 << 10)                                                                      \
	}
void credential_token_done(struct credential_token *t);
/* Whose installation of an App is meant. */
struct credential_place {
	const char *api;          /* "https://api.github.com" */
	const char *name;         /* "repos/OWNER/REPO", "orgs/OWNER", "users/OWNER" */
	const char *rights_shown; /* for who has to grant them: "Actions: read" */
};
/* A token of the App's installation there, for an hour at GitHub. rights: {"permissions": {"actions": "read"}, "repositories": ["name"]}. Blocks.
 * ERR_NOT_FOUND: it is not installed there. Source: GitHub's REST, "Create an installation access token for an app". */
int credential_app_token(struct http *h, const struct credential *c, const struct credential_place *place,
                         const json_t *rights, struct wait *w, struct credential_token *ret, struct err *err);
/* Asks for a token for the repository, organisation or enterprise of url. event: "registration", "remove". An App's key is exchanged for a token of its
 * installation there, with the right to administer runners and no other. Blocks. ret: wipe. */
int credential_runner_token(struct http *h, const struct credential *c, const char *url, const char *event,
                            struct wait *w, struct str *ret, struct err *err);
