/* For the git_….c files of this directory only. */
#pragma once
#include "base/git/area.h"
#include "base/git/prewrite.h"
#include <git2.h>

struct git_area {
	git_repository *repo;
	int root;   /* of the work tree */
	char *path; /* where that lies, for libgit2 */
	char *url;
	bool kept;    /* it was here before */
	bool renewed; /* it was, but could not be used */
	char head[GIT_HEX];
	struct git_early *early; /* of the fetch before the checkout; NULL: none */
};

/* Before the first call of libgit2. */
void git_area_library(void);
/* libgit2's last error as ours; the only place that asks for it in these files. */
int git_area_error(struct err *err, int code, const char *what);
/* Whether nothing but .git lies there. */
bool git_area_is_empty(const struct git_area *a);
/* What is written from here on is to go when it is not finished: by git_area_forget after a failure, else, after a kill, when the area is
 * opened again. git_area_checkout finishes it. */
int git_area_begin_files(struct git_area *a, struct err *err);
void git_area_forget_files(struct git_area *a);
/* Whether the configuration asks for conversions, whatever the attributes say. */
bool git_area_converts(git_repository *repo);
bool git_area_has_object(const struct git_area *a, const char *id);
/* Whether the objects of want are here, at least depth commits deep. */
bool git_area_is_deep(struct git_area *a, const struct git_wanted *want, int depth);
/* Fetches want. May make .git anew (git_area_renew). */
int git_area_fetch(struct git_area *a, const struct git_remote_access *remote, const struct git_wanted *want, int depth,
                   struct err *err);
/* want->commit from want->object; ERR_INVALID where that is no commit. */
int git_area_peel(struct git_area *a, struct git_wanted *want, struct err *err);
/* .git goes, but for the index, and is made anew; the files of the work tree stay. */
int git_area_renew(struct git_area *a, struct err *err);
/* .git/shallow; absent is an empty list. */
int git_area_read_shallow(const struct git_area *a, struct strv *ret, struct err *err);
bool git_area_is_shallow(const struct git_area *a);
/* The old list, less what is complete now, and the new boundary. */
int git_area_write_shallow(struct git_area *a, const struct strv *shallow, const struct strv *unshallow,
                           struct err *err);
/* After a fetch of whole histories: .git/shallow keeps only what still ends early. */
int git_area_deepened(struct git_area *a, struct err *err);
bool git_area_is_lfs_pointer(const char *data, size_t len);
int git_area_write_tree(struct git_area *a, git_commit *commit, bool clean, struct wait *wait,
                        struct git_area_result *ret, struct err *err);

static inline void repository_freep(git_repository **p)
{
	git_repository_free(*p);
}
static inline void commit_freep(git_commit **p)
{
	git_commit_free(*p);
}
static inline void tree_freep(git_tree **p)
{
	git_tree_free(*p);
}
static inline void index_freep(git_index **p)
{
	git_index_free(*p);
}
static inline void blob_freep(git_blob **p)
{
	git_blob_free(*p);
}
static inline void reference_freep(git_reference **p)
{
	git_reference_free(*p);
}
static inline void config_freep(git_config **p)
{
	git_config_free(*p);
}
static inline void remote_freep(git_remote **p)
{
	git_remote_free(*p);
}
static inline void indexer_freep(git_indexer **p)
{
	git_indexer_free(*p);
}
static inline void odb_freep(git_odb **p)
{
	git_odb_free(*p);
}
