/* A registry as a target: an API without files (schemas/targets/registry.json). */
#pragma once
#include "engine/target/target.h"
#include "providers/registry/client.h"

int registry_target_new(const struct target_config *config, struct target **ret, struct err *err);
/* The registry that a target is; NULL: another kind. Borrowed. */
struct registry *registry_of_target(const struct view *v);
