/* Fibers: functions with stacks of their own that take turns. One runs at a time, and only while the one that resumed it waits, so
 * what they share needs no locks. Each is a thread that sleeps between its turns: makecontext(3) is missing where libc is musl. */
#pragma once
#include <stdbool.h>

#include "base/core/err.h"

struct fiber;
/* It begins with the first turn. */
struct fiber *fiber_new(void (*run)(struct fiber *f, void *context), void *context);
/* A turn: until it yields or ends. An error: it could not begin. Not for one that is over. */
int fiber_resume(struct fiber *f, struct err *err);
/* From inside: gives the turn back, until the next one. */
void fiber_yield(struct fiber *f);
bool fiber_is_over(const struct fiber *f);
/* One that never began, or is over. */
void fiber_free(struct fiber *f);
