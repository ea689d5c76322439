#include "agent/worker/worker_priv.h"

#include "agent/worker/lines.h"
#include "base/core/clock.h"
#include "base/sys/walls.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

enum {
	READ_CHUNK = 65536,
	DRAIN_MS = 5000, /* time after the process's end while others hold its pipes */
	IDLE_MS = 60000,
	FULL_MS = 1000,
	RESERVE_MS = 30000,           /* of the listener's time limit: for always() steps and the reports */
	PATIENCE_MS = 15 * 60 * 1000, /* of an undo without a limit */
	OOM_SCORE = 500,
};

enum stop_stage { STOP_NONE, STOP_INT, STOP_TERM, STOP_KILL };

struct running {
	struct job *job;
	struct record *record;
	const struct process *process;
	struct proc proc;
	int pidfd;
	struct lines out, errors;
	const char *input;
	size_t input_len;
	bool ended;
	int64_t drain_until, timeout_at, next_stop;
	int cancel_seen;
	enum stop_stage stop;
	enum process_end end;
};

static void take_line(void *context, const char *line, size_t len)
{
	struct running *run = context;
	if (run->process->plain)
		record_plain(run->job, run->record, line, len);
	else
		output_line(run->job, run->record, line, len);
}

static void take_lines(void *context, const char *text, size_t len)
{
	struct running *run = context;
	if (!run->process->plain) {
		output_lines(run->job, run->record, text, len);
		return;
	}
	for (const char *p = text, *end = text + len, *stop; p < end; p = stop + 1) {
		stop = memchr(p, '\n', (size_t)(end - p));
		record_plain(run->job, run->record, p, (size_t)(stop - p));
	}
}

static struct line_taker taker(struct running *run)
{
	return (struct line_taker){.line = take_line, .lines = take_lines, .context = run};
}

static void feed(struct running *run)
{
	while (run->input_len > 0) {
		ssize_t n = write(run->proc.stdin_fd, run->input, run->input_len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0)
			break;
		run->input += n;
		run->input_len -= (size_t)n;
	}
	closep(&run->proc.stdin_fd);
}

static void drain(struct running *run, int *fd, struct lines *lines)
{
	char buf[READ_CHUNK];
	struct line_taker to = taker(run);
	ssize_t n = read(*fd, buf, sizeof(buf));
	run->record->stream = lines == &run->errors;
	if (n > 0)
		lines_feed(lines, buf, (size_t)n, &to);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		closep(fd);
}

/* One that only stands for a program elsewhere goes on, so that it shows what that prints at its end; until SIGKILL. */
static void tell(struct running *run, int number)
{
	const struct process *p = run->process;
	if (p->signal == NULL || !p->signal(run->job, run->record, p->signal_context, number) || number == SIGKILL)
		proc_signal(&run->proc, number);
}

static void signal_stage(struct running *run, enum stop_stage stage, int64_t next_ms)
{
	static const int signals[] = {0, SIGINT, SIGTERM, SIGKILL};
	run->stop = stage;
	run->next_stop = clock_mono_ms() + next_ms;
	tell(run, signals[stage]);
}

int64_t process_patience(const struct job *j)
{
	if (j->cancel.deadline_mono_ms == 0)
		return PATIENCE_MS;
	return MAX(j->cancel.deadline_mono_ms - RESERVE_MS - clock_mono_ms(), 1000);
}

/* Asks it to end. A typed step then undoes its changes, so only SIGKILL follows. */
static void interrupt(struct running *run, enum process_end why)
{
	if (run->stop != STOP_NONE)
		return;
	run->end = why;
	if (run->process->deaf) {
		/* It must not take this for a signal about its undo: killed, it is as after a power cut, and
		 * recovery continues. */
		signal_stage(run, STOP_KILL, IDLE_MS);
		return;
	}
	signal_stage(run, STOP_INT, run->process->patient ? process_patience(run->job) : INT_MS);
}

static void escalate(struct running *run)
{
	if (run->stop == STOP_INT && !run->process->patient)
		signal_stage(run, STOP_TERM, TERM_MS);
	else
		signal_stage(run, STOP_KILL, IDLE_MS);
}

/* The job was cancelled (again): the step continues if its condition says so. */
static void heed_cancel(struct running *run)
{
	struct job *j = run->job;
	if (run->cancel_seen == job_cancels(j))
		return;
	run->cancel_seen = job_cancels(j);
	if (run->process->deaf || run->ended)
		return;
	if (run->stop != STOP_NONE)
		run->next_stop =
			MIN(run->next_stop, clock_mono_ms() + (run->process->patient ? process_patience(j) : INT_MS));
	else if (j->cancel.shutdown || !step_goes_on(j, run->record))
		interrupt(run, PROCESS_CANCELLED);
}

/* The service is slower than the step: its output waits in the pipe until some of the log is uploaded. */
static bool is_full(const struct running *run)
{
	return reports_queued_bytes(run->job->reports) > JOB_QUEUE_MAX;
}

static void heed_clock(struct running *run)
{
	int64_t now = clock_mono_ms();
	if (!run->ended && run->timeout_at != 0 && now >= run->timeout_at) {
		run->timeout_at = 0;
		interrupt(run, PROCESS_TIMED_OUT);
	}
	if (!run->ended && run->stop != STOP_NONE && now >= run->next_stop)
		escalate(run);
	if (run->ended && now >= run->drain_until && !is_full(run)) {
		if (run->stop != STOP_NONE)
			tell(run, SIGKILL);
		closep(&run->proc.stdout_fd);
		closep(&run->proc.stderr_fd);
	}
}

static int64_t wait_limit(const struct running *run)
{
	int64_t now = clock_mono_ms(), until = now + IDLE_MS;
	if (run->ended && is_full(run))
		return FULL_MS;
	if (run->ended)
		until = MIN(until, run->drain_until);
	else if (run->stop != STOP_NONE)
		until = MIN(until, run->next_stop);
	if (!run->ended && run->timeout_at != 0)
		until = MIN(until, run->timeout_at);
	return MAX(until - now, 0);
}

static size_t watch(const struct running *run, struct pollfd *fds)
{
	size_t n = 0;
	bool full = is_full(run);
	if (!run->ended)
		fds[n++] = (struct pollfd){.fd = run->pidfd, .events = POLLIN};
	if (run->proc.stdin_fd >= 0)
		fds[n++] = (struct pollfd){.fd = run->proc.stdin_fd, .events = POLLOUT};
	if (run->proc.stderr_fd >= 0 && !full)
		fds[n++] = (struct pollfd){.fd = run->proc.stderr_fd, .events = POLLIN};
	if (run->proc.stdout_fd >= 0 && !full)
		fds[n++] = (struct pollfd){.fd = run->proc.stdout_fd, .events = POLLIN};
	return n;
}

/* The leader is gone but not reaped, so the group's number is still ours: signals the rest of the group once more. */
static void process_ended(struct running *run)
{
	run->ended = true;
	run->drain_until = clock_mono_ms() + DRAIN_MS;
	if (run->stop != STOP_NONE) {
		tell(run, SIGTERM);
		run->drain_until = clock_mono_ms() + TERM_MS;
	}
}

/* Available error lines come before available output lines. */
static void handle(struct running *run, const struct pollfd *fds, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (fds[i].revents == 0)
			continue;
		if (fds[i].fd == run->pidfd) {
			process_ended(run);
		} else if (fds[i].fd == run->proc.stdin_fd) {
			feed(run);
		} else if (fds[i].fd == run->proc.stderr_fd) {
			drain(run, &run->proc.stderr_fd, &run->errors);
		} else if (fds[i].fd == run->proc.stdout_fd) {
			drain(run, &run->proc.stdout_fd, &run->out);
		}
	}
}

static void drive(struct running *run)
{
	while (!run->ended || run->proc.stdout_fd >= 0 || run->proc.stderr_fd >= 0) {
		struct pollfd fds[4];
		size_t count = watch(run, fds);
		job_turn(run->job, fds, count, wait_limit(run));
		handle(run, fds, count);
		heed_cancel(run);
		heed_clock(run);
	}
	struct line_taker to = taker(run);
	run->record->stream = 1;
	lines_end(&run->errors, &to);
	run->record->stream = 0;
	lines_end(&run->out, &to);
}

/* When memory runs out the step is killed before the worker. A failed write is not an error. */
static void set_oom_score(const struct job *j, pid_t pid)
{
	long long score = OOM_SCORE;
	const char *own = json_get_string(j->job_environ, "PIPELINE_JOB_OOMSCOREADJ");
	char path[64], text[16];
	if (own != NULL)
		str_parse_i64(own, -1000, 1000, &score);
	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", (int)pid);
	int n = snprintf(text, sizeof(text), "%lld", score);
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0 && write(fd, text, (size_t)n) < 0)
		return;
}

/* The words of the official runner's .NET. */
static int start_error(const struct proc_options *o, int code, struct err *err)
{
	if (err == NULL || err->foreign <= 0 || o->cwd == NULL)
		return code;
	long number = err->foreign;
	err_set(err, code, "An error occurred trying to start process '%s' with working directory '%s'. %s", o->argv[0],
	        o->cwd, strerror((int)number));
	err->foreign = number;
	return code;
}

int process_run(struct job *j, struct record *r, const struct process *p, enum process_end *ret_end, int *ret_status,
                struct err *err)
{
	struct proc_options o = {
		.argv = p->argv,
		.env = p->env,
		.cwd = p->cwd,
		.stdin_fd = PROC_PIPE,
		.stdout_fd = PROC_PIPE,
		.stderr_fd = PROC_PIPE,
		.ignore_sigpipe = p->script,
	};
	struct running run = {.job = j,
	                      .record = r,
	                      .process = p,
	                      .proc = PROC_INIT,
	                      .pidfd = -1,
	                      .input = p->input,
	                      .input_len = p->input_len,
	                      .cancel_seen = job_cancels(j),
	                      .end = PROCESS_EXITED};
	int e = p->script ? walls_spawn(&o, &run.proc, err) : proc_spawn(&o, &run.proc, err);
	if (e < 0)
		return start_error(&o, e, err);
	run.pidfd = proc_pidfd(&run.proc, err);
	if (run.pidfd < 0) {
		e = run.pidfd;
		proc_done(&run.proc);
		return e;
	}
	set_oom_score(j, run.proc.pid);
	lines_init(&run.out, JOB_LINE_MAX, j->mask);
	lines_init(&run.errors, JOB_LINE_MAX, j->mask);
	if (!p->plain)
		problems_begin(j, r);
	if (p->timeout_ms > 0)
		run.timeout_at = clock_mono_ms() + p->timeout_ms;
	feed(&run);
	drive(&run);
	struct wait now = WAIT_INIT;
	e = proc_wait(&run.proc, &now, ret_status, err);
	*ret_end = run.end;
	lines_done(&run.out);
	lines_done(&run.errors);
	closep(&run.pidfd);
	proc_done(&run.proc);
	return e;
}
