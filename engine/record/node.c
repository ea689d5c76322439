#include "engine/record/node.h"
#include "base/core/mem.h"

#include <stdlib.h>
#include <string.h>

static const char *const node_names[] = {"absent", "file", "dir", "link", "other"};

void node_done(struct node *n)
{
	free(n->link);
	n->link = NULL;
}

json_t *node_to_json(const struct node *n, const char *digest)
{
	json_t *o = json_object();
	json_set_string(o, "type", node_names[n->type]);
	if (n->type == NODE_LINK)
		json_set_string(o, "link", n->link ? n->link : "");
	if (n->type != NODE_FILE && n->type != NODE_DIR)
		return o;
	if (n->type == NODE_FILE) {
		if (digest)
			json_set_string(o, "digest", digest);
		json_object_set_new(o, "size", json_integer(n->size));
	}
	json_object_set_new(o, "mode", json_stringf("%04o", (unsigned int)n->mode & 07777));
	json_set_string(o, "owner", n->owner);
	json_set_string(o, "group", n->group);
	json_object_set_new(o, "mtime_ns", json_integer(n->mtime_ns));
	return o;
}

enum node_type node_type_of(const json_t *node)
{
	const char *name = json_get_string(node, "type");
	for (size_t i = 0; name != NULL && i < ARRAY_SIZE(node_names); i++)
		if (strcmp(node_names[i], name) == 0)
			return (enum node_type)i;
	return NODE_ABSENT;
}

const char *node_type_name(const json_t *node)
{
	const char *type = json_get_string(node, "type");
	return type != NULL ? type : "absent";
}

long node_mode(const json_t *node)
{
	const char *text = json_get_string(node, "mode");
	return text != NULL ? strtol(text, NULL, 8) : -1;
}

json_t *node_after(const char *type, const json_t *before, const char *owner, const char *group, long mode)
{
	bool same = strcmp(node_type_name(before), type) == 0;
	const char *old_owner = same ? json_get_string(before, "owner") : NULL,
		   *old_group = same ? json_get_string(before, "group") : NULL;
	json_t *node = json_pack("{s:s}", "type", type);
	if (mode < 0 && same)
		mode = node_mode(before);
	if (mode >= 0)
		json_object_set_new(node, "mode", json_stringf("%04lo", mode));
	if (owner != NULL || old_owner != NULL)
		json_object_set_new(node, "owner", json_string(owner != NULL ? owner : old_owner));
	if (group != NULL || old_group != NULL)
		json_object_set_new(node, "group", json_string(group != NULL ? group : old_group));
	return node;
}

static const char *const compared[] = {"type", "mode", "owner", "group", "digest", "link"};

bool node_differs(const json_t *before, const json_t *after)
{
	if (strcmp(node_type_name(before), node_type_name(after)) != 0)
		return true;
	for (size_t i = 1; i < ARRAY_SIZE(compared); i++) {
		const char *a = json_get_string(before, compared[i]), *b = json_get_string(after, compared[i]);
		if (b != NULL && (a == NULL || strcmp(a, b) != 0))
			return true;
	}
	return false;
}
