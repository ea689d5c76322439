/* The size of a commit's files, before anything is made of them. A few objects can name any number of files: trees of which each holds the next
 * one ten times. */
#pragma once
#include "base/core/err.h"
#include <git2.h>

enum { GIT_TREE_ENTRIES_MAX = 2 << 20, GIT_TREE_DEPTH_MAX = 512 };

/* ERR_LIMIT: more files and directories, or deeper ones. A tree that is not here counts as one. */
int git_tree_check_size(git_repository *repo, const git_tree *tree, struct err *err);
