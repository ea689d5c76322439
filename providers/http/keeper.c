#include "providers/http/keeper.h"

#include "base/core/mem.h"
#include "base/core/shown.h"
#include "base/secret/base64.h"
#include "base/secret/digest.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

enum { TIMEOUT_MS = 60000, RETRIES = 2, SHOWN_MAX = 200, ID_MAX = 512 };

void http_place_done(struct http_place *p)
{
	http_free(p->http);
	free(p->address);
	free(p->lock_address);
	free(p->unlock_address);
	str_done(&p->authorization);
}

static char *place(const struct keeper *k)
{
	return xstrdup(http_place_of(k->of)->address);
}

/* ---- requests ---- */

struct call {
	const char *method, *url;
	const char *body; /* NULL: none */
	size_t len, max_body;
	int retries;
};

static void append_md5(const char *data, size_t len, struct str *out)
{
	unsigned char sum[EVP_MAX_MD_SIZE];
	unsigned size = 0;
	if (EVP_Digest(data, len, sum, &size, EVP_md5(), NULL) == 1)
		base64_encode(sum, size, out);
}

/* Any status is a success. */
static int ask(struct keeper *k, const struct call *c, struct http_response *ret, struct err *err)
{
	const struct http_place *p = http_place_of(k->of);
	_cleanup_(str_done) struct str md5 = STR_INIT(256);
	const char *headers[4] = {NULL};
	size_t count = 0;
	if (p->authorization.len > 0)
		headers[count++] = str_peek(&p->authorization);
	if (c->body != NULL) {
		str_append(&md5, "Content-MD5: ");
		append_md5(c->body, c->len, &md5);
		headers[count++] = "Content-Type: application/json";
		headers[count++] = str_peek(&md5);
	}
	const struct http_request q = {.method = c->method,
	                               .url = c->url,
	                               .headers = headers,
	                               .body = c->body,
	                               .body_len = c->len,
	                               .borrow_body = true,
	                               .max_body = c->max_body,
	                               .timeout_ms = TIMEOUT_MS,
	                               .retries = c->retries};
	return http_perform(p->http, &q, k->wait, ret, err);
}

static int code_for(int status)
{
	switch (status) {
	case 401:
	case 403:
		return ERR_AUTH;
	case 404:
		return ERR_NOT_FOUND;
	case 408:
	case 429:
		return ERR_NETWORK;
	case 409:
	case 412:
		return ERR_CONFLICT;
	case 423:
		return ERR_FENCED; /* a write, and the lock is not ours */
	case 413:
	case 507:
		return ERR_NO_SPACE;
	case 405:
	case 501:
		return ERR_UNSUPPORTED;
	default:
		return status >= 500 ? ERR_NETWORK : ERR_PROTOCOL;
	}
}

static int refused(const struct call *c, const struct http_response *answer, struct err *err)
{
	_cleanup_free_ char *shown = shown_text(str_peek(&answer->body), answer->body.len, SHOWN_MAX);
	_cleanup_(str_done) struct str line = STR_INIT(4 * SHOWN_MAX + 16);
	str_append_safe(&line, shown, strlen(shown));
	int r = err_set(err, code_for(answer->status), "%s '%s' was answered %d%s%s", c->method, c->url, answer->status,
	                line.len > 0 ? ": " : "", str_peek(&line));
	err->foreign = answer->status;
	if (r == ERR_AUTH)
		err_hint(err, r, "check the target's `username` and `password`");
	if (r == ERR_UNSUPPORTED)
		err_hint(
			err, r,
			"it does not know that method: set the target's methods and addresses as the service has them");
	return r;
}

/* ---- the document ---- */

static bool md5_fits(const struct http_response *answer)
{
	_cleanup_(str_done) struct str md5 = STR_INIT(64);
	const char *given = http_header(answer, "Content-MD5");
	append_md5(str_peek(&answer->body), answer->body.len, &md5);
	return given == NULL || strcmp(given, str_peek(&md5)) == 0;
}

/* The protocol gives no name to a version: its digest is one. */
static int http_keeper_read(struct keeper *k, struct str *ret, char tag[KEEPER_TAG], struct err *err)
{
	const struct call c = {
		.method = "GET", .url = http_place_of(k->of)->address, .max_body = KEEPER_MAX, .retries = RETRIES};
	_cleanup_(http_response_done) struct http_response answer = {0};
	int r = ask(k, &c, &answer, err);
	if (r < 0)
		return r;
	if (answer.status == 204 || answer.status == 404)
		return err_set(err, ERR_NOT_FOUND, "there is no state");
	if (answer.status != 200)
		return refused(&c, &answer, err);
	if (!md5_fits(&answer))
		return err_set(err, ERR_NETWORK, "the answer of '%s' is not whole", c.url);
	digest_of(str_peek(&answer.body), answer.body.len, tag);
	return str_append_n(ret, str_peek(&answer.body), answer.body.len)
	               ? 0
	               : err_set(err, ERR_LIMIT, "it is larger than what is taken");
}

static int still_is(struct keeper *k, const char *tag, struct err *err)
{
	_cleanup_(str_done) struct str there = STR_INIT(KEEPER_MAX + 1);
	char now[KEEPER_TAG] = "";
	struct err why = ERR_INIT;
	int r = http_keeper_read(k, &there, now, &why);
	if (r < 0 && r != ERR_NOT_FOUND) {
		*err = why;
		return r;
	}
	return strcmp(now, tag) == 0 ? 0 : err_set(err, ERR_CONFLICT, "another version is there");
}

static int http_keeper_write(struct keeper *k, const struct str *text, const char *tag, const json_t *lock,
                             struct err *err)
{
	const struct http_place *p = http_place_of(k->of);
	_cleanup_free_ char *url = xasprintf("%s?ID=%s", p->address, json_get_string(lock, "ID"));
	const struct call c = {.method = p->update_method, .url = url, .body = str_peek(text), .len = text->len};
	_cleanup_(http_response_done) struct http_response answer = {0};
	int r = still_is(k, tag, err);
	if (r == 0)
		r = ask(k, &c, &answer, err);
	if (r < 0)
		return r;
	return answer.status == 200 || answer.status == 201 || answer.status == 204 ? 0 : refused(&c, &answer, err);
}

/* ---- the lock ---- */

/* What a holder's JSON says, or nothing at all. */
static json_t *read_holder(const struct http_response *answer)
{
	json_t *ret = NULL;
	struct err why = ERR_INIT;
	if (json_parse(str_peek(&answer->body), answer->body.len, KEEPER_HOLDER_MAX, &ret, &why) == 0 &&
	    json_is_object(ret))
		return ret;
	json_decref(ret);
	return json_object();
}

static bool same_id(const json_t *a, const json_t *b)
{
	const char *x = json_get_string(a, "ID"), *y = json_get_string(b, "ID");
	return x != NULL && y != NULL && strcmp(x, y) == 0;
}

static int http_keeper_lock(struct keeper *k, const json_t *record, json_t **ret_holder, struct err *err)
{
	const struct http_place *p = http_place_of(k->of);
	_cleanup_free_ char *text = json_text(record);
	/* Again is harmless: who holds it already is told so, by its own ID. */
	const struct call c = {.method = p->lock_method,
	                       .url = p->lock_address,
	                       .body = text,
	                       .len = strlen(text),
	                       .max_body = KEEPER_HOLDER_MAX,
	                       .retries = RETRIES};
	_cleanup_(http_response_done) struct http_response answer = {0};
	int r = ask(k, &c, &answer, err);
	if (r < 0)
		return r;
	if (answer.status == 200 || answer.status == 201 || answer.status == 204)
		return 0;
	if (answer.status != 423 && answer.status != 409)
		return refused(&c, &answer, err);
	_cleanup_json_ json_t *holder = read_holder(&answer);
	if (same_id(holder, record))
		return 0;
	*ret_holder = TAKE(holder);
	return err_set(err, ERR_LOCKED, "'%s' is locked", p->lock_address);
}

static int http_keeper_unlock(struct keeper *k, const json_t *record, struct err *err)
{
	const struct http_place *p = http_place_of(k->of);
	_cleanup_json_ json_t *holder = NULL;
	_cleanup_free_ char *text = json_text(record);
	/* Whose it is says only a lock: a server may take an unlock of anybody, or refuse a second one. */
	int r = http_keeper_lock(k, record, &holder, err);
	if (r == ERR_LOCKED)
		return err_set(err, ERR_FENCED, "the lock of the state is another's");
	const struct call c = {.method = p->unlock_method, .url = p->unlock_address, .body = text, .len = strlen(text)};
	_cleanup_(http_response_done) struct http_response answer = {0};
	if (r == 0)
		r = ask(k, &c, &answer, err);
	if (r < 0)
		return r;
	return answer.status == 200 || answer.status == 204 ? 0 : refused(&c, &answer, err);
}

const struct keeper_type http_keeper = {
	.name = "http",
	.place = place,
	.read = http_keeper_read,
	.write = http_keeper_write,
	.lock = http_keeper_lock,
	.unlock = http_keeper_unlock,
};
