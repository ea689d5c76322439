/* The token of a work area, where git programs that run in it later find it: in its configuration, or in a file of its own that this includes. Until it
 * is removed. Both change the area's own configuration alone, and no link in .git is followed. */
#pragma once
#include "base/core/err.h"

/* What sees the area where: its .git as that program sees it, and the file likewise. Both may hold any character. */
struct git_token_view {
	const char *git_dir, *file;
};
enum git_token_submodules { GIT_TOKEN_NO_SUBMODULES, GIT_TOKEN_OWN_SUBMODULES, GIT_TOKEN_ALL_SUBMODULES };
struct git_token {
	const char *root, *below;  /* the area's, as for git_area_open */
	const char *server;        /* "https://github.com" */
	const char *authorization; /* what a request to it has, "basic …"; a secret */
	const char *directory;     /* where files of tokens lie, absolute */
	const char *file;          /* its name in there, "git-credentials-….config"; NULL: in .git/config itself */
	const struct git_token_view *views;
	size_t view_count;                    /* with file */
	enum git_token_submodules submodules; /* where it is kept too; it is removed from all of them */
	const char *owner_id;                 /* with submodules: as for git_area_submodules */
	/* With a key for SSH: its file and that of known hosts, NAME_known_hosts, in directory; NULL: none. The others are for keep: the key's text (a secret), further known hosts or
	 * NULL, and what is to be `core.sshCommand`. */
	const char *ssh_name, *ssh_key, *ssh_known_hosts, *ssh_command;
};
/* In place of what an earlier one left. ERR_NOT_FOUND: there is no area. */
int git_token_keep(const struct git_token *t, struct err *err);
/* Everything that keep, or actions/checkout, leaves of tokens; also of a configuration that cannot be read, which is
 * removed then: *ret_broken. An area that is not there has none. */
int git_token_remove(const struct git_token *t, bool *ret_broken, struct err *err);
