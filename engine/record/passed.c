#include "engine/record/passed.h"

#include "base/data/json.h"
#include "base/secret/base64.h"

#include <inttypes.h>

enum { NAME_LEN = 63, ID_LEN = 64, DIGEST_LEN = 64, LINE_MAX_BYTES = 16 << 10, STATEMENT_MAX = 32 << 10 };
static const char digest_type[] = "sha256:", hex_digits[] = "0123456789abcdef";

void passed_line_done(struct passed_line *l)
{
	free(l->name);
	free(l->environment);
	free(l->deployment);
	strv_done(&l->digests);
	*l = (struct passed_line){0};
}

void passed_done(struct passed *p)
{
	for (size_t i = 0; i < p->count; i++)
		passed_line_done(&p->items[i]);
	free(p->items);
	*p = (struct passed){0};
}

char *passed_path(const char *base, const char *name, const char *environment)
{
	return xasprintf("%s/passed/%s.%s", base, name, environment);
}

bool passed_is_digest(const char *text)
{
	return str_starts(text, digest_type) && strlen(text) == strlen(digest_type) + DIGEST_LEN &&
	       strspn(text + strlen(digest_type), hex_digits) == DIGEST_LEN;
}

/* ---- reading ---- */

/* Text of these characters only: it can neither end a line of what is signed nor reach a terminal as anything else. */
static char *take_word(const json_t *o, const char *key, size_t max, const char *of)
{
	const char *text = json_get_string(o, key);
	size_t len = text ? json_string_length(json_object_get(o, key)) : 0;
	return len > 0 && len <= max && strspn(text, of) == len ? xstrdup(text) : NULL;
}

static bool take_bytes(const json_t *o, const char *key, void *ret, size_t size)
{
	_cleanup_(str_done) struct str bytes = STR_INIT(4096);
	const char *text = json_get_string(o, key);
	if (text == NULL || base64_decode(text, strlen(text), &bytes, NULL) < 0 || bytes.len != size)
		return false;
	memcpy(ret, str_peek(&bytes), size);
	return true;
}

static bool take_digests(const json_t *o, struct strv *ret)
{
	const json_t *list = json_get_array(o, "digests");
	size_t count = json_array_size(list);
	for (size_t i = 0; i < count; i++) {
		const char *digest = json_string_value(json_array_get(list, i));
		if (digest == NULL || !passed_is_digest(digest))
			return false;
		strv_add(ret, digest);
	}
	return count > 0 && count <= PASSED_DIGESTS;
}

static bool take_line(const json_t *o, struct passed_line *l)
{
	static const char names[] = "abcdefghijklmnopqrstuvwxyz0123456789._-";
	static const char ids[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
	const char *key = json_get_string(o, "key");
	l->name = take_word(o, "name", NAME_LEN, names);
	l->environment = take_word(o, "environment", NAME_LEN, names);
	l->deployment = take_word(o, "deployment", ID_LEN, ids);
	l->committed_ms = json_get_int(o, "committed_ms", -1);
	return l->name && l->environment && l->deployment && l->committed_ms >= 0 && take_digests(o, &l->digests) &&
	       key && ed25519_key_read(key, l->key, NULL) == 0 &&
	       take_bytes(o, "signature", l->signature, sizeof(l->signature));
}

static int check_format(const json_t *o, struct err *err)
{
	int64_t format = json_get_int(o, "format", 0);
	if (format > PASSED_FORMAT)
		return err_set(err, ERR_UNSUPPORTED, "the record has the format %" PRId64 "; this program reads %d",
		               format, PASSED_FORMAT);
	return format == PASSED_FORMAT ? 0 : ERR_INVALID;
}

static void drop(struct passed *p, size_t at)
{
	passed_line_done(&p->items[at]);
	p->count--;
	memmove(&p->items[at], &p->items[at + 1], (p->count - at) * sizeof(*p->items));
}

static void append(struct passed *p, struct passed_line *line)
{
	if (p->count == PASSED_LINES)
		drop(p, 0);
	p->items = xgrow(p->items, &p->cap, p->count + 1, sizeof(*p->items));
	p->items[p->count++] = *line;
	*line = (struct passed_line){0};
}

static int read_line(struct passed *p, const char *text, size_t len, struct err *err)
{
	_cleanup_(passed_line_done) struct passed_line line = {0};
	_cleanup_json_ json_t *o = NULL;
	int r = json_parse(text, len, LINE_MAX_BYTES, &o, NULL);
	if (r == 0)
		r = check_format(o, err);
	if (r == ERR_UNSUPPORTED)
		return r;
	if (r == 0 && take_line(o, &line))
		append(p, &line);
	else
		p->damaged++;
	return 0;
}

int passed_read(const char *text, size_t len, struct passed *ret, struct err *err)
{
	int r = 0;
	*ret = (struct passed){0};
	for (const char *at = text, *end = text + len; r == 0 && at < end;) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		size_t size = (size_t)((newline ? newline : end) - at);
		if (size > 0)
			r = read_line(ret, at, size, err);
		at += size + 1;
	}
	if (r < 0)
		passed_done(ret);
	return r;
}

/* ---- writing ---- */

void passed_add(struct passed *p, struct passed_line *line)
{
	for (size_t i = p->count; i-- > 0;)
		if (strcmp(p->items[i].deployment, line->deployment) == 0 &&
		    memcmp(p->items[i].key, line->key, sizeof(line->key)) == 0)
			drop(p, i);
	append(p, line);
}

static json_t *line_json(const struct passed_line *l)
{
	_cleanup_(str_done) struct str key = STR_INIT(256), signature = STR_INIT(256);
	json_t *digests = json_array();
	for (size_t i = 0; i < l->digests.count; i++)
		json_array_append_new(digests, json_string(l->digests.items[i]));
	ed25519_key_write(l->key, &key);
	base64_encode(l->signature, sizeof(l->signature), &signature);
	return json_pack("{s:i, s:s, s:s, s:s, s:I, s:o, s:s, s:s}", "format", PASSED_FORMAT, "name", l->name,
	                 "environment", l->environment, "deployment", l->deployment, "committed_ms",
	                 (json_int_t)l->committed_ms, "digests", digests, "key", str_peek(&key), "signature",
	                 str_peek(&signature));
}

void passed_write(const struct passed *p, struct str *out)
{
	for (size_t i = 0; i < p->count; i++) {
		_cleanup_json_ json_t *o = line_json(&p->items[i]);
		_cleanup_free_ char *text = json_text(o);
		str_append(out, text);
		str_append_c(out, '\n');
	}
}

/* ---- signing ---- */

void passed_statement(const struct passed_line *l, struct str *out)
{
	str_appendf(out, "davit passed %d\n%s\n%s\n%s\n%" PRId64 "\n", PASSED_FORMAT, l->name, l->environment,
	            l->deployment, l->committed_ms);
	for (size_t i = 0; i < l->digests.count; i++)
		str_appendf(out, "%s\n", l->digests.items[i]);
}

int passed_sign(struct passed_line *l, const struct ed25519_pair *pair, struct err *err)
{
	_cleanup_(str_done) struct str text = STR_INIT(STATEMENT_MAX);
	passed_statement(l, &text);
	memcpy(l->key, pair->key, sizeof(l->key));
	return ed25519_sign(pair, str_peek(&text), text.len, l->signature, err);
}

bool passed_is_signed(const struct passed_line *l)
{
	_cleanup_(str_done) struct str text = STR_INIT(STATEMENT_MAX);
	passed_statement(l, &text);
	return !text.failed && ed25519_is_signed(l->key, l->signature, str_peek(&text), text.len);
}

bool passed_has(const struct passed_line *l, const char *digest)
{
	return strv_has(&l->digests, digest);
}
