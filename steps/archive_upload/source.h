/* The source of archive-upload: the tree under `source` without its excludes, and git's knowledge of it. */
#pragma once
#include "schemas/archive_upload.h"
#include "steps/archive_upload/former.h"
#include "engine/run/step.h"
#include <pthread.h>

enum { DIRTY_SHOWN = 10 };

/* Shared by the uploads to several targets and by what is remembered for the next plan. */
struct upload_source {
	size_t users;
	int fd;     /* the directory */
	char *path; /* absolute */
	struct tree
		tree; /* modes as for the release: git's for tracked files, others without write for group and others */
	int64_t looked_ns;           /* the wall clock before the walk */
	struct manifest_blob *blobs; /* one for each entry: git's id if the work tree is known to hold that content */
	bool git;                    /* lies in a work tree with a commit */
	char commit[BLOB_HEX];
	struct strv dirty; /* the first DIRTY_SHOWN differences from the commit: "modified: a/b" */
	size_t dirty_count;
	struct strv notes; /* submodules, LFS pointers: left as they are, and reported */
};

/* A process's knowledge of the sources of one deployment. */
struct upload_last { /* the last one: what was digested moments ago and has kept its times and size is not read again */
	char *key;
	bool fresh;
	struct upload_source *source;
};
struct upload_ahead { /* one that is read in the background while the targets are being connected */
	bool begun;
	char *key;
	pthread_t thread;
	int stop, done; /* eventfds: the result is not wanted; the result is ready */
	const struct step_context *c;
	struct upload_source *source;
	int r;
};

/* Walks and asks git; makes no digests. A deployment plans twice: when its first step is planned again, nothing of ours can have changed
 * the tree in between, and changes by somebody else are found when it is packed; so the first walk is used. */
int upload_source_open(const struct step_context *c, const struct archive_upload_in *in, struct wait *w,
                       struct upload_source **ret, struct err *err);
struct upload_source *upload_source_ref(struct upload_source *s);
void upload_source_unref(struct upload_source *s); /* NULL-safe */
/* Begins to read in the background; upload_source_open takes the result if it is the first call of this step. Ends it when it was not
 * taken. One at a time: a second step reads for itself. */
void upload_source_begin(const struct step_context *c);
void upload_source_end(const struct step_context *c);
void upload_source_forget(struct upload_last *last);
/* The top of the tree that relative paths belong to. */
const char *upload_source_root(const struct step_context *c);
/* The directory that the files of `exclude_from` must lie in: that tree, or a source elsewhere. free() */
char *upload_source_limit(const struct step_context *c, const char *source);
/* Digests of all files; a file with the same path, blob id and size in a previous manifest takes its digest from there. */
int upload_source_digest(const struct step_context *c, struct upload_source *s, const struct upload_former *former,
                         struct wait *w, struct err *err);

/* For the next plan of this process, and of later ones; once all digests are there, and no long text is held any more. */
void upload_source_remember(const struct step_context *c, struct upload_source *s);

/* For source.c: source_git.c. */
int upload_source_git(struct upload_source *s, const struct ignore *ignore, struct wait *w, struct err *err);
void upload_source_dirty(struct upload_source *s, const char *what, const char *path);

/* The nth of `shared` and then of `shared_files`, without slashes around; NULL past the end. free(). */
char *upload_shared_name(const struct archive_upload_in *in, size_t n);
