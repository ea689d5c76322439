#include "steps/apply/order.h"

#include "base/sys/fs.h"

#include <stdlib.h>
#include <string.h>

struct needs {
	size_t *items, count, cap;
};

struct order {
	size_t count;
	struct needs *needs; /* of each item */
};

struct order *order_new(size_t count)
{
	struct order *o = xcalloc(1, sizeof(*o));
	o->count = count;
	o->needs = xcalloc(count + 1, sizeof(*o->needs));
	return o;
}

void order_freep(struct order **o)
{
	if (*o == NULL)
		return;
	for (size_t i = 0; i < (*o)->count; i++)
		free((*o)->needs[i].items);
	free((*o)->needs);
	free(*o);
	*o = NULL;
}

void order_add(struct order *o, size_t item, size_t needs)
{
	struct needs *n = &o->needs[item];
	n->items = xgrow(n->items, &n->cap, n->count + 1, sizeof(*n->items));
	n->items[n->count++] = needs;
}

/* ---- paths ---- */

/* A slash sorts before all other characters. */
static int rank(char c)
{
	return c == '/' ? 1 : c == '\0' ? 0 : (unsigned char)c + 1;
}

int order_compare_paths(const char *a, const char *b)
{
	while (*a != '\0' && *a == *b) {
		a++;
		b++;
	}
	return rank(*a) - rank(*b);
}

struct placed {
	const char *path;
	size_t item;
};

static int by_path(const void *a, const void *b)
{
	const struct placed *x = a, *y = b;
	return order_compare_paths(x->path, y->path);
}

void order_add_paths(struct order *o, const char *const *paths)
{
	_cleanup_free_ struct placed *sorted = xcalloc(o->count + 1, sizeof(*sorted));
	_cleanup_free_ size_t *above = xcalloc(o->count + 1, sizeof(*above)); /* the way down to the present one */
	size_t count = 0, depth = 0;
	for (size_t i = 0; i < o->count; i++)
		if (paths[i] != NULL)
			sorted[count++] = (struct placed){paths[i], i};
	qsort(sorted, count, sizeof(*sorted), by_path);
	for (size_t i = 0; i < count; i++) {
		while (depth > 0 && !fs_below(sorted[above[depth - 1]].path, sorted[i].path))
			depth--;
		if (depth > 0)
			order_add(o, sorted[i].item, sorted[above[depth - 1]].item);
		above[depth++] = i;
	}
}

/* ---- the order ---- */

enum seen { NOT_YET, ON_THE_WAY, PLACED };

/* The items on the way from where the walk began, each needed by the one before it. */
struct walk {
	const struct order *o;
	unsigned char *seen;
	size_t *way, *next, depth; /* next: of each item, the need that is to be looked at */
	size_t *ret, placed;
	order_cycle *on_cycle;
	void *context;
};

static void enter(struct walk *w, size_t item)
{
	w->seen[item] = ON_THE_WAY;
	w->way[w->depth++] = item;
}

static void report_cycle(const struct walk *w, size_t item)
{
	size_t from = w->depth;
	while (from > 0 && w->way[from - 1] != item)
		from--;
	if (from > 0 && w->on_cycle != NULL)
		w->on_cycle(w->context, w->way + from - 1, w->depth - from + 1);
}

static void take_step(struct walk *w)
{
	size_t item = w->way[w->depth - 1];
	const struct needs *needs = &w->o->needs[item];
	if (w->next[item] == needs->count) {
		w->seen[item] = PLACED;
		w->ret[w->placed++] = item;
		w->depth--;
		return;
	}
	size_t needed = needs->items[w->next[item]++];
	if (w->seen[needed] == NOT_YET)
		enter(w, needed);
	else if (w->seen[needed] == ON_THE_WAY)
		report_cycle(w, needed);
}

void order_sort(struct order *o, const size_t *base, size_t *ret, order_cycle *on_cycle, void *context)
{
	_cleanup_free_ unsigned char *seen = xcalloc(o->count + 1, 1);
	_cleanup_free_ size_t *way = xcalloc(o->count + 1, sizeof(*way)), *next = xcalloc(o->count + 1, sizeof(*next));
	struct walk w = {
		.o = o, .seen = seen, .way = way, .next = next, .ret = ret, .on_cycle = on_cycle, .context = context};
	for (size_t i = 0; i < o->count; i++) {
		if (seen[base[i]] == NOT_YET)
			enter(&w, base[i]);
		while (w.depth > 0)
			take_step(&w);
	}
}
