/* A question to one DNS server: by UDP, and by TCP where the answer does not fit. Runs in the thread of a lookup. The resolver of the C library
 * asks the servers of the machine; not every C library lets it ask another one. */
#include "steps/health_gate/health_gate.h"

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <errno.h>
#include <poll.h>
#include <resolv.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/core/clock.h"
#include "base/core/rand.h"

enum { TRY_MS = 2000, TRIES = 2, QUESTION_MAX = 512, TRUNCATED = 0x02 };

static bool wait_for(int fd, short events, int64_t until_ms)
{
	struct pollfd p = {.fd = fd, .events = events};
	int64_t left;
	while ((left = until_ms - clock_mono_ms()) > 0) {
		int n = poll(&p, 1, (int)left);
		if (n > 0 || (n < 0 && errno != EINTR))
			return n > 0;
	}
	return false;
}

/* The same number and question, and an answer at all. Anybody may have sent what arrives. */
static bool answers(const unsigned char *answer, ssize_t len, const unsigned char *question, int question_len)
{
	return len >= question_len && memcmp(answer, question, 2) == 0 && (answer[2] & 0x80) != 0 &&
	       memcmp(answer + NS_HFIXEDSZ, question + NS_HFIXEDSZ, (size_t)question_len - NS_HFIXEDSZ) == 0;
}

static int ask_by_udp(const struct sockaddr_in *server, const unsigned char *question, int len, unsigned char *answer,
                      size_t max)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)server, sizeof(*server)) < 0)
		return -1;
	for (int i = 0; i < TRIES; i++) {
		int64_t until = clock_mono_ms() + TRY_MS;
		if (send(fd, question, (size_t)len, MSG_NOSIGNAL) != len)
			continue;
		while (wait_for(fd, POLLIN, until)) {
			ssize_t n = recv(fd, answer, max, 0);
			if (n < 0)
				break; /* nobody listens there, as yet */
			if (answers(answer, n, question, len))
				return (int)n;
		}
	}
	return -1;
}

static bool receive_all(int fd, unsigned char *data, size_t len, int64_t until)
{
	while (len > 0) {
		ssize_t n = wait_for(fd, POLLIN, until) ? recv(fd, data, len, MSG_DONTWAIT) : 0;
		if (n <= 0)
			return false;
		data += n;
		len -= (size_t)n;
	}
	return true;
}

static int ask_by_tcp(const struct sockaddr_in *server, const unsigned char *question, int len, unsigned char *answer,
                      size_t max)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int64_t until = clock_mono_ms() + TRY_MS;
	unsigned char framed[QUESTION_MAX + 2] = {(unsigned char)(len >> 8), (unsigned char)len}, size[2];
	memcpy(framed + 2, question, (size_t)len);
	if (fd < 0 || (connect(fd, (const struct sockaddr *)server, sizeof(*server)) < 0 && errno != EINPROGRESS))
		return -1;
	if (!wait_for(fd, POLLOUT, until) || send(fd, framed, (size_t)len + 2, MSG_NOSIGNAL) != len + 2 ||
	    !receive_all(fd, size, 2, until))
		return -1;
	size_t answer_len = (size_t)size[0] << 8 | size[1];
	if (answer_len > max || !receive_all(fd, answer, answer_len, until) ||
	    !answers(answer, (ssize_t)answer_len, question, len))
		return -1;
	return (int)answer_len;
}

int gate_ask_server(const struct sockaddr_in *server, const char *name, int type, unsigned char *answer, size_t max)
{
	unsigned char question[QUESTION_MAX];
	int len = res_mkquery(ns_o_query, name, ns_c_in, type, NULL, 0, NULL, question, sizeof(question));
	if (len < NS_HFIXEDSZ)
		return -1;
	rand_fill(question, 2);
	int n = ask_by_udp(server, question, len, answer, max);
	if (n >= NS_HFIXEDSZ && (answer[2] & TRUNCATED) != 0)
		n = ask_by_tcp(server, question, len, answer, max);
	return n;
}
