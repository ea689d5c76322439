/* Which resource comes before which: those that it names in depends_on or refers to, and the paths above its own. */
#include "steps/apply/apply.h"
#include "steps/apply/order.h"

#include "base/sys/fs.h"

/* Names and keys → the place in all->items. */
static json_t *read_names(const struct resources *all, struct faults *faults)
{
	const struct resource_faults f = {faults, all->doc};
	json_t *names = json_object();
	for (size_t i = 0; i < all->count; i++) {
		const struct resource *r = &all->items[i];
		json_object_set_new(names, r->key, json_integer((json_int_t)i));
		if (r->name == NULL)
			continue;
		if (json_object_get(names, r->name) != NULL)
			resource_fault(&f, r, "id", "the id '%s' stands twice in the desired state", r->name);
		json_object_set_new(names, r->name, json_integer((json_int_t)i));
	}
	return names;
}

static void refuse_unknown(const struct resource_faults *f, const struct resource *r, const json_t *names,
                           const char *name)
{
	_cleanup_free_ const char **known = xcalloc(json_object_size(names) + 1, sizeof(*known));
	size_t count = 0;
	const char *key;
	json_t *unused;
	json_object_foreach((json_t *)(uintptr_t)names, key, unused) known[count++] = key;
	const char *nearest = str_nearest(name, known, count);
	resource_fault(f, r, "depends_on", "%s depends on '%s', which is not in the desired state", r->key, name);
	if (nearest != NULL)
		faults_hint(f->faults, "did you mean '%s'?", nearest);
	else
		faults_hint(f->faults, "name its `id`, or its key as in file:/path");
}

/* A resource that refers to others. */
struct referring {
	struct resources *all;
	struct resource *r;
	const json_t *names;
	struct faults *faults;
	size_t count; /* of its references */
};

static void count_reference(void *context, const char *name, const char *attribute)
{
	struct referring *x = context;
	(void)name;
	(void)attribute;
	x->count++;
}

/* A name that is not of this step is an earlier step's; a file of its own has none. */
static void read_reference(void *context, const char *name, const char *attribute)
{
	struct referring *x = context;
	const struct resource_faults f = {x->faults, x->all->doc};
	const json_t *at = json_object_get(x->names, name);
	const char *nearest = NULL;
	if (at == NULL) {
		if (x->all->doc != NULL)
			resource_fault(&f, x->r, x->r->type->choice.key,
			               "%s refers to '%s', which no resource of this file has as its id", x->r->key,
			               name);
		return;
	}
	struct resource *of = &x->all->items[json_integer_value(at)];
	const char *why = reference_refuse(of, attribute, &nearest);
	x->r->needs[x->r->need_count++] = of;
	if (why == NULL)
		return;
	resource_fault(&f, x->r, x->r->type->choice.key, "%s refers to '%s' of %s, which %s", x->r->key, attribute,
	               of->key, why);
	if (nearest != NULL)
		faults_hint(x->faults, "did you mean '%s'?", nearest);
}

static void read_needs(struct resources *all, struct resource *r, const json_t *names, struct faults *faults)
{
	const struct resource_faults f = {faults, all->doc};
	struct referring x = {all, r, names, faults, 0};
	reference_each(r->written, count_reference, &x);
	r->needs = arena_alloc(&all->arena, (r->depends_on.count + x.count + 1) * sizeof(*r->needs));
	reference_each(r->written, read_reference, &x);
	for (size_t i = 0; i < r->depends_on.count; i++) {
		const json_t *at = json_object_get(names, r->depends_on.items[i]);
		if (at == NULL)
			refuse_unknown(&f, r, names, r->depends_on.items[i]);
		else
			r->needs[r->need_count++] = &all->items[json_integer_value(at)];
	}
}

struct cycle {
	const struct resources *all;
	struct faults *faults;
};

static void refuse_cycle(void *context, const size_t *items, size_t count)
{
	const struct cycle *c = context;
	const struct resource *items_of = c->all->items, *first = &items_of[items[0]];
	const struct resource_faults f = {c->faults, c->all->doc};
	_cleanup_(str_done) struct str way = STR_INIT(8192);
	for (size_t i = 0; i < count; i++)
		str_appendf(&way, "%s → ", items_of[items[i]].key);
	resource_fault(&f, first, first->depends_on.count > 0 ? "depends_on" : first->type->choice.key,
	               "resources depend on one another in a cycle: %s%s", str_peek(&way), first->key);
}

static const char *path_of(const struct resource_type *type, const char *id)
{
	return type != NULL && type->nests ? id : NULL;
}

static int by_id(const void *a, const void *b)
{
	const struct resource *const *x = a, *const *y = b;
	return strcmp((*x)->id, (*y)->id);
}

/* The places of all, by their ids. */
static size_t *sorted_by_id(const struct resources *all)
{
	_cleanup_free_ const struct resource **sorted = xcalloc(all->count + 1, sizeof(*sorted));
	size_t *places = xcalloc(all->count + 1, sizeof(*places));
	for (size_t i = 0; i < all->count; i++)
		sorted[i] = &all->items[i];
	qsort(sorted, all->count, sizeof(*sorted), by_id);
	for (size_t i = 0; i < all->count; i++)
		places[i] = (size_t)(sorted[i] - all->items);
	return places;
}

static struct order *order_of(const struct resources *all)
{
	struct order *o = order_new(all->count);
	_cleanup_free_ const char **paths = xcalloc(all->count + 1, sizeof(*paths));
	for (size_t i = 0; i < all->count; i++) {
		const struct resource *r = &all->items[i];
		paths[i] = path_of(r->type, r->id);
		for (size_t k = 0; k < r->need_count; k++)
			order_add(o, i, (size_t)(r->needs[k] - all->items));
	}
	order_add_paths(o, paths);
	return o;
}

void apply_order(struct resources *all, struct faults *faults)
{
	_cleanup_json_ json_t *names = read_names(all, faults);
	for (size_t i = 0; i < all->count; i++)
		read_needs(all, &all->items[i], names, faults);
	_cleanup_(order_freep) struct order *o = order_of(all);
	_cleanup_free_ size_t *base = sorted_by_id(all), *places = xcalloc(all->count + 1, sizeof(*places));
	struct cycle cycle = {all, faults};
	order_sort(o, base, places, refuse_cycle, &cycle);
	all->order = arena_alloc(&all->arena, (all->count + 1) * sizeof(*all->order));
	for (size_t i = 0; i < all->count; i++) {
		struct resource *r = &all->items[places[i]];
		r->level = 1;
		for (size_t k = 0; k < r->need_count; k++)
			r->level = MAX(r->level, r->needs[k]->level + 1);
		all->order[i] = r;
	}
}

/* ---- what left the desired state ---- */

/* The place of each key. */
static json_t *places_of(const char *const *keys, size_t count)
{
	json_t *places = json_object();
	for (size_t i = 0; i < count; i++)
		json_object_set_new(places, keys[i], json_integer((json_int_t)i));
	return places;
}

static void add_needs(struct order *o, size_t item, const json_t *row, const json_t *places)
{
	const json_t *needs = json_get_array(row, "depends_on");
	for (size_t i = 0; i < json_array_size(needs); i++) {
		const char *key = json_string_value(json_array_get(needs, i));
		const json_t *at = key != NULL ? json_object_get(places, key) : NULL;
		if (at != NULL)
			order_add(o, item, (size_t)json_integer_value(at));
	}
}

static int shallow_first(const void *a, const void *b)
{
	const char *const *x = a, *const *y = b;
	return strcmp(apply_id_of_key(*x), apply_id_of_key(*y));
}

/* A cycle can only have come about over several deployments: what closes it does not count. */
void apply_order_left(const struct step_type *step, const json_t *left, const char **keys, size_t count)
{
	_cleanup_(order_freep) struct order *o = order_new(count);
	_cleanup_free_ const char **paths = xcalloc(count + 1, sizeof(*paths)),
				  **sorted = xcalloc(count + 1, sizeof(*sorted));
	_cleanup_free_ size_t *base = xcalloc(count + 1, sizeof(*base)), *places = xcalloc(count + 1, sizeof(*places));
	qsort(keys, count, sizeof(*keys), shallow_first);
	_cleanup_json_ json_t *places_by_key = places_of(keys, count);
	for (size_t i = 0; i < count; i++) {
		const json_t *row = json_object_get(left, keys[i]);
		const char *kind = json_get_string(row, "type");
		base[i] = i;
		paths[i] = path_of(kind != NULL ? resource_type_named(step, kind) : NULL, apply_id_of_key(keys[i]));
		add_needs(o, i, row, places_by_key);
	}
	order_add_paths(o, paths);
	order_sort(o, base, places, NULL, NULL);
	for (size_t i = 0; i < count; i++)
		sorted[i] = keys[places[count - 1 - i]];
	memcpy(keys, sorted, count * sizeof(*keys));
}

/* keys: in the order in which they go, so that each has its level before those that it needed get theirs. */
void apply_levels_left(const json_t *left, const char *const *keys, size_t count, int *ret)
{
	_cleanup_json_ json_t *places = places_of(keys, count);
	for (size_t i = 0; i < count; i++) {
		const json_t *needs = json_get_array(json_object_get(left, keys[i]), "depends_on");
		ret[i] = MAX(ret[i], 1);
		for (size_t k = 0; k < json_array_size(needs); k++) {
			const char *key = json_string_value(json_array_get(needs, k));
			const json_t *at = key != NULL ? json_object_get(places, key) : NULL;
			if (at != NULL)
				ret[json_integer_value(at)] = MAX(ret[json_integer_value(at)], ret[i] + 1);
		}
	}
}
