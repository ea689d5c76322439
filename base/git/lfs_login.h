/* Where a server behind SSH has its contents of LFS, and what lets in there: the answer of its program git-lfs-authenticate. Source: docs/api/authentication.md and server-discovery.md of
 * Git LFS; git-lfs 3.3.0 as observed. */
#pragma once
#include "base/core/err.h"
#include "base/core/str.h"
#include "base/core/wait.h"

struct git_ssh;
enum { LFS_LOGIN_MAX = 64 << 10 };

struct lfs_login {
	char *url;           /* objects/batch is below it; NULL: nobody was asked */
	char *shown;         /* its server: the rest may let in too */
	struct strv headers; /* "Name: value", for url alone; secrets */
	int64_t until_ms;    /* monotonic: from then on it is to be asked again; INT64_MAX: never */
};
void lfs_login_done(struct lfs_login *l);
/* otherwise: the address where the answer names none. One that is not https is taken on loopback only. */
int lfs_login_read(const char *text, size_t len, const char *otherwise, struct lfs_login *ret, struct err *err);
/* In place of what *ret says. */
int lfs_login_ask(struct git_ssh *s, struct wait *w, struct lfs_login *ret, struct err *err);
