/* The difference of two texts: by lines, since the texts are lists of which few lines change. */
#pragma once
#include "base/core/err.h"
#include "base/core/str.h"

/* Appends instructions that make `to` out of `from`:
 *   c OFFSET LENGTH\n            copy from the old text (bytes)
 *   d LENGTH\n and the bytes     take these
 * Returns how many bytes of `to` are not copied. */
size_t line_delta(const char *from, size_t from_len, const char *to, size_t to_len, struct str *out);
