/* Signature Version 4 of requests to S3, by hand: libcurl's own signs queries and paths wrongly before 8.14, and its faults differ from version to
 * version. */
#pragma once
#include "base/core/str.h"

#include <stdint.h>

enum { S3_DATE = 17 };
struct s3_login {
	const char *access_key, *secret_key, *session_token; /* session_token: NULL: none */
	const char *region;
};
struct s3_signed {
	const char *method, *host;
	const char *path;           /* from "/", encoded once */
	const char *query;          /* encoded, sorted by name, `=` behind each name; "": none */
	const char *const *headers; /* "name: value", names in small letters; all are signed */
	size_t header_count;
	const char *payload_sha256; /* hex */
	int64_t wall_ms;
};
/* Adds the given headers and those of the signature, as they are to be sent. */
void s3_sign(const struct s3_login *login, const struct s3_signed *request, struct strv *ret_headers);
/* Everything but unreserved characters, and slashes where they may stay, as %XX. */
void s3_escape(const char *text, bool keep_slashes, struct str *out);
