/* For the token_….c files alone. */
#pragma once
#include "base/git/git_priv.h"
#include "base/git/token.h"

#include <limits.h>

/* A configuration, in the directory that is a .git. */
struct git_token_place {
	int git;             /* the directory; -1: none */
	char path[PATH_MAX]; /* of its configuration, for libgit2, which takes paths only */
	git_config *config;
};
void git_token_place_done(struct git_token_place *p);
/* place->git is open: finds and reads its configuration, which is a file: else somebody has led it elsewhere. */
int git_token_place_find(struct git_token_place *p, struct err *err);
int git_token_place_open(struct git_token_place *p, struct err *err);

extern const char git_token_ssh_command_key[];
/* Removes what git_token_keep or the action left; ret_files: the files that were included. 0 or libgit2's error. */
int git_token_clear(git_config *config, struct strv *ret_files);
/* How each view sees the directory: its .git and `below` behind that. rests: what follows in the key. 0 or libgit2's error. */
int git_token_include(const struct git_token *t, git_config *config, const char *below, const char *const *rests,
                      size_t rest_count);

/* Of all submodules that lie in this .git, also those of other commits. Adds to ret_files. *ret_broken: a configuration that could not be read
 * was removed. */
int git_token_clear_modules(int git, struct strv *ret_files, bool *ret_broken, struct err *err);
/* Of the submodules that the index of this .git names. key, value: the header, unless a file has it. */
int git_token_keep_modules(const struct git_token *t, const struct git_token_place *top, const char *key,
                           const char *value, struct err *err);
