/* What a service manager is told of the listener: that it is ready, how it is, that its loop turns, that it stops. */
#include "agent/listener/listener_priv.h"

#include <stdio.h>

#include "base/core/clock.h"

/* A status is told when it changes, so that the manager always shows the present one. */
static void tell_status(struct listener *l)
{
	size_t listening = 0, jobs = 0;
	for (size_t i = 0; i < l->endpoint_count; i++)
		listening += l->endpoints[i]->listening;
	for (const struct lease *j = l->jobs; j != NULL; j = j->next)
		jobs += j->phase == LEASE_RUNNING;
	char status[sizeof(l->told_status)];
	int n = snprintf(status, sizeof(status), "STATUS=listening for %zu of %zu registrations, %zu %s", listening,
	                 l->endpoint_count, jobs, jobs == 1 ? "job runs" : "jobs run");
	if (n < 0 || strcmp(status, l->told_status) == 0)
		return;
	memcpy(l->told_status, status, sizeof(status));
	supervisor_tell(&l->supervisor, status);
}

void watchdog_begin(struct listener *l)
{
	supervisor_tell(&l->supervisor, "READY=1");
	if (l->supervisor.watchdog_ms > 0)
		l->watchdog_due_ms = clock_mono_ms();
}

void watchdog_timer(struct listener *l, int64_t now_ms)
{
	if (l->supervisor.fd >= 0 && !l->stopping)
		tell_status(l);
	if (l->watchdog_due_ms == 0 || now_ms < l->watchdog_due_ms)
		return;
	supervisor_tell(&l->supervisor, "WATCHDOG=1");
	/* Twice within its time: one late turn of a busy machine is no reason to be killed. */
	l->watchdog_due_ms = now_ms + MAX(l->supervisor.watchdog_ms / 2, (int64_t)1);
}

void watchdog_stopping(struct listener *l)
{
	supervisor_tell(&l->supervisor, "STOPPING=1\nSTATUS=stops once its jobs have");
}
