#include "providers/s3/answer.h"

#include <stdio.h>

enum { NAME_MAX_LEN = 64, ENTITY_MAX = 10 };

static const char *find(struct s3_text in, size_t at, const char *word)
{
	return at < in.len ? memmem(in.data + at, in.len - at, word, strlen(word)) : NULL;
}

bool s3_answer_next(struct s3_text xml, const char *name, size_t *at, struct s3_text *ret)
{
	char open[NAME_MAX_LEN], close[NAME_MAX_LEN];
	snprintf(open, sizeof(open), "<%s>", name);
	snprintf(close, sizeof(close), "</%s>", name);
	const char *begin = find(xml, *at, open);
	if (begin == NULL)
		return false;
	size_t from = (size_t)(begin - xml.data) + strlen(open);
	const char *end = find(xml, from, close);
	if (end == NULL)
		return false;
	*ret = (struct s3_text){xml.data + from, (size_t)(end - xml.data) - from};
	*at = (size_t)(end - xml.data) + strlen(close);
	return true;
}

static void append_code(unsigned long code, struct str *out)
{
	if (code < 0x80) {
		str_append_c(out, (char)code);
	} else if (code < 0x800) {
		str_append_c(out, (char)(0xc0 | code >> 6));
		str_append_c(out, (char)(0x80 | (code & 0x3f)));
	} else if (code < 0x10000) {
		str_append_c(out, (char)(0xe0 | code >> 12));
		str_append_c(out, (char)(0x80 | (code >> 6 & 0x3f)));
		str_append_c(out, (char)(0x80 | (code & 0x3f)));
	} else {
		str_append_c(out, (char)(0xf0 | code >> 18));
		str_append_c(out, (char)(0x80 | (code >> 12 & 0x3f)));
		str_append_c(out, (char)(0x80 | (code >> 6 & 0x3f)));
		str_append_c(out, (char)(0x80 | (code & 0x3f)));
	}
}

/* "&amp;": how long it is; 0: it is none. */
static size_t entity(const char *text, size_t len, struct str *out)
{
	static const struct {
		const char *name;
		char is;
	} known[] = {{"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}};
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		size_t n = strlen(known[i].name);
		if (len >= n && memcmp(text, known[i].name, n) == 0) {
			str_append_c(out, known[i].is);
			return n;
		}
	}
	const char *end = memchr(text, ';', MIN(len, (size_t)ENTITY_MAX));
	if (end == NULL || len < 4 || text[1] != '#')
		return 0;
	char digits[ENTITY_MAX + 1], *rest;
	bool hex = text[2] == 'x';
	snprintf(digits, sizeof(digits), "%.*s", (int)(end - text) - 2 - hex, text + 2 + hex);
	unsigned long code = strtoul(digits, &rest, hex ? 16 : 10);
	if (*digits == '\0' || *rest != '\0' || digits[0] == '+' || digits[0] == '-' || code == 0 || code > 0x10ffff ||
	    (code >= 0xd800 && code < 0xe000))
		return 0;
	append_code(code, out);
	return (size_t)(end - text) + 1;
}

bool s3_answer_text(struct s3_text xml, const char *name, struct str *out)
{
	struct s3_text in;
	size_t at = 0;
	if (!s3_answer_next(xml, name, &at, &in))
		return false;
	for (size_t i = 0; i < in.len;) {
		size_t n = in.data[i] == '&' ? entity(in.data + i, in.len - i, out) : 0;
		if (n == 0)
			str_append_c(out, in.data[i]);
		i += n ? n : 1;
	}
	return !out->failed;
}
