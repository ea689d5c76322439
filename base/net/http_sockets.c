/* What libcurl waits for: it names its connections and a time, and hears of those that are ready alone. Asked about all of them
 * (curl_multi_perform), it would look at each at every wake-up, which an agent of a hundred polls pays for.
 *
 * libcurl gives up a connection when its request is over, and asks for it again for the next one. The kernel is told right before the wait, when both
 * have cancelled each other out. */
#include "base/net/http_priv.h"
#include "base/core/clock.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { EVENTS_A_TURN = 64, FAR_MS = 100 };

/* A descriptor that libcurl waits for, or did. */
struct http_watched {
	uint32_t wanted, told; /* events of epoll: asked for by libcurl, known to the kernel */
	bool own;       /* a connection: we hear of its begin and end. Others, of the resolver, are libcurl's own */
	bool unsettled; /* it is in that list */
};

static void settle(struct http *h, int fd, struct http_watched *w)
{
	struct epoll_event event = {.data.fd = fd, .events = w->wanted};
	if (w->wanted == w->told)
		return;
	if (w->wanted == 0)
		(void)epoll_ctl(h->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
	else if (epoll_ctl(h->epoll_fd, w->told == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event) < 0)
		(void)epoll_ctl(h->epoll_fd, w->told == 0 ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);
	w->told = w->wanted;
}

void http_sockets_settle(struct http *h)
{
	for (size_t i = 0; i < h->unsettled_count; i++) {
		struct http_watched *w = &h->watched[h->unsettled[i]];
		w->unsettled = false;
		settle(h, h->unsettled[i], w);
	}
	h->unsettled_count = 0;
}

static struct http_watched *watched(struct http *h, int fd)
{
	size_t before = h->watched_cap, index = (size_t)fd;
	if (index >= before) {
		h->watched = xgrow(h->watched, &h->watched_cap, index + 1, sizeof(*h->watched));
		memset(&h->watched[before], 0, (h->watched_cap - before) * sizeof(*h->watched));
	}
	return &h->watched[index];
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *known)
{
	struct http *h = context;
	struct http_watched *w = watched(h, fd);
	(void)easy;
	(void)known;
	w->wanted = what == CURL_POLL_REMOVE ? 0
	                                     : (what & CURL_POLL_IN ? (uint32_t)EPOLLIN : 0) |
	                                               (what & CURL_POLL_OUT ? (uint32_t)EPOLLOUT : 0);
	if (!w->own) {
		settle(h, fd, w);
	} else if (!w->unsettled && w->wanted != w->told) {
		h->unsettled = xgrow(h->unsettled, &h->unsettled_cap, h->unsettled_count + 1, sizeof(*h->unsettled));
		h->unsettled[h->unsettled_count++] = fd;
		w->unsettled = true;
	}
	return 0;
}

/* The kernel forgets a descriptor that is closed, another one may have its number then. */
static void forget(struct http *h, int fd, bool own)
{
	struct http_watched *w = watched(h, fd);
	w->wanted = 0;
	settle(h, fd, w);
	w->own = own;
}

void http_sockets_opened(struct http *h, int fd)
{
	forget(h, fd, true);
}

int http_sockets_close(void *client, curl_socket_t fd)
{
	forget(client, fd, false);
	return close(fd);
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

void http_sockets_end(struct http *h)
{
	closep(&h->epoll_fd);
	free(h->watched);
	free(h->unsettled);
}

static int tell(struct http *h, curl_socket_t fd, int what, struct err *err)
{
	int running;
	CURLMcode code = curl_multi_socket_action(h->multi, fd, what, &running);
	return code == CURLM_OK ? 0 : err_set(err, ERR_INTERNAL, "network: %s", curl_multi_strerror(code));
}

/* libcurl keeps the timer of connecting until a request is over: where all of them just wait for an answer it has nothing to do before the end of
 * the first one's time, and nobody is woken. */
int64_t http_sockets_due(const struct http *h)
{
	if (h->timer_mono_ms < 0 || !h->timer_is_far || h->unsent > 0 || h->first == NULL)
		return h->timer_mono_ms;
	int64_t first = http_transfer_due(h->first);
	return MAX(h->timer_mono_ms, first);
}

static int turn_timer(struct http *h, struct err *err)
{
	int64_t due = http_sockets_due(h);
	if (due < 0 || due > clock_mono_ms())
		return 0;
	h->timer_mono_ms = -1;
	return tell(h, CURL_SOCKET_TIMEOUT, 0, err);
}

/* The events of those that are ready, where the last wait saw that some are. */
int http_sockets_turn(struct http *h, struct err *err)
{
	struct epoll_event events[EVENTS_A_TURN];
	int r = turn_timer(h, err);
	if (r < 0 || !h->ready)
		return r;
	http_sockets_settle(h);
	int count = epoll_wait(h->epoll_fd, events, EVENTS_A_TURN, 0);
	h->ready = count == EVENTS_A_TURN;
	for (int i = 0; r == 0 && i < count; i++) {
		uint32_t e = events[i].events;
		r = tell(h, events[i].data.fd,
		         (e & EPOLLIN ? CURL_CSELECT_IN : 0) | (e & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
		                 (e & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0),
		         err);
	}
	return r;
}
