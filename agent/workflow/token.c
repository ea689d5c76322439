/* YAML value → template token, and the text of conditions. */
#include "agent/workflow/workflow.h"

#include <ctype.h>
#include <strings.h>

enum { EXPRESSION_MAX = 21000 };

/* The end of an expression that starts behind "${{": the first "}}" outside single quotes. NULL: not closed. */
static const char *expression_end(const char *p)
{
	bool quoted = false;
	for (; *p; p++) {
		if (*p == '\'')
			quoted = !quoted;
		else if (!quoted && p[0] == '}' && p[1] == '}')
			return p;
	}
	return NULL;
}

static char *trimmed(const char *from, const char *to)
{
	while (from < to && isspace((unsigned char)*from))
		from++;
	while (to > from && isspace((unsigned char)to[-1]))
		to--;
	return xstrndup(from, (size_t)(to - from));
}

/* The text of an expression that is one string literal, else NULL. */
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

/* Parentheses, brackets and quotes must pair up: the least that an expression has to fulfil. Grammar and names are the
 * expression reader's business (agent/expr), which the caller applies where the contexts are known. */
static const char *expression_fault(const char *expr)
{
	char open[64];
	size_t depth = 0;
	for (const char *p = expr; *p; p++) {
		if (*p == '\'') {
			const char *end = strchr(p + 1, '\'');
			if (!end)
				return "a text in the expression is not closed: a single quote is missing";
			p = end;
		} else if (*p == '"') {
			return "an expression takes single quotes, not double quotes";
		} else if (*p == '(' || *p == '[') {
			if (depth == sizeof(open))
				return "the expression is nested too deeply";
			open[depth++] = *p;
		} else if (*p == ')' || *p == ']') {
			if (!depth || open[--depth] != (*p == ')' ? '(' : '['))
				return "brackets in the expression do not match";
		}
	}
	return depth ? "a bracket in the expression is not closed" : NULL;
}

static json_t *with_place(const struct token_source *source, const char *pointer, json_t *token)
{
	if (!source->file)
		return token;
	struct yaml_mark mark = yaml_value_mark(source->doc, pointer);
	json_object_set_new(token, "file", json_integer(source->file));
	json_object_set_new(token, "line", json_integer(mark.line));
	json_object_set_new(token, "col", json_integer(mark.column));
	return token;
}

static json_t *expression_token(const struct token_source *source, const char *pointer, const char *expr)
{
	json_t *token = json_object();
	json_object_set_new(token, "type", json_integer(3));
	with_place(source, pointer, token);
	json_object_set_new(token, "expr", json_stringf("%s", expr));
	return token;
}

static void append_format_text(struct str *out, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '\'' || text[i] == '{' || text[i] == '}')
			str_append_c(out, text[i]);
		str_append_c(out, text[i]);
	}
}

/* Text with expressions inside: format('a{0}b', e0). A text that is one expression: that expression. */
static json_t *text_token(const struct token_source *source, const char *text, const char *pointer, bool is_key)
{
	if (!strstr(text, "${{"))
		return json_string(text);
	_cleanup_(str_done) struct str format = STR_INIT(2 * EXPRESSION_MAX);
	_cleanup_(str_done) struct str arguments = STR_INIT(2 * EXPRESSION_MAX);
	size_t count = 0;
	const char *p = text;
	for (;;) {
		const char *start = strstr(p, "${{");
		append_format_text(&format, p, start ? (size_t)(start - p) : strlen(p));
		if (!start)
			break;
		const char *end = expression_end(start + 3);
		if (!end) {
			faults_add(source->faults, source->doc, pointer, "the expression is not closed: }} is missing behind '%.60s'", start);
			return json_null();
		}
		_cleanup_free_ char *expr = trimmed(start + 3, end);
		bool whole = start == text && end[2] == '\0';
		const char *fault = *expr ? expression_fault(expr) : "an expression was expected between ${{ and }}";
		if (fault) {
			faults_add(source->faults, source->doc, pointer, "%s: '%.80s'", fault, expr);
			return json_null();
		}
		if (strcasecmp(expr, "insert") == 0) {
			if (whole && is_key)
				return json_pack("{s:i, s:s}", "type", 4, "directive", "insert");
			faults_add(source->faults, source->doc, pointer, "the directive 'insert' can only be a whole key of a map");
			return json_null();
		}
		_cleanup_free_ char *literal = string_literal(expr);
		if (whole)
			return literal ? json_string(literal) : expression_token(source, pointer, expr);
		if (literal) {
			append_format_text(&format, literal, strlen(literal));
		} else {
			str_appendf(&format, "{%zu}", count++);
			str_appendf(&arguments, ", %s", expr);
		}
		p = end + 2;
	}
	_cleanup_free_ char *call = xasprintf("format('%s'%s)", str_peek(&format), str_peek(&arguments));
	if (format.failed || arguments.failed || strlen(call) > EXPRESSION_MAX) {
		faults_add(source->faults, source->doc, pointer, "the text with its expressions is longer than %d characters", EXPRESSION_MAX);
		return json_null();
	}
	if (!count) {                       /* only literals inside: still a text */
		_cleanup_(str_done) struct str plain = STR_INIT(2 * EXPRESSION_MAX);
		for (const char *q = str_peek(&format); *q; q++) {
			str_append_c(&plain, *q);
			if (*q == '\'' || *q == '{' || *q == '}')
				q++;
		}
		return json_string(str_peek(&plain));
	}
	return expression_token(source, pointer, call);
}

json_t *token_from_yaml(const struct token_source *source, const json_t *value, const char *pointer)
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
		json_array_foreach(value, i, item) {
			str_truncate(&at, base);
			pointer_push_index(&at, i);
			json_array_append_new(list, token_from_yaml(source, item, str_peek(&at)));
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
		json_object_foreach((json_t *)(uintptr_t)value, key, item) {
			str_truncate(&at, base);
			pointer_push(&at, key);
			json_t *pair = json_object();
			json_object_set_new(pair, "key", text_token(source, key, str_peek(&at), true));
			json_object_set_new(pair, "value", token_from_yaml(source, item, str_peek(&at)));
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

/* Is one of the status functions called? Names inside texts do not count. */
static bool calls_status_function(const char *expr)
{
	static const char *const names[] = { "success", "failure", "always", "cancelled" };
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

char *token_condition(const struct token_source *source, const json_t *value, const char *pointer)
{
	if (!value || json_is_null(value))
		return xstrdup("success()");
	_cleanup_free_ char *text = token_literal(value);
	if (!text) {
		faults_add(source->faults, source->doc, pointer, "a condition must be a text");
		return xstrdup("success()");
	}
	_cleanup_free_ char *expr = trimmed(text, text + strlen(text));
	if (str_starts(expr, "${{")) {
		const char *end = expression_end(expr + 3);
		if (end && end[2] == '\0') {
			char *inner = trimmed(expr + 3, end);
			free(expr);
			expr = inner;
		}
	}
	if (strstr(expr, "${{")) {
		faults_add(source->faults, source->doc, pointer,
			"a condition that mixes text and ${{ }} is a text, and so always true");
		faults_hint(source->faults, "write it as one expression, without ${{ }}");
		return xstrdup("success()");
	}
	if (!*expr)
		return xstrdup("success()");
	const char *fault = strlen(expr) > EXPRESSION_MAX ? "the condition is too long" : expression_fault(expr);
	if (fault) {
		faults_add(source->faults, source->doc, pointer, "%s: '%.80s'", fault, expr);
		return xstrdup("success()");
	}
	return calls_status_function(expr) ? TAKE(expr) : xasprintf("success() && (%s)", expr);
}

char *token_literal(const json_t *token)
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
