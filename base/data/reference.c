#include "base/data/reference.h"

#include <string.h>

static const char *skip_blanks(const char *s)
{
	return s + strspn(s, " \t\n");
}

/* NULL: none begins there, or it is too long. */
static const char *take_name(const char *s, char ret[REFERENCE_NAME_MAX])
{
	size_t len = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-");
	if (len == 0 || len >= REFERENCE_NAME_MAX)
		return NULL;
	memcpy(ret, s, len);
	ret[len] = '\0';
	return s + len;
}

static bool read_at(const char *start, struct reference *ret, size_t *ret_len)
{
	static const char context[] = "resources.";
	const char *s = skip_blanks(start + strlen("${{"));
	if (strncmp(s, context, strlen(context)) != 0)
		return false;
	s = take_name(s + strlen(context), ret->name);
	if (s == NULL || *s != '.')
		return false;
	s = take_name(s + 1, ret->attribute);
	s = s != NULL ? skip_blanks(s) : NULL;
	if (s == NULL || strncmp(s, "}}", 2) != 0)
		return false;
	*ret_len = (size_t)(s + 2 - start);
	return true;
}

bool reference_find(const char *text, size_t from, struct reference *ret)
{
	for (const char *s = strstr(text + from, "${{"); s != NULL; s = strstr(s + 3, "${{")) {
		if (!read_at(s, ret, &ret->len))
			continue;
		ret->at = (size_t)(s - text);
		return true;
	}
	return false;
}
