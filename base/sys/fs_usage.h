/* Room on disks: what a tree takes, and what is left. */
#pragma once
#include <stdint.h>

#include "base/core/err.h"

/* What a directory and all below it take on their file system. No link is followed, no other file system entered; levels below 400 do not count. */
int fs_usage(int dirfd, const char *path, int64_t *ret_bytes, struct err *err);
/* Of the file system that holds the path, or will: of a path that is yet to be made the nearest directory above counts. Free: for an ordinary user. */
int fs_free_space(const char *path, int64_t *ret_free, int64_t *ret_size, struct err *err);
