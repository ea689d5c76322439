/* A bucket of an S3 service over HTTP: one address, one login, one bucket. Keys are what follows the bucket's name, without a slash in front; they are
 * at most 1024 bytes, and none of their parts is "." or "..".
 *
 * Each request has a deadline and is sent again at most three times where that is harmless. Seen with Ceph's gateway 16; what differs
 * between services is in quirks.h; an upload's end may be an error in an answer of 200, which is read. */
#pragma once
#include "base/net/http.h"
#include "providers/s3/quirks.h"

struct s3;
struct s3_config {
	const char *url; /* "https://s3.example"; http only for a host of loopback */
	const char *region, *bucket;
	const char *access_key, *secret_key, *session_token; /* session_token: NULL: none */
	const char *ca_file;                                 /* NULL: the system's */
	bool host_style;                                     /* https://BUCKET.HOST/KEY */
	const char *provider; /* whose service it is (quirks.h); NULL: as its host says */
};
int s3_new(const struct s3_config *config, struct s3 **ret, struct err *err);
void s3_free(struct s3 *s);
void s3_freep(struct s3 **s);
const char *s3_host(const struct s3 *s);
const char *s3_bucket(const struct s3 *s);
const struct s3_quirks *s3_quirks(const struct s3 *s);

/* ---- objects.c. ERR_NOT_FOUND: no such key; ERR_AUTH: the login is refused ---- */

int s3_put(struct s3 *s, const char *key, const void *data, size_t len, struct wait *w, struct err *err);
/* All of it in one request, at most `max` bytes: its ETag as it was sent, "" where it has none. */
enum { S3_ETAG = 128 };
int s3_get(struct s3 *s, const char *key, size_t max, struct str *out, char ret_etag[S3_ETAG], struct wait *w,
           struct err *err);
/* All of it, or its first `limit` bytes (0: all), piece by piece. An object that is replaced meanwhile is ERR_CONFLICT. */
typedef int (*s3_sink)(void *context, const void *data, size_t len, struct err *err);
int s3_read(struct s3 *s, const char *key, int64_t limit, s3_sink sink, void *context, struct wait *w, struct err *err);
/* Absent is fine. */
int s3_delete(struct s3 *s, const char *key, struct wait *w, struct err *err);
/* Keys that begin so, sorted; at most `max` (ERR_LIMIT). */
int s3_list(struct s3 *s, const char *prefix, size_t max, struct strv *ret, struct wait *w, struct err *err);
/* The bucket is there and the login may list it. */
int s3_ask(struct s3 *s, const char *prefix, struct wait *w, struct err *err);

/* ---- upload.c: one object in several parts, each but the last at least 5 MiB ---- */

enum { S3_PART_MIN = 5 << 20 };
int s3_parts_max(const struct s3 *s);
struct s3_upload;
int s3_upload_begin(struct s3 *s, const char *key, struct s3_upload **ret, struct wait *w, struct err *err);
int s3_upload_part(struct s3_upload *u, const void *data, size_t len, struct wait *w, struct err *err);
int s3_upload_end(struct s3_upload *u, struct wait *w, struct err *err);
void s3_upload_freep(struct s3_upload **u); /* what was sent of it stays there until it is given up */
/* Gives up all uploads of keys that begin so, whoever began them. */
int s3_upload_give_up(struct s3 *s, const char *prefix, struct wait *w, struct err *err);

/* ---- for both ---- */

struct s3_call {
	const char *method, *key; /* key: "": of the bucket */
	const char *query;        /* sorted and encoded; NULL: none */
	const char *header;       /* one more, "name: value" in small letters; NULL: none */
	const void *body;
	size_t body_len;
	size_t max_body; /* of the answer; 0: 1 MiB */
	bool once;       /* a second time would not be harmless */
};
/* Any status is a success. ret: zeroed by the caller. */
int s3_send(struct s3 *s, const struct s3_call *call, struct wait *w, struct http_response *ret, struct err *err);
/* The error of an answer that was not expected: what is "put 'KEY'". */
int s3_refused(const struct s3 *s, const struct http_response *answer, const char *what, struct err *err);
