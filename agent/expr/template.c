/* template: strings with ${{ }} in them. */
#include "agent/expr/expr_priv.h"

enum { TEMPLATE_DEPTH_MAX = 100 };

bool expr_is_template(const char *text)
{
	return strstr(text, "${{") != NULL;
}

/* The end of the expression that begins at `from` (after "${{"): the first "}}" outside a quoted string. */
static const char *find_end(const char *from)
{
	bool quoted = false;
	for (const char *p = from; *p != '\0'; p++) {
		if (*p == '\'')
			quoted = !quoted;
		else if (!quoted && p[0] == '}' && p[1] == '}')
			return p;
	}
	return NULL;
}

struct segment {
	const char *text;
	size_t len;
	bool expression;
};

static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Next piece at *at; false at the end of the text. */
static int next_segment(const char **at, struct segment *ret, struct err *err)
{
	const char *open = strstr(*at, "${{");
	if (open != *at) {
		size_t len = open != NULL ? (size_t)(open - *at) : strlen(*at);
		*ret = (struct segment){*at, len, false};
		*at += len;
		return len > 0;
	}
	const char *from = open + 3, *end = find_end(from);
	if (end == NULL)
		return err_set(err, ERR_INVALID,
		               "The expression is not closed. An unescaped ${{ sequence was found, but the closing }} "
		               "sequence was not found: %s",
		               open);
	*at = end + 2;
	while (from < end && is_blank(*from))
		from++;
	while (from < end && is_blank(end[-1]))
		end--;
	if (from == end)
		return err_set(err, ERR_INVALID, "An expression was expected");
	*ret = (struct segment){from, (size_t)(end - from), true};
	return 1;
}

/* The string as a literal of format(): quotes and braces doubled. */
static void append_literal(struct str *out, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '\'' || text[i] == '{' || text[i] == '}')
			str_append_c(out, text[i]);
		str_append_c(out, text[i]);
	}
}

int expr_from_template(const char *text, char **ret, struct err *err)
{
	*ret = NULL;
	if (!expr_is_template(text))
		return 0;
	_cleanup_(str_done) struct str format = STR_INIT(EXPR_MEMORY_MAX), arguments = STR_INIT(EXPR_MEMORY_MAX);
	struct segment s;
	const char *at = text;
	int r, segments = 0, expressions = 0;
	while ((r = next_segment(&at, &s, err)) > 0) {
		if (s.expression && segments == 0 && *at == '\0') {
			*ret = xstrndup(s.text, s.len);
			return 0;
		}
		segments++;
		if (s.expression) {
			str_appendf(&format, "{%d}", expressions++);
			str_appendf(&arguments, ", %.*s", (int)s.len, s.text);
		} else {
			append_literal(&format, s.text, s.len);
		}
	}
	if (r < 0)
		return r;
	if (format.failed || arguments.failed)
		return err_set(err, ERR_LIMIT, "Exceeded max expression length %d", EXPR_LENGTH_MAX);
	*ret = xasprintf("format('%s'%s)", str_peek(&format), str_peek(&arguments));
	return 0;
}

static int eval_segment(const struct segment *s, const struct expr_scope *scope, struct expr_value *ret,
                        struct err *err)
{
	return expr_eval(s->text, s->len, scope, ret, err);
}

int expr_template(const char *text, const struct expr_scope *scope, json_t **ret, struct err *err)
{
	_cleanup_(str_done) struct str out = STR_SECRET_INIT(EXPR_MEMORY_MAX);
	struct segment s;
	const char *at = text;
	int r;
	bool first = true;
	while ((r = next_segment(&at, &s, err)) > 0) {
		if (!s.expression) {
			str_append_n(&out, s.text, s.len);
			first = false;
			continue;
		}
		_cleanup_(expr_value_done) struct expr_value v = EXPR_VALUE_INIT;
		r = eval_segment(&s, scope, &v, err);
		if (r < 0)
			return r;
		if (first && *at == '\0') {
			*ret = expr_value_json(&v);
			return 0;
		}
		first = false;
		expr_value_text(&v, &out);
	}
	if (r < 0)
		return r;
	if (out.failed)
		return err_set(err, ERR_LIMIT, "the result is larger than %d bytes", EXPR_MEMORY_MAX);
	*ret = json_string_lossy(str_peek(&out), out.len);
	return 0;
}

static int template_json(const json_t *value, const struct expr_scope *scope, int depth, json_t **ret, struct err *err);

static int template_object(const json_t *value, const struct expr_scope *scope, int depth, json_t **ret,
                           struct err *err)
{
	_cleanup_json_ json_t *made = json_object();
	const char *key;
	json_t *member;
	json_object_foreach((json_t *)value, key, member)
	{
		json_t *one;
		int r = template_json(member, scope, depth + 1, &one, err);
		if (r < 0)
			return err_wrap(err, r, "%s", key);
		json_object_set_new(made, key, one);
	}
	*ret = TAKE(made);
	return 0;
}

static int template_array(const json_t *value, const struct expr_scope *scope, int depth, json_t **ret, struct err *err)
{
	_cleanup_json_ json_t *made = json_array();
	size_t i;
	json_t *member;
	json_array_foreach(value, i, member)
	{
		json_t *one;
		int r = template_json(member, scope, depth + 1, &one, err);
		if (r < 0)
			return err_wrap(err, r, "item %zu", i);
		json_array_append_new(made, one);
	}
	*ret = TAKE(made);
	return 0;
}

static int template_json(const json_t *value, const struct expr_scope *scope, int depth, json_t **ret, struct err *err)
{
	if (depth > TEMPLATE_DEPTH_MAX)
		return err_set(err, ERR_LIMIT, "more than %d levels", TEMPLATE_DEPTH_MAX);
	if (json_is_object(value))
		return template_object(value, scope, depth, ret, err);
	if (json_is_array(value))
		return template_array(value, scope, depth, ret, err);
	const char *text = json_string_value(value);
	if (text != NULL && expr_is_template(text))
		return expr_template(text, scope, ret, err);
	*ret = json_deep_copy(value);
	return 0;
}

int expr_template_json(const json_t *value, const struct expr_scope *scope, json_t **ret, struct err *err)
{
	return template_json(value, scope, 0, ret, err);
}
