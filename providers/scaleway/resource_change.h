/* The kind of changes "scaleway": an instance, an IP, a volume or a security group is made, changed, replaced or destroyed. Its path is the resource's
 * key, "scaleway_instance:web"; its nodes are those of kind.h. What it made has the deployment's mark among its tags; after.id, once it is
 * made, is what the service calls it. */
#pragma once
#include "engine/change/change_type.h"

extern const struct change_type scaleway_resource;
