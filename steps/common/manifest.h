/* The content of a release or a snapshot, as a file beside it. Format 1: a line of JSON, then a line for each entry, sorted by path:
 *   {"format":1,"deployment":"shop.production","release":"20260131T102030-3fa94c","commit":"…","dirty":false,"shared":["uploads"],…}
 *   d MODE PATH
 *   f MODE SIZE SHA256 BLOB PATH        BLOB: git's id of a tracked file's content, else -
 *   l PATH TAB TARGET
 * Paths and targets escape backslash, line feed and tab as \\, \n and \t. A newer format is refused, unknown members are kept. */
#pragma once
#include "base/archive/archive.h"
#include "base/data/json.h"

enum { MANIFEST_FORMAT = 1, MANIFEST_MAX = 256 << 20, BLOB_BYTES = 20, BLOB_HEX = 2 * BLOB_BYTES + 1 };

/* Git's id of a content; all zero: it is not known. */
struct manifest_blob {
	unsigned char id[BLOB_BYTES];
};
bool manifest_blob_known(const struct manifest_blob *b);
bool manifest_blob_same(const struct manifest_blob *a, const struct manifest_blob *b); /* and known */

struct manifest {
	json_t *head;
	struct tree tree;
	struct manifest_blob *blobs; /* one for each entry; may be NULL */
};
void manifest_done(struct manifest *m);
/* Reads one entry after the other, so that a list of many need not be held twice. */
struct manifest_reader {
	const char *name;        /* for messages */
	const char *at, *end;    /* the rest of the text, which is borrowed */
	size_t number;           /* of the line */
	struct tree_entry entry; /* path and link are the reader's, until the next one */
	struct manifest_blob blob;
	struct str line, last; /* last: the path before */
};
int manifest_open(const char *name, const char *text, size_t len, struct manifest_reader *ret, json_t **ret_head,
                  struct err *err);
/* 1: the next one, 0: there is none. ERR_INVALID: no line of a manifest, or not in order. */
int manifest_next(struct manifest_reader *r, struct err *err);
void manifest_close(struct manifest_reader *r);
/* name: for messages. */
int manifest_parse(const char *name, const char *text, size_t len, struct manifest *ret, struct err *err);
void manifest_write(const json_t *head, const struct tree *tree, const struct manifest_blob *blobs, struct str *out);
/* SHA-256 of what manifest_write writes. */
void manifest_digest(const json_t *head, const struct tree *tree, const struct manifest_blob *blobs, char hex[65]);
/* SHA-256 over paths, types, modes, contents and links: equal trees have equal digests. */
void manifest_tree_digest(const struct tree *tree, char hex[65]);
/* Type, mode, content and link are the same. Entries without a digest are not. */
bool manifest_same(const struct tree_entry *a, const struct tree_entry *b);
