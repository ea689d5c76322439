/* reader: the place in the document that is read, and what is read there: tokens, conditions, strings, numbers. */
#include "agent/workflow/workflow_priv.h"
#include "agent/expr/expr.h"

#include <ctype.h>
#include <string.h>

enum { ID_MAX = 100 };

const char *const workflow_in_url[] = {"github", "needs", "strategy", "matrix", "vars", "inputs",
                                       "env",    "job",   "runner",   "steps",  NULL};
const char *const workflow_in_step[] = {"github", "needs", "strategy", "matrix", "vars",    "inputs",
                                        "env",    "job",   "runner",   "steps",  "secrets", NULL};

/* What expressions may name from here on. */
void reader_allow(struct reader *r, const char *const *names, int flags)
{
	r->source.names = names;
	r->source.flags = flags;
}

static char *text_of(const char *fmt, va_list args)
{
	char *text;
	return vasprintf(&text, fmt, args) >= 0 ? text : xstrdup("out of memory");
}

void reader_fault(struct reader *r, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	_cleanup_free_ char *text = text_of(fmt, args);
	va_end(args);
	faults_add(r->source.faults, r->source.doc, str_peek(&r->at), "%s", text);
}

void reader_fault_key(struct reader *r, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	_cleanup_free_ char *text = text_of(fmt, args);
	va_end(args);
	faults_add_key(r->source.faults, r->source.doc, str_peek(&r->at), "%s", text);
}

void reader_forbid(struct reader *r, const json_t *object, const char *key, const char *belongs)
{
	if (json_object_get(object, key) == NULL)
		return;
	size_t mark = reader_enter(r, key);
	reader_fault_key(r, "'%s' belongs to %s", key, belongs);
	reader_leave(r, mark);
}

void reader_refuse_here(struct reader *r, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	_cleanup_free_ char *text = text_of(fmt, args);
	va_end(args);
	faults_add_key(r->refusals, r->source.doc, str_peek(&r->at), "%s", text);
	faults_code(r->refusals, "not-done-here");
}

void reader_known_keys(struct reader *r, const json_t *object, const char *what, const char *const *names, size_t count)
{
	faults_check_keys(r->source.faults, r->source.doc, &r->at, object, what, names, count);
}

void reader_refuse_empty(struct reader *r, const json_t *object, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!json_is_null(json_object_get(object, names[i])))
			continue;
		size_t mark = reader_enter(r, names[i]);
		reader_fault(r, "'%s' is empty: leave it out, or say what is in it", names[i]);
		reader_leave(r, mark);
	}
}

size_t reader_enter(struct reader *r, const char *key)
{
	size_t mark = r->at.len;
	faults_pointer_push(&r->at, key);
	return mark;
}

size_t reader_enter_index(struct reader *r, size_t index)
{
	size_t mark = r->at.len;
	faults_pointer_push_index(&r->at, index);
	return mark;
}

void reader_leave(struct reader *r, size_t mark)
{
	str_truncate(&r->at, mark);
}

/* A member as a token; NULL when it is not there. */
json_t *reader_token(struct reader *r, const json_t *object, const char *key)
{
	json_t *value = json_object_get(object, key);
	if (!value)
		return NULL;
	size_t mark = reader_enter(r, key);
	json_t *token = template_from_yaml(&r->source, value, str_peek(&r->at));
	reader_leave(r, mark);
	return token;
}

/* Where the schema wants a text, a number or a boolean becomes its text, as GitHub's reader does it: `fetch-depth: 0`
 * is '0'. */
json_t *reader_as_text(json_t *token)
{
	if (json_is_object(token) || json_is_string(token))
		return token;
	_cleanup_free_ char *text = template_literal(token);
	json_decref(token);
	return json_string(text ? text : "");
}

static void values_as_text(const json_t *token)
{
	size_t i;
	json_t *pair;
	json_array_foreach(json_object_get(token, "map"), i, pair)
		json_object_set_new(pair, "value", reader_as_text(json_incref(json_object_get(pair, "value"))));
}

/* A map whose values are scalars (env, with, outputs), as a token. An expression for the whole map is allowed for env.
 */
json_t *reader_scalars(struct reader *r, const json_t *object, const char *key)
{
	json_t *value = json_object_get(object, key);
	if (!value || json_is_null(value))
		return NULL;
	size_t mark = reader_enter(r, key);
	bool expression = json_is_string(value) && strstr(json_string_value(value), "${{") && strcmp(key, "env") == 0;
	if (!json_is_object(value) && !expression)
		reader_fault(r, "'%s' must be a map", key);
	const char *name;
	json_t *item;
	json_object_foreach(value, name, item)
	{
		size_t inner = reader_enter(r, name);
		if (json_is_object(item) || json_is_array(item))
			reader_fault(r, "the value of '%.60s' must be a text, a number or a boolean, not a %s", name,
			             json_is_array(item) ? "list" : "map");
		reader_leave(r, inner);
	}
	json_t *token = template_from_yaml(&r->source, value, str_peek(&r->at));
	values_as_text(token);
	reader_leave(r, mark);
	return token;
}

char *reader_condition(struct reader *r, const json_t *object)
{
	size_t mark = reader_enter(r, "if");
	char *condition = template_condition(&r->source, json_object_get(object, "if"), str_peek(&r->at));
	reader_leave(r, mark);
	return condition;
}

bool reader_is_expression(const json_t *value)
{
	return json_is_string(value) && strstr(json_string_value(value), "${{");
}

/* A member that is a text; a fault when it is something else or has an expression where none may stand. NULL: absent.
 */
char *reader_string(struct reader *r, const json_t *object, const char *key, bool expressions)
{
	json_t *value = json_object_get(object, key);
	if (!value)
		return NULL;
	size_t mark = reader_enter(r, key);
	_cleanup_free_ char *text = template_literal(value);
	if (!text || !*text)
		reader_fault(r, "'%s' must be a text that is not empty", key);
	else if (!expressions && reader_is_expression(value))
		reader_fault(r, "'%s' cannot hold an expression", key);
	reader_leave(r, mark);
	return TAKE(text);
}

json_t *reader_number(struct reader *r, const json_t *object, const char *key)
{
	json_t *value = json_object_get(object, key);
	if (value && !reader_is_expression(value) && !(json_is_number(value) && json_number_value(value) > 0)) {
		size_t mark = reader_enter(r, key);
		reader_fault(r, "'%s' must be a number greater than 0", key);
		reader_leave(r, mark);
	}
	return reader_token(r, object, key);
}

json_t *reader_boolean(struct reader *r, const json_t *object, const char *key)
{
	json_t *value = json_object_get(object, key);
	if (value && !reader_is_expression(value) && !json_is_boolean(value)) {
		size_t mark = reader_enter(r, key);
		reader_fault(r, "'%s' must be true or false", key);
		reader_leave(r, mark);
	}
	return reader_token(r, object, key);
}

void reader_check_id(struct reader *r, const char *id)
{
	if (!reader_is_name(id) || str_starts(id, "__") || strlen(id) >= ID_MAX)
		reader_fault_key(
			r,
			"an id has letters, digits, - and _, begins with a letter or _ and not with __, and is "
			"shorter than %d characters",
			ID_MAX);
}

bool reader_is_name(const char *text)
{
	if (!isalpha((unsigned char)*text) && *text != '_')
		return false;
	for (; *text; text++)
		if (!isalnum((unsigned char)*text) && *text != '_' && *text != '-')
			return false;
	return true;
}
