/* The runner version that the services are told [1.7]: built in, configured, or from a document that somebody signs, since services
 * refuse versions that have grown old [4.6].
 *
 * The document is a line of JSON and a line with the Base64 of its Ed25519 signature (the bytes before the first line break):
 *   {"davit":"runner-version","serial":7,"version":"2.337.0","not_before":"2026-12-01T00:00:00Z","not_after":"2027-06-01T00:00:00Z"}
 * The two times may be left out. A serial is used once and only grows, so that an old document is known as one. */
#pragma once
#include "base/core/err.h"
#include "base/secret/ed25519.h"

enum { VERSION_DOCUMENT_MAX = 8 << 10, VERSION_SIZE = 24 };
struct signed_version {
	char version[VERSION_SIZE];
	int64_t serial;
	int64_t not_before_ms, not_after_ms; /* wall; 0: without */
};
/* ERR_AUTH: another key signed it, or nobody. ERR_INVALID: it is no such document. Its times: version_check_time. */
int version_read(const char *text, size_t len, const unsigned char key[ED25519_KEY_SIZE], struct signed_version *ret,
                 struct err *err);
/* Whether it is to be taken now (wall milliseconds), give or take 10 minutes. */
int version_check_time(const struct signed_version *v, int64_t now_ms, struct err *err);
/* Three numbers, as in "2.336.0". */
bool version_is_one(const char *text);
bool version_is_newer(const char *one, const char *other); /* both are versions */
