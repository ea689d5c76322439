#include "engine/change/address.h"

#include "base/core/mem.h"
#include "base/core/str.h"
#include "base/data/json.h"

#include <string.h>

const json_t *address_resource(const json_t *input, const char *kind, const char *name)
{
	const json_t *all = json_get_array(input, "resources");
	for (size_t i = 0; i < json_array_size(all); i++) {
		const json_t *resource = json_object_get(json_array_get(all, i), kind);
		const char *own = json_get_string(resource, "name");
		if (own != NULL && strcmp(own, name) == 0)
			return resource;
	}
	return NULL;
}

static bool is_resource(const struct change *c, const json_t *input)
{
	const char *colon = strchr(c->path, ':');
	_cleanup_free_ char *kind = colon != NULL ? xstrndup(c->path, (size_t)(colon - c->path)) : NULL;
	return kind != NULL && address_resource(input, kind, colon + 1) != NULL;
}

static bool may_go(const struct change *c, const json_t *input)
{
	const json_t *allowed = json_object_get(input, "allow_destroy");
	_cleanup_free_ char *begin = xasprintf("%s=", c->path);
	for (size_t i = 0; i < json_array_size(allowed); i++) {
		const char *text = json_string_value(json_array_get(allowed, i));
		if (text != NULL && str_starts(text, begin))
			return true;
	}
	return false;
}

bool address_is_named(const struct change *c, const json_t *input)
{
	return is_resource(c, input) || may_go(c, input);
}
