/* A value in an answer's JSON: found by its pointer (RFC 6901), compared by value. */
#include "base/data/json.h"
#include "base/core/shown.h"
#include "steps/health_gate/health_gate.h"

enum { SHOWN = 80 };

/* One token of a pointer, unescaped; *p moves behind it. free() */
static char *next_token(const char **p)
{
	_cleanup_(str_done) struct str token = STR_INIT(64 << 10);
	for ((*p)++; **p != '\0' && **p != '/'; (*p)++) {
		bool escaped = **p == '~' && ((*p)[1] == '0' || (*p)[1] == '1');
		if (escaped)
			(*p)++;
		str_append_c(&token, !escaped ? **p : **p == '0' ? '~' : '/');
	}
	return str_take(&token);
}

static const json_t *find(const json_t *value, const char *pointer)
{
	while (value != NULL && *pointer != '\0') {
		_cleanup_free_ char *token = next_token(&pointer);
		long long index;
		if (json_is_object(value))
			value = json_object_get(value, token);
		else if (json_is_array(value) && str_parse_i64(token, 0, INT32_MAX, &index))
			value = json_array_get(value, (size_t)index);
		else
			value = NULL;
	}
	return value;
}

static bool is_equal(const json_t *a, const json_t *b)
{
	if (json_is_integer(a) && json_is_integer(b))
		return json_integer_value(a) == json_integer_value(b);
	if (json_is_number(a) && json_is_number(b))
		return json_number_value(a) >= json_number_value(b) && json_number_value(a) <= json_number_value(b);
	return json_equal(a, b) == 1;
}

bool gate_json_holds(const struct health_gate_checks_json *in, const struct str *body, struct str *why)
{
	/* Some servers put a byte order mark in front, which a reader may pass over (RFC 8259, 8.1). */
	static const char mark[] = "\xef\xbb\xbf";
	_cleanup_json_ json_t *document = NULL;
	struct err err = ERR_INIT;
	char line[200];
	size_t skip = str_starts(str_peek(body), mark) ? strlen(mark) : 0;
	if (body->len >= GATE_BODY_MAX) {
		str_appendf(why, "the body is longer than %d KiB, too long to be read as JSON", GATE_BODY_MAX >> 10);
		return false;
	}
	if (json_parse(str_peek(body) + skip, body->len - skip, GATE_BODY_MAX, &document, &err) < 0) {
		str_appendf(why, "the body is not JSON: %s", err_line(&err, line, sizeof(line)));
		return false;
	}
	const json_t *is = find(document, in->pointer);
	const char *where = *in->pointer != '\0' ? in->pointer : "the body";
	if (is != NULL && is_equal(is, in->equals))
		return true;
	_cleanup_free_ char *wanted = json_text(in->equals), *text = is != NULL ? json_text(is) : NULL;
	_cleanup_free_ char *wanted_shown = shown_text(wanted, strlen(wanted), SHOWN);
	if (text == NULL) {
		str_appendf(why, "the body has no %s, wanted %s there", where, wanted_shown);
		return false;
	}
	_cleanup_free_ char *shown = shown_text(text, strlen(text), SHOWN);
	str_appendf(why, "%s is %s, wanted %s", where, shown, wanted_shown);
	return false;
}
