/* A project of Scaleway in one zone as a target: an API without files (schemas/targets/scaleway.json). */
#pragma once
#include "engine/target/target.h"
#include "providers/scaleway/client.h"

int scaleway_target_new(const struct target_config *config, struct target **ret, struct err *err);
/* The service that a target is; NULL: another kind. Borrowed. */
struct scaleway *scaleway_of_target(const struct view *v);
