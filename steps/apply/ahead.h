/* Looks at much at once, before the plan wants it piece by piece. */
#pragma once
#include "steps/apply/resource.h"

/* Looks at all of these: a thousand queries of a host take a few round trips (`ahead` of their kinds), and those of an API are asked at
 * once (`together`). What fails, or is not looked at for another one's failure, is left to ahead_node(). */
int ahead_look(struct resource_call *x, const struct resource_sight *sights, size_t count, bool with_way,
               struct err *err);
/* What is there of x->wanted or of x->row: as it was found ahead, else it is looked at now. key: "file:/path". */
int ahead_node(struct resource_call *x, const struct resource_type *type, const char *key, const char *id, json_t **ret,
               struct err *err);
