#include "providers/scaleway/kind.h"

#include "base/core/mem.h"

#include <string.h>

static const struct scaleway_kind *const kinds[] = {&scaleway_kind_instance, &scaleway_kind_ip, &scaleway_kind_volume,
                                                    &scaleway_kind_security_group};

const struct scaleway_kind *scaleway_kind_named(const char *name)
{
	for (size_t i = 0; name != NULL && i < ARRAY_SIZE(kinds); i++)
		if (strcmp(kinds[i]->name, name) == 0)
			return kinds[i];
	return NULL;
}

bool scaleway_kind_compares(const char *attribute)
{
	static const char *const not_compared[] = {"type", "name", "id", "mark", "ip", "address", "image", "image_id"};
	for (size_t i = 0; i < ARRAY_SIZE(not_compared); i++)
		if (strcmp(not_compared[i], attribute) == 0)
			return false;
	return true;
}
