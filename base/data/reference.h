/* References in strings to what a resource has, `${{ resources.web.ip }}`: the form alone, which is part of the expressions of deployment
 * files, and all that a file with a desired state may hold of them. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

enum { REFERENCE_NAME_MAX = 128 };

struct reference {
	size_t at, len; /* in the string */
	char name[REFERENCE_NAME_MAX], attribute[REFERENCE_NAME_MAX];
};
/* The first one at or behind `from`. */
bool reference_find(const char *text, size_t from, struct reference *ret);
