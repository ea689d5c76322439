/* Large blobs, and a limit for the memory of git's objects.
 *
 * libgit2 hands out an object only as a whole, its read streams are for loose objects alone. A blob above GIT_WHOLE_MAX that stands
 * whole in a pack or alone (git stores large files so) is inflated from there straight into its file. One that is stored as a
 * difference to another, or that is to be converted, needs memory: up to GIT_MEMORY_MAX, else it is refused. The same ceiling holds for
 * each allocation of libgit2, so that a few bytes of a pack cannot ask for gigabytes while it is indexed. */
#pragma once
#include "base/core/err.h"
#include "base/core/wait.h"
#include <git2.h>

enum { GIT_WHOLE_MAX = 16 << 20, GIT_MEMORY_MAX = 256 << 20 };

/* Before the first call of libgit2. */
void git_large_library(void);
/* The ceiling holds from begin to end, which nest. */
void git_large_begin(void);
void git_large_end(void);
/* The size that libgit2 requested and did not get since the last call; 0: none. */
size_t git_large_refused(void);
/* The error message for it. what: a path, or an operation. */
int git_large_error(const char *what, size_t size, struct err *err);

/* git: .git, fd: the file. 0: written, 1: the blob does not stand whole here. */
int git_large_write(int git, const git_oid *id, uint64_t size, int fd, const char *path, struct wait *wait,
                    struct err *err);
