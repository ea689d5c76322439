/* What a commit says of its submodules: .gitmodules, as git reads it. Source: gitmodules(5), gitsubmodules(7); the refusals were
 * observed with git 2.39. Everything in it is hostile input. */
#pragma once
#include "base/core/err.h"
#include "base/core/str.h"
#include <git2.h>

enum { GIT_MODULES_TEXT_MAX = 1 << 20, GIT_MODULES_MAX = 4096 };

enum git_module_update {
	MODULE_UPDATE_UNSAID,
	MODULE_UPDATE_CHECKOUT,
	MODULE_UPDATE_REBASE,
	MODULE_UPDATE_MERGE,
	MODULE_UPDATE_NONE
};

struct git_module {
	char *name; /* also of its directory below .git/modules: relative, without a "." or ".." in it */
	char *path; /* in the work tree; NULL: none that git would take */
	char *url;  /* as written; NULL: none that git would take */
	enum git_module_update update;
	bool shallow; /* one commit is enough */
};
struct git_modules {
	struct git_module *items;
	size_t count;
};
/* The words of `update`, as git writes them; "" for MODULE_UPDATE_UNSAID. */
const char *git_module_update_word(enum git_module_update update);

/* ERR_INVALID: git would not read it either. Names that lead out of .git/modules are left out, as git does. */
int git_modules_parse(const char *text, size_t len, struct git_modules *ret, struct err *err);
/* Of the index of this repository; none is an empty list. A .gitmodules that is a link counts as none. */
int git_modules_read(git_repository *repo, struct git_modules *ret, struct err *err);
/* The links of the index to commits of others: path and commit, in its order. */
int git_modules_links(git_repository *repo, struct strv *ret_paths, struct strv *ret_commits, struct err *err);
/* The one at this path; NULL: none. */
const struct git_module *git_modules_at(const struct git_modules *m, const char *path);
/* One of these names twice, or one whose directory lies in that of another: ERR_REFUSED. */
int git_modules_check_nesting(const struct strv *used, struct err *err);
void git_modules_done(struct git_modules *m);
