/* A connection from this machine, on the gate's loop: the name is looked up, then each of its addresses is tried. */
#include "steps/health_gate/health_gate.h"

#include <errno.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

struct gate_connection {
	struct gate_lookup *lookup;
	const struct addrinfo *next;
	char *host;
	int fd; /* of the connection on its way; -1: the name is still looked up */
	int last_errno;
};

void gate_connection_free(struct gate_connection *n)
{
	if (n == NULL)
		return;
	closep(&n->fd);
	gate_lookup_release(n->lookup);
	free(n->host);
	free(n);
}

struct gate_connection *gate_connect(const char *address, struct err *err)
{
	struct gate_connection *n = xcalloc(1, sizeof(*n));
	int port = 0;
	n->fd = -1;
	int r = gate_split_address(address, &n->host, &port, err);
	if (r == 0)
		n->lookup = gate_lookup_start(n->host, port, NULL);
	if (n->lookup != NULL)
		return n;
	if (r == 0)
		err_set(err, ERR_LIMIT, "this machine cannot start a thread for the name's lookup");
	gate_connection_free(n);
	return NULL;
}

/* Tries addresses until one is connected (1) or on its way (0). */
static int connect_next(struct gate_connection *n, struct err *err)
{
	while (n->next != NULL) {
		const struct addrinfo *a = n->next;
		n->next = a->ai_next;
		closep(&n->fd);
		n->fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
		if (n->fd < 0) {
			n->last_errno = errno;
			continue;
		}
		if (connect(n->fd, a->ai_addr, a->ai_addrlen) == 0)
			return 1;
		if (errno == EINPROGRESS)
			return 0;
		n->last_errno = errno;
	}
	return err_set(err, ERR_NETWORK, "no connection: %s", strerror(n->last_errno));
}

static int resolved(struct gate_connection *n, struct err *err)
{
	const struct strv *addresses;
	const char *why;
	if (gate_lookup_result(n->lookup, &n->next, &addresses, &why) < 0)
		return err_set(err, ERR_NETWORK, "the name '%s' does not resolve: %s", n->host, why);
	n->last_errno = EADDRNOTAVAIL;
	return connect_next(n, err);
}

static int connected(struct gate_connection *n, struct err *err)
{
	socklen_t size = sizeof(int);
	int code = 0;
	if (getsockopt(n->fd, SOL_SOCKET, SO_ERROR, &code, &size) < 0)
		code = errno;
	if (code == 0)
		return 1;
	n->last_errno = code;
	return connect_next(n, err);
}

void gate_connection_poll(const struct gate_connection *n, struct pollfd *ret)
{
	*ret = n->fd >= 0 ? (struct pollfd){.fd = n->fd, .events = POLLOUT}
	                  : (struct pollfd){.fd = gate_lookup_fd(n->lookup), .events = POLLIN};
}

int gate_connection_turn(struct gate_connection *n, struct err *err)
{
	struct pollfd pfd;
	gate_connection_poll(n, &pfd);
	if (poll(&pfd, 1, 0) <= 0)
		return 0;
	return n->fd < 0 ? resolved(n, err) : connected(n, err);
}

int gate_connection_take(struct gate_connection *n)
{
	int fd = n->fd;
	n->fd = -1;
	return fd;
}

char *gate_peer(int fd, bool with_port)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);
	char host[NI_MAXHOST], port[NI_MAXSERV];
	const int flags = NI_NUMERICHOST | NI_NUMERICSERV;
	if (getpeername(fd, (struct sockaddr *)&peer, &len) < 0 ||
	    getnameinfo((struct sockaddr *)&peer, len, host, sizeof(host), port, sizeof(port), flags) != 0)
		return NULL;
	if (!with_port)
		return xstrdup(host);
	return strchr(host, ':') != NULL ? xasprintf("[%s]:%s", host, port) : xasprintf("%s:%s", host, port);
}
