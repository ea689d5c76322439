/* Strings for people. What a person sees is masked as a whole and cut then: half of a secret is none that a mask knows.
 * The mask is registered by base/secret when the first secret of the process is known; before that there is none to hide. */
#pragma once
#include "base/core/str.h"
#include <stdarg.h>

/* At most `max` bytes, masked first, then cut to whole characters and marked with "…". free() */
char *shown_text(const char *text, size_t len, size_t max);
/* The same of what printf would make. free() */
char *shown_format(size_t max, const char *fmt, va_list args);
/* apply appends `text` to `out` without its secrets. */
void shown_set_mask(void (*apply)(const char *text, size_t len, struct str *out));
