#include "base/data/json.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include <malloc.h>

enum { JSON_LOAD_FLAGS = JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL };

static void dump_failed(void)
{
	/* Only out of memory, or a value that contains itself: a fault of ours. */
	fputs("davit: a JSON value cannot be written\n", stderr);
	abort();
}

/* The first byte after the string that starts at data[i]; len when it does not end. */
static size_t skip_string(const char *data, size_t len, size_t i)
{
	for (i++; i < len; i++) {
		if (data[i] == '\\')
			i++;
		else if (data[i] == '"')
			return i + 1;
	}
	return len;
}

static int check_depth(const char *data, size_t len, struct err *err)
{
	size_t depth = 0;
	for (size_t i = 0; i < len; i++) {
		if (data[i] == '"') {
			i = skip_string(data, len, i) - 1;
		} else if (data[i] == '[' || data[i] == '{') {
			if (++depth > JSON_MAX_DEPTH)
				return err_set(err, ERR_LIMIT, "JSON is nested deeper than %d levels",
				               (int)JSON_MAX_DEPTH);
		} else if ((data[i] == ']' || data[i] == '}') && depth > 0) {
			depth--;
		}
	}
	return 0;
}

static bool is_number_char(char c)
{
	return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

/* True if the integer literal fits json_int_t, or is not a plain integer and so is left alone. */
static bool fits_integer(const char *text, size_t len)
{
	bool negative = len > 0 && text[0] == '-';
	unsigned long long value = 0, limit = negative ? (unsigned long long)INT64_MAX + 1 : INT64_MAX;
	for (size_t i = negative; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return true;
		unsigned digit = (unsigned)(text[i] - '0');
		if (value > (limit - digit) / 10)
			return false;
		value = value * 10 + digit;
	}
	return true;
}

/* jansson refuses integers beyond 64 bits, or reads all of them as reals. So those that do not fit get an exponent. */
static void widen_integers(const char *data, size_t len, struct str *out)
{
	size_t i = 0;
	while (i < len) {
		size_t end = i + 1;
		bool number = (data[i] >= '0' && data[i] <= '9') || data[i] == '-';
		if (data[i] == '"') {
			end = skip_string(data, len, i);
		} else if (number) {
			while (end < len && is_number_char(data[end]))
				end++;
		}
		str_append_n(out, data + i, end - i);
		if (number && !fits_integer(data + i, end - i))
			str_append(out, "e0");
		i = end;
	}
}

static int load_failed(const json_error_t *e, struct err *err)
{
	if (json_error_code(e) == json_error_numeric_overflow)
		return err_set(err, ERR_LIMIT, "JSON, line %d, column %d: a number beyond what a real can hold",
		               e->line, e->column);
	return err_set(err, ERR_INVALID, "JSON, line %d, column %d: %s", e->line, e->column, e->text);
}

int json_parse(const char *data, size_t len, size_t max, json_t **ret, struct err *err)
{
	if (len > max)
		return err_set(err, ERR_LIMIT, "JSON of %zu bytes is larger than %zu", len, max);
	/* jansson ignores a raw NUL after a number. */
	const char *nul = len > 0 ? memchr(data, '\0', len) : NULL;
	if (nul != NULL)
		return err_set(err, ERR_INVALID, "JSON, byte %td: a NUL that is not escaped", nul - data);
	int r = check_depth(data, len, err);
	if (r < 0)
		return r;
	json_error_t e;
	json_t *value = json_loadb(data, len, JSON_LOAD_FLAGS, &e);
	if (value == NULL && json_error_code(&e) == json_error_numeric_overflow) {
		/* Worst case: two bytes more for each integer of 19 digits. */
		_cleanup_(str_done) struct str wide = {.max = len + len / 8 + 16, .wipe = true};
		widen_integers(data, len, &wide);
		value = json_loadb(str_peek(&wide), wide.len, JSON_LOAD_FLAGS, &e);
	}
	if (value == NULL)
		return load_failed(&e, err);
	*ret = value;
	return 0;
}

/* jansson writes C1 characters and marks of direction as they are: on a terminal they command. Outside of strings there are none.
 * A chunk never ends within a character. */
static int append_chunk(const char *buffer, size_t size, void *context)
{
	size_t from = 0;
	for (size_t i = 0; i < size; i++) {
		unsigned code;
		size_t n = (unsigned char)buffer[i] >= 0x7f ? str_unseen(buffer + i, size - i, &code) : 0;
		if (n == 0)
			continue;
		str_append_n(context, buffer + from, i - from);
		str_appendf(context, "\\u%04x", code);
		from = i + n;
		i += n - 1;
	}
	return str_append_n(context, buffer + from, size - from) ? 0 : -1;
}

static bool dump(const json_t *value, size_t flags, struct str *out)
{
	return json_dump_callback(value, append_chunk, out, flags | JSON_ENCODE_ANY) == 0 && !out->failed;
}

static char *dump_whole(const json_t *value, size_t flags)
{
	struct str out = STR_SECRET_INIT(SIZE_MAX / 4);
	if (!dump(value, flags, &out))
		dump_failed();
	return str_take(&out);
}

char *json_text(const json_t *value)
{
	return dump_whole(value, JSON_COMPACT);
}

char *json_pretty(const json_t *value)
{
	return dump_whole(value, JSON_INDENT(2));
}

bool json_text_secret(const json_t *value, struct str *out)
{
	return dump(value, JSON_COMPACT, out);
}

static void canonical_real(double value, struct str *out)
{
	if (value == floor(value) && fabs(value) < 9.2e18) {
		str_appendf(out, "%lld", (long long)value);
		return;
	}
	char text[64];
	for (int precision = 1; precision <= 17; precision++) {
		snprintf(text, sizeof(text), "%.*g", precision, value);
		if (strtod(text, NULL) == value)
			break;
	}
	str_append(out, text);
}

static int compare_keys(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void canonical(const json_t *value, struct str *out);

static void canonical_object(const json_t *object, struct str *out)
{
	size_t count = 0;
	_cleanup_free_ const char **keys = xcalloc(json_object_size(object), sizeof(*keys));
	const char *key;
	json_t *member;
	json_object_foreach((json_t *)object, key, member) keys[count++] = key;
	qsort(keys, count, sizeof(*keys), compare_keys);
	str_append_c(out, '{');
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			str_append_c(out, ',');
		json_t *name = json_string_nocheck(keys[i]);
		canonical(name, out);
		json_decref(name);
		str_append_c(out, ':');
		canonical(json_object_get(object, keys[i]), out);
	}
	str_append_c(out, '}');
}

static void canonical(const json_t *value, struct str *out)
{
	if (json_is_object(value)) {
		canonical_object(value, out);
	} else if (json_is_array(value)) {
		str_append_c(out, '[');
		for (size_t i = 0; i < json_array_size(value); i++) {
			if (i > 0)
				str_append_c(out, ',');
			canonical(json_array_get(value, i), out);
		}
		str_append_c(out, ']');
	} else if (json_is_real(value)) {
		canonical_real(json_real_value(value), out);
	} else {
		/* Digests that are kept were made of raw characters. */
		_cleanup_free_ char *text = json_dumps(value, JSON_ENCODE_ANY);
		if (text == NULL)
			dump_failed();
		str_append(out, text);
	}
}

char *json_canonical(const json_t *value)
{
	struct str out = STR_INIT(SIZE_MAX / 4);
	canonical(value, &out);
	return str_take(&out);
}

const char *json_get_string(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

int64_t json_get_int(const json_t *object, const char *key, int64_t otherwise)
{
	const json_t *value = json_object_get(object, key);
	return json_is_integer(value) ? (int64_t)json_integer_value(value) : otherwise;
}

bool json_get_bool(const json_t *object, const char *key, bool otherwise)
{
	const json_t *value = json_object_get(object, key);
	return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

json_t *json_get_object(const json_t *object, const char *key)
{
	json_t *value = json_object_get(object, key);
	return json_is_object(value) ? value : NULL;
}

json_t *json_get_array(const json_t *object, const char *key)
{
	json_t *value = json_object_get(object, key);
	return json_is_array(value) ? value : NULL;
}

json_t *json_stringf(const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list args;
	va_start(args, fmt);
	int n = vasprintf(&text, fmt, args);
	va_end(args);
	if (n < 0)
		dump_failed();
	return json_string_lossy(text, (size_t)n);
}

json_t *json_string_lossy(const char *data, size_t len)
{
	if (str_is_utf8(data, len))
		return json_stringn_nocheck(data, len);
	struct str out = STR_INIT(SIZE_MAX / 4);
	size_t i = 0;
	while (i < len) {
		/* The longest valid sequence that starts here has at most four bytes. */
		size_t n = 1, max = MIN(len - i, (size_t)4);
		while (n <= max && !str_is_utf8(data + i, n))
			n++;
		if (n <= max) {
			str_append_n(&out, data + i, n);
			i += n;
		} else {
			str_append(&out, "\xef\xbf\xbd");
			i++;
		}
	}
	json_t *value = json_stringn_nocheck(str_peek(&out), out.len);
	str_done(&out);
	return value;
}

void json_set_string(json_t *object, const char *key, const char *value)
{
	if (value != NULL)
		json_object_set_new(object, key, json_string_lossy(value, strlen(value)));
}

static void free_wiped(void *p)
{
	if (p != NULL)
		explicit_bzero(p, malloc_usable_size(p));
	free(p);
}

void json_wipe_freed(void)
{
	json_set_alloc_funcs(malloc, free_wiped);
}
