/* The work tree of a commit, for the worktree….c files. */
#pragma once
#include <pthread.h>
#include <stdatomic.h>

#include "base/git/git_priv.h"

struct git_written { /* stat data of a file, for the index */
	bool present, is_new, lockable;
	bool skipped; /* belongs to none of the wanted files: it is not in the work tree */
	struct stat st;
};

struct git_worktree {
	struct git_area *area;
	git_index *index;
	size_t count;
	struct git_written *written; /* one an entry */
	struct git_sparse *sparse;
	size_t *wanted; /* with sparse: how many entries before this one are not skipped */
	bool filters, clean;
	git_oid commit;
	struct strv former; /* sorted paths of the index before, when not clean */
	struct timespec index_time;
	struct wait *wait;
	int root;
	struct git_area_result *result;
	struct git_lfs *lfs; /* NULL: pointers stay */
	atomic_size_t next, pointers, files, unencoded;
	atomic_int failed;
	struct err err;
	pthread_mutex_t err_lock;
};

/* The walk over the existing files, once the index is that of the commit (worktree_walk.c): notes those that are right, removes those that are in
 * the way or, with clean, unknown. */
int git_worktree_walk(struct git_worktree *w, struct err *err);
/* directory: with its slash. True if files below it are wanted. */
bool git_worktree_has(const struct git_worktree *w, const char *directory);
