#include "base/data/schema/schema_priv.h"

#include <stdarg.h>
#include <stdio.h>

/* Work: one node against one value. A schema that refers to itself twice a level would never end. */
enum { CHECK_MAX_DEPTH = 2000, CHECK_MAX_WORK = 5000000 };

/* A reference being followed: the same one on the same value again would never end. */
struct follow {
	const struct schema_node *node;
	const json_t *value;
	const struct follow *outer;
};

struct check {
	const struct yaml_doc *doc;
	struct faults *faults;
	struct err *err;
	struct str pointer;
	int quiet; /* > 0: only the answer counts */
	int depth;
	size_t work;
	const struct follow *follows;
};

static int check_node(struct check *c, const struct schema_node *node, const json_t *value);

static int fault(struct check *c, const char *fmt, ...) _printf_(2, 3);
static int fault(struct check *c, const char *fmt, ...)
{
	if (c->quiet > 0)
		return 0;
	_cleanup_free_ char *text = NULL;
	va_list args;
	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		text = NULL;
	va_end(args);
	faults_add(c->faults, c->doc, str_peek(&c->pointer), "%s", text ? text : fmt);
	return 0;
}

static int quietly(struct check *c, const struct schema_node *node, const json_t *value)
{
	c->quiet++;
	int r = check_node(c, node, value);
	c->quiet--;
	return r;
}

static int check_member(struct check *c, const struct schema_node *node, const char *name, const json_t *value)
{
	size_t length = c->pointer.len;
	faults_pointer_push(&c->pointer, name);
	int r = check_node(c, node, value);
	str_truncate(&c->pointer, length);
	return r;
}

static int check_item(struct check *c, const struct schema_node *node, size_t index, const json_t *value)
{
	size_t length = c->pointer.len;
	faults_pointer_push_index(&c->pointer, index);
	int r = check_node(c, node, value);
	str_truncate(&c->pointer, length);
	return r;
}

/* Verdicts: r of a part joined to the whole. Negative wins, then 0. */
static bool join(int *whole, int part)
{
	if (part < 0)
		*whole = part;
	else if (part == 0 && *whole > 0)
		*whole = 0;
	return part >= 0;
}

/* If no faults are collected, the first "no" is enough. */
static bool decided(const struct check *c, int whole)
{
	return whole < 0 || (whole == 0 && c->quiet > 0);
}

/* Types and values. */

static const struct {
	unsigned type;
	const char *text;
} type_names[] = {
	{TYPE_STRING, "a text"},   {TYPE_OBJECT, "a map"},
	{TYPE_ARRAY, "a list"},    {TYPE_INTEGER, "a whole number"},
	{TYPE_NUMBER, "a number"}, {TYPE_BOOLEAN, "true or false"},
	{TYPE_NULL, "null"},
};

static const char *types_text(unsigned types, struct str *out)
{
	size_t shown = 0;
	for (size_t i = 0; i < ARRAY_SIZE(type_names); i++) {
		if (!(types & type_names[i].type) || (type_names[i].type == TYPE_INTEGER && (types & TYPE_NUMBER)))
			continue;
		str_appendf(out, "%s%s", shown++ ? " or " : "", type_names[i].text);
	}
	return str_peek(out);
}

static int check_type(struct check *c, const struct schema_node *node, const json_t *value)
{
	unsigned actual = value_type(value);
	if (node->types == 0 || (node->types & actual))
		return 1;
	_cleanup_(str_done) struct str wanted = STR_INIT(256);
	_cleanup_(str_done) struct str found = STR_INIT(256);
	return fault(c, "must be %s, not %s", types_text(node->types, &wanted),
	             actual & TYPE_NUMBER ? "a number" : types_text(actual, &found));
}

static void append_value(struct str *out, const json_t *value)
{
	if (json_is_string(value)) {
		str_appendf(out, "'%s'", json_string_value(value));
		return;
	}
	_cleanup_free_ char *text = json_text(value);
	str_append(out, text);
}

static void hint_nearest(struct check *c, const struct schema_node *node, const json_t *value)
{
	if (!json_is_string(value) || c->quiet > 0)
		return;
	size_t count = 0;
	_cleanup_free_ const char **names = xcalloc(json_array_size(node->enumeration), sizeof(*names));
	for (size_t i = 0; i < json_array_size(node->enumeration); i++)
		if (json_is_string(json_array_get(node->enumeration, i)))
			names[count++] = json_string_value(json_array_get(node->enumeration, i));
	const char *nearest = str_nearest(json_string_value(value), names, count);
	if (nearest != NULL)
		faults_hint(c->faults, "did you mean '%s'?", nearest);
}

static int check_values(struct check *c, const struct schema_node *node, const json_t *value)
{
	if (node->constant != NULL && value_compare(node->constant, value) != 0) {
		_cleanup_(str_done) struct str text = STR_INIT(4096);
		append_value(&text, node->constant);
		return fault(c, "must be %s", str_peek(&text));
	}
	if (node->enumeration == NULL)
		return 1;
	_cleanup_(str_done) struct str text = STR_INIT(4096);
	for (size_t i = 0; i < json_array_size(node->enumeration); i++) {
		const json_t *allowed = json_array_get(node->enumeration, i);
		if (value_compare(allowed, value) == 0)
			return 1;
		if (c->quiet == 0) {
			str_append(&text, i > 0 ? ", " : "");
			append_value(&text, allowed);
		}
	}
	fault(c, "must be one of %s", str_peek(&text));
	hint_nearest(c, node, value);
	return 0;
}

static int limit_fault(struct check *c, const char *what, const json_t *limit)
{
	_cleanup_free_ char *text = json_text(limit);
	return fault(c, "must be %s %s", what, text);
}

static int check_number(struct check *c, const struct schema_node *node, const json_t *value)
{
	int r = 1;
	if (node->minimum != NULL && value_compare(value, node->minimum) < 0)
		r = limit_fault(c, "at least", node->minimum);
	if (node->exclusive_minimum != NULL && value_compare(value, node->exclusive_minimum) <= 0)
		r = limit_fault(c, "more than", node->exclusive_minimum);
	if (node->maximum != NULL && value_compare(value, node->maximum) > 0)
		r = limit_fault(c, "at most", node->maximum);
	if (node->exclusive_maximum != NULL && value_compare(value, node->exclusive_maximum) >= 0)
		r = limit_fault(c, "less than", node->exclusive_maximum);
	if (node->multiple_of != NULL && !value_is_multiple(value, node->multiple_of))
		r = limit_fault(c, "a multiple of", node->multiple_of);
	return r;
}

static int check_string(struct check *c, const struct schema_node *node, const json_t *value)
{
	const char *text = json_string_value(value);
	size_t length = json_string_length(value), points = value_code_points(text, length);
	int r = 1;
	if (points < node->min_length)
		r = points == 0 ? fault(c, "is empty")
		                : fault(c, "must have at least %zu characters", node->min_length);
	if (points > node->max_length)
		r = fault(c, "must have at most %zu characters", node->max_length);
	if (node->pattern == NULL)
		return r;
	int found = pattern_match(node->pattern, text, length, c->err);
	if (found < 0)
		return err_wrap(c->err, found, "%s", str_peek(&c->pointer));
	if (found > 0)
		return r;
	const char *words = pattern_in_words(node->pattern_text);
	return words ? fault(c, "must be %s", words) : fault(c, "does not match the pattern %s", node->pattern_text);
}

/* Lists. */

static const struct schema_node *item_node(const struct schema_node *node, size_t index)
{
	if (node->items != NULL)
		return node->items;
	if (!node->has_item_list)
		return NULL;
	return index < node->item_list.count ? node->item_list.items[index] : node->additional_items;
}

static int check_contains(struct check *c, const struct schema_node *node, const json_t *value)
{
	for (size_t i = 0; i < json_array_size(value); i++) {
		int r = quietly(c, node->contains, json_array_get(value, i));
		if (r != 0)
			return r;
	}
	return fault(c, "has no entry of the kind that is needed");
}

static int check_array(struct check *c, const struct schema_node *node, const json_t *value)
{
	size_t count = json_array_size(value);
	int r = 1;
	if (count < node->min_items)
		r = count == 0 ? fault(c, "is empty") : fault(c, "must have at least %zu entries", node->min_items);
	if (count > node->max_items)
		r = fault(c, "must have at most %zu entries", node->max_items);
	for (size_t i = 0; i < count && !decided(c, r); i++) {
		const struct schema_node *item = item_node(node, i);
		if (item != NULL && !join(&r, check_item(c, item, i, json_array_get(value, i))))
			return r;
	}
	if (!decided(c, r) && node->contains != NULL && !join(&r, check_contains(c, node, value)))
		return r;
	if (!decided(c, r) && node->unique_items && value_has_duplicates(value))
		r = fault(c, "has the same entry twice");
	return r;
}

/* Maps. */

static int check_required(struct check *c, const json_t *names, const json_t *value, const char *because)
{
	int r = 1;
	for (size_t i = 0; i < json_array_size(names); i++) {
		const char *name = json_string_value(json_array_get(names, i));
		if (json_object_get(value, name) != NULL)
			continue;
		r = because ? fault(c, "'%s' is missing; '%s' needs it", name, because)
		            : fault(c, "'%s' is missing", name);
	}
	return r;
}

static int unknown_name(struct check *c, const struct schema_node *node, const char *name)
{
	if (c->quiet > 0)
		return 0;
	_cleanup_free_ const char **names = xcalloc(node->properties.count, sizeof(*names));
	for (size_t i = 0; i < node->properties.count; i++)
		names[i] = node->properties.items[i].name;
	const char *nearest = str_nearest(name, names, node->properties.count);
	size_t length = c->pointer.len;
	faults_pointer_push(&c->pointer, name);
	faults_add_key(c->faults, c->doc, str_peek(&c->pointer), "'%s' is not known here%s%s%s", name,
	               nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
	str_truncate(&c->pointer, length);
	return 0;
}

static int check_additional(struct check *c, const struct schema_node *node, const char *name, const json_t *member)
{
	const struct schema_node *additional = node->additional_properties;
	if (additional->kind == NODE_NOTHING)
		return unknown_name(c, node, name);
	return check_member(c, additional, name, member);
}

static int check_name(struct check *c, const struct schema_node *node, const char *name)
{
	json_t *text = json_string_nocheck(name);
	int r = quietly(c, node->property_names, text);
	json_decref(text);
	if (r != 0 || c->quiet > 0)
		return r;
	size_t length = c->pointer.len;
	faults_pointer_push(&c->pointer, name);
	faults_add_key(c->faults, c->doc, str_peek(&c->pointer), "the name '%s' is not allowed here", name);
	str_truncate(&c->pointer, length);
	return 0;
}

/* Checks a member against the patterns, and against additionalProperties when nothing else applies. */
static int check_other(struct check *c, const struct schema_node *node, const char *name, const json_t *member)
{
	bool spoken_of = json_object_get(node->properties_source, name) != NULL;
	int r = 1;
	for (size_t i = 0; i < node->pattern_properties.count && !decided(c, r); i++) {
		const struct pattern_node *p = &node->pattern_properties.items[i];
		int found = pattern_match(p->pattern, name, strlen(name), c->err);
		if (found < 0)
			return found;
		spoken_of |= found == 1;
		if (found == 1 && !join(&r, check_member(c, p->node, name, member)))
			return r;
	}
	if (!decided(c, r) && node->additional_properties != NULL && !spoken_of)
		join(&r, check_additional(c, node, name, member));
	return r;
}

static int check_members(struct check *c, const struct schema_node *node, const json_t *value)
{
	int r = 1;
	const char *name;
	json_t *member;
	for (size_t i = 0; i < node->properties.count && !decided(c, r); i++) {
		const struct named_node *p = &node->properties.items[i];
		member = json_object_get(value, p->name);
		if (member != NULL && !join(&r, check_member(c, p->node, p->name, member)))
			return r;
	}
	if (node->pattern_properties.count == 0 && node->additional_properties == NULL && node->property_names == NULL)
		return r;
	json_object_foreach((json_t *)value, name, member)
	{
		if (decided(c, r))
			break;
		if (node->property_names != NULL && !join(&r, check_name(c, node, name)))
			return r;
		if (!join(&r, check_other(c, node, name, member)))
			return r;
	}
	return r;
}

static int check_object(struct check *c, const struct schema_node *node, const json_t *value)
{
	size_t count = json_object_size(value);
	int r = 1;
	if (count < node->min_properties)
		r = count == 0 ? fault(c, "is empty")
		               : fault(c, "must have at least %zu members", node->min_properties);
	if (count > node->max_properties)
		r = fault(c, "must have at most %zu members", node->max_properties);
	join(&r, check_required(c, node->required, value, NULL));
	if (decided(c, r) || !join(&r, check_members(c, node, value)))
		return r;
	for (size_t i = 0; i < node->dependencies.count && !decided(c, r); i++) {
		const struct dependency *d = &node->dependencies.items[i];
		if (json_object_get(value, d->name) == NULL)
			continue;
		join(&r, d->node ? check_node(c, d->node, value) : check_required(c, d->required, value, d->name));
	}
	return r;
}

/* Combinations. */

static const struct schema_node *behind_refs(const struct schema_node *node)
{
	while (node->kind == NODE_REF)
		node = node->target;
	return node;
}

/* When only one alternative accepts this type, its faults say more than "none fits". */
static const struct schema_node *only_candidate(const struct node_list *list, const json_t *value)
{
	const struct schema_node *only = NULL;
	for (size_t i = 0; i < list->count; i++) {
		const struct schema_node *node = behind_refs(list->items[i]);
		if (node->kind == NODE_NOTHING || (node->types != 0 && !(node->types & value_type(value))))
			continue;
		if (only != NULL)
			return NULL;
		only = list->items[i];
	}
	return only;
}

/* Alternatives that only require one name each: "'local', 'ssh'". Empty when they say anything else. */
static const char *alternative_names(const struct node_list *list, struct str *out)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct schema_node *node = behind_refs(list->items[i]);
		if (node->kind != NODE_RULES || json_array_size(node->required) != 1 ||
		    json_object_size(node->source) != 1) {
			str_clear(out);
			break;
		}
		str_appendf(out, "%s'%s'", i ? ", " : "", json_string_value(json_array_get(node->required, 0)));
	}
	return str_peek(out);
}

static int none_fits(struct check *c, const struct node_list *list, const json_t *value)
{
	if (c->quiet > 0)
		return 0;
	_cleanup_(str_done) struct str names = STR_INIT(4096);
	if (json_is_object(value) && *alternative_names(list, &names) != '\0')
		return fault(c, "one of %s is needed", str_peek(&names));
	const struct schema_node *only = only_candidate(list, value);
	if (only != NULL) {
		int r = check_node(c, only, value);
		return MIN(r, 0);
	}
	unsigned types = 0;
	for (size_t i = 0; i < list->count; i++) {
		unsigned each = behind_refs(list->items[i])->types;
		if (each == 0 || (each & value_type(value)))
			return fault(c, "fits none of the %zu forms that are possible here", list->count);
		types |= each;
	}
	_cleanup_(str_done) struct str wanted = STR_INIT(256);
	return fault(c, "must be %s", types_text(types, &wanted));
}

static int check_any_of(struct check *c, const struct schema_node *node, const json_t *value)
{
	for (size_t i = 0; i < node->any_of.count; i++) {
		int r = quietly(c, node->any_of.items[i], value);
		if (r != 0)
			return r;
	}
	return none_fits(c, &node->any_of, value);
}

static int too_many_fit(struct check *c, const struct node_list *list)
{
	_cleanup_(str_done) struct str names = STR_INIT(4096);
	if (c->quiet == 0 && *alternative_names(list, &names) != '\0')
		return fault(c, "only one of %s is possible", str_peek(&names));
	return fault(c, "fits more than one of the forms of which one is possible");
}

static int check_one_of(struct check *c, const struct schema_node *node, const json_t *value)
{
	size_t fitting = 0;
	for (size_t i = 0; i < node->one_of.count; i++) {
		int r = quietly(c, node->one_of.items[i], value);
		if (r < 0)
			return r;
		if (r == 1 && ++fitting > 1)
			return too_many_fit(c, &node->one_of);
	}
	return fitting == 1 ? 1 : none_fits(c, &node->one_of, value);
}

static int check_not(struct check *c, const struct schema_node *node, const json_t *value)
{
	int r = quietly(c, node->not_, value);
	if (r < 0)
		return r;
	return r == 0 ? 1 : fault(c, "has a form that is not allowed here");
}

static int check_if(struct check *c, const struct schema_node *node, const json_t *value)
{
	int r = quietly(c, node->if_, value);
	if (r < 0)
		return r;
	const struct schema_node *next = r == 1 ? node->then_ : node->else_;
	return next ? check_node(c, next, value) : 1;
}

static int check_combinations(struct check *c, const struct schema_node *node, const json_t *value)
{
	int r = 1;
	for (size_t i = 0; i < node->all_of.count && !decided(c, r); i++)
		if (!join(&r, check_node(c, node->all_of.items[i], value)))
			return r;
	if (!decided(c, r) && node->any_of.count > 0)
		join(&r, check_any_of(c, node, value));
	if (!decided(c, r) && node->one_of.count > 0)
		join(&r, check_one_of(c, node, value));
	if (!decided(c, r) && node->not_ != NULL)
		join(&r, check_not(c, node, value));
	if (!decided(c, r) && node->if_ != NULL)
		join(&r, check_if(c, node, value));
	return r;
}

static int check_rules(struct check *c, const struct schema_node *node, const json_t *value)
{
	int r = check_type(c, node, value);
	if (r == 0)
		return 0; /* the rest would only repeat it */
	r = check_values(c, node, value);
	if (decided(c, r))
		return r;
	int part = 1;
	if (json_is_number(value))
		part = check_number(c, node, value);
	else if (json_is_string(value))
		part = check_string(c, node, value);
	else if (json_is_array(value))
		part = check_array(c, node, value);
	else if (json_is_object(value))
		part = check_object(c, node, value);
	join(&r, part);
	if (!decided(c, r))
		join(&r, check_combinations(c, node, value));
	return r;
}

static int check_ref(struct check *c, const struct schema_node *node, const json_t *value)
{
	for (const struct follow *f = c->follows; f != NULL && f->value == value; f = f->outer)
		if (f->node == node)
			return err_set(c->err, ERR_UNSUPPORTED, "%s: $ref '%s' leads back to itself without end",
			               node->place, node->ref);
	struct follow here = {node, value, c->follows};
	c->follows = &here;
	int r = check_node(c, node->target, value);
	c->follows = here.outer;
	return r;
}

static int check_node(struct check *c, const struct schema_node *node, const json_t *value)
{
	if (++c->work > CHECK_MAX_WORK)
		return err_set(c->err, ERR_LIMIT, "the check needs more than %d steps", (int)CHECK_MAX_WORK);
	if (c->depth >= CHECK_MAX_DEPTH)
		return err_set(c->err, ERR_LIMIT, "schema and value are nested too deeply");
	c->depth++;
	int r = 1;
	switch (node->kind) {
	case NODE_ANYTHING:
		break;
	case NODE_NOTHING:
		r = fault(c, "is not allowed here");
		break;
	case NODE_REF:
		r = check_ref(c, node, value);
		break;
	case NODE_RULES:
		r = check_rules(c, node, value);
		break;
	}
	c->depth--;
	return r;
}

int schema_check(const struct schema *schema, const json_t *instance, const struct yaml_doc *doc, struct faults *faults,
                 struct err *err)
{
	struct faults none = {0};
	struct check c = {.doc = doc,
	                  .faults = faults ? faults : &none,
	                  .err = err,
	                  .pointer = STR_INIT(1 << 20),
	                  .quiet = faults ? 0 : 1};
	int r = check_node(&c, schema->root, instance);
	str_done(&c.pointer);
	faults_done(&none);
	if (r < 0)
		return r;
	if (r == 1)
		return 0;
	if (faults != NULL && faults->count > 0)
		faults_to_err(faults, doc, err);
	else
		err_set(err, ERR_INVALID, "the document is not valid");
	return ERR_INVALID;
}
