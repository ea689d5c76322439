/* What several steps need when they plan: missing folders above a path, and the nodes that a change leads to. */
#pragma once
#include "steps/seen_nodes.h"
#include "steps/step.h"

/* A change for each folder above `path` that is not there, from the top down, 0755; those that the plan has already are
 * not repeated. ERR_INVALID when something above is not a directory. */
int step_plan_parents(struct view *v, struct seen_nodes *seen, struct plan *plan, const char *path, struct err *err);
/* The node that comes out of `before` when the given members are set; NULL and mode < 0 stay as they are. type: "file",
 * "dir". */
json_t *step_node_after(const char *type, const json_t *before, const char *owner, const char *group, long mode);
const char *step_node_type(const json_t *node); /* "absent" when NULL */
long step_node_mode(const json_t *node);        /* -1: unknown */
/* True when the two differ in what both say of type, mode, owner, group, digest, link. */
bool step_node_differs(const json_t *before, const json_t *after);
/* A text for a query without output that matters: its exit status. Negative: could not be asked. */
int step_ask(struct view *v, const char *script, const struct field_pair *env, size_t env_count, const char *user,
             struct str *ret_out, struct err *err);
/* The path normalized; a fault when it is not absolute or is the root. NULL then. free(). */
char *step_target_path(const char *path, const char *pointer, struct faults *faults);
