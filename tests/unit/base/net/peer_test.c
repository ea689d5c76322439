/* Who is at the other end, while other connections come and go. */
#include "unit/cmocka_all.h"
#include "base/core/mem.h"
#include "base/net/peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STRANGER = 65534, CROWD = 200, ASKED = 300 };

static int listen_at(struct sockaddr_storage *ret, int family)
{
	struct sockaddr_storage any = {.ss_family = (sa_family_t)family};
	socklen_t len = sizeof(any);
	if (family == AF_INET)
		((struct sockaddr_in *)&any)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		((struct sockaddr_in6 *)&any)->sin6_addr = in6addr_loopback;
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0 || listen(fd, 4096) < 0)
		return -1;
	assert_int_equal(getsockname(fd, (struct sockaddr *)&any, &len), 0);
	*ret = any;
	return fd;
}

static int reach(const struct sockaddr_storage *address)
{
	int fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)address, sizeof(*address)), 0);
	return fd;
}

/* A process that opens and closes connections until it is killed. */
static pid_t begin_crowd(const struct sockaddr_storage *address)
{
	pid_t pid = fork();
	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	int held[CROWD];
	for (int i = 0; i < CROWD; i++)
		held[i] = socket(AF_INET, SOCK_STREAM, 0);
	for (size_t i = 0;; i = (i + 7) % CROWD) {
		struct linger hard = {.l_onoff = 1};
		setsockopt(held[i], SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
		close(held[i]);
		held[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)!connect(held[i], (const struct sockaddr *)address, sizeof(struct sockaddr_in));
	}
}

static void it_is_found_however_many_come_and_go_meanwhile(void **state)
{
	(void)state;
	struct sockaddr_storage crowded, quiet;
	int crowd = listen_at(&crowded, AF_INET), server = listen_at(&quiet, AF_INET);
	assert_true(crowd >= 0 && server >= 0);
	pid_t others[] = {begin_crowd(&crowded), begin_crowd(&crowded)};
	int missed = 0;
	for (int i = 0; i < ASKED; i++) {
		uid_t user = STRANGER;
		int client = reach(&quiet), other = accept4(server, NULL, NULL, SOCK_CLOEXEC);
		missed += !peer_user(other, &user) || user != geteuid();
		close(client);
		close(other);
	}
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		kill(others[i], SIGKILL);
		waitpid(others[i], NULL, 0);
	}
	close(server);
	close(crowd);
	assert_int_equal(missed, 0);
}

static void it_is_its_user_and_nobody_once_it_is_closed(void **state)
{
	(void)state;
	static const int families[] = {AF_INET, AF_INET6};
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		struct sockaddr_storage address;
		int server = listen_at(&address, families[i]);
		if (server < 0)
			continue; /* a machine without IPv6 */
		uid_t user = STRANGER, expected = geteuid();
		if (expected == 0)
			assert_int_equal(seteuid(1), 0);
		int client = reach(&address);
		if (expected == 0)
			assert_int_equal(seteuid(0), 0);
		int other = accept4(server, NULL, NULL, SOCK_CLOEXEC);
		assert_true(peer_user(other, &user));
		assert_int_equal(user, expected == 0 ? 1 : expected);
		close(client);
		assert_false(peer_user(other, &user));
		close(other);
		close(server);
	}
}

static void what_is_no_connection_has_no_other_end(void **state)
{
	(void)state;
	int pair[2];
	uid_t user;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_false(peer_user(pair[0], &user));
	assert_false(peer_user(-1, &user));
	close(pair[0]);
	close(pair[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_found_however_many_come_and_go_meanwhile),
		cmocka_unit_test(it_is_its_user_and_nobody_once_it_is_closed),
		cmocka_unit_test(what_is_no_connection_has_no_other_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
