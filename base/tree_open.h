/* A file of a tree that was walked, opened by its path without leaving the tree and, where we may, without a new access time. */
#pragma once
#include "base/err.h"

/* flags: O_RDONLY and the like. Returns the descriptor. */
int tree_open(int dirfd, const char *path, int flags, struct err *err);
