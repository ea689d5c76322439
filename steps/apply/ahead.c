#include "steps/apply/ahead.h"

#include "steps/apply/apply.h"

struct looks {
	struct resource_call *call;
	const struct resource_sight **sights;
	bool failed; /* one of them: the others would wait for the same in vain */
};

static void look_at(void *context, size_t i)
{
	struct looks *l = context;
	const struct resource_sight *s = l->sights[i];
	_cleanup_json_ json_t *row = NULL, *node = NULL;
	struct resource_call own = *l->call;
	if (l->failed)
		return;
	own.wanted = s->wanted;
	own.row = s->row;
	int r = s->wanted != NULL ? apply_row_get(own.c, own.v, s->key, &row, NULL) : 0;
	if (row != NULL)
		own.row = row;
	if (r == 0)
		r = s->type->look(&own, s->id, &node, NULL);
	l->failed = l->failed || r < 0;
	if (r == 0)
		json_object_set(l->call->looked, s->key, node);
}

static int look_together(struct resource_call *x, const struct resource_sight **same, size_t count, struct err *err)
{
	struct looks l = {.call = x, .sights = same};
	return same[0]->type->together(x->v, count, look_at, &l, err);
}

static int look_in_batches(struct resource_call *x, const struct resource_sight **same, size_t count, bool with_way,
                           struct err *err)
{
	_cleanup_free_ struct resource_sight *copies = xcalloc(count, sizeof(*copies));
	for (size_t i = 0; i < count; i++)
		copies[i] = *same[i];
	return same[0]->type->ahead(x, copies, count, with_way, err);
}

static bool looks_alike(const struct resource_type *a, const struct resource_type *b)
{
	return a != NULL && b != NULL && a->ahead == b->ahead && a->together == b->together;
}

int ahead_look(struct resource_call *x, const struct resource_sight *sights, size_t count, bool with_way,
               struct err *err)
{
	_cleanup_free_ const struct resource_sight **same = xcalloc(count + 1, sizeof(*same));
	_cleanup_free_ bool *asked = xcalloc(count + 1, sizeof(*asked));
	int r = 0;
	for (size_t i = 0; r == 0 && i < count; i++) {
		const struct resource_type *type = sights[i].type;
		size_t found = 0;
		if (asked[i] || type == NULL || (type->ahead == NULL && type->together == NULL))
			continue;
		for (size_t k = i; k < count; k++) {
			if (asked[k] || !looks_alike(type, sights[k].type))
				continue;
			asked[k] = true;
			same[found++] = &sights[k];
		}
		r = type->ahead != NULL ? look_in_batches(x, same, found, with_way, err)
		                        : look_together(x, same, found, err);
	}
	return r;
}

int ahead_node(struct resource_call *x, const struct resource_type *type, const char *key, const char *id, json_t **ret,
               struct err *err)
{
	json_t *node = json_object_get(x->looked, key);
	if (node == NULL)
		return type->look(x, id, ret, err);
	*ret = json_incref(node);
	return 0;
}
