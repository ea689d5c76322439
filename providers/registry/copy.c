#include "providers/registry/copy.h"

#include "base/data/json.h"
#include "base/secret/digest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE = 8 << 20, DEPTH_MAX = 3, PARTS_MAX = 1000, AT_ONCE = 16, MANIFESTS_AT_ONCE = 4 };
static const int64_t BLOB_MAX = (int64_t)1 << 40;

/* What a manifest says of one of its parts. Borrowed. */
struct part {
	const char *digest, *media_type;
	int64_t size;
};

static int read_part(const json_t *value, struct part *ret, struct err *err)
{
	*ret = (struct part){json_get_string(value, "digest"), json_get_string(value, "mediaType"),
	                     json_get_int(value, "size", -1)};
	if (ret->digest == NULL || !registry_is_digest(ret->digest) || ret->size < 0 || ret->size > BLOB_MAX)
		return err_set(err, ERR_PROTOCOL, "a part of it has no digest of SHA-256 or no size that can be");
	return 0;
}

/* Layers that stay where their maker serves them. */
static bool is_foreign(const struct part *p)
{
	return p->media_type != NULL &&
	       (strstr(p->media_type, ".foreign") != NULL || strstr(p->media_type, "nondistributable") != NULL);
}

static int guard(struct registry_copy *c, struct err *err)
{
	return c->guard != NULL ? c->guard(c->context, err) : 0;
}

static char *blob_path(const char *repository, const char *digest)
{
	return xasprintf("/v2/%s/blobs/%s", repository, digest);
}

static bool is_mount(const struct registry_copy *c)
{
	return registry_same(c->from, c->to) && strcmp(c->from_repository, c->to_repository) != 0;
}

/* Of the destination; a mount reads the source too. */
static char *scope_of(const struct registry_copy *c)
{
	return is_mount(c)
	               ? xasprintf("repository:%s:pull,push repository:%s:pull", c->to_repository, c->from_repository)
	               : xasprintf("repository:%s:pull,push", c->to_repository);
}

static int is_there(struct registry_copy *c, const struct part *p, const char *scope, struct err *err)
{
	struct http_response response _cleanup_(http_response_done) = {0};
	_cleanup_free_ char *path = blob_path(c->to_repository, p->digest);
	const struct registry_request q = {.method = "HEAD", .path = path, .scope = scope, .repeats = true};
	int e = registry_call(c->to, &q, c->wait, &response, err);
	return e < 0 ? e : response.status == 200;
}

/* Where to send to. An upload that nobody uses expires at the registry: beginning another one is harmless. */
static int begin_upload(struct registry_copy *c, const char *scope, char **ret_location, struct err *err)
{
	struct http_response response _cleanup_(http_response_done) = {0};
	_cleanup_free_ char *path = xasprintf("/v2/%s/blobs/uploads/", c->to_repository);
	const struct registry_request q = {.method = "POST", .path = path, .scope = scope, .repeats = true};
	int e = guard(c, err);
	if (e >= 0)
		e = registry_call(c->to, &q, c->wait, &response, err);
	if (e < 0)
		return e;
	if (response.status != 202)
		return registry_refused(&response, "begin an upload", err);
	return registry_location(c->to, &response, ret_location, err);
}

/* 1: full or at the end; *ret_len tells. */
static int read_piece(struct http_stream *stream, char *piece, size_t *ret_len, struct err *err)
{
	*ret_len = 0;
	while (*ret_len < PIECE) {
		size_t n = 0;
		int e = http_stream_read(stream, piece + *ret_len, PIECE - *ret_len, &n, err);
		if (e < 0)
			return e;
		if (n == 0)
			break;
		*ret_len += n;
	}
	return 0;
}

static int send_piece(struct registry_copy *c, char **location, const char *scope, const char *piece, size_t len,
                      int64_t at, struct err *err)
{
	struct http_response response _cleanup_(http_response_done) = {0};
	_cleanup_free_ char *range = xasprintf("%" PRId64 "-%" PRId64, at, at + (int64_t)len - 1);
	const struct registry_request q = {.method = "PATCH",
	                                   .path = *location,
	                                   .scope = scope,
	                                   .content_range = range,
	                                   .content_type = "application/octet-stream",
	                                   .body = piece,
	                                   .body_len = len};
	int e = guard(c, err);
	if (e >= 0)
		e = registry_call(c->to, &q, c->wait, &response, err);
	if (e < 0)
		return e;
	if (response.status != 202)
		return registry_refused(&response, "send a piece of a blob", err);
	char *next = NULL;
	e = registry_location(c->to, &response, &next, err);
	if (e < 0)
		return e;
	free(*location);
	*location = next;
	return 0;
}

static int end_upload(struct registry_copy *c, const char *location, const char *scope, const struct part *p,
                      const char *piece, size_t len, struct err *err)
{
	struct http_response response _cleanup_(http_response_done) = {0};
	_cleanup_free_ char *path =
		xasprintf("%s%cdigest=%s", location, strchr(location, '?') != NULL ? '&' : '?', p->digest);
	const struct registry_request q = {.method = "PUT",
	                                   .path = path,
	                                   .scope = scope,
	                                   .body = piece,
	                                   .body_len = len,
	                                   .content_type = "application/octet-stream"};
	int e = guard(c, err);
	if (e >= 0)
		e = registry_call(c->to, &q, c->wait, &response, err);
	if (e < 0)
		return e;
	return response.status == 201 ? 0 : registry_refused(&response, "end the upload of a blob", err);
}

/* The last piece goes with the PUT: a blob of one piece takes two requests. */
static int stream_blob(struct registry_copy *c, struct http_stream *stream, const struct part *p, char **location,
                       const char *scope, struct err *err)
{
	_cleanup_free_ char *piece = xmalloc(PIECE);
	_cleanup_(digest_freep) struct digest *digest = digest_new();
	char hex[DIGEST_HEX];
	int64_t at = 0;
	for (;;) {
		size_t len;
		int e = read_piece(stream, piece, &len, err);
		if (e < 0)
			return err_wrap(err, e, "read %s", p->digest);
		digest_update(digest, piece, len);
		if (at + (int64_t)len > p->size)
			return err_set(err, ERR_PROTOCOL, "%s is longer than its manifest says", p->digest);
		if (len < PIECE) {
			digest_hex(digest, hex);
			if (at + (int64_t)len != p->size || strcmp(hex, p->digest + strlen("sha256:")) != 0)
				return err_set(err, ERR_PROTOCOL, "%s: the registry sent other bytes", p->digest);
			e = end_upload(c, *location, scope, p, piece, len, err);
			c->bytes += e < 0 ? 0 : p->size;
			return e;
		}
		e = send_piece(c, location, scope, piece, len, at, err);
		if (e < 0)
			return e;
		at += (int64_t)len;
		if (c->progress != NULL)
			c->progress(c->context, p->digest, at);
	}
}

static int send_blob(struct registry_copy *c, const struct part *p, char **location, const char *scope, struct err *err)
{
	const struct http_response *head;
	struct http_stream *stream _cleanup_(http_stream_freep) = NULL;
	_cleanup_free_ char *path = blob_path(c->from_repository, p->digest);
	_cleanup_free_ char *from_scope = xasprintf("repository:%s:pull", c->from_repository);
	int e = registry_open_blob(c->from, path, from_scope, c->wait, &stream, err);
	if (e >= 0)
		e = http_stream_head(stream, &head, err);
	if (e < 0)
		return err_wrap(err, e, "fetch %s", p->digest);
	if (head->status != 200)
		return registry_refused(head, "fetch a blob", err);
	return stream_blob(c, stream, p, location, scope, err);
}

/* location: where an upload was begun already; NULL: none. */
static int copy_blob(struct registry_copy *c, const struct part *p, const char *scope, char *begun, struct err *err)
{
	_cleanup_free_ char *location = begun;
	int e = is_there(c, p, scope, err);
	if (e != 0) {
		c->present += e > 0;
		return MIN(e, 0);
	}
	if (location == NULL)
		e = begin_upload(c, scope, &location, err);
	if (e >= 0)
		e = send_blob(c, p, &location, scope, err);
	c->sent += e >= 0;
	return e;
}

/* ---- within a registry ---- */

struct mounts {
	struct registry_request requests[AT_ONCE];
	struct http_response responses[AT_ONCE];
	char *paths[AT_ONCE];
	size_t count;
};

static void done_mounts(struct mounts *m)
{
	for (size_t i = 0; i < m->count; i++) {
		http_response_done(&m->responses[i]);
		free(m->paths[i]);
	}
}

/* One that mounts nothing has begun an upload: the blob is asked for then, before anything is sent. */
static int after_mount(struct registry_copy *c, const struct part *p, const char *scope,
                       const struct http_response *response, struct err *err)
{
	char *location = NULL;
	if (response->status == 201) {
		c->mounted++;
		return 0;
	}
	if (response->status != 202)
		return registry_refused(response, "begin an upload", err);
	int e = registry_location(c->to, response, &location, err);
	return e < 0 ? e : copy_blob(c, p, scope, location, err);
}

/* Side by side, each behind the same look at the lock. A mount does not mind a blob that is there, so nobody asks first. */
static int mount_blobs(struct registry_copy *c, const struct part *parts, size_t count, const char *scope,
                       struct err *err)
{
	_cleanup_(done_mounts) struct mounts m = {.count = count};
	for (size_t i = 0; i < count; i++) {
		m.paths[i] = xasprintf("/v2/%s/blobs/uploads/?mount=%s&from=%s", c->to_repository, parts[i].digest,
		                       c->from_repository);
		m.requests[i] = (struct registry_request){
			.method = "POST", .path = m.paths[i], .scope = scope, .repeats = true};
	}
	int e = guard(c, err);
	if (e >= 0)
		e = registry_call_all(c->to, m.requests, count, c->wait, m.responses, err);
	for (size_t i = 0; e >= 0 && i < count; i++)
		e = after_mount(c, &parts[i], scope, &m.responses[i], err);
	return e;
}

static int next_part(const json_t *value, size_t *parts, struct part *ret, struct err *err)
{
	if (++*parts > PARTS_MAX)
		return err_set(err, ERR_LIMIT, "it has more than %d parts", PARTS_MAX);
	return read_part(value, ret, err);
}

static int copy_blobs(struct registry_copy *c, const json_t *list, size_t *parts, struct err *err)
{
	_cleanup_free_ char *scope = scope_of(c);
	size_t i, count = 0;
	json_t *value;
	struct part waiting[AT_ONCE];
	int e = 0;
	json_array_foreach((json_t *)list, i, value)
	{
		struct part p;
		e = next_part(value, parts, &p, err);
		if (e >= 0 && is_mount(c) && !is_foreign(&p))
			waiting[count++] = p;
		else if (e >= 0 && !is_foreign(&p))
			e = copy_blob(c, &p, scope, NULL, err);
		if (e >= 0 && count == AT_ONCE) {
			e = mount_blobs(c, waiting, count, scope, err);
			count = 0;
		}
		if (e < 0)
			return e;
	}
	return count > 0 ? mount_blobs(c, waiting, count, scope, err) : 0;
}

static int copy_manifests(struct registry_copy *c, const struct registry_manifest *m, size_t count, int depth,
                          size_t *parts, struct err *err);

struct children {
	struct registry_manifest manifests[MANIFESTS_AT_ONCE];
	const char *digests[MANIFESTS_AT_ONCE];
	size_t count;
};

static void done_children(struct children *l)
{
	for (size_t i = 0; i < ARRAY_SIZE(l->manifests); i++)
		registry_manifest_done(&l->manifests[i]);
	l->count = 0;
}

/* Side by side, each behind the same look at the lock. What they are made of is there first. */
static int copy_children(struct registry_copy *c, struct children *l, int depth, size_t *parts, struct err *err)
{
	int e = registry_manifest_get_all(c->from, c->from_repository, l->digests, l->count, c->wait, l->manifests,
	                                  err);
	if (e >= 0)
		e = copy_manifests(c, l->manifests, l->count, depth, parts, err);
	if (e >= 0)
		e = guard(c, err);
	if (e >= 0)
		e = registry_manifest_put_all(c->to, c->to_repository, l->manifests, l->count, c->wait, err);
	done_children(l);
	return e;
}

static int copy_index(struct registry_copy *c, const json_t *list, int depth, size_t *parts, struct err *err)
{
	_cleanup_(done_children) struct children l = {.count = 0};
	size_t i;
	json_t *value;
	int e = 0;
	done_children(&l);
	json_array_foreach((json_t *)list, i, value)
	{
		struct part p;
		e = next_part(value, parts, &p, err);
		if (e < 0)
			return e;
		l.digests[l.count++] = p.digest;
		if (l.count == ARRAY_SIZE(l.digests))
			e = copy_children(c, &l, depth, parts, err);
		if (e < 0)
			return e;
	}
	return l.count > 0 ? copy_children(c, &l, depth, parts, err) : 0;
}

/* Images of one index share layers: each is copied once. */
static void add_blob(json_t *blobs, json_t *seen, json_t *value)
{
	const char *digest = json_get_string(value, "digest");
	if (digest != NULL && json_object_get(seen, digest) != NULL)
		return;
	if (digest != NULL)
		json_object_set_new(seen, digest, json_true());
	json_array_append(blobs, value);
}

/* Of an index its manifests; of a manifest its blobs come to those of its neighbours. */
static int read_manifest(struct registry_copy *c, const struct registry_manifest *m, int depth, size_t *parts,
                         json_t *blobs, json_t *seen, struct err *err)
{
	json_t *body _cleanup_json_ = NULL, *layer;
	size_t i;
	int e = json_parse(str_peek(&m->bytes), m->bytes.len, REGISTRY_MANIFEST_MAX, &body, err);
	if (e < 0)
		return e;
	if (m->index)
		return copy_index(c, json_get_array(body, "manifests"), depth + 1, parts, err);
	if (json_object_get(body, "config") == NULL)
		return err_set(err, ERR_PROTOCOL, "the manifest %s has no config", m->digest);
	add_blob(blobs, seen, json_object_get(body, "config"));
	json_array_foreach(json_get_array(body, "layers"), i, layer) add_blob(blobs, seen, layer);
	return 0;
}

static int copy_manifests(struct registry_copy *c, const struct registry_manifest *m, size_t count, int depth,
                          size_t *parts, struct err *err)
{
	json_t *blobs _cleanup_json_ = json_array(), *seen _cleanup_json_ = json_object();
	if (depth > DEPTH_MAX)
		return err_set(err, ERR_LIMIT, "indexes lie deeper than %d in one another", DEPTH_MAX);
	for (size_t i = 0; i < count; i++) {
		int e = read_manifest(c, &m[i], depth, parts, blobs, seen, err);
		if (e < 0)
			return e;
	}
	return copy_blobs(c, blobs, parts, err);
}

int registry_copy_content(struct registry_copy *c, const struct registry_manifest *m, struct err *err)
{
	size_t parts = 0;
	if (registry_same(c->from, c->to) && strcmp(c->from_repository, c->to_repository) == 0)
		return 0;
	int e = copy_manifests(c, m, 1, 0, &parts, err);
	return e < 0 ? err_wrap(err, e, "copy %s", m->digest) : 0;
}
