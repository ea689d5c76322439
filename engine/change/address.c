#include "engine/change/address.h"

#include "base/core/mem.h"
#include "base/core/str.h"
#include "base/data/json.h"

#include <string.h>

static bool is_resource(const struct change *c, const json_t *input)
{
	const json_t *all = json_get_array(input, "resources");
	for (size_t i = 0; i < json_array_size(all); i++) {
		const char *kind;
		json_t *resource;
		json_object_foreach(json_array_get(all, i), kind, resource)
		{
			const char *name = json_get_string(resource, "name");
			_cleanup_free_ char *address = xasprintf("%s:%s", kind, name ? name : "");
			if (name != NULL && strcmp(address, c->path) == 0)
				return true;
		}
	}
	return false;
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
