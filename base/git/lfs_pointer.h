/* Pointers of Git LFS: what a repository holds in place of a large file. A blob below LFS_POINTER_MAX bytes, lines of "KEY VALUE": version first, then extensions,
 * the content's SHA-256 and its size. Source: docs/spec.md of Git LFS; observed with git-lfs 3.3. */
#pragma once
#include <stddef.h>
#include <stdint.h>

enum { LFS_POINTER_MAX = 1024, LFS_OID = 65 };

struct lfs_pointer {
	char oid[LFS_OID]; /* hexadecimal, lower case */
	uint64_t size;     /* bytes of the content */
};
enum lfs_kind {
	LFS_NONE,     /* no pointer: the blob is the content */
	LFS_CONTENT,  /* *ret says which */
	LFS_EXTENDED, /* the content went through a program (`ext-0-…`), which would have to be run */
};
enum lfs_kind lfs_pointer_read(const char *data, size_t len, struct lfs_pointer *ret);
