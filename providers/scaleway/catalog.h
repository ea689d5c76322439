/* What the service sells in a zone: types of instances with their limits, and images by their labels. Asked before the first change. */
#pragma once
#include "providers/scaleway/client.h"

/* A type that is sold there, for instances that are not there yet (makes: it must be in stock). Names near to a wrong one are listed. root_type,
 * root_gb: of its root volume. */
struct catalog_wish {
	const char *commercial_type, *root_type;
	int64_t root_gb;
	bool makes;
};
int catalog_check_type(struct scaleway *s, const struct catalog_wish *wish, struct wait *w, struct err *err);
/* The id of the image with that label for a type and a kind of root volume; an id stays what it is. free() */
int catalog_find_image(struct scaleway *s, const char *image, const char *commercial_type, const char *root_type,
                       struct wait *w, char **ret, struct err *err);
