/* Shared by the kinds of resources that a host has beside files. Their change is a machine_kind's, which looks too. */
#pragma once
#include "steps/apply/resource.h"
#include "steps/machine/machine.h"

/* All kinds of these in one round trip. Needs root, but for those that anyone may do. */
int machine_resource_ahead(struct resource_call *x, const struct resource_sight *sights, size_t count, bool with_way,
                           struct err *err);
int machine_resource_look(struct resource_call *x, const struct resource_type *type, const char *id, json_t **ret,
                          struct err *err);
bool machine_resource_differs(const json_t *before, const json_t *after);
