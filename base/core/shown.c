#include "base/core/shown.h"
#include "base/core/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN_MAX = 64 << 20 };

static void (*mask)(const char *text, size_t len, struct str *out);

void shown_set_mask(void (*apply)(const char *text, size_t len, struct str *out))
{
	mask = apply;
}

char *shown_text(const char *text, size_t len, size_t max)
{
	static const char more[] = "…", stars[] = "***";
	struct str out = STR_INIT(SHOWN_MAX);
	if (mask != NULL)
		mask(text, len, &out);
	else
		str_append_n(&out, text, len);
	if (out.failed) {
		str_clear(&out);
		str_append_n(&out, stars, MIN(max, sizeof(stars) - 1));
	}
	if (out.len > max) {
		size_t room = max > sizeof(more) - 1 ? max - (sizeof(more) - 1) : max;
		str_truncate(&out, str_whole_characters(out.data, room));
		if (room < max)
			str_append(&out, more);
	}
	return str_take(&out);
}

char *shown_format(size_t max, const char *fmt, va_list args)
{
	char *whole = NULL;
	int n = vasprintf(&whole, fmt, args);
	if (n < 0)
		abort();
	char *shown = shown_text(whole, (size_t)n, max);
	explicit_bzero(whole, (size_t)n);
	free(whole);
	return shown;
}
