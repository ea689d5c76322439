#include "steps/kept.h"
#include "base/fs.h"

void kept_done(struct kept_list *l)
{
	for (size_t i = 0; i < l->count; i++)
		free(l->items[i].name);
	free(l->items);
	*l = (struct kept_list) { 0 };
}

static int compare(const void *a, const void *b)
{
	const struct kept *x = a, *y = b;
	int order = strncmp(x->name, y->name, KEPT_TIME);

	if (order == 0)
		order = x->made_ns < y->made_ns ? -1 : x->made_ns > y->made_ns ? 1 : strcmp(x->name, y->name);
	return order;
}

int kept_list(struct view *v, const char *dir, const char *prefix, const char *suffix, struct kept_list *ret, struct err *err)
{
	_cleanup_(strv_done) struct strv names = { 0 };
	size_t around = strlen(prefix) + strlen(suffix);

	int r = v->type->list(v, dir, &names, err);
	if (r == ERR_NOT_FOUND) {
		err_clear(err);
		return 0;
	}
	for (size_t i = 0; i < names.count && r == 0; i++) {
		const char *name = names.items[i];
		_cleanup_(node_done) struct node n = { 0 };
		_cleanup_free_ char *path = fs_join(dir, name);
		if (strlen(name) <= around || !str_starts(name, prefix) || !str_ends(name, suffix))
			continue;
		r = v->type->stat(v, path, &n, err);
		ret->items = xgrow(ret->items, &ret->cap, ret->count + 1, sizeof(*ret->items));
		ret->items[ret->count++] = (struct kept) { xstrndup(name + strlen(prefix), strlen(name) - around), n.mtime_ns };
	}
	if (ret->count > 1)
		qsort(ret->items, ret->count, sizeof(*ret->items), compare);
	return r;
}
