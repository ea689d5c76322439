#include "agent/template/uses.h"

#include <ctype.h>
#include <string.h>

enum { CONTEXT_NAME_MAX = 100 };

int uses_read(const char *text, json_t **ret, struct err *err)
{
	if (str_starts(text, "docker://")) {
		*ret = json_pack("{s:s, s:s}", "type", "containerRegistry", "image", text + strlen("docker://"));
		return 0;
	}
	if (str_starts(text, "./")) {
		*ret = json_pack("{s:s, s:n, s:n, s:s, s:s}", "type", "repository", "name", "ref", "repositoryType",
		                 "self", "path", text);
		return 0;
	}
	const char *at = strchr(text, '@'), *slash = strchr(text, '/');
	if (!at || strchr(at + 1, '@') || !at[1] || !slash || slash > at || slash == text || slash + 1 == at)
		return err_set(err, ERR_INVALID,
		               "'uses' has the form OWNER/REPOSITORY[/PATH]@REF, ./PATH or docker://IMAGE, not '%.80s'",
		               text);
	const char *path = memchr(slash + 1, '/', (size_t)(at - slash - 1));
	const char *name_end = path ? path : at;
	json_t *reference = json_pack("{s:s, s:s%, s:s, s:s, s:n}", "type", "repository", "name", text,
	                              (size_t)(name_end - text), "ref", at + 1, "repositoryType", "GitHub", "path");
	while (path && path < at && *path == '/')
		path++;
	if (path && path < at)
		json_object_set_new(reference, "path", json_stringn(path, (size_t)(at - path)));
	*ret = reference;
	return 0;
}

char *uses_text(const json_t *reference)
{
	const char *image = json_get_string(reference, "image"), *name = json_get_string(reference, "name"),
		   *ref = json_get_string(reference, "ref"), *path = json_get_string(reference, "path");
	if (image != NULL)
		return xasprintf("docker://%s", image);
	if (name != NULL && ref != NULL)
		return xasprintf("%s%s%s@%s", name, path != NULL ? "/" : "", path != NULL ? path : "", ref);
	return xstrdup(path);
}

static const char *word_of(const json_t *reference)
{
	const char *type = json_get_string(reference, "type"), *name = json_get_string(reference, "name"),
		   *image = json_get_string(reference, "image");
	if (type != NULL && strcmp(type, "script") == 0)
		return "run";
	return name != NULL ? name : image != NULL ? image : "self";
}

char *uses_context_name(const json_t *reference, bool (*taken)(void *user, const char *name), void *user)
{
	_cleanup_free_ char *base = xasprintf("__%s", word_of(reference));
	base[MIN(strlen(base), (size_t)CONTEXT_NAME_MAX - 8)] = '\0';
	for (char *p = base + 2; *p != '\0'; p++)
		if (!isalnum((unsigned char)*p) && *p != '-')
			*p = '_';
	char *candidate = xstrdup(base);
	for (int n = 2; taken(user, candidate); n++) {
		free(candidate);
		candidate = xasprintf("%s_%d", base, n);
	}
	return candidate;
}
