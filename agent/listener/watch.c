/* The descriptors of one turn of the loop, and whose they are. */
#include "agent/listener/listener_priv.h"

static void add(struct watch *w, int fd, short events, const struct watch_owner *owner)
{
	if (fd < 0)
		return;
	if (w->count == w->cap) {
		size_t cap = w->cap, need = w->count + 1;
		w->fds = xgrow(w->fds, &w->cap, need, sizeof(*w->fds));
		w->owners = xgrow(w->owners, &cap, need, sizeof(*w->owners));
	}
	w->fds[w->count] = (struct pollfd){.fd = fd, .events = events};
	w->owners[w->count++] = *owner;
}

void watch_fill(struct watch *w, const struct listener *l)
{
	w->count = 0;
	if (!l->stopping)
		add(w, l->cancel_fd, POLLIN, &(struct watch_owner){.kind = WATCH_CANCEL});
	for (struct lease *j = l->jobs; j != NULL; j = j->next) {
		add(w, j->pidfd, POLLIN, &(struct watch_owner){.kind = WATCH_WORKER, .job = j});
		if (j->phase == LEASE_RUNNING && j->sent < j->input.len)
			add(w, j->worker.stdin_fd, POLLOUT, &(struct watch_owner){.kind = WATCH_INPUT, .job = j});
	}
	for (struct recovery *r = l->recoveries; r != NULL; r = r->next) {
		add(w, r->pidfd, POLLIN, &(struct watch_owner){.kind = WATCH_RECOVERY, .recovery = r});
		add(w, r->proc.stdout_fd, POLLIN, &(struct watch_owner){.kind = WATCH_OUTPUT, .recovery = r});
	}
	for (size_t i = 0; l->renewing > 0 && i < l->endpoint_count; i++)
		add(w, l->endpoints[i]->renewal_fd, POLLIN,
		    &(struct watch_owner){.kind = WATCH_RENEWAL, .endpoint = l->endpoints[i]});
	add(w, l->areas.pidfd, POLLIN, &(struct watch_owner){.kind = WATCH_SWEEP});
	if (l->areas.pidfd >= 0)
		add(w, l->areas.proc.stdout_fd, POLLIN, &(struct watch_owner){.kind = WATCH_SWEPT});
	add(w, l->teller.fd, POLLIN, &(struct watch_owner){.kind = WATCH_ASKED});
	for (struct listener_reader *reader = l->teller.readers; reader != NULL; reader = reader->next)
		add(w, reader->fd, POLLOUT, &(struct watch_owner){.kind = WATCH_READER, .reader = reader});
}

static void handle(const struct watch_owner *owner, struct listener *l)
{
	switch (owner->kind) {
	case WATCH_CANCEL:
		if (!l->stopping)
			listener_stop(l);
		break;
	case WATCH_WORKER:
		lease_worker_ended(owner->job);
		break;
	case WATCH_INPUT:
		lease_feed(owner->job);
		break;
	case WATCH_RECOVERY:
		recovery_event(owner->recovery);
		break;
	case WATCH_OUTPUT:
		recovery_read(owner->recovery);
		break;
	case WATCH_SWEEP:
		areas_ended(l);
		break;
	case WATCH_SWEPT:
		if (l->areas.pidfd >= 0)
			areas_read(l);
		break;
	case WATCH_RENEWAL:
		endpoint_renewed(owner->endpoint);
		break;
	case WATCH_ASKED:
		teller_accept(l);
		break;
	case WATCH_READER:
		teller_write(owner->reader);
		break;
	}
}

void watch_handle(const struct watch *w, struct listener *l)
{
	for (size_t i = 0; i < w->count; i++)
		if (w->fds[i].revents != 0)
			handle(&w->owners[i], l);
}

void watch_done(struct watch *w)
{
	free(w->fds);
	free(w->owners);
	*w = (struct watch){0};
}
