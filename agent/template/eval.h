/* Template tokens: the JSON form of YAML values with expressions, as job messages carry them [2], evaluated to plain
 * JSON. */
#pragma once
#include "agent/expr/expr.h"

struct template_scope {
	struct expr_scope expr;
	const json_t *file_table; /* names for messages; NULL: they have neither place nor title */
};

/* The value: literals, lists, maps in order, keys as strings (no two that differ in case only). Errors
 * read as the official runner's, "The template is not valid. FILE (Line: L, Col: C): …": all that was wrong, ten
 * places at most, joined by commas. ret: the caller's, untouched after an error. NULL tokens give null. */
int template_eval(const json_t *token, const struct template_scope *scope, json_t **ret, struct err *err);
/* A map of strings: booleans and numbers in their string form, null is empty; lists and maps are refused. Sets them in
 * `into`. */
int template_eval_strings(const json_t *token, const struct template_scope *scope, json_t *into, struct err *err);
/* One string. */
int template_eval_string(const json_t *token, const struct template_scope *scope, json_t **ret, struct err *err);
/* A literal number or boolean, or an expression that gives one: no string is converted. */
int template_eval_number(const json_t *token, const struct template_scope *scope, double *ret, struct err *err);
int template_eval_boolean(const json_t *token, const struct template_scope *scope, bool *ret, struct err *err);
/* A token for people: strings as they are, expressions in ${{ }} with their format() unfolded. free() */
char *template_readable(const json_t *token);
bool template_is_null(const json_t *token);
