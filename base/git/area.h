/* A work area: a work tree with a complete shallow .git, made and updated with libgit2's objects, index, references,
 * attributes and filters, and our own fetch (base/git/protocol_v2.h). Only for directories that belong to a job: everything in
 * them may be replaced. libgit2's owner check is off here, on purpose: a work area is often made by another uid. */
#pragma once
#include "base/core/err.h"
#include "base/core/wait.h"
#include "base/git/protocol_v2.h"

struct git_area;

/* root: absolute, its own path may hold links; below: the area's path in it, "." for itself. The area is made when missing, opened
 * and written beneath root: a link on the way is refused. An area whose origin is another repository, or that is not a repository but
 * holds files, is emptied when clean is set, else refused (ERR_EXISTS).
 * A kept area is not trusted: leftovers of a killed process or a power cut are fixed, else .git is made again (base/git/mend.h). */
int git_area_open(const char *root, const char *below, const char *url, bool clean, struct git_area **ret,
                  struct err *err);
/* The commit that HEAD names and whose objects are here, or "" . */
const char *git_area_head(const struct git_area *a);
bool git_area_has(const struct git_area *a, const char *commit);
/* Like git_wire_resolve, also for a server without protocol version 2. */
int git_area_resolve(const struct git_remote_access *remote, const char *const *names, struct git_wanted *ret,
                     struct err *err);

/* Before git_area_bring: files of Git LFS get their contents, and git-lfs finds the area as `git lfs install --local` leaves it, but for its hooks, which
 * it adds with its first work. report: lines for the log; may be NULL. */
void git_area_want_lfs(struct git_area *a, void (*report)(void *context, const char *fmt, ...) _printf_(2, 3),
                       void *context);

struct git_area_result {
	size_t files, written, removed, lfs_pointers, submodules, unencoded;
	size_t lfs_files, lfs_fetched; /* written from contents of LFS; contents that were downloaded for them */
	uint64_t lfs_bytes;            /* of the latter */
	int64_t fetch_ms;
	bool renewed; /* the kept area could not be used */
};
/* Brings want: fetches its missing objects, at most depth commits deep (0: all of history, with all branches (refs/remotes/origin)
 * and tags), then sets work tree, index and HEAD. A branch in want->ref sets the local branch and refs/remotes/origin, a tag the
 * tag; else HEAD is detached. A history that is deeper already stays. Version 0 (base/git/fetch_v0.h) serves all of history, and
 * servers without protocol version 2.
 * clean: removes files that are not in the commit, ignored files too. Correct files are not touched.
 * want->commit is corrected if want was the id of a tag's object. A failure caused by a kept area is retried once in a new one. */
int git_area_bring(struct git_area *a, const struct git_remote_access *remote, struct git_wanted *want, int depth,
                   bool clean, struct git_area_result *ret, struct err *err);
/* Which of the commit's files are written. cone: lines are directories: all that lies below them, and the files of those above. Else lines are
 * patterns as in .gitignore, of which the last that speaks of a path decides. */
struct git_sparse_wish {
	const char *const *lines;
	size_t count;
	bool cone;
};
/* The same, with more to wish for. */
struct git_wish {
	int depth;  /* as above */
	bool clean; /* as above */
	const char *
		filter; /* "blob:none", "blob:limit=1k", "tree:0": what stays at a server that can filter, until somebody looks at
	                       it; NULL: nothing does, and a work area that lacks something is made again. ERR_INVALID: another one */
	const struct git_sparse_wish *sparse; /* NULL: all files */
	bool tags; /* all tags too, each as deep; what the server does not have of them is removed here */
};
int git_area_bring_as(struct git_area *a, const struct git_remote_access *remote, struct git_wanted *want,
                      const struct git_wish *wish, struct git_area_result *ret, struct err *err);
void git_area_free(struct git_area *a);
void git_area_freep(struct git_area **a);
