/* proc_run: a child fed and collected to its end. One epoll descriptor gathers its pipes and its end, so that
 * base/core/wait.h watches cancel, deadline and tick as everywhere else. */
#include "base/core/clock.h"
#include "base/sys/proc.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
	CHUNK = 65536,
	DRAIN_MS = 5000, /* after the child's end, while grandchildren hold its pipes */
	STOP_INT_MS = 7500,
	STOP_TERM_MS = 2500,
};

struct run {
	struct proc proc;
	int epoll;
	int pidfd;
	const char *input;
	size_t input_len;
	struct str *out, *errors; /* NULL: discarded */
	size_t max;
	bool ended;
};

static int watch(struct run *run, int fd, uint32_t events, struct err *err)
{
	struct epoll_event e = {.events = events, .data.fd = fd};
	if (epoll_ctl(run->epoll, EPOLL_CTL_ADD, fd, &e) < 0)
		return err_errno(err, errno, "watch a child's pipe");
	return 0;
}

static int feed(struct run *run, struct err *err)
{
	while (run->input_len > 0) {
		ssize_t n = write(run->proc.stdin_fd, run->input, MIN(run->input_len, (size_t)CHUNK));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0 && errno == EPIPE)
			break; /* it does not read the rest; its status says if that is an error */
		if (n < 0)
			return err_errno(err, errno, "write to process %d", (int)run->proc.pid);
		run->input += n;
		run->input_len -= (size_t)n;
	}
	closep(&run->proc.stdin_fd);
	return 0;
}

/* Reads available bytes. At the end of the stream it closes the descriptor. */
static int drain(struct run *run, int *fd, struct str *into, struct err *err)
{
	char buf[CHUNK];
	size_t total = into != NULL ? into->len : 0;
	for (;;) {
		ssize_t n = read(*fd, buf, sizeof(buf));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0)
			return err_errno(err, errno, "read from process %d", (int)run->proc.pid);
		if (n == 0) {
			closep(fd);
			return 0;
		}
		total += (size_t)n;
		if (into != NULL && (total > run->max || !str_append_n(into, buf, (size_t)n)))
			return err_set(err, ERR_LIMIT, "process %d wrote more than %zu bytes", (int)run->proc.pid,
			               run->max);
		if ((size_t)n < sizeof(buf))
			return 0;
	}
}

static int handle(struct run *run, int fd, struct err *err)
{
	if (fd == run->pidfd) {
		run->ended = true;
		return epoll_ctl(run->epoll, EPOLL_CTL_DEL, fd, NULL) < 0 ? err_errno(err, errno, "watch a child") : 0;
	}
	if (fd == run->proc.stdin_fd)
		return feed(run, err);
	if (fd == run->proc.stdout_fd)
		return drain(run, &run->proc.stdout_fd, run->out, err);
	if (fd == run->proc.stderr_fd)
		return drain(run, &run->proc.stderr_fd, run->errors, err);
	return 0;
}

static int turn(struct run *run, struct wait *w, struct err *err)
{
	int r = wait_fd(w, run->epoll, POLLIN, err);
	if (r < 0)
		return r;
	struct epoll_event events[4];
	int n = epoll_wait(run->epoll, events, ARRAY_SIZE(events), 0);
	if (n < 0 && errno != EINTR)
		return err_errno(err, errno, "wait for a child");
	for (int i = 0; i < n; i++) {
		r = handle(run, events[i].data.fd, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int drive(struct run *run, struct wait *w, struct err *err)
{
	int r = 0;
	while (!run->ended) {
		r = turn(run, w, err);
		if (r < 0)
			return r;
	}
	struct wait rest = wait_within(w, DRAIN_MS);
	while (run->proc.stdout_fd >= 0 || run->proc.stderr_fd >= 0) {
		r = turn(run, &rest, err);
		if (r == ERR_TIMEOUT && wait_check(w, NULL) == 0) {
			err_clear(err);
			break;
		}
		if (r < 0)
			return r;
	}
	return 0;
}

static int prepare(struct run *run, struct err *err)
{
	run->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (run->epoll < 0)
		return err_errno(err, errno, "watch a child");
	run->pidfd = proc_pidfd(&run->proc, err);
	if (run->pidfd < 0)
		return run->pidfd;
	int r = watch(run, run->pidfd, EPOLLIN, err);
	if (r == 0)
		r = watch(run, run->proc.stdout_fd, EPOLLIN, err);
	if (r == 0)
		r = watch(run, run->proc.stderr_fd, EPOLLIN, err);
	if (r == 0 && run->input_len > 0)
		r = watch(run, run->proc.stdin_fd, EPOLLOUT, err);
	if (run->input_len == 0)
		closep(&run->proc.stdin_fd);
	return r;
}

int proc_run(const struct proc_options *options, const void *input, size_t input_len, size_t max_output, struct wait *w,
             struct str *ret_stdout, struct str *ret_stderr, int *ret_status, struct err *err)
{
	struct proc_options o = *options;
	o.stdin_fd = input_len > 0 ? PROC_PIPE : options->stdin_fd > 0 ? options->stdin_fd : -1;
	o.stdout_fd = o.stderr_fd = PROC_PIPE;
	struct run run = {.proc = PROC_INIT,
	                  .epoll = -1,
	                  .pidfd = -1,
	                  .input = input,
	                  .input_len = input_len,
	                  .out = ret_stdout,
	                  .errors = ret_stderr,
	                  .max = max_output};
	int r = proc_spawn(&o, &run.proc, err);
	if (r < 0)
		return r;
	r = prepare(&run, err);
	if (r == 0)
		r = drive(&run, w, err);
	if (r == 0) {
		struct wait now = WAIT_INIT;
		r = proc_wait(&run.proc, &now, ret_status, err);
	} else if (run.proc.pid > 0) {
		proc_stop(&run.proc, STOP_INT_MS, STOP_TERM_MS, NULL, NULL);
		err_wrap(err, r, "run '%s'", options->argv[0]);
	}
	closep(&run.epoll);
	closep(&run.pidfd);
	proc_done(&run.proc);
	return r;
}
