/* The store's rows of all that apply once made, by key, on each target. A resource with a row that the desired state no
 * longer names is planned for destruction; an existing one without a row is adopted. */
#include "steps/apply/apply.h"

const char *apply_set(const struct step_context *c)
{
	const struct apply_in *in = c->input;
	return in->file != NULL ? in->file : c->id != NULL ? c->id : "";
}

const char *apply_id_of_key(const char *key)
{
	const char *colon = strchr(key, ':');
	return colon != NULL ? colon + 1 : key;
}

/* By key, so that they go in the right order when the desired state no longer has them. */
static json_t *keys_needed(const struct resource *r)
{
	json_t *keys = json_array();
	for (size_t i = 0; i < r->need_count; i++)
		json_array_append_new(keys, json_string(r->needs[i]->key));
	return keys;
}

json_t *apply_row(const struct step_context *c, const struct resource *r, const json_t *after)
{
	json_t *row = json_pack("{s:s,s:s}", "type", r->type->choice.name, "set", apply_set(c));
	json_t *digest = json_object_get(after, "digest");
	json_t *id = r->type->own_id != NULL ? json_object_get(after, r->type->own_id) : NULL;
	if (digest != NULL)
		json_object_set(row, "digest", digest);
	if (id != NULL)
		json_object_set(row, r->type->own_id, id);
	if (r->type->remember != NULL)
		r->type->remember(r, row);
	if (r->need_count > 0)
		json_object_set_new(row, "depends_on", keys_needed(r));
	if (r->protect)
		json_object_set_new(row, "protect", json_true());
	return row;
}

/* Keys, and the ids of each space. */
static json_t *known_names(const struct resources *all)
{
	json_t *names = json_object();
	for (size_t i = 0; i < all->count; i++) {
		_cleanup_free_ char *place = xasprintf("%s %s", all->items[i].type->space, all->items[i].id);
		json_object_set_new(names, all->items[i].key, json_true());
		json_object_set_new(names, place, json_true());
	}
	return names;
}

/* The same path as another kind is a replacement and is planned with its resource. */
static bool is_replaced(const struct step_type *step, const json_t *names, const char *key, const json_t *row)
{
	const char *name = json_get_string(row, "type");
	const struct resource_type *type = name != NULL ? resource_type_named(step, name) : NULL;
	if (type == NULL)
		return false;
	_cleanup_free_ char *place = xasprintf("%s %s", type->space, apply_id_of_key(key));
	return json_object_get(names, place) != NULL;
}

int apply_left(const struct step_context *c, struct view *v, const struct resources *all, json_t **ret, struct err *err)
{
	_cleanup_json_ json_t *rows = NULL;
	const char *key;
	json_t *row;
	int r = c->state_list(c->engine, v->name, &rows, err);
	if (r < 0)
		return err_wrap(err, r, "the state of '%s'", v->name);
	_cleanup_json_ json_t *names = known_names(all);
	json_t *left = json_object();
	json_object_foreach(rows, key, row)
	{
		const char *set = json_get_string(row, "set");
		if (set != NULL && strcmp(set, apply_set(c)) == 0 && json_object_get(names, key) == NULL &&
		    !is_replaced(c->type, names, key, row))
			json_object_set(left, key, row);
	}
	*ret = left;
	return 0;
}

int apply_row_get(const struct step_context *c, const struct view *v, const char *key, json_t **ret, struct err *err)
{
	int r = c->state_get(c->engine, v->name, key, ret, err);
	if (r != ERR_NOT_FOUND)
		return r;
	err_clear(err);
	*ret = NULL;
	return 0;
}
