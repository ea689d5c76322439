/* One job from its announcement to its end: what it tells its registration, its renewals, its completion from here, cancels. How it
 * is got: acquire.c; its process: worker.c (protocol 5, 6.1, 6.2). */
#include "agent/listener/lease_priv.h"

#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/core/clock.h"
#include "base/core/log.h"
#include "base/core/rand.h"
#include "base/sys/fs.h"

enum {
	FIRST_RENEWALS = 6,
	RENEW_MS = 60000,
	RENEW_TIMEOUT_MS = 60000,
	LEASE_GRACE_MS = 5 * 60 * 1000,
	KILL_MARGIN_MS = 15000,
	CANCEL_MIN_MS = 60000,
	LET_GO_TRIES = 5,
	AFTER_RENEWAL_MS = 20,
	BESIDE_END_MS = 1000,
	CROSSED_MS = 1000,
	RESULT_CANCELED = 3,
};

bool lease_holds_slot(const struct lease *j)
{
	return j->endpoint != NULL && j->phase != LEASE_WAITING && j->phase != LEASE_OVER;
}

struct lease *lease_new(struct endpoint *e, const struct lease_events *events, struct broker_message *ref)
{
	struct lease *j = xcalloc(1, sizeof(*j));
	char id[37];
	rand_uuid4(id);
	(void)snprintf(j->tracking_id, sizeof(j->tracking_id), "github_%s", id);
	j->listener = e->listener;
	j->endpoint = e;
	j->events = events;
	j->result = -1;
	j->ref = *ref;
	*ref = (struct broker_message){0};
	j->worker = (struct proc)PROC_INIT;
	j->clearing = j->delivering = (struct proc)PROC_INIT;
	j->pidfd = -1;
	j->input = (struct str)STR_SECRET_INIT(2 * (size_t)WIRE_JOB_MAX);
	j->user = xstrdup(e->reg.worker_user);
	return j;
}

/* The report holds the job's token: its strings are wiped before they are freed. */
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
	json_decref(j->decided);
	str_done(&j->input);
	closep(&j->pidfd);
	closep(&j->worker.stdin_fd);
	proc_done(&j->clearing);
	proc_done(&j->delivering);
	unstarted_free(j->unstarted);
	free(j->results_base);
	free(j->explanation);
	free(j->user);
	free(j->actions);
	free(j->progress);
	free(j);
}

/* ---- The end of a job. */

void lease_over(struct lease *j, const char *result)
{
	call_cancel(&j->call);
	call_cancel(&j->renewal);
	lease_close_input(j);
	j->due_ms = j->renew_due_ms = j->kill_due_ms = 0;
	if (j->acquired)
		recovery_forget_job(j);
	j->phase = LEASE_OVER;
	if (result != NULL)
		listener_say("Job %s completed with result: %s", j->run.name, result);
	if (j->endpoint != NULL && j->acquired)
		j->events->over(j->endpoint, j->result);
}

void lease_drop(struct lease *j, enum lease_drop why)
{
	/* One that was acquired is over for its registration by that. */
	bool was_acquired = j->acquired;
	lease_over(j, NULL);
	if (j->endpoint != NULL && !was_acquired)
		j->events->dropped(j->endpoint, why);
}

/* It is for the listener alone from here on: its registration takes the next job meanwhile, and an agent that ends leaves it to the
 * next one. */
void lease_let_go(struct lease *j)
{
	struct endpoint *e = j->endpoint;
	if (e == NULL)
		return;
	if (strcmp(j->conclusion != NULL ? j->conclusion : "", "canceled") == 0 && j->result < 0)
		j->result = RESULT_CANCELED;
	recovery_keep_job(j);
	j->endpoint = NULL;
	j->events->over(e, j->result);
}

/* Its worker may have reported it before it ended, or it may have been given up. */
static void over_unseen(struct lease *j)
{
	listener_say("Job %s is over; the service alone knows its result", j->run.name);
	lease_over(j, NULL);
}

static void complete_again(struct lease *j, int64_t asked_ms)
{
	/* A renewal of what the service has completed is one of a lease that is lost, too: the next try tells. */
	if (j->lease_lost && !j->taken) {
		lease_over(j, "Abandoned");
		return;
	}
	j->due_ms = clock_mono_ms() + runservice_complete_pause(j->tries, asked_ms);
	if (j->tries == LET_GO_TRIES || j->listener->stopping) {
		log_warning("listen", "the end of job '%s' could not be reported yet", j->run.name);
		lease_let_go(j);
	}
}

/* The next of the requests that complete it, or its end. */
static void complete_done(void *context, int result, struct http_response *response, const struct err *failure)
{
	struct lease *j = context;
	struct err err = ERR_INIT;
	bool before = j->taken;
	enum runservice_end end = runservice_completed(&j->run, result, response, failure, &j->taken, &err);
	if (!j->completes_last) {
		j->taken = before;
		if (end != RUNSERVICE_SENT)
			log_err(&err);
		j->complete_index++;
		lease_complete(j);
		return;
	}
	j->tries++;
	if (end == RUNSERVICE_LATER) {
		complete_again(j, result >= 0 ? http_retry_after_ms(response) : -1);
		return;
	}
	if (end == RUNSERVICE_GONE && j->unseen && !j->cancelled) {
		over_unseen(j);
		return;
	}
	if (end != RUNSERVICE_SENT)
		log_err(&err);
	lease_over(j, strcmp(j->conclusion, "canceled") == 0 ? "Canceled" : "Failed");
}

static void complete_prepared(void *context, int result, struct http_response *response, const struct err *failure)
{
	struct lease *j = context;
	struct err err = ERR_INIT;
	int r = call_result(result, response, failure, "ask what the service has", &err);
	if (r >= 0)
		r = j->run.type->prepared(&j->run, response, &err);
	j->tries += r < 0;
	if (r >= 0) {
		lease_complete(j);
	} else if (r == ERR_AUTH) {
		log_err(&err);
		lease_over(j, "Failed");
	} else {
		complete_again(j, result >= 0 ? http_retry_after_ms(response) : -1);
	}
}

/* Its worker may have completed it before it ended, unseen. */
static void inquired(void *context, int result, struct http_response *response, const struct err *failure)
{
	struct lease *j = context;
	(void)failure;
	char *ended = result >= 0 ? j->run.type->result(response) : NULL;
	if (ended == NULL) {
		lease_complete(j);
		return;
	}
	ended[0] = (char)toupper((unsigned char)ended[0]);
	lease_over(j, ended);
	free(ended);
}

static void inquiry_token_done(void *context, int result, struct http_response *response, const struct err *failure)
{
	struct lease *j = context;
	struct err err = ERR_INIT;
	if (endpoint_token_read(j->renewer, result, response, failure, &err) != OAUTH_OK)
		log_err(&err);
	lease_complete(j);
}

/* True: it goes on with the answer. A registration that has ended (the agent is told to stop) has no token any more. */
static bool inquire(struct lease *j)
{
	struct service_request q = {.url = NULL};
	struct err err = ERR_INIT;
	if (j->died_ms == 0 || j->inquired || j->renewer == NULL || !j->run.type->inquire(&j->run, &q))
		return false;
	if (j->renewer->token == NULL && !j->inquiry_token_asked) {
		service_request_done(&q);
		j->inquiry_token_asked = true;
		if (endpoint_token_request(j->renewer, &j->call, inquiry_token_done, j, &err) >= 0)
			return true;
		log_err(&err);
		return false;
	}
	j->inquired = true;
	if (j->renewer->token == NULL) {
		service_request_done(&q);
		return false;
	}
	call_service(j->listener, &j->call, &q, j->renewer->token, inquired, j);
	return true;
}

void lease_complete(struct lease *j)
{
	struct service_request q = {.url = NULL}, next = {.url = NULL};
	struct err err = ERR_INIT;
	/* A renewal that comes behind it would be one of a job that is over. */
	if (call_is_running(&j->renewal)) {
		j->due_ms = clock_mono_ms() + AFTER_RENEWAL_MS;
		return;
	}
	j->due_ms = 0;
	if (inquire(j))
		return;
	if (j->run.type->prepare(&j->run, &q)) {
		call_service(j->listener, &j->call, &q, j->run.token, complete_prepared, j);
		return;
	}
	_cleanup_json_ json_t *completion = runservice_completion(&j->run, j->conclusion);
	if (j->unstarted != NULL)
		json_object_set_new(completion, "stepResults", unstarted_steps(j->unstarted));
	if (j->explanation != NULL)
		runservice_annotate(completion, "failure", j->explanation);
	if (j->run.type->complete(&j->run, completion, j->complete_index, &q, &err) <= 0) {
		log_err(&err);
		lease_over(j, "Failed");
		return;
	}
	j->completes_last = j->run.type->complete(&j->run, completion, j->complete_index + 1, &next, &err) <= 0;
	service_request_done(&next);
	call_service(j->listener, &j->call, &q, j->run.token, complete_done, j);
}

/* Completes it from here, as no worker can. */
void lease_complete_as(struct lease *j, const char *conclusion, char *explanation)
{
	j->phase = LEASE_COMPLETING;
	j->conclusion = conclusion;
	free(j->explanation);
	j->explanation = explanation;
	j->tries = j->complete_index = 0;
	lease_close_input(j);
	if (delivery_is_due(j))
		delivery_begin(j);
	else if (j->lease_lost && j->unseen && !j->cancelled)
		over_unseen(j);
	else if (j->lease_lost)
		/* A worker that we did not start may have reported the cancel itself: that ends the lease too. */
		lease_over(j, j->cancelled ? "Canceled" : "Abandoned");
	else
		lease_complete(j);
}

/* ---- Lease. */

static void lease_lost(struct lease *j, const char *why)
{
	log_warning("listen", "the lease of job '%s' is lost: %s", j->run.name, why);
	j->lease_lost = true;
	j->renew_due_ms = 0;
	if (j->phase == LEASE_RENEW)
		lease_drop(j, LEASE_DROP_FAILED);
	else
		lease_tell(j, 0, "lease");
}

/* A pause that the service asks for, but none that the lease would not outlast. */
static int64_t renewal_pause(const struct lease *j, int64_t own_ms, const struct http_response *response)
{
	int64_t left = j->locked_until_ms - clock_mono_ms() - RENEW_TIMEOUT_MS;
	int64_t asked = listener_pause_asked(own_ms, response);
	asked = MIN(asked, left);
	return MAX(own_ms, asked);
}

static int64_t first_pause(const struct http_response *response)
{
	int64_t asked = listener_pause_asked(listener_pause(1000, 10000), response);
	return MIN(asked, (int64_t)RENEW_MS);
}

static void first_renewal_failed(struct lease *j, const struct http_response *response)
{
	if (++j->tries >= FIRST_RENEWALS)
		lease_complete_as(j, "failed", xstrdup("The lease of this job could not be renewed before it began."));
	else
		j->renew_due_ms = clock_mono_ms() + first_pause(response);
}

static void renewal_failed(struct lease *j, const struct http_response *response, const struct err *err)
{
	char line[ERR_FRAME_SIZE * 2];
	log_debug("listen", "renew the lease of '%s': %s", j->run.name, err_line(err, line, sizeof(line)));
	if (j->phase == LEASE_RENEW) {
		first_renewal_failed(j, response);
		return;
	}
	if (clock_mono_ms() > j->locked_until_ms + registration_pace(LEASE_GRACE_MS)) {
		lease_lost(j, "it could not be renewed in time");
		return;
	}
	j->renew_failures++;
	int64_t own = j->renew_failures <= 5 ? listener_pause(5000, 15000) : listener_pause(15000, 30000);
	j->renew_due_ms = clock_mono_ms() + renewal_pause(j, own, response);
}

static void renew_token_done(void *context, int result, struct http_response *response, const struct err *failure)
{
	struct lease *j = context;
	struct err err = ERR_INIT;
	if (endpoint_token_read(j->renewer, result, response, failure, &err) == OAUTH_OK)
		lease_renew(j);
	else
		renewal_failed(j, response, &err);
}

/* Its token, where that is what the renewals carry, is missing or was refused. */
static void renew_with_new_token(struct lease *j)
{
	struct err err = ERR_INIT;
	j->renewed_token = true;
	if (j->renewer == NULL)
		err_set(&err, ERR_AUTH, "the registration of this job is not here any more");
	else if (endpoint_token_request(j->renewer, &j->renewal, renew_token_done, j, &err) >= 0)
		return;
	const struct http_response none = {.status = 0};
	renewal_failed(j, &none, &err);
}

/* Its worker may have completed it while the renewal was on its way: then it ends now, and nobody asks again. */
static void job_unknown(struct lease *j)
{
	if (j->phase != LEASE_RUNNING || j->unknown) {
		lease_lost(j, "the service does not know the job any more");
		return;
	}
	j->unknown = true;
	j->renew_due_ms = clock_mono_ms() + CROSSED_MS;
}

static void renew_done(void *context, int result, struct http_response *response, const struct err *failure)
{
	struct lease *j = context;
	struct err err = ERR_INIT;
	int64_t until_ms = 0;
	int r = call_result(result, response, failure, "renew the lease", &err);
	if (r >= 0)
		r = runservice_read_renewal(response, &until_ms, &err);
	if (r >= 0) {
		/* By the service's clock, which may be another time than this machine's. */
		int64_t theirs = http_date_ms(response);
		j->locked_until_ms = clock_mono_ms() + until_ms - (theirs >= 0 ? theirs : clock_wall_ms());
		j->renew_failures = 0;
		j->renewed_token = j->unknown = false;
		j->renew_due_ms = clock_mono_ms() + registration_pace(RENEW_MS);
		if (j->phase == LEASE_RENEW) {
			if (j->endpoint != NULL)
				j->events->accepted(j->endpoint);
			lease_run_worker(j);
		}
		return;
	}
	if (result >= 0 && j->run.type->is_gone(response))
		job_unknown(j);
	else if (result >= 0 && response->status == 401 && j->run.type->renewed_by_runner && !j->renewed_token)
		renew_with_new_token(j);
	else
		renewal_failed(j, response, &err);
}

void lease_renew(struct lease *j)
{
	struct service_request q = {.url = NULL};
	const char *token = j->run.token;
	j->renew_due_ms = 0;
	if (j->run.type->renewed_by_runner)
		token = j->renewer != NULL ? j->renewer->token : NULL;
	if (token == NULL) {
		renew_with_new_token(j);
		return;
	}
	j->run.type->renew(&j->run, &q);
	q.timeout_ms = RENEW_TIMEOUT_MS;
	call_service(j->listener, &j->renewal, &q, token, renew_done, j);
}

/* ---- Cancel, shutdown, time. */

void lease_cancel(struct lease *j, int64_t timeout_ms)
{
	int64_t limit = MAX(timeout_ms, CANCEL_MIN_MS) - KILL_MARGIN_MS;
	j->cancelled = true;
	if (j->phase == LEASE_RENEW) {
		call_cancel(&j->renewal);
		j->renew_due_ms = 0;
		if (j->endpoint != NULL)
			j->events->accepted(j->endpoint);
		lease_complete_as(j, "canceled", NULL);
		return;
	}
	if (j->phase != LEASE_RUNNING)
		return;
	log_info("listen", "job '%s' is cancelled", j->run.name);
	j->kill_due_ms = clock_mono_ms() + registration_pace(limit);
	lease_tell(j, timeout_ms, "cancelled");
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
		lease_drop(j, LEASE_DROP_FAILED);
		break;
	case LEASE_ACQUIRE:
		/* The service may have assigned it already: its answer decides. No request is pending between two tries. */
		if (j->due_ms != 0)
			lease_drop(j, LEASE_DROP_FAILED);
		break;
	case LEASE_RUNNING:
		lease_tell(j, CANCEL_MIN_MS * 5, "shutdown");
		break;
	case LEASE_COMPLETING:
		/* Between two tries: the next start makes the next one. */
		if (j->due_ms != 0 && !call_is_running(&j->call) && j->unstarted == NULL && j->delivering.pid == 0)
			lease_let_go(j);
		break;
	default:
		break;
	}
}

void lease_recovered(struct lease *j, const char *what)
{
	if (j->phase != LEASE_RECOVERING)
		return;
	char *text = what == NULL ? xstrdup(j->explanation) : xasprintf("%s %s", j->explanation, what);
	lease_complete_as(j, j->conclusion, text);
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
			(void)lease_signal_worker(j, SIGKILL, NULL);
	}
	if (j->phase == LEASE_COMPLETING && (call_is_running(&j->call) || j->delivering.pid != 0) &&
	    j->renew_due_ms != 0)
		j->renew_due_ms = MAX(j->renew_due_ms, now_ms + BESIDE_END_MS);
	if (j->renew_due_ms != 0 && now_ms >= j->renew_due_ms && !call_is_running(&j->renewal))
		lease_renew(j);
	if (j->due_ms == 0 || now_ms < j->due_ms || j->phase == LEASE_OVER)
		return;
	j->due_ms = 0;
	if (j->phase == LEASE_ACQUIRE)
		lease_acquire(j);
	else if (j->phase == LEASE_COMPLETING && delivery_is_due(j))
		delivery_begin(j);
	else if (j->phase == LEASE_COMPLETING && (j->unstarted == NULL || unstarted_is_told(j)))
		lease_complete(j);
	else if (j->phase == LEASE_CLEARING)
		lease_clear_orphans(j);
}
