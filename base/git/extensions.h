/* What a repository may ask of its readers (`extensions.*`) that libgit2 does not know and that changes nothing for who reads objects, index and
 * references: a part of the configuration that belongs to one work tree (git's sparse-checkout), and objects that are still at the server. Without
 * this libgit2 opens no such repository. Before each opening; it may be said again. */
#pragma once
#include <git2.h>

static inline void git_extensions_allow(void)
{
	const char *known[] = {"worktreeconfig", "partialclone"};
	git_libgit2_opts(GIT_OPT_SET_EXTENSIONS, known, sizeof(known) / sizeof(known[0]));
}
