/* The positions of a document's values: a tree of the same shape as its JSON value. Inside base only.
 * A node of a map has its members' keys; an array's members have key NULL and are found by index. */
#pragma once
#include "base/data/yaml.h"

struct mark_node {
	struct yaml_mark key_mark, value_mark;
	char *key;
	struct mark_node *items;
	size_t count, cap;
};

/* A member with this key (NULL: an array's next element). Valid until the next one is added. */
struct mark_node *mark_node_add(struct mark_node *parent, const char *key, struct yaml_mark key_mark);
void mark_node_done(struct mark_node *node);
/* The node at a pointer; else its nearest known ancestor, and *ret_exact says so. */
const struct mark_node *mark_node_find(const struct mark_node *root, const char *pointer, bool *ret_exact);
/* Marks of a document that jansson has accepted: for JSON that libyaml does not accept. */
void mark_json(const char *data, size_t len, struct mark_node *root);
