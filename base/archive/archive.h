/* Trees packed and unpacked by libarchive. Names are bytes of UTF-8 whatever the locale. Packing walks with openat and never
 * leaves the tree; unpacking never writes outside the directory (.. , absolute names, links in the way, hard links out: refused with the member's name). */
#pragma once
#include "base/core/err.h"
#include "base/core/str.h"
#include "base/core/wait.h"
#include <sys/stat.h>

/* ARCHIVE_ZSTD_FAST: the same format, packed for transfer rather than storage (level 1, not 3). */
enum archive_compression { ARCHIVE_NONE, ARCHIVE_GZIP, ARCHIVE_ZSTD, ARCHIVE_ZSTD_FAST };

/* One entry of a tree, as in the manifest. */
enum { TREE_DIGEST_BYTES = 32 };
enum tree_digest_from {
	TREE_DIGEST_NONE,
	TREE_DIGEST_GIVEN,    /* by somebody else, a manifest */
	TREE_DIGEST_READ,     /* tree_digest read the content */
	TREE_DIGEST_RECALLED, /* it did so earlier */
};
/* Trees of hundreds of thousands of entries are held in memory, so its size counts. */
struct tree_entry {
	char *path;          /* relative, no leading ./ */
	char *link;          /* symbolic link's target */
	const char *content; /* kept by tree_digest, `size` bytes, the tree's; NULL */
	int64_t size;        /* files */
	int64_t mtime_ns;
	int64_t ctime_ns;
	uint64_t dev, ino;
	unsigned char digest[TREE_DIGEST_BYTES]; /* SHA-256 of a file's content */
	enum tree_digest_from digest_from;       /* NONE: it is not known */
	mode_t mode;                             /* type and permission bits */
};
struct tree {
	struct tree_entry *entries;
	size_t count, cap;
	int64_t bytes;
	void **blocks; /* of kept contents */
	size_t block_count, block_cap;
};
void tree_done(struct tree *t);
/* Room for one more, zeroed but for what the caller sets; keeps no count of bytes. */
struct tree_entry *tree_add(struct tree *t);
/* By path, as strcmp orders; NULL when absent. The tree must be sorted so. */
const struct tree_entry *tree_find(const struct tree *t, const char *path);
void tree_sort(struct tree *t);
/* "" where the digest is not known. */
void tree_entry_hex(const struct tree_entry *e, char hex[2 * TREE_DIGEST_BYTES + 1]);
/* From its digits, which somebody else gave; false: they are none of a digest. */
bool tree_entry_set_hex(struct tree_entry *e, const char *hex);

/* Excludes with the syntax of .gitignore. */
struct ignore;
struct ignore *ignore_new(void);
void ignore_add(struct ignore *i, const char *pattern); /* one line; blank and # are skipped */
int ignore_add_file(struct ignore *i, const char *path, struct err *err);
/* The same for an open file. */
int ignore_add_open_file(struct ignore *i, int fd, const char *path, struct err *err);
/* Files of this name (".gitignore") in the walked tree apply to entries beside and below them. Patterns added by
 * the two calls above take precedence. */
void ignore_add_file_name(struct ignore *i, const char *name);
bool ignore_matches(const struct ignore *i, const char *path,
                    bool is_dir); /* also true when a directory above it is excluded */
void ignore_free(struct ignore *i);

/* Walks a directory: sorted by path, excluded subtrees are not entered. Sockets, devices and pipes are refused by name. */
int tree_walk(int dirfd, const struct ignore *ignore, bool digests, struct wait *w, struct tree *ret, struct err *err);
/* Fills in the digests of files that have none; a file that is gone or has another size is ERR_CONFLICT. leave (may
 * be NULL): entries to skip. With keep small files stay in memory, up to TREE_KEPT_MAX bytes in all, less TREE_KEPT_LESS for each
 * entry of the tree, so that archive_pack need not read them again. */
enum { TREE_KEPT_MAX = 48 << 20, TREE_KEPT_LESS = 256 };
int tree_digest(int dirfd, struct tree *tree, const bool *leave, bool keep, struct wait *w, struct err *err);
/* Frees the kept contents. */
void tree_forget(struct tree *t);
/* Writes the entries (all, or those whose index is in `only`) as a pax tar to `write`: permission bits without setuid, setgid and
 * sticky, owner 0, whole seconds. packed (may be NULL) counts the content as it goes in, for progress. A file that changed its size or time since the walk is ERR_CONFLICT; a name that is not UTF-8 ERR_INVALID. */
typedef int (*archive_write_fn)(void *context, const void *data, size_t len, struct err *err);
int archive_pack(int dirfd, const struct tree *tree, const size_t *only, size_t only_count,
                 enum archive_compression compression, archive_write_fn write, void *context, int64_t *packed,
                 struct wait *w, struct err *err);
/* True if packing makes a sample of the same entries noticeably smaller: false for pictures, archives, encrypted data. */
bool archive_packs_smaller(int dirfd, const struct tree *tree, const size_t *only, size_t only_count);
/* Any tar that libarchive reads, compressed or not, from `read` (returns bytes, 0 at the end) into an empty or existing directory.
 * Files, links and empty directories of the same name are replaced, never written in place. Owners stay ours; setuid, setgid and sticky are dropped;
 * devices, pipes and sockets are refused. Limits of 0 stand for none. */
typedef int (*archive_read_fn)(void *context, const void **data, size_t *len, struct err *err);
struct archive_limits {
	int64_t max_bytes;
	int64_t max_entries;
};
int archive_unpack(archive_read_fn read, void *context, int dirfd, const struct archive_limits *limits, struct wait *w,
                   struct err *err);
