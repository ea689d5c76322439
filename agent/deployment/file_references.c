/* References to resources of earlier steps, `${{ resources.web.ip }}`: their values come late, but which names there are is known from the file, or
 * from the desired-state file that a step names. */
#include "agent/deployment/file_priv.h"
#include "base/data/reference.h"
#include "steps/apply/resource.h"
#include "steps/registry.h"

#include <string.h>

/* What the steps up to one make. */
struct made {
	json_t *ids;  /* name → its kind */
	bool not_all; /* some have their resources in a file that cannot be read, or by names that are filled in */
	const struct step_type *step; /* whose kinds these are; NULL: none so far */
	json_t *own;                  /* of the step that is looked at; NULL: it has none */
	struct yaml_doc *
		file; /* its desired-state file, which refers to nothing outside of it; NULL: it has its resources itself */
};

static void made_done(struct made *made)
{
	json_decref(made->ids);
	json_decref(made->own);
	yaml_freep(&made->file);
}

json_t *file_own_resources(const json_t *input)
{
	json_t *own = json_object(), *item, *resource;
	const char *kind;
	size_t i;
	json_array_foreach(json_get_array(input, "resources"), i, item)
	{
		json_object_foreach(item, kind, resource)
		{
			const char *id = json_get_string(resource, "id");
			if (id != NULL)
				json_object_set_new(own, id, json_string(kind));
		}
	}
	return own;
}

/* What is wrong with it is said by the step itself. */
static void open_file(struct reader *r, struct made *made, const json_t *input)
{
	const char *name = json_get_string(input, "file");
	yaml_freep(&made->file);
	if (json_get_array(input, "resources") == NULL && name != NULL && r->source->root != NULL)
		resource_read_file(r->source->root, name, &made->file, NULL);
}

static void add_step(struct reader *r, struct made *made, const char *name, const json_t *input)
{
	const struct step_type *type = step_find(name);
	const char *id;
	json_t *unused;
	if (type == NULL || type->choices == NULL)
		return;
	open_file(r, made, input);
	const json_t *list = made->file != NULL ? yaml_root(made->file) : input;
	_cleanup_json_ json_t *own = file_own_resources(list);
	made->step = type;
	made->not_all |= json_get_array(list, "resources") == NULL;
	json_object_foreach(own, id, unused) made->not_all |= strstr(id, "${{") != NULL;
	json_object_update(made->ids, own);
	json_decref(made->own);
	made->own = json_incref(own);
}

static void refuse(struct reader *r, const struct made *made, const struct made *all, const char *name,
                   const char *pointer)
{
	faults_add(&r->faults, r->d->yaml, pointer, "no resource of this step or an earlier one has the id '%s'", name);
	_cleanup_free_ const char **names = xcalloc(json_object_size(made->ids) + 1, sizeof(*names));
	size_t count = 0;
	const char *id;
	json_t *unused;
	json_object_foreach(made->ids, id, unused) names[count++] = id;
	const char *nearest = str_nearest(name, names, count);
	if (json_object_get(all->ids, name) != NULL)
		faults_hint(&r->faults, "a later step makes it: put that one first");
	else if (nearest != NULL)
		faults_hint(&r->faults, "did you mean '%s'?", nearest);
}

/* A step with resources of its own looks at them itself, with the place of each. */
static void check_attribute(struct reader *r, const struct made *made, const struct reference *ref, const char *pointer)
{
	const char *kind = json_get_string(made->ids, ref->name), *nearest = NULL;
	const struct resource_type *type =
		made->step != NULL && kind != NULL ? resource_type_named(made->step, kind) : NULL;
	const char *why = type != NULL && json_object_get(made->own, ref->name) == NULL
	                          ? resource_type_refuse(type, ref->attribute, true, &nearest)
	                          : NULL;
	if (why == NULL)
		return;
	faults_add(&r->faults, r->d->yaml, pointer, "'%s' of the resource '%s' (%s) %s", ref->attribute, ref->name,
	           kind, why);
	if (nearest != NULL)
		faults_hint(&r->faults, "did you mean '%s'?", nearest);
}

static void check_reference(struct reader *r, const struct made *made, const struct made *all,
                            const struct reference *ref, const char *pointer)
{
	if (json_object_get(made->ids, ref->name) != NULL)
		check_attribute(r, made, ref, pointer);
	else if (!made->not_all)
		refuse(r, made, all, ref->name, pointer);
}

static void check_value(struct reader *r, const struct made *made, const struct made *all, const json_t *value,
                        struct str *pointer)
{
	const char *key, *text = json_string_value(value);
	size_t i, mark = pointer->len;
	json_t *member;
	struct reference ref;
	for (size_t from = 0; text != NULL && reference_find(text, from, &ref); from = ref.at + ref.len)
		check_reference(r, made, all, &ref, str_peek(pointer));
	json_array_foreach((json_t *)(uintptr_t)value, i, member)
	{
		faults_pointer_push_index(pointer, i);
		check_value(r, made, all, member, pointer);
		str_truncate(pointer, mark);
	}
	json_object_foreach((json_t *)(uintptr_t)value, key, member)
	{
		faults_pointer_push(pointer, key);
		check_value(r, made, all, member, pointer);
		str_truncate(pointer, mark);
	}
}

static void add_item(struct reader *r, struct made *made, const json_t *item)
{
	const char *name;
	json_t *input;
	json_object_foreach((json_t *)(uintptr_t)item, name, input) if (json_is_object(input))
		add_step(r, made, name, input);
}

void file_check_references(struct reader *r, const json_t *raw)
{
	const json_t *steps = json_get_array(raw, "steps");
	_cleanup_(made_done) struct made made = {.ids = json_object()}, all = {.ids = json_object()};
	_cleanup_(str_done) struct str pointer = STR_INIT(POINTER_MAX);
	size_t i;
	json_t *item;
	json_array_foreach((json_t *)(uintptr_t)steps, i, item) add_item(r, &all, item);
	str_append(&pointer, "/steps");
	json_array_foreach((json_t *)(uintptr_t)steps, i, item)
	{
		size_t mark = pointer.len;
		json_decref(made.own);
		made.own = NULL;
		yaml_freep(&made.file);
		add_item(r, &made, item);
		faults_pointer_push_index(&pointer, i);
		check_value(r, &made, &all, item, &pointer);
		str_truncate(&pointer, mark);
	}
}
