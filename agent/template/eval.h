/* Template tokens: the JSON form of YAML values with expressions, as job messages carry them [2], evaluated to plain
 * JSON. */
#pragma once
#include "agent/expr/expr.h"

struct template_scope {
	struct expr_scope expr;
	const json_t *file_table; /* names for messages; NULL */
};

/* The value: literals, lists, maps in order, keys as strings (no two that differ in case only). Errors carry file, line
 * and column. ret: the caller's. NULL tokens give null. */
int template_eval(const json_t *token, const struct template_scope *scope, json_t **ret, struct err *err);
/* A map of strings: booleans and numbers in their string form, null is empty; lists and maps are refused. Sets them in
 * `into`. */
int template_eval_strings(const json_t *token, const struct template_scope *scope, json_t *into, struct err *err);
/* One string. */
int template_eval_string(const json_t *token, const struct template_scope *scope, json_t **ret, struct err *err);
/* A token for people: strings as they are, expressions in ${{ }} with their format() unfolded. free() */
char *template_readable(const json_t *token);
bool template_is_null(const json_t *token);
