/* poll_bench COUNT HOLD_MS FIRST_MS SECONDS SPREAD: what long polls cost at the least. COUNT connections to a process of its own on loopback, a request
 * of the size that an agent sends over TLS on each; an answer of that size ends it and begins the next one, and nothing is read, checked or
 * encrypted. All polls are held HOLD_MS. With SPREAD 1 they end one by one: the first ones are held so that their ends lie evenly in HOLD_MS; with 0
 * all at once. After
 * FIRST_MS the processor time of the side that asks is taken for SECONDS, and is printed in nanoseconds with the number of polls. For tests/bench/run. */
#include "base/core/clock.h"
#include "base/core/mem.h"
#include "base/core/str.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { REQUEST = 726, ANSWER = 140, EVENTS = 64 };

static _Noreturn void give_up(const char *what)
{
	perror(what);
	_exit(1);
}

static void watch(int epoll, int fd, size_t index)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = index};
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		give_up("epoll_ctl");
}

/* Answers each request when its time has come. */
static void serve(int listener, size_t count, int64_t hold_ms, bool spread)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	int *fds = xcalloc(count, sizeof(*fds));
	int64_t *due = xcalloc(count, sizeof(*due));
	char buffer[REQUEST];
	int64_t begin = clock_mono_ms();
	for (size_t i = 0; i < count; i++) {
		fds[i] = accept(listener, NULL, NULL);
		if (fds[i] < 0 || setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)) < 0)
			give_up("accept");
		watch(epoll, fds[i], i);
	}
	bool *asked = xcalloc(count, sizeof(*asked));
	for (;;) {
		struct epoll_event events[EVENTS];
		int64_t now = clock_mono_ms(), next = now + 60000;
		for (size_t i = 0; i < count; i++) {
			if (due[i] != 0 && due[i] <= now) {
				memset(buffer, 'a', ANSWER);
				if (send(fds[i], buffer, ANSWER, MSG_NOSIGNAL) != ANSWER)
					return;
				due[i] = 0;
			}
			if (due[i] != 0)
				next = MIN(next, due[i]);
		}
		int ready = epoll_wait(epoll, events, EVENTS, (int)MAX(next - now, 0));
		for (int k = 0; k < ready; k++) {
			size_t i = events[k].data.u64;
			if (recv(fds[i], buffer, sizeof(buffer), MSG_WAITALL) != sizeof(buffer))
				return;
			due[i] = asked[i] || !spread ? clock_mono_ms() + hold_ms
			                             : begin + hold_ms * (int64_t)(i + 1) / (int64_t)count;
			asked[i] = true;
		}
	}
}

static int64_t processor_ns(void)
{
	int64_t ns = 0;
	FILE *f = fopen("/proc/self/schedstat", "r");
	if (f == NULL || fscanf(f, "%" SCNd64, &ns) != 1)
		give_up("/proc/self/schedstat");
	fclose(f);
	return ns;
}

static int connect_to(const struct sockaddr_in *address)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ||
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)) < 0)
		give_up("connect");
	return fd;
}

static void ask(const struct sockaddr_in *address, size_t count, int64_t first_ms, int64_t last_ms)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	int *fds = xcalloc(count, sizeof(*fds));
	char request[REQUEST], answer[4096];
	int64_t begin = clock_mono_ms(), before = -1, polls = 0;
	memset(request, 'q', sizeof(request));
	for (size_t i = 0; i < count; i++) {
		fds[i] = connect_to(address);
		watch(epoll, fds[i], i);
		if (send(fds[i], request, sizeof(request), 0) != sizeof(request))
			give_up("send");
	}
	for (;;) {
		struct epoll_event events[EVENTS];
		int64_t until = begin + (before < 0 ? first_ms : last_ms), now = clock_mono_ms();
		int ready = now < until ? epoll_wait(epoll, events, EVENTS, (int)(until - now)) : 0;
		for (int k = 0; k < ready; k++) {
			int fd = fds[events[k].data.u64];
			if (recv(fd, answer, sizeof(answer), 0) <= 0 ||
			    send(fd, request, sizeof(request), MSG_NOSIGNAL) < 0)
				give_up("the connection");
			polls++;
		}
		if (ready > 0 || now < until)
			continue;
		if (before >= 0)
			break;
		before = processor_ns();
		polls = 0;
	}
	printf("%" PRId64 " %" PRId64 "\n", processor_ns() - before, polls);
	for (size_t i = 0; i < count; i++)
		close(fds[i]);
	free(fds);
	close(epoll);
}

int main(int argc, char **argv)
{
	long long count, hold_ms, first_ms, seconds, spread;
	if (argc != 6 || !str_parse_i64(argv[1], 1, 10000, &count) || !str_parse_i64(argv[2], 1, 1000000, &hold_ms) ||
	    !str_parse_i64(argv[3], 0, 1000000, &first_ms) || !str_parse_i64(argv[4], 1, 100000, &seconds) ||
	    !str_parse_i64(argv[5], 0, 1, &spread)) {
		fprintf(stderr, "usage: poll_bench COUNT HOLD_MS FIRST_MS SECONDS SPREAD\n");
		return 2;
	}
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0 || bind(listener, (struct sockaddr *)&address, len) < 0 || listen(listener, 1024) < 0 ||
	    getsockname(listener, (struct sockaddr *)&address, &len) < 0)
		give_up("listen");
	pid_t server = fork();
	if (server < 0)
		give_up("fork");
	if (server == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		serve(listener, (size_t)count, hold_ms, spread != 0);
		_exit(0);
	}
	close(listener);
	ask(&address, (size_t)count, first_ms, first_ms + seconds * 1000);
	return fflush(stdout) == 0 ? 0 : 1;
}
