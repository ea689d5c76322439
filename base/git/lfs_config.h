/* Where a repository keeps its LFS contents, and of which files they are wanted: the commit's .lfsconfig, of which a stranger may be the author, and
 * git-lfs's own rule for the address. */
#pragma once
#include "base/core/str.h"
#include "base/git/git_priv.h"

struct lfs_config {
	char *url; /* objects/batch is below it; of a repository behind SSH that nothing names: NULL */
	struct ignore *include, *exclude; /* of paths; NULL: all, none */
	bool skips;                       /* a failed download leaves a pointer (`lfs.skipdownloaderrors`) */
};
/* blob: of .lfsconfig, NULL: there is none. remote: the repository's own address. */
int lfs_config_read(struct lfs_config *c, git_repository *repo, const git_oid *blob, const char *remote,
                    struct err *err);
bool lfs_config_wants(const struct lfs_config *c, const char *path);
void lfs_config_done(struct lfs_config *c);
