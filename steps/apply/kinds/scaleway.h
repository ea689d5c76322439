/* What Scaleway's objects have in common as resources. The key is the name, which must be the only one in the project and zone; what the service calls
 * it is kept in the row. */
#pragma once
#include "steps/apply/resource.h"
#include "steps/sources/sources.h"

extern const char *const scaleway_targets[], *const scaleway_output_names[];
extern const struct change_type *const scaleway_kinds[];

void scaleway_validate(const struct resource *r, const struct resource_faults *f);
int scaleway_together(struct view *v, size_t count, void (*one)(void *context, size_t i), void *context,
                      struct err *err);
int scaleway_look(struct resource_call *x, const char *id, json_t **ret, struct err *err);
int scaleway_want(struct resource_call *x, const struct resource *r, const json_t *before, json_t **ret,
                  struct str *content, struct err *err);
void scaleway_forces(const json_t *before, const json_t *after, struct str *out);
void scaleway_identity(const json_t *before, struct str *out);
void scaleway_means(const json_t *before, const json_t *after, enum change_action action, struct str *out);
/* All that is asked for, by the names that a node has. The caller's. */
json_t *scaleway_asked_for(const struct resource *r);

#define SCALEWAY_RESOURCE                                                                                              \
	.targets = scaleway_targets, .kinds = scaleway_kinds, .change = &scaleway_resource,                            \
	.remove = &scaleway_resource, .by_key = true, .output_names = scaleway_output_names, .own_id = "id",           \
	.together = scaleway_together, .look = scaleway_look, .forces = scaleway_forces,                               \
	.identity = scaleway_identity, .means = scaleway_means
