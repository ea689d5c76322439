/* Contents of Git LFS in a work area, where git-lfs looks for them too: .git/lfs/objects/AA/BB/OID. What lies there is the word of earlier jobs until it was hashed. */
#pragma once
#include "base/core/err.h"
#include "base/core/wait.h"
#include "base/git/lfs_pointer.h"

/* git: the work area's .git. Removes what a killed process left unfinished. */
void lfs_store_begin(int git);
/* True if it is there whole: its size and hash were looked at. Else whatever stands there is removed. */
bool lfs_store_has(int git, const struct lfs_pointer *p, const struct wait *wait);

/* A content as it arrives. */
struct lfs_arrival {
	int git, fd; /* git: borrowed */
	const struct lfs_pointer *pointer;
	struct digest *digest;
	uint64_t len;
};
int lfs_arrival_begin(struct lfs_arrival *a, int git, const struct lfs_pointer *p, struct err *err);
/* ERR_LIMIT: it is larger than it says. */
int lfs_arrival_add(struct lfs_arrival *a, const void *data, size_t len, struct err *err);
/* Gives it its name. ERR_PROTOCOL: it is another content. */
int lfs_arrival_end(struct lfs_arrival *a, struct err *err);
/* Also of one that did not end. */
void lfs_arrival_done(struct lfs_arrival *a);

/* Writes it into an open file. */
int lfs_store_copy(int git, const struct lfs_pointer *p, int to, const struct wait *wait, struct err *err);
