#include "engine/target/grace.h"

#include "base/core/clock.h"
#include "base/core/mem.h"

enum { LOOK_MS = 100 };

/* In the caller's own struct, since what its tick does waits by it: a cancel was heeded by asking. */
static int tick_on(struct grace *g, struct err *err)
{
	const struct wait was = *g->caller;
	g->caller->cancel_fd = -1;
	g->caller->deadline_mono_ms = 0;
	int r = wait_ms(g->caller, 0, err);
	g->caller->cancel_fd = was.cancel_fd;
	g->caller->deadline_mono_ms = was.deadline_mono_ms;
	return r;
}

static int reason(const struct grace *g)
{
	int r = wait_check(g->caller, NULL);
	return r == 0 && clock_mono_ms() >= g->deadline_mono_ms ? ERR_TIMEOUT : r;
}

static int look(void *context, struct err *err)
{
	struct grace *g = context;
	int r = g->why == 0 ? reason(g) : 0;
	if (r < 0) {
		g->why = r;
		g->own.deadline_mono_ms = clock_mono_ms() + MIN(g->ms, (int64_t)GRACE_MAX_MS);
		g->ask(g->context);
	}
	return tick_on(g, err);
}

struct wait *grace_begin(struct grace *g, struct wait *caller, int64_t timeout_ms, int64_t grace_ms,
                         void (*ask)(void *context), void *context)
{
	*g = (struct grace){.own = {.cancel_fd = -1, .tick_ms = LOOK_MS, .tick = look, .context = g},
	                    .caller = caller,
	                    .deadline_mono_ms = clock_mono_ms() + timeout_ms,
	                    .ms = grace_ms,
	                    .ask = ask,
	                    .context = context};
	return &g->own;
}

int grace_end(const struct grace *g, int r, struct err *err)
{
	if (g->why == 0 || (r < 0 && r != ERR_TIMEOUT))
		return r;
	return err_set(err, g->why, g->why == ERR_CANCELLED ? "cancelled" : "the deadline passed");
}
