/* What the older services answer: their errors, and the messages that they encrypt. */
#pragma once
#include "agent/service/oauth.h"
#include "agent/service/wire.h"

/* The class of an error, "TaskAgentSessionExpiredException", which decides instead of the status [0.4]. free(); NULL: none. */
char *v1_error_class(const struct http_response *response);
bool v1_error_is(const struct http_response *response, const char *const *classes /* NULL-terminated */);
/* errorCode of the envelope; 0: none. */
int64_t v1_error_code(const struct http_response *response);

enum { V1_KEY_MAX = 32 };
/* The AES key of a session, as the answer to its creation gives it [3.1]; len 0: messages are not encrypted. Wipe. */
struct v1_key {
	unsigned char bytes[V1_KEY_MAX];
	size_t len;
};
/* ERR_AUTH: it is not for this runner's key. */
int v1_key_read(const json_t *session, const struct oauth_key *key, struct v1_key *ret, struct err *err);
/* The body of a message as text: base64 of AES-CBC with PKCS#7 padding, or plain where there is no key or no iv [4.4]. out: wipe. ERR_AUTH: it
 * was encrypted with another key. */
int v1_message_body(const json_t *message, const struct v1_key *key, struct str *out, struct err *err);
