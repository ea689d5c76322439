#include "agent/deployment/typed.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "agent/expr/expr.h"
#include "base/data/schema/compile.h"
#include "base/data/yaml.h"

enum { DEPTH_MAX = 32, LINE_MAX_BYTES = 4096 };

struct walk {
	const json_t *schema; /* the whole document: what "#/definitions/…" is found in */
	int depth;
};

/* Follows references and "an expression, or else": returns the schema of a filled-in value. */
static const json_t *follow(const struct walk *w, const json_t *node, bool *line)
{
	static const char prefix[] = "#/definitions/";
	for (int i = 0; i < DEPTH_MAX; i++) {
		*line = *line || json_is_true(json_object_get(node, "x-line"));
		const char *ref = json_get_string(node, "$ref");
		if (ref != NULL && str_starts(ref, prefix))
			node = json_object_get(json_object_get(w->schema, "definitions"), ref + strlen(prefix));
		else if (json_object_get(node, "if") != NULL && json_is_object(json_object_get(node, "else")))
			node = json_object_get(node, "else");
		else
			return node;
	}
	return NULL;
}

static bool has_type(const json_t *node, const char *type)
{
	const json_t *types = json_object_get(node, "type");
	if (json_is_string(types))
		return strcmp(json_string_value(types), type) == 0;
	for (size_t i = 0; i < json_array_size(types); i++)
		if (strcmp(json_string_value(json_array_get(types, i)), type) == 0)
			return true;
	return false;
}

/* The string without blanks and line feeds around it; NULL when it is longer than any value of one line. */
static char *trimmed(const json_t *value)
{
	const char *text = json_string_value(value);
	size_t len = json_string_length(value), start = 0;
	if (len > LINE_MAX_BYTES || strlen(text) != len)
		return NULL;
	while (len > 0 && strchr(" \t\r\n", text[len - 1]) != NULL)
		len--;
	while (start < len && strchr(" \t\r\n", text[start]) != NULL)
		start++;
	return xstrndup(text + start, len - start);
}

static json_t *as_number(const char *text, bool whole)
{
	char *end;
	long long number;
	if (str_parse_i64(text, INT64_MIN, INT64_MAX, &number))
		return json_integer(number);
	if (whole || *text == '\0' || text[strspn(text, "+-.0123456789eE")] != '\0')
		return NULL;
	double real = strtod(text, &end);
	return *end == '\0' && isfinite(real) ? json_real(real) : NULL;
}

/* "[a, b]" where a list is possible; NULL: none. */
static json_t *as_list(const char *text)
{
	struct yaml_limits limits = YAML_LIMITS_DEFAULT;
	struct yaml_doc *doc _cleanup_(yaml_freep) = NULL;
	limits.keep_octal = true;
	if (text[0] != '[' || yaml_read("value", text, strlen(text), &limits, &doc, NULL) < 0)
		return NULL;
	return json_is_array(yaml_root(doc)) ? json_deep_copy(yaml_root(doc)) : NULL;
}

static json_t *scalar(const json_t *node, const json_t *value, bool line)
{
	_cleanup_free_ char *text = trimmed(value);
	if (text == NULL)
		return NULL;
	bool is_text = has_type(node, "string");
	json_t *ret = has_type(node, "array") ? as_list(text) : NULL;
	if (ret == NULL && !is_text && has_type(node, "boolean") &&
	    (strcmp(text, "true") == 0 || strcmp(text, "false") == 0))
		ret = json_boolean(text[0] == 't');
	if (ret == NULL && !is_text && (has_type(node, "integer") || has_type(node, "number")))
		ret = as_number(text, !has_type(node, "number"));
	/* A duration or a size is a string or a number. */
	bool one_line = line || json_is_array(json_object_get(node, "enum")) || has_type(node, "number") ||
	                has_type(node, "integer");
	if (ret == NULL && one_line && (is_text || json_object_get(node, "enum") != NULL || line))
		ret = json_string(text);
	return ret;
}

static void descend(struct walk *w, const json_t *node, const json_t *raw, json_t *value, bool line);

/* The value to put in place of it; NULL: as it is. */
static json_t *member(struct walk *w, const json_t *node, const json_t *raw, json_t *value, bool line)
{
	node = follow(w, node, &line);
	if (node == NULL || raw == NULL)
		return NULL;
	if (json_is_string(value) && json_is_string(raw) && expr_is_template(json_string_value(raw)))
		return scalar(node, value, line);
	descend(w, node, raw, value, line);
	return NULL;
}

static void descend(struct walk *w, const json_t *node, const json_t *raw, json_t *value, bool line)
{
	node = follow(w, node, &line);
	if (w->depth >= DEPTH_MAX || node == NULL)
		return;
	w->depth++;
	static const char *const choices[] = {"anyOf", "allOf"};
	for (size_t c = 0; c < ARRAY_SIZE(choices); c++) {
		const json_t *list = json_object_get(node, choices[c]);
		for (size_t i = 0; i < json_array_size(list); i++)
			descend(w, json_array_get(list, i), raw, value, line);
	}
	const char *key;
	void *next;
	json_t *item, *put;
	json_object_foreach_safe(value, next, key, item)
	{
		const json_t *wanted = json_object_get(json_object_get(node, "properties"), key);
		if (wanted == NULL && json_is_object(json_object_get(node, "additionalProperties")))
			wanted = json_object_get(node, "additionalProperties");
		put = wanted ? member(w, wanted, json_object_get(raw, key), item, line) : NULL;
		if (put != NULL)
			json_object_set_new(value, key, put);
	}
	const json_t *items = json_object_get(node, "items");
	for (size_t i = 0; json_is_object(items) && i < json_array_size(value); i++) {
		put = member(w, items, json_array_get(raw, i), json_array_get(value, i), line);
		if (put != NULL)
			json_array_set_new(value, i, put);
	}
	w->depth--;
}

/* Only what an expression filled in is changed: without one no schema need be read. */
static bool holds_template(const json_t *raw)
{
	const char *key;
	size_t i;
	json_t *one;
	if (json_is_string(raw))
		return expr_is_template(json_string_value(raw));
	json_array_foreach((json_t *)(uintptr_t)raw, i, one) if (holds_template(one)) return true;
	json_object_foreach((json_t *)(uintptr_t)raw, key, one) if (holds_template(one)) return true;
	return false;
}

static void run(const char *schema, const char *start, const json_t *raw, json_t *value)
{
	if (schema == NULL || !holds_template(raw))
		return;
	json_t *document _cleanup_json_ = json_loads(schema, 0, NULL);
	struct walk w = {.schema = document};
	const json_t *from =
		start != NULL ? json_object_get(json_object_get(document, "definitions"), start) : document;
	if (from != NULL)
		descend(&w, from, raw, value, false);
}

void deployment_typed_step(const char *step, const json_t *raw, json_t *value)
{
	const char *key;
	void *next;
	json_t *item;
	run(schema_builtin(step), NULL, raw, value);
	/* An empty text is the same as no input, as in a workflow. */
	json_object_foreach_safe(value, next, key, item)
	{
		const json_t *written = json_object_get(raw, key);
		if (json_is_string(item) && json_string_length(item) == 0 && json_is_string(written) &&
		    expr_is_template(json_string_value(written)))
			json_object_del(value, key);
	}
}

void deployment_typed_target(const json_t *raw, json_t *value)
{
	run(schema_builtin_targets(), "target", raw, value);
}

void deployment_typed_targets(const json_t *raw, json_t *value)
{
	run(schema_builtin_targets(), NULL, raw, value);
}
