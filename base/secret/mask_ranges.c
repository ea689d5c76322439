#include "base/secret/mask_ranges.h"

#include <stdlib.h>
#include <string.h>

void mask_ranges_init(struct ranges *r)
{
	r->items = r->inline_items;
	r->count = 0;
	r->cap = RANGES_INLINE;
}

void mask_ranges_done(struct ranges *r)
{
	if (r->items != r->inline_items)
		free(r->items);
}

/* Nearly always in order of their start, so that merging is nearly always with the last one. */
void mask_ranges_add(struct ranges *r, size_t from, size_t to)
{
	if (r->count > 0) {
		struct range *last = &r->items[r->count - 1];
		if (from >= last->from && from <= last->to) {
			last->to = MAX(last->to, to);
			return;
		}
	}
	if (r->count == r->cap) {
		size_t cap = r->cap * 2;
		struct range *more = xmalloc(cap * sizeof(*more));
		memcpy(more, r->items, r->count * sizeof(*more));
		mask_ranges_done(r);
		r->items = more;
		r->cap = cap;
	}
	r->items[r->count++] = (struct range){from, to};
}

static int by_start(const void *a, const void *b)
{
	const struct range *x = a, *y = b;
	return x->from < y->from ? -1 : x->from > y->from;
}

void mask_ranges_merge(struct ranges *r)
{
	if (r->count < 2)
		return;
	qsort(r->items, r->count, sizeof(r->items[0]), by_start);
	size_t kept = 0;
	for (size_t i = 0; i < r->count; i++) {
		if (kept > 0 && r->items[i].from <= r->items[kept - 1].to)
			r->items[kept - 1].to = MAX(r->items[kept - 1].to, r->items[i].to);
		else
			r->items[kept++] = r->items[i];
	}
	r->count = kept;
}
