#include "base/git/lfs.h"

#include "base/core/clock.h"
#include "base/core/shown.h"
#include "base/git/lfs_batch.h"
#include "base/git/lfs_config.h"
#include "base/git/lfs_login.h"
#include "base/git/lfs_store.h"
#include "base/net/net.h"

#include <strings.h>

#include <stdio.h>

enum { BATCH_MS = 60 * 1000, TOLD_MS = 10 * 1000, SHOWN_MAX = 200, FAILURES_TOLD = 20, AUTHORIZATION_MAX = 16 << 10 };

struct git_lfs {
	struct git_area *area;
	git_oid commit;
	struct lfs_config config;
	struct lfs_file *files;
	size_t count, cap;
	struct lfs_object *objects; /* one a content */
	size_t *object_of;          /* of a file */
	size_t object_count;
	const struct git_remote_access *remote;
	struct lfs_login login; /* where a server behind SSH has them */
	/* Of the download: */
	struct lfs_object *batch[LFS_BATCH_MOST];
	size_t missing, done;
	uint64_t bytes, size; /* those that came, those that were missing */
	int64_t told_ms;
	const char **paths; /* of files */
	size_t path_cap;
};

/* ---- finding ---- */

static int configure(git_repository *repo, struct err *err)
{
	static const char *const entries[][2] = {{"lfs.repositoryformatversion", "0"},
	                                         {"filter.lfs.required", "true"},
	                                         {"filter.lfs.clean", "git-lfs clean -- %f"},
	                                         {"filter.lfs.smudge", "git-lfs smudge -- %f"},
	                                         {"filter.lfs.process", "git-lfs filter-process"}};
	git_config *all _cleanup_(config_freep) = NULL, *own _cleanup_(config_freep) = NULL;
	int r = git_repository_config(&all, repo);
	if (r == 0)
		r = git_config_open_level(&own, all, GIT_CONFIG_LEVEL_LOCAL);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(entries); i++) {
		git_buf now = {NULL, 0, 0};
		bool same =
			git_config_get_string_buf(&now, own, entries[i][0]) == 0 && strcmp(now.ptr, entries[i][1]) == 0;
		git_buf_dispose(&now);
		r = same ? 0 : git_config_set_string(own, entries[i][0], entries[i][1]);
	}
	return r == 0 ? 0 : git_area_error(err, r, "write the settings of Git LFS");
}

int git_lfs_new(struct git_area *a, const git_oid *commit, const git_oid *config, struct git_lfs **ret, struct err *err)
{
	struct git_lfs *l _cleanup_(git_lfs_freep) = xcalloc(1, sizeof(*l));
	l->area = a;
	git_oid_cpy(&l->commit, commit);
	int r = configure(a->repo, err);
	if (r >= 0)
		r = lfs_config_read(&l->config, a->repo, config, a->url, err);
	if (r >= 0)
		*ret = TAKE(l);
	return r;
}

int git_lfs_look(struct git_lfs *l, const git_index_entry *e, struct lfs_file *ret, bool *ret_lockable, struct err *err)
{
	static const char *names[] = {"filter", "lockable"};
	const char *values[ARRAY_SIZE(names)];
	git_attr_options options = {.version = GIT_ATTR_OPTIONS_VERSION,
	                            .flags = GIT_ATTR_CHECK_INCLUDE_COMMIT | GIT_ATTR_CHECK_NO_SYSTEM};
	git_blob *blob _cleanup_(blob_freep) = NULL;
	if (e->mode != GIT_FILEMODE_BLOB && e->mode != GIT_FILEMODE_BLOB_EXECUTABLE)
		return 0;
	options.attr_commit_id = l->commit;
	int r = git_attr_get_many_ext(values, l->area->repo, &options, e->path, ARRAY_SIZE(names), names);
	if (r != 0)
		return git_area_error(err, r, e->path);
	*ret_lockable = git_attr_value(values[1]) == GIT_ATTR_VALUE_TRUE;
	if (git_attr_value(values[0]) != GIT_ATTR_VALUE_STRING || strcmp(values[0], "lfs") != 0 ||
	    !lfs_config_wants(&l->config, e->path))
		return 0;
	size_t size;
	git_object_t type;
	git_odb *odb _cleanup_(odb_freep) = NULL;
	r = git_repository_odb(&odb, l->area->repo);
	if (r == 0)
		r = git_odb_read_header(&size, &type, odb, &e->id);
	if (r == 0 && size >= LFS_POINTER_MAX)
		return 0;
	if (r == 0)
		r = git_blob_lookup(&blob, l->area->repo, &e->id);
	if (r != 0)
		return git_area_error(err, r, e->path);
	*ret = (struct lfs_file){.pointer_size = size};
	switch (lfs_pointer_read(git_blob_rawcontent(blob), (size_t)git_blob_rawsize(blob), &ret->pointer)) {
	case LFS_EXTENDED:
		r = err_set(err, ERR_UNSUPPORTED,
		            "%s: its LFS pointer names an extension, a program that has to be run", e->path);
		return err_hint(err, r, "leave `lfs: false`, and run `git lfs pull` in a step");
	case LFS_CONTENT:
		return 1;
	default:
		return 0;
	}
}

void git_lfs_want(struct git_lfs *l, const struct lfs_file *file, const char *path)
{
	l->files = xgrow(l->files, &l->cap, l->count + 1, sizeof(l->files[0]));
	l->paths = xgrow(l->paths, &l->path_cap, l->count + 1, sizeof(l->paths[0]));
	l->paths[l->count] = path;
	l->files[l->count++] = *file;
}

static int compare_contents(const struct git_lfs *l, size_t a, size_t b)
{
	const struct lfs_pointer *x = &l->files[a].pointer, *y = &l->files[b].pointer;
	int order = strcmp(x->oid, y->oid);
	return order != 0 ? order : (x->size > y->size) - (x->size < y->size);
}

static int compare_files(const void *a, const void *b, void *context)
{
	size_t x = *(const size_t *)a, y = *(const size_t *)b;
	int order = compare_contents(context, x, y);
	return order != 0 ? order : (x > y) - (x < y);
}

/* Files of one content share its object. */
static void make_objects(struct git_lfs *l)
{
	_cleanup_free_ size_t *order = xcalloc(l->count, sizeof(order[0]));
	for (size_t i = 0; i < l->count; i++)
		order[i] = i;
	qsort_r(order, l->count, sizeof(order[0]), compare_files, l);
	l->objects = xcalloc(l->count, sizeof(l->objects[0]));
	l->object_of = xcalloc(l->count, sizeof(l->object_of[0]));
	for (size_t i = 0; i < l->count; i++) {
		if (i == 0 || compare_contents(l, order[i - 1], order[i]) != 0)
			l->objects[l->object_count++] =
				(struct lfs_object){.pointer = l->files[order[i]].pointer, .path = l->paths[order[i]]};
		l->object_of[order[i]] = l->object_count - 1;
	}
}

/* ---- downloading ---- */

static void tell_progress(struct git_lfs *l, bool now)
{
	const struct git_area_lfs *wish = &l->area->lfs;
	int64_t ms = clock_mono_ms();
	if (wish->report == NULL || (!now && ms - l->told_ms < TOLD_MS))
		return;
	l->told_ms = ms;
	wish->report(wish->context, "LFS: %zu of %zu contents, %.1f of %.1f MiB", l->done, l->missing,
	             (double)l->bytes / (1 << 20), (double)l->size / (1 << 20));
}

struct download {
	struct git_lfs *l;
	struct lfs_arrival arrival;
	uint64_t bytes;
};

static int on_body(void *context, const void *data, size_t len, struct err *err)
{
	struct download *d = context;
	int r = lfs_arrival_add(&d->arrival, data, len, err);
	if (r < 0)
		return r;
	d->bytes += len;
	d->l->bytes += len;
	tell_progress(d->l, false);
	return 0;
}

static bool has_authorization(const struct strv *headers)
{
	for (size_t i = 0; i < headers->count; i++)
		if (strncasecmp(headers->items[i], "Authorization:", 14) == 0)
			return true;
	return false;
}

/* The token goes to the repository's own server only, wherever that sends us. */
static bool is_own_server(const struct git_lfs *l, const char *url)
{
	const char *own = l->remote->server != NULL ? l->remote->server : l->remote->url;
	return l->remote->authorization != NULL && net_same_origin(url, own);
}

static int refuse(struct lfs_object *o, int status)
{
	if (status == 404 || status == 410)
		return lfs_object_fail(o, ERR_FAILED, true, "the server does not have it (HTTP %d)", status);
	if (status == 401 || status == 403)
		return lfs_object_fail(o, ERR_AUTH, true, "the server does not let us have it (HTTP %d)", status);
	return lfs_object_fail(o, ERR_PROTOCOL, status == 429 || status >= 500, "the server answered HTTP %d", status);
}

static bool is_final(int code)
{
	return code == ERR_CANCELLED || code == ERR_NO_SPACE || code == ERR_IO || code == ERR_PERMISSION;
}

/* A reason that names no address: it may hold a signature. */
static void note(struct lfs_object *o, int code, const struct err *why)
{
	bool later = code == ERR_NETWORK || code == ERR_TIMEOUT || code == ERR_PROTOCOL;
	lfs_object_fail(o, code, later, "%s", why->frame_count > 0 ? why->frames[0].text : "it did not come");
}

static int transfer(struct git_lfs *l, struct lfs_object *o, struct download *d, struct http_response *response,
                    struct err *err)
{
	const char *headers[LFS_HEADERS_MAX + 2] = {NULL};
	struct str authorization _cleanup_(str_done) = STR_SECRET_INIT(AUTHORIZATION_MAX);
	size_t count = 0;
	for (; count < o->headers.count; count++)
		headers[count] = o->headers.items[count];
	if (is_own_server(l, o->href) && !has_authorization(&o->headers)) {
		str_appendf(&authorization, "Authorization: %s", l->remote->authorization);
		headers[count++] = str_peek(&authorization);
	}
	if (authorization.failed)
		return err_set(err, ERR_LIMIT, "the token is too long");
	struct http_request request = {.url = o->href,
	                               .headers = headers,
	                               .timeout_ms = GIT_FETCH_MS,
	                               .retries = GIT_RETRIES,
	                               .follow = true,
	                               .on_body = on_body,
	                               .context = d};
	struct wait within = wait_within(l->remote->wait, GIT_FETCH_MS);
	return http_perform(l->remote->http, &request, &within, response, err);
}

static void download(void *context, size_t i)
{
	struct git_lfs *l = context;
	struct lfs_object *o = l->batch[i];
	struct http_response response _cleanup_(http_response_done) = {0};
	struct err err = ERR_INIT;
	struct download d = {.l = l};
	if (o->href == NULL)
		return;
	int r = lfs_arrival_begin(&d.arrival, l->area->git, &o->pointer, &err);
	if (r >= 0)
		r = transfer(l, o, &d, &response, &err);
	if (r >= 0 && response.status != 200)
		r = refuse(o, response.status);
	else if (r >= 0 && (r = lfs_arrival_end(&d.arrival, &err)) >= 0)
		o->here = true;
	if (r < 0 && o->code == 0)
		note(o, r, &err);
	if (r < 0)
		l->bytes -= d.bytes;
	l->done += o->here;
	lfs_arrival_done(&d.arrival);
	tell_progress(l, false);
}

static bool is_json(const struct http_response *response)
{
	const char *type = http_header(response, "Content-Type");
	return type != NULL && (str_starts(type, LFS_MEDIA_TYPE) || str_starts(type, "application/json"));
}

/* For messages. */
static const char *place_of(const struct git_lfs *l)
{
	return l->config.url != NULL ? l->config.url : l->login.shown;
}

static int refuse_batch(const struct git_lfs *l, const struct http_response *response, struct err *err)
{
	int status = response->status, r;
	if (status == 200)
		r = err_set(err, ERR_PROTOCOL, "%s does not answer as an LFS server", place_of(l));
	else if (status == 401 || status == 403)
		r = err_set(err, ERR_AUTH, "%s does not let us in (HTTP %d)", place_of(l), status);
	else
		r = err_set(err, ERR_PROTOCOL, "%s answered HTTP %d", place_of(l), status);
	if (l->config.url == NULL)
		return err_hint(err, r,
		                "the server's own git-lfs-authenticate sends there; check that Git LFS is switched on");
	if (status == 401 || status == 403)
		return err_hint(
			err, r,
			"the token goes to the repository's own server only; it may have to be given in `token:`");
	return err_hint(err, r, "check that Git LFS is switched on there, and `lfs.url` in .lfsconfig");
}

/* What let in before may be too old now. */
static int let_in(struct git_lfs *l, struct err *err)
{
	if (l->config.url != NULL || (l->login.url != NULL && clock_mono_ms() < l->login.until_ms))
		return 0;
	return lfs_login_ask(l->remote->ssh, l->remote->wait, &l->login, err);
}

static int ask(struct git_lfs *l, size_t count, struct err *err)
{
	struct http_response response _cleanup_(http_response_done) = {0};
	struct str authorization _cleanup_(str_done) = STR_SECRET_INIT(AUTHORIZATION_MAX);
	int r = let_in(l, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *url = xasprintf("%s/objects/batch", l->config.url != NULL ? l->config.url : l->login.url),
			    *body = lfs_batch_request(l->batch, count);
	const char *headers[LFS_HEADERS_MAX + 4] = {"Accept: " LFS_MEDIA_TYPE, "Content-Type: " LFS_MEDIA_TYPE};
	size_t header_count = 2;
	for (size_t i = 0; i < l->login.headers.count; i++)
		headers[header_count++] = l->login.headers.items[i];
	if (is_own_server(l, url) && !has_authorization(&l->login.headers)) {
		str_appendf(&authorization, "Authorization: %s", l->remote->authorization);
		headers[header_count++] = str_peek(&authorization);
	}
	if (authorization.failed)
		return err_set(err, ERR_LIMIT, "the token is too long");
	struct http_request request = {.method = "POST",
	                               .url = url,
	                               .headers = headers,
	                               .body = body,
	                               .body_len = strlen(body),
	                               .max_body = LFS_ANSWER_MAX,
	                               .timeout_ms = BATCH_MS,
	                               .retries = GIT_RETRIES,
	                               .follow = true};
	struct wait within = wait_within(l->remote->wait, BATCH_MS);
	r = http_perform(l->remote->http, &request, &within, &response, err);
	if (r < 0)
		return err_wrap(err, r, "ask %s", place_of(l));
	if (response.status != 200 || !is_json(&response))
		return refuse_batch(l, &response, err);
	r = lfs_batch_read(str_peek(&response.body), response.body.len, l->batch, count, err);
	response.body.wipe = true;
	return r < 0 ? err_wrap(err, r, "ask %s", place_of(l)) : 0;
}

/* Those from *from on that are not here yet, and may come. */
static size_t take_batch(struct git_lfs *l, size_t *from, bool first)
{
	size_t count = 0;
	for (; *from < l->object_count && count < LFS_BATCH_MOST; ++*from) {
		struct lfs_object *o = &l->objects[*from];
		if (o->here || (!first && !o->again))
			continue;
		lfs_object_reset(o);
		l->batch[count++] = o;
	}
	return count;
}

static int round_of(struct git_lfs *l, bool first, struct err *err)
{
	size_t from = 0, count;
	while ((count = take_batch(l, &from, first)) > 0) {
		int r = ask(l, count, err);
		if (r >= 0)
			r = http_together(l->remote->http, count, LFS_AT_ONCE, download, l, l->remote->wait, err);
		if (r >= 0)
			r = wait_check(l->remote->wait, err);
		for (size_t i = 0; r >= 0 && i < count; i++)
			if (is_final(l->batch[i]->code))
				r = err_set(err, l->batch[i]->code, "%s: %s", l->batch[i]->path, l->batch[i]->why);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Each that did not come is told; the first is the step's error. */
static int report_missing(const struct git_lfs *l, struct err *err)
{
	const struct git_area_lfs *wish = &l->area->lfs;
	const struct lfs_object *first = NULL;
	size_t missing = 0;
	for (size_t i = 0; i < l->object_count; i++) {
		const struct lfs_object *o = &l->objects[i];
		if (o->here)
			continue;
		first = first != NULL ? first : o;
		_cleanup_free_ char *path = shown_text(o->path, strlen(o->path), SHOWN_MAX);
		struct str line _cleanup_(str_done) = STR_INIT(8 * SHOWN_MAX);
		str_append_safe(&line, path, strlen(path));
		if (missing++ < FAILURES_TOLD && wish->report != NULL)
			wish->report(wish->context, "LFS: %s (%.12s): %s", str_peek(&line), o->pointer.oid,
			             o->why ? o->why : "");
	}
	if (first == NULL || l->config.skips)
		return 0;
	int r = err_set(err, first->code < 0 ? first->code : ERR_FAILED, "%s (%.12s): %s", first->path,
	                first->pointer.oid, first->why ? first->why : "it did not come");
	if (missing > 1)
		r = err_wrap(err, r, "%zu of %zu contents of LFS did not come, the first of them", missing,
		             l->object_count);
	else
		r = err_wrap(err, r, "a content of LFS did not come");
	return err_hint(err, r, "its owner may have to push it: `git lfs push --all origin`");
}

int git_lfs_download(struct git_lfs *l, const struct git_remote_access *remote, struct err *err)
{
	int r = 0;
	l->remote = remote;
	l->told_ms = clock_mono_ms();
	make_objects(l);
	lfs_store_begin(l->area->git);
	for (size_t i = 0; i < l->object_count; i++) {
		struct lfs_object *o = &l->objects[i];
		r = wait_check(remote->wait, err);
		if (r < 0)
			return r;
		o->here = lfs_store_has(l->area->git, &o->pointer, remote->wait);
		l->missing += !o->here;
		l->size += o->here ? 0 : o->pointer.size;
	}
	for (int i = 0; r >= 0 && i < LFS_ROUNDS; i++)
		r = round_of(l, i == 0, err);
	lfs_store_begin(l->area->git);
	return r < 0 ? err_wrap(err, r, "download contents of LFS") : report_missing(l, err);
}

const struct lfs_file *git_lfs_file(const struct git_lfs *l, size_t position)
{
	size_t low = 0, high = l->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (l->files[middle].position < position)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == l->count || l->files[low].position != position || !l->objects[l->object_of[low]].here)
		return NULL;
	return &l->files[low];
}

void git_lfs_count(const struct git_lfs *l, struct git_area_result *ret)
{
	for (size_t i = 0; i < l->count; i++)
		ret->lfs_files += l->objects[l->object_of[i]].here;
	ret->lfs_fetched = l->done;
	ret->lfs_bytes = l->bytes;
}

void git_lfs_free(struct git_lfs *l)
{
	if (l == NULL)
		return;
	for (size_t i = 0; i < l->object_count; i++)
		lfs_object_done(&l->objects[i]);
	lfs_config_done(&l->config);
	lfs_login_done(&l->login);
	free(l->files);
	free(l->paths);
	free(l->objects);
	free(l->object_of);
	free(l);
}

void git_lfs_freep(struct git_lfs **l)
{
	git_lfs_free(*l);
	*l = NULL;
}
