#include "base/git/area.h"

#include <string.h>
#include <unistd.h>

#include "base/core/clock.h"
#include "base/core/log.h"
#include "base/git/git_priv.h"
#include "base/git/large.h"
#include "base/git/partial.h"
#include "base/git/sparse.h"
#include "base/git/tags.h"

int git_area_peel(struct git_area *a, struct git_wanted *want, struct err *err)
{
	git_oid id;
	git_object *object = NULL, *commit = NULL;
	int r = git_oid_fromstr(&id, want->object);
	if (r == 0)
		r = git_object_lookup(&object, a->repo, &id, GIT_OBJECT_ANY);
	if (r != 0)
		return git_area_error(err, r, "read what was fetched");
	const char *type = git_object_type2string(git_object_type(object));
	r = git_object_peel(&commit, object, GIT_OBJECT_COMMIT);
	git_object_free(object);
	if (r == 0) {
		git_oid_tostr(want->commit, GIT_HEX, git_object_id(commit));
		git_object_free(commit);
		return 0;
	}
	if (r != GIT_EPEEL && r != GIT_EINVALIDSPEC && r != GIT_EAMBIGUOUS)
		return git_area_error(err, r, "read what was fetched");
	r = strcmp(type, "tag") == 0 ? err_set(err, ERR_INVALID, "'%s' is a tag of something that is not a commit",
	                                       want->ref ? want->ref : want->object)
	                             : err_set(err, ERR_INVALID, "'%s' is a %s, not a commit",
	                                       want->ref ? want->ref : want->object, type);
	return err_hint(err, r, "`ref:` is a branch, a tag of a commit, or a commit id of 40 digits");
}

/* tags: NULL: those that are here stay. */
static int checkout(struct git_area *a, const struct git_wanted *want, const struct git_tags *tags,
                    const struct git_wish *wish, const struct git_remote_access *remote, bool partial,
                    struct git_area_result *ret, struct err *err)
{
	struct git_sparse *sparse _cleanup_(git_sparse_freep) = NULL;
	struct git_writing how = {.clean = wish->clean, .wait = remote->wait};
	git_oid id;
	git_commit *object _cleanup_(commit_freep) = NULL;
	int r = git_oid_fromstr(&id, want->commit);
	if (r == 0)
		r = git_commit_lookup(&object, a->repo, &id);
	if (r != 0)
		return git_area_error(err, r, "read the commit");
	if (partial) {
		how.remote = remote;
		r = git_partial_trees(a, remote, want->commit, err);
		if (r < 0)
			return r;
	}
	if (wish->sparse != NULL)
		r = git_sparse_new(wish->sparse, &sparse, err);
	if (r >= 0)
		r = git_sparse_configure(a, sparse, err);
	if (r < 0)
		return r;
	how.sparse = sparse;
	r = git_area_write_tree(a, object, &how, ret, err);
	if (r == ERR_LIMIT)
		git_area_forget_files(a);
	if (r < 0)
		return err_wrap(err, r, "write the files of %.12s", want->commit);
	if (tags != NULL)
		r = git_tags_set(a, tags, err);
	if (r >= 0)
		r = git_area_set_references(a, want, wish->depth == 0, err);
	if (r < 0)
		return r;
	git_area_files_done(a);
	return 0;
}

/* An area that lacks objects and one that has them all become each other. */
static int begin_filter(struct git_area *a, const struct git_remote_access *remote, struct git_request *q,
                        struct err *err)
{
	bool filters = false;
	int r = q->filter != NULL ? git_partial_server(remote, &filters, err) : 0;
	if (r < 0)
		return r;
	if (filters)
		return git_partial_configure(a, q->filter, err);
	if (q->filter != NULL)
		log_debug("git", "%s: it does not filter, so all objects come", remote->url);
	q->filter = NULL;
	return a->kept && git_partial_is(a) ? git_area_renew(a, err) : 0;
}

/* ret_broken: the failure may be caused by the kept files. */
static int bring(struct git_area *a, const struct git_remote_access *remote, struct git_wanted *want,
                 const struct git_wish *wish, struct git_area_result *ret, bool *ret_broken, struct err *err)
{
	int64_t start = clock_mono_ms();
	_cleanup_free_ char *filter = wish->filter != NULL ? git_partial_filter(wish->filter) : NULL;
	struct git_request q = {.want = want, .depth = wish->depth, .filter = filter};
	struct git_tags tags _cleanup_(git_tags_done) = {.items = NULL};
	q.tags = &tags;
	*ret_broken = false;
	if (wish->filter != NULL && filter == NULL)
		return err_set(err, ERR_INVALID, "'%s' is not a filter that is known here", wish->filter);
	int r = begin_filter(a, remote, &q, err);
	q.early = q.filter == NULL && wish->sparse == NULL;
	/* All of history with a filter is fetched by what the list names. */
	tags.heads = wish->depth == 0;
	bool lists = wish->depth > 0 ? wish->tags : q.filter != NULL;
	if (r >= 0 && lists)
		r = git_tags_list(remote, &tags, err);
	if (r < 0)
		return r;
	/* All of history includes all branches and tags, and those may have moved. */
	if (wish->depth == 0 || !git_area_is_deep(a, want, &tags, wish->depth))
		r = git_area_fetch(a, remote, &q, err);
	*ret_broken = r == ERR_IO || r == ERR_PROTOCOL;
	if (r < 0)
		return r;
	r = git_area_peel(a, want, err);
	int64_t fetch_ms = clock_mono_ms() - start;
	if (r >= 0)
		r = checkout(a, want, lists ? &tags : NULL, wish, remote, q.filter != NULL, ret, err);
	ret->fetch_ms = fetch_ms;
	*ret_broken = r == ERR_IO || r == ERR_NOT_FOUND;
	return r;
}

int git_area_bring_as(struct git_area *a, const struct git_remote_access *remote, struct git_wanted *want,
                      const struct git_wish *wish, struct git_area_result *ret, struct err *err)
{
	struct err why = ERR_INIT;
	char line[1024];
	bool broken = false, kept = a->kept;
	a->remote = remote;
	git_large_begin();
	int r = bring(a, remote, want, wish, ret, &broken, &why);
	if (r < 0 && kept && broken) {
		log_debug("git", "%s: %s: .git is recreated", a->path, err_line(&why, line, sizeof(line)));
		err_clear(&why);
		r = git_area_renew(a, &why);
		if (r >= 0)
			unlinkat(a->git, "index", 0);
		if (r >= 0)
			r = bring(a, remote, want, wish, ret, &broken, &why);
		a->renewed = true;
	}
	git_large_end();
	ret->renewed = a->renewed;
	if (r < 0 && err != NULL)
		*err = why;
	return r;
}

int git_area_bring(struct git_area *a, const struct git_remote_access *remote, struct git_wanted *want, int depth,
                   bool clean, struct git_area_result *ret, struct err *err)
{
	struct git_wish wish = {.depth = depth, .clean = clean};
	return git_area_bring_as(a, remote, want, &wish, ret, err);
}
