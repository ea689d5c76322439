/* Where a submodule is fetched from, and who may see the job's token. */
#pragma once
#include "base/core/err.h"
#include "base/core/str.h"

/* "./x" and "../x" of .gitmodules against the origin of the repository that holds them, as git has it; others as they are. free() */
char *git_module_absolute(const char *origin, const char *url);

struct git_module_server {
	const char *url;      /* any address on the job's server, http or https */
	const char *owner_id; /* of the owner of the job's repository: org-ID@github.com is his too; NULL: unknown */
	bool by_ssh;          /* addresses behind SSH are fetched so: none of them stands for the server's own */
};
/* The addresses that stand for the server of the job: "git@HOST:" …, in place of which its own is asked, as git's insteadOf. */
void git_module_aliases(const struct git_module_server *server, struct strv *ret);
/* "https://HOST:PORT/" of the server. free(); NULL: it is no such address. */
char *git_module_origin(const char *url);

struct git_module_source {
	char *url;        /* http or https, without user and without a slash at its end; with ssh as written */
	bool ssh;         /* it is asked by SSH */
	bool ours;        /* the job's server: its token goes there and nowhere else */
	struct str login; /* "USER:PASSWORD" that stands in the address; a secret */
};
void git_module_source_done(struct git_module_source *s);
/* ERR_REFUSED: what git does not take from a submodule either (local paths, file://, transport helpers). ERR_UNSUPPORTED: other protocols, and SSH unless
 * by_ssh. */
int git_module_find(const struct git_module_server *server, const char *url, struct git_module_source *ret,
                    struct err *err);
