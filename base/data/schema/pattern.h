/* Patterns of JSON Schema: ECMA-262 regular expressions, translated to PCRE2 (UTF) where the two differ.
 * Matching is bounded by a match limit. Not ECMA-262, or not supported by PCRE2 (look-behind of variable length): refused. */
#pragma once
#include "base/core/str.h"
#include "base/core/err.h"

struct pattern;
/* ERR_INVALID: not a pattern; ERR_UNSUPPORTED: not supported by PCRE2. */
int pattern_compile(const char *text, size_t len, struct pattern **ret, struct err *err);
/* 1: found somewhere in the string, 0: not found, ERR_LIMIT: given up. */
int pattern_match(const struct pattern *p, const char *text, size_t len, struct err *err);
/* Groups in parentheses; the whole match is not counted. */
int pattern_group_count(const struct pattern *p);
struct pattern_span {
	size_t from, to; /* bytes of the text */
	bool found;      /* the group took part */
};
/* As pattern_match, and where the whole match (the first span) and its groups lie. Spans beyond the pattern's groups are not found. */
int pattern_find(const struct pattern *p, const char *text, size_t len, struct pattern_span *spans, size_t count,
                 struct err *err);
/* Describes a pattern of our own schemas ("an absolute path, as in /srv/app"); NULL: not known. */
const char *pattern_in_words(const char *text);
void pattern_free(struct pattern *p);
void pattern_freep(struct pattern **p);
/* The PCRE2 form: for tests. */
int pattern_translate(const char *text, size_t len, struct str *out, struct err *err);
