/* The socket of the agent's own directory tells whoever may enter that how it goes: it accepts, writes one JSON document, and closes. It reads
 * nothing from there, so nothing can be said to the process that holds the keys. That it answers at all says that the loop turns. */
#include "agent/listener/listener_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/listener/live.h"
#include "base/core/clock.h"
#include "base/core/log.h"

enum { READERS_MAX = 16, ANSWER_MAX = 64 << 20, READ_MS = 5000 };

static int bind_in(int dir, int fd)
{
	struct sockaddr_un address;
	live_address(dir, &address);
	(void)unlinkat(dir, LIVE_SOCKET, 0);
	/* The directory lets in its owner only; the socket's own mode is for systems that look at that. */
	return bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || fchmodat(dir, LIVE_SOCKET, 0600, 0) < 0 ||
	                       listen(fd, READERS_MAX) < 0
	               ? -1
	               : 0;
}

void teller_begin(struct listener *l)
{
	if (l->store == NULL)
		return;
	_cleanup_close_ int dir = open(l->store->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (dir < 0 || fd < 0 || bind_in(dir, fd) < 0) {
		log_warning("listen", "make %s/" LIVE_SOCKET ": %s; `agent status` shows less without it",
		            l->store->dir, strerror(errno));
		return;
	}
	l->teller.fd = take_fd(&fd);
}

static size_t count_readers(const struct listener *l)
{
	size_t count = 0;
	for (const struct listener_reader *r = l->teller.readers; r != NULL; r = r->next)
		count++;
	return count;
}

/* One that is too many is sent away: the loop never waits for who asks. */
void teller_accept(struct listener *l)
{
	_cleanup_close_ int fd = accept4(l->teller.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0 || count_readers(l) >= READERS_MAX)
		return;
	update_look(l);
	struct listener_reader *reader = xcalloc(1, sizeof(*reader));
	_cleanup_json_ json_t *live = listener_live(l);
	_cleanup_free_ char *text = json_text(live);
	reader->answer = (struct str)STR_INIT(ANSWER_MAX);
	str_append(&reader->answer, text);
	reader->fd = take_fd(&fd);
	reader->until_ms = clock_mono_ms() + READ_MS;
	reader->next = l->teller.readers;
	l->teller.readers = reader;
	teller_write(reader);
}

void teller_write(struct listener_reader *reader)
{
	while (reader->sent < reader->answer.len) {
		ssize_t n = send(reader->fd, reader->answer.data + reader->sent, reader->answer.len - reader->sent,
		                 MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (n < 0)
			break;
		reader->sent += (size_t)n;
	}
	closep(&reader->fd);
}

int64_t teller_due(const struct listener *l)
{
	int64_t due = 0;
	for (const struct listener_reader *r = l->teller.readers; r != NULL; r = r->next) {
		int64_t its = r->fd < 0 ? 1 : r->until_ms;
		due = due == 0 ? its : MIN(due, its);
	}
	return due;
}

static void reader_free(struct listener_reader *reader)
{
	closep(&reader->fd);
	str_done(&reader->answer);
	free(reader);
}

void teller_timer(struct listener *l, int64_t now_ms)
{
	for (struct listener_reader **p = &l->teller.readers; *p != NULL;) {
		struct listener_reader *reader = *p;
		if (reader->fd >= 0 && now_ms < reader->until_ms) {
			p = &reader->next;
			continue;
		}
		*p = reader->next;
		reader_free(reader);
	}
}

void teller_end(struct listener *l)
{
	for (struct listener_reader *reader; (reader = l->teller.readers) != NULL;) {
		l->teller.readers = reader->next;
		reader_free(reader);
	}
	if (l->teller.fd < 0)
		return;
	closep(&l->teller.fd);
	_cleanup_free_ char *path = xasprintf("%s/" LIVE_SOCKET, l->store->dir);
	(void)unlink(path);
}
