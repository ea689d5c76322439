/* Polls of a registration: what their answers say, and the jobs that they bring. */
#include "agent/listener/endpoint_priv.h"

#include "base/core/clock.h"
#include "base/core/log.h"
#include "base/core/rand.h"

enum {
	RETRY_MS = 30000,
	POLL_TIMEOUT_MS = 100000,
	POLL_FLOOR_MS = 1000, /* between polls that are answered at once with nothing */
};

/* One that was taken over belongs to no registration; its id is its own all the same. */
static struct lease *find_job(const struct endpoint *e, const char *job_id)
{
	for (struct lease *j = e->listener->jobs; j != NULL; j = j->next)
		if ((j->endpoint == e || j->endpoint == NULL) && j->phase != LEASE_OVER && j->run.job_id != NULL &&
		    strcmp(j->run.job_id, job_id) == 0)
			return j;
	return NULL;
}

static bool knows_request(const struct endpoint *e, const char *request_id)
{
	for (struct lease *j = e->listener->jobs; j != NULL; j = j->next)
		if (j->endpoint == e && strcmp(j->ref.request_id, request_id) == 0)
			return true;
	return false;
}

/* ---- What its jobs tell it. */

/* The outstanding poll is given up and made again with the new status [4.1]. */
static void poll_anew(struct endpoint *e)
{
	if (e->step == STEP_HOLD) {
		endpoint_enter(e, STEP_POLL);
	} else if (e->step == STEP_POLL && e->due_ms == 0 && e->polled_busy != endpoint_is_busy(e)) {
		call_cancel(&e->call);
		endpoint_enter(e, STEP_POLL);
	}
}

static void job_accepted(struct endpoint *e)
{
	e->skips = 0;
	poll_anew(e);
}

static void job_left(struct endpoint *e)
{
	e->jobs--;
	if (e->closing && e->jobs == 0)
		endpoint_enter(e, STEP_DELETE);
}

/* 0 for the first skip in a row, then about 1, 2, 4, … s, at most a minute [5.1]. */
static int64_t throttle_ms(int skips)
{
	if (skips < 2)
		return 0;
	double spread = 0.8 + (double)rand_below(4001) / 10000.0;
	double ms = 1000.0 + ((double)(1u << MIN(skips - 2, 16)) - 1) * spread * 1000.0;
	return registration_pace((int64_t)MIN(ms, 60000.0));
}

static void job_dropped(struct endpoint *e, enum lease_drop why)
{
	e->listener->once_taken = false;
	if (why == LEASE_DROP_RUNNER_IS_USED_UP)
		e->forget = e->closing = true;
	int64_t pause_ms = why == LEASE_DROP_SKIPPED ? throttle_ms(++e->skips) : 0;
	job_left(e);
	if (e->step != STEP_HOLD)
		poll_anew(e);
	else if (pause_ms > 0)
		endpoint_wait_then(e, STEP_POLL, pause_ms);
	else
		endpoint_enter(e, STEP_POLL);
}

static void job_over(struct endpoint *e, int result)
{
	if (result >= 0)
		e->listener->last_result = result;
	e->listener->once_done = e->listener->options.once;
	if (e->listener->options.once || e->reg.ephemeral) {
		e->closing = true;
		e->forget = e->forget || e->reg.ephemeral;
	}
	job_left(e);
	areas_look_soon(e->listener);
	if (e->step != STEP_ENDED && e->step != STEP_DELETE)
		poll_anew(e);
}

static const struct lease_events events = {.accepted = job_accepted, .dropped = job_dropped, .over = job_over};

/* ---- Messages. */

/* True when a job was taken up, and polling waits until it is acquired or dropped. */
static bool take_job(struct endpoint *e, struct broker_message *m)
{
	struct listener *l = e->listener;
	if (knows_request(e, m->request_id)) {
		log_debug("listen", "%s: the job was announced before", endpoint_place(e));
		return false;
	}
	if (e->closing || l->stopping || areas_are_full(e) || e->jobs > 0 || (l->options.once && l->once_taken)) {
		log_debug("listen", "%s: not now; the service gives the job to another runner", endpoint_place(e));
		return false;
	}
	if (m->run_service_url == NULL) {
		log_warning("listen",
		            "%s: a job without a run service needs the older protocol; left to another runner",
		            endpoint_place(e));
		return false;
	}
	struct lease *j = lease_new(e, &events, m);
	e->jobs++;
	if (l->options.once)
		l->once_taken = true;
	j->next = l->jobs;
	l->jobs = j;
	listener_start_jobs(l);
	return j->phase != LEASE_WAITING;
}

static void shutdown_by_service(struct endpoint *e, const struct broker_message *m)
{
	log_warning("listen", "%s: the service asks this runner to stop%s%s", endpoint_place(e), m->detail ? ": " : "",
	            m->detail ? m->detail : "");
	e->keep_session = true;
	endpoint_close(e);
}

static void migrate(struct endpoint *e, const struct broker_message *m)
{
	if (!str_starts(m->broker_base_url, "https://") && str_starts(e->reg.broker_url, "https://")) {
		log_warning("listen", "%s: refused to move to a queue without TLS", endpoint_place(e));
		return;
	}
	log_info("listen", "%s: the queue moves to %.200s", endpoint_place(e), m->broker_base_url);
	free(e->broker);
	e->broker = xstrdup(m->broker_base_url);
}

/* True when polling waits for a job. */
static bool dispatch(struct endpoint *e, struct broker_message *m)
{
	struct lease *j;
	switch (m->type) {
	case BROKER_JOB:
		return take_job(e, m);
	case BROKER_CANCEL:
		j = find_job(e, m->job_id);
		if (j != NULL)
			lease_cancel(j, m->timeout_ms);
		break;
	case BROKER_MIGRATION:
		migrate(e, m);
		break;
	case BROKER_TOKEN_REFRESH:
		endpoint_drop_token(e);
		break;
	case BROKER_SHUTDOWN:
		shutdown_by_service(e, m);
		break;
	case BROKER_OLD_JOB:
		log_warning("listen", "%s: a job of the older protocol; left to another runner", endpoint_place(e));
		break;
	default:
		log_debug("listen", "%s: message of type '%.60s' passed over", endpoint_place(e), m->type_name);
		break;
	}
	return false;
}

/* An answer without a message: again, but not faster than once a second. */
static void poll_again(struct endpoint *e, bool had_message)
{
	int64_t next = e->poll_started_ms + registration_pace(POLL_FLOOR_MS), now = clock_mono_ms();
	if (had_message || now >= next)
		endpoint_enter(e, STEP_POLL);
	else
		endpoint_wait_then(e, STEP_POLL, next - now);
}

static void poll_succeeded(struct endpoint *e, struct http_response *response)
{
	struct broker_message m = {0};
	struct err err = ERR_INIT;
	if (e->told_error) {
		e->told_error = false;
		listener_say("Runner reconnected.");
		endpoint_write_state(e, "listening", NULL);
	}
	e->failures = e->refusals = 0;
	running_note_poll(e);
	const char *type = http_header(response, "Content-Type");
	bool json = type != NULL && strncasecmp(type, "application/json", 16) == 0;
	if (response->body.len == 0 || !json || response->status == 202 || response->status == 204) {
		poll_again(e, false);
		return;
	}
	if (broker_message_read(str_peek(&response->body), response->body.len, &m, &err) < 0) {
		char line[ERR_FRAME_SIZE * 2];
		log_warning("listen", "%s: %s", endpoint_place(e), err_line(&err, line, sizeof(line)));
		poll_again(e, false);
		return;
	}
	e->step = STEP_HOLD;
	bool hold = dispatch(e, &m);
	broker_message_done(&m);
	if (!hold && e->step == STEP_HOLD)
		poll_again(e, e->closing);
}

/* What ends a registration, or its session, by the broker's own words. True when that was dealt with. */
static bool poll_ended(struct endpoint *e, const struct http_response *response, struct err *err)
{
	switch (wire_broker_error(response)) {
	case BROKER_ERROR_RUNNER_NOT_FOUND:
		log_warning("listen", "%s: the runner '%s' was deleted on the server", endpoint_place(e), e->reg.name);
		e->forget = e->keep_session = true;
		endpoint_close(e);
		return true;
	case BROKER_ERROR_VERSION_TOO_OLD:
		err_hint(err, ERR_PROTOCOL, "a newer release of davit is needed");
		endpoint_end_with(e,
		                  wire_is_true(getenv("ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE"))
		                          ? LISTEN_VERSION
		                          : LISTEN_TERMINATED,
		                  err);
		return true;
	case BROKER_ERROR_DEPROVISIONED:
		endpoint_close(e);
		return true;
	case BROKER_ERROR_SESSION_INVALID:
		log_info("listen", "%s: the session has expired; making a new one", endpoint_place(e));
		free(TAKE(e->session));
		/* A service that ends every session at once must not be asked without end. */
		if (++e->failures > 1)
			endpoint_wait_then(e, STEP_SESSION, registration_pace(RETRY_MS));
		else
			endpoint_enter(e, STEP_SESSION);
		return true;
	default:
		return false;
	}
}

static void poll_done(void *context, int result, struct http_response *response, const struct err *failure)
{
	struct endpoint *e = context;
	struct err err = ERR_INIT;
	int r = call_result(result, response, failure, "ask for messages", &err);
	e->last_wall_ms = clock_wall_ms();
	e->last_status = result >= 0 ? response->status : 0;
	if (r >= 0) {
		poll_succeeded(e, response);
		return;
	}
	if (result >= 0 && response->status == 401) {
		endpoint_refused(e, STEP_POLL, &err);
		return;
	}
	if (result >= 0 && poll_ended(e, response, &err))
		return;
	/* A poll that the service held until our own limit is an empty one. */
	if (r == ERR_TIMEOUT && clock_mono_ms() - e->poll_started_ms >= POLL_TIMEOUT_MS - 1000) {
		endpoint_enter(e, STEP_POLL);
		return;
	}
	e->failures++;
	endpoint_tell_failure(e, &err);
	endpoint_wait_then(e, STEP_POLL,
	                   e->failures <= 5 ? listener_pause(15000, 30000) : listener_pause(30000, 60000));
}

void endpoint_poll(struct endpoint *e)
{
	e->poll_started_ms = clock_mono_ms();
	e->polled_busy = endpoint_is_busy(e);
	struct call_request q = {
		.url = broker_poll_url(e->broker, e->session, e->polled_busy, true),
		.token = e->token,
		.timeout_ms = POLL_TIMEOUT_MS,
		.max_body = WIRE_MESSAGE_MAX,
	};
	call_start(e->listener, &e->call, &q, poll_done, e);
}
