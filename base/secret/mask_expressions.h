/* Regular expressions (PCRE2) whose matches are to be covered: the service's shapes of tokens. */
#pragma once
#include "base/core/err.h"
#include "base/secret/mask_ranges.h"

struct expressions;
struct expressions *mask_expressions_new(void);
void mask_expressions_free(struct expressions *e);                                     /* NULL is allowed */
int mask_expressions_add(struct expressions *e, const char *pattern, struct err *err); /* at most 100 */
size_t mask_expressions_count(const struct expressions *e);
/* Adds what they match to `found`. by_line: the text is of several lines, and each is looked through by itself. */
void mask_expressions_find(const struct expressions *e, const char *text, size_t len, bool by_line,
                           struct ranges *found);
