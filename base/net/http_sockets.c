/* What libcurl waits for: it names its connections and a time, and hears of those that are ready alone. Asked about all of them
 * (curl_multi_perform), it would look at each at every wake-up, which an agent of a hundred polls pays for. */
#include "base/net/http_priv.h"
#include "base/core/clock.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { EVENTS_A_TURN = 64, FAR_MS = 100 };

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *known)
{
	const struct http *h = context;
	(void)easy;
	(void)known;
	struct epoll_event event = {.data.fd = fd,
	                            .events = (what & CURL_POLL_IN ? (uint32_t)EPOLLIN : 0) |
	                                      (what & CURL_POLL_OUT ? (uint32_t)EPOLLOUT : 0)};
	if (what == CURL_POLL_REMOVE)
		(void)epoll_ctl(h->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
	else if (epoll_ctl(h->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 && errno == EEXIST)
		(void)epoll_ctl(h->epoll_fd, EPOLL_CTL_MOD, fd, &event);
	return 0;
}

static int on_timer(CURLM *multi, long ms, void *context)
{
	struct http *h = context;
	(void)multi;
	/* One more, since our clock is cut to milliseconds: called too early, libcurl would ask for another wake-up. */
	h->timer_mono_ms = ms < 0 ? -1 : clock_mono_ms() + ms + (ms > 0);
	h->timer_is_far = ms >= FAR_MS;
	return 0;
}

int http_sockets_begin(struct http *h, struct err *err)
{
	h->timer_mono_ms = -1;
	h->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (h->epoll_fd < 0)
		return err_errno(err, errno, "epoll");
	curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
	curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, on_timer);
	curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
	return 0;
}

static int tell(struct http *h, curl_socket_t fd, int what, struct err *err)
{
	int running;
	CURLMcode code = curl_multi_socket_action(h->multi, fd, what, &running);
	return code == CURLM_OK ? 0 : err_set(err, ERR_INTERNAL, "network: %s", curl_multi_strerror(code));
}

/* When libcurl's timer is due, or a try is over its time; -1: neither. libcurl keeps the timer of connecting until a request is over:
 * where all of them just wait for an answer it has nothing to do before that, and nobody is woken. */
static int64_t next_due(const struct http *h)
{
	int64_t until = -1;
	bool waits = true;
	for (const struct http_transfer *t = h->transfers; t != NULL; t = t->next) {
		if (t->easy == NULL)
			continue;
		waits &= t->sent;
		until = until < 0 ? t->until_mono_ms : MIN(until, t->until_mono_ms);
	}
	if (h->timer_mono_ms < 0 || (waits && until >= 0 && h->timer_is_far))
		return until;
	return until < 0 ? h->timer_mono_ms : MIN(until, h->timer_mono_ms);
}

static int turn_timer(struct http *h, struct err *err)
{
	int64_t due = next_due(h), now = clock_mono_ms();
	if (due < 0 || due > now || h->timer_mono_ms < 0 || h->timer_mono_ms > now)
		return 0;
	h->timer_mono_ms = -1;
	return tell(h, CURL_SOCKET_TIMEOUT, 0, err);
}

int http_sockets_turn(struct http *h, struct err *err)
{
	struct epoll_event events[EVENTS_A_TURN];
	int r = turn_timer(h, err);
	int count = r < 0 ? 0 : epoll_wait(h->epoll_fd, events, EVENTS_A_TURN, 0);
	for (int i = 0; r == 0 && i < count; i++) {
		uint32_t e = events[i].events;
		r = tell(h, events[i].data.fd,
		         (e & EPOLLIN ? CURL_CSELECT_IN : 0) | (e & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
		                 (e & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0),
		         err);
	}
	return r;
}

int64_t http_sockets_left_ms(const struct http *h)
{
	int64_t due = next_due(h);
	return due < 0 ? -1 : MAX(due - clock_mono_ms(), 0);
}
