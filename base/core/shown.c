#include "base/core/shown.h"
#include "base/core/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN_MAX = 64 << 20, URL_MAX = 500 };

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

void shown_code(struct str *out, const char *text, size_t max)
{
	if (text == NULL || *text == '\0')
		return;
	_cleanup_free_ char *cut = shown_text(text, strlen(text), max);
	_cleanup_(str_done) struct str safe = STR_INIT(8 * max + 64);
	str_append_safe(&safe, cut, strlen(cut));
	str_append_c(out, '`');
	for (const char *p = str_peek(&safe); *p != '\0'; p++) {
		/* A bar ends the cell of a table, even within code; a backslash before one would itself be escaped. */
		if (*p == '|')
			str_append(out, p > str_peek(&safe) && p[-1] == '\\' ? " \\|" : "\\|");
		else
			str_append_c(out, *p == '`' ? '\'' : *p);
	}
	str_append_c(out, '`');
}

void shown_link(struct str *out, const char *words, const char *url)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~:/?#@!$&*+,;=%";
	bool links = url != NULL && strlen(url) <= URL_MAX &&
	             (str_starts(url, "https://") || str_starts(url, "http://")) && url[strspn(url, plain)] == '\0';
	if (links)
		str_appendf(out, "[%s](%s)", words, url);
	else
		str_append(out, words);
}
