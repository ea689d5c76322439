/* A bucket as a target: an API without files (schemas/targets/s3.json). */
#pragma once
#include "engine/target/target.h"
#include "providers/s3/client.h"

int s3_target_new(const struct target_config *config, struct target **ret, struct err *err);
/* The bucket that a target is; NULL: another kind. Borrowed. */
struct s3 *s3_of_target(const struct view *v);
/* What the keys of all that is kept there begin with: "davit/", or "". Borrowed. */
const char *s3_prefix_of_target(const struct view *v);
