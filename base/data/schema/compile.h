/* JSON Schema draft-07: compile a schema once, check any number of documents.
 * Every keyword that draft-07 defines is implemented or makes the schema unsupported (ERR_UNSUPPORTED, with the keyword).
 * Words that it does not define are ignored, or refused when strict_words is set (our own schemas/; x-… words are
 * known there, see base/data/fields/read.h). `pattern` is PCRE2 (UTF) with a match limit. Remote references resolve only in the
 * given map. `format`, `contentEncoding` and `contentMediaType` are annotations. Depth and work are bounded.
 * Source: draft-07 core and validation documents; tested by JSON-Schema-Test-Suite. */
#pragma once
#include "base/data/yaml.h"

struct schema;
struct schema_options {
	bool strict_words;
	const json_t *remotes; /* object: URI → schema; borrowed while compiling */
};
int schema_compile(const json_t *document, const struct schema_options *options, struct schema **ret, struct err *err);
/* Adds a fault for each violation (doc: for positions, may be NULL; faults NULL: only the answer). Returns 0 valid,
 * ERR_INVALID, or another error when the check itself could not be done (match limit, depth: ERR_LIMIT; a schema whose
 * references never end: ERR_UNSUPPORTED). */
int schema_check(const struct schema *schema, const json_t *instance, const struct yaml_doc *doc, struct faults *faults,
                 struct err *err);
void schema_free(struct schema *schema);
void schema_freep(struct schema **schema);
/* The schema document compiled into the program, by name ("archive-upload", "deployment"), or NULL. Borrowed text. */
const char *schema_builtin(const char *name);
const char *const *schema_builtin_names(size_t *ret_count);
/* Parts of "deployment", which is as large as all steps together: the file without the inputs of its steps and the settings of its
 * targets, and what its `targets` may be. */
const char *schema_builtin_heads(void);
const char *schema_builtin_targets(void);
