#include "agent/template/context_data.h"

#include "agent/expr/expr.h"
#include "agent/service/wire.h"

#include <math.h>
#include <string.h>
#include <strings.h>

json_t *context_data(const json_t *plain)
{
	if (!plain)
		return json_null();
	switch (json_typeof(plain)) {
	case JSON_OBJECT: {
		json_t *list = json_array();
		const char *key;
		json_t *value;
		json_object_foreach((json_t *)(uintptr_t)plain, key, value)
			json_array_append_new(list, json_pack("{s:s, s:o}", "k", key, "v", context_data(value)));
		json_t *out = json_pack("{s:i}", "t", 2);
		if (json_array_size(list))
			json_object_set_new(out, "d", list);
		else
			json_decref(list);
		return out;
	}
	case JSON_ARRAY: {
		json_t *list = json_array();
		size_t i;
		json_t *value;
		json_array_foreach(plain, i, value) json_array_append_new(list, context_data(value));
		json_t *out = json_pack("{s:i}", "t", 1);
		if (json_array_size(list))
			json_object_set_new(out, "a", list);
		else
			json_decref(list);
		return out;
	}
	case JSON_INTEGER:
	case JSON_REAL: {
		double number = json_number_value(plain);
		json_t *out = json_pack("{s:i}", "t", 4);
		if (number != 0)
			json_object_set_new(out, "n",
			                    floor(number) == number && fabs(number) < 1e15
			                            ? json_integer((json_int_t)number)
			                            : json_real(number));
		return out;
	}
	default:
		return json_deep_copy(plain);
	}
}

enum {
	DATA_TEXT = 0,
	DATA_ARRAY = 1,
	DATA_DICTIONARY = 2,
	DATA_BOOLEAN = 3,
	DATA_NUMBER = 4,
	DATA_EXACT_DICTIONARY = 5
};
enum { DATA_DEPTH_MAX = 100 };

static int decode(const json_t *data, int depth, json_t **ret, struct err *err);

static int decode_array(const json_t *data, int depth, json_t **ret, struct err *err)
{
	_cleanup_json_ json_t *list = json_array();
	size_t i;
	json_t *item;
	json_array_foreach(wire_get(data, "a"), i, item)
	{
		json_t *value;
		int r = decode(item, depth + 1, &value, err);
		if (r < 0)
			return r;
		json_array_append_new(list, value);
	}
	*ret = TAKE(list);
	return 0;
}

/* The spelling that `key` has in the map already. */
static const char *first_spelling(const json_t *map, const char *key)
{
	const char *other;
	json_t *value;
	if (json_object_get(map, key) != NULL)
		return key;
	json_object_foreach((json_t *)map, other, value) if (expr_same_text(other, key)) return other;
	return key;
}

static int decode_dictionary(const json_t *data, bool exact, int depth, json_t **ret, struct err *err)
{
	_cleanup_json_ json_t *map = json_object();
	size_t i;
	json_t *pair;
	json_array_foreach(wire_get(data, "d"), i, pair)
	{
		const char *key = wire_string(pair, "k");
		json_t *value;
		if (key == NULL)
			return err_set(err, ERR_PROTOCOL, "context data with a member that has no name");
		int r = decode(wire_get(pair, "v"), depth + 1, &value, err);
		if (r < 0)
			return r;
		json_object_set_new(map, exact ? key : first_spelling(map, key), value);
	}
	*ret = TAKE(map);
	return 0;
}

static json_t *decode_number(const json_t *number)
{
	double value = json_number_value(number);
	if (value == trunc(value) && fabs(value) <= ldexp(1, 53))
		return json_integer((json_int_t)value);
	return json_real(value);
}

static int decode(const json_t *data, int depth, json_t **ret, struct err *err)
{
	if (depth > DATA_DEPTH_MAX)
		return err_set(err, ERR_LIMIT, "context data of more than %d levels", DATA_DEPTH_MAX);
	if (json_is_array(data))
		return err_set(err, ERR_PROTOCOL, "a bare list in context data");
	if (!json_is_object(data)) {
		*ret = data != NULL ? json_incref((json_t *)data) : json_null();
		return 0;
	}
	const char *text = wire_string(data, "s");
	switch (wire_int(data, "t", DATA_TEXT)) {
	case DATA_TEXT:
		*ret = json_string(text != NULL ? text : "");
		return 0;
	case DATA_ARRAY:
		return decode_array(data, depth, ret, err);
	case DATA_DICTIONARY:
		return decode_dictionary(data, false, depth, ret, err);
	case DATA_BOOLEAN:
		*ret = json_boolean(wire_bool(data, "b", false));
		return 0;
	case DATA_NUMBER:
		*ret = decode_number(wire_get(data, "n"));
		return 0;
	case DATA_EXACT_DICTIONARY:
		return decode_dictionary(data, true, depth, ret, err);
	default:
		return err_set(err, ERR_PROTOCOL, "context data of an unknown type");
	}
}

int context_data_decode(const json_t *data, json_t **ret, struct err *err)
{
	return decode(data, 0, ret, err);
}
