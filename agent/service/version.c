#include "agent/service/version.h"

#include <stdio.h>
#include <string.h>

#include "base/core/clock.h"
#include "base/data/json.h"
#include "base/secret/base64.h"

enum { PARTS = 3, PART_DIGITS = 6, SKEW_MS = 10 * 60 * 1000 };
static const char kind[] = "runner-version";

static bool read_parts(const char *text, long ret[PARTS])
{
	for (int i = 0; i < PARTS; i++) {
		size_t digits = strspn(text, "0123456789");
		if (digits == 0 || digits > PART_DIGITS)
			return false;
		ret[i] = strtol(text, NULL, 10);
		text += digits;
		if (*text++ != (i + 1 < PARTS ? '.' : '\0'))
			return false;
	}
	return true;
}

bool version_is_one(const char *text)
{
	long parts[PARTS];
	return text != NULL && strlen(text) < VERSION_SIZE && read_parts(text, parts);
}

bool version_is_newer(const char *one, const char *other)
{
	long a[PARTS] = {0}, b[PARTS] = {0};
	if (!read_parts(one, a) || !read_parts(other, b))
		return false;
	for (int i = 0; i < PARTS; i++)
		if (a[i] != b[i])
			return a[i] > b[i];
	return false;
}

/* *ret: 0 where the document has no such time. */
static int read_time(const json_t *document, const char *name, int64_t *ret, struct err *err)
{
	const json_t *value = json_object_get(document, name);
	*ret = 0;
	if (value == NULL || (json_is_string(value) && clock_parse_rfc3339(json_string_value(value), ret) == 0))
		return 0;
	return err_set(err, ERR_INVALID, "'%s' of the signed runner version is not a time", name);
}

static int read_document(const char *text, size_t len, struct signed_version *ret, struct err *err)
{
	_cleanup_json_ json_t *document = NULL;
	int r = json_parse(text, len, VERSION_DOCUMENT_MAX, &document, err);
	if (r < 0)
		return err_wrap(err, r, "read the signed runner version");
	/* What the same key signs for other ends is not taken for this. */
	const char *what = json_get_string(document, "davit"), *version = json_get_string(document, "version");
	ret->serial = json_get_int(document, "serial", 0);
	if (what == NULL || strcmp(what, kind) != 0 || !version_is_one(version) || ret->serial <= 0)
		return err_set(err, ERR_INVALID,
		               "what is signed is no runner version: it has davit (\"%s\"), serial (from 1) and "
		               "version (\"2.336.0\")",
		               kind);
	(void)snprintf(ret->version, sizeof(ret->version), "%s", version);
	r = read_time(document, "not_before", &ret->not_before_ms, err);
	return r < 0 ? r : read_time(document, "not_after", &ret->not_after_ms, err);
}

int version_read(const char *text, size_t len, const unsigned char key[ED25519_KEY_SIZE], struct signed_version *ret,
                 struct err *err)
{
	_cleanup_(str_done) struct str signature = STR_INIT(VERSION_DOCUMENT_MAX);
	const char *end = memchr(text, '\n', len);
	size_t first = end != NULL ? (size_t)(end - text) : len;
	*ret = (struct signed_version){0};
	if (len > VERSION_DOCUMENT_MAX || end == NULL ||
	    base64_decode(end + 1, len - first - 1, &signature, NULL) < 0 || signature.len != ED25519_SIGNATURE_SIZE)
		return err_set(err, ERR_INVALID,
		               "a signed runner version is a line of JSON and a line with the Base64 of its Ed25519 "
		               "signature");
	if (!ed25519_is_signed(key, (const unsigned char *)str_peek(&signature), text, first))
		return err_set(err, ERR_AUTH, "the runner version is not signed by the key of --version-key");
	return read_document(text, first, ret, err);
}

int version_check_time(const struct signed_version *v, int64_t now_ms, struct err *err)
{
	if (v->not_before_ms != 0 && now_ms + SKEW_MS < v->not_before_ms)
		return err_set(err, ERR_INVALID, "the signed runner version is not valid yet");
	if (v->not_after_ms != 0 && now_ms - SKEW_MS > v->not_after_ms)
		return err_set(err, ERR_INVALID, "the signed runner version is not valid any more");
	return 0;
}
