/* Shared by steps that plan: missing directories above a path, and the nodes that a change leads to. */
#pragma once
#include "engine/target/node_cache.h"
#include "engine/run/step.h"

/* Adds a change for each missing directory above `path`, from the top down, 0755; those already in the plan are
 * not repeated. ERR_INVALID when something above is not a directory. */
int step_plan_parents(struct view *v, struct node_cache *seen, struct plan *plan, const char *path, struct err *err);
/* Runs a query script and returns its exit status. Negative: could not be run. */
int step_ask(struct view *v, const char *script, const struct field_pair *env, size_t env_count, const char *user,
             struct str *ret_out, struct err *err);
/* The path normalized; a fault when it is not absolute or is the root. NULL then. free(). */
char *step_target_path(const char *path, const char *pointer, struct faults *faults);
