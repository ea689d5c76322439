/* A work tree of some of the commit's files (git's sparse-checkout): which, and what tells git of it. Source: git-sparse-checkout of git's
 * documentation; files and configuration as git 2.39 leaves them: the cone by `git sparse-checkout set`, patterns as actions/checkout writes them. */
#pragma once
#include "base/git/git_priv.h"

struct git_sparse;
/* ERR_INVALID: a line that git refuses as a directory of a cone. */
int git_sparse_new(const struct git_sparse_wish *wish, struct git_sparse **ret, struct err *err);
void git_sparse_free(struct git_sparse *s);
void git_sparse_freep(struct git_sparse **s);
/* Fast where paths come as in an index. is_dir: a submodule. Not thread-safe. */
bool git_sparse_includes(struct git_sparse *s, const char *path, bool is_dir);
/* s: NULL: the area is a whole one, whatever it was. */
int git_sparse_configure(struct git_area *a, const struct git_sparse *s, struct err *err);
