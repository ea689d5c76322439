/* SHA-256 and SHA-1 (git's), HMAC: thin shapes over OpenSSL. Hex is lower case. */
#pragma once
#include "base/core/err.h"
#include "base/core/str.h"

enum { DIGEST_HEX = 65, DIGEST_BYTES = 32 };
struct digest; /* a running SHA-256 */
struct digest *digest_new(void);
void digest_update(struct digest *d, const void *data, size_t len);
void digest_hex(struct digest *d, char hex[DIGEST_HEX]);            /* ends and resets it */
void digest_raw(struct digest *d, unsigned char ret[DIGEST_BYTES]); /* the same, as it is */
void digest_free(struct digest *d);
void digest_freep(struct digest **d);
void digest_of(const void *data, size_t len, char hex[DIGEST_HEX]);
int digest_of_fd(int fd, char hex[DIGEST_HEX], struct err *err); /* from its position to the end */
/* The id of an object of git: SHA-1 over "TYPE SIZE\\0" and its content. */
void digest_git_object(const char *type, const void *data, size_t len, unsigned char id[20]);
void digest_hmac_sha256(const void *key, size_t key_len, const void *data, size_t len, unsigned char out[DIGEST_BYTES]);
/* HKDF-SHA256 (RFC 5869): a key of its own for each label. */
int digest_hkdf(const void *key, size_t key_len, const void *salt, size_t salt_len, const char *label,
                unsigned char *out, size_t out_len, struct err *err);
void digest_hmac_hex(const void *key, size_t key_len, const void *data, size_t len, char hex[DIGEST_HEX]);
