#include "base/git/tree_size.h"

#include "base/git/git_priv.h"

/* < 0: libgit2's error. *left is 0 where that is too much. */
static int count(git_repository *repo, const git_tree *tree, int depth, size_t *left)
{
	size_t entries = git_tree_entrycount(tree);
	int r = 0;
	*left = depth > GIT_TREE_DEPTH_MAX || entries >= *left ? 0 : *left - entries;
	for (size_t i = 0; r == 0 && *left > 0 && i < entries; i++) {
		git_tree *below _cleanup_(tree_freep) = NULL;
		const git_tree_entry *e = git_tree_entry_byindex(tree, i);
		if (git_tree_entry_type(e) != GIT_OBJECT_TREE)
			continue;
		r = git_tree_lookup(&below, repo, git_tree_entry_id(e));
		if (r == 0)
			r = count(repo, below, depth + 1, left);
		else if (r == GIT_ENOTFOUND)
			r = 0;
	}
	return r;
}

int git_tree_check_size(git_repository *repo, const git_tree *tree, struct err *err)
{
	size_t left = GIT_TREE_ENTRIES_MAX;
	int r = count(repo, tree, 0, &left);
	if (r != 0)
		return git_area_error(err, r, "read the trees of the commit");
	if (left > 0)
		return 0;
	r = err_set(err, ERR_LIMIT, "the commit has more than %d files and directories, or more than %d levels of them",
	            GIT_TREE_ENTRIES_MAX, GIT_TREE_DEPTH_MAX);
	return err_hint(err, r, "check it out by git in a step");
}
