/* Fixed strings, any number of them, found in one pass over a text. So a job may add a hundred thousand masks, each
 * between two lines of output: adding one and finding one cost the same however many there are. */
#pragma once
#include "base/secret/mask_ranges.h"

struct patterns;
struct patterns *mask_patterns_new(void);
void mask_patterns_free(struct patterns *p);                              /* NULL is allowed; wipes all patterns */
void mask_patterns_add(struct patterns *p, const char *data, size_t len); /* each counts once */
size_t mask_patterns_count(const struct patterns *p);
size_t mask_patterns_longest(const struct patterns *p);
/* Adds the places of all of them to `found`. by_line: the text is of several lines, and each is looked through by itself. */
void mask_patterns_find(const struct patterns *p, const char *text, size_t len, bool by_line, struct ranges *found);
