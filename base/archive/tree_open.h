/* Opens files of a walked tree by their paths, without leaving the tree and, if permitted, without a new access time.
 * Neighbours come one after the other, so the directory of the last one stays open. One opener a thread. */
#pragma once
#include "base/core/err.h"
#include <stddef.h>

struct tree_opener {
	int top; /* borrowed */
	int dir; /* of the last file; -1: none */
	char *dir_path;
	size_t dir_len;
};
#define TREE_OPENER_INIT(top_fd)                                                                                       \
	{                                                                                                              \
		.top = (top_fd), .dir = -1                                                                             \
	}
/* For reading. Returns the descriptor. */
int tree_open(struct tree_opener *o, const char *path, struct err *err);
void tree_opener_done(struct tree_opener *o);
