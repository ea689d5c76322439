#include "base/git/fetch_v0.h"

#include <string.h>

#include "base/git/git_priv.h"
#include "base/git/tags.h"
#include "base/git/transport_v0.h"

static const char PEELED[] = "^{}"; /* "refs/tags/v1^{}" stands at the commit, "refs/tags/v1" at the tag object */

/* repo may be NULL. git_remote_prune uses the fetch specification. */
static int connect(struct git_http *h, git_repository *repo, git_remote **ret, struct err *err)
{
	git_remote *remote _cleanup_(remote_freep) = NULL;
	git_remote_callbacks callbacks;
	git_remote_create_options options;
	git_remote_create_options_init(&options, GIT_REMOTE_CREATE_OPTIONS_VERSION);
	options.repository = repo;
	options.fetchspec = "+refs/heads/*:refs/remotes/origin/*";
	options.flags = GIT_REMOTE_CREATE_SKIP_INSTEADOF;
	git_http_init(h, h->remote, &callbacks);
	int r = git_remote_create_with_opts(&remote, h->remote->url, &options);
	if (r == 0)
		r = git_remote_connect(remote, GIT_DIRECTION_FETCH, &callbacks, NULL, NULL);
	if (r != 0)
		return git_http_error(h, r, "list the references of the git server", err);
	*ret = TAKE(remote);
	return 0;
}

/* ---- names ---- */

static bool is_named(const git_remote_head *head, const char *name, bool *ret_peeled)
{
	size_t len = strlen(name);
	*ret_peeled = strcmp(head->name + MIN(len, strlen(head->name)), PEELED) == 0;
	return strncmp(head->name, name, len) == 0 && (head->name[len] == '\0' || *ret_peeled);
}

static int list(struct git_http *h, git_remote **ret, const git_remote_head *const **ret_heads, size_t *ret_count,
                struct err *err)
{
	const git_remote_head **heads = NULL;
	git_area_library();
	int r = connect(h, NULL, ret, err);
	if (r >= 0 && (r = git_remote_ls(&heads, ret_count, *ret)) != 0)
		return git_http_error(h, r, "list the references of the git server", err);
	*ret_heads = (const git_remote_head *const *)heads;
	return r;
}

int git_v0_tags(const struct git_remote_access *remote, struct git_tags *ret, struct err *err)
{
	struct git_http h = {.remote = remote};
	git_remote *origin _cleanup_(remote_freep) = NULL;
	const git_remote_head *const *heads;
	size_t count = 0;
	int r = list(&h, &origin, &heads, &count, err);
	for (size_t i = 0; r >= 0 && i < count; i++)
		r = git_tags_add(ret, heads[i]->name, &heads[i]->oid, err);
	return r;
}

int git_v0_resolve(const struct git_remote_access *remote, const char *const *names, struct git_wanted *ret,
                   struct err *err)
{
	struct git_http h = {.remote = remote};
	git_remote *origin _cleanup_(remote_freep) = NULL;
	const git_remote_head *const *heads;
	size_t count;
	int r = list(&h, &origin, &heads, &count, err);
	if (r < 0)
		return err_wrap(err, r, "look for '%s'", names[0]);
	for (size_t n = 0; names[n] != NULL; n++) {
		const git_remote_head *found = NULL, *commit = NULL;
		for (size_t i = 0; i < count; i++) {
			bool peeled;
			if (!is_named(heads[i], names[n], &peeled))
				continue;
			found = peeled ? found : heads[i];
			commit = peeled || commit == NULL ? heads[i] : commit;
		}
		if (found != NULL) {
			git_oid_tostr(ret->object, GIT_HEX, &found->oid);
			git_oid_tostr(ret->commit, GIT_HEX, &commit->oid);
			ret->ref = xstrdup(names[n]);
			return 0;
		}
	}
	return git_wire_no_name(remote, names[0], err);
}

int git_v0_default(const struct git_remote_access *remote, struct git_wanted *ret, struct err *err)
{
	struct git_http h = {.remote = remote};
	git_remote *origin _cleanup_(remote_freep) = NULL;
	const git_remote_head **heads;
	size_t count;
	git_area_library();
	int r = connect(&h, NULL, &origin, err);
	if (r >= 0 && (r = git_remote_ls(&heads, &count, origin)) != 0)
		r = git_http_error(&h, r, "list the references of the git server", err);
	if (r < 0)
		return err_wrap(err, r, "look for the default branch");
	for (size_t i = 0; i < count; i++) {
		const char *target = heads[i]->symref_target;
		if (strcmp(heads[i]->name, "HEAD") != 0 || target == NULL || !str_starts(target, "refs/heads/"))
			continue;
		git_oid_tostr(ret->object, GIT_HEX, &heads[i]->oid);
		git_oid_tostr(ret->commit, GIT_HEX, &heads[i]->oid);
		ret->ref = xstrdup(target);
		return 0;
	}
	return git_wire_no_name(remote, "HEAD", err);
}

/* ---- existing objects ---- */

/* libgit2 offers the server every commit that a reference reaches, and knows nothing of histories that end early: it would fail, or
 * promise missing objects. Without references it offers none. */
static int forget_references(struct git_area *a, struct err *err)
{
	git_strarray names = {NULL, 0};
	int r = git_reference_list(&names, a->repo);
	for (size_t i = 0; r == 0 && i < names.count; i++)
		r = git_reference_remove(a->repo, names.strings[i]);
	git_strarray_dispose(&names);
	return r == 0 ? 0 : git_area_error(err, r, "forget the references of a shallow history");
}

/* ---- fetch ---- */

/* The specification for the reference that stands at the commit; NULL: none does. */
static char *spec_for(const git_remote_head *const *heads, size_t count, const char *commit)
{
	git_oid id;
	if (git_oid_fromstr(&id, commit) != 0)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		size_t len = strlen(heads[i]->name);
		if (!git_oid_equal(&heads[i]->oid, &id) || !str_starts(heads[i]->name, "refs/"))
			continue;
		_cleanup_free_ char *name =
			xstrndup(heads[i]->name, len - (str_ends(heads[i]->name, PEELED) ? strlen(PEELED) : 0));
		int valid = 0;
		if (git_reference_name_is_valid(&valid, name) != 0 || !valid)
			continue;
		if (str_starts(name, "refs/heads/"))
			return xasprintf("+%s:refs/remotes/origin/%s", name, name + strlen("refs/heads/"));
		if (str_starts(name, "refs/tags/"))
			return xasprintf("+%s:%s", name, name);
		return xasprintf("+%s:refs/remotes/%s", name, name + strlen("refs/"));
	}
	return NULL;
}

static int download(struct git_http *h, git_remote *origin, const struct git_wanted *want, bool all, bool tags,
                    struct err *err)
{
	const git_remote_head **heads;
	size_t count, n = 0;
	char *specs[4];
	git_fetch_options options;
	int r = git_remote_ls(&heads, &count, origin);
	if (r != 0)
		return git_http_error(h, r, "list the references of the git server", err);
	_cleanup_free_ char *one = spec_for(heads, count, want->object),
			    *also = one != NULL && !all ? spec_for(heads, count, want->also) : NULL;
	if (one != NULL)
		specs[n++] = one;
	if (also != NULL)
		specs[n++] = also;
	if (one == NULL || all)
		specs[n++] = (char *)(uintptr_t) "+refs/heads/*:refs/remotes/origin/*";
	if (one == NULL || all || tags)
		specs[n++] = (char *)(uintptr_t) "+refs/tags/*:refs/tags/*";
	git_strarray list = {specs, n};
	git_fetch_options_init(&options, GIT_FETCH_OPTIONS_VERSION);
	git_http_init(h, h->remote, &options.callbacks);
	options.download_tags = GIT_REMOTE_DOWNLOAD_TAGS_NONE;
	/* First, since a branch that is gone may stand where a new one needs a directory. */
	r = git_remote_prune(origin, &options.callbacks);
	if (r == 0)
		r = git_remote_fetch(origin, &list, &options, NULL);
	return r == 0 ? 0 : git_http_error(h, r, "fetch by protocol version 0", err);
}

int git_v0_fetch(struct git_area *a, const struct git_remote_access *remote, const struct git_wanted *want, bool all,
                 bool tags, struct err *err)
{
	struct git_http h = {.remote = remote};
	git_remote *origin _cleanup_(remote_freep) = NULL;
	bool shallow = git_area_is_shallow(a);
	int r = connect(&h, a->repo, &origin, err);
	if (r >= 0 && shallow)
		r = forget_references(a, err);
	if (r >= 0)
		r = download(&h, origin, want, all, tags, err);
	if (r >= 0 && shallow)
		r = git_area_deepened(a, err);
	if (r < 0)
		return err_wrap(err, r, "fetch %.12s", want->commit);
	if (!git_area_has_object(a, want->object)) {
		r = err_set(err, ERR_NOT_FOUND, "%s has no branch or tag that holds %.12s", remote->url, want->commit);
		return err_hint(err, r, "the server gives no commits by id; push a branch that holds it");
	}
	return 0;
}
