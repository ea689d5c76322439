/* A compiled schema, shared by the parts of the draft-07 validator. Inside base/data/schema only.
 *
 * compile.c makes a node of each subschema and notes its `$ref`; refs.c resolves these, by the URIs that `$id` gives, in the
 * document itself, the built-in meta-schema and the map of remotes; check.c walks instance and nodes. Nodes live in the
 * schema's arena, whose deferred calls free patterns and drop documents. */
#pragma once
#include "base/data/schema/pattern.h"
#include "base/data/schema/compile.h"

enum { SCHEMA_MAX_DEPTH = 500, SCHEMA_MAX_NODES = 200000 };
#define SCHEMA_NO_LIMIT SIZE_MAX

enum node_kind { NODE_RULES, NODE_ANYTHING, NODE_NOTHING, NODE_REF };

enum {
	TYPE_NULL = 1,
	TYPE_BOOLEAN = 2,
	TYPE_INTEGER = 4,
	TYPE_NUMBER = 8,
	TYPE_STRING = 16,
	TYPE_ARRAY = 32,
	TYPE_OBJECT = 64,
};

struct schema_node;
struct node_list {
	struct schema_node **items;
	size_t count;
};
struct named_node {
	const char *name;
	struct schema_node *node;
};
struct named_list {
	struct named_node *items;
	size_t count;
};
struct pattern_node {
	const char *text;
	struct pattern *pattern;
	struct schema_node *node;
};
struct pattern_list {
	struct pattern_node *items;
	size_t count;
};
/* node NULL: the names in `required` must be there. */
struct dependency {
	const char *name;
	struct schema_node *node;
	const json_t *required;
};
struct dependency_list {
	struct dependency *items;
	size_t count;
};

struct schema_node {
	enum node_kind kind;
	const json_t *source;
	const char *base;         /* URI that references inside are relative to */
	size_t document;          /* index of its document */
	struct schema_node *next; /* in the index by source */

	const char *ref;   /* absolute URI, of NODE_REF */
	const char *place; /* of the $ref, for messages */
	struct schema_node *target;

	unsigned types; /* 0: any */
	const json_t *enumeration, *constant;
	const json_t *multiple_of, *minimum, *maximum, *exclusive_minimum, *exclusive_maximum;
	size_t min_length, max_length, min_items, max_items, min_properties, max_properties;
	const char *pattern_text;
	struct pattern *pattern;
	bool unique_items;
	struct schema_node *items, *additional_items, *contains;
	bool has_item_list;
	struct node_list item_list;
	const json_t *required, *properties_source;
	struct named_list properties;
	struct pattern_list pattern_properties;
	struct schema_node *additional_properties, *property_names;
	struct dependency_list dependencies;
	struct node_list all_of, any_of, one_of;
	struct schema_node *not_, *if_, *then_, *else_;
};

/* A URI, and the schema it names. */
struct schema_id {
	const char *uri;
	struct schema_node *node;
};
struct schema_document {
	const char *uri;
	json_t *root;
	struct schema_node *node;
};

struct schema {
	struct arena arena;
	struct schema_node *root;
	struct schema_document *documents;
	size_t document_count, document_cap;
};

struct compiler {
	struct schema *schema;
	struct schema_options options;
	struct err *err;
	struct str pointer; /* of the subschema being compiled */
	int depth;
	size_t document;
	size_t node_count;
	struct schema_node **index; /* by source, chained */
	size_t index_size;
	struct schema_id *ids;
	size_t id_count, id_cap;
	struct schema_node **refs; /* unresolved from ref_done on */
	size_t ref_count, ref_cap, ref_done;
};

int schema_compile_node(struct compiler *c, const json_t *source, const char *base, struct schema_node **ret);
struct schema_node *schema_find_node(const struct compiler *c, const json_t *source, size_t document);
int schema_add_document(struct compiler *c, const char *uri, json_t *root, size_t *ret_index);
void schema_add_id(struct compiler *c, const char *uri, struct schema_node *node);
/* Resolves all references, which may bring further documents. */
int schema_resolve(struct compiler *c);
/* RFC 3986, 5.2; the arena's. An empty base leaves the reference unchanged. */
const char *refs_uri_resolve(struct arena *arena, const char *base, const char *reference);
/* The draft-07 meta-schema. */
extern const char schema_meta_uri[];
extern const char schema_meta_text[];

/* Compares values: numbers by value in any form, objects in any order. */
int value_compare(const json_t *a, const json_t *b);
bool value_is_multiple(const json_t *value, const json_t *of);
unsigned value_type(const json_t *value); /* TYPE_…; a whole number is both INTEGER and NUMBER */
size_t value_code_points(const char *text, size_t len);
bool value_has_duplicates(const json_t *array);
