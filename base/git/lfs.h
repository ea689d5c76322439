/* The contents of a commit's files that Git LFS keeps elsewhere: found, downloaded into the work area's .git/lfs and written, without git-lfs. Those are found by
 * attribute (`filter=lfs`) and pointer, as git finds them. Nothing is asked of the server for a content that is here. */
#pragma once
#include "base/git/git_priv.h"
#include "base/git/lfs_pointer.h"

enum { LFS_AT_ONCE = 8, LFS_ROUNDS = 3 };

struct git_lfs;
struct lfs_file {
	struct lfs_pointer pointer;
	size_t pointer_size;
	size_t position; /* in the index */
};
/* config: the blob of the commit's .lfsconfig, or NULL. */
int git_lfs_new(struct git_area *a, const git_oid *commit, const git_oid *config, struct git_lfs **ret,
                struct err *err);
/* Is it such a file? 1: yes, with *ret; 0: no. *ret_lockable: to be read-only, such a file or not. */
int git_lfs_look(struct git_lfs *l, const git_index_entry *e, struct lfs_file *ret, bool *ret_lockable,
                 struct err *err);
/* Notes one that is to be written. By ascending position; path: borrowed. */
void git_lfs_want(struct git_lfs *l, const struct lfs_file *file, const char *path);
/* All that were noted. */
int git_lfs_download(struct git_lfs *l, const struct git_remote_access *remote, struct err *err);
/* The one that was noted and is here; NULL: none. */
const struct lfs_file *git_lfs_file(const struct git_lfs *l, size_t position);
void git_lfs_count(const struct git_lfs *l, struct git_area_result *ret);
void git_lfs_free(struct git_lfs *l);
void git_lfs_freep(struct git_lfs **l);
