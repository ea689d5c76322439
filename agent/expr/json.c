/* json: toJSON as the runner prints it, and fromJSON as lenient as its reader: comments, single quotes, names
 * without quotes, an extra comma. For names that differ in case only, the first spelling and the last value stay. */
#include "agent/expr/expr_priv.h"

#include <ctype.h>
#include <math.h>

static void append_escaped_byte(struct str *out, unsigned char c)
{
	static const char plain[] = "\b\f\n\r\t\"\\", letters[] = "bfnrt\"\\";
	const char *at = c != '\0' ? strchr(plain, c) : NULL;
	if (at != NULL)
		str_appendf(out, "\\%c", letters[at - plain]);
	else if (c < 0x20)
		str_appendf(out, "\\u%04x", c);
	else
		str_append_c(out, (char)c);
}

static void append_text(struct str *out, const char *p, size_t len)
{
	str_append_c(out, '"');
	for (size_t i = 0; i < len;) {
		if (len - i >= 2 && memcmp(p + i, "\xc2\x85", 2) == 0) {
			str_append(out, "\\u0085");
			i += 2;
		} else if (len - i >= 3 && memcmp(p + i, "\xe2\x80", 2) == 0 &&
		           (p[i + 2] == '\xa8' || p[i + 2] == '\xa9')) {
			str_append(out, p[i + 2] == '\xa8' ? "\\u2028" : "\\u2029");
			i += 3;
		} else {
			append_escaped_byte(out, (unsigned char)p[i++]);
		}
	}
	str_append_c(out, '"');
}

static void append_line(struct str *out, int depth)
{
	str_append_c(out, '\n');
	for (int i = 0; i < depth; i++)
		str_append(out, "  ");
}

static void append_json(struct str *out, const json_t *v, int depth);

static void append_object(struct str *out, const json_t *v, int depth)
{
	const char *key;
	json_t *member;
	bool first = true;
	str_append_c(out, '{');
	json_object_foreach((json_t *)v, key, member)
	{
		if (!first)
			str_append_c(out, ',');
		first = false;
		append_line(out, depth + 1);
		append_text(out, key, strlen(key));
		str_append(out, ": ");
		append_json(out, member, depth + 1);
	}
	if (!first)
		append_line(out, depth);
	str_append_c(out, '}');
}

static void append_array(struct str *out, const json_t *v, int depth)
{
	size_t i;
	json_t *member;
	str_append_c(out, '[');
	json_array_foreach(v, i, member)
	{
		if (i > 0)
			str_append_c(out, ',');
		append_line(out, depth + 1);
		append_json(out, member, depth + 1);
	}
	if (json_array_size(v) > 0)
		append_line(out, depth);
	str_append_c(out, ']');
}

static void append_json(struct str *out, const json_t *v, int depth)
{
	char buf[EXPR_NUMBER_SIZE];
	if (out->failed)
		return;
	if (json_is_object(v))
		append_object(out, v, depth);
	else if (json_is_array(v))
		append_array(out, v, depth);
	else if (json_is_string(v))
		append_text(out, json_string_value(v), json_string_length(v));
	else if (json_is_number(v))
		str_append(out, expr_number_text(json_number_value(v), buf));
	else
		str_append(out, json_is_true(v) ? "true" : json_is_false(v) ? "false" : "null");
}

bool json_to_string(const struct expr_value *v, struct str *out)
{
	char buf[EXPR_NUMBER_SIZE];
	switch (v->kind) {
	case EXPR_NULL:
		return str_append(out, "null");
	case EXPR_BOOLEAN:
		return str_append(out, v->boolean ? "true" : "false");
	case EXPR_NUMBER:
		return str_append(out, expr_number_text(v->number, buf));
	case EXPR_TEXT:
		append_text(out, v->text, v->text_len);
		return !out->failed;
	case EXPR_ARRAY:
	case EXPR_OBJECT:
		append_json(out, v->json, 0);
		return !out->failed;
	}
	return false;
}

struct reader {
	const char *text, *at, *end;
	int depth;
	struct err *err;
};

static int fault(struct reader *r, const char *what)
{
	int line = 1;
	const char *start = r->text;
	for (const char *p = r->text; p < r->at; p++) {
		if (*p == '\n') {
			line++;
			start = p + 1;
		}
	}
	return err_set(r->err, ERR_INVALID, "Error parsing fromJson: %s at line %d, column %td", what, line,
	               r->at - start + 1);
}

/* Blanks and both kinds of comments. */
static void skip(struct reader *r)
{
	for (;;) {
		while (r->at < r->end && isspace((unsigned char)*r->at))
			r->at++;
		if (r->end - r->at < 2 || r->at[0] != '/')
			return;
		if (r->at[1] == '/') {
			while (r->at < r->end && *r->at != '\n')
				r->at++;
		} else if (r->at[1] == '*') {
			const char *close = memmem(r->at + 2, (size_t)(r->end - r->at - 2), "*/", 2);
			r->at = close != NULL ? close + 2 : r->end;
		} else {
			return;
		}
	}
}

static bool read_hex4(struct reader *r, uint32_t *ret)
{
	if (r->end - r->at < 4)
		return false;
	uint32_t c = 0;
	for (int i = 0; i < 4; i++) {
		char d = r->at[i];
		if (!isxdigit((unsigned char)d))
			return false;
		c = c << 4 | (uint32_t)(isdigit((unsigned char)d) ? d - '0' : tolower((unsigned char)d) - 'a' + 10);
	}
	r->at += 4;
	*ret = c;
	return true;
}

static void append_utf8(struct str *out, uint32_t c)
{
	if (c < 0x80) {
		str_append_c(out, (char)c);
	} else if (c < 0x800) {
		str_append_c(out, (char)(0xc0 | c >> 6));
		str_append_c(out, (char)(0x80 | (c & 0x3f)));
	} else if (c < 0x10000) {
		str_append_c(out, (char)(0xe0 | c >> 12));
		str_append_c(out, (char)(0x80 | (c >> 6 & 0x3f)));
		str_append_c(out, (char)(0x80 | (c & 0x3f)));
	} else {
		str_append_c(out, (char)(0xf0 | c >> 18));
		str_append_c(out, (char)(0x80 | (c >> 12 & 0x3f)));
		str_append_c(out, (char)(0x80 | (c >> 6 & 0x3f)));
		str_append_c(out, (char)(0x80 | (c & 0x3f)));
	}
}

/* Reads after "\u". Half of a surrogate pair alone becomes U+FFFD. */
static int read_unicode(struct reader *r, struct str *out)
{
	uint32_t c, low;
	if (!read_hex4(r, &c))
		return fault(r, "a \\u that four hexadecimal digits do not follow");
	if (c >= 0xd800 && c < 0xdc00 && r->end - r->at >= 6 && r->at[0] == '\\' && r->at[1] == 'u') {
		const char *before = r->at;
		r->at += 2;
		if (read_hex4(r, &low) && low >= 0xdc00 && low < 0xe000) {
			append_utf8(out, 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00));
			return 0;
		}
		r->at = before;
	}
	append_utf8(out, c >= 0xd800 && c < 0xe000 ? 0xfffd : c);
	return 0;
}

static int read_escape(struct reader *r, struct str *out)
{
	static const char letters[] = "bfnrt\"\\/'", plain[] = "\b\f\n\r\t\"\\/'";
	if (r->at == r->end)
		return fault(r, "an unterminated text");
	char c = *r->at++;
	if (c == 'u')
		return read_unicode(r, out);
	const char *at = c != '\0' ? strchr(letters, c) : NULL;
	if (at == NULL)
		return fault(r, "an unknown escape");
	str_append_c(out, plain[at - letters]);
	return 0;
}

static int read_text(struct reader *r, struct str *out)
{
	char quote = *r->at++;
	while (r->at < r->end && *r->at != quote) {
		char c = *r->at++;
		if (c != '\\') {
			str_append_c(out, c);
			continue;
		}
		int e = read_escape(r, out);
		if (e < 0)
			return e;
	}
	if (r->at == r->end)
		return fault(r, "an unterminated text");
	r->at++;
	return out->failed ? fault(r, "a text too long") : 0;
}

static bool is_word_char(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '$' || c == '-' || (unsigned char)c >= 0x80;
}

static int read_name(struct reader *r, struct str *out)
{
	if (*r->at == '"' || *r->at == '\'')
		return read_text(r, out);
	const char *from = r->at;
	while (r->at < r->end && is_word_char(*r->at))
		r->at++;
	if (r->at == from)
		return fault(r, "no name of a member");
	str_append_n(out, from, (size_t)(r->at - from));
	return 0;
}

static int read_value(struct reader *r, json_t **ret);

/* `spellings` knows each name's first spelling by its folded form. */
static int set_member(struct reader *r, json_t *object, json_t *spellings, const struct str *name, json_t *value)
{
	_cleanup_(str_done) struct str folded = STR_INIT(EXPR_MEMORY_MAX);
	const char *key = str_peek(name);
	if (strlen(key) != name->len || !str_is_utf8(key, name->len)) {
		json_decref(value);
		return fault(r, "a member name with a NUL or invalid UTF-8");
	}
	expr_fold(key, name->len, &folded);
	const char *first = json_string_value(json_object_get(spellings, str_peek(&folded)));
	if (first == NULL) {
		json_object_set_new(spellings, str_peek(&folded), json_string(key));
		first = key;
	}
	json_object_set_new(object, first, value);
	return 0;
}

static int read_members(struct reader *r, json_t *object, json_t *spellings)
{
	for (;;) {
		_cleanup_(str_done) struct str name = STR_INIT(EXPR_MEMORY_MAX);
		skip(r);
		if (r->at < r->end && *r->at == '}')
			break;
		if (r->at == r->end)
			return fault(r, "an unterminated object");
		json_t *value = NULL;
		int e = read_name(r, &name);
		skip(r);
		if (e == 0 && (r->at == r->end || *r->at++ != ':'))
			e = fault(r, "no ':' after a name");
		if (e == 0)
			e = read_value(r, &value);
		if (e == 0)
			e = set_member(r, object, spellings, &name, value);
		if (e < 0)
			return e;
		skip(r);
		if (r->at < r->end && *r->at == ',')
			r->at++;
		else if (r->at == r->end || *r->at != '}')
			return fault(r, "neither ',' nor '}' after a member");
	}
	r->at++;
	return 0;
}

static int read_items(struct reader *r, json_t *array)
{
	for (;;) {
		skip(r);
		if (r->at < r->end && *r->at == ']')
			break;
		if (r->at == r->end)
			return fault(r, "an unterminated array");
		json_t *value;
		int e = read_value(r, &value);
		if (e < 0)
			return e;
		json_array_append_new(array, value);
		skip(r);
		if (r->at < r->end && *r->at == ',')
			r->at++;
		else if (r->at == r->end || *r->at != ']')
			return fault(r, "neither ',' nor ']' after an item");
	}
	r->at++;
	return 0;
}

static int read_nested(struct reader *r, json_t **ret)
{
	if (r->depth >= JSON_MAX_DEPTH)
		return fault(r, "more levels than are read");
	r->depth++;
	bool object = *r->at++ == '{';
	json_t *made = object ? json_object() : json_array();
	json_t *spellings = object ? json_object() : NULL;
	int e = object ? read_members(r, made, spellings) : read_items(r, made);
	json_decref(spellings);
	r->depth--;
	if (e < 0)
		json_decref(made);
	else
		*ret = made;
	return e;
}

/* All numbers are doubles; whole ones are kept as integers, as callers expect. NULL: not finite.
 */
static json_t *number_json(double number)
{
	if (number == trunc(number) && fabs(number) <= ldexp(1, 53) && !(number == 0 && signbit(number)))
		return json_integer((json_int_t)number);
	return json_real(number);
}

static int read_word(struct reader *r, json_t **ret)
{
	const char *from = r->at;
	while (r->at < r->end && (is_word_char(*r->at) || *r->at == '+' || *r->at == '.'))
		r->at++;
	size_t len = (size_t)(r->at - from);
	if (len == 4 && memcmp(from, "true", 4) == 0)
		*ret = json_true();
	else if (len == 5 && memcmp(from, "false", 5) == 0)
		*ret = json_false();
	else if (len == 4 && memcmp(from, "null", 4) == 0)
		*ret = json_null();
	else if (len > 0 && (isdigit((unsigned char)*from) || *from == '-' || *from == '+' || *from == '.'))
		*ret = number_json(text_to_number(from, len));
	else
		*ret = NULL;
	if (*ret != NULL)
		return 0;
	r->at = from;
	return fault(r, "an unexpected character");
}

static int read_value(struct reader *r, json_t **ret)
{
	skip(r);
	if (r->at == r->end)
		return fault(r, "nothing");
	if (*r->at == '{' || *r->at == '[')
		return read_nested(r, ret);
	if (*r->at == '"' || *r->at == '\'') {
		_cleanup_(str_done) struct str text = STR_SECRET_INIT(EXPR_MEMORY_MAX);
		int e = read_text(r, &text);
		if (e == 0)
			*ret = json_string_lossy(str_peek(&text), text.len);
		return e;
	}
	return read_word(r, ret);
}

/* NaN and infinities are only allowed at the top: JSON has no form for them further in. */
static bool read_special(const struct reader *r, struct expr_value *ret)
{
	const char *end = r->end;
	while (end > r->at && isspace((unsigned char)end[-1]))
		end--;
	size_t len = (size_t)(end - r->at);
	bool nan = len == 3 && memcmp(r->at, "NaN", 3) == 0;
	bool plus = len == 8 && memcmp(r->at, "Infinity", 8) == 0;
	bool minus = len == 9 && memcmp(r->at, "-Infinity", 9) == 0;
	if (nan || plus || minus)
		*ret = (struct expr_value){.kind = EXPR_NUMBER,
		                           .number = nan    ? (double)NAN
		                                     : plus ? (double)INFINITY
		                                            : -(double)INFINITY};
	return nan || plus || minus;
}

int json_from_string(const char *text, size_t len, struct expr_value *ret, struct err *err)
{
	struct reader r = {.text = text, .at = text, .end = text + len, .err = err};
	skip(&r);
	if (read_special(&r, ret))
		return 0;
	_cleanup_json_ json_t *value = NULL;
	int e = read_value(&r, &value);
	if (e < 0)
		return e;
	skip(&r);
	if (r.at < r.end)
		return fault(&r, "more text after the value");
	expr_value_from_json(value, ret);
	return 0;
}
