#include "agent/template/eval.h"

#include "agent/service/wire.h"

#include <ctype.h>

enum { TOKEN_DEPTH_MAX = 50, TOKEN_TEXT_MAX = 10 << 20, ARGUMENTS_MAX = 64, TOLD_ERRORS_MAX = 10 };
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

/* One evaluation. What is wrong with a value does not end it: the value is empty, and all that was wrong is told at the
 * end. */
struct walk {
	const struct template_scope *scope;
	bool strings; /* the values of the outermost map must be strings, or become some */
	struct err first;
	struct str all;
	int errors;
};

/* "ci.yml (Line: 3, Col: 7): " in front of an error. */
static int at_place(const struct walk *w, const json_t *token, int r, struct err *err)
{
	const json_t *files = w->scope->file_table;
	int64_t file = wire_int(token, "file", 0), line = wire_int(token, "line", 0),
		column = wire_int(token, "col", 0);
	const char *name = file > 0 ? json_string_value(json_array_get(files, (size_t)file - 1)) : NULL;
	if (name == NULL || line == 0)
		return r;
	return err_wrap(err, r, "%s (Line: %lld, Col: %lld)", name, (long long)line, (long long)column);
}

static void note_error(struct walk *w, const json_t *token, struct err *err)
{
	char line[ERR_FRAME_SIZE];
	at_place(w, token, err->code, err);
	if (w->errors++ == 0)
		w->first = *err;
	if (w->errors <= TOLD_ERRORS_MAX)
		str_appendf(&w->all, "%s%s", w->errors > 1 ? "," : "", err_line(err, line, sizeof(line)));
}

#define note(w, token, ...)                                                                                            \
	do {                                                                                                           \
		struct err wrong = ERR_INIT;                                                                           \
		err_set(&wrong, ERR_INVALID, __VA_ARGS__);                                                             \
		note_error(w, token, &wrong);                                                                          \
	} while (0)

static int eval_expression(struct walk *w, const json_t *token, json_t **ret, struct err *err)
{
	const char *text = wire_string(token, "expr");
	if (text == NULL)
		return err_set(err, ERR_PROTOCOL, "an expression without text in the job's message");
	struct expr_value value = EXPR_VALUE_INIT;
	struct err wrong = ERR_INIT;
	if (expr_eval(text, strlen(text), &w->scope->expr, &value, &wrong) < 0) {
		note_error(w, token, &wrong);
		*ret = json_string("");
		return 0;
	}
	/* A number keeps the runner's string form: JSON would make an integer of 1e20. */
	*ret = value.kind == EXPR_NUMBER ? json_real(value.number) : expr_value_json(&value);
	if (*ret == NULL)
		*ret = expr_value_json(&value);
	expr_value_done(&value);
	return 0;
}

static int eval(struct walk *w, const json_t *token, int depth, json_t **ret, struct err *err);

static int eval_sequence(struct walk *w, const json_t *token, int depth, json_t **ret, struct err *err)
{
	_cleanup_json_ json_t *list = json_array();
	size_t i;
	json_t *item;
	json_array_foreach(wire_get(token, "seq"), i, item)
	{
		_cleanup_json_ json_t *value = NULL;
		int r = eval(w, item, depth + 1, &value, err);
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

/* The string form of a value; null, and noted: it has none. */
static json_t *as_string(struct walk *w, const json_t *token, const json_t *value)
{
	if (json_is_array(value) || json_is_object(value)) {
		note(w, token, json_is_array(value) ? "A sequence was not expected" : "A mapping was not expected");
		return json_null();
	}
	struct expr_value v = EXPR_VALUE_INIT;
	_cleanup_(str_done) struct str text = STR_SECRET_INIT(TOKEN_TEXT_MAX);
	expr_value_from_json(value, &v);
	expr_value_text(&v, &text);
	expr_value_done(&v);
	return json_stringn(str_peek(&text), text.len);
}

static void add_pair(struct walk *w, json_t *map, const char *key, const json_t *key_token, json_t *value,
                     const json_t *value_token, int depth)
{
	if (expr_member(map, key, strlen(key)) != NULL)
		note(w, key_token, "'%s' is already defined", key);
	else if (w->strings && depth == 0)
		json_object_set_new(map, key, as_string(w, value_token, value));
	else
		json_object_set(map, key, value);
}

static int eval_pair(struct walk *w, const json_t *pair, int depth, json_t *map, struct err *err)
{
	const json_t *key_token = wire_get(pair, "key"), *value_token = wire_get(pair, "value");
	_cleanup_json_ json_t *key = NULL, *value = NULL;
	bool insert = json_is_object(key_token) && wire_int(key_token, "type", TYPE_TEXT) == TYPE_INSERT;
	int before = w->errors, r = insert ? 0 : eval(w, key_token, 0, &key, err);
	if (r == 0)
		r = eval(w, value_token, depth + 1, &value, err);
	if (r < 0)
		return r;
	const char *name;
	json_t *member;
	if (insert && json_is_object(value)) {
		json_object_foreach(value, name, member) add_pair(w, map, name, key_token, member, value_token, depth);
	} else if (!insert && json_is_string(key)) {
		add_pair(w, map, json_string_value(key), key_token, value, value_token, depth);
	} else if (w->errors == before) {
		note(w, insert ? value_token : key_token, insert ? "Expected a mapping" : "Expected a string");
	}
	return 0;
}

static int eval_mapping(struct walk *w, const json_t *token, int depth, json_t **ret, struct err *err)
{
	_cleanup_json_ json_t *map = json_object();
	size_t i;
	json_t *pair;
	json_array_foreach(wire_get(token, "map"), i, pair)
	{
		int r = eval_pair(w, pair, depth, map, err);
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

static int eval(struct walk *w, const json_t *token, int depth, json_t **ret, struct err *err)
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
		return eval_sequence(w, token, depth, ret, err);
	case TYPE_MAPPING:
		return eval_mapping(w, token, depth, ret, err);
	case TYPE_EXPRESSION:
		return eval_expression(w, token, ret, err);
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

#define WALK_INIT(s)                                                                                                   \
	{                                                                                                              \
		.scope = (s), .all = STR_SECRET_INIT(TOLD_ERRORS_MAX * ERR_FRAME_SIZE)                                 \
	}

static void walk_done(struct walk *w)
{
	str_done(&w->all);
}

/* The one error with its hint, or all of them. */
static int report(const struct walk *w, struct err *err)
{
	const char *title = "The template is not valid.";
	if (w->errors == 0)
		return 0;
	if (err == NULL)
		return w->first.code;
	bool placed = w->scope->file_table != NULL;
	if (w->errors > 1)
		return err_set(err, w->first.code, "%s%s%s", placed ? title : "", placed ? " " : "", str_peek(&w->all));
	*err = w->first;
	if (placed && err->frame_count > 0) {
		struct err_frame *outer = &err->frames[err->frame_count - 1];
		char text[ERR_FRAME_SIZE];
		snprintf(text, sizeof(text), "%s", outer->text);
		snprintf(outer->text, sizeof(outer->text), "%s %.*s", title, (int)(sizeof(text) - 32), text);
	}
	return err->code;
}

int template_eval(const json_t *token, const struct template_scope *scope, json_t **ret, struct err *err)
{
	_cleanup_(walk_done) struct walk w = WALK_INIT(scope);
	_cleanup_json_ json_t *value = NULL;
	int r = eval(&w, token, 0, &value, err);
	if (r == 0)
		r = report(&w, err);
	if (r == 0)
		*ret = TAKE(value);
	return r;
}

int template_eval_string(const json_t *token, const struct template_scope *scope, json_t **ret, struct err *err)
{
	_cleanup_(walk_done) struct walk w = WALK_INIT(scope);
	_cleanup_json_ json_t *value = NULL, *text = NULL;
	int r = eval(&w, token, 0, &value, err);
	if (r == 0) {
		text = as_string(&w, token, value);
		r = report(&w, err);
	}
	if (r == 0)
		*ret = TAKE(text);
	return r;
}

int template_eval_strings(const json_t *token, const struct template_scope *scope, json_t *into, struct err *err)
{
	_cleanup_(walk_done) struct walk w = WALK_INIT(scope);
	_cleanup_json_ json_t *map = NULL;
	w.strings = true;
	if (template_is_null(token))
		return 0;
	int r = eval(&w, token, 0, &map, err);
	if (r < 0)
		return r;
	if (w.errors == 0 && !json_is_object(map))
		note(&w, token, "Expected a mapping");
	r = report(&w, err);
	const char *key;
	json_t *value;
	if (r == 0)
		json_object_foreach(map, key, value) json_object_set_new(into, key, as_string(&w, token, value));
	return r;
}

static int eval_scalar(const json_t *token, const struct template_scope *scope, bool number, json_t **ret,
                       struct err *err)
{
	_cleanup_(walk_done) struct walk w = WALK_INIT(scope);
	_cleanup_json_ json_t *value = NULL;
	int r = eval(&w, token, 0, &value, err);
	if (r < 0)
		return r;
	if (w.errors == 0 && !(number ? json_is_number(value) : json_is_boolean(value))) {
		_cleanup_json_ json_t *text = as_string(&w, token, value);
		if (json_is_string(text))
			note(&w, token, "Unexpected value '%s'", json_string_value(text));
	}
	r = report(&w, err);
	if (r == 0)
		*ret = TAKE(value);
	return r;
}

int template_eval_number(const json_t *token, const struct template_scope *scope, double *ret, struct err *err)
{
	_cleanup_json_ json_t *value = NULL;
	int r = eval_scalar(token, scope, true, &value, err);
	if (r == 0)
		*ret = json_number_value(value);
	return r;
}

int template_eval_boolean(const json_t *token, const struct template_scope *scope, bool *ret, struct err *err)
{
	_cleanup_json_ json_t *value = NULL;
	int r = eval_scalar(token, scope, false, &value, err);
	if (r == 0)
		*ret = json_is_true(value);
	return r;
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
	_cleanup_json_ json_t *text = NULL;
	struct template_scope none = {.file_table = NULL};
	if (template_eval_string(token, &none, &text, NULL) == 0)
		str_append(&out, json_string_value(text));
	return str_take(&out);
}
