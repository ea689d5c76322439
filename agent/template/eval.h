/* Template tokens: the JSON form of YAML values with expressions, as job messages carry them [2], evaluated to plain
 * JSON. */
#pragma once
#include "agent/expr/expr.h"

struct token_scope {
	struct expr_scope expr;
	const json_t *file_table; /* names for messages; NULL */
};

/* The value: literals, lists, maps in order, keys as texts (no two that differ in case only). Errors carry file, line
 * and column. ret: the caller's. NULL tokens give null. */
int token_eval(const json_t *token, const struct token_scope *scope, json_t **ret, struct err *err);
/* A map of texts: booleans and numbers in their text form, null is empty; lists and maps are refused. Sets them in
 * `into`. */
int token_eval_texts(const json_t *token, const struct token_scope *scope, json_t *into, struct err *err);
/* One text. */
int token_eval_text(const json_t *token, const struct token_scope *scope, json_t **ret, struct err *err);
/* A token for people: texts as they are, expressions in ${{ }} with their format() unfolded. free() */
char *token_readable(const json_t *token);
bool token_is_null(const json_t *token);
