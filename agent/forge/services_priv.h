/* What the artifact service, the cache service and their storage share. Actions call them with the token of their job; what they
 * keep lies in files without a name, and is reached by addresses that are signed for one blob, one direction and an hour. */
#pragma once
#include "agent/forge/forge_priv.h"

/* ---- twirp.c ---- */

/* Answers with a Twirp error: code is one of its words ("not_found"). */
void twirp_error(struct req *r, int status, const char *code, const char *fmt, ...) _printf_(4, 5);
/* The job whose token this is, while it runs; NULL: answered. *ret_body, the caller's even then, fits the members. */
struct forge_job *twirp_begin(struct req *r, const struct member *members, size_t count, json_t **ret_body);
/* The same for requests that name a run and a job: the token's, or with any_job another job of the same run. */
struct forge_job *twirp_begin_own(struct req *r, const struct member *members, size_t count, bool any_job,
                                  json_t **ret_body);
/* Numbers of 64 bits come as strings or as numbers. False: neither, or negative. */
bool twirp_number(const json_t *object, const char *key, int64_t *ret);

/* ---- storage.c ---- */

enum {
	STORAGE_REQUEST_MAX = 256 << 20, /* one request; clients send up to 128 MiB at once */
	STORAGE_BLOCKS_MAX = 50000,      /* of a blob, as Azure has it */
	STORAGE_BLOCK_ID_MAX = 96,       /* 64 bytes in Base64 */
	STORAGE_LIST_MAX = 16 << 20,     /* a block list as XML */
	STORAGE_ADDRESS_MS = 3600 * 1000,
};

struct storage_block {
	char id[STORAGE_BLOCK_ID_MAX + 1];
	int64_t offset, len;
	bool whole; /* all of its bytes are there */
};
struct storage_extent {
	int64_t offset, len;
};
/* Blocks lie in the file in the order in which they came; the list that is committed says which of them the content is. */
struct storage_blob {
	char id[37];
	int fd;
	int64_t used; /* of the file */
	struct storage_block *blocks;
	size_t block_count, block_cap;
	struct storage_extent *extents;
	size_t extent_count;
	int64_t size; /* of the content; -1: nothing was committed */
	char *content_type;
	bool sealed;    /* nothing changes it any more */
	bool removed;   /* its file is closed by the last user */
	bool unlisted;  /* of one answer only, which frees it */
	unsigned users; /* requests that read or write the file without the lock */
};
struct storage_blob *storage_new(struct forge *f);
/* The bytes of another file, for one answer. */
struct storage_blob *storage_view(int fd, int64_t size, const char *content_type);
void storage_remove(struct storage_blob *b);
void storage_free(struct storage_blob *b);
void storage_hold(struct storage_blob *b);
void storage_release(struct storage_blob *b);
/* write: for uploads, else for downloads. free(). */
char *storage_address(const struct forge *f, const struct storage_blob *b, bool write);
/* Its file, written by the caller, is the content. */
void storage_take_file(struct storage_blob *b, int64_t size, const char *content_type);
/* Part of the content: 0 at its end. Without the lock, by one who holds it. */
ssize_t storage_read(const struct storage_blob *b, int64_t at, char *buf, size_t max);
bool storage_digest(const struct storage_blob *b, char hex[65]);
/* Names the next block of a list: true and its id. *at begins at 0 and is SIZE_MAX when the list is no list. */
bool storage_next_block(const char *xml, size_t len, size_t *at, char id[STORAGE_BLOCK_ID_MAX + 1]);

/* "bytes=5-9", "bytes=5-", "bytes=-5" of so many bytes; false: it is none that can be served. */
bool storage_range(const char *text, int64_t size, int64_t *from, int64_t *len);

/* ---- storage_calls.c ---- */

/* Before the body comes: the address is one that was signed for this method. False: answered. */
bool storage_admits(struct req *r);
/* Answers with the content, or the part of it that the request asks for. */
void storage_send(struct req *r, struct storage_blob *b);

/* ---- log_archive.c ---- */

struct log_entry {
	char *path;
	const struct forge_blob *blob;
};
struct log_entries {
	struct log_entry *items;
	size_t count, cap;
};
/* What the archive of a run's logs holds. */
void log_archive_entries(struct forge *f, const struct forge_run *run, struct log_entries *entries);
void log_entries_done(struct log_entries *e);
/* Without the lock, by one who holds the blob. */
bool log_archive_write(const struct log_entries *entries, struct storage_blob *to);

/* ---- console.c ---- */

/* The answer that makes the connection a WebSocket; it takes r->console. */
struct MHD_Response *console_response(struct req *r);
void console_free(struct forge_console *c);
/* --lines: prints the lines that waited for the names of their steps. all: those without a name too, for the job has ended. */
void console_print_held(struct forge_job *job, bool all);

/* ---- artifacts.c, caches.c ---- */

struct forge_artifact {
	int64_t id;
	struct forge_job *job; /* that made it */
	int attempt;           /* of the run */
	char *name, *content_type;
	struct storage_blob *blob;
	char digest[65];
	int64_t created_ms, expires_ms; /* wall */
	bool finished, deleted;
};
/* It is there for others: finished, neither deleted nor expired. */
bool artifacts_is_there(const struct forge_artifact *a);
void artifacts_delete(struct forge_artifact *a);
/* Those whose time is over go, and those that an ended job has not finished. */
void artifacts_tick(struct forge *f);
void artifacts_free(struct forge_artifact *a);

struct forge_cache {
	int64_t id;
	struct forge_repo *repo;
	struct forge_job *job; /* that makes it */
	char *ref, *key, *version;
	struct storage_blob *blob;
	int64_t created_ms, used_ms; /* wall */
	bool finished, deleted;
};
bool caches_is_there(const struct forge_cache *c);
void caches_delete(struct forge_cache *c);
/* The same for caches, whose time is over when nobody has used them for a week. */
void caches_tick(struct forge *f);
void caches_free(struct forge_cache *c);
/* The refs whose caches a job reads, its own first: only that one is written. The token's claim says the same. */
void caches_scopes(const struct forge_job *job, struct strv *ret);
