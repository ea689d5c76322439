/* A deployment as it is given to the engine: its object, and what was read of it already, by the tables that the engine would use.
 * What is NULL the engine reads itself: of what was sealed, and inputs that wait for an earlier step. */
#pragma once
#include "engine/target/config.h"

struct deployment_step {
	const void *typed; /* its input, without `target`; NULL: not read yet */
	bool validated;    /* by its type */
};

struct deployment {
	const json_t *json; /* engine/run/engine.h */
	const struct target_config *targets;
	size_t target_count;
	const struct deployment_step *steps; /* in the order of the object's "steps" */
	size_t step_count;
};
/* One of which nothing was read; for a call's argument. */
#define DEPLOYMENT_UNREAD(object) (&(const struct deployment){.json = (object)})

/* NULL: it was not read. */
const struct target_config *deployment_target(const struct deployment *d, const char *name);
const struct deployment_step *deployment_step_read(const struct deployment *d, size_t index);
