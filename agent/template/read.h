/* YAML values → template tokens, and conditions as the runner wants them. The JSON form of tokens is that of job messages
 * (agent/template/eval.h reads it). */
#pragma once
#include "base/data/yaml.h"

/* The place of a value, so that expressions carry it, and the names that its expressions may use. */
struct template_source {
	const struct yaml_doc *doc;
	int file; /* 1-based index into the file table; 0: no positions */
	struct faults *faults;
	const char *const *names; /* contexts that may be used here, NULL-terminated; NULL: any */
	int flags;                /* EXPR_WITH_STATUS, EXPR_WITH_HASH_FILES */
};
/* A YAML value → template token, new. Faults (an expression that is not closed or not understood) are added, then the token
 * is null. */
json_t *template_from_yaml(const struct template_source *source, const json_t *value, const char *pointer);
/* An `if:` → the condition as the runner wants it: without braces, "success() && (…)" where no status function is
 * called. value NULL: "success()". */
char *template_condition(const struct template_source *source, const json_t *value, const char *pointer);
/* The string of a token that is a literal; NULL for expressions, lists and maps. Booleans and numbers in their YAML spelling.
 * free(). */
char *template_literal(const json_t *token);
