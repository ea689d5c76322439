/* YAML value → template token, and conditions as strings. */
#include "agent/template/read.h"
#include "agent/expr/expr.h"

#include <ctype.h>
#include <strings.h>

enum { EXPRESSION_MAX = 21000 };

static char *trimmed(const char *from, const char *to)
{
	while (from < to && isspace((unsigned char)*from))
		from++;
	while (to > from && isspace((unsigned char)to[-1]))
		to--;
	return xstrndup(from, (size_t)(to - from));
}

/* The value of an expression that is one string literal, else NULL. */
static char *string_literal(const char *expr)
{
	size_t len = strlen(expr);
	if (len < 2 || expr[0] != '\'' || expr[len - 1] != '\'')
		return NULL;
	_cleanup_(str_done) struct str out = STR_INIT(EXPRESSION_MAX);
	for (size_t i = 1; i + 1 < len; i++) {
		if (expr[i] == '\'') {
			if (i + 2 >= len || expr[i + 1] != '\'')
				return NULL;
			i++;
		}
		str_append_c(&out, expr[i]);
	}
	return str_take(&out);
}

/* Adds the expression reader's fault. True: there is none. */
static bool check_expression(const struct template_source *source, const char *pointer, const char *expr)
{
	struct err err = ERR_INIT;
	char line[1024];
	if (expr_check(expr, source->names, source->flags, &err) >= 0)
		return true;
	faults_add(source->faults, source->doc, pointer, "%s", err_line(&err, line, sizeof(line)));
	faults_code(source->faults, "expression");
	if (err.hint[0] != '\0')
		faults_hint(source->faults, "%s", err.hint);
	return false;
}

static json_t *with_place(const struct template_source *source, const char *pointer, json_t *token)
{
	if (!source->file)
		return token;
	struct yaml_mark mark = yaml_value_mark(source->doc, pointer);
	json_object_set_new(token, "file", json_integer(source->file));
	json_object_set_new(token, "line", json_integer(mark.line));
	json_object_set_new(token, "col", json_integer(mark.column));
	return token;
}

static json_t *expression_token(const struct template_source *source, const char *pointer, const char *expr)
{
	json_t *token = json_object();
	json_object_set_new(token, "type", json_integer(3));
	with_place(source, pointer, token);
	json_object_set_new(token, "expr", json_stringf("%s", expr));
	return token;
}

/* `${{ insert }}` as a key splices a map in. */
static bool is_insert(const char *text)
{
	const char *p = text + strspn(text, " ");
	if (!str_starts(p, "${{"))
		return false;
	p += 3 + strspn(p + 3, " ");
	if (strncasecmp(p, "insert", 6) != 0)
		return false;
	p += 6 + strspn(p + 6, " ");
	return strcmp(p, "}}") == 0;
}

/* A string with expressions inside: format('a{0}b', e0). A string that is one expression: that expression. A string literal
 * in braces: that string. */
static json_t *text_token(const struct template_source *source, const char *text, const char *pointer, bool is_key)
{
	if (!expr_is_template(text))
		return json_string(text);
	if (is_insert(text)) {
		if (is_key)
			return json_pack("{s:i, s:s}", "type", 4, "directive", "insert");
		faults_add(source->faults, source->doc, pointer,
		           "the directive 'insert' can only be a whole key of a map");
		return json_null();
	}
	struct err err = ERR_INIT;
	char line[1024];
	_cleanup_free_ char *expr = NULL;
	if (expr_from_template(text, &expr, &err) < 0) {
		faults_add(source->faults, source->doc, pointer, "%s", err_line(&err, line, sizeof(line)));
		faults_code(source->faults, "expression");
		return json_null();
	}
	if (!expr)
		return json_string(text);
	_cleanup_free_ char *trim = trimmed(expr, expr + strlen(expr));
	_cleanup_free_ char *literal = string_literal(trim);
	if (literal)
		return json_string(literal);
	if (!*trim) {
		faults_add(source->faults, source->doc, pointer, "an expression was expected between ${{ and }}");
		faults_code(source->faults, "expression");
		return json_null();
	}
	return check_expression(source, pointer, trim) ? expression_token(source, pointer, trim) : json_null();
}

json_t *template_from_yaml(const struct template_source *source, const json_t *value, const char *pointer)
{
	_cleanup_(str_done) struct str at = STR_INIT(4096);
	str_append(&at, pointer);
	size_t base = at.len;
	switch (json_typeof(value)) {
	case JSON_STRING:
		return text_token(source, json_string_value(value), pointer, false);
	case JSON_ARRAY: {
		json_t *list = json_array();
		size_t i;
		json_t *item;
		json_array_foreach(value, i, item)
		{
			str_truncate(&at, base);
			faults_pointer_push_index(&at, i);
			json_array_append_new(list, template_from_yaml(source, item, str_peek(&at)));
		}
		json_t *token = json_pack("{s:i}", "type", 1);
		if (json_array_size(list))
			json_object_set_new(token, "seq", list);
		else
			json_decref(list);
		return token;
	}
	case JSON_OBJECT: {
		json_t *list = json_array();
		const char *key;
		json_t *item;
		json_object_foreach((json_t *)(uintptr_t)value, key, item)
		{
			str_truncate(&at, base);
			faults_pointer_push(&at, key);
			json_t *pair = json_object();
			json_object_set_new(pair, "key", text_token(source, key, str_peek(&at), true));
			json_object_set_new(pair, "value", template_from_yaml(source, item, str_peek(&at)));
			json_array_append_new(list, pair);
		}
		json_t *token = json_pack("{s:i}", "type", 2);
		if (json_array_size(list))
			json_object_set_new(token, "map", list);
		else
			json_decref(list);
		return token;
	}
	default:
		return json_deep_copy(value);
	}
}

/* True if one of the status functions is called. Names inside string literals do not count. */
static bool calls_status_function(const char *expr)
{
	static const char *const names[] = {"success", "failure", "always", "cancelled"};
	for (const char *p = expr; *p; p++) {
		if (*p == '\'') {
			p = strchr(p + 1, '\'');
			if (!p)
				return false;
			continue;
		}
		if (!isalpha((unsigned char)*p) && *p != '_')
			continue;
		const char *end = p;
		while (isalnum((unsigned char)*end) || *end == '_' || *end == '-')
			end++;
		const char *behind = end;
		while (isspace((unsigned char)*behind))
			behind++;
		for (size_t i = 0; *behind == '(' && i < ARRAY_SIZE(names); i++)
			if (strlen(names[i]) == (size_t)(end - p) && strncasecmp(names[i], p, (size_t)(end - p)) == 0)
				return true;
		p = end - 1;
	}
	return false;
}

/* The expression in "${{ … }}" when that is the whole string; NULL: a fault was added. */
static char *unwrapped(const struct template_source *source, const char *text, const char *pointer)
{
	struct err err = ERR_INIT;
	char line[1024];
	_cleanup_free_ char *expr = NULL;
	if (!str_starts(text, "${{") || !str_ends(text, "}}") || strstr(text + 3, "${{")) {
		faults_add(source->faults, source->doc, pointer,
		           "a condition that mixes text and ${{ }} is a text, and so always true");
		faults_code(source->faults, "condition-is-text");
		faults_hint(source->faults, "write it as one expression, without ${{ }}");
		return NULL;
	}
	if (expr_from_template(text, &expr, &err) < 0) {
		faults_add(source->faults, source->doc, pointer, "%s", err_line(&err, line, sizeof(line)));
		faults_code(source->faults, "expression");
		return NULL;
	}
	return expr ? trimmed(expr, expr + strlen(expr)) : xstrdup("");
}

/* `if: |` leaves a line feed after "${{ … }}": that makes it a string, which is always true, on GitHub too. */
static char *with_white_space(const struct template_source *source, const char *text, const char *pointer)
{
	struct err err = ERR_INIT;
	char line[1024];
	char *expr = NULL;
	if (expr_from_template(text, &expr, &err) < 0) {
		faults_add(source->faults, source->doc, pointer, "%s", err_line(&err, line, sizeof(line)));
		faults_code(source->faults, "expression");
	}
	return expr;
}

char *template_condition(const struct template_source *source, const json_t *value, const char *pointer)
{
	if (!value || json_is_null(value))
		return xstrdup("success()");
	_cleanup_free_ char *text = template_literal(value);
	if (!text) {
		faults_add(source->faults, source->doc, pointer, "a condition must be a text");
		return xstrdup("success()");
	}
	_cleanup_free_ char *bare = trimmed(text, text + strlen(text));
	bool whole = strcmp(bare, text) == 0 || !str_starts(bare, "${{");
	_cleanup_free_ char *expr = !expr_is_template(bare) ? xstrdup(bare)
	                            : whole                 ? unwrapped(source, bare, pointer)
	                                                    : with_white_space(source, text, pointer);
	if (!expr || !*expr || !check_expression(source, pointer, expr))
		return xstrdup("success()");
	return calls_status_function(expr) ? TAKE(expr) : xasprintf("success() && (%s)", expr);
}

char *template_literal(const json_t *token)
{
	switch (token ? json_typeof(token) : JSON_NULL) {
	case JSON_STRING:
		return xstrdup(json_string_value(token));
	case JSON_TRUE:
		return xstrdup("true");
	case JSON_FALSE:
		return xstrdup("false");
	case JSON_INTEGER:
		return xasprintf("%lld", (long long)json_integer_value(token));
	case JSON_REAL:
		return xasprintf("%.15G", json_real_value(token));
	default:
		return NULL;
	}
}
