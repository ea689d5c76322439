#include "providers/s3/client.h"

#include "base/core/mem.h"
#include "providers/s3/answer.h"
#include "providers/s3/sign.h"

#include <string.h>

enum { ID_MAX = 2048, QUERY_MAX = 16 << 10, BODY_MAX = 4 << 20, LIST_MAX = 4 << 20, UPLOADS_MAX = 10000 };

struct s3_upload {
	struct s3 *s;
	char *key, *id;
	struct strv etags; /* of its parts, in order */
};

int s3_parts_max(const struct s3 *s)
{
	return s3_quirks(s)->parts_max;
}

void s3_upload_freep(struct s3_upload **p)
{
	struct s3_upload *u = *p;
	if (u == NULL)
		return;
	free(u->key);
	free(u->id);
	strv_done(&u->etags);
	free(u);
	*p = NULL;
}

int s3_upload_begin(struct s3 *s, const char *key, struct s3_upload **ret, struct wait *w, struct err *err)
{
	/* A second one would be another upload. It stays where its reply is lost, until all of this prefix are given up. */
	const struct s3_call call = {.method = "POST", .key = key, .query = "uploads=", .body = "", .once = true};
	_cleanup_(http_response_done) struct http_response answer = {0};
	_cleanup_(str_done) struct str id = STR_INIT(ID_MAX);
	_cleanup_free_ char *what = xasprintf("begin to upload '%s'", key);
	int r = s3_send(s, &call, w, &answer, err);
	if (r < 0)
		return r;
	const struct s3_text body = {str_peek(&answer.body), answer.body.len};
	if (answer.status != 200)
		return s3_refused(s, &answer, what, err);
	if (!s3_answer_text(body, "UploadId", &id) || id.len == 0)
		return err_set(err, ERR_PROTOCOL, "unexpected reply of '%s': an upload without an id", s3_host(s));
	struct s3_upload *u = xcalloc(1, sizeof(*u));
	u->s = s;
	u->key = xstrdup(key);
	u->id = str_take(&id);
	*ret = u;
	return 0;
}

static void append_id(const struct s3_upload *u, struct str *query)
{
	str_append(query, "uploadId=");
	s3_escape(u->id, false, query);
}

int s3_upload_part(struct s3_upload *u, const void *data, size_t len, struct wait *w, struct err *err)
{
	_cleanup_(str_done) struct str query = STR_INIT(QUERY_MAX);
	_cleanup_(http_response_done) struct http_response answer = {0};
	_cleanup_free_ char *what = xasprintf("upload part %zu of '%s'", u->etags.count + 1, u->key);
	str_appendf(&query, "partNumber=%zu&", u->etags.count + 1);
	append_id(u, &query);
	const struct s3_call call = {
		.method = "PUT", .key = u->key, .query = str_peek(&query), .body = data, .body_len = len};
	int r = s3_send(u->s, &call, w, &answer, err);
	if (r < 0)
		return r;
	const char *etag = http_header(&answer, "ETag");
	if (answer.status != 200)
		return s3_refused(u->s, &answer, what, err);
	if (etag == NULL || strlen(etag) > 200 || strpbrk(etag, "<>&") != NULL)
		return err_set(err, ERR_PROTOCOL, "unexpected reply of '%s': a part without an ETag", s3_host(u->s));
	strv_add(&u->etags, etag);
	return 0;
}

int s3_upload_end(struct s3_upload *u, struct wait *w, struct err *err)
{
	_cleanup_(str_done) struct str query = STR_INIT(QUERY_MAX), body = STR_INIT(BODY_MAX);
	_cleanup_(http_response_done) struct http_response answer = {0};
	_cleanup_free_ char *what = xasprintf("end the upload of '%s'", u->key);
	append_id(u, &query);
	str_append(&body, "<CompleteMultipartUpload>");
	for (size_t i = 0; i < u->etags.count; i++)
		str_appendf(&body, "<Part><PartNumber>%zu</PartNumber><ETag>%s</ETag></Part>", i + 1,
		            u->etags.items[i]);
	str_append(&body, "</CompleteMultipartUpload>");
	if (body.failed)
		return err_set(err, ERR_LIMIT, "'%s' has too many parts", u->key);
	const struct s3_call call = {.method = "POST",
	                             .key = u->key,
	                             .query = str_peek(&query),
	                             .body = str_peek(&body),
	                             .body_len = body.len};
	int r = s3_send(u->s, &call, w, &answer, err);
	if (r < 0)
		return r;
	/* The status is sent before the parts are put together. */
	if (answer.status != 200 || strstr(str_peek(&answer.body), "<Error>") != NULL)
		return s3_refused(u->s, &answer, what, err);
	return 0;
}

/* ---- given up ---- */

static int give_up_one(struct s3 *s, struct s3_text one, const char *prefix, struct wait *w, struct err *err)
{
	_cleanup_(str_done) struct str key = STR_INIT(4096), id = STR_INIT(ID_MAX), query = STR_INIT(QUERY_MAX);
	_cleanup_(http_response_done) struct http_response answer = {0};
	if (!s3_answer_text(one, "Key", &key) || !s3_answer_text(one, "UploadId", &id) ||
	    !str_starts(str_peek(&key), prefix))
		return err_set(err, ERR_PROTOCOL, "unexpected reply of '%s' to a list of uploads", s3_host(s));
	str_append(&query, "uploadId=");
	s3_escape(str_peek(&id), false, &query);
	const struct s3_call call = {.method = "DELETE", .key = str_peek(&key), .query = str_peek(&query)};
	int r = s3_send(s, &call, w, &answer, err);
	if (r < 0 || answer.status == 204 || answer.status == 200 || answer.status == 404)
		return r;
	_cleanup_free_ char *what = xasprintf("give up the upload of '%s'", str_peek(&key));
	return s3_refused(s, &answer, what, err);
}

/* Those that are given up are in no later list: each time the first ones are asked for. */
int s3_upload_give_up(struct s3 *s, const char *prefix, struct wait *w, struct err *err)
{
	size_t count = 0, before;
	int r = 0;
	do {
		_cleanup_(str_done) struct str query = STR_INIT(QUERY_MAX);
		_cleanup_(http_response_done) struct http_response answer = {0};
		str_append(&query, "prefix=");
		s3_escape(prefix, false, &query);
		str_append(&query, "&uploads=");
		const struct s3_call call = {
			.method = "GET", .key = "", .query = str_peek(&query), .max_body = LIST_MAX};
		before = count;
		r = s3_send(s, &call, w, &answer, err);
		if (r == 0 && answer.status != 200)
			r = s3_refused(s, &answer, "list uploads", err);
		const struct s3_text body = {str_peek(&answer.body), answer.body.len};
		struct s3_text one;
		for (size_t at = 0; r == 0 && s3_answer_next(body, "Upload", &at, &one); count++)
			r = give_up_one(s, one, prefix, w, err);
		if (r == 0 && count > UPLOADS_MAX)
			r = err_set(err, ERR_LIMIT, "there are more than %d uploads below '%s'", UPLOADS_MAX, prefix);
	} while (r == 0 && count > before);
	return r;
}
