#include "base/data/fields/fields_priv.h"
#include "base/data/schema/pattern.h"
#include "base/data/schema/compile.h"

#include <math.h>
#include <stdio.h>

static size_t code_points(const char *text, size_t len)
{
	size_t count = 0;
	for (size_t i = 0; i < len; i++)
		count += (text[i] & 0xc0) != 0x80;
	return count;
}

static int matches(struct field_reader *r, const char *pattern, const char *text, size_t len, bool *ret)
{
	_cleanup_(pattern_freep) struct pattern *p = NULL;
	int rc = pattern_compile(pattern, strlen(pattern), &p, r->err);
	if (rc == 0)
		rc = pattern_match(p, text, len, r->err);
	if (rc < 0)
		return err_wrap(r->err, rc, "%s", str_peek(&r->pointer));
	*ret = rc == 1;
	return 0;
}

static bool is_value(const struct field *f, const char *text, int *ret_index)
{
	for (size_t i = 0; i < f->value_count; i++) {
		if (strcmp(f->values[i], text) == 0) {
			*ret_index = (int)i;
			return true;
		}
	}
	return false;
}

static void fault_values(struct field_reader *r, const struct field *f, const char *text)
{
	_cleanup_(str_done) struct str names = STR_INIT(4096);
	for (size_t i = 0; i < f->value_count; i++)
		str_appendf(&names, "%s'%s'", i ? ", " : "", f->values[i]);
	if (f->secret) {
		field_fault(r, "must be one of %s", str_peek(&names));
		return;
	}
	const char *nearest = str_nearest(text, f->values, f->value_count);
	field_fault(r, "must be one of %s, not '%.80s'", str_peek(&names), text);
	if (nearest != NULL)
		faults_hint(r->faults, "did you mean '%s'?", nearest);
}

int field_read_text(struct field_reader *r, const struct field *f, const json_t *value, const char **ret)
{
	if (!json_is_string(value)) {
		field_fault(r, "must be a text, not %s", field_type_name(value));
		if (json_is_number(value) || json_is_boolean(value))
			faults_hint(r->faults, "put it in quotes");
		return 0;
	}
	const char *text = json_string_value(value);
	size_t len = json_string_length(value), points = code_points(text, len);
	int index;
	if (strlen(text) != len) {
		field_fault(r, "cannot hold a NUL character");
		return 0;
	}
	if (points < f->min_length) {
		field_fault(r, points == 0 ? "is empty" : "must have at least %zu characters", f->min_length);
		return 0;
	}
	if (f->max_length != FIELD_NONE && points > f->max_length) {
		field_fault(r, "must have at most %zu characters", f->max_length);
		return 0;
	}
	if (f->value_count > 0 && !is_value(f, text, &index)) {
		fault_values(r, f, text);
		return 0;
	}
	if (f->pattern != NULL) {
		bool ok = false;
		int rc = matches(r, f->pattern, text, len, &ok);
		if (rc < 0)
			return rc;
		if (!ok) {
			const char *words = pattern_in_words(f->pattern);
			field_fault(r, words ? "must be %s" : "does not match the pattern %s",
			            words ? words : f->pattern);
			return 0;
		}
	}
	*ret = arena_strndup(r->arena, text, len);
	return 0;
}

int field_read_enum(struct field_reader *r, const struct field *f, const json_t *value, int *ret)
{
	if (!json_is_string(value))
		field_fault(r, "must be a text, not %s", field_type_name(value));
	else if (!is_value(f, json_string_value(value), ret))
		fault_values(r, f, json_string_value(value));
	return 0;
}

/* unit: unit of the limits ("", " seconds"). */
static bool in_range(struct field_reader *r, const struct field *f, double value, const char *unit)
{
	if (f->has_minimum && (f->above_minimum ? value <= f->minimum : value < f->minimum)) {
		field_fault(r, "must be %s %.15g%s", f->above_minimum ? "more than" : "at least", f->minimum, unit);
		return false;
	}
	if (f->has_maximum && (f->below_maximum ? value >= f->maximum : value > f->maximum)) {
		field_fault(r, "must be %s %.15g%s", f->below_maximum ? "less than" : "at most", f->maximum, unit);
		return false;
	}
	return true;
}

/* 2.0 is a whole number too. */
static bool whole(const json_t *value, int64_t *ret)
{
	if (json_is_integer(value)) {
		*ret = json_integer_value(value);
		return true;
	}
	/* As in YAML with octal kept as written: 010 is 10, 0o10 is 8. */
	const char *text = json_string_value(value);
	if (text != NULL && text[0] == '0' && strlen(text) == json_string_length(value) && strlen(text) < 18) {
		bool octal = text[1] == 'o';
		const char *digits = octal ? text + 2 : text;
		*ret = strtoll(digits, NULL, octal ? 8 : 10);
		return digits[0] != '\0' && digits[1] + octal != '\0' &&
		       digits[strspn(digits, octal ? "01234567" : "0123456789")] == '\0';
	}
	double real = json_number_value(value);
	if (!json_is_real(value) || real != floor(real) || fabs(real) >= 9.2e18)
		return false;
	*ret = (int64_t)real;
	return true;
}

int field_read_integer(struct field_reader *r, const struct field *f, const json_t *value, int64_t *ret)
{
	int64_t number;
	if (!whole(value, &number))
		field_fault(r, "must be a whole number%s%s", json_is_number(value) ? "" : ", not ",
		            json_is_number(value) ? "" : field_type_name(value));
	else if (in_range(r, f, (double)number, ""))
		*ret = number;
	return 0;
}

int field_read_number(struct field_reader *r, const struct field *f, const json_t *value, double *ret)
{
	if (!json_is_number(value))
		field_fault(r, "must be a number, not %s", field_type_name(value));
	else if (in_range(r, f, json_number_value(value), ""))
		*ret = json_number_value(value);
	return 0;
}

int field_read_boolean(struct field_reader *r, const json_t *value, bool *ret)
{
	if (!json_is_boolean(value))
		field_fault(r, "must be true or false, not %s", field_type_name(value));
	else
		*ret = json_is_true(value);
	return 0;
}

int field_read_duration(struct field_reader *r, const struct field *f, const json_t *value, int64_t *ret_ms)
{
	long long ms = -1;
	if (json_is_string(value) && str_parse_duration_ms(json_string_value(value), &ms) < 0)
		ms = -1;
	if (json_is_number(value) && json_number_value(value) >= 0 && json_number_value(value) < 1e12)
		ms = llround(json_number_value(value) * 1000);
	if (ms < 0) {
		field_fault(r, "must be a duration such as 90s, 2m or 1h30m, or a number of seconds");
		return 0;
	}
	if (in_range(r, f, (double)ms / 1000, " seconds"))
		*ret_ms = ms;
	return 0;
}

int field_read_size(struct field_reader *r, const struct field *f, const json_t *value, int64_t *ret_bytes)
{
	int64_t bytes = -1;
	if (json_is_string(value) ? !str_parse_size(json_string_value(value), &bytes) : !whole(value, &bytes))
		bytes = -1;
	if (bytes < 0)
		field_fault(r, "must be a size such as 512K, 10M or 2G, or a number of bytes");
	else if (in_range(r, f, (double)bytes, " bytes"))
		*ret_bytes = bytes;
	return 0;
}

/* "0644", "644", "0o644": -1 when it is not of that form. */
static long octal_mode(const char *text)
{
	const char *digits = text[0] == '0' && text[1] == 'o' ? text + 2 : text;
	size_t len = strspn(digits, "01234567");
	if (digits[len] != '\0' || len < 3 || len > 5 || strtol(digits, NULL, 8) > 07777)
		return -1;
	return strtol(digits, NULL, 8);
}

/* "u=rw,go=r": classes that are not named get nothing. -1: not of that form. */
static long symbolic_mode(const char *p)
{
	long mode = 0;
	for (;;) {
		unsigned who = 0, bits = 0, special = 0;
		for (; *p == 'u' || *p == 'g' || *p == 'o' || *p == 'a'; p++)
			who |= *p == 'u' ? 4U : *p == 'g' ? 2U : *p == 'o' ? 1U : 7U;
		if (who == 0 || *p++ != '=')
			return -1;
		for (; *p != '\0' && *p != ','; p++) {
			switch (*p) {
			case 'r':
				bits |= 4;
				break;
			case 'w':
				bits |= 2;
				break;
			case 'x':
				bits |= 1;
				break;
			case 's':
				special |= who & 6;
				break;
			case 't':
				special |= 1;
				break;
			default:
				return -1;
			}
		}
		for (unsigned class = 0; class < 3; class ++)
			if (who & (4U >> class))
				mode = (mode & ~(07L << (6 - 3 * class)) & ~(04000L >> class)) |
				       (long)bits << (6 - 3 * class);
		mode |= (long)special << 9;
		if (*p == '\0')
			return mode;
		p++;
	}
}

int field_read_mode(struct field_reader *r, const json_t *value, int64_t *ret)
{
	const char *text = json_string_value(value);
	long mode = -1;
	if (text != NULL && strlen(text) == json_string_length(value)) {
		mode = octal_mode(text);
		if (mode < 0)
			mode = symbolic_mode(text);
	}
	if (mode >= 0) {
		*ret = mode;
		return 0;
	}
	/* A number does not tell how it was written: 0o644 and 420 are the same. */
	long long number = json_is_integer(value) ? json_integer_value(value) : -1;
	char digits[32];
	snprintf(digits, sizeof(digits), "%04lld", number);
	field_fault(r, "must be permissions in octal such as \"0644\"");
	if (number >= 0 && octal_mode(digits) >= 0)
		faults_hint(r->faults, "write \"%s\", with the zero and in quotes", digits);
	else
		faults_hint(r->faults, "0644, \"0644\", 0o644 and u=rw,go=r all mean the same");
	return 0;
}

unsigned field_json_type(const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_NULL:
		return FIELD_TYPE_NULL;
	case JSON_TRUE:
	case JSON_FALSE:
		return FIELD_TYPE_BOOLEAN;
	case JSON_INTEGER:
		return FIELD_TYPE_INTEGER | FIELD_TYPE_NUMBER;
	case JSON_REAL:
		return FIELD_TYPE_NUMBER;
	case JSON_STRING:
		return FIELD_TYPE_STRING;
	case JSON_ARRAY:
		return FIELD_TYPE_ARRAY;
	default:
		return FIELD_TYPE_OBJECT;
	}
}

const char *field_types_text(unsigned types)
{
	static const struct {
		unsigned type;
		const char *text;
	} names[] = {
		{FIELD_TYPE_OBJECT | FIELD_TYPE_ARRAY | FIELD_TYPE_STRING, "a map, a list or a text"},
		{FIELD_TYPE_OBJECT | FIELD_TYPE_ARRAY, "a map or a list"},
		{FIELD_TYPE_OBJECT | FIELD_TYPE_STRING, "a map or a text"},
		{FIELD_TYPE_ARRAY | FIELD_TYPE_STRING, "a list or a text"},
		{FIELD_TYPE_OBJECT, "a map"},
		{FIELD_TYPE_ARRAY, "a list"},
		{FIELD_TYPE_STRING, "a text"},
		{FIELD_TYPE_STRING | FIELD_TYPE_INTEGER, "a text or a whole number"},
		{FIELD_TYPE_STRING | FIELD_TYPE_BOOLEAN, "a text, true or false"},
		{FIELD_TYPE_ARRAY | FIELD_TYPE_INTEGER, "a whole number or a list"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i].type == types)
			return names[i].text;
	return "of another type";
}

static bool has_duplicate(const json_t *list)
{
	for (size_t i = 0; i < json_array_size(list); i++)
		for (size_t k = 0; k < i; k++)
			if (json_equal(json_array_get(list, i), json_array_get(list, k)))
				return true;
	return false;
}

int field_check_count(struct field_reader *r, const struct field *f, const json_t *value, const char *what)
{
	size_t count = json_is_array(value) ? json_array_size(value) : json_object_size(value);
	if (count < f->min_items)
		field_fault(r, count == 0 ? "is empty" : "must have at least %zu %s", f->min_items, what);
	else if (f->max_items != FIELD_NONE && count > f->max_items)
		field_fault(r, "must have at most %zu %s", f->max_items, what);
	else if (f->unique && has_duplicate(value))
		field_fault(r, "has the same entry twice");
	return 0;
}

int field_check_key(struct field_reader *r, const struct field *f, const char *key)
{
	bool ok = true;
	if (f->key_pattern == NULL)
		return 0;
	int rc = matches(r, f->key_pattern, key, strlen(key), &ok);
	const char *words = pattern_in_words(f->key_pattern);
	if (rc == 0 && !ok)
		field_fault(r, words ? "the name '%s' must be %s" : "the name '%s' does not match the pattern %s", key,
		            words ? words : f->key_pattern);
	return rc;
}

int field_check_schema(struct field_reader *r, const struct field *f, const json_t *value)
{
	_cleanup_json_ json_t *document = NULL;
	_cleanup_(schema_freep) struct schema *schema = NULL;
	int rc = json_parse(f->schema, strlen(f->schema), 1 << 20, &document, r->err);
	if (rc == 0)
		rc = schema_compile(document, NULL, &schema, r->err);
	if (rc < 0)
		return err_wrap(r->err, rc, "schema of '%s'", f->name);
	struct faults faults = {0};
	rc = schema_check(schema, value, NULL, &faults, r->err);
	size_t length = r->pointer.len;
	for (size_t i = 0; i < faults.count; i++) {
		str_append(&r->pointer, faults.items[i].pointer);
		field_fault(r, "%s", faults.items[i].text);
		if (faults.items[i].hint != NULL)
			faults_hint(r->faults, "%s", faults.items[i].hint);
		str_truncate(&r->pointer, length);
	}
	faults_done(&faults);
	return rc == ERR_INVALID ? 0 : rc;
}
