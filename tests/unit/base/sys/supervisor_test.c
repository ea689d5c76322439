#include "unit/cmocka_all.h"
#include "base/core/mem.h"
#include "base/sys/supervisor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* A socket without a file, which the kernel names. */
static int listen_somewhere(char name[64])
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	socklen_t len = sizeof(sa_family_t);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&address, len), 0);
	len = sizeof(address);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	snprintf(name, 64, "@%.*s", (int)(len - sizeof(sa_family_t) - 1), address.sun_path + 1);
	return fd;
}

static void it_is_told_and_its_address_leaves_the_environment(void **state)
{
	(void)state;
	char name[64], pid[16], got[64] = "";
	_cleanup_close_ int fd = listen_somewhere(name);
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	setenv("NOTIFY_SOCKET", name, 1);
	setenv("WATCHDOG_USEC", "3000000", 1);
	setenv("WATCHDOG_PID", pid, 1);
	struct supervisor s = SUPERVISOR_INIT;
	supervisor_take(&s);
	assert_int_equal(s.watchdog_ms, 3000);
	assert_null(getenv("NOTIFY_SOCKET"));
	assert_null(getenv("WATCHDOG_USEC"));
	assert_null(getenv("WATCHDOG_PID"));
	supervisor_tell(&s, "READY=1");
	assert_int_equal(recv(fd, got, sizeof(got) - 1, 0), 7);
	assert_string_equal(got, "READY=1");
	/* A program that is executed in this process finds all of it again. */
	supervisor_give_back(&s);
	assert_string_equal(getenv("NOTIFY_SOCKET"), name);
	supervisor_take(&s);
	assert_int_equal(s.watchdog_ms, 3000);
	assert_null(getenv("NOTIFY_SOCKET"));
	supervisor_tell(&s, "STATUS=x");
	assert_int_equal(recv(fd, got, sizeof(got) - 1, 0), 8);
	supervisor_done(&s);
}

static void another_process_is_not_watched_in_our_name(void **state)
{
	(void)state;
	char name[64];
	_cleanup_close_ int fd = listen_somewhere(name);
	setenv("NOTIFY_SOCKET", name, 1);
	setenv("WATCHDOG_USEC", "3000000", 1);
	setenv("WATCHDOG_PID", "1", 1);
	struct supervisor s = SUPERVISOR_INIT;
	supervisor_take(&s);
	assert_int_equal(s.watchdog_ms, 0);
	supervisor_done(&s);
}

static void no_or_a_wrong_address_is_no_error(void **state)
{
	(void)state;
	static const char *const wrong[] = {"", "relative", "/", "/there/is/none", "@no-such-name-of-a-socket"};
	struct supervisor s = SUPERVISOR_INIT;
	supervisor_take(&s);
	assert_int_equal(s.fd, -1);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		setenv("NOTIFY_SOCKET", wrong[i], 1);
		supervisor_take(&s);
		assert_int_equal(s.fd, -1);
		supervisor_tell(&s, "READY=1");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_told_and_its_address_leaves_the_environment),
		cmocka_unit_test(another_process_is_not_watched_in_our_name),
		cmocka_unit_test(no_or_a_wrong_address_is_no_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
