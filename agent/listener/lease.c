/* One job: acknowledge → acquire → first renewal → worker, whose lease is renewed here (protocol 5, 6.1, 6.2). A worker
 * that dies without reporting is followed by a recovery of its deployment, then the job is completed from here. */
#include "agent/listener/listener_priv.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/listener/handover.h"
#include "agent/listener/orphans.h"
#include "base/core/clock.h"
#include "base/sys/fs.h"
#include "base/core/log.h"
#include "base/core/rand.h"

enum {
	ACKNOWLEDGE_TIMEOUT_MS = 5000,
	ACQUIRE_TRIES = 5,
	FIRST_RENEWALS = 6,
	RENEW_MS = 60000,
	RENEW_TIMEOUT_MS = 60000,
	LEASE_GRACE_MS = 5 * 60 * 1000,
	KILL_MARGIN_MS = 15000,
	CANCEL_MIN_MS = 60000,
	COMPLETE_TRIES = 25,
	REAP_MS = 5000,
	RESULT_BASE = 100,
	RESULT_MAX = 105,
	CANCEL_LINES_MAX = 1 << 20,
	INT_MS = 7500,
	TERM_MS = 2500,           /* [6.1] */
	STEP_MS = 15 * 60 * 1000, /* the time that an undo has */
	LOOK_MS = 100,
};

static void acquire(struct lease *j);
static void renew(struct lease *j);

/* Spreads a try over [low, high], paced. */
int64_t listener_pause(int64_t low_ms, int64_t high_ms)
{
	return registration_pace(low_ms + (int64_t)rand_below((uint64_t)(high_ms - low_ms)));
}

static const char *const result_names[] = {"Succeeded", "SucceededWithIssues", "Failed", "Canceled", "Skipped",
                                           "Abandoned"};

bool lease_holds_slot(const struct lease *j)
{
	return j->endpoint != NULL && j->phase != LEASE_WAITING && j->phase != LEASE_OVER;
}

struct lease *lease_new(struct endpoint *e, struct broker_message *ref)
{
	struct lease *j = xcalloc(1, sizeof(*j));
	char id[37];
	rand_uuid4(id);
	(void)snprintf(j->tracking_id, sizeof(j->tracking_id), "github_%s", id);
	j->listener = e->listener;
	j->endpoint = e;
	j->ref = *ref;
	*ref = (struct broker_message){0};
	j->worker = (struct proc)PROC_INIT;
	j->pidfd = -1;
	j->input = (struct str)STR_SECRET_INIT(2 * (size_t)WIRE_JOB_MAX);
	j->user = xstrdup(e->reg.worker_user);
	return j;
}

/* The report holds the job's token: its texts are wiped before they are freed. */
static void report_free(json_t *report)
{
	const json_t *token = json_object_get(report, "token");
	if (token != NULL)
		explicit_bzero((char *)(uintptr_t)json_string_value(token), json_string_length(token));
	json_decref(report);
}

void lease_free(struct lease *j)
{
	call_cancel(&j->call);
	call_cancel(&j->renewal);
	broker_message_done(&j->ref);
	run_job_done(&j->run);
	report_free(j->report);
	str_done(&j->input);
	closep(&j->pidfd);
	closep(&j->worker.stdin_fd);
	free(j->explanation);
	free(j->user);
	free(j);
}

static void close_input(struct lease *j)
{
	closep(&j->worker.stdin_fd);
	str_clear(&j->input);
	j->sent = 0;
}

/* ---- The worker. It is started while the job is still being acquired; until it is told a job it waits on its input.
 */

static int spawn_worker(struct lease *j, struct err *err)
{
	struct listener *l = j->listener;
	const char *plain[] = {l->program, "worker", NULL};
	const char *other[] = {l->program, "agent", "as-user", j->user, l->program, "worker", NULL};
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
static int signal_worker(const struct lease *j, int number, siginfo_t *info)
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
	else if (signal_worker(j, j->word_signal, &info) < 0)
		log_warning("listen", "the worker of job '%s' cannot be told that it ends (%s): %s", j->run.name,
		            reason, strerror(errno));
}

static void tell_worker(struct lease *j, int64_t timeout_ms, const char *reason)
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

/* ---- The end of a job. */

static void over(struct lease *j, const char *result)
{
	call_cancel(&j->call);
	call_cancel(&j->renewal);
	close_input(j);
	j->due_ms = j->renew_due_ms = j->kill_due_ms = 0;
	if (j->acquired)
		recovery_forget_job(j);
	j->phase = LEASE_OVER;
	if (result != NULL)
		listener_say("Job %s completed with result: %s", j->run.name, result);
	if (j->endpoint == NULL)
		return;
	if (j->acquired) {
		j->listener->once_done = j->listener->options.once;
		endpoint_job_over(j->endpoint);
	}
}

static void drop(struct lease *j, int64_t pause_ms)
{
	struct endpoint *e = j->endpoint;
	over(j, NULL);
	if (e != NULL)
		endpoint_job_dropped(e, pause_ms);
}

static void complete(struct lease *j);

static void complete_done(void *context, int result, struct http_response *response, const struct err *failure)
{
	struct lease *j = context;
	struct err err = ERR_INIT;
	int r = call_result(result, response, failure, "report the job's end", &err);
	bool gone = result >= 0 &&
	            (response->status == 401 || wire_run_service_error(response) == 404 || response->status == 404);
	if (r >= 0 || gone || ++j->tries >= COMPLETE_TRIES) {
		if (r < 0)
			log_err(&err);
		over(j, strcmp(j->conclusion, "canceled") == 0 ? "Canceled" : "Failed");
		return;
	}
	j->due_ms = clock_mono_ms() + listener_pause(5000, 15000);
}

static void complete(struct lease *j)
{
	_cleanup_json_ json_t *completion = runservice_completion(&j->run, j->conclusion);
	if (j->explanation != NULL)
		runservice_annotate(completion, "failure", j->explanation);
	struct call_request q = {.url = wire_url(j->run.url, "completejob"), .token = j->run.token, .json = completion};
	j->due_ms = 0;
	call_start(j->listener, &j->call, &q, complete_done, j);
}

/* Completes it from here: there is no worker that could. */
static void complete_as(struct lease *j, const char *conclusion, char *explanation)
{
	j->phase = LEASE_COMPLETING;
	j->conclusion = conclusion;
	free(j->explanation);
	j->explanation = explanation;
	j->tries = 0;
	close_input(j);
	if (j->lease_lost)
		over(j, "Abandoned");
	else
		complete(j);
}

/* ---- Lease. */

static void lease_lost(struct lease *j, const char *why)
{
	log_warning("listen", "the lease of job '%s' is lost: %s", j->run.name, why);
	j->lease_lost = true;
	j->renew_due_ms = 0;
	if (j->phase == LEASE_RENEW)
		drop(j, 0);
	else
		tell_worker(j, 0, "lease");
}

static void run_worker(struct lease *j)
{
	if (j->cancelled) {
		complete_as(j, "canceled", NULL);
		return;
	}
	if (j->stopped || j->worker.pid == 0) {
		complete_as(j, "failed",
		            xstrdup(j->stopped ? "The agent was told to stop before the job began."
		                               : "The worker of this job could not be started."));
		return;
	}
	j->phase = LEASE_RUNNING;
	lease_feed(j);
	recovery_keep_job(j);
	listener_say("Running job: %s", j->run.name);
}

static void first_renewal_failed(struct lease *j)
{
	if (++j->tries >= FIRST_RENEWALS)
		complete_as(j, "failed", xstrdup("The lease of this job could not be renewed before it began."));
	else
		j->renew_due_ms = clock_mono_ms() + listener_pause(1000, 10000);
}

static void renewal_failed(struct lease *j, const struct err *err)
{
	char line[ERR_FRAME_SIZE * 2];
	log_debug("listen", "renew the lease of '%s': %s", j->run.name, err_line(err, line, sizeof(line)));
	if (j->phase == LEASE_RENEW) {
		first_renewal_failed(j);
		return;
	}
	if (clock_wall_ms() > j->locked_until_ms + registration_pace(LEASE_GRACE_MS)) {
		lease_lost(j, "it could not be renewed in time");
		return;
	}
	j->renew_failures++;
	j->renew_due_ms =
		clock_mono_ms() + (j->renew_failures <= 5 ? listener_pause(5000, 15000) : listener_pause(15000, 30000));
}

static void renew_done(void *context, int result, struct http_response *response, const struct err *failure)
{
	struct lease *j = context;
	struct err err = ERR_INIT;
	int r = call_result(result, response, failure, "renew the lease", &err);
	if (r >= 0)
		r = runservice_read_renewal(response, &j->locked_until_ms, &err);
	if (r >= 0) {
		j->renew_failures = 0;
		j->renew_due_ms = clock_mono_ms() + registration_pace(RENEW_MS);
		if (j->phase == LEASE_RENEW) {
			if (j->endpoint != NULL)
				endpoint_job_accepted(j->endpoint);
			run_worker(j);
		}
		return;
	}
	if (result >= 0 && wire_run_service_error(response) == 404)
		lease_lost(j, "the service does not know the job any more");
	else
		renewal_failed(j, &err);
}

static void renew(struct lease *j)
{
	_cleanup_json_ json_t *body = runservice_renew_body(&j->run);
	struct call_request q = {.url = wire_url(j->run.url, "renewjob"),
	                         .token = j->run.token,
	                         .json = body,
	                         .timeout_ms = RENEW_TIMEOUT_MS};
	j->renew_due_ms = 0;
	call_start(j->listener, &j->renewal, &q, renew_done, j);
}

/* ---- Acquire. */

/* 0 for the first skip in a row, then about 1, 2, 4, … s, at most a minute [5.1]. */
static int64_t throttle_ms(int skips)
{
	if (skips < 2)
		return 0;
	double spread = 0.8 + (double)rand_below(4001) / 10000.0;
	double ms = 1000.0 + ((double)(1u << MIN(skips - 2, 16)) - 1) * spread * 1000.0;
	return registration_pace((int64_t)MIN(ms, 60000.0));
}

static void skip(struct lease *j, int status)
{
	log_info("listen", "the announced job is not to be had (%s)",
	         status == 404   ? "it is gone"
	         : status == 409 ? "another runner has it"
	                         : "the service refuses it");
	drop(j, throttle_ms(++j->endpoint->skips));
}

static int prepare_input(struct lease *j, json_t *message, struct err *err)
{
	struct listener *l = j->listener;
	_cleanup_free_ char *state = listener_state_dir(l, j->user, err);
	if (state == NULL)
		return err->code;
	_cleanup_json_ json_t *isolation = NULL;
	if (listener_isolation(l, j->endpoint, &isolation, err) < 0)
		return err->code;
	_cleanup_json_ json_t *settings = handover_settings(&j->endpoint->reg, state, j->tracking_id, isolation);
	_cleanup_free_ char *settings_text = json_text(settings), *message_text = json_text(message);
	str_clear(&j->input);
	str_append(&j->input, "{\"message\":");
	str_append(&j->input, message_text);
	str_append(&j->input, ",\"settings\":");
	str_append(&j->input, settings_text);
	str_append(&j->input, "}\n");
	explicit_bzero(message_text, strlen(message_text));
	return j->input.failed ? err_set(err, ERR_LIMIT, "the job's message is too large") : 0;
}

static void acquired(struct lease *j, const struct http_response *response)
{
	struct err err = ERR_INIT;
	json_t *message = NULL;
	int r = wire_read_object(response, &message, &err);
	if (r >= 0)
		r = run_job_read(message, &j->run, &err);
	if (r >= 0) {
		j->acquired = true;
		j->report = run_job_report(message);
		r = prepare_input(j, message, &err);
	}
	json_decref(message);
	if (r >= 0) {
		j->phase = LEASE_RENEW;
		j->tries = 0;
		renew(j);
		return;
	}
	char line[ERR_FRAME_SIZE * 2];
	log_err(&err);
	if (j->acquired)
		complete_as(j, "failed",
		            xasprintf("The agent could not start this job: %s", err_line(&err, line, sizeof(line))));
	else
		drop(j, 0);
}

static void acquire_token_done(void *context, int result, struct http_response *response, const struct err *failure)
{
	struct lease *j = context;
	struct err err = ERR_INIT;
	if (endpoint_token_read(j->endpoint, result, response, failure, &err) == OAUTH_OK) {
		acquire(j);
		return;
	}
	log_err(&err);
	drop(j, 0);
}

static void acquire_with_new_token(struct lease *j)
{
	struct err err = ERR_INIT;
	j->phase = LEASE_TOKEN;
	if (endpoint_token_request(j->endpoint, &j->call, acquire_token_done, j, &err) < 0) {
		log_err(&err);
		drop(j, 0);
	}
}

static void acquire_done(void *context, int result, struct http_response *response, const struct err *failure)
{
	struct lease *j = context;
	struct err err = ERR_INIT;
	int r = call_result(result, response, failure, "acquire the job", &err);
	if (r >= 0) {
		acquired(j, response);
		return;
	}
	int status = result >= 0 ? wire_run_service_error(response) : 0;
	if (status == 404 || status == 409 || status == 422) {
		skip(j, status);
		return;
	}
	if (++j->tries >= ACQUIRE_TRIES) {
		log_err(&err);
		drop(j, 0);
	} else if (result >= 0 && response->status == 401 && j->tries == 1) {
		acquire_with_new_token(j);
	} else {
		j->due_ms = clock_mono_ms() + listener_pause(5000, 15000);
	}
}

static void acquire(struct lease *j)
{
	j->phase = LEASE_ACQUIRE;
	j->due_ms = 0;
	if (j->endpoint->token == NULL) {
		acquire_with_new_token(j);
		return;
	}
	_cleanup_json_ json_t *body = runservice_acquire_body(j->ref.request_id, j->ref.billing_owner_id);
	struct call_request q = {.url = wire_url(j->ref.run_service_url, "acquirejob"),
	                         .token = j->endpoint->token,
	                         .json = body,
	                         .max_body = WIRE_JOB_MAX};
	call_start(j->listener, &j->call, &q, acquire_done, j);
}

static void acknowledge_done(void *context, int result, struct http_response *response, const struct err *failure)
{
	struct lease *j = context;
	struct err err = ERR_INIT;
	if (call_result(result, response, failure, "acknowledge the job", &err) < 0) {
		char line[ERR_FRAME_SIZE * 2];
		log_debug("listen", "%s", err_line(&err, line, sizeof(line)));
		if (result >= 0 && j->endpoint->reg.ephemeral &&
		    wire_broker_error(response) == BROKER_ERROR_ACKNOWLEDGE_NOT_FOUND) {
			log_info("listen", "the job that this runner was made for is gone");
			j->endpoint->forget = j->endpoint->closing = true;
			drop(j, 0);
			return;
		}
	}
	acquire(j);
}

void lease_begin(struct lease *j)
{
	struct err err = ERR_INIT;
	if (spawn_worker(j, &err) < 0)
		log_err(&err);
	if (!j->ref.should_acknowledge || j->endpoint->token == NULL || j->endpoint->session == NULL) {
		acquire(j);
		return;
	}
	j->phase = LEASE_ACKNOWLEDGE;
	_cleanup_json_ json_t *body = json_pack("{s:s}", "runnerRequestId", j->ref.request_id);
	struct call_request q = {.url = broker_acknowledge_url(j->endpoint->broker, j->endpoint->session, false),
	                         .token = j->endpoint->token,
	                         .json = body,
	                         .timeout_ms = ACKNOWLEDGE_TIMEOUT_MS};
	call_start(j->listener, &j->call, &q, acknowledge_done, j);
}

/* ---- Cancel, shutdown, the worker's end. */

void lease_cancel(struct lease *j, int64_t timeout_ms)
{
	int64_t limit = MAX(timeout_ms, CANCEL_MIN_MS) - KILL_MARGIN_MS;
	j->cancelled = true;
	if (j->phase == LEASE_RENEW) {
		call_cancel(&j->renewal);
		j->renew_due_ms = 0;
		if (j->endpoint != NULL)
			endpoint_job_accepted(j->endpoint);
		complete_as(j, "canceled", NULL);
		return;
	}
	if (j->phase != LEASE_RUNNING)
		return;
	log_info("listen", "job '%s' is cancelled", j->run.name);
	j->kill_due_ms = clock_mono_ms() + registration_pace(limit);
	tell_worker(j, timeout_ms, "cancelled");
}

void lease_shutdown(struct lease *j)
{
	if (j->stopped)
		return;
	j->stopped = true;
	switch (j->phase) {
	case LEASE_WAITING:
	case LEASE_ACKNOWLEDGE:
	case LEASE_TOKEN:
		drop(j, 0);
		break;
	case LEASE_ACQUIRE:
		/* The service may have given it already: its answer decides. Between two tries nothing is under way. */
		if (j->due_ms != 0)
			drop(j, 0);
		break;
	case LEASE_RUNNING:
		tell_worker(j, CANCEL_MIN_MS * 5, "shutdown");
		break;
	default:
		break;
	}
}

static char *worker_end_text(int status)
{
	if (status > 128 && status < 128 + 65)
		return xasprintf("The worker of this job was ended by signal %d (%s) before it reported a result.",
		                 status - 128, strsignal(status - 128));
	return xasprintf("The worker of this job ended with status %d before it reported a result.", status);
}

/* What the worker left: SIGINT, later SIGTERM, later SIGKILL; a davit-step is given the time that its undo needs, since
 * an undo by its own process is the gentler one. Then the deployment is recovered. */
static void clear_orphans(struct lease *j)
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
	j->due_ms = 0;
	j->phase = LEASE_RECOVERING;
	recovery_add(j->listener, j, j->user, j->report);
}

static void worker_died(struct lease *j, char *text)
{
	log_error("listen", "job '%s': %s", j->run.name, text);
	j->phase = LEASE_CLEARING;
	j->died_ms = clock_mono_ms();
	j->conclusion = j->cancelled ? "canceled" : "failed";
	free(j->explanation);
	j->explanation = text;
	close_input(j);
	clear_orphans(j);
}

void lease_recovered(struct lease *j, const char *what)
{
	if (j->phase != LEASE_RECOVERING)
		return;
	char *text = what == NULL ? xstrdup(j->explanation) : xasprintf("%s %s", j->explanation, what);
	complete_as(j, j->conclusion, text);
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
		close_input(j);
		return;
	}
	if (status >= RESULT_BASE && status <= RESULT_MAX) {
		int result = status - RESULT_BASE;
		j->listener->last_result = result;
		/* An undo that a cancel or a lost lease cut short goes on under us, with the job's words. */
		if (result != 0 && result != 1)
			recovery_add(j->listener, NULL, j->user, j->report);
		over(j, j->lease_lost ? "Abandoned" : result_names[result]);
		return;
	}
	worker_died(j, ours ? worker_end_text(status)
	                    : xstrdup("The agent died while this job ran; its worker has ended since, its result is "
	                              "unknown."));
}

void lease_adopt(struct listener *l, struct run_job *run, json_t *report, pid_t worker, uint64_t worker_start,
                 int word_signal, const char *user, const char *tracking_id)
{
	struct lease *j = xcalloc(1, sizeof(*j));
	j->listener = l;
	j->run = *run;
	*run = (struct run_job){0};
	j->report = json_incref(report);
	j->worker = (struct proc)PROC_INIT;
	j->input = (struct str)STR_SECRET_INIT(CANCEL_LINES_MAX);
	j->user = xstrdup(user);
	j->acquired = true;
	j->pidfd = -1;
	(void)snprintf(j->tracking_id, sizeof(j->tracking_id), "%s", tracking_id != NULL ? tracking_id : "");
	/* Until the service says otherwise the lease is as good as new: the first renewal tells. */
	j->locked_until_ms = clock_wall_ms();
	j->renew_due_ms = clock_mono_ms();
	j->next = l->jobs;
	l->jobs = j;
	j->phase = LEASE_RUNNING;
	if (worker > 0 && proc_alive(worker, worker_start))
		j->pidfd = (int)syscall(SYS_pidfd_open, worker, 0);
	/* Between the two its number may have become another process's. */
	if (j->pidfd >= 0 && !proc_alive(worker, worker_start))
		closep(&j->pidfd);
	j->word_signal = j->pidfd >= 0 ? word_signal : 0;
	if (j->pidfd < 0)
		worker_died(j, xstrdup("The agent died while this job ran."));
}

int64_t lease_due(const struct lease *j)
{
	int64_t due = 0, all[] = {j->due_ms, j->renew_due_ms, j->kill_due_ms};
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (all[i] != 0 && (due == 0 || all[i] < due))
			due = all[i];
	return due;
}

void lease_timer(struct lease *j, int64_t now_ms)
{
	if (j->kill_due_ms != 0 && now_ms >= j->kill_due_ms) {
		j->kill_due_ms = 0;
		log_warning("listen", "job '%s' did not end in time after its cancel; its worker is killed",
		            j->run.name);
		if (j->worker.pid > 0)
			proc_signal(&j->worker, SIGKILL);
		else if (j->pidfd >= 0)
			(void)signal_worker(j, SIGKILL, NULL);
	}
	if (j->renew_due_ms != 0 && now_ms >= j->renew_due_ms && !call_is_running(&j->renewal))
		renew(j);
	if (j->due_ms == 0 || now_ms < j->due_ms || j->phase == LEASE_OVER)
		return;
	j->due_ms = 0;
	if (j->phase == LEASE_ACQUIRE)
		acquire(j);
	else if (j->phase == LEASE_COMPLETING)
		complete(j);
	else if (j->phase == LEASE_CLEARING)
		clear_orphans(j);
}
