#include "base/data/schema/schema_priv.h"

/* Keywords. Each handler fills its part of the node; the value's type is its business. */

typedef int (*keyword_fn)(struct compiler *c, struct schema_node *node, const json_t *value);
struct keyword {
	const char *name;
	keyword_fn compile;
};

static int refuse(struct compiler *c, const char *what)
{
	return err_set(c->err, ERR_INVALID, "schema, #%s: %s", str_peek(&c->pointer), what);
}

static int compile_at(struct compiler *c, const char *token, const json_t *source, const char *base,
                      struct schema_node **ret)
{
	size_t length = c->pointer.len;
	faults_pointer_push(&c->pointer, token);
	int r = schema_compile_node(c, source, base, ret);
	if (r == 0)
		str_truncate(&c->pointer, length);
	return r;
}

static int compile_list(struct compiler *c, const struct schema_node *node, const json_t *value, struct node_list *ret)
{
	size_t count = json_array_size(value);
	if (!json_is_array(value))
		return refuse(c, "must be a list of schemas");
	ret->items = arena_alloc(&c->schema->arena, count * sizeof(struct schema_node *));
	for (size_t i = 0; i < count; i++) {
		size_t length = c->pointer.len;
		faults_pointer_push_index(&c->pointer, i);
		int r = schema_compile_node(c, json_array_get(value, i), node->base, &ret->items[i]);
		if (r < 0)
			return r;
		str_truncate(&c->pointer, length);
	}
	ret->count = count;
	return 0;
}

static int limit(struct compiler *c, const json_t *value, size_t *ret)
{
	double number = json_number_value(value);
	if (!(value_type(value) & TYPE_INTEGER) || number < 0)
		return refuse(c, "must be a whole number, 0 or more");
	*ret = number >= 9e15 ? (size_t)9e15 : (size_t)number;
	return 0;
}

static int number(struct compiler *c, const json_t *value, const json_t **ret)
{
	*ret = value;
	return json_is_number(value) ? 0 : refuse(c, "must be a number");
}

static int kw_type(struct compiler *c, struct schema_node *node, const json_t *value)
{
	static const struct {
		const char *name;
		unsigned type;
	} types[] = {
		{"null", TYPE_NULL},     {"boolean", TYPE_BOOLEAN}, {"integer", TYPE_INTEGER}, {"number", TYPE_NUMBER},
		{"string", TYPE_STRING}, {"array", TYPE_ARRAY},     {"object", TYPE_OBJECT},
	};
	size_t count = json_is_array(value) ? json_array_size(value) : 1;
	if (count == 0)
		return refuse(c, "must name a type");
	for (size_t i = 0; i < count; i++) {
		const char *name = json_string_value(json_is_array(value) ? json_array_get(value, i) : value);
		unsigned type = 0;
		for (size_t k = 0; name != NULL && k < ARRAY_SIZE(types); k++)
			if (strcmp(types[k].name, name) == 0)
				type = types[k].type;
		if (type == 0)
			return refuse(c,
			              "must be one or more of null, boolean, integer, number, string, array, object");
		node->types |= type;
	}
	return 0;
}

static int kw_enum(struct compiler *c, struct schema_node *node, const json_t *value)
{
	node->enumeration = value;
	return json_is_array(value) ? 0 : refuse(c, "must be a list");
}

static int kw_const(struct compiler *c, struct schema_node *node, const json_t *value)
{
	(void)c;
	node->constant = value;
	return 0;
}

static int kw_multiple_of(struct compiler *c, struct schema_node *node, const json_t *value)
{
	if (!json_is_number(value) || json_number_value(value) <= 0)
		return refuse(c, "must be a number above 0");
	node->multiple_of = value;
	return 0;
}

static int kw_minimum(struct compiler *c, struct schema_node *node, const json_t *value)
{
	return number(c, value, &node->minimum);
}

static int kw_maximum(struct compiler *c, struct schema_node *node, const json_t *value)
{
	return number(c, value, &node->maximum);
}

static int kw_exclusive_minimum(struct compiler *c, struct schema_node *node, const json_t *value)
{
	return number(c, value, &node->exclusive_minimum);
}

static int kw_exclusive_maximum(struct compiler *c, struct schema_node *node, const json_t *value)
{
	return number(c, value, &node->exclusive_maximum);
}

static int kw_min_length(struct compiler *c, struct schema_node *node, const json_t *value)
{
	return limit(c, value, &node->min_length);
}

static int kw_max_length(struct compiler *c, struct schema_node *node, const json_t *value)
{
	return limit(c, value, &node->max_length);
}

static int kw_min_items(struct compiler *c, struct schema_node *node, const json_t *value)
{
	return limit(c, value, &node->min_items);
}

static int kw_max_items(struct compiler *c, struct schema_node *node, const json_t *value)
{
	return limit(c, value, &node->max_items);
}

static int kw_min_properties(struct compiler *c, struct schema_node *node, const json_t *value)
{
	return limit(c, value, &node->min_properties);
}

static int kw_max_properties(struct compiler *c, struct schema_node *node, const json_t *value)
{
	return limit(c, value, &node->max_properties);
}

static void free_pattern(void *p)
{
	pattern_free(p);
}

static int compile_pattern(struct compiler *c, const char *text, size_t len, struct pattern **ret)
{
	int r = pattern_compile(text, len, ret, c->err);
	if (r < 0)
		return err_wrap(c->err, r, "schema, #%s", str_peek(&c->pointer));
	arena_defer(&c->schema->arena, free_pattern, *ret);
	return 0;
}

static int kw_pattern(struct compiler *c, struct schema_node *node, const json_t *value)
{
	if (!json_is_string(value))
		return refuse(c, "must be a text");
	node->pattern_text = json_string_value(value);
	return compile_pattern(c, json_string_value(value), json_string_length(value), &node->pattern);
}

static int kw_unique_items(struct compiler *c, struct schema_node *node, const json_t *value)
{
	node->unique_items = json_is_true(value);
	return json_is_boolean(value) ? 0 : refuse(c, "must be true or false");
}

static int kw_items(struct compiler *c, struct schema_node *node, const json_t *value)
{
	if (!json_is_array(value))
		return schema_compile_node(c, value, node->base, &node->items);
	node->has_item_list = true;
	return compile_list(c, node, value, &node->item_list);
}

static int kw_additional_items(struct compiler *c, struct schema_node *node, const json_t *value)
{
	return schema_compile_node(c, value, node->base, &node->additional_items);
}

static int kw_contains(struct compiler *c, struct schema_node *node, const json_t *value)
{
	return schema_compile_node(c, value, node->base, &node->contains);
}

static int kw_required(struct compiler *c, struct schema_node *node, const json_t *value)
{
	for (size_t i = 0; i < json_array_size(value); i++)
		if (!json_is_string(json_array_get(value, i)))
			return refuse(c, "must be a list of names");
	node->required = value;
	return json_is_array(value) ? 0 : refuse(c, "must be a list of names");
}

static int kw_properties(struct compiler *c, struct schema_node *node, const json_t *value)
{
	if (!json_is_object(value))
		return refuse(c, "must be a map from names to schemas");
	node->properties_source = value;
	node->properties.items = arena_alloc(&c->schema->arena, json_object_size(value) * sizeof(struct named_node));
	const char *name;
	json_t *source;
	json_object_foreach((json_t *)value, name, source)
	{
		struct named_node *item = &node->properties.items[node->properties.count++];
		item->name = name;
		int r = compile_at(c, name, source, node->base, &item->node);
		if (r < 0)
			return r;
	}
	return 0;
}

static int kw_pattern_properties(struct compiler *c, struct schema_node *node, const json_t *value)
{
	if (!json_is_object(value))
		return refuse(c, "must be a map from patterns to schemas");
	node->pattern_properties.items =
		arena_alloc(&c->schema->arena, json_object_size(value) * sizeof(struct pattern_node));
	const char *name;
	json_t *source;
	json_object_foreach((json_t *)value, name, source)
	{
		struct pattern_node *item = &node->pattern_properties.items[node->pattern_properties.count++];
		item->text = name;
		int r = compile_pattern(c, name, strlen(name), &item->pattern);
		if (r == 0)
			r = compile_at(c, name, source, node->base, &item->node);
		if (r < 0)
			return r;
	}
	return 0;
}

static int kw_additional_properties(struct compiler *c, struct schema_node *node, const json_t *value)
{
	return schema_compile_node(c, value, node->base, &node->additional_properties);
}

static int kw_property_names(struct compiler *c, struct schema_node *node, const json_t *value)
{
	return schema_compile_node(c, value, node->base, &node->property_names);
}

static int kw_dependencies(struct compiler *c, struct schema_node *node, const json_t *value)
{
	if (!json_is_object(value))
		return refuse(c, "must be a map");
	node->dependencies.items = arena_alloc(&c->schema->arena, json_object_size(value) * sizeof(struct dependency));
	const char *name;
	json_t *source;
	json_object_foreach((json_t *)value, name, source)
	{
		struct dependency *item = &node->dependencies.items[node->dependencies.count++];
		item->name = name;
		item->required = json_is_array(source) ? source : NULL;
		for (size_t i = 0; i < json_array_size(source); i++)
			if (!json_is_string(json_array_get(source, i)))
				return refuse(c, "must map to a schema or a list of names");
		int r = json_is_array(source) ? 0 : compile_at(c, name, source, node->base, &item->node);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Only compiled, so that schemas inside have their URIs. */
static int kw_definitions(struct compiler *c, struct schema_node *node, const json_t *value)
{
	if (!json_is_object(value))
		return refuse(c, "must be a map from names to schemas");
	const char *name;
	json_t *source;
	json_object_foreach((json_t *)value, name, source)
	{
		struct schema_node *ignored;
		int r = compile_at(c, name, source, node->base, &ignored);
		if (r < 0)
			return r;
	}
	return 0;
}

static int kw_all_of(struct compiler *c, struct schema_node *node, const json_t *value)
{
	return compile_list(c, node, value, &node->all_of);
}

static int kw_any_of(struct compiler *c, struct schema_node *node, const json_t *value)
{
	return compile_list(c, node, value, &node->any_of);
}

static int kw_one_of(struct compiler *c, struct schema_node *node, const json_t *value)
{
	return compile_list(c, node, value, &node->one_of);
}

static int kw_not(struct compiler *c, struct schema_node *node, const json_t *value)
{
	return schema_compile_node(c, value, node->base, &node->not_);
}

static int kw_if(struct compiler *c, struct schema_node *node, const json_t *value)
{
	return schema_compile_node(c, value, node->base, &node->if_);
}

static int kw_then(struct compiler *c, struct schema_node *node, const json_t *value)
{
	return schema_compile_node(c, value, node->base, &node->then_);
}

static int kw_else(struct compiler *c, struct schema_node *node, const json_t *value)
{
	return schema_compile_node(c, value, node->base, &node->else_);
}

static int kw_schema(struct compiler *c, struct schema_node *node, const json_t *value)
{
	(void)node;
	static const char *const known[] = {"http://json-schema.org/draft-07/schema#",
	                                    "http://json-schema.org/draft-07/schema"};
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (json_is_string(value) && strcmp(json_string_value(value), known[i]) == 0)
			return 0;
	return err_set(c->err, ERR_UNSUPPORTED, "$schema: only draft-07 is supported");
}

static int kw_text(struct compiler *c, struct schema_node *node, const json_t *value)
{
	(void)node;
	return json_is_string(value) ? 0 : refuse(c, "must be a text");
}

static int kw_anything(struct compiler *c, struct schema_node *node, const json_t *value)
{
	(void)c;
	(void)node;
	(void)value;
	return 0;
}

/* All keywords of draft-07; those of the last lines are annotations and assert nothing. */
static const struct keyword keywords[] = {
	{"additionalItems", kw_additional_items},
	{"additionalProperties", kw_additional_properties},
	{"allOf", kw_all_of},
	{"anyOf", kw_any_of},
	{"const", kw_const},
	{"contains", kw_contains},
	{"definitions", kw_definitions},
	{"dependencies", kw_dependencies},
	{"else", kw_else},
	{"enum", kw_enum},
	{"exclusiveMaximum", kw_exclusive_maximum},
	{"exclusiveMinimum", kw_exclusive_minimum},
	{"if", kw_if},
	{"items", kw_items},
	{"maxItems", kw_max_items},
	{"maxLength", kw_max_length},
	{"maxProperties", kw_max_properties},
	{"maximum", kw_maximum},
	{"minItems", kw_min_items},
	{"minLength", kw_min_length},
	{"minProperties", kw_min_properties},
	{"minimum", kw_minimum},
	{"multipleOf", kw_multiple_of},
	{"not", kw_not},
	{"oneOf", kw_one_of},
	{"pattern", kw_pattern},
	{"patternProperties", kw_pattern_properties},
	{"properties", kw_properties},
	{"propertyNames", kw_property_names},
	{"required", kw_required},
	{"then", kw_then},
	{"type", kw_type},
	{"uniqueItems", kw_unique_items},
	{"$schema", kw_schema},
	{"$id", kw_text},
	{"$ref", kw_text},
	{"$comment", kw_anything},
	{"contentEncoding", kw_anything},
	{"contentMediaType", kw_anything},
	{"default", kw_anything},
	{"description", kw_anything},
	{"examples", kw_anything},
	{"format", kw_anything},
	{"readOnly", kw_anything},
	{"title", kw_anything},
	{"writeOnly", kw_anything},
};

static const struct keyword *find_keyword(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(keywords); i++)
		if (strcmp(keywords[i].name, name) == 0)
			return &keywords[i];
	return NULL;
}

/* Nodes by source, so that a pointer into the document finds a compiled node. */

static size_t slot(const json_t *source, size_t size)
{
	return (size_t)(((uintptr_t)source >> 4) * 0x9e3779b97f4a7c15u) % size;
}

struct schema_node *schema_find_node(const struct compiler *c, const json_t *source, size_t document)
{
	/* true and false are the same value everywhere. */
	if (!json_is_object(source))
		return NULL;
	for (struct schema_node *n = c->index[slot(source, c->index_size)]; n != NULL; n = n->next)
		if (n->source == source && n->document == document)
			return n;
	return NULL;
}

static struct schema_node *new_node(struct compiler *c, const json_t *source, const char *base)
{
	struct schema_node *node = arena_alloc(&c->schema->arena, sizeof(*node));
	node->source = source;
	node->base = base;
	node->document = c->document;
	node->max_length = node->max_items = node->max_properties = SCHEMA_NO_LIMIT;
	struct schema_node **head = &c->index[slot(source, c->index_size)];
	node->next = *head;
	*head = node;
	c->node_count++;
	return node;
}

void schema_add_id(struct compiler *c, const char *uri, struct schema_node *node)
{
	size_t length = strlen(uri);
	if (length > 0 && uri[length - 1] == '#')
		uri = arena_strndup(&c->schema->arena, uri, length - 1);
	for (size_t i = 0; i < c->id_count; i++)
		if (strcmp(c->ids[i].uri, uri) == 0)
			return;
	c->ids = xgrow(c->ids, &c->id_cap, c->id_count + 1, sizeof(*c->ids));
	c->ids[c->id_count++] = (struct schema_id){uri, node};
}

/* "$id": a new base for its inside, or a name for this place ("#name"). */
static void apply_id(struct compiler *c, struct schema_node *node, const char *id)
{
	const char *uri = refs_uri_resolve(&c->schema->arena, node->base, id);
	schema_add_id(c, uri, node);
	if (id[0] != '#')
		node->base = arena_strndup(&c->schema->arena, uri, strcspn(uri, "#"));
	if (id[0] != '#' && strchr(uri, '#') != NULL)
		schema_add_id(c, node->base, node);
}

static int compile_ref(struct compiler *c, struct schema_node *node, const json_t *ref)
{
	if (!json_is_string(ref))
		return refuse(c, "$ref must be a text");
	node->kind = NODE_REF;
	node->ref = refs_uri_resolve(&c->schema->arena, node->base, json_string_value(ref));
	node->place = arena_printf(&c->schema->arena, "schema, #%s", str_peek(&c->pointer));
	c->refs = xgrow(c->refs, &c->ref_cap, c->ref_count + 1, sizeof(struct schema_node *));
	c->refs[c->ref_count++] = node;
	/* Other keywords beside $ref are ignored, but a reference may lead into definitions. */
	const json_t *definitions = json_object_get(node->source, "definitions");
	return json_is_object(definitions) ? kw_definitions(c, node, definitions) : 0;
}

static int compile_words(struct compiler *c, struct schema_node *node)
{
	const char *word;
	json_t *value;
	json_object_foreach((json_t *)node->source, word, value)
	{
		const struct keyword *keyword = find_keyword(word);
		if (keyword == NULL) {
			if (c->options.strict_words && !str_starts(word, "x-"))
				return err_set(c->err, ERR_UNSUPPORTED, "schema, #%s: the word '%s' is not known",
				               str_peek(&c->pointer), word);
			continue;
		}
		size_t length = c->pointer.len;
		faults_pointer_push(&c->pointer, word);
		int r = keyword->compile(c, node, value);
		if (r < 0)
			return r;
		str_truncate(&c->pointer, length);
	}
	return 0;
}

int schema_compile_node(struct compiler *c, const json_t *source, const char *base, struct schema_node **ret)
{
	if (json_is_boolean(source)) {
		*ret = new_node(c, source, base);
		(*ret)->kind = json_is_true(source) ? NODE_ANYTHING : NODE_NOTHING;
		return 0;
	}
	if (!json_is_object(source))
		return refuse(c, "a schema is a map, true or false");
	if (c->depth >= SCHEMA_MAX_DEPTH || c->node_count >= SCHEMA_MAX_NODES)
		return err_set(c->err, ERR_LIMIT, "the schema is too deep or too large");
	struct schema_node *node = new_node(c, source, base);
	*ret = node;
	const json_t *ref = json_object_get(source, "$ref");
	const char *id = json_get_string(source, "$id");
	if (id != NULL && ref == NULL)
		apply_id(c, node, id);
	c->depth++;
	int r = ref != NULL ? compile_ref(c, node, ref) : compile_words(c, node);
	c->depth--;
	return r;
}

int schema_add_document(struct compiler *c, const char *uri, json_t *root, size_t *ret_index)
{
	struct schema *s = c->schema;
	s->documents = xgrow(s->documents, &s->document_cap, s->document_count + 1, sizeof(*s->documents));
	size_t index = s->document_count++;
	s->documents[index] = (struct schema_document){.uri = uri, .root = json_incref(root)};
	size_t current = c->document;
	c->document = index;
	struct str outer = c->pointer;
	c->pointer = (struct str)STR_INIT(1 << 16);
	struct schema_node *node = NULL;
	int r = schema_compile_node(c, root, uri, &node);
	str_done(&c->pointer);
	c->pointer = outer;
	c->document = current;
	if (r < 0)
		return r;
	s->documents[index].node = node;
	schema_add_id(c, uri, node);
	*ret_index = index;
	return 0;
}

static size_t count_objects(const json_t *value, int depth)
{
	size_t count = 1;
	const char *key;
	json_t *member;
	if (depth > SCHEMA_MAX_DEPTH)
		return count;
	json_object_foreach((json_t *)value, key, member) count += count_objects(member, depth + 1);
	for (size_t i = 0; i < json_array_size(value); i++)
		count += count_objects(json_array_get(value, i), depth + 1);
	return count;
}

int schema_compile(const json_t *document, const struct schema_options *options, struct schema **ret, struct err *err)
{
	_cleanup_(schema_freep) struct schema *schema = xcalloc(1, sizeof(*schema));
	struct compiler c = {.schema = schema, .err = err, .pointer = STR_INIT(1 << 16)};
	if (options != NULL)
		c.options = *options;
	c.index_size = count_objects(document, 0) + 61;
	c.index = xcalloc(c.index_size, sizeof(struct schema_node *));
	size_t index;
	int r = schema_add_document(&c, "", (json_t *)document, &index);
	if (r == 0)
		r = schema_resolve(&c);
	if (r == 0)
		schema->root = schema->documents[0].node;
	free(c.index);
	free(c.ids);
	free(c.refs);
	str_done(&c.pointer);
	if (r < 0)
		return r;
	*ret = TAKE(schema);
	return 0;
}

void schema_free(struct schema *schema)
{
	if (schema == NULL)
		return;
	arena_done(&schema->arena);
	for (size_t i = 0; i < schema->document_count; i++)
		json_decref(schema->documents[i].root);
	free(schema->documents);
	free(schema);
}

void schema_freep(struct schema **schema)
{
	schema_free(*schema);
	*schema = NULL;
}
