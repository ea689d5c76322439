/* References to resources of earlier steps, `${{ resources.web.ip }}`: their values come late, but which names there are is known from the file. */
#include "agent/deployment/file_priv.h"
#include "base/data/reference.h"
#include "steps/registry.h"

#include <string.h>

/* What the steps up to one make. */
struct made {
	json_t *ids;  /* name → true */
	bool not_all; /* some have their resources elsewhere, or by names that are filled in */
};

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
				json_object_set_new(own, id, json_true());
		}
	}
	return own;
}

static void add_step(struct made *made, const char *name, const json_t *input)
{
	const struct step_type *type = step_find(name);
	_cleanup_json_ json_t *own = file_own_resources(input);
	const char *id;
	json_t *unused;
	if (type == NULL || type->choices == NULL)
		return;
	made->not_all |= json_get_array(input, "resources") == NULL;
	json_object_foreach(own, id, unused) made->not_all |= strstr(id, "${{") != NULL;
	json_object_update(made->ids, own);
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

static void check_value(struct reader *r, const struct made *made, const struct made *all, const json_t *value,
                        struct str *pointer)
{
	const char *key, *text = json_string_value(value);
	size_t i, mark = pointer->len;
	json_t *member;
	struct reference ref;
	for (size_t from = 0; text != NULL && reference_find(text, from, &ref); from = ref.at + ref.len)
		if (json_object_get(made->ids, ref.name) == NULL)
			refuse(r, made, all, ref.name, str_peek(pointer));
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

static void add_item(struct made *made, const json_t *item)
{
	const char *name;
	json_t *input;
	json_object_foreach((json_t *)(uintptr_t)item, name, input) if (json_is_object(input))
		add_step(made, name, input);
}

void file_check_references(struct reader *r, const json_t *raw)
{
	const json_t *steps = json_get_array(raw, "steps");
	struct made made = {.ids = json_object()}, all = {.ids = json_object()};
	_cleanup_(str_done) struct str pointer = STR_INIT(POINTER_MAX);
	size_t i;
	json_t *item;
	json_array_foreach((json_t *)(uintptr_t)steps, i, item) add_item(&all, item);
	str_append(&pointer, "/steps");
	json_array_foreach((json_t *)(uintptr_t)steps, i, item)
	{
		size_t mark = pointer.len;
		add_item(&made, item);
		faults_pointer_push_index(&pointer, i);
		if (!made.not_all)
			check_value(r, &made, &all, item, &pointer);
		str_truncate(&pointer, mark);
	}
	json_decref(made.ids);
	json_decref(all.ids);
}
