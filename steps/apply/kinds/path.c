#include "steps/apply/kinds/path.h"

#include "base/sys/fs.h"
#include "steps/common/paths.h"

char *path_id(const struct resource *r, const char *pointer, struct faults *faults)
{
	return step_target_path(r->id, pointer, faults);
}

bool path_bars(const struct resource *r, const struct resource *other)
{
	return fs_below(r->id, other->id);
}

int path_ahead(struct resource_call *x, const struct resource_sight *sights, size_t count, bool with_way,
               struct err *err)
{
	_cleanup_(strv_done) struct strv ways = {0}, own = {0};
	for (size_t i = 0; i < count; i++)
		strv_add(&own, sights[i].id);
	if (with_way)
		node_cache_add_ways(&ways, (const char *const *)own.items, own.count);
	int r = node_cache_fetch(x->seen, x->v, &ways, err);
	return r < 0 ? r : node_cache_fetch_contents(x->seen, x->v, &own, err);
}

int path_look(struct resource_call *x, const char *id, json_t **ret, struct err *err)
{
	return node_cache_look(x->seen, x->v, id, ret, err);
}

int path_first(struct resource_call *x, const struct resource *r, struct err *err)
{
	return step_plan_parents(x->v, x->seen, x->plan, r->id, err);
}

void path_validate_mode(const struct resource *r, bool has_mode, int64_t mode, const struct resource_faults *f)
{
	if (has_mode && (mode & 0002) != 0)
		resource_fault(f, r, "mode", "mode %04lo lets everybody on the target write '%s'", (long)mode, r->id);
}

/* Owner and group in the form of the existing node, so that 1000 and the name of that user do not differ. */
static const char *same_words(const char *given, const char *name, unsigned int id)
{
	char digits[16];
	snprintf(digits, sizeof(digits), "%u", id);
	return given != NULL && (strcmp(given, name) == 0 || strcmp(given, digits) == 0) ? name : given;
}

int path_want(struct resource_call *x, const struct resource *r, const json_t *before, const struct path_owner *o,
              json_t **ret, struct err *err)
{
	const struct node *now = NULL;
	int stated = node_cache_stat(x->seen, x->v, r->id, &now, err);
	if (stated < 0)
		return stated;
	bool there = strcmp(node_type_name(before), r->type->what) == 0;
	const char *owner = there ? same_words(o->owner, now->owner, now->uid) : o->owner;
	const char *group = there ? same_words(o->group, now->group, now->gid) : o->group;
	*ret = node_after(r->type->what, before, owner, group, o->mode >= 0 ? o->mode : there ? -1 : o->fresh_mode);
	return 0;
}

void path_remember(const struct path_owner *o, json_t *row)
{
	if (o->mode >= 0)
		json_object_set_new(row, "mode", json_stringf("%04lo", o->mode));
	if (o->owner != NULL)
		json_object_set_new(row, "owner", json_string(o->owner));
	if (o->group != NULL)
		json_object_set_new(row, "group", json_string(o->group));
}
