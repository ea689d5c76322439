/* A work area without all of its objects: a filter left some of them at the server (git's partial clone), which gives them by their ids. Source:
 * gitprotocol-v2 and partial-clone of git's documentation; configuration and marks as git 2.39 leaves them, so that git fetches what a later step
 * looks at. */
#pragma once
#include "base/git/git_priv.h"

/* "blob:limit=1k" as git notes it: "blob:limit=1024"; free(). NULL: nothing that is carried out here. Known are blob:none, blob:limit=N[kmg]
 * and tree:N. */
char *git_partial_filter(const char *text);
/* True if an earlier fetch left out objects. */
bool git_partial_is(const struct git_area *a);
/* Notes in the configuration that objects are missing by this filter. */
int git_partial_configure(struct git_area *a, const char *filter, struct err *err);
/* Marks the packs, so that git takes what they name for promised. */
int git_partial_mark(struct git_area *a, struct err *err);
/* True if the server filters. A server without protocol version 2 does not. */
int git_partial_server(const struct git_remote_access *remote, bool *ret, struct err *err);
/* The trees of the commit that are missing, all at once. */
int git_partial_trees(struct git_area *a, const struct git_remote_access *remote, const char *commit, struct err *err);
/* The objects of these ids. ERR_PROTOCOL: the server does not give one of them. */
int git_partial_bring(struct git_area *a, const struct git_remote_access *remote, const struct strv *ids,
                      struct err *err);
