#include "agent/template/eval.h"

#include "agent/service/wire.h"

#include <ctype.h>

enum { TOKEN_DEPTH_MAX = 50, TOKEN_TEXT_MAX = 10 << 20, ARGUMENTS_MAX = 64 };
enum {
	TYPE_TEXT = 0,
	TYPE_SEQUENCE = 1,
	TYPE_MAPPING = 2,
	TYPE_EXPRESSION = 3,
	TYPE_INSERT = 4,
	TYPE_BOOLEAN = 5,
	TYPE_NUMBER = 6,
	TYPE_NULL = 7
};

bool template_is_null(const json_t *token)
{
	return token == NULL || json_is_null(token) ||
	       (json_is_object(token) && wire_int(token, "type", TYPE_TEXT) == TYPE_NULL);
}

/* "ci.yml (Line: 3, Col: 7): " in front of an error. */
static int at_place(const json_t *token, const struct template_scope *scope, int r, struct err *err)
{
	int64_t file = wire_int(token, "file", 0), line = wire_int(token, "line", 0),
		column = wire_int(token, "col", 0);
	const char *name = file > 0 ? json_string_value(json_array_get(scope->file_table, (size_t)file - 1)) : NULL;
	if (name == NULL || line == 0)
		return r;
	return err_wrap(err, r, "%s (Line: %lld, Col: %lld)", name, (long long)line, (long long)column);
}

static int eval_expression(const json_t *token, const struct template_scope *scope, json_t **ret, struct err *err)
{
	const char *text = wire_string(token, "expr");
	if (text == NULL)
		return err_set(err, ERR_PROTOCOL, "an expression without text in the job's message");
	struct expr_value value = EXPR_VALUE_INIT;
	int r = expr_eval(text, strlen(text), &scope->expr, &value, err);
	if (r < 0)
		return at_place(token, scope, r, err);
	/* A number keeps the runner's string form: JSON would make an integer of 1e20. */
	*ret = value.kind == EXPR_NUMBER ? json_real(value.number) : expr_value_json(&value);
	if (*ret == NULL)
		*ret = expr_value_json(&value);
	expr_value_done(&value);
	return 0;
}

static int eval(const json_t *token, const struct template_scope *scope, int depth, json_t **ret, struct err *err);

static int eval_sequence(const json_t *token, const struct template_scope *scope, int depth, json_t **ret,
                         struct err *err)
{
	_cleanup_json_ json_t *list = json_array();
	size_t i;
	json_t *item;
	json_array_foreach(wire_get(token, "seq"), i, item)
	{
		_cleanup_json_ json_t *value = NULL;
		int r = eval(item, scope, depth + 1, &value, err);
		if (r < 0)
			return r;
		/* Splices in a list that an expression gave. */
		if (json_is_array(value) && wire_int(item, "type", TYPE_TEXT) == TYPE_EXPRESSION)
			json_array_extend(list, value);
		else
			json_array_append(list, value);
	}
	*ret = TAKE(list);
	return 0;
}

static int add_pair(json_t *map, const char *key, json_t *value, const json_t *token,
                    const struct template_scope *scope, struct err *err)
{
	if (expr_member(map, key, strlen(key)) != NULL)
		return at_place(token, scope, err_set(err, ERR_INVALID, "'%s' is already defined", key), err);
	json_object_set(map, key, value);
	return 0;
}

static int insert_pairs(json_t *map, json_t *value, const json_t *token, const struct template_scope *scope,
                        struct err *err)
{
	const char *key;
	json_t *member;
	if (!json_is_object(value))
		return at_place(token, scope, err_set(err, ERR_INVALID, "Expected a mapping"), err);
	json_object_foreach(value, key, member)
	{
		int r = add_pair(map, key, member, token, scope, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* *ret is the caller's even after an error. */
static int eval_key(const json_t *token, const struct template_scope *scope, json_t **ret, struct err *err)
{
	int r = eval(token, scope, 0, ret, err);
	if (r < 0)
		return r;
	return json_is_string(*ret) ? 0 : at_place(token, scope, err_set(err, ERR_INVALID, "Expected a string"), err);
}

static int eval_pair(const json_t *pair, const struct template_scope *scope, int depth, json_t *map, struct err *err)
{
	const json_t *key_token = wire_get(pair, "key"), *value_token = wire_get(pair, "value");
	_cleanup_json_ json_t *key = NULL, *value = NULL;
	bool insert = json_is_object(key_token) && wire_int(key_token, "type", TYPE_TEXT) == TYPE_INSERT;
	int r = insert ? 0 : eval_key(key_token, scope, &key, err);
	if (r == 0)
		r = eval(value_token, scope, depth + 1, &value, err);
	if (r < 0)
		return r;
	return insert ? insert_pairs(map, value, key_token, scope, err)
	              : add_pair(map, json_string_value(key), value, key_token, scope, err);
}

static int eval_mapping(const json_t *token, const struct template_scope *scope, int depth, json_t **ret,
                        struct err *err)
{
	_cleanup_json_ json_t *map = json_object();
	size_t i;
	json_t *pair;
	json_array_foreach(wire_get(token, "map"), i, pair)
	{
		int r = eval_pair(pair, scope, depth, map, err);
		if (r < 0)
			return r;
	}
	*ret = TAKE(map);
	return 0;
}

static json_t *text_literal(const json_t *token)
{
	const char *text = wire_string(token, "lit");
	return json_string(text != NULL ? text : "");
}

static int eval(const json_t *token, const struct template_scope *scope, int depth, json_t **ret, struct err *err)
{
	if (depth > TOKEN_DEPTH_MAX)
		return err_set(err, ERR_LIMIT, "Maximum object depth exceeded");
	if (json_is_array(token))
		return err_set(err, ERR_PROTOCOL, "a bare list as a template token");
	if (!json_is_object(token)) {
		*ret = token != NULL ? json_incref((json_t *)token) : json_null();
		return 0;
	}
	switch (wire_int(token, "type", TYPE_TEXT)) {
	case TYPE_TEXT:
		*ret = text_literal(token);
		return 0;
	case TYPE_SEQUENCE:
		return eval_sequence(token, scope, depth, ret, err);
	case TYPE_MAPPING:
		return eval_mapping(token, scope, depth, ret, err);
	case TYPE_EXPRESSION:
		return eval_expression(token, scope, ret, err);
	case TYPE_BOOLEAN:
		*ret = json_boolean(wire_bool(token, "bool", false));
		return 0;
	case TYPE_NUMBER: {
		const json_t *number = wire_get(token, "num");
		*ret = number != NULL ? json_incref((json_t *)number) : json_integer(0);
		return 0;
	}
	case TYPE_NULL:
		*ret = json_null();
		return 0;
	default:
		return err_set(err, ERR_PROTOCOL, "a template token of an unknown type");
	}
}

int template_eval(const json_t *token, const struct template_scope *scope, json_t **ret, struct err *err)
{
	return eval(token, scope, 0, ret, err);
}

static int as_text(const json_t *value, json_t **ret, struct err *err)
{
	if (json_is_array(value))
		return err_set(err, ERR_INVALID, "A sequence was not expected");
	if (json_is_object(value))
		return err_set(err, ERR_INVALID, "A mapping was not expected");
	struct expr_value v = EXPR_VALUE_INIT;
	_cleanup_(str_done) struct str text = STR_SECRET_INIT(TOKEN_TEXT_MAX);
	expr_value_from_json(value, &v);
	expr_value_text(&v, &text);
	expr_value_done(&v);
	*ret = json_stringn(str_peek(&text), text.len);
	return 0;
}

int template_eval_string(const json_t *token, const struct template_scope *scope, json_t **ret, struct err *err)
{
	_cleanup_json_ json_t *value = NULL;
	int r = eval(token, scope, 0, &value, err);
	if (r == 0)
		r = as_text(value, ret, err);
	return r;
}

int template_eval_strings(const json_t *token, const struct template_scope *scope, json_t *into, struct err *err)
{
	_cleanup_json_ json_t *map = NULL;
	if (template_is_null(token))
		return 0;
	int r = eval(token, scope, 0, &map, err);
	if (r < 0)
		return r;
	if (!json_is_object(map))
		return err_set(err, ERR_INVALID, "Expected a mapping");
	const char *key;
	json_t *value;
	json_object_foreach(map, key, value)
	{
		json_t *text;
		r = as_text(value, &text, err);
		if (r < 0)
			return err_wrap(err, r, "%s", key);
		json_object_set_new(into, key, text);
	}
	return 0;
}

/* The end of one argument: a comma or the closing parenthesis at the top level. */
static const char *argument_end(const char *p)
{
	int depth = 0;
	bool quoted = false;
	for (; *p != '\0'; p++) {
		if (*p == '\'')
			quoted = !quoted;
		if (quoted)
			continue;
		if (*p == '(' || *p == '[')
			depth++;
		if ((*p == ')' || *p == ']') && depth-- == 0)
			return p;
		if (*p == ',' && depth == 0)
			return p;
	}
	return p;
}

/* format('Build on {0}', matrix.os) → Build on ${{ matrix.os }}. False: it has another form. */
static bool unfold(const char *expression, struct str *out)
{
	const char *arguments[ARGUMENTS_MAX];
	size_t lengths[ARGUMENTS_MAX], count = 0;
	if (!str_starts(expression, "format('"))
		return false;
	const char *format = expression + strlen("format('"), *end = argument_end(expression + strlen("format("));
	if (end <= format || end[-1] != '\'')
		return false;
	for (const char *p = end; *p == ',' && count < ARRAY_SIZE(arguments);) {
		do
			p++;
		while (*p == ' ');
		const char *stop = argument_end(p);
		arguments[count] = p;
		lengths[count++] = (size_t)(stop - p);
		p = stop;
	}
	for (const char *p = format; p < end - 1; p++) {
		if ((*p == '{' || *p == '}' || *p == '\'') && p[1] == *p) {
			str_append_c(out, *p++);
		} else if (*p == '{' && isdigit((unsigned char)p[1])) {
			size_t index = strtoul(p + 1, NULL, 10);
			if (index >= count)
				return false;
			str_appendf(out, "${{ %.*s }}", (int)lengths[index], arguments[index]);
			p = strchr(p, '}');
			if (p == NULL)
				return false;
		} else {
			str_append_c(out, *p);
		}
	}
	return !out->failed;
}

char *template_readable(const json_t *token)
{
	_cleanup_(str_done) struct str out = STR_INIT(TOKEN_TEXT_MAX);
	if (json_is_object(token) && wire_int(token, "type", TYPE_TEXT) == TYPE_EXPRESSION) {
		const char *expression = wire_string(token, "expr");
		if (expression == NULL)
			return xstrdup("");
		if (unfold(expression, &out))
			return str_take(&out);
		return xasprintf("${{ %s }}", expression);
	}
	json_t *value = NULL, *text = NULL;
	struct template_scope none = {.file_table = NULL};
	if (template_eval(token, &none, &value, NULL) == 0 && as_text(value, &text, NULL) == 0)
		str_append(&out, json_string_value(text));
	json_decref(value);
	json_decref(text);
	return str_take(&out);
}
