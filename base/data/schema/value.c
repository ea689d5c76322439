#include "base/data/schema/schema_priv.h"

#include <math.h>
#include <stdio.h>

__extension__ typedef unsigned __int128 u128;

unsigned value_type(const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_NULL:
		return TYPE_NULL;
	case JSON_TRUE:
	case JSON_FALSE:
		return TYPE_BOOLEAN;
	case JSON_INTEGER:
		return TYPE_INTEGER | TYPE_NUMBER;
	case JSON_REAL:
		return json_real_value(value) == floor(json_real_value(value)) ? TYPE_INTEGER | TYPE_NUMBER
		                                                               : TYPE_NUMBER;
	case JSON_STRING:
		return TYPE_STRING;
	case JSON_ARRAY:
		return TYPE_ARRAY;
	case JSON_OBJECT:
		return TYPE_OBJECT;
	}
	return 0;
}

size_t value_code_points(const char *text, size_t len)
{
	size_t count = 0;
	for (size_t i = 0; i < len; i++)
		count += (text[i] & 0xc0) != 0x80;
	return count;
}

/* Exact: long double holds every 64-bit integer on x86-64 and arm64. */
static long double number(const json_t *value)
{
	return json_is_integer(value) ? (long double)json_integer_value(value) : (long double)json_real_value(value);
}

static int compare_numbers(const json_t *a, const json_t *b)
{
	long double x = number(a), y = number(b);
	return x < y ? -1 : x > y;
}

static int compare_texts(const char *a, size_t a_len, const char *b, size_t b_len)
{
	int r = memcmp(a, b, MIN(a_len, b_len));
	if (r != 0)
		return r;
	return a_len < b_len ? -1 : a_len > b_len;
}

static int compare_arrays(const json_t *a, const json_t *b)
{
	size_t count = json_array_size(a);
	if (count != json_array_size(b))
		return count < json_array_size(b) ? -1 : 1;
	for (size_t i = 0; i < count; i++) {
		int r = value_compare(json_array_get(a, i), json_array_get(b, i));
		if (r != 0)
			return r;
	}
	return 0;
}

static int compare_keys(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static const char **sorted_keys(const json_t *object)
{
	const char **keys = xcalloc(json_object_size(object), sizeof(*keys)), *key;
	size_t count = 0;
	json_t *member;
	json_object_foreach((json_t *)object, key, member) keys[count++] = key;
	qsort(keys, count, sizeof(*keys), compare_keys);
	return keys;
}

static int compare_objects(const json_t *a, const json_t *b)
{
	size_t count = json_object_size(a);
	if (count != json_object_size(b))
		return count < json_object_size(b) ? -1 : 1;
	_cleanup_free_ const char **x = sorted_keys(a);
	_cleanup_free_ const char **y = sorted_keys(b);
	for (size_t i = 0; i < count; i++) {
		int r = strcmp(x[i], y[i]);
		if (r != 0)
			return r;
	}
	for (size_t i = 0; i < count; i++) {
		int r = value_compare(json_object_get(a, x[i]), json_object_get(b, x[i]));
		if (r != 0)
			return r;
	}
	return 0;
}

static int rank(const json_t *value)
{
	return json_is_real(value) ? JSON_INTEGER : (int)json_typeof(value);
}

int value_compare(const json_t *a, const json_t *b)
{
	if (a == b)
		return 0;
	if (rank(a) != rank(b))
		return rank(a) < rank(b) ? -1 : 1;
	if (json_is_number(a))
		return compare_numbers(a, b);
	if (json_is_string(a))
		return compare_texts(json_string_value(a), json_string_length(a), json_string_value(b),
		                     json_string_length(b));
	if (json_is_array(a))
		return compare_arrays(a, b);
	return json_is_object(a) ? compare_objects(a, b) : 0;
}

static int compare_items(const void *a, const void *b)
{
	return value_compare(*(const json_t *const *)a, *(const json_t *const *)b);
}

bool value_has_duplicates(const json_t *array)
{
	size_t count = json_array_size(array);
	_cleanup_free_ const json_t **items = xcalloc(count, sizeof(*items));
	for (size_t i = 0; i < count; i++)
		items[i] = json_array_get(array, i);
	qsort(items, count, sizeof(*items), compare_items);
	for (size_t i = 1; i < count; i++)
		if (value_compare(items[i - 1], items[i]) == 0)
			return true;
	return false;
}

/* A number as the written decimal: mantissa * 10^exponent. The shortest form of a real is what a person wrote. */
struct decimal {
	uint64_t mantissa;
	int exponent;
};

static struct decimal decimal_of(const json_t *value)
{
	if (json_is_integer(value)) {
		long long i = json_integer_value(value);
		return (struct decimal){i < 0 ? 0 - (uint64_t)i : (uint64_t)i, 0};
	}
	char text[64];
	double real = fabs(json_real_value(value));
	for (int precision = 0; precision <= 16; precision++) {
		snprintf(text, sizeof(text), "%.*e", precision, real);
		if (strtod(text, NULL) == real)
			break;
	}
	struct decimal d = {0, 0};
	const char *p = text;
	int fraction = 0;
	for (bool behind = false; *p != '\0' && *p != 'e'; p++) {
		if (*p < '0' || *p > '9') {
			behind = true;
			continue;
		}
		d.mantissa = d.mantissa * 10 + (uint64_t)(*p - '0');
		fraction += behind;
	}
	d.exponent = (*p == 'e' ? (int)strtol(p + 1, NULL, 10) : 0) - fraction;
	return d;
}

static bool divides_scaled_up(const struct decimal *a, const struct decimal *b, int power)
{
	u128 rest = a->mantissa % b->mantissa;
	for (; power > 0 && rest != 0; power--)
		rest = rest * 10 % b->mantissa;
	return rest == 0;
}

static bool divides_scaled_down(const struct decimal *a, const struct decimal *b, int power)
{
	u128 divisor = b->mantissa;
	for (; power > 0; power--) {
		divisor *= 10;
		if (divisor > a->mantissa)
			return false;
	}
	return a->mantissa % divisor == 0;
}

bool value_is_multiple(const json_t *value, const json_t *of)
{
	struct decimal a = decimal_of(value), b = decimal_of(of);
	if (a.mantissa == 0)
		return true;
	int power = a.exponent - b.exponent;
	return power >= 0 ? divides_scaled_up(&a, &b, power) : divides_scaled_down(&a, &b, -power);
}
