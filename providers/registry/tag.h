/* The kind of changes "registry-tag": what a tag leads to. Its path is "REPOSITORY:TAG"; a node is {"type":"absent"} or
 * {"type":"image","digest":"sha256:…"}; extra.from names the repository that has the image. The protocol has no compare-and-set:
 * the tag is looked at right before it is set, and read back. */
#pragma once
#include "engine/change/change_type.h"
#include "providers/registry/client.h"

extern const struct change_type registry_tag;
/* The registry that the image is fetched from when the change is applied; NULL: the change's own. Borrowed for as long as the change. */
void registry_tag_set_source(struct change *c, struct registry *source);
/* What the tag leads to now, as a node. */
int registry_tag_look(struct view *v, const char *path, json_t **ret_node, struct err *err);
