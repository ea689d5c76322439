/* A file of the source tree with places to fill in: `${{ values.NAME }}`. Where the values come from (vars, resources) is the input's matter. */
#pragma once
#include "base/core/err.h"
#include "base/core/str.h"
#include "base/data/fields/read.h"

/* name: of the file, for messages. ERR_INVALID, with the line: a name that has no value, another expression, a NUL; or a value that has no place. */
int template_fill(const char *name, const struct str *text, const struct field_map *values, struct str *out,
                  struct err *err);
bool template_is_name(const char *name);
