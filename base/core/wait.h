/* The one place where a process waits on a descriptor. It also watches the cancel descriptor and the deadline, and calls
 * `tick` every tick_ms (the lock's renewal). Every blocking call of a step goes through here or is bounded by it. A NULL wait has no
 * limits. */
#pragma once
#include "base/core/err.h"
#include <stdint.h>

struct wait {
	int cancel_fd;                               /* readable: stop (never read here); -1: none */
	int64_t deadline_mono_ms;                    /* 0: none: only for a program's own main loop */
	int64_t tick_ms;                             /* 0: no tick */
	int (*tick)(void *context, struct err *err); /* < 0 ends the wait with that error */
	void *context;
	int64_t next_tick_mono_ms; /* kept by wait_fd */
	/* Of wait_aside: 1 once so long has passed, in which others had their turn; 0: there is nobody, so that it just waits; < 0 ends the wait
	 * with that error. NULL: nobody. */
	int (*aside)(void *context, int64_t ms, struct err *err);
};
#define WAIT_INIT                                                                                                      \
	{                                                                                                              \
		.cancel_fd = -1                                                                                        \
	}

/* events: POLLIN, POLLOUT. Returns revents (> 0), ERR_CANCELLED, ERR_TIMEOUT, or what tick returned. fd -1: just waits. */
int wait_fd(struct wait *w, int fd, short events, struct err *err);
/* Waits at most ms; 0 when that time passed, ERR_CANCELLED or ERR_TIMEOUT (the deadline) before. For back-off. */
int wait_ms(struct wait *w, int64_t ms, struct err *err);
/* The same where others may go on meanwhile, whatever they change: the caller is in the middle of nothing. For what an API works on. */
int wait_aside(struct wait *w, int64_t ms, struct err *err);
/* 0 or ERR_CANCELLED / ERR_TIMEOUT at once: for callbacks of libraries. */
int wait_check(const struct wait *w, struct err *err);
/* The same cancel and tick with a nearer deadline (mono now + ms, never later than w's own). */
struct wait wait_within(const struct wait *w, int64_t ms);
/* Milliseconds to the next deadline or tick, -1: none. For loops of libraries, which then call wait_ms(w, 0, err). */
int64_t wait_left_ms(const struct wait *w);
