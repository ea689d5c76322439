/* The worker of a job: started, told, taken over from an agent that died, reaped. One that dies without reporting is followed by a recovery
 * of its deployment; then the job is completed from here. */
#include "agent/listener/lease_priv.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/listener/handover.h"
#include "agent/listener/orphans.h"
#include "base/core/clock.h"
#include "base/core/log.h"
#include "base/sys/fs.h"

enum {
	REAP_MS = 5000,
	RESULT_BASE = 100,
	RESULT_MAX = 105,
	RESULT_CANCELED = 3,
	KEPT_BASE = 110,
	KEPT_MAX = 115,
	FIRST_RENEWAL_MS = 5000,
	CANCEL_LINES_MAX = 1 << 20,
	INT_MS = 7500,
	TERM_MS = 2500,           /* [6.1] */
	STEP_MS = 15 * 60 * 1000, /* the time that an undo has */
	LOOK_MS = 100,
	CLEAR_MS = 90 * 1000, /* more than it gives itself */
};

static const char *const result_names[] = {"Succeeded", "SucceededWithIssues", "Failed", "Canceled", "Skipped",
                                           "Abandoned"};

void lease_close_input(struct lease *j)
{
	closep(&j->worker.stdin_fd);
	str_clear(&j->input);
	j->sent = 0;
}

/* While the job is still being acquired; until it is told a job it waits on its input. */
int lease_spawn_worker(struct lease *j, struct err *err)
{
	struct listener *l = j->listener;
	const char *program = listener_program(l);
	const char *plain[] = {program, "worker", NULL};
	const char *other[] = {program, "agent", "as-user", j->user, program, "worker", NULL};
	struct proc_options options = {.argv = j->user != NULL ? other : plain,
	                               .stdin_fd = PROC_PIPE,
	                               .stdout_fd = STDOUT_FILENO,
	                               .stderr_fd = STDERR_FILENO,
	                               /* What a job types into a terminal must not reach the shell that started us. */
	                               .new_session = true};
	int r = proc_spawn(&options, &j->worker, err);
	if (r < 0)
		return err_wrap(err, r, "start the worker");
	j->pidfd = proc_pidfd(&j->worker, err);
	return j->pidfd < 0 ? j->pidfd : 0;
}

/* Sends what is left; a worker that is gone is noticed by its descriptor, not here. */
void lease_feed(struct lease *j)
{
	while (j->sent < j->input.len && j->worker.stdin_fd >= 0) {
		ssize_t n = write(j->worker.stdin_fd, j->input.data + j->sent, j->input.len - j->sent);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (n < 0) {
			closep(&j->worker.stdin_fd);
			break;
		}
		j->sent += (size_t)n;
	}
	/* All sent: the message with its secrets leaves this process. */
	str_done(&j->input);
	j->input = (struct str)STR_SECRET_INIT(CANCEL_LINES_MAX);
	j->sent = 0;
}

/* To the process itself: its number may be another's by now. */
int lease_signal_worker(const struct lease *j, int number, siginfo_t *info)
{
	return (int)syscall(SYS_pidfd_send_signal, j->pidfd, number, info, 0);
}

bool lease_can_be_told(const struct lease *j)
{
	return j->endpoint != NULL || j->word_signal != 0;
}

/* The pipe ended with the agent that had made it. */
static void tell_adopted(const struct lease *j, int64_t timeout_ms, const char *reason)
{
	siginfo_t info = {.si_signo = j->word_signal, .si_code = SI_QUEUE};
	info.si_pid = getpid();
	info.si_uid = getuid();
	info.si_value.sival_int = handover_cancel_value(timeout_ms / 1000, reason);
	if (j->word_signal == 0)
		log_warning("listen",
		            "the worker of job '%s' was started by a release whose workers cannot be told that it "
		            "ends (%s)",
		            j->run.name, reason);
	else if (lease_signal_worker(j, j->word_signal, &info) < 0)
		log_warning("listen", "the worker of job '%s' cannot be told that it ends (%s): %s", j->run.name,
		            reason, strerror(errno));
}

void lease_tell(struct lease *j, int64_t timeout_ms, const char *reason)
{
	if (j->phase != LEASE_RUNNING)
		return;
	if (j->endpoint == NULL) {
		tell_adopted(j, timeout_ms, reason);
		return;
	}
	if (j->worker.stdin_fd < 0)
		return;
	_cleanup_json_ json_t *line = handover_cancel(timeout_ms / 1000, reason);
	_cleanup_free_ char *text = json_text(line);
	str_append(&j->input, text);
	str_append_c(&j->input, '\n');
	lease_feed(j);
}

void lease_run_worker(struct lease *j)
{
	if (j->cancelled) {
		lease_complete_as(j, "canceled", NULL);
		return;
	}
	if (j->explanation != NULL) {
		unstarted_tell(j);
		return;
	}
	if (j->stopped || j->worker.pid == 0) {
		lease_complete_as(j, "failed",
		                  xstrdup(j->stopped ? "The agent was told to stop before the job began."
		                                     : "The worker of this job could not be started."));
		return;
	}
	j->phase = LEASE_RUNNING;
	j->began_wall_ms = clock_wall_ms();
	lease_feed(j);
	recovery_keep_job(j);
	listener_say("Running job: %s", j->run.name);
}

static char *worker_end_text(int status)
{
	if (status > 128 && status < 128 + 65)
		return xasprintf("The worker of this job was ended by signal %d (%s) before it reported a result.",
		                 status - 128, strsignal(status - 128));
	return xasprintf("The worker of this job ended with status %d before it reported a result.", status);
}

/* The containers of a job outlive all of its processes. True: they are gone, or nothing can be done about them. */
static bool engine_is_clear(struct lease *j)
{
	struct err err = ERR_INIT;
	int status = 0;
	const char *program = listener_program(j->listener);
	const char *plain[] = {program, "worker", "clear", j->tracking_id, NULL};
	const char *other[] = {program, "agent", "as-user", j->user, program, "worker", "clear", j->tracking_id, NULL};
	struct proc_options options = {.argv = j->user != NULL ? other : plain,
	                               .stdin_fd = -1,
	                               .stdout_fd = -1,
	                               .stderr_fd = STDERR_FILENO,
	                               .new_session = true};
	if (j->clear_until_ms == 0) {
		j->clear_until_ms = clock_mono_ms() + CLEAR_MS;
		if (j->tracking_id[0] == '\0' || proc_spawn(&options, &j->clearing, &err) >= 0)
			return j->tracking_id[0] == '\0';
		log_err(&err);
		return true;
	}
	struct wait now = WAIT_INIT;
	now.deadline_mono_ms = clock_mono_ms() + 1;
	int r = j->clearing.pid == 0 ? 0 : proc_wait(&j->clearing, &now, &status, &err);
	if (r == ERR_TIMEOUT && clock_mono_ms() < j->clear_until_ms)
		return false;
	if (r < 0 || status != 0)
		log_warning("listen", "containers of job '%s' may be left on the Docker engine", j->run.name);
	proc_done(&j->clearing);
	return true;
}

/* What the worker left: SIGINT, later SIGTERM, later SIGKILL; a davit-step is given the time that its undo needs, since
 * an undo by its own process is the gentler one. Then the deployment is recovered. */
void lease_clear_orphans(struct lease *j)
{
	int64_t age = clock_mono_ms() - j->died_ms;
	int number = age < INT_MS ? SIGINT : age < INT_MS + TERM_MS ? SIGTERM : SIGKILL;
	struct orphans left = orphans_find(j->tracking_id, number != j->orphan_signal ? number : 0);
	j->orphan_signal = number;
	bool only_steps = left.count == left.steps;
	if (left.count > 0 && age < (only_steps ? STEP_MS : INT_MS + 2 * TERM_MS)) {
		j->due_ms = clock_mono_ms() + LOOK_MS;
		return;
	}
	if (!engine_is_clear(j)) {
		j->due_ms = clock_mono_ms() + LOOK_MS;
		return;
	}
	j->due_ms = 0;
	j->phase = LEASE_RECOVERING;
	recovery_add(j->listener, j, j->user, j->report);
}

static void worker_died(struct lease *j, char *text)
{
	if (delivery_lies_there(j))
		log_info("listen", "job '%s': its worker has ended and left a result, which is sent", j->run.name);
	else
		log_error("listen", "job '%s': %s", j->run.name, text);
	j->phase = LEASE_CLEARING;
	j->died_ms = clock_mono_ms();
	j->conclusion = j->cancelled ? "canceled" : "failed";
	free(j->explanation);
	j->explanation = text;
	lease_close_input(j);
	lease_clear_orphans(j);
}

/* The service could not be told: the result lies on the disk, and is sent from there. */
static void result_is_kept(struct lease *j, int result)
{
	j->result = result;
	if (result != 0 && result != 1)
		recovery_add(j->listener, NULL, j->user, j->report);
	lease_close_input(j);
	j->phase = LEASE_COMPLETING;
	j->tries = 1;
	j->due_ms = clock_mono_ms() + listener_pause(15000, 30000);
	log_warning("listen", "the end of job '%s' could not be reported: its result is kept and sent later",
	            j->run.name);
	lease_let_go(j);
}

void lease_worker_ended(struct lease *j)
{
	int status = -1;
	struct err err = ERR_INIT;
	struct wait w = WAIT_INIT;
	w.deadline_mono_ms = clock_mono_ms() + REAP_MS;
	bool ours = j->endpoint != NULL;
	if (ours && proc_wait(&j->worker, &w, &status, &err) < 0)
		log_err(&err);
	closep(&j->pidfd);
	j->worker.pid = 0;
	j->kill_due_ms = 0;
	if (j->phase != LEASE_RUNNING) {
		lease_close_input(j);
		return;
	}
	if (status >= RESULT_BASE && status <= RESULT_MAX) {
		int result = status - RESULT_BASE;
		j->result = result;
		/* An undo that a cancel or a lost lease cut short goes on under us, with the job's words. */
		if (result != 0 && result != 1)
			recovery_add(j->listener, NULL, j->user, j->report);
		/* Its renewal may have come behind its end: then it is no lease that is lost. One that is lost cancels its job. */
		bool lost = j->lease_lost && !j->cancelled && result == RESULT_CANCELED;
		lease_over(j, lost ? "Abandoned" : result_names[result]);
		return;
	}
	if (status >= KEPT_BASE && status <= KEPT_MAX) {
		result_is_kept(j, status - KEPT_BASE);
		return;
	}
	j->unseen = !ours;
	worker_died(j, ours ? worker_end_text(status)
	                    : xstrdup("The agent died while this job ran; its worker has ended since, its result is "
	                              "unknown."));
}

static struct lease *adopted(struct listener *l, struct run_job *run, const char *user, const char *tracking_id)
{
	struct lease *j = xcalloc(1, sizeof(*j));
	j->listener = l;
	j->result = -1;
	j->run = *run;
	*run = (struct run_job){0};
	j->worker = j->clearing = j->delivering = (struct proc)PROC_INIT;
	j->input = (struct str)STR_SECRET_INIT(CANCEL_LINES_MAX);
	j->user = xstrdup(user);
	j->pidfd = -1;
	(void)snprintf(j->tracking_id, sizeof(j->tracking_id), "%s", tracking_id != NULL ? tracking_id : "");
	j->next = l->jobs;
	l->jobs = j;
	return j;
}

/* The listener before had decided it, and could not tell the service. */
static void complete_as_recorded(struct lease *j, const json_t *record)
{
	bool cancelled = strcmp(json_get_string(record, "conclusion"), "canceled") == 0;
	lease_complete_as(j, cancelled ? "canceled" : "failed", xstrdup(json_get_string(record, "explanation")));
}

void lease_adopt(struct listener *l, struct run_job *run, struct endpoint *renewer, const json_t *record)
{
	struct lease *j = adopted(l, run, json_get_string(record, "user"), json_get_string(record, "tracking_id"));
	pid_t worker = (pid_t)json_get_int(record, "pid", 0);
	uint64_t worker_start = (uint64_t)json_get_int(record, "start_time", 0);
	j->renewer = renewer;
	j->report = json_incref(json_object_get(record, "report"));
	j->began_wall_ms = json_get_int(record, "began", 0);
	j->progress = xstrdup(json_get_string(record, "progress"));
	j->acquired = true;
	/* Until the service says otherwise the lease is as good as new: the first renewal tells. */
	j->locked_until_ms = clock_mono_ms();
	j->renew_due_ms = clock_mono_ms();
	if (json_get_string(record, "conclusion") != NULL) {
		/* Its end comes first: only where that fails the lease is needed. */
		j->renew_due_ms += FIRST_RENEWAL_MS;
		complete_as_recorded(j, record);
		return;
	}
	j->phase = LEASE_RUNNING;
	if (worker > 0 && proc_alive(worker, worker_start))
		j->pidfd = (int)syscall(SYS_pidfd_open, worker, 0);
	/* Between the two its number may have become another process's. */
	if (j->pidfd >= 0 && !proc_alive(worker, worker_start))
		closep(&j->pidfd);
	j->word_signal = j->pidfd >= 0 ? (int)json_get_int(record, "word_signal", 0) : 0;
	if (j->pidfd < 0)
		worker_died(j, xstrdup("The agent died while this job ran."));
}

void lease_adopt_result(struct listener *l, const char *job_id, const char *user)
{
	struct run_job run = {.job_id = xstrdup(job_id), .name = xstrdup(job_id)};
	struct lease *j = adopted(l, &run, user, NULL);
	j->kept_only = true;
	j->phase = LEASE_COMPLETING;
	j->due_ms = clock_mono_ms();
}
