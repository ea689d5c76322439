/* The Batch API of Git LFS: which objects are to be downloaded from where. Source: docs/api/batch.md of Git LFS. */
#pragma once
#include "base/core/err.h"
#include "base/core/str.h"
#include "base/data/json.h"
#include "base/git/lfs_pointer.h"

enum { LFS_BATCH_MOST = 100, LFS_ANSWER_MAX = 4 << 20, LFS_HEADERS_MAX = 16, LFS_FIELD_MAX = 16 << 10 };
#define LFS_MEDIA_TYPE "application/vnd.git-lfs+json"

/* One content, however many files have it. Zeroed, then the pointer and path. */
struct lfs_object {
	struct lfs_pointer pointer;
	const char *path; /* one of its files; borrowed */
	bool here;
	/* From the answer: */
	char *href;          /* may hold a signature: a secret */
	struct strv headers; /* "Name: value", for href alone; secrets */
	int code;            /* why not: a negative code; 0: nothing failed */
	bool again;          /* it may succeed once more is asked */
	char *why;
};
void lfs_object_done(struct lfs_object *o);
/* Forgets what the answer said. */
void lfs_object_reset(struct lfs_object *o);
/* what failed, in place of an earlier reason. Returns code. */
int lfs_object_fail(struct lfs_object *o, int code, bool again, const char *fmt, ...) _printf_(4, 5);

/* "Name: value" of each member: at most LFS_HEADERS_MAX plain texts, without those that are the request's own. ERR_PROTOCOL: they are no headers. */
int lfs_headers_take(const json_t *headers, struct strv *ret);
/* With their memory. */
void lfs_headers_done(struct strv *headers);
/* True if it is a short line. */
bool lfs_is_plain(const char *text);

/* The body of a request for these, at most LFS_BATCH_MOST. */
char *lfs_batch_request(struct lfs_object *const *objects, size_t count);
/* Each object has an href afterwards, or a code: an answer need not name all. An error: the answer as a whole is none. */
int lfs_batch_read(const char *text, size_t len, struct lfs_object *const *objects, size_t count, struct err *err);
