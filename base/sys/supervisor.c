#include "base/sys/supervisor.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/core/mem.h"
#include "base/core/str.h"

enum { US_PER_MS = 1000 };

/* "/run/…", or "@…" for a name without a file. */
static int connect_to(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t len = strlen(name);
	if ((name[0] != '/' && name[0] != '@') || len < 2 || len >= sizeof(address.sun_path))
		return -1;
	memcpy(address.sun_path, name, len);
	if (name[0] == '@')
		address.sun_path[0] = '\0';
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&address, size) < 0)
		return -1;
	return take_fd(&fd);
}

static int64_t watchdog_time(void)
{
	const char *usec = getenv("WATCHDOG_USEC"), *whose = getenv("WATCHDOG_PID");
	long long us = 0, pid = 0;
	if (usec == NULL || !str_parse_i64(usec, US_PER_MS, INT64_MAX, &us))
		return 0;
	if (whose != NULL && (!str_parse_i64(whose, 1, INT32_MAX, &pid) || pid != getpid()))
		return 0;
	return us / US_PER_MS;
}

void supervisor_take(struct supervisor *ret)
{
	const char *name = getenv("NOTIFY_SOCKET");
	supervisor_done(ret);
	ret->fd = name != NULL ? connect_to(name) : -1;
	ret->name = ret->fd >= 0 ? xstrdup(name) : NULL;
	ret->watchdog_ms = ret->fd >= 0 ? watchdog_time() : 0;
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
}

void supervisor_tell(const struct supervisor *s, const char *state)
{
	if (s->fd < 0)
		return;
	ssize_t n;
	do
		n = send(s->fd, state, strlen(state), MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
}

void supervisor_give_back(const struct supervisor *s)
{
	char usec[24], pid[24];
	if (s->fd < 0)
		return;
	setenv("NOTIFY_SOCKET", s->name, 1);
	if (s->watchdog_ms == 0)
		return;
	(void)snprintf(usec, sizeof(usec), "%lld", (long long)s->watchdog_ms * US_PER_MS);
	(void)snprintf(pid, sizeof(pid), "%lld", (long long)getpid());
	setenv("WATCHDOG_USEC", usec, 1);
	setenv("WATCHDOG_PID", pid, 1);
}

void supervisor_done(struct supervisor *s)
{
	closep(&s->fd);
	free(s->name);
	s->name = NULL;
}
