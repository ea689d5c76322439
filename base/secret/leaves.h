/* Secrets that are documents: the values in them are secrets of their own. */
#pragma once
#include "base/secret/mask.h"

/* The shortest value that is covered by itself, in bytes: "main" or "root" of a document is no secret in each line of a log. */
enum { MASK_LEAF_MIN = 8 };
/* Covers each string and number of that length in a value that is a JSON or YAML map or list; a value that is none changes nothing.
 * The first 1,000 of a document are covered. Those of members whose
 * name says so ("password", "token", "key") are secrets as any other, the rest is only covered (mask_add_leaf). The value itself is mask_add's. */
void mask_add_leaves(struct mask *m, const char *value, size_t len);
