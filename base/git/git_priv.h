/* For the git_….c files of this directory only. */
#pragma once
#include "base/git/area.h"
#include "base/git/prewrite.h"
#include <git2.h>

struct git_tags;

struct git_area_lfs {
	bool wanted;
	void (*report)(void *context, const char *fmt, ...) _printf_(2, 3);
	void *context;
};

struct git_area {
	git_repository *repo;
	int root;   /* of the work tree */
	int git;    /* of .git; -1: there is none yet */
	char *path; /* the work tree's, for libgit2 */
	char *git_path;
	char *url;
	bool kept;    /* it existed before */
	bool renewed; /* it existed, but could not be used */
	char head[GIT_HEX];
	struct git_early *early; /* of the fetch before the checkout; NULL: none */
	struct git_area_lfs lfs;
	const struct git_remote_access *remote; /* of the call that is under way */
};

/* Before the first call of libgit2. */
void git_area_library(void);
/* libgit2's last error as ours; the only place in these files that reads it. */
int git_area_error(struct err *err, int code, const char *what);
/* A handle of one's own. 0 or libgit2's error. */
int git_area_handle(const struct git_area *a, git_repository **ret);
/* True if the directory holds nothing but .git. */
bool git_area_is_empty(const struct git_area *a);
/* Marks files written from here on as unfinished until git_area_checkout. They are removed by git_area_forget after a failure, or,
 * after a kill, when the area is opened again. */
int git_area_begin_files(struct git_area *a, struct err *err);
void git_area_forget_files(struct git_area *a);
/* True if the configuration asks for conversions, whatever the attributes say. */
bool git_area_converts(git_repository *repo);
bool git_area_has_object(const struct git_area *a, const char *id);
/* True if the objects of want and tags are here, at least depth commits deep. */
bool git_area_is_deep(struct git_area *a, const struct git_wanted *want, const struct git_tags *tags, int depth);
struct git_request {
	const struct git_wanted *want;
	const struct git_tags *tags; /* their objects too; may be empty */
	int depth;                   /* 0: all history */
	const char *filter;          /* what the server leaves out, if it can; NULL: nothing */
	bool early;                  /* the files may be written while the pack arrives */
};
/* May make a new .git (git_area_renew). */
int git_area_fetch(struct git_area *a, const struct git_remote_access *remote, const struct git_request *q,
                   struct err *err);
/* Objects alone, without what they name but trees below trees. */
int git_area_fetch_objects(struct git_area *a, const struct git_remote_access *remote, const struct strv *ids,
                           struct err *err);
/* want->commit from want->object; ERR_INVALID if that is not a commit. */
int git_area_peel(struct git_area *a, struct git_wanted *want, struct err *err);
/* Replaces .git, except the index, by a new one; the files of the work tree stay. */
int git_area_renew(struct git_area *a, struct err *err);
/* .git/shallow; absent is an empty list. */
int git_area_read_shallow(const struct git_area *a, struct strv *ret, struct err *err);
bool git_area_is_shallow(const struct git_area *a);
/* Writes the old list without the commits that are complete now, and the new boundary. */
int git_area_write_shallow(struct git_area *a, const struct strv *shallow, const struct strv *unshallow,
                           struct err *err);
/* After a fetch of whole histories: .git/shallow keeps only commits without parents here. */
int git_area_deepened(struct git_area *a, struct err *err);
/* Of an earlier job: what git_token_keep or actions/checkout left in the configuration. */
int git_token_forget(git_repository *repo, struct err *err);
bool git_area_is_lfs_pointer(const char *data, size_t len);
/* remote: of the blobs that a filter left out; NULL: none are. */
struct git_writing {
	bool clean;
	const struct git_remote_access *remote;
	struct wait *wait;
};
int git_area_write_tree(struct git_area *a, git_commit *commit, const struct git_writing *how,
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
