/* What archive-upload sends: the tree under `source` without its excludes, and what git knows of it. */
#pragma once
#include "schemas/archive_upload.h"
#include "steps/common/manifest.h"
#include "engine/run/step.h"
#include <pthread.h>

enum { DIRTY_SHOWN = 10 };

struct upload_source {
	int fd;     /* the directory */
	char *path; /* absolute */
	struct tree
		tree; /* modes are what the release gets: git's for tracked files, others without write for group and others */
	int64_t looked_ns;       /* the wall clock before the walk */
	char (*blobs)[BLOB_HEX]; /* one for each entry: git's id where the work tree is known to hold that content */
	bool git;                /* lies in a work tree with a commit */
	char commit[BLOB_HEX];
	struct strv dirty; /* the first DIRTY_SHOWN things that are not as in the commit: "modified: a/b" */
	size_t dirty_count;
	struct strv notes; /* submodules, LFS pointers: left as they are, and said */
};

/* What a process knows of the sources of one deployment. */
struct upload_last { /* the last one: what was digested moments ago and has kept its times and size is not read again */
	char *key;
	bool fresh;
	struct upload_source source;
};
struct upload_ahead { /* one that is read in the background while the targets are being connected */
	bool begun;
	char *key;
	pthread_t thread;
	int stop, done; /* eventfds: the result is not wanted; it is there */
	const struct step_context *c;
	struct upload_source source;
	int r;
};

/* Walks and asks git; makes no digests. A deployment plans twice: when its first step is planned again, nothing of ours can have changed
 * the tree in between, and what somebody else changed is found when it is packed; so the first walk is taken. */
int upload_source_open(const struct step_context *c, const struct archive_upload_in *in, struct wait *w,
                       struct upload_source *ret, struct err *err);
/* Begins to read in the background; upload_source_open takes what was read, where it is the first of this step. Ends it when it was not
 * taken. One at a time: a second step reads for itself. */
void upload_source_begin(const struct step_context *c);
void upload_source_end(const struct step_context *c);
void upload_source_forget(struct upload_last *last);
/* The top of the tree that relative paths belong to. */
const char *upload_source_root(const struct step_context *c);
/* What the files that `exclude_from` names must not leave: that tree, or a source that lies elsewhere. free() */
char *upload_source_limit(const struct step_context *c, const char *source);
void upload_source_done(struct upload_source *s);
/* Digests of all files; a file whose blob id and size a former manifest has under the same path takes its digest from there. */
int upload_source_digest(const struct step_context *c, struct upload_source *s, const struct manifest *former,
                         struct wait *w, struct err *err);

/* For source.c: source_git.c. */
int upload_source_git(struct upload_source *s, const struct ignore *ignore, struct wait *w, struct err *err);
void upload_source_dirty(struct upload_source *s, const char *what, const char *path);

/* The nth of `shared` and then of `shared_files`, without slashes around; NULL past the end. free(). */
char *upload_shared_name(const struct archive_upload_in *in, size_t n);
