/* Child processes: posix_spawn into a process group of their own, pipes that close on exec, a deadline, and a guaranteed
 * end. A process is remembered as pid and start time, since a bare pid gets reused. Never through a shell unless
 * argv says so. */
#pragma once
#include "base/core/err.h"
#include "base/core/str.h"
#include "base/core/wait.h"
#include <sys/types.h>

struct proc_options {
	const char *const *argv;            /* argv[0] is looked up in PATH of this process unless it holds a slash */
	const char *const *env;             /* NULL: inherited; else the whole environment, NULL-terminated */
	const char *cwd;                    /* NULL: inherited */
	int stdin_fd, stdout_fd, stderr_fd; /* -1: /dev/null; PROC_PIPE: a pipe; else that descriptor */
	bool inherit_group;                 /* stays in our process group (default: a new one) */
	bool new_session;    /* a session of its own, without a controlling terminal; it leads its group there */
	bool ignore_sigpipe; /* starts with SIGPIPE ignored (default: every signal at its default) */
	const int *keep_fds; /* further descriptors for the child, same numbers; -1 ends */
};
enum { PROC_PIPE = -2 };

struct proc {
	pid_t pid;                          /* 0: none */
	uint64_t start_time;                /* ticks since boot, /proc/PID/stat field 22 */
	int stdin_fd, stdout_fd, stderr_fd; /* our ends, non-blocking, or -1 */
	bool own_group;
};
#define PROC_INIT                                                                                                      \
	{                                                                                                              \
		.stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1                                                       \
	}

int proc_spawn(const struct proc_options *options, struct proc *ret, struct err *err);
/* Descriptor that is readable when the child ended (pidfd_open); the caller's. */
int proc_pidfd(const struct proc *p, struct err *err);
/* Reaps; waits within w. ret_status: exit code, or 128 + signal. */
int proc_wait(struct proc *p, struct wait *w, int *ret_status, struct err *err);
/* SIGINT to the group, after int_ms SIGTERM, after term_ms more SIGKILL, then reaps; returns when it has ended. */
int proc_stop(struct proc *p, int64_t int_ms, int64_t term_ms, int *ret_status, struct err *err);
void proc_signal(const struct proc *p, int signal); /* to the group when it has one */
void proc_done(struct proc *p);                     /* kills it if it still runs, closes the pipes */

/* Runs to the end: feeds input (none: a descriptor above 0 in options->stdin_fd is passed on), collects at most max_output bytes of each stream (more is ERR_LIMIT, child stopped).
 * On cancel or deadline the group is stopped. ret_status as proc_wait; stdout/stderr may be NULL (discarded). */
int proc_run(const struct proc_options *options, const void *input, size_t input_len, size_t max_output, struct wait *w,
             struct str *ret_stdout, struct str *ret_stderr, int *ret_status, struct err *err);

uint64_t proc_start_time(pid_t pid); /* 0: no such process */
/* A process with that pid that /proc hides from us counts as alive: we cannot identify it. */
bool proc_alive(pid_t pid, uint64_t start_time);
const char *proc_boot_id(void);    /* /proc/sys/kernel/random/boot_id, "" when unreadable */
uint64_t proc_pid_namespace(void); /* inode of /proc/self/ns/pid */
/* Overwrites an argument vector entry in place, so that it disappears from /proc/PID/cmdline. */
void proc_wipe_argument(char *argument);
