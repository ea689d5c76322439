/* The pack of a fetch into libgit2's object database, and the list of commits at which history ends (.git/shallow). */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "steps/git_area_priv.h"

enum { SHALLOW_MAX = 4 << 20 };

struct receiving {
	git_indexer *indexer;
	git_indexer_progress progress;
	struct wait *wait;
	struct strv shallow;
	struct strv unshallow;
	size_t bytes;
};

static int on_progress(const git_indexer_progress *stats, void *payload)
{
	(void)stats;
	return wait_check(((struct receiving *)payload)->wait, NULL) < 0 ? GIT_EUSER : 0;
}

static int on_pack(void *context, const void *data, size_t len, struct err *err)
{
	struct receiving *in = context;
	in->bytes += len;
	int r = git_indexer_append(in->indexer, data, len, &in->progress);
	return r == 0 ? 0 : git_area_error(err, r, "unpack what the git server sent");
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

static int fetch_v2(struct git_area *a, const struct git_remote_access *remote, const char *commit, int depth, struct err *err)
{
	struct receiving in _cleanup_(receiving_done) = { .wait = remote->wait };
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
		.have = a->head[0] ? a->head : NULL,
		.depth = depth,
		.on_pack = on_pack,
		.on_shallow = on_shallow,
		.context = &in,
	};
	r = git_wire_fetch(remote, &fetch, err);
	if (r < 0)
		return r;
	r = git_indexer_commit(in.indexer, &in.progress);
	if (r != 0)
		return git_area_error(err, r, "index the pack");
	r = write_shallow(a, &in, err);
	if (r < 0)
		return err_wrap(err, r, "record where the history ends");
	git_odb_refresh(odb);
	log_debug("git", "pack of %zu bytes, %u objects", in.bytes, in.progress.total_objects);
	return 0;
}

/* ---- without protocol version 2 ---- */

struct old_fetch {
	const struct git_remote_access *remote;
};

static int old_progress(const git_indexer_progress *stats, void *payload)
{
	(void)stats;
	return wait_check(((struct old_fetch *)payload)->remote->wait, NULL) < 0 ? GIT_EUSER : 0;
}

/* libgit2 1.5 fetches whole histories by protocol version 0 only: slower, but right. */
static int fetch_v0(struct git_area *a, const struct git_remote_access *remote, const char *commit, struct err *err)
{
	git_remote *origin _cleanup_(remote_freep) = NULL;
	struct old_fetch context = { remote };
	git_fetch_options options;
	git_fetch_options_init(&options, GIT_FETCH_OPTIONS_VERSION);
	options.callbacks.transfer_progress = old_progress;
	options.callbacks.payload = &context;
	options.download_tags = GIT_REMOTE_DOWNLOAD_TAGS_AUTO;
	struct str header _cleanup_(str_done) = STR_SECRET_INIT(16384);
	char *headers[1];
	if (remote->authorization != NULL) {
		str_appendf(&header, "Authorization: %s", remote->authorization);
		headers[0] = header.data;
		options.custom_headers = (git_strarray){ headers, 1 };
	}
	const char *spec[] = { "+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*" };
	git_strarray specs = { (char **)spec, ARRAY_SIZE(spec) };
	int r = git_remote_create_anonymous(&origin, a->repo, remote->url);
	if (r == 0)
		r = git_remote_fetch(origin, &specs, &options, NULL);
	if (r != 0)
		return git_area_error(err, r, "fetch by the old protocol");
	if (!git_area_has(a, commit)) {
		r = err_set(err, ERR_NOT_FOUND, "%s has no branch or tag that holds %.12s", remote->url, commit);
		return err_hint(err, r, "the server gives no commits by id; push a branch that holds it");
	}
	return 0;
}

int git_area_fetch(struct git_area *a, const struct git_remote_access *remote, const char *commit, int depth, struct err *err)
{
	int r = fetch_v2(a, remote, commit, depth, err);
	if (r == ERR_UNSUPPORTED) {
		log_debug("git", "%s: no fetch of a commit by protocol version 2, using version 0", remote->url);
		err_clear(err);
		r = fetch_v0(a, remote, commit, err);
	}
	if (r >= 0 && !git_area_has(a, commit))
		r = err_set(err, ERR_PROTOCOL, "%s sent a pack without %.12s", remote->url, commit);
	return r;
}
