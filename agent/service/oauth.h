/* The runner's own identity: an RSA key, and access tokens obtained by signing an assertion with it [2]. Builds requests
 * and reads answers; sending is the caller's, since the listener never blocks. */
#pragma once
#include "base/net/http.h"
#include "base/data/json.h"

struct oauth_key;
int oauth_key_make(struct oauth_key **ret, struct err *err); /* RSA 2048, 65537 */
int oauth_key_read_pem(const char *pem, size_t len, struct oauth_key **ret, struct err *err);
/* .credentials_rsaparams: base64 big-endian numbers of any width [1.11]. */
int oauth_key_read_params(const json_t *params, struct oauth_key **ret, struct err *err);
int oauth_key_write_pem(const struct oauth_key *key, struct str *out, struct err *err); /* out: wipe */
/* "<RSAKeyValue><Modulus>…" [1.8]. free() */
char *oauth_key_public_xml(const struct oauth_key *key);
/* RSA-OAEP with SHA-256 or SHA-1 (for the hash and MGF1) and no label [3.1]. out: wipe. ERR_AUTH: not for this key. */
int oauth_key_decrypt(const struct oauth_key *key, const void *data, size_t len, bool sha256, struct str *out,
                      struct err *err);
/* Modulus and exponent, base64 of big-endian numbers [1.8]: {"exponent", "modulus"} from the form in XML. New; NULL: no such form. */
json_t *oauth_public_numbers(const char *public_xml);
void oauth_key_free(struct oauth_key *key);
void oauth_key_freep(struct oauth_key **key);

/* Signed JWT; nbf lies 30 s back, for clocks that run fast. pss: PS256, else RS256. out: wipe. */
int oauth_assertion(const struct oauth_key *key, const char *client_id, const char *audience, bool pss, int64_t wall_ms,
                    struct str *out, struct err *err);
/* Signed JWT by which a GitHub App says who it is: RS256, from a minute back, for nine minutes. out: wipe. */
int oauth_app_assertion(const struct oauth_key *key, const char *app_id, int64_t wall_ms, struct str *out,
                        struct err *err);
/* Body of the token request. out: wipe. */
void oauth_form(const char *assertion, struct str *out);

enum oauth_result {
	OAUTH_OK,
	OAUTH_GONE,        /* invalid_client: the registration was deleted */
	OAUTH_CLOCK,       /* this machine's clock is wrong by more than five minutes */
	OAUTH_REFUSED,     /* another OAuth error: try again later */
	OAUTH_UNAVAILABLE, /* 429, 5xx, nonsense: try again */
};
/* err says what went wrong unless OAUTH_OK. ret_token: wipe and free; ret_life_ms: 0 when it was not given. */
enum oauth_result oauth_read_answer(const struct http_response *response, char **ret_token, int64_t *ret_life_ms,
                                    struct err *err);
