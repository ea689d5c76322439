/* Strings for people. They are masked as a whole, then cut: a mask does not recognise half of a secret.
 * base/secret registers the mask when the first secret of the process is known; before that there is none to hide. */
#pragma once
#include "base/core/str.h"
#include <stdarg.h>

/* At most `max` bytes, masked first, then cut to whole characters and marked with "…". free() */
char *shown_text(const char *text, size_t len, size_t max);
/* The same with printf's format. free() */
char *shown_format(size_t max, const char *fmt, va_list args);
/* apply appends `text` to `out` without its secrets. */
void shown_set_mask(void (*apply)(const char *text, size_t len, struct str *out));
