#include "agent/expr/expr_priv.h"

#include <ctype.h>

static int too_large(struct err *err)
{
	return err_set(err, ERR_LIMIT, "the result is larger than %d bytes", EXPR_MEMORY_MAX);
}

static int argument(const struct node *n, size_t i, const struct expr_scope *scope, struct expr_value *ret,
                    struct err *err)
{
	return node_eval(n->children[i], scope, ret, err);
}

/* Evaluates both arguments; to strings when both are primitive. */
struct pair {
	struct expr_value a, b;
	struct str a_text, b_text;
	bool primitive;
};

static void pair_done(struct pair *p)
{
	expr_value_done(&p->a);
	expr_value_done(&p->b);
	str_done(&p->a_text);
	str_done(&p->b_text);
}

static int read_pair(const struct node *n, const struct expr_scope *scope, struct pair *p, struct err *err)
{
	p->a_text.max = p->b_text.max = EXPR_MEMORY_MAX;
	p->a_text.wipe = p->b_text.wipe = true;
	int r = argument(n, 0, scope, &p->a, err);
	if (r == 0)
		r = argument(n, 1, scope, &p->b, err);
	if (r < 0)
		return r;
	p->primitive = value_is_primitive(&p->a) && value_is_primitive(&p->b);
	return 0;
}

static void fold_value(const struct expr_value *v, struct str *out)
{
	_cleanup_(str_done) struct str text = STR_SECRET_INIT(EXPR_MEMORY_MAX);
	expr_value_text(v, &text);
	expr_fold(str_peek(&text), text.len, out);
}

static bool array_contains(const json_t *array, const struct expr_value *item)
{
	size_t i;
	json_t *element;
	json_array_foreach(array, i, element)
	{
		_cleanup_(expr_value_done) struct expr_value v = EXPR_VALUE_INIT;
		expr_value_from_json(element, &v);
		if (value_equals(&v, item))
			return true;
	}
	return false;
}

static int call_text_search(const struct node *n, const struct expr_scope *scope, struct expr_value *ret,
                            struct err *err)
{
	_cleanup_(pair_done) struct pair p = {.primitive = false};
	int r = read_pair(n, scope, &p, err);
	if (r < 0)
		return r;
	if (n->function == FN_CONTAINS && p.a.kind == EXPR_ARRAY) {
		value_set_boolean(ret, array_contains(p.a.json, &p.b));
		return 0;
	}
	if (!p.primitive) {
		value_set_boolean(ret, false);
		return 0;
	}
	fold_value(&p.a, &p.a_text);
	fold_value(&p.b, &p.b_text);
	const char *text = str_peek(&p.a_text), *part = str_peek(&p.b_text);
	bool found = p.b_text.len <= p.a_text.len;
	if (found && n->function == FN_CONTAINS)
		found = p.b_text.len == 0 || memmem(text, p.a_text.len, part, p.b_text.len) != NULL;
	else if (found && n->function == FN_STARTS_WITH)
		found = memcmp(text, part, p.b_text.len) == 0;
	else if (found)
		found = memcmp(text + p.a_text.len - p.b_text.len, part, p.b_text.len) == 0;
	value_set_boolean(ret, found);
	return 0;
}

static int finish_text(struct str *out, struct expr_value *ret, struct err *err)
{
	if (out->failed)
		return too_large(err);
	value_set_text(ret, str_peek(out), out->len);
	return 0;
}

/* Arguments of format are evaluated when they are first used, and once. */
struct format {
	const struct node *node;
	const struct expr_scope *scope;
	struct str *texts; /* by argument */
	bool *known;
	struct str out;
	const char *text; /* the whole format, for messages */
};

static int bad_format(const struct format *f, struct err *err)
{
	return err_set(err, ERR_INVALID, "The following format string is invalid: %s", f->text);
}

static int append_argument(struct format *f, size_t index, struct err *err)
{
	if (index + 1 >= f->node->count)
		return err_set(err, ERR_INVALID,
		               "The following format string references more arguments than were supplied: %s", f->text);
	if (!f->known[index]) {
		_cleanup_(expr_value_done) struct expr_value v = EXPR_VALUE_INIT;
		int r = argument(f->node, index + 1, f->scope, &v, err);
		if (r < 0)
			return r;
		f->texts[index] = (struct str)STR_SECRET_INIT(EXPR_MEMORY_MAX);
		if (!expr_value_text(&v, &f->texts[index]))
			return too_large(err);
		f->known[index] = true;
	}
	str_append_n(&f->out, str_peek(&f->texts[index]), f->texts[index].len);
	return 0;
}

/* Parses after "{": N} or N:specifier}, where only an empty specifier is known. */
static int append_place(struct format *f, const char **at, const char *end, struct err *err)
{
	const char *p = *at;
	size_t index = 0, digits = 0;
	for (; p < end && isdigit((unsigned char)*p) && digits < 4; p++, digits++)
		index = index * 10 + (size_t)(*p - '0');
	if (digits == 0 || index > 254 || p == end)
		return bad_format(f, err);
	if (*p == ':') {
		p++;
		if (p < end && *p != '}')
			return err_set(err, ERR_INVALID, "The following format specifiers are not supported, in: %s",
			               f->text);
	}
	if (p == end || *p != '}')
		return bad_format(f, err);
	*at = p + 1;
	return append_argument(f, index, err);
}

static int run_format(struct format *f, const char *p, size_t len, struct err *err)
{
	const char *end = p + len;
	while (p < end && !f->out.failed) {
		const char *from = p;
		while (p < end && *p != '{' && *p != '}')
			p++;
		str_append_n(&f->out, from, (size_t)(p - from));
		if (p == end)
			break;
		char c = *p++;
		if (p < end && *p == c) {
			str_append_c(&f->out, c);
			p++;
			continue;
		}
		if (c == '}')
			return bad_format(f, err);
		int r = append_place(f, &p, end, err);
		if (r < 0)
			return r;
	}
	return f->out.failed ? too_large(err) : 0;
}

static int call_format(const struct node *n, const struct expr_scope *scope, struct expr_value *ret, struct err *err)
{
	_cleanup_(expr_value_done) struct expr_value first = EXPR_VALUE_INIT;
	_cleanup_(str_done) struct str text = STR_SECRET_INIT(EXPR_MEMORY_MAX);
	int r = argument(n, 0, scope, &first, err);
	if (r < 0)
		return r;
	if (!expr_value_text(&first, &text))
		return too_large(err);
	struct format f = {.node = n,
	                   .scope = scope,
	                   .out = STR_SECRET_INIT(EXPR_MEMORY_MAX),
	                   .text = str_peek(&text),
	                   .texts = xcalloc(n->count, sizeof(struct str)),
	                   .known = xcalloc(n->count, sizeof(bool))};
	r = run_format(&f, f.text, text.len, err);
	if (r == 0)
		r = finish_text(&f.out, ret, err);
	for (size_t i = 0; i + 1 < n->count; i++)
		str_done(&f.texts[i]);
	free(f.texts);
	free(f.known);
	str_done(&f.out);
	return r;
}

static int join_separator(const struct node *n, const struct expr_scope *scope, struct str *ret, struct err *err)
{
	_cleanup_(expr_value_done) struct expr_value v = EXPR_VALUE_INIT;
	if (n->count < 2) {
		str_append(ret, ",");
		return 0;
	}
	int r = argument(n, 1, scope, &v, err);
	if (r < 0)
		return r;
	if (!value_is_primitive(&v))
		str_append(ret, ",");
	else if (!expr_value_text(&v, ret))
		return too_large(err);
	return 0;
}

static int call_join(const struct node *n, const struct expr_scope *scope, struct expr_value *ret, struct err *err)
{
	_cleanup_(expr_value_done) struct expr_value list = EXPR_VALUE_INIT;
	_cleanup_(str_done) struct str out = STR_SECRET_INIT(EXPR_MEMORY_MAX), separator = STR_INIT(EXPR_MEMORY_MAX);
	int r = argument(n, 0, scope, &list, err);
	if (r < 0)
		return r;
	if (value_is_primitive(&list))
		expr_value_text(&list, &out);
	if (list.kind == EXPR_ARRAY && json_array_size(list.json) > 1)
		r = join_separator(n, scope, &separator, err);
	if (r < 0)
		return r;
	size_t i;
	json_t *element;
	if (list.kind == EXPR_ARRAY) {
		json_array_foreach(list.json, i, element)
		{
			_cleanup_(expr_value_done) struct expr_value v = EXPR_VALUE_INIT;
			expr_value_from_json(element, &v);
			if (i > 0)
				str_append_n(&out, str_peek(&separator), separator.len);
			expr_value_text(&v, &out);
		}
	}
	return finish_text(&out, ret, err);
}

static int call_to_json(const struct node *n, const struct expr_scope *scope, struct expr_value *ret, struct err *err)
{
	_cleanup_(expr_value_done) struct expr_value v = EXPR_VALUE_INIT;
	_cleanup_(str_done) struct str out = STR_SECRET_INIT(EXPR_MEMORY_MAX);
	int r = argument(n, 0, scope, &v, err);
	if (r < 0)
		return r;
	json_to_string(&v, &out);
	return finish_text(&out, ret, err);
}

static bool is_blank(const char *text)
{
	return text[strspn(text, " \t\n\v\f\r")] == '\0';
}

static int call_from_json(const struct node *n, const struct expr_scope *scope, struct expr_value *ret, struct err *err)
{
	_cleanup_(expr_value_done) struct expr_value v = EXPR_VALUE_INIT;
	_cleanup_(str_done) struct str text = STR_SECRET_INIT(EXPR_MEMORY_MAX);
	int r = argument(n, 0, scope, &v, err);
	if (r < 0)
		return r;
	if (!expr_value_text(&v, &text))
		return too_large(err);
	r = json_from_string(str_peek(&text), text.len, ret, err);
	if (r < 0 && scope->fault != NULL)
		fault_note(scope->fault, EXPR_EVALUATION,
		           xstrdup(is_blank(str_peek(&text)) ? "empty input"
		                                             : "Error parsing JSON when evaluating fromJson"));
	return r;
}

static int call_hash_files(const struct node *n, const struct expr_scope *scope, struct expr_value *ret,
                           struct err *err)
{
	_cleanup_(str_done) struct str out = STR_INIT(EXPR_MEMORY_MAX);
	struct strv patterns = {.count = 0};
	int r = 0;
	for (size_t i = 0; i < n->count && r == 0; i++) {
		_cleanup_(expr_value_done) struct expr_value v = EXPR_VALUE_INIT;
		_cleanup_(str_done) struct str text = STR_INIT(EXPR_MEMORY_MAX);
		r = argument(n, i, scope, &v, err);
		if (r == 0 && !expr_value_text(&v, &text))
			r = too_large(err);
		if (r == 0)
			strv_add(&patterns, str_peek(&text));
	}
	if (r == 0)
		r = scope->hash_files(scope->user, (const char *const *)patterns.items, patterns.count, &out, err);
	strv_done(&patterns);
	return r < 0 ? r : finish_text(&out, ret, err);
}

static int call_case(const struct node *n, const struct expr_scope *scope, struct expr_value *ret, struct err *err)
{
	for (size_t i = 0; i + 1 < n->count; i += 2) {
		_cleanup_(expr_value_done) struct expr_value predicate = EXPR_VALUE_INIT;
		int r = argument(n, i, scope, &predicate, err);
		if (r < 0)
			return r;
		if (predicate.kind != EXPR_BOOLEAN)
			return err_set(err, ERR_INVALID, "case predicate must evaluate to a boolean value");
		if (predicate.boolean)
			return argument(n, i + 1, scope, ret, err);
	}
	return argument(n, n->count - 1, scope, ret, err);
}

int functions_call(const struct node *n, const struct expr_scope *scope, struct expr_value *ret, struct err *err)
{
	switch (n->function) {
	case FN_CONTAINS:
	case FN_STARTS_WITH:
	case FN_ENDS_WITH:
		return call_text_search(n, scope, ret, err);
	case FN_FORMAT:
		return call_format(n, scope, ret, err);
	case FN_JOIN:
		return call_join(n, scope, ret, err);
	case FN_TO_JSON:
		return call_to_json(n, scope, ret, err);
	case FN_FROM_JSON:
		return call_from_json(n, scope, ret, err);
	case FN_HASH_FILES:
		return call_hash_files(n, scope, ret, err);
	case FN_CASE:
		return call_case(n, scope, ret, err);
	case FN_SUCCESS:
	case FN_FAILURE:
	case FN_CANCELLED:
	case FN_ALWAYS:
		value_set_boolean(ret,
		                  scope->status == NULL ||
		                          scope->status(scope->user, (enum expr_status)(n->function - FN_SUCCESS)));
		return 0;
	case FN_COUNT:
		break;
	}
	return err_set(err, ERR_INTERNAL, "an unknown function");
}
