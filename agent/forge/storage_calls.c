/* The storage's side of an upload and a download: Azure's calls for block blobs as far as the actions' libraries make them. */
#include "agent/forge/services_priv.h"
#include "base/core/clock.h"
#include "base/secret/digest.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { COPY_PIECE = 1 << 20 };

static void refuse(struct req *r, int status, const char *code)
{
	_cleanup_free_ char *xml = xasprintf(
		"\xef\xbb\xbf<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>%s</Code><Message>%s</Message></Error>",
		code, code);
	req_reply_header(r, "x-ms-error-code: %s", code);
	req_reply_text(r, status, "application/xml", xml, strlen(xml));
}

static struct storage_blob *blob_of(const struct req *r)
{
	for (size_t i = 0; i < r->f->stored_count; i++)
		if (strcmp(r->f->stored[i]->id, r->args[0]) == 0 && !r->f->stored[i]->removed)
			return r->f->stored[i];
	return NULL;
}

static bool is_signed(const struct req *r)
{
	const char *may = req_query(r, "sp"), *until = req_query(r, "se"), *signature = req_query(r, "sig");
	const char *needed = strcmp(r->method, "PUT") == 0 ? "w" : "r";
	long long end;
	char mac[DIGEST_HEX];
	if (may == NULL || signature == NULL || strlen(signature) != DIGEST_HEX - 1 || strcmp(may, needed) != 0 ||
	    until == NULL || !str_parse_i64(until, 0, INT64_MAX, &end) || end < clock_wall_ms())
		return false;
	_cleanup_free_ char *what = xasprintf("%s %s %s", may, r->args[0], until);
	digest_hmac_hex(r->f->key, sizeof(r->f->key), what, strlen(what), mac);
	return CRYPTO_memcmp(mac, signature, DIGEST_HEX - 1) == 0;
}

bool storage_admits(struct req *r)
{
	long long length = 0;
	const char *given = req_header(r, "Content-Length");
	if (!is_signed(r)) {
		refuse(r, 403, "AuthenticationFailed");
		return false;
	}
	if (strcmp(r->method, "PUT") == 0 && (given == NULL || !str_parse_i64(given, 0, INT64_MAX, &length))) {
		refuse(r, 411, "MissingContentLengthHeader");
		return false;
	}
	if (length > STORAGE_REQUEST_MAX) {
		refuse(r, 413, "RequestBodyTooLarge");
		return false;
	}
	return true;
}

static void done(struct req *r, const struct storage_blob *b, int status)
{
	req_reply_header(r, "ETag: \"0x8D%llX\"", (long long)(b->size + b->used + 1));
	req_reply_header(r, "x-ms-request-id: %08llx-0000-0000-0000-000000000000",
	                 (long long)r->begun_ms & 0xffffffffLL);
	req_reply_header(r, "x-ms-version: 2025-11-05");
	req_reply_header(r, "x-ms-request-server-encrypted: true");
	req_reply(r, status);
}

/* ---- bytes come ---- */

static bool copy_body(struct req *r, int to, int64_t offset)
{
	_cleanup_free_ char *piece = xmalloc(COPY_PIECE);
	for (int64_t at = 0; at < r->body_len;) {
		ssize_t n = pread(r->body_fd, piece, (size_t)MIN((int64_t)COPY_PIECE, r->body_len - at), (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		for (ssize_t put = 0, m; n > 0 && put < n; put += m) {
			m = pwrite(to, piece + put, (size_t)(n - put), (off_t)(offset + at + put));
			if (m < 0 && errno == EINTR)
				m = 0;
			else if (m <= 0)
				return false;
		}
		if (n <= 0)
			return false;
		at += n;
	}
	return true;
}

static int64_t stored_by_all(const struct forge *f)
{
	int64_t sum = 0;
	for (size_t i = 0; i < f->stored_count; i++)
		sum += f->stored[i]->used;
	return sum;
}

static struct storage_block *find_block(struct storage_blob *b, const char *id)
{
	for (size_t i = 0; i < b->block_count; i++)
		if (strcmp(b->blocks[i].id, id) == 0)
			return &b->blocks[i];
	return NULL;
}

/* A place in the file for the body. One that is sent again takes its former place. */
static struct storage_block *place_block(struct req *r, struct storage_blob *b, const char *id)
{
	struct storage_block *block = find_block(b, id);
	if (block != NULL && block->len == r->body_len && b->extent_count == 0) {
		block->whole = false;
		return block;
	}
	if (block == NULL && b->block_count >= STORAGE_BLOCKS_MAX) {
		refuse(r, 409, "BlockCountExceedsLimit");
		return NULL;
	}
	if (stored_by_all(r->f) + r->body_len > r->f->config.storage_bytes) {
		refuse(r, 507, "InsufficientStorage");
		return NULL;
	}
	if (b->fd < 0)
		b->fd = forge_blob_file();
	if (b->fd < 0) {
		refuse(r, 500, "InternalError");
		return NULL;
	}
	if (block == NULL) {
		b->blocks = xgrow(b->blocks, &b->block_cap, b->block_count + 1, sizeof(*b->blocks));
		block = &b->blocks[b->block_count++];
	}
	*block = (struct storage_block){.offset = b->used, .len = r->body_len};
	memcpy(block->id, id, strlen(id) + 1);
	b->used += r->body_len;
	return block;
}

/* With the lock, which is let go while bytes are copied. False: answered. */
static bool take_block(struct req *r, struct storage_blob *b, const char *id)
{
	struct storage_block *block = place_block(r, b, id);
	if (block == NULL)
		return false;
	int64_t offset = block->offset;
	storage_hold(b);
	pthread_mutex_unlock(&r->f->lock);
	bool good = copy_body(r, b->fd, offset);
	pthread_mutex_lock(&r->f->lock);
	block = b->removed ? NULL : find_block(b, id);
	if (good && block != NULL && block->offset == offset)
		block->whole = true;
	else
		refuse(r, 500, "InternalError");
	storage_release(b);
	return r->status == 0;
}

static void put_block(struct req *r, struct storage_blob *b)
{
	const char *id = req_query(r, "blockid");
	if (id == NULL || *id == '\0' || strlen(id) > STORAGE_BLOCK_ID_MAX)
		refuse(r, 400, "InvalidQueryParameterValue");
	else if (r->body_len == 0)
		refuse(r, 400, "InvalidHeaderValue");
	else if (take_block(r, b, id))
		done(r, b, 201);
}

/* ---- the content is made ---- */

static void set_content(struct req *r, struct storage_blob *b, struct storage_extent *extents, size_t count)
{
	const char *type = req_header(r, "x-ms-blob-content-type");
	free(b->extents);
	b->extents = extents;
	b->extent_count = count;
	b->size = 0;
	for (size_t i = 0; i < count; i++)
		b->size += extents[i].len;
	free(b->content_type);
	b->content_type = type != NULL && strlen(type) < 128 ? xstrdup(type) : NULL;
	done(r, b, 201);
}

static bool read_body(struct req *r, struct str *out)
{
	char *room = r->body_len > 0 ? str_reserve(out, (size_t)r->body_len) : NULL;
	while (room != NULL && out->len < (size_t)r->body_len) {
		ssize_t n = pread(r->body_fd, out->data + out->len, (size_t)r->body_len - out->len, (off_t)out->len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		out->len += (size_t)n;
	}
	return room != NULL;
}

static void put_block_list(struct req *r, struct storage_blob *b)
{
	_cleanup_(str_done) struct str xml = STR_INIT(STORAGE_LIST_MAX);
	_cleanup_free_ struct storage_extent *extents = NULL;
	size_t at = 0, count = 0, cap = 0;
	char id[STORAGE_BLOCK_ID_MAX + 1];
	if (!read_body(r, &xml)) {
		refuse(r, 400, "InvalidXmlDocument");
		return;
	}
	while (storage_next_block(xml.data, xml.len, &at, id)) {
		const struct storage_block *block = find_block(b, id);
		if (block == NULL || !block->whole || count >= STORAGE_BLOCKS_MAX) {
			refuse(r, 400, "InvalidBlockList");
			return;
		}
		extents = xgrow(extents, &cap, count + 1, sizeof(*extents));
		extents[count++] = (struct storage_extent){block->offset, block->len};
	}
	if (at == SIZE_MAX)
		refuse(r, 400, "InvalidXmlDocument");
	else
		set_content(r, b, TAKE(extents), count);
}

static void put_whole(struct req *r, struct storage_blob *b)
{
	static const char whole[] = "(whole)";
	const char *type = req_header(r, "x-ms-blob-type");
	if (type == NULL || strcmp(type, "BlockBlob") != 0) {
		refuse(r, 400, "InvalidHeaderValue");
		return;
	}
	if (!take_block(r, b, whole))
		return;
	const struct storage_block *block = find_block(b, whole);
	struct storage_extent *extent = xcalloc(1, sizeof(*extent));
	*extent = (struct storage_extent){block->offset, block->len};
	set_content(r, b, extent, block->len > 0);
}

static void put(struct req *r)
{
	const char *operation = req_query(r, "comp");
	struct storage_blob *b;
	pthread_mutex_lock(&r->f->lock);
	if ((b = blob_of(r)) == NULL)
		refuse(r, 404, "BlobNotFound");
	else if (b->sealed)
		refuse(r, 409, "BlobImmutableDueToPolicy");
	else if (operation == NULL)
		put_whole(r, b);
	else if (strcmp(operation, "block") == 0)
		put_block(r, b);
	else if (strcmp(operation, "blocklist") == 0)
		put_block_list(r, b);
	else
		refuse(r, 400, "InvalidQueryParameterValue");
	pthread_mutex_unlock(&r->f->lock);
}

/* ---- bytes leave ---- */

void storage_send(struct req *r, struct storage_blob *b)
{
	const char *range = req_header(r, "Range");
	if (range == NULL)
		range = req_header(r, "x-ms-range");
	int64_t from = 0, len = b->size;
	if (range != NULL && !storage_range(range, b->size, &from, &len)) {
		req_reply_header(r, "Content-Range: bytes */%lld", (long long)b->size);
		refuse(r, 416, "InvalidRange");
		return;
	}
	if (range != NULL)
		req_reply_header(r, "Content-Range: bytes %lld-%lld/%lld", (long long)from, (long long)(from + len - 1),
		                 (long long)b->size);
	req_reply_header(r, "Accept-Ranges: bytes");
	req_reply_header(r, "Content-Type: %s", b->content_type != NULL ? b->content_type : "application/octet-stream");
	req_reply_header(r, "x-ms-blob-type: BlockBlob");
	/* A page that a job made must not run as one of the forge's own. */
	req_reply_header(r, "X-Content-Type-Options: nosniff");
	req_reply_header(r, "Content-Security-Policy: sandbox; default-src 'none'");
	req_reply_header(r, "Content-Disposition: attachment");
	storage_hold(b);
	r->content = b;
	r->content_from = from;
	r->content_len = len;
	done(r, b, range != NULL ? 206 : 200);
}

static void get(struct req *r)
{
	struct storage_blob *b = blob_of(r);
	if (b == NULL || b->size < 0 || !b->sealed)
		refuse(r, 404, "BlobNotFound");
	else
		storage_send(r, b);
}

const struct route storage_routes[] = {
	{"PUT", "_services/storage/+", put, ROUTE_UNLOCKED | ROUTE_SIGNED},
	{"GET", "_services/storage/+", get, ROUTE_SIGNED},
	{"HEAD", "_services/storage/+", get, ROUTE_SIGNED},
	{0},
};
