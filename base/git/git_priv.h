/* For the git_….c files of this directory only. */
#pragma once
#include "base/git/area.h"
#include "base/git/prewrite.h"
#include <git2.h>

struct git_tags;
struct git_sparse;

struct git_area_lfs {
	bool wanted;
	void (*report)(void *context, const char *fmt, ...) _printf_(2, 3);
	void *context;
};

struct git_area {
	git_repository *repo;
	int root; /* of the work tree */
	int git;  /* of .git, or of the directory that a submodule has in its place; -1: there is none yet */
	int store; /* of the directory that it lies in, by the name git_name: the work tree itself, or one of .git/modules */
	char *git_name;
	char *path; /* the work tree's, for libgit2 */
	char *git_path;
	bool module; /* a submodule's */
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
/* The way to the work tree and to its .git is known: opens or makes the repository (git_area_open). Url is copied. */
int git_area_begin(struct git_area *a, const char *url, bool clean, struct err *err);
/* For libgit2, which only takes paths. free(); NULL: see err. */
char *git_area_path_of(int directory, struct err *err);
/* The area of a submodule of this one (module.c): its work tree at path, its .git at .git/modules/NAME. Both are made when missing, and
 * what stands in their way is removed. url: its origin. */
int git_area_open_module(struct git_area *super, const char *name, const char *path, const char *url, bool clean,
                         struct git_area **ret, struct err *err);
/* Its configuration, as it belongs to its place and url. */
int git_area_configure_module(struct git_area *a, struct err *err);
int git_area_configure(git_config *config, const char *key, const char *value);
/* HEAD and the references, once the work tree is right. all: a fetch brought all of the server's. */
int git_area_set_references(struct git_area *a, const struct git_wanted *want, bool all, struct err *err);
/* A reference, whatever stands in its way. 0 or libgit2's error. */
int git_area_set_reference(struct git_area *a, const char *name, const git_oid *id);
/* Where `git pull` and `git push` of the branch go. Likewise. */
int git_area_follow_origin(struct git_area *a, const char *branch, const char *name);
/* A handle of one's own. 0 or libgit2's error. */
int git_area_handle(const struct git_area *a, git_repository **ret);
/* True if the directory holds nothing but .git. */
bool git_area_is_empty(const struct git_area *a);
/* Marks files written from here on as unfinished until git_area_files_done. They are removed by git_area_forget_files after a failure,
 * or, after a kill, when the area is opened again. */
int git_area_begin_files(struct git_area *a, struct err *err);
void git_area_forget_files(struct git_area *a);
/* The work tree is that of HEAD. */
void git_area_files_done(struct git_area *a);
/* True if the configuration asks for conversions, whatever the attributes say. */
bool git_area_converts(git_repository *repo);
bool git_area_has_object(const struct git_area *a, const char *id);
/* True if the objects of want and tags are here, at least depth commits deep. */
bool git_area_is_deep(struct git_area *a, const struct git_wanted *want, const struct git_tags *tags, int depth);
/* Like git_wire_default, also for a server without protocol version 2. */
int git_area_default(const struct git_remote_access *remote, struct git_wanted *ret, struct err *err);
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
int git_token_forget(git_repository *repo, bool submodules, struct err *err);
bool git_area_is_lfs_pointer(const char *data, size_t len);
/* remote: of the blobs that a filter left out; NULL: none are. */
struct git_writing {
	bool clean;
	struct git_sparse *sparse; /* NULL: all files are written */
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
