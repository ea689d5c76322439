/* tcp checks: a connection that is made and closed. */
#include "base/core/clock.h"
#include "steps/health_gate/health_gate.h"

#include <errno.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

struct tcp_try {
	struct gate_lookup *lookup;
	const struct addrinfo *next;
	char *host;
	int fd; /* of the connection on its way; -1: the name is still looked up */
	int last_errno;
};

static bool is_asked(const struct health_gate_checks *in)
{
	return in->tcp != NULL;
}

static void label(const struct health_gate_checks *in, struct str *out)
{
	str_append(out, in->tcp);
}

static void validate(const struct health_gate_checks *in, const struct gate_place *place)
{
	struct err err = ERR_INIT;
	char line[512];
	_cleanup_free_ char *host = NULL;
	int port;
	if (gate_split_address(in->tcp, &host, &port, &err) < 0)
		gate_fault(place, NULL, NULL, "%s", err_line(&err, line, sizeof(line)));
}

static char *host_of(const struct health_gate_checks *in)
{
	char *host = NULL;
	int port;
	return gate_split_address(in->tcp, &host, &port, NULL) == 0 ? host : NULL;
}

static void stop(struct gate_check *check)
{
	struct tcp_try *t = TAKE(check->own);
	if (t == NULL)
		return;
	closep(&t->fd);
	gate_lookup_release(t->lookup);
	free(t->host);
	free(t);
}

static void accepted(struct gate_check *check, const struct sockaddr *address, socklen_t len)
{
	char host[NI_MAXHOST], port[NI_MAXSERV];
	const int flags = NI_NUMERICHOST | NI_NUMERICSERV;
	if (getnameinfo(address, len, host, sizeof(host), port, sizeof(port), flags) == 0)
		check->answer.address =
			strchr(host, ':') != NULL ? xasprintf("[%s]:%s", host, port) : xasprintf("%s:%s", host, port);
	gate_result(check, true, "accepted a connection");
	stop(check);
}

/* Tries addresses until one is connected or on its way. */
static void connect_next(struct gate_check *check)
{
	struct tcp_try *t = check->own;
	while (t->next != NULL) {
		const struct addrinfo *a = t->next;
		t->next = a->ai_next;
		closep(&t->fd);
		t->fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
		if (t->fd < 0) {
			t->last_errno = errno;
			continue;
		}
		if (connect(t->fd, a->ai_addr, a->ai_addrlen) == 0) {
			accepted(check, a->ai_addr, a->ai_addrlen);
			return;
		}
		if (errno == EINPROGRESS)
			return;
		t->last_errno = errno;
	}
	gate_result(check, false, "no connection: %s", strerror(t->last_errno));
	stop(check);
}

static void resolved(struct gate_check *check)
{
	struct tcp_try *t = check->own;
	const struct strv *addresses;
	const char *why;
	if (gate_lookup_result(t->lookup, &t->next, &addresses, &why) < 0) {
		gate_result(check, false, "the name '%s' does not resolve: %s", t->host, why);
		stop(check);
		return;
	}
	t->last_errno = EADDRNOTAVAIL;
	connect_next(check);
}

static void start(struct gate_check *check)
{
	struct err err = ERR_INIT;
	char line[512];
	char *host = NULL;
	int port = 0;
	if (gate_split_address(check->in->tcp, &host, &port, &err) < 0) {
		gate_result(check, false, "%s", err_line(&err, line, sizeof(line)));
		return;
	}
	struct tcp_try *t = check->own = xcalloc(1, sizeof(*t));
	t->fd = -1;
	t->host = host;
	t->lookup = gate_lookup_start(host, port, NULL);
	if (t->lookup == NULL) {
		gate_result(check, false, "this machine cannot start a thread for the name's lookup");
		stop(check);
	}
}

static void poll_for(const struct gate_check *check, struct pollfd *ret)
{
	const struct tcp_try *t = check->own;
	*ret = t->fd >= 0 ? (struct pollfd){.fd = t->fd, .events = POLLOUT}
	                  : (struct pollfd){.fd = gate_lookup_fd(t->lookup), .events = POLLIN};
}

static void connected(struct gate_check *check)
{
	struct tcp_try *t = check->own;
	struct sockaddr_storage peer;
	socklen_t peer_len = sizeof(peer), size = sizeof(int);
	int code = 0;
	if (getsockopt(t->fd, SOL_SOCKET, SO_ERROR, &code, &size) < 0)
		code = errno;
	if (code == 0 && getpeername(t->fd, (struct sockaddr *)&peer, &peer_len) == 0) {
		accepted(check, (struct sockaddr *)&peer, peer_len);
		return;
	}
	t->last_errno = code != 0 ? code : errno;
	connect_next(check);
}

static void turn(struct gate_check *check)
{
	char text[CLOCK_TEXT_SIZE];
	struct pollfd pfd;
	if (clock_mono_ms() - check->started_mono_ms >= check->in->timeout_ms) {
		gate_result(check, false, "no connection within %s", clock_duration(check->in->timeout_ms, text));
		stop(check);
		return;
	}
	poll_for(check, &pfd);
	if (poll(&pfd, 1, 0) <= 0)
		return;
	if (((struct tcp_try *)check->own)->fd < 0)
		resolved(check);
	else
		connected(check);
}

const struct probe_type tcp_probe = {.name = "tcp",
                                     .is_asked = is_asked,
                                     .label = label,
                                     .validate = validate,
                                     .host = host_of,
                                     .start = start,
                                     .poll = poll_for,
                                     .turn = turn,
                                     .stop = stop};
