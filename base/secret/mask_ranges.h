/* Places in a text that are to be covered: reported in any order, merged where they overlap or touch. */
#pragma once
#include "base/core/mem.h"

enum { RANGES_INLINE = 64 };

struct range {
	size_t from, to;
};
struct ranges {
	struct range inline_items[RANGES_INLINE], *items;
	size_t count, cap;
};
void mask_ranges_init(struct ranges *r);
void mask_ranges_done(struct ranges *r);
void mask_ranges_add(struct ranges *r, size_t from, size_t to);
void mask_ranges_merge(struct ranges *r); /* in order, each apart from the next */
