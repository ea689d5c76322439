/* WWW-Authenticate as container registries send it (RFC 9110, 11.6.1): several challenges may stand in one header, values are tokens or
 * quoted strings with escapes. The server controls all of it. */
#pragma once
#include "base/core/err.h"

enum { REGISTRY_CHALLENGE_MAX = 8192 };

struct registry_challenge {
	bool basic;  /* a Basic challenge is among them */
	bool bearer; /* a Bearer challenge with a realm is among them; the rest is the first one's */
	char *realm, *service, *scope, *error; /* NULL: not given */
};

/* ERR_PROTOCOL where it is neither Basic nor Bearer, or cannot be read. ret: zeroed by the caller. */
int registry_challenge_read(const char *header, struct registry_challenge *ret, struct err *err);
void registry_challenge_done(struct registry_challenge *c);
