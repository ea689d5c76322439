/* Asks several targets at the same time: a session answers one question at a time and blocks, so each target has a thread of its own,
 * and one that hangs does not keep the others. */
#pragma once
#include "engine/target/target.h"

/* Asks the target `views[index]`; may use its view and what is its own by the index, nothing that the others use. */
typedef int (*target_ask_fn)(void *context, size_t index, struct view *v, struct err *err);

/* ret[i] and errs[i]: what ask returned for views[i]; NULL among the views is left out. Each has deadline_ms. `w` is the caller's own wait:
 * its tick goes on, and its cancel ends all. Lines that a target reports meanwhile are told in the order of the views. */
void target_each(struct view *const *views, size_t count, struct wait *w, int64_t deadline_ms, target_ask_fn ask,
                 void *context, int *ret, struct err *errs);
