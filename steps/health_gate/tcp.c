/* tcp checks: a connection that is made and closed. Names are resolved on a thread of their own, since the system's
 * resolver can neither be polled nor be stopped; a try that is given up leaves the thread its own copy of everything.
 */
#include "base/core/clock.h"
#include "steps/health_gate/health_gate.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

struct lookup {
	atomic_int holders; /* the check and the thread */
	int done_fd;        /* readable when code and list are there */
	int code;
	struct addrinfo *list;
	char *host;
	char port[8];
};

struct tcp_probe {
	struct lookup *lookup;
	const struct addrinfo *next;
	int fd;
	int last_errno;
};

static void lookup_release(struct lookup *l)
{
	if (l == NULL || atomic_fetch_sub(&l->holders, 1) != 1)
		return;
	if (l->list != NULL)
		freeaddrinfo(l->list);
	closep(&l->done_fd);
	free(l->host);
	free(l);
}

static void *lookup_thread(void *context)
{
	struct lookup *l = context;
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
	l->code = getaddrinfo(l->host, l->port, &hints, &l->list);
	uint64_t one = 1;
	ssize_t n = write(l->done_fd, &one, sizeof(one));
	(void)n;
	lookup_release(l);
	return NULL;
}

/* Numbers need no resolver. */
static bool lookup_numeric(struct lookup *l)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
	l->code = getaddrinfo(l->host, l->port, &hints, &l->list);
	return l->code == 0;
}

static int lookup_start(struct lookup *l)
{
	pthread_t thread;
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, 256 << 10);
	atomic_fetch_add(&l->holders, 1);
	int r = pthread_create(&thread, &attr, lookup_thread, l);
	pthread_attr_destroy(&attr);
	if (r != 0)
		atomic_fetch_sub(&l->holders, 1);
	return r;
}

void gate_tcp_stop(struct gate_check *check)
{
	struct tcp_probe *p = TAKE(check->tcp);
	if (p == NULL)
		return;
	closep(&p->fd);
	lookup_release(p->lookup);
	free(p);
}

static void ends(struct gate_check *check, bool ok, const char *text)
{
	gate_tcp_stop(check);
	gate_result(check, ok, "%s", text);
}

/* Tries addresses until one is connected or on its way. */
static void connect_next(struct gate_check *check)
{
	struct tcp_probe *p = check->tcp;
	while (p->next != NULL) {
		const struct addrinfo *a = p->next;
		p->next = a->ai_next;
		closep(&p->fd);
		p->fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
		if (p->fd < 0) {
			p->last_errno = errno;
			continue;
		}
		if (connect(p->fd, a->ai_addr, a->ai_addrlen) == 0) {
			ends(check, true, "accepted a connection");
			return;
		}
		if (errno == EINPROGRESS)
			return;
		p->last_errno = errno;
	}
	char text[256];
	snprintf(text, sizeof(text), "no connection: %s", strerror(p->last_errno));
	ends(check, false, text);
}

static void resolved(struct gate_check *check)
{
	struct tcp_probe *p = check->tcp;
	if (p->lookup->code != 0) {
		char text[256];
		snprintf(text, sizeof(text), "the name '%s' does not resolve: %s", p->lookup->host,
		         gai_strerror(p->lookup->code));
		ends(check, false, text);
		return;
	}
	p->next = p->lookup->list;
	p->last_errno = EADDRNOTAVAIL;
	connect_next(check);
}

void gate_tcp_start(struct gate_check *check)
{
	struct err err = ERR_INIT;
	char line[512];
	char *host = NULL;
	int port = 0;
	if (gate_split_address(check->in->tcp, &host, &port, &err) < 0) {
		gate_result(check, false, "%s", err_line(&err, line, sizeof(line)));
		return;
	}
	struct lookup *l = xcalloc(1, sizeof(*l));
	atomic_init(&l->holders, 1);
	l->host = host;
	snprintf(l->port, sizeof(l->port), "%d", port);
	l->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	check->tcp = xcalloc(1, sizeof(*check->tcp));
	check->tcp->fd = -1;
	check->tcp->lookup = l;
	if (l->done_fd < 0) {
		ends(check, false, "no descriptor is left on this machine");
		return;
	}
	if (lookup_numeric(l))
		resolved(check);
	else if (lookup_start(l) != 0)
		ends(check, false, "this machine cannot start a thread for the name's lookup");
}

void gate_tcp_poll(const struct gate_check *check, struct pollfd *ret)
{
	const struct tcp_probe *p = check->tcp;
	*ret = p->fd >= 0 ? (struct pollfd){.fd = p->fd, .events = POLLOUT}
	                  : (struct pollfd){.fd = p->lookup->done_fd, .events = POLLIN};
}

void gate_tcp_turn(struct gate_check *check)
{
	struct tcp_probe *p = check->tcp;
	if (clock_mono_ms() - check->started_mono_ms >= check->in->timeout_ms) {
		char text[CLOCK_TEXT_SIZE], took[CLOCK_TEXT_SIZE + 32];
		snprintf(took, sizeof(took), "no connection within %s", clock_duration(check->in->timeout_ms, text));
		ends(check, false, took);
		return;
	}
	struct pollfd pfd;
	gate_tcp_poll(check, &pfd);
	if (poll(&pfd, 1, 0) <= 0)
		return;
	if (p->fd < 0) {
		resolved(check);
		return;
	}
	int code = 0;
	socklen_t size = sizeof(code);
	if (getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &code, &size) < 0)
		code = errno;
	if (code == 0) {
		ends(check, true, "accepted a connection");
		return;
	}
	p->last_errno = code;
	connect_next(check);
}
