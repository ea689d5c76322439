/* Strings for people. They are masked as a whole, then cut: a mask does not recognise half of a secret.
 * base/secret registers the mask when the first secret of the process is known; before that there is none to hide. */
#pragma once
#include "base/core/str.h"
#include <stdarg.h>

/* At most `max` bytes, masked first, then cut to whole characters and marked with "…". free() */
char *shown_text(const char *text, size_t len, size_t max);
/* The same with printf's format. free() */
char *shown_format(size_t max, const char *fmt, va_list args);
/* Appends a string of others as code of Markdown: masked, in one line, at most `max` bytes of it. No mention, link, HTML or end of a table's cell
 * comes out of it. "" or NULL: nothing. */
void shown_code(struct str *out, const char *text, size_t max);
/* [words](url); the words alone where the URL is no plain and short one of the web, since another could end its own link. words: our own. */
void shown_link(struct str *out, const char *words, const char *url);
/* apply appends `text` to `out` without its secrets. */
void shown_set_mask(void (*apply)(const char *text, size_t len, struct str *out));
