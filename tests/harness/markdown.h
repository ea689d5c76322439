/* What a comment of ours may be made of: outside of code only words of our own, so that nothing of others means anything there. */
#pragma once
#include <stdbool.h>
#include <string.h>

/* Skips `code` of one line, or <code>…</code>; NULL: it does not end. */
static const char *markdown_past_code(const char *p)
{
	if (*p == '`') {
		const char *end = p + 1 + strcspn(p + 1, "`\n");
		return *end == '`' && end > p + 1 ? end + 1 : NULL;
	}
	p += strlen("<code>");
	p += strcspn(p, "<>\n\"'");
	return strncmp(p, "</code>", strlen("</code>")) == 0 ? p + strlen("</code>") : NULL;
}

static bool markdown_takes(const char **p, const char *word)
{
	size_t len = strlen(word);
	if (strncmp(*p, word, len) != 0)
		return false;
	*p += len;
	return true;
}

static bool markdown_is_safe(const char *text)
{
	int folded = 0, head = 0;
	for (const char *p = text; *p != '\0';) {
		if (*p == '`' || strncmp(p, "<code>", strlen("<code>")) == 0) {
			p = markdown_past_code(p);
			if (p == NULL)
				return false;
		} else if (markdown_takes(&p, "<details>")) {
			folded++;
		} else if (markdown_takes(&p, "</details>")) {
			folded--;
		} else if (markdown_takes(&p, "<summary>")) {
			head++;
		} else if (markdown_takes(&p, "</summary>")) {
			head--;
		} else if (strchr("<>@[]&\\|", *p) != NULL || ((unsigned char)*p < ' ' && *p != '\n')) {
			return false;
		} else {
			p++;
		}
		if (folded < 0 || folded > 1 || head < 0 || head > 1)
			return false;
	}
	return folded == 0 && head == 0;
}
