/* Items that need one another, put into an order in which each comes after those that it needs. Knows nothing of resources. */
#pragma once
#include "base/core/mem.h"

struct order;

/* A cycle: each item needs the next one, and the last one the first. What closes it is left out of the order. */
typedef void order_cycle(void *context, const size_t *items, size_t count);

struct order *order_new(size_t count);
void order_freep(struct order **o);
void order_add(struct order *o, size_t item, size_t needs);
/* Each path needs the nearest one above it. NULL: the item has no path. */
void order_add_paths(struct order *o, const char *const *paths);
/* Items that do not need one another stay as in `base`. on_cycle may be NULL. */
void order_sort(struct order *o, const size_t *base, size_t *ret, order_cycle *on_cycle, void *context);

/* What lies below a path comes right behind it. */
int order_compare_paths(const char *a, const char *b);
