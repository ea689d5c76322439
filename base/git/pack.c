/* The pack of a fetch into libgit2's object database. */
#include <limits.h>

#include "base/core/log.h"
#include "base/sys/fs.h"
#include "base/git/git_priv.h"
#include "base/git/fetch_v0.h"
#include "base/git/partial.h"
#include "base/git/tags.h"

enum { CHECK_EVERY = 16, SHALLOW_SENT_MAX = 50 * 1000 };

struct receiving {
	git_indexer *indexer;
	struct git_early *early; /* NULL: none */
	git_indexer_progress progress;
	struct wait *wait;
	struct strv shallow;
	struct strv unshallow;
	struct strv former; /* .git/shallow before */
	struct strv more;   /* further ids that are wanted */
	size_t bytes;
	unsigned progressed;
	int stopped; /* by the deadline, a cancel or the tick; 0: not */
	struct err why;
};

/* Called for each object. */
static int on_progress(const git_indexer_progress *stats, void *payload)
{
	struct receiving *in = payload;
	(void)stats;
	if (in->progressed++ % CHECK_EVERY == 0)
		in->stopped = wait_ms(in->wait, 0, &in->why);
	return in->stopped < 0 ? GIT_EUSER : 0;
}

static int indexer_error(const struct receiving *in, int code, const char *what, struct err *err)
{
	if (in->stopped == 0)
		return git_area_error(err, code, what);
	if (err != NULL)
		*err = in->why;
	return err_wrap(err, in->stopped, "%s", what);
}

static int on_pack(void *context, const void *data, size_t len, struct err *err)
{
	struct receiving *in = context;
	in->bytes += len;
	if (in->early != NULL)
		git_early_feed(in->early, data, len);
	int r = git_indexer_append(in->indexer, data, len, &in->progress);
	return r == 0 ? 0 : indexer_error(in, r, "unpack what the git server sent", err);
}

static void on_shallow(void *context, const char *id, bool shallow)
{
	struct receiving *in = context;
	strv_add(shallow ? &in->shallow : &in->unshallow, id);
}

static void receiving_done(struct receiving *in)
{
	git_indexer_free(in->indexer);
	strv_done(&in->shallow);
	strv_done(&in->unshallow);
	strv_done(&in->former);
	strv_done(&in->more);
}

/* A work area that was never filled gets its files while the pack arrives. */
static void begin_early(struct git_area *a, struct receiving *in, const char *commit)
{
	if (a->head[0] != '\0' || !git_area_is_empty(a) || git_area_converts(a->repo))
		return;
	if (git_area_begin_files(a, NULL) >= 0)
		in->early = git_early_start(a->root, commit);
}

static int end_early(struct git_area *a, struct receiving *in, int result)
{
	if (in->early == NULL)
		return result;
	git_early_end(in->early, true);
	if (result < 0) {
		git_early_free(TAKE(in->early));
		git_area_forget_files(a);
		return result;
	}
	git_early_free(a->early);
	a->early = TAKE(in->early);
	return result;
}

/* The pack, whole and indexed. */
static int receive(struct receiving *in, const struct git_remote_access *remote, const struct git_fetch *fetch,
                   struct err *err)
{
	int r = git_wire_fetch(remote, fetch, err);
	if (r < 0)
		return r;
	r = git_indexer_commit(in->indexer, &in->progress);
	return r == 0 ? 0 : indexer_error(in, r, "index the pack", err);
}

static int open_indexer(struct git_area *a, struct receiving *in, git_odb *odb, struct err *err)
{
	_cleanup_free_ char *packs = fs_join(a->git_path, "objects/pack");
	git_indexer_options options;
	git_indexer_options_init(&options, GIT_INDEXER_OPTIONS_VERSION);
	options.progress_cb = on_progress;
	options.progress_cb_payload = in;
	int r = git_indexer_new(&in->indexer, packs, 0444, odb, &options);
	return r == 0 ? 0 : git_area_error(err, r, "open the object database");
}

int git_area_fetch_objects(struct git_area *a, const struct git_remote_access *remote, const struct strv *ids,
                           struct err *err)
{
	struct receiving in _cleanup_(receiving_done) = {.wait = remote->wait};
	git_odb *odb _cleanup_(odb_freep) = NULL;
	struct git_fetch fetch = {
		.want = ids->items[0],
		.more = ids,
		.filter = "blob:none",
		.on_pack = on_pack,
		.on_shallow = on_shallow,
		.context = &in,
	};
	int r = git_repository_odb(&odb, a->repo);
	if (r != 0)
		return git_area_error(err, r, "open the object database");
	r = open_indexer(a, &in, odb, err);
	if (r >= 0)
		r = receive(&in, remote, &fetch, err);
	if (r >= 0)
		git_odb_refresh(odb);
	return r;
}

static int note_end(struct git_area *a, const struct git_request *q, const struct receiving *in, struct err *err)
{
	int r = q->depth == 0 && q->filter == NULL ? git_area_deepened(a, err)
	                                           : git_area_write_shallow(a, &in->shallow, &in->unshallow, err);
	return r < 0 ? err_wrap(err, r, "record where the history ends") : 0;
}

static int fetch_v2(struct git_area *a, const struct git_remote_access *remote, const struct git_request *q,
                    struct err *err)
{
	struct receiving in _cleanup_(receiving_done) = {.wait = remote->wait};
	git_odb *odb _cleanup_(odb_freep) = NULL;
	int r = git_repository_odb(&odb, a->repo);
	if (r != 0)
		return git_area_error(err, r, "open the object database");
	r = git_area_read_shallow(a, &in.former, err);
	if (r >= 0)
		r = open_indexer(a, &in, odb, err);
	if (r < 0)
		return r;
	git_tags_ids(q->tags, &in.more);
	if (q->want->also[0] != '\0')
		strv_add(&in.more, q->want->also);
	/* With a filter all of history is a depth too where some of it is missing, as `git fetch --unshallow` has it. */
	int depth = q->depth == 0 && q->filter != NULL && in.former.count > 0 ? INT_MAX : q->depth;
	/* To get all of history, do not name a commit that lacks a part of it. */
	bool names_have = a->head[0] && (depth > 0 ? in.former.count <= SHALLOW_SENT_MAX : in.former.count == 0);
	struct git_fetch fetch = {
		.want = q->want->object,
		.more = &in.more,
		.have = names_have ? a->head : NULL,
		.shallow = &in.former,
		.depth = depth,
		.filter = q->filter,
		.thin = q->filter == NULL,
		.on_pack = on_pack,
		.on_shallow = on_shallow,
		.context = &in,
	};
	if (q->early)
		begin_early(a, &in, q->want->commit);
	r = end_early(a, &in, receive(&in, remote, &fetch, err));
	if (r < 0)
		return r;
	git_odb_refresh(odb);
	r = note_end(a, q, &in, err);
	if (r >= 0 && q->filter != NULL)
		r = git_partial_mark(a, err);
	if (r >= 0)
		log_debug("git", "pack of %zu bytes, %u objects", in.bytes, in.progress.total_objects);
	return r;
}

int git_area_resolve(const struct git_remote_access *remote, const char *const *names, struct git_wanted *ret,
                     struct err *err)
{
	int r = git_wire_resolve(remote, names, ret, err);
	if (r == ERR_UNSUPPORTED) {
		log_debug("git", "%s: no protocol version 2, asking by version 0", remote->url);
		err_clear(err);
		r = git_v0_resolve(remote, names, ret, err);
	}
	return r;
}

int git_area_default(const struct git_remote_access *remote, struct git_wanted *ret, struct err *err)
{
	int r = git_wire_default(remote, ret, err);
	if (r == ERR_UNSUPPORTED) {
		err_clear(err);
		r = git_v0_default(remote, ret, err);
	}
	return r;
}

/* libgit2 does not fetch a branch whose tip is here, however short its history. Into an empty database it fetches everything. */
static int fetch_v0(struct git_area *a, const struct git_remote_access *remote, const struct git_request *q, bool all,
                    struct err *err)
{
	bool tags = q->tags->count > 0;
	if (git_area_is_shallow(a) && (all || tags || git_area_has_object(a, q->want->object))) {
		int r = git_area_renew(a, err);
		if (r < 0)
			return r;
	}
	return git_v0_fetch(a, remote, q->want, all, tags, err);
}

int git_area_fetch(struct git_area *a, const struct git_remote_access *remote, const struct git_request *q,
                   struct err *err)
{
	/* Version 0 has no filter here; with one, all that is wanted stands in q->tags. */
	bool all = q->depth == 0 && q->filter == NULL;
	int r = all ? fetch_v0(a, remote, q, true, err) : fetch_v2(a, remote, q, err);
	if (all && r == ERR_NOT_FOUND) {
		/* No longer on a branch: fetched by its id. */
		err_clear(err);
		r = fetch_v2(a, remote, q, err);
	} else if (r == ERR_UNSUPPORTED) {
		log_debug("git", "%s: no fetch of a commit by protocol version 2, using version 0", remote->url);
		err_clear(err);
		r = fetch_v0(a, remote, q, false, err);
	}
	if (r >= 0 && !git_area_has_object(a, q->want->object))
		r = err_set(err, ERR_PROTOCOL, "%s sent a pack without %.12s", remote->url, q->want->object);
	return r;
}
