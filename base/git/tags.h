/* All tags of a server, and its branches too where all of its history is fetched by protocol version 2: listed by it, and set here as they stand
 * there. */
#pragma once
#include "base/git/git_priv.h"

/* A fetch asks for each by its id. */
enum { GIT_TAGS_MAX = 100 * 1000 };

struct git_tag {
	char *name; /* here: "refs/tags/v1"; a branch: "refs/remotes/origin/main" */
	git_oid id;
};
struct git_tags {
	struct git_tag *items; /* as the server has them in order */
	size_t count, cap;
	bool heads;   /* branches too */
	size_t bytes; /* of the list, while it is read */
	bool seen_any;
};
void git_tags_done(struct git_tags *t);
/* name: the server's; also "refs/tags/v1^{}", which is left out, as are names that git does not allow. ERR_LIMIT: more than GIT_TAGS_MAX. */
int git_tags_add(struct git_tags *t, const char *name, const git_oid *id, struct err *err);
/* By protocol version 2, else by version 0. */
int git_tags_list(const struct git_remote_access *remote, struct git_tags *ret, struct err *err);
/* The ids, each once. */
void git_tags_ids(const struct git_tags *t, struct strv *ret);
/* Sets them, moves those that moved, removes others. An object that is not here, or names one that is not, is ERR_PROTOCOL. */
int git_tags_set(struct git_area *a, const struct git_tags *t, struct err *err);
