/* A work area: a work tree with a complete shallow .git, made and brought forward by libgit2's objects, index, references,
 * attributes and filters, and our own fetch (steps/git_wire.h). Only for directories that belong to a job: everything in
 * them may be replaced. libgit2's owner check is off here, on purpose: a work area is often made by another uid. */
#pragma once
#include "base/err.h"
#include "base/wait.h"
#include "steps/git_wire.h"

struct git_area;

/* path: absolute; made when missing. An area whose origin is another repository, or that is no repository while files lie in it, is
 * emptied when clean is set, else refused (ERR_EXISTS). */
int git_area_open(const char *path, const char *url, bool clean, struct git_area **ret, struct err *err);
/* The commit that HEAD names and whose objects are here, or "" . */
const char *git_area_head(const struct git_area *a);
bool git_area_has(const struct git_area *a, const char *commit);
/* As git_wire_resolve, also of a server without protocol version 2. */
int git_area_resolve(const struct git_remote_access *remote, const char *const *names, char ret_id[GIT_HEX], char **ret_name,
                     struct err *err);
/* Fetches commit; depth 0: all of history, with all branches (refs/remotes/origin) and tags. That, and what a server without
 * protocol version 2 has, comes by version 0 (steps/git_v0.h). */
int git_area_fetch(struct git_area *a, const struct git_remote_access *remote, const char *commit, int depth, struct err *err);

struct git_area_result {
	size_t files, written, removed, lfs_pointers, submodules;
};
/* Work tree, index and HEAD become those of commit. ref: "refs/heads/x" makes the local branch, else HEAD is detached; refs/remotes/origin/x follows.
 * clean: what is not of the commit goes, ignored files too. What is already so is not touched. */
int git_area_checkout(struct git_area *a, const char *commit, const char *ref, bool clean, struct wait *wait,
                      struct git_area_result *ret, struct err *err);
void git_area_free(struct git_area *a);
void git_area_freep(struct git_area **a);
