/* Changes whose path is an address, KIND:NAME: resources of an API, which have no path on a host. */
#pragma once
#include "engine/change/change_type.h"

/* Does the input of the step name this resource: among its `resources` ([{KIND: {"name": NAME, …}}]), or as what `allow_destroy`
 * (["KIND:NAME=IDENTITY"]) lets go? For `is_named` of such a kind. */
bool address_is_named(const struct change *c, const json_t *input);
/* The one of that kind and name among the `resources` of an input; NULL: it has none. Borrowed. */
const json_t *address_resource(const json_t *input, const char *kind, const char *name);
