/* A fetch by git's protocol version 0, for servers without version 2, and for all of a repository's history with its branches and
 * tags: libgit2 negotiates, base/git/transport_v0.h carries. libgit2 1.5 knows no shallow history, so whole histories arrive: that of the
 * branch or tag at the commit if there is one, else all of them. */
#pragma once
#include "base/git/area.h"

struct git_tags;

/* Like git_wire_resolve. */
int git_v0_resolve(const struct git_remote_access *remote, const char *const *names, struct git_wanted *ret,
                   struct err *err);
/* Like git_wire_default. */
int git_v0_default(const struct git_remote_access *remote, struct git_wanted *ret, struct err *err);
/* Like git_tags_list. */
int git_v0_tags(const struct git_remote_access *remote, struct git_tags *ret, struct err *err);
/* all: every branch and tag; tags: every tag. ERR_NOT_FOUND: none of them holds the commit. */
int git_v0_fetch(struct git_area *a, const struct git_remote_access *remote, const struct git_wanted *want, bool all,
                 bool tags, struct err *err);
