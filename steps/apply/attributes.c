/* Attributes that a resource leaves to others (ignore_changes), and those that mean a new one (replace_on). */
#include "steps/apply/apply.h"

/* Members of the input that every kind has, which are no attributes. */
static const char *const common[] = {"id", "depends_on", "ignore_changes", "replace_on", "protect"};

static bool is_common(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(common); i++)
		if (strcmp(common[i], name) == 0)
			return true;
	return false;
}

static size_t attributes_of(const struct resource *r, const char **ret, size_t max)
{
	const struct field_table *table = r->type->choice.table;
	const char *name;
	size_t count = 0;
	for (size_t i = 0; (name = fields_input(table, i)) != NULL; i++)
		if (!is_common(name) && strcmp(name, r->type->choice.key) != 0 && count < max)
			ret[count++] = name;
	return count;
}

/* "net0" is one of "net". */
static bool is_of_family(const struct resource_type *type, const char *name)
{
	for (size_t i = 0; type->families != NULL && type->families[i] != NULL; i++) {
		size_t len = strlen(type->families[i]);
		if (strncmp(name, type->families[i], len) == 0 && name[len] != '\0' &&
		    name[len + strspn(name + len, "0123456789")] == '\0')
			return true;
	}
	return false;
}

static bool is_attribute(const struct resource *r, const char *name)
{
	const char *known[128];
	size_t count = attributes_of(r, known, ARRAY_SIZE(known));
	for (size_t i = 0; i < count; i++)
		if (strcmp(known[i], name) == 0)
			return true;
	return is_of_family(r->type, name);
}

static void validate_names(const struct resource *r, const char *member, const struct field_strings *names,
                           const struct resource_faults *f)
{
	const char *known[128];
	size_t count = attributes_of(r, known, ARRAY_SIZE(known));
	for (size_t i = 0; i < names->count; i++) {
		if (is_attribute(r, names->items[i]))
			continue;
		const char *nearest = str_nearest(names->items[i], known, count);
		resource_fault(f, r, member, "a %s has no attribute '%s'", r->type->choice.name, names->items[i]);
		if (nearest != NULL)
			faults_hint(f->faults, "did you mean '%s'?", nearest);
	}
}

void apply_validate_attributes(const struct resource *r, const struct resource_faults *f)
{
	if (r->type->edits && r->ignore_changes.count > 0)
		resource_fault(f, r, "ignore_changes", "what others change besides is left alone anyway");
	else
		validate_names(r, "ignore_changes", &r->ignore_changes, f);
	if (r->type->forces != NULL)
		validate_names(r, "replace_on", &r->replace_on, f);
	else if (r->replace_on.count > 0)
		resource_fault(f, r, "replace_on", "a %s is changed in place and never replaced", r->type->choice.name);
}

bool apply_ignores(const struct resource *r, const char *attribute)
{
	for (size_t i = 0; i < r->ignore_changes.count; i++)
		if (strcmp(r->ignore_changes.items[i], attribute) == 0)
			return true;
	return false;
}

static void keep(const json_t *before, json_t *after, const char *name)
{
	json_t *is = json_object_get(before, name);
	if (is != NULL)
		json_object_set(after, name, is);
	else
		json_object_del(after, name);
}

void apply_keep_ignored(const struct resource *r, const json_t *before, json_t *after)
{
	for (size_t i = 0; i < r->ignore_changes.count; i++)
		keep(before, after, r->ignore_changes.items[i]);
}

static bool alike(const struct resource *r, const json_t *before, const json_t *after, const char *name)
{
	if (r->type->alike != NULL)
		return r->type->alike(before, after, name);
	return json_equal(json_object_get(before, name), json_object_get(after, name));
}

/* An attribute that is not asked for has not changed. */
void apply_replaced_on(const struct resource *r, const json_t *before, const json_t *after, struct str *out)
{
	for (size_t i = 0; i < r->replace_on.count; i++) {
		const char *name = r->replace_on.items[i];
		_cleanup_free_ char *words = xasprintf("`%s`", name);
		if (json_object_get(after, name) == NULL || alike(r, before, after, name) ||
		    strstr(str_peek(out), words) != NULL)
			continue;
		str_appendf(out, "%s%s", out->len > 0 ? ", " : "", words);
	}
}
