/* The surroundings of a deployment file: its git work tree (paths of the sending side are relative to its top), the commit and
 * whether files differ from it. Without git: the file's directory, no commit. docs/semantics.md 1. */
#pragma once
#include "base/core/err.h"
#include "base/core/str.h"

struct deployment_source {
	char *root;       /* absolute */
	char *commit;     /* 40 hex digits, or NULL */
	char *git_dir;    /* of the repository; NULL: there is none */
	char *ref;        /* "refs/heads/main"; NULL: no branch is checked out */
	bool dirty;       /* tracked files changed, or untracked ones not ignored, below root */
	char *repository; /* "owner/name" of the remote "origin" when it looks like one; NULL */
};
/* path: a file or directory that exists. search: look for the work tree in the directories above too; a job's workspace is
 * taken as it is, wherever the runner put it. */
int deployment_source_find(const char *path, bool search, struct deployment_source *ret, struct err *err);
void deployment_source_done(struct deployment_source *s);
