#include "base/core/wait.h"
#include "base/core/clock.h"
#include "base/core/mem.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>

static bool readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int n;
	do {
		n = poll(&p, 1, 0);
	} while (n < 0 && errno == EINTR);
	return n > 0;
}

static int cancelled(struct err *err)
{
	return err_set(err, ERR_CANCELLED, "cancelled");
}

static int timed_out(struct err *err)
{
	return err_set(err, ERR_TIMEOUT, "the deadline passed");
}

int wait_check(const struct wait *w, struct err *err)
{
	if (w == NULL)
		return 0;
	if (w->cancel_fd >= 0 && readable(w->cancel_fd))
		return cancelled(err);
	if (w->deadline_mono_ms != 0 && clock_mono_ms() >= w->deadline_mono_ms)
		return timed_out(err);
	return 0;
}

static int run_tick(struct wait *w, int64_t now, struct err *err)
{
	if (w == NULL || w->tick == NULL || w->tick_ms <= 0)
		return 0;
	if (w->next_tick_mono_ms == 0)
		w->next_tick_mono_ms = now + w->tick_ms;
	if (now < w->next_tick_mono_ms)
		return 0;
	/* Set first: the tick may itself wait through this struct. */
	w->next_tick_mono_ms = now + w->tick_ms;
	return w->tick(w->context, err);
}

int64_t wait_left_ms(const struct wait *w)
{
	int64_t now = clock_mono_ms(), left = -1;
	if (w == NULL)
		return -1;
	if (w->deadline_mono_ms != 0)
		left = MAX(w->deadline_mono_ms - now, 0);
	if (w->tick != NULL && w->tick_ms > 0) {
		int64_t tick = w->next_tick_mono_ms == 0 ? w->tick_ms : MAX(w->next_tick_mono_ms - now, 0);
		left = left < 0 ? tick : MIN(left, tick);
	}
	return left;
}

/* Waits until fd, cancel, tick, w's deadline or `until`; 0 only for `until`. */
static int wait_until(struct wait *w, int fd, short events, int64_t until, struct err *err)
{
	for (;;) {
		int64_t now = clock_mono_ms();
		int r = run_tick(w, now, err);
		if (r < 0)
			return r;
		if (w != NULL && w->deadline_mono_ms != 0 && now >= w->deadline_mono_ms)
			return timed_out(err);

		int64_t left = wait_left_ms(w);
		if (until >= 0)
			left = left < 0 ? MAX(until - now, 0) : MIN(left, MAX(until - now, 0));
		if (fd < 0 && left >= 0 && clock_is_simulated()) {
			/* Simulated time passes only here; a cancel is checked before and after. */
			clock_pause_ms(MAX(left, 1));
			r = w != NULL && w->cancel_fd >= 0 && readable(w->cancel_fd) ? cancelled(err) : 0;
			if (r < 0)
				return r;
			if (until >= 0 && clock_mono_ms() >= until)
				return 0;
			continue;
		}
		struct pollfd p[2] = {
			{.fd = w != NULL ? w->cancel_fd : -1, .events = POLLIN},
			{.fd = fd, .events = events},
		};
		int n = poll(p, 2, left < 0 ? -1 : (int)MIN(left, INT_MAX));
		if (n < 0 && errno != EINTR)
			return err_errno(err, errno, "poll");
		if (n > 0 && p[0].revents != 0)
			return cancelled(err);
		if (n > 0 && p[1].revents != 0)
			return p[1].revents;
		if (until >= 0 && clock_mono_ms() >= until)
			return 0;
	}
}

int wait_fd(struct wait *w, int fd, short events, struct err *err)
{
	return wait_until(w, fd, events, -1, err);
}

int wait_ms(struct wait *w, int64_t ms, struct err *err)
{
	return wait_until(w, -1, 0, clock_mono_ms() + MAX(ms, 0), err);
}

int wait_aside(struct wait *w, int64_t ms, struct err *err)
{
	int r = w != NULL && w->aside != NULL ? w->aside(w->context, ms, err) : 0;
	if (r == 0)
		return wait_ms(w, ms, err);
	return r < 0 ? r : wait_check(w, err);
}

struct wait wait_within(const struct wait *w, int64_t ms)
{
	struct wait near = WAIT_INIT;
	if (w != NULL)
		near = *w;
	int64_t deadline = clock_mono_ms() + MAX(ms, 1);
	if (near.deadline_mono_ms == 0 || deadline < near.deadline_mono_ms)
		near.deadline_mono_ms = deadline;
	return near;
}
