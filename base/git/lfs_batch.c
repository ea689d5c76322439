#include "base/git/lfs_batch.h"

#include "base/core/shown.h"
#include "base/data/json.h"

#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdio.h>

enum { WORDS_MAX = 200 };

void lfs_headers_done(struct strv *headers)
{
	for (size_t i = 0; i < headers->count; i++)
		OPENSSL_cleanse(headers->items[i], strlen(headers->items[i]));
	strv_done(headers);
	*headers = (struct strv){0};
}

void lfs_object_reset(struct lfs_object *o)
{
	if (o->href != NULL)
		OPENSSL_cleanse(o->href, strlen(o->href));
	free(TAKE(o->href));
	lfs_headers_done(&o->headers);
	free(TAKE(o->why));
	o->code = 0;
	o->again = false;
}

void lfs_object_done(struct lfs_object *o)
{
	lfs_object_reset(o);
}

int lfs_object_fail(struct lfs_object *o, int code, bool again, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	free(o->why);
	o->why = shown_format(2 * WORDS_MAX, fmt, args);
	va_end(args);
	o->code = code;
	o->again = again;
	return code;
}

char *lfs_batch_request(struct lfs_object *const *objects, size_t count)
{
	_cleanup_json_ json_t *body = json_pack("{s:s, s:[s], s:[], s:s}", "operation", "download", "transfers",
	                                        "basic", "objects", "hash_algo", "sha256");
	for (size_t i = 0; i < count; i++)
		json_array_append_new(json_object_get(body, "objects"),
		                      json_pack("{s:s, s:I}", "oid", objects[i]->pointer.oid, "size",
		                                (json_int_t)objects[i]->pointer.size));
	return json_text(body);
}

/* ---- the answer ---- */

static struct lfs_object *find(struct lfs_object *const *objects, size_t count, const char *oid)
{
	for (size_t i = 0; oid != NULL && i < count; i++)
		if (strcmp(objects[i]->pointer.oid, oid) == 0)
			return objects[i];
	return NULL;
}

static void take_error(struct lfs_object *o, const json_t *error)
{
	int64_t code = json_get_int(error, "code", 0);
	const char *message = json_get_string(error, "message");
	_cleanup_free_ char *shown = shown_text(message ? message : "", message ? strlen(message) : 0, WORDS_MAX);
	if (code == 404 || code == 410)
		lfs_object_fail(o, ERR_FAILED, false, "the server does not have it (%lld: %s)", (long long)code, shown);
	else if (code == 401 || code == 403)
		lfs_object_fail(o, ERR_AUTH, false, "the server does not let us have it (%lld: %s)", (long long)code,
		                shown);
	else
		lfs_object_fail(o, ERR_PROTOCOL, code == 429 || code >= 500, "the server refuses it (%lld: %s)",
		                (long long)code, shown);
}

bool lfs_is_plain(const char *text)
{
	if (strlen(text) > LFS_FIELD_MAX)
		return false;
	for (const char *c = text; *c != '\0'; c++)
		if ((unsigned char)*c < ' ' || *c == '\x7f')
			return false;
	return true;
}

/* Our own: libcurl frames the request, and chooses the host and what it can decode. */
static bool is_ours(const char *name)
{
	static const char *const names[] = {"Host", "Content-Length", "Transfer-Encoding", "Connection",
	                                    "Accept-Encoding"};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcasecmp(name, names[i]) == 0)
			return true;
	return false;
}

static bool is_name(const char *name)
{
	return name[0] != '\0' && name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	                                            "0123456789!#$%&'*+-.^_`|~")] == '\0';
}

int lfs_headers_take(const json_t *headers, struct strv *ret)
{
	const char *name;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)headers, name, value)
	{
		const char *text = json_string_value(value);
		if (text == NULL || !is_name(name) || !lfs_is_plain(text) || ret->count == LFS_HEADERS_MAX)
			return ERR_PROTOCOL;
		if (!is_ours(name))
			strv_addf(ret, "%s: %s", name, text);
	}
	return 0;
}

static void take_object(struct lfs_object *o, const json_t *answer)
{
	const json_t *error = json_get_object(answer, "error"),
		     *download = json_get_object(json_get_object(answer, "actions"), "download");
	const char *href = json_get_string(download, "href");
	if (o->href != NULL || o->code != 0)
		return; /* named twice */
	if (error != NULL) {
		take_error(o, error);
		return;
	}
	if (href == NULL || !lfs_is_plain(href) ||
	    (strncasecmp(href, "https://", 8) != 0 && strncasecmp(href, "http://", 7) != 0)) {
		lfs_object_fail(o, ERR_PROTOCOL, false, "the server names no address of http where it is");
		return;
	}
	if (lfs_headers_take(json_object_get(download, "header"), &o->headers) < 0)
		lfs_object_fail(o, ERR_PROTOCOL, false, "the server wants headers that are none");
	else
		o->href = xstrdup(href);
}

static int check_word(const json_t *answer, const char *key, const char *wanted, struct err *err)
{
	const char *word = json_get_string(answer, key);
	return word == NULL || strcmp(word, wanted) == 0
	               ? 0
	               : err_set(err, ERR_UNSUPPORTED, "the LFS server chose the %s '%.60s', where '%s' was offered",
	                         key, word, wanted);
}

int lfs_batch_read(const char *text, size_t len, struct lfs_object *const *objects, size_t count, struct err *err)
{
	_cleanup_json_ json_t *answer = NULL;
	size_t i;
	json_t *one;
	int r = json_parse(text, len, LFS_ANSWER_MAX, &answer, err);
	if (r < 0)
		return err_wrap(err, ERR_PROTOCOL, "the answer of the LFS server is no JSON");
	const json_t *list = json_get_array(answer, "objects");
	if (list == NULL)
		return err_set(err, ERR_PROTOCOL, "the answer of the LFS server lists no objects");
	r = check_word(answer, "transfer", "basic", err);
	if (r >= 0)
		r = check_word(answer, "hash_algo", "sha256", err);
	if (r < 0)
		return r;
	json_array_foreach((json_t *)(uintptr_t)list, i, one)
	{
		struct lfs_object *o = find(objects, count, json_get_string(one, "oid"));
		if (o != NULL)
			take_object(o, one);
	}
	for (i = 0; i < count; i++)
		if (objects[i]->href == NULL && objects[i]->code == 0)
			lfs_object_fail(objects[i], ERR_PROTOCOL, false, "the server says nothing of it");
	return 0;
}
