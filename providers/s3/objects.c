#include "providers/s3/client.h"

#include "base/core/mem.h"
#include "providers/s3/answer.h"
#include "providers/s3/sign.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { RANGE = 8 << 20, LIST_MAX = 4 << 20, QUERY_MAX = 16 << 10 };

int s3_put(struct s3 *s, const char *key, const void *data, size_t len, struct wait *w, struct err *err)
{
	const struct s3_call call = {.method = "PUT", .key = key, .body = data, .body_len = len};
	_cleanup_(http_response_done) struct http_response answer = {0};
	_cleanup_free_ char *what = xasprintf("put '%s'", key);
	int r = s3_send(s, &call, w, &answer, err);
	return r < 0 || answer.status == 200 ? r : s3_refused(s, &answer, what, err);
}

int s3_get(struct s3 *s, const char *key, size_t max, struct str *out, char ret_etag[S3_ETAG], struct wait *w,
           struct err *err)
{
	const struct s3_call call = {.method = "GET", .key = key, .max_body = max};
	_cleanup_(http_response_done) struct http_response answer = {0};
	_cleanup_free_ char *what = xasprintf("get '%s'", key);
	int r = s3_send(s, &call, w, &answer, err);
	if (r < 0)
		return r;
	if (answer.status != 200)
		return s3_refused(s, &answer, what, err);
	const char *etag = http_header(&answer, "ETag");
	snprintf(ret_etag, S3_ETAG, "%s", etag ? etag : "");
	return str_append_n(out, str_peek(&answer.body), answer.body.len)
	               ? 0
	               : err_set(err, ERR_LIMIT, "'%s' is larger than what is taken", key);
}

/* "bytes 0-9/100" */
static bool read_range(const char *text, int64_t first, size_t len, int64_t *ret_size)
{
	_cleanup_free_ char *begins = xasprintf("bytes %" PRId64 "-%" PRId64 "/", first, first + (int64_t)len - 1);
	long long size;
	if (text == NULL || !str_starts(text, begins) ||
	    !str_parse_i64(text + strlen(begins), first + (int64_t)len, INT64_MAX, &size))
		return false;
	*ret_size = size;
	return true;
}

struct object {
	char etag[128]; /* as it is sent, quotes included */
	int64_t size;
};

/* Bytes from `first`, at most `count`, appended; none behind its end. */
static int get_range(struct s3 *s, const char *key, int64_t first, int64_t count, struct str *out, struct object *ret,
                     struct wait *w, struct err *err)
{
	_cleanup_free_ char *range = xasprintf("range: bytes=%" PRId64 "-%" PRId64, first, first + count - 1),
			    *what = xasprintf("get '%s'", key);
	const struct s3_call call = {.method = "GET", .key = key, .header = range, .max_body = (size_t)count};
	_cleanup_(http_response_done) struct http_response answer = {0};
	struct object object = {0};
	int r = s3_send(s, &call, w, &answer, err);
	if (r < 0)
		return r;
	const char *etag = http_header(&answer, "ETag");
	snprintf(object.etag, sizeof(object.etag), "%s", etag ? etag : "");
	if (answer.status == 416) {
		object.size = first; /* behind its end */
	} else if (answer.status != 206) {
		return s3_refused(s, &answer, what, err);
	} else if (answer.body.len == 0 ||
	           !read_range(http_header(&answer, "Content-Range"), first, answer.body.len, &object.size)) {
		return err_set(err, ERR_PROTOCOL, "unexpected reply of '%s': other bytes of '%s' than asked for",
		               s3_host(s), key);
	} else if (!str_append_n(out, answer.body.data, answer.body.len)) {
		return err_set(err, ERR_LIMIT, "'%s' is larger than what is taken", key);
	}
	*ret = object;
	return 0;
}

int s3_read(struct s3 *s, const char *key, int64_t limit, s3_sink sink, void *context, struct wait *w, struct err *err)
{
	struct object first = {0}, now = {0};
	int64_t end = limit > 0 ? limit : INT64_MAX;
	int r = 0;
	for (int64_t at = 0; r == 0 && at < end; at = at + RANGE) {
		_cleanup_(str_done) struct str piece = STR_INIT(RANGE + 1);
		r = get_range(s, key, at, MIN((int64_t)RANGE, end - at), &piece, &now, w, err);
		if (r == 0 && at == 0)
			first = now;
		if (r == 0 && (strcmp(first.etag, now.etag) != 0 || first.size != now.size))
			r = err_set(err, ERR_CONFLICT, "'%s' was replaced while it was read", key);
		if (r == 0 && piece.len > 0)
			r = sink(context, piece.data, piece.len, err);
		end = MIN(end, now.size);
	}
	return r;
}

int s3_delete(struct s3 *s, const char *key, struct wait *w, struct err *err)
{
	const struct s3_call call = {.method = "DELETE", .key = key};
	_cleanup_(http_response_done) struct http_response answer = {0};
	_cleanup_free_ char *what = xasprintf("delete '%s'", key);
	int r = s3_send(s, &call, w, &answer, err);
	if (r < 0 || answer.status == 204 || answer.status == 200)
		return r;
	r = s3_refused(s, &answer, what, err);
	if (r != ERR_NOT_FOUND || strstr(str_peek(&answer.body), "NoSuchBucket"))
		return r;
	err_clear(err);
	return 0;
}

/* ---- lists ---- */

static void list_query(const char *token, const char *prefix, int page, struct str *out)
{
	if (token && *token) {
		str_append(out, "continuation-token=");
		s3_escape(token, false, out);
		str_append_c(out, '&');
	}
	str_appendf(out, "list-type=2&max-keys=%d&prefix=", page);
	s3_escape(prefix, false, out);
}

static int list_page(struct s3 *s, const char *prefix, int page, struct str *token, struct strv *ret, bool *ret_more,
                     struct wait *w, struct err *err)
{
	_cleanup_(str_done) struct str query = STR_INIT(QUERY_MAX), more = STR_INIT(16);
	_cleanup_(http_response_done) struct http_response answer = {0};
	list_query(str_peek(token), prefix, page, &query);
	const struct s3_call call = {.method = "GET", .key = "", .query = str_peek(&query), .max_body = LIST_MAX};
	int r = s3_send(s, &call, w, &answer, err);
	if (r < 0)
		return r;
	if (answer.status != 200)
		return s3_refused(s, &answer, "list", err);
	const struct s3_text body = {str_peek(&answer.body), answer.body.len};
	struct s3_text one;
	for (size_t at = 0; s3_answer_next(body, "Contents", &at, &one);) {
		_cleanup_(str_done) struct str key = STR_INIT(4096);
		if (!s3_answer_text(one, "Key", &key) || !str_starts(str_peek(&key), prefix))
			return err_set(err, ERR_PROTOCOL, "unexpected reply of '%s' to a list", s3_host(s));
		strv_add(ret, str_peek(&key));
	}
	str_clear(token);
	*ret_more = s3_answer_text(body, "IsTruncated", &more) && strcmp(str_peek(&more), "true") == 0;
	if (*ret_more && (!s3_answer_text(body, "NextContinuationToken", token) || token->len == 0))
		return err_set(err, ERR_PROTOCOL, "unexpected reply of '%s' to a list: more follows, but not where",
		               s3_host(s));
	return 0;
}

int s3_list(struct s3 *s, const char *prefix, size_t max, struct strv *ret, struct wait *w, struct err *err)
{
	enum { PAGE = 1000 };
	_cleanup_(str_done) struct str token = STR_INIT(8192);
	size_t before = SIZE_MAX;
	bool more = true;
	int r = 0;
	while (r == 0 && more) {
		r = list_page(s, prefix, PAGE, &token, ret, &more, w, err);
		if (r == 0 && more && (ret->count == before || ret->count > max))
			r = err_set(err, ERR_LIMIT, "there are more than %zu keys below '%s'", max, prefix);
		before = ret->count;
	}
	strv_sort(ret);
	return r;
}

int s3_ask(struct s3 *s, const char *prefix, struct wait *w, struct err *err)
{
	_cleanup_(str_done) struct str token = STR_INIT(8192);
	struct strv keys _cleanup_(strv_done) = {0};
	bool more;
	return list_page(s, prefix, 1, &token, &keys, &more, w, err);
}
