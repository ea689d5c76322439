/* What a file on the target shall hold: text of the input, a file of the source tree, or a template there with values. */
#pragma once
#include "steps/apply/resource.h"

struct content {
	const char *text, *source;      /* either */
	const struct field_map *values; /* NULL: the source is no template */
	size_t max;
};
void content_validate(const struct resource *r, const struct content *in, const struct resource_faults *f);
/* ERR_LIMIT above `max`. */
int content_read(const struct step_context *c, const struct resource *r, const struct content *in, struct str *out,
                 struct err *err);
