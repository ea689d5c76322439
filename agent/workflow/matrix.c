#include "agent/workflow/matrix.h"

#include "agent/expr/expr.h"

#include <string.h>

enum { SUFFIX_MAX = 100 };

static bool is_vector(const char *key)
{
	return strcmp(key, "include") != 0 && strcmp(key, "exclude") != 0;
}

/* 18 and 18.0 are one number. */
static bool same(const json_t *a, const json_t *b)
{
	if (json_is_number(a) && json_is_number(b))
		return json_number_value(a) == json_number_value(b);
	return json_equal(a, b);
}

/* Each combination with each value of a further vector: the first vector changes slowest. */
static int multiply(json_t **combinations, const char *key, const json_t *values, struct err *err)
{
	if (!json_is_array(values) || json_array_size(values) == 0)
		return err_set(err, ERR_INVALID, "Matrix vector '%.60s' does not contain any values", key);
	if (json_array_size(*combinations) * json_array_size(values) > MATRIX_MAX * MATRIX_MAX)
		return err_set(err, ERR_LIMIT, "the matrix has more than %d combinations", MATRIX_MAX * MATRIX_MAX);
	json_t *product = json_array(), *one, *value;
	size_t i, k;
	json_array_foreach(*combinations, i, one) json_array_foreach((json_t *)(uintptr_t)values, k, value)
	{
		json_t *next = json_copy(one);
		json_object_set(next, key, value);
		json_array_append_new(product, next);
	}
	json_decref(*combinations);
	*combinations = product;
	return 0;
}

static int product_of(const json_t *matrix, json_t **ret, size_t *ret_vectors, struct err *err)
{
	const char *key;
	json_t *values, *combinations = json_pack("[{}]");
	int r = 0;
	*ret_vectors = 0;
	json_object_foreach((json_t *)(uintptr_t)matrix, key, values)
	{
		if (r < 0 || !is_vector(key))
			continue;
		(*ret_vectors)++;
		r = multiply(&combinations, key, values, err);
	}
	if (*ret_vectors == 0)
		json_array_clear(combinations);
	if (r < 0)
		json_decref(combinations);
	else
		*ret = combinations;
	return r;
}

static json_t *list_of(const json_t *matrix, const char *key, int *r, struct err *err)
{
	json_t *list = json_object_get(matrix, key), *entry;
	size_t i;
	if (list != NULL && !json_is_array(list) && !json_is_null(list))
		*r = err_set(err, ERR_INVALID, "'%s' of a matrix must be a list of maps", key);
	json_array_foreach(list, i, entry) if (!json_is_object(entry)) *r =
		err_set(err, ERR_INVALID, "an entry of '%s' of a matrix must be a map", key);
	return json_is_array(list) ? list : NULL;
}

static bool holds_all(const json_t *one, const json_t *entry)
{
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)entry, key, value)
	{
		const json_t *own = json_object_get(one, key);
		if (own == NULL || !same(own, value))
			return false;
	}
	return true;
}

static int exclude(const json_t *matrix, json_t *combinations, struct err *err)
{
	int r = 0;
	json_t *list = list_of(matrix, "exclude", &r, err), *entry, *value;
	const char *key;
	size_t i;
	if (r < 0)
		return r;
	json_array_foreach(list, i, entry)
	{
		json_object_foreach(entry, key, value) if (
			!is_vector(key) ||
			json_object_get(matrix, key) ==
				NULL) return err_set(err, ERR_INVALID,
		                                     "Matrix exclude key '%.60s' does not match any key within the matrix",
		                                     key);
		for (size_t n = json_array_size(combinations); n-- > 0;)
			if (holds_all(json_array_get(combinations, n), entry))
				json_array_remove(combinations, n);
	}
	return 0;
}

/* True if it would change no value of a vector. What an earlier entry added may be changed. */
static bool fits(const json_t *matrix, const json_t *one, const json_t *entry)
{
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)entry, key,
	                    value) if (is_vector(key) && json_object_get(matrix, key) != NULL &&
	                               !same(json_object_get(one, key), value)) return false;
	return true;
}

static int include(const json_t *matrix, json_t *combinations, size_t vectors, struct err *err)
{
	int r = 0;
	json_t *list = list_of(matrix, "include", &r, err), *entry;
	size_t i, originals = vectors > 0 ? json_array_size(combinations) : 0;
	if (r < 0)
		return r;
	json_array_foreach(list, i, entry)
	{
		bool added = false;
		for (size_t n = 0; n < originals; n++) {
			json_t *one = json_array_get(combinations, n);
			if (!fits(matrix, one, entry))
				continue;
			json_object_update(one, entry);
			added = true;
		}
		if (!added)
			json_array_append_new(combinations, json_copy(entry));
	}
	return 0;
}

int matrix_expand(const json_t *matrix, json_t **ret, struct err *err)
{
	_cleanup_json_ json_t *combinations = NULL;
	size_t vectors;
	if (!json_is_object(matrix))
		return err_set(err, ERR_INVALID, "a matrix must be a map");
	int r = product_of(matrix, &combinations, &vectors, err);
	if (r == 0)
		r = exclude(matrix, combinations, err);
	if (r == 0)
		r = include(matrix, combinations, vectors, err);
	if (r == 0 && json_array_size(combinations) > MATRIX_MAX)
		r = err_set(err, ERR_LIMIT, "the matrix has %zu combinations; at most %d are allowed",
		            json_array_size(combinations), MATRIX_MAX);
	if (r == 0)
		*ret = TAKE(combinations);
	return r;
}

static void add_leaves(const json_t *value, struct str *out)
{
	const char *key;
	size_t i;
	json_t *inner;
	json_object_foreach((json_t *)(uintptr_t)value, key, inner) add_leaves(inner, out);
	json_array_foreach((json_t *)(uintptr_t)value, i, inner) add_leaves(inner, out);
	if (json_is_object(value) || json_is_array(value) || json_is_null(value))
		return;
	struct expr_value v = EXPR_VALUE_INIT;
	if (out->len > 0)
		str_append(out, ", ");
	expr_value_from_json(value, &v);
	expr_value_text(&v, out);
	expr_value_done(&v);
}

char *matrix_suffix(const json_t *leg)
{
	_cleanup_(str_done) struct str out = STR_INIT(1 << 20);
	add_leaves(leg, &out);
	if (out.len > SUFFIX_MAX) {
		str_truncate(&out, str_whole_characters(str_peek(&out), SUFFIX_MAX - 3));
		str_append(&out, "...");
	}
	return str_take(&out);
}
