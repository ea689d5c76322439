#include "agent/listener/live.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/core/mem.h"

enum { LIVE_MAX = 64 << 20, PIECE = 64 << 10, AGAIN_MS = 20 };

void live_address(int dir, struct sockaddr_un *ret)
{
	*ret = (struct sockaddr_un){.sun_family = AF_UNIX};
	(void)snprintf(ret->sun_path, sizeof(ret->sun_path), "/proc/self/fd/%d/" LIVE_SOCKET, dir);
}

static int read_all(int fd, struct wait *w, struct str *text, struct err *err)
{
	for (;;) {
		char *room = str_reserve(text, PIECE);
		if (room == NULL)
			return err_set(err, ERR_LIMIT, "the agent says more than %d MiB", LIVE_MAX >> 20);
		ssize_t n = read(fd, room, PIECE);
		if (n == 0)
			return 0;
		if (n > 0) {
			text->len += (size_t)n;
			continue;
		}
		if (errno != EAGAIN && errno != EINTR)
			return err_errno(err, errno, "read what the agent says");
		int r = wait_fd(w, fd, POLLIN, err);
		if (r < 0)
			return r;
	}
}

/* 1: there are too many who ask at the moment. */
static int ask_once(const char *dir, int at, struct wait *w, struct str *text, struct err *err)
{
	struct sockaddr_un address;
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_errno(err, errno, "make a socket");
	live_address(at, &address);
	/* A refused connection is the socket of an agent that died. */
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		int error = errno;
		if (error == EAGAIN)
			return 1;
		return error == ECONNREFUSED || error == ENOENT
		               ? err_set(err, ERR_NOT_FOUND, "no agent listens at %s/" LIVE_SOCKET, dir)
		               : err_errno(err, error, "ask the agent at %s/" LIVE_SOCKET, dir);
	}
	str_clear(text);
	int r = read_all(fd, w, text, err);
	return r < 0 ? r : text->len == 0;
}

int live_read(const char *dir, struct wait *w, json_t **ret, struct err *err)
{
	_cleanup_(str_done) struct str text = STR_INIT(LIVE_MAX);
	_cleanup_close_ int at = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (at < 0)
		return err_errno(err, errno, "open %s", dir);
	int r;
	while ((r = ask_once(dir, at, w, &text, err)) == 1) {
		r = wait_ms(w, AGAIN_MS, err);
		if (r < 0)
			break;
	}
	if (r >= 0)
		r = json_parse(str_peek(&text), text.len, LIVE_MAX, ret, err);
	return r < 0 ? err_wrap(err, r, "ask the running agent how it goes") : 0;
}
