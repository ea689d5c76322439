/* The pack of a fetch into libgit2's object database, and the list of commits at which history ends (.git/shallow). */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "steps/git_area_priv.h"
#include "steps/git_v0.h"

enum { SHALLOW_MAX = 4 << 20, CHECK_EVERY = 16 };

struct receiving {
	git_indexer *indexer;
	struct git_early *early;        /* NULL: none */
	int root;                       /* for early */
	git_indexer_progress progress;
	struct wait *wait;
	struct strv shallow;
	struct strv unshallow;
	size_t bytes;
	unsigned progressed;
	int stopped;                    /* by the deadline, a cancel or the tick; 0: not */
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
	closep(&in->root);
	strv_done(&in->shallow);
	strv_done(&in->unshallow);
}

/* The old list, less what is complete now, and the new boundary. */
static int write_shallow(struct git_area *a, struct receiving *in, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/.git/shallow", a->path);
	struct str old _cleanup_(str_done) = STR_INIT(SHALLOW_MAX);
	struct str text _cleanup_(str_done) = STR_INIT(SHALLOW_MAX);
	if (in->shallow.count == 0 && in->unshallow.count == 0)
		return 0;
	int r = fs_read(AT_FDCWD, path, SHALLOW_MAX, &old, err);
	if (r < 0 && r != ERR_NOT_FOUND)
		return r;
	char *rest = NULL;
	char *line = old.data ? strtok_r(old.data, "\n", &rest) : NULL;
	for (; line != NULL; line = strtok_r(NULL, "\n", &rest))
		if (!strv_has(&in->unshallow, line) && !strv_has(&in->shallow, line))
			strv_add(&in->shallow, line);
	strv_sort(&in->shallow);
	for (size_t i = 0; i < in->shallow.count; i++)
		str_appendf(&text, "%s\n", in->shallow.items[i]);
	if (text.failed)
		return err_set(err, ERR_LIMIT, "the list of shallow commits is too long");
	if (text.len == 0)
		return unlink(path) == 0 || errno == ENOENT ? 0 : err_errno(err, errno, "remove %s", path);
	return fs_write_replace(AT_FDCWD, path, text.data, text.len, 0644, err);
}

static bool has_parents(struct git_area *a, const char *commit)
{
	git_oid id;
	git_commit *found _cleanup_(commit_freep) = NULL;
	if (git_oid_fromstr(&id, commit) != 0 || git_commit_lookup(&found, a->repo, &id) != 0)
		return false;
	for (unsigned i = 0; i < git_commit_parentcount(found); i++) {
		git_commit *parent _cleanup_(commit_freep) = NULL;
		if (git_commit_parent(&parent, found, i) != 0)
			return false;
	}
	return true;
}

/* A work area that was never filled gets its files while the pack arrives. */
static void begin_early(struct git_area *a, struct receiving *in, const char *commit)
{
	if (a->head[0] != '\0' || !git_area_is_empty(a) || git_area_converts(a->repo))
		return;
	in->root = open(a->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (in->root >= 0 && git_area_begin_files(a, NULL) >= 0)
		in->early = git_early_start(in->root, commit);
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
static int receive(struct receiving *in, const struct git_remote_access *remote, const struct git_fetch *fetch, struct err *err)
{
	int r = git_wire_fetch(remote, fetch, err);
	if (r < 0)
		return r;
	r = git_indexer_commit(in->indexer, &in->progress);
	return r == 0 ? 0 : indexer_error(in, r, "index the pack", err);
}

static int fetch_v2(struct git_area *a, const struct git_remote_access *remote, const char *commit, int depth, struct err *err)
{
	struct receiving in _cleanup_(receiving_done) = { .wait = remote->wait, .root = -1 };
	_cleanup_free_ char *packs = xasprintf("%s/.git/objects/pack", a->path);
	git_odb *odb _cleanup_(odb_freep) = NULL;
	git_indexer_options options;
	git_indexer_options_init(&options, GIT_INDEXER_OPTIONS_VERSION);
	options.progress_cb = on_progress;
	options.progress_cb_payload = &in;
	int r = git_repository_odb(&odb, a->repo);
	if (r == 0)
		r = git_indexer_new(&in.indexer, packs, 0444, odb, &options);
	if (r != 0)
		return git_area_error(err, r, "open the object database");
	struct git_fetch fetch = {
		.want = commit,
		/* Who wants all of history must not name a commit that has not all of it. */
		.have = a->head[0] && (depth > 0 || !git_area_is_shallow(a)) ? a->head : NULL,
		.depth = depth,
		.on_pack = on_pack,
		.on_shallow = on_shallow,
		.context = &in,
	};
	begin_early(a, &in, commit);
	r = end_early(a, &in, receive(&in, remote, &fetch, err));
	if (r < 0)
		return r;
	r = write_shallow(a, &in, err);
	if (r < 0)
		return err_wrap(err, r, "record where the history ends");
	git_odb_refresh(odb);
	log_debug("git", "pack of %zu bytes, %u objects", in.bytes, in.progress.total_objects);
	return 0;
}

bool git_area_is_shallow(const struct git_area *a)
{
	_cleanup_free_ char *path = xasprintf("%s/.git/shallow", a->path);
	return access(path, F_OK) == 0;
}

/* What had missing parents may have them now. */
int git_area_deepened(struct git_area *a, struct err *err)
{
	struct receiving none _cleanup_(receiving_done) = { .root = -1 };
	_cleanup_free_ char *path = xasprintf("%s/.git/shallow", a->path);
	struct str text _cleanup_(str_done) = STR_INIT(SHALLOW_MAX);
	int r = fs_read(AT_FDCWD, path, SHALLOW_MAX, &text, err);
	if (r < 0)
		return r == ERR_NOT_FOUND ? 0 : r;
	char *rest = NULL;
	char *line = text.data ? strtok_r(text.data, "\n", &rest) : NULL;
	for (; line != NULL; line = strtok_r(NULL, "\n", &rest))
		if (has_parents(a, line))
			strv_add(&none.unshallow, line);
	return write_shallow(a, &none, err);
}

int git_area_resolve(const struct git_remote_access *remote, const char *const *names, char ret_id[GIT_HEX], char **ret_name,
                     struct err *err)
{
	int r = git_wire_resolve(remote, names, ret_id, ret_name, err);
	if (r == ERR_UNSUPPORTED) {
		log_debug("git", "%s: no protocol version 2, asking by version 0", remote->url);
		err_clear(err);
		r = git_v0_resolve(remote, names, ret_id, ret_name, err);
	}
	return r;
}

int git_area_fetch(struct git_area *a, const struct git_remote_access *remote, const char *commit, int depth, struct err *err)
{
	int r = depth == 0 ? git_v0_fetch(a, remote, commit, true, err) : fetch_v2(a, remote, commit, depth, err);
	if (depth == 0 && r == ERR_NOT_FOUND) {
		/* On no branch any more: by its id. */
		err_clear(err);
		r = fetch_v2(a, remote, commit, depth, err);
	} else if (r == ERR_UNSUPPORTED) {
		log_debug("git", "%s: no fetch of a commit by protocol version 2, using version 0", remote->url);
		err_clear(err);
		r = git_v0_fetch(a, remote, commit, false, err);
	}
	if (r >= 0 && !git_area_has(a, commit))
		r = err_set(err, ERR_PROTOCOL, "%s sent a pack without %.12s", remote->url, commit);
	return r;
}
