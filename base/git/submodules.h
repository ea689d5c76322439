/* The submodules of a work area's commit, as `git submodule sync` and `git submodule update --init --force` leave them: .git/modules/NAME, a file
 * `.git` in each, `submodule.NAME.url` and `active` in the configuration, HEAD detached at the commit that the other one names.
 *
 * What the repository says is hostile: names, paths, addresses, and how deep it goes. Links are not followed, nothing is run, and the
 * token is shown to its own server alone. */
#pragma once
#include "base/git/area.h"

enum { GIT_MODULE_LEVELS_MAX = 16, GIT_MODULE_COUNT_MAX = 2000 };

struct git_submodules {
	const struct git_remote_access *remote; /* the area's own: its token is for its server */
	const struct git_ssh_login
		*ssh; /* for addresses behind SSH, which stand for themselves then; NULL: none is fetched by SSH */
	const char *owner_id; /* of the owner of the job's repository; NULL: unknown */
	int depth;            /* as for git_area_bring */
	bool clean, recursive;
};
struct git_submodules_result {
	size_t count;                 /* that were brought, at all levels */
	size_t left;                  /* that stay as they are: by `update = none`, or below one without `recursive` */
	struct git_area_result files; /* of all of them */
};
/* After git_area_bring. */
int git_area_submodules(struct git_area *a, const struct git_submodules *wanted, struct git_submodules_result *ret,
                        struct err *err);
