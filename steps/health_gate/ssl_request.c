/* PostgreSQL's word for TLS, which libcurl does not know: eight bytes in clear, and one back. Exactly one byte is read, so that nothing that came in
 * clear is taken for what came by TLS. */
#include "steps/health_gate/health_gate.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

struct gate_ssl_request {
	struct gate_connection *connection; /* NULL: it stands, and was asked */
	int fd;
};

/* The length, and a version that no protocol has (PostgreSQL's documentation, "SSLRequest"). */
static const unsigned char request[] = {0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f};

void gate_ssl_request_free(struct gate_ssl_request *q)
{
	if (q == NULL)
		return;
	gate_connection_free(q->connection);
	closep(&q->fd);
	free(q);
}

struct gate_ssl_request *gate_ssl_request_start(const char *address, struct err *err)
{
	struct gate_ssl_request *q = xcalloc(1, sizeof(*q));
	q->fd = -1;
	q->connection = gate_connect(address, err);
	if (q->connection != NULL)
		return q;
	gate_ssl_request_free(q);
	return NULL;
}

void gate_ssl_request_poll(const struct gate_ssl_request *q, struct pollfd *ret)
{
	if (q->connection != NULL)
		gate_connection_poll(q->connection, ret);
	else
		*ret = (struct pollfd){.fd = q->fd, .events = POLLIN};
}

/* A fresh connection takes eight bytes. */
static int ask(struct gate_ssl_request *q, struct err *err)
{
	q->fd = gate_connection_take(q->connection);
	gate_connection_free(TAKE(q->connection));
	ssize_t n = send(q->fd, request, sizeof(request), MSG_NOSIGNAL);
	return n == (ssize_t)sizeof(request)
	               ? 0
	               : err_set(err, ERR_NETWORK, "it takes no request for TLS: %s", n < 0 ? strerror(errno) : "cut");
}

static int hear(struct gate_ssl_request *q, struct err *err)
{
	char said = 0;
	ssize_t n = recv(q->fd, &said, 1, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0)
		return err_set(err, ERR_NETWORK, "no answer to the request for TLS: %s", strerror(errno));
	if (n == 0)
		return err_set(err, ERR_NETWORK, "it closed the connection when it was asked for TLS");
	if (said == 'S')
		return 1;
	return said == 'N'
	               ? err_set(err, ERR_REFUSED, "it offers no TLS (`ssl` is off)")
	               : err_set(err, ERR_PROTOCOL, "it does not answer as PostgreSQL does when it is asked for TLS");
}

int gate_ssl_request_turn(struct gate_ssl_request *q, struct err *err)
{
	if (q->connection == NULL)
		return hear(q, err);
	int r = gate_connection_turn(q->connection, err);
	return r > 0 ? ask(q, err) : r;
}

int gate_ssl_request_fd(const struct gate_ssl_request *q)
{
	return q->fd;
}
