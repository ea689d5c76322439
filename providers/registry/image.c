#include "providers/registry/image.h"

#include "base/core/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_lower(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* One component: letters and digits, with ".", "_", "__" or dashes between them. */
static bool component_ends(const char **p)
{
	if (!is_lower(**p))
		return false;
	for (;;) {
		while (is_lower(**p))
			++*p;
		const char *separator = *p;
		if (**p == '.')
			++*p;
		else if (**p == '_')
			*p += (*p)[1] == '_' ? 2 : 1;
		else
			while (**p == '-')
				++*p;
		if (*p == separator)
			return true;
		if (!is_lower(**p))
			return false;
	}
}

static bool is_repository(const char *text)
{
	if (strlen(text) > REGISTRY_NAME_MAX)
		return false;
	for (const char *p = text;; p++) {
		if (!component_ends(&p))
			return false;
		if (*p == '\0')
			return true;
		if (*p != '/')
			return false;
	}
}

static bool is_tag(const char *text)
{
	size_t len = strlen(text);
	if (len == 0 || len > REGISTRY_TAG_MAX || text[0] == '.' || text[0] == '-')
		return false;
	return strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-") == len;
}

bool registry_is_digest(const char *text)
{
	return strncmp(text, "sha256:", 7) == 0 && strspn(text + 7, "0123456789abcdef") == 64 && text[7 + 64] == '\0';
}

int registry_image_read(const char *text, struct registry_image *ret, struct err *err)
{
	struct registry_image i _cleanup_(registry_image_done) = {0};
	_cleanup_free_ char *name = xstrdup(text);
	char *digest = strchr(name, '@');
	if (digest != NULL) {
		*digest++ = '\0';
		if (!registry_is_digest(digest))
			return err_set(err, ERR_INVALID, "'%s': a digest is 'sha256:' and 64 digits of 0-9a-f", text);
		snprintf(i.digest, sizeof(i.digest), "%s", digest);
	}
	char *tag = strchr(name, ':');
	if (tag != NULL && strchr(tag, '/') != NULL) {
		err_set(err, ERR_INVALID, "'%s' names a registry", text);
		return err_hint(err, ERR_INVALID, "the registry is the target; the image is the rest: REPOSITORY:TAG");
	}
	if (tag != NULL) {
		*tag++ = '\0';
		if (!is_tag(tag))
			return err_set(
				err, ERR_INVALID,
				"'%s': a tag is up to 128 of A-Z a-z 0-9 _ . -, and begins with none of the last two",
				text);
		i.tag = xstrdup(tag);
	}
	if (!is_repository(name)) {
		err_set(err, ERR_INVALID, "'%s': '%s' is not the name of a repository", text, name);
		return err_hint(err, ERR_INVALID, "lower-case letters and digits, with / . _ - between them");
	}
	if (i.tag == NULL && i.digest[0] == '\0')
		return err_set(err, ERR_INVALID, "'%s' has neither a tag nor a digest", text);
	i.repository = xstrdup(name);
	*ret = i;
	i = (struct registry_image){0};
	return 0;
}

void registry_image_done(struct registry_image *i)
{
	free(i->repository);
	free(i->tag);
	*i = (struct registry_image){0};
}

const char *registry_image_reference(const struct registry_image *i)
{
	return i->digest[0] != '\0' ? i->digest : i->tag;
}
