/* value: the conversions and comparisons of the language. */
#include "agent/expr/expr_priv.h"

#include <math.h>

enum { EXACT_INTEGERS = 53 };

void expr_value_done(struct expr_value *v)
{
	if (v->text != NULL)
		explicit_bzero(v->text, v->text_len);
	free(v->text);
	json_decref(v->json);
	*v = (struct expr_value)EXPR_VALUE_INIT;
}

void value_set_text(struct expr_value *v, const char *text, size_t len)
{
	*v = (struct expr_value){.kind = EXPR_TEXT, .text = xmalloc(len + 1), .text_len = len};
	if (len > 0)
		memcpy(v->text, text, len);
	v->text[len] = '\0';
}

void value_set_boolean(struct expr_value *v, bool boolean)
{
	*v = (struct expr_value){.kind = EXPR_BOOLEAN, .boolean = boolean};
}

void expr_value_from_json(const json_t *json, struct expr_value *ret)
{
	*ret = (struct expr_value)EXPR_VALUE_INIT;
	if (json_is_boolean(json)) {
		value_set_boolean(ret, json_is_true(json));
	} else if (json_is_number(json)) {
		ret->kind = EXPR_NUMBER;
		ret->number = json_number_value(json);
	} else if (json_is_string(json)) {
		value_set_text(ret, json_string_value(json), json_string_length(json));
	} else if (json_is_array(json) || json_is_object(json)) {
		ret->kind = json_is_array(json) ? EXPR_ARRAY : EXPR_OBJECT;
		ret->json = json_incref((json_t *)json);
	}
}

json_t *expr_value_json(const struct expr_value *v)
{
	char buf[EXPR_NUMBER_SIZE];
	switch (v->kind) {
	case EXPR_NULL:
		return json_null();
	case EXPR_BOOLEAN:
		return json_boolean(v->boolean);
	case EXPR_NUMBER:
		if (!isfinite(v->number))
			return json_string(expr_number_text(v->number, buf));
		if (v->number == trunc(v->number) && fabs(v->number) <= ldexp(1, EXACT_INTEGERS))
			return json_integer((json_int_t)v->number);
		return json_real(v->number);
	case EXPR_TEXT:
		return json_string_lossy(v->text, v->text_len);
	case EXPR_ARRAY:
	case EXPR_OBJECT:
		return json_incref(v->json);
	}
	return json_null();
}

bool expr_value_truth(const struct expr_value *v)
{
	switch (v->kind) {
	case EXPR_NULL:
		return false;
	case EXPR_BOOLEAN:
		return v->boolean;
	case EXPR_NUMBER:
		return v->number != 0 && !isnan(v->number);
	case EXPR_TEXT:
		return v->text_len > 0;
	case EXPR_ARRAY:
	case EXPR_OBJECT:
		break;
	}
	return true;
}

bool expr_value_text(const struct expr_value *v, struct str *out)
{
	char buf[EXPR_NUMBER_SIZE];
	switch (v->kind) {
	case EXPR_NULL:
		return !out->failed;
	case EXPR_BOOLEAN:
		return str_append(out, v->boolean ? "true" : "false");
	case EXPR_NUMBER:
		return str_append(out, expr_number_text(v->number, buf));
	case EXPR_TEXT:
		return str_append_n(out, v->text, v->text_len);
	case EXPR_ARRAY:
		return str_append(out, "Array");
	case EXPR_OBJECT:
		return str_append(out, "Object");
	}
	return false;
}

double value_to_number(const struct expr_value *v)
{
	switch (v->kind) {
	case EXPR_NULL:
		return 0;
	case EXPR_BOOLEAN:
		return v->boolean ? 1 : 0;
	case EXPR_NUMBER:
		return v->number;
	case EXPR_TEXT:
		return text_to_number(v->text, v->text_len);
	case EXPR_ARRAY:
	case EXPR_OBJECT:
		break;
	}
	return NAN;
}

bool value_is_primitive(const struct expr_value *v)
{
	return v->kind < EXPR_ARRAY;
}

static int compare_texts(const struct expr_value *a, const struct expr_value *b)
{
	return expr_compare_text(a->text, a->text_len, b->text, b->text_len);
}

bool value_equals(const struct expr_value *a, const struct expr_value *b)
{
	if (!value_is_primitive(a) || !value_is_primitive(b))
		return a->kind == b->kind && a->json == b->json;
	if (a->kind != b->kind)
		return value_to_number(a) == value_to_number(b);
	switch (a->kind) {
	case EXPR_NULL:
		return true;
	case EXPR_BOOLEAN:
		return a->boolean == b->boolean;
	case EXPR_NUMBER:
		return a->number == b->number;
	default:
		return compare_texts(a, b) == 0;
	}
}

bool value_less(const struct expr_value *a, const struct expr_value *b)
{
	if (!value_is_primitive(a) || !value_is_primitive(b))
		return false;
	if (a->kind == EXPR_TEXT && b->kind == EXPR_TEXT)
		return compare_texts(a, b) < 0;
	return value_to_number(a) < value_to_number(b);
}
