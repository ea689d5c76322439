#include "base/sys/proc.h"

#include "base/core/clock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif

enum {
	REAP_MS = 30000, /* a killed process that still exists by then hangs in the kernel */
	STAT_MAX = 4096,
	STAT_START_TIME = 22, /* proc(5): field number in /proc/PID/stat */
	FIRST_FREE_FD = 3,
};

/* A write to a child that closed its input must be EPIPE, not the end of this process. Children get the default back
 * unless they are to inherit this. */
static void ignore_sigpipe(void)
{
	struct sigaction old;
	if (sigaction(SIGPIPE, NULL, &old) == 0 && old.sa_handler == SIG_DFL) {
		struct sigaction ignore = {.sa_handler = SIG_IGN};
		sigaction(SIGPIPE, &ignore, NULL);
	}
}

/* One stream of the child: what it becomes there, and our end of it. */
struct stream {
	int wanted;       /* as in proc_options */
	int number;       /* 0, 1, 2 */
	int child;        /* descriptor to duplicate, -1: /dev/null */
	int ours;         /* of the pipe, -1 */
	bool close_child; /* made here */
};

static int stream_prepare(struct stream *s, struct err *err)
{
	if (s->wanted == -1)
		return 0;
	if (s->wanted == PROC_PIPE) {
		int fds[2];
		if (pipe2(fds, O_CLOEXEC) < 0)
			return err_errno(err, errno, "make a pipe");
		bool input = s->number == STDIN_FILENO;
		s->child = fds[input ? 0 : 1];
		s->ours = fds[input ? 1 : 0];
		s->close_child = true;
		if (fcntl(s->ours, F_SETFL, O_NONBLOCK) < 0)
			return err_errno(err, errno, "make a pipe non-blocking");
	} else {
		s->child = s->wanted;
	}
	/* Descriptors 0 to 2 are about to be overwritten one after the other: moves sources out of that range first. */
	if (s->child < FIRST_FREE_FD) {
		int moved = fcntl(s->child, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
		if (moved < 0)
			return err_errno(err, errno, "duplicate descriptor %d", s->child);
		if (s->close_child)
			close(s->child);
		s->child = moved;
		s->close_child = true;
	}
	return 0;
}

static void stream_close(struct stream *s)
{
	if (s->close_child)
		close(s->child);
	closep(&s->ours);
}

static int add_actions(posix_spawn_file_actions_t *actions, const struct proc_options *o, const struct stream *streams)
{
	int r = 0;
	for (int i = 0; i < 3 && r == 0; i++) {
		if (streams[i].child < 0)
			r = posix_spawn_file_actions_addopen(actions, i, "/dev/null", i == 0 ? O_RDONLY : O_WRONLY, 0);
		else
			r = posix_spawn_file_actions_adddup2(actions, streams[i].child, i);
	}
	/* A duplicate onto itself clears close-on-exec in the child. */
	for (const int *fd = o->keep_fds; fd != NULL && *fd >= 0 && r == 0; fd++)
		r = posix_spawn_file_actions_adddup2(actions, *fd, *fd);
	if (o->cwd != NULL && r == 0)
		r = posix_spawn_file_actions_addchdir_np(actions, o->cwd);
	return r;
}

static int set_attributes(posix_spawnattr_t *attributes, const struct proc_options *o)
{
	sigset_t none, all;
	sigemptyset(&none);
	sigfillset(&all);
	if (o->ignore_sigpipe)
		sigdelset(&all, SIGPIPE);
	short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
	if (o->new_session)
		flags |= POSIX_SPAWN_SETSID;
	else if (!o->inherit_group)
		flags |= POSIX_SPAWN_SETPGROUP;
	int r = posix_spawnattr_setflags(attributes, flags);
	if (r == 0)
		r = posix_spawnattr_setsigmask(attributes, &none);
	if (r == 0)
		r = posix_spawnattr_setsigdefault(attributes, &all);
	if (r == 0 && (flags & POSIX_SPAWN_SETPGROUP))
		r = posix_spawnattr_setpgroup(attributes, 0);
	return r;
}

static int spawn_error(const struct proc_options *o, int errnum, struct err *err)
{
	struct stat st;
	if (o->cwd != NULL && stat(o->cwd, &st) < 0)
		return err_errno(err, errno, "start '%s' in the directory '%s'", o->argv[0], o->cwd);
	if (o->cwd != NULL && !S_ISDIR(st.st_mode))
		return err_set(err, ERR_INVALID, "start '%s' in '%s': not a directory", o->argv[0], o->cwd);
	return err_errno(err, errnum, "start '%s'", o->argv[0]);
}

/* Libraries open descriptors that would stay open in the child: libcurl its connections and its wake-up pair. Children
 * only get duplicated descriptors, and duplication clears the mark. */
static void close_all_on_exec(void)
{
#ifdef SYS_close_range
	if (syscall(SYS_close_range, FIRST_FREE_FD, ~0U, CLOSE_RANGE_CLOEXEC) == 0)
		return;
#endif
	DIR *dir = opendir("/proc/self/fd");
	for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
		long long fd;
		if (str_parse_i64(entry->d_name, FIRST_FREE_FD, INT_MAX, &fd))
			(void)fcntl((int)fd, F_SETFD, FD_CLOEXEC);
	}
	if (dir != NULL)
		closedir(dir);
}

static int spawn_with(const struct proc_options *o, struct stream *streams, pid_t *ret_pid, struct err *err)
{
	for (int i = 0; i < 3; i++) {
		int r = stream_prepare(&streams[i], err);
		if (r < 0)
			return r;
	}
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	int r = posix_spawn_file_actions_init(&actions);
	if (r != 0)
		return err_errno(err, r, "start '%s'", o->argv[0]);
	r = posix_spawnattr_init(&attributes);
	if (r != 0) {
		posix_spawn_file_actions_destroy(&actions);
		return err_errno(err, r, "start '%s'", o->argv[0]);
	}
	close_all_on_exec();
	r = add_actions(&actions, o, streams);
	if (r == 0)
		r = set_attributes(&attributes, o);
	if (r == 0)
		r = posix_spawnp(ret_pid, o->argv[0], &actions, &attributes, (char *const *)o->argv,
		                 o->env != NULL ? (char *const *)o->env : environ);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return r == 0 ? 0 : spawn_error(o, r, err);
}

int proc_spawn(const struct proc_options *o, struct proc *ret, struct err *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, ignore_sigpipe);

	struct stream streams[3] = {
		{.wanted = o->stdin_fd, .number = 0, .child = -1, .ours = -1},
		{.wanted = o->stdout_fd, .number = 1, .child = -1, .ours = -1},
		{.wanted = o->stderr_fd, .number = 2, .child = -1, .ours = -1},
	};
	pid_t pid = 0;
	int r = spawn_with(o, streams, &pid, err);
	if (r == 0) {
		/* Not reaped yet, so the number is still this process's even if it has ended. */
		*ret = (struct proc){.pid = pid,
		                     .start_time = proc_start_time(pid),
		                     .own_group = o->new_session || !o->inherit_group};
		ret->stdin_fd = take_fd(&streams[0].ours);
		ret->stdout_fd = take_fd(&streams[1].ours);
		ret->stderr_fd = take_fd(&streams[2].ours);
	}
	for (int i = 0; i < 3; i++)
		stream_close(&streams[i]);
	return r;
}

int proc_pidfd(const struct proc *p, struct err *err)
{
	if (p->pid <= 0)
		return err_set(err, ERR_INTERNAL, "no process to wait for");
	int fd = (int)syscall(SYS_pidfd_open, p->pid, 0);
	return fd >= 0 ? fd : err_errno(err, errno, "watch process %d", (int)p->pid);
}

static int reap(struct proc *p, int *ret_status, struct err *err)
{
	int status = 0;
	pid_t got;
	do
		got = waitpid(p->pid, &status, 0);
	while (got < 0 && errno == EINTR);
	if (got < 0) {
		int r = err_errno(err, errno, "wait for process %d", (int)p->pid);
		p->pid = 0;
		return r;
	}
	p->pid = 0;
	if (ret_status != NULL)
		*ret_status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	return 0;
}

int proc_wait(struct proc *p, struct wait *w, int *ret_status, struct err *err)
{
	_cleanup_close_ int fd = proc_pidfd(p, err);
	if (fd < 0)
		return fd;
	int r = wait_fd(w, fd, POLLIN, err);
	if (r < 0)
		return err_wrap(err, r, "wait for process %d", (int)p->pid);
	return reap(p, ret_status, err);
}

void proc_signal(const struct proc *p, int signal)
{
	if (p->pid <= 0)
		return;
	if (p->own_group)
		kill(-p->pid, signal);
	else
		kill(p->pid, signal);
}

/* True when it ended within ms. */
static bool ended_within(int pidfd, int64_t ms)
{
	struct wait w = WAIT_INIT;
	w.deadline_mono_ms = clock_mono_ms() + (ms > 0 ? ms : 1);
	return wait_fd(&w, pidfd, POLLIN, NULL) > 0;
}

int proc_stop(struct proc *p, int64_t int_ms, int64_t term_ms, int *ret_status, struct err *err)
{
	_cleanup_close_ int fd = proc_pidfd(p, err);
	if (fd < 0)
		return fd;
	proc_signal(p, SIGINT);
	if (!ended_within(fd, int_ms)) {
		proc_signal(p, SIGTERM);
		ended_within(fd, term_ms);
	}
	/* Even after a success: ends the rest of the group. The unreaped leader keeps the group's number ours.
	 */
	proc_signal(p, SIGKILL);
	if (!ended_within(fd, REAP_MS))
		return err_set(err, ERR_TIMEOUT, "process %d does not end after SIGKILL", (int)p->pid);
	return reap(p, ret_status, err);
}

void proc_done(struct proc *p)
{
	closep(&p->stdin_fd);
	closep(&p->stdout_fd);
	closep(&p->stderr_fd);
	if (p->pid > 0) {
		proc_signal(p, SIGKILL);
		reap(p, NULL, NULL);
	}
}

/* Fields of /proc/PID/stat after the name, which may hold blanks and parentheses itself. */
static bool read_stat(pid_t pid, char *state, uint64_t *start_time)
{
	char path[64], text[STAT_MAX];
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ssize_t n = read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return false;
	text[n] = '\0';
	char *p = strrchr(text, ')');
	if (p == NULL || p[1] != ' ')
		return false;
	*state = p[2];
	p += 2;
	for (int field = 3; field < STAT_START_TIME; field++) {
		p = strchr(p, ' ');
		if (p == NULL)
			return false;
		p++;
	}
	*start_time = strtoull(p, NULL, 10);
	return true;
}

uint64_t proc_start_time(pid_t pid)
{
	char state;
	uint64_t start_time;
	return pid > 0 && read_stat(pid, &state, &start_time) ? start_time : 0;
}

bool proc_alive(pid_t pid, uint64_t start_time)
{
	char state;
	uint64_t now;
	if (pid <= 0)
		return false;
	if (read_stat(pid, &state, &now))
		return now == start_time && state != 'Z' && state != 'X';
	return kill(pid, 0) == 0 || errno == EPERM;
}

static char boot_id[64];

static void read_boot_id(void)
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	ssize_t n = read(fd, boot_id, sizeof(boot_id) - 1);
	close(fd);
	boot_id[n > 0 ? n : 0] = '\0';
	boot_id[strcspn(boot_id, "\n")] = '\0';
}

const char *proc_boot_id(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, read_boot_id);
	return boot_id;
}

uint64_t proc_pid_namespace(void)
{
	struct stat st;
	return stat("/proc/self/ns/pid", &st) == 0 ? (uint64_t)st.st_ino : 0;
}

void proc_wipe_argument(char *argument)
{
	explicit_bzero(argument, strlen(argument));
}
