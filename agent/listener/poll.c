/* Polls of a registration: what their answers say, and the jobs that they bring. */
#include "agent/listener/endpoint_priv.h"

#include "base/core/clock.h"
#include "base/core/log.h"
#include "base/core/rand.h"

enum {
	RETRY_MS = 30000,
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
	if (e->last_request != NULL && strcmp(e->last_request, request_id) == 0)
		return true;
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

/* What becomes of a message. */
enum handling {
	HANDLED,
	HANDLED_AT_ONCE, /* it says where to ask now */
	LEFT,            /* to another runner: the service is not told that it was dealt with */
	JOB_TAKEN,       /* polling waits until it is acquired or dropped */
};

static enum handling take_job(struct endpoint *e, struct broker_message *m)
{
	struct listener *l = e->listener;
	if (knows_request(e, m->request_id)) {
		log_debug("listen", "%s: the job was announced before", endpoint_place(e));
		return HANDLED;
	}
	if (e->closing || l->stopping || areas_are_full(e) || e->jobs > 0 || (l->options.once && l->once_taken)) {
		log_debug("listen", "%s: not now; the service gives the job to another runner", endpoint_place(e));
		return LEFT;
	}
	if (!e->queue->type->offers(e->queue, m)) {
		log_warning("listen", "%s: a job that this queue cannot give; left to another runner",
		            endpoint_place(e));
		return LEFT;
	}
	/* Its message is all that there is of it: a second one must not run it again. */
	if (m->job != NULL) {
		free(e->last_request);
		e->last_request = xstrdup(m->request_id);
	}
	struct lease *j = lease_new(e, &events, m);
	e->jobs++;
	if (l->options.once)
		l->once_taken = true;
	j->next = l->jobs;
	l->jobs = j;
	listener_start_jobs(l);
	return j->phase != LEASE_WAITING ? JOB_TAKEN : HANDLED;
}

static void shutdown_by_service(struct endpoint *e, const struct broker_message *m)
{
	log_warning("listen", "%s: the service asks this runner to stop%s%s", endpoint_place(e), m->detail ? ": " : "",
	            m->detail ? m->detail : "");
	e->keep_session = true;
	endpoint_close(e);
}

static enum handling migrate(struct endpoint *e, const struct broker_message *m)
{
	const char *own = e->reg.broker_url != NULL ? e->reg.broker_url : e->reg.server_url;
	if (!str_starts(m->broker_base_url, "https://") && str_starts(own, "https://")) {
		log_warning("listen", "%s: refused to move to a queue without TLS", endpoint_place(e));
		return HANDLED;
	}
	if (e->queue->type->migrate(e->queue, m->broker_base_url))
		return HANDLED_AT_ONCE;
	log_info("listen", "%s: the queue moves to %.200s", endpoint_place(e), m->broker_base_url);
	return HANDLED;
}

static enum handling dispatch(struct endpoint *e, struct broker_message *m)
{
	struct lease *j;
	switch (m->type) {
	case BROKER_JOB:
	case BROKER_OLD_JOB:
		return take_job(e, m);
	case BROKER_CANCEL:
		j = find_job(e, m->job_id);
		if (j != NULL)
			lease_cancel(j, m->timeout_ms);
		break;
	case BROKER_MIGRATION:
		return migrate(e, m);
	case BROKER_TOKEN_REFRESH:
		endpoint_drop_token(e);
		break;
	case BROKER_SHUTDOWN:
		shutdown_by_service(e, m);
		break;
	default:
		log_debug("listen", "%s: message of type '%.60s' passed over", endpoint_place(e), m->type_name);
		break;
	}
	return HANDLED;
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

/* Another session has another key; a message that could not be read comes again with it. */
static void renew_session(struct endpoint *e)
{
	free(e->left_session);
	e->left_session = TAKE(e->session);
	if (++e->unread > 1)
		endpoint_wait_then(e, STEP_SESSION, registration_pace(RETRY_MS));
	else
		endpoint_enter(e, STEP_SESSION);
}

/* Whatever it says: a message that was not removed comes again, and is known. */
static void removed(void *context, int result, struct http_response *response, const struct err *failure)
{
	struct endpoint *e = context;
	struct err err = ERR_INIT;
	char line[ERR_FRAME_SIZE * 2];
	if (call_result(result, response, failure, "remove a message", &err) < 0)
		log_debug("listen", "%s: %s", endpoint_place(e), err_line(&err, line, sizeof(line)));
	if (e->step == STEP_POLL && e->due_ms == 0 && !call_is_running(&e->call))
		endpoint_enter(e, STEP_POLL);
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
	int r = e->queue->type->read(e->queue, response, &m, &err);
	if (r < 0) {
		char line[ERR_FRAME_SIZE * 2];
		log_warning("listen", "%s: %s", endpoint_place(e), err_line(&err, line, sizeof(line)));
		if (r == ERR_AUTH)
			renew_session(e);
		else
			poll_again(e, false);
		return;
	}
	e->unread = 0;
	e->step = STEP_HOLD;
	struct service_request removal = {.url = NULL};
	bool removes = e->queue->type->remove(e->queue, e->session, &m, &removal);
	enum handling how = dispatch(e, &m);
	if (removes && how != LEFT && e->step != STEP_ENDED && e->token != NULL)
		call_service(e->listener, &e->removal, &removal, e->token, removed, e);
	service_request_done(&removal);
	broker_message_done(&m);
	if (how != JOB_TAKEN && e->step == STEP_HOLD)
		poll_again(e, e->closing || how == HANDLED_AT_ONCE);
}

/* What ends a registration, or its session, by the service's own words. True when that was dealt with. */
static bool poll_ended(struct endpoint *e, const struct http_response *response, struct err *err)
{
	switch (e->queue->type->poll_error(e->queue, response)) {
	case QUEUE_UNAUTHORIZED:
		endpoint_refused(e, STEP_POLL, err);
		return true;
	case QUEUE_RUNNER_GONE:
		if (endpoint_is_made_anew(e, STEP_POLL))
			return true;
		log_warning("listen", "%s: the runner '%s' was deleted on the server", endpoint_place(e), e->reg.name);
		e->forget = e->keep_session = true;
		endpoint_close(e);
		return true;
	case QUEUE_POOL_GONE:
		/* Whether that is for good the next session tells. */
		renew_session(e);
		return true;
	case QUEUE_VERSION_TOO_OLD:
		endpoint_version_refused(e, err);
		return true;
	case QUEUE_DEPROVISIONED:
		endpoint_close(e);
		return true;
	case QUEUE_SESSION_EXPIRED:
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
	if (result >= 0 && poll_ended(e, response, &err))
		return;
	/* A poll that the service held until our own limit is an empty one; one whose answer drips in is not. */
	if (r == ERR_TIMEOUT && response->status == 0 &&
	    clock_mono_ms() - e->poll_started_ms >= wire_call_ms() * 99 / 100) {
		endpoint_enter(e, STEP_POLL);
		return;
	}
	e->failures++;
	endpoint_tell_failure(e, &err);
	endpoint_wait_as_asked(
		e, STEP_POLL, e->failures <= 5 ? listener_pause(15000, 30000) : listener_pause(30000, 60000), response);
}

void endpoint_poll(struct endpoint *e)
{
	struct service_request q = {.url = NULL};
	struct err err = ERR_INIT;
	/* The message that was dealt with is taken away first: the service may give it again. */
	if (call_is_running(&e->removal))
		return;
	e->poll_started_ms = clock_mono_ms();
	e->polled_busy = endpoint_is_busy(e);
	endpoint_announce_version(e);
	if (e->queue->type->poll(e->queue, e->session, e->polled_busy, &q, &err) >= 0) {
		call_service(e->listener, &e->call, &q, e->token, poll_done, e);
		return;
	}
	service_request_done(&q);
	endpoint_tell_failure(e, &err);
	endpoint_wait_then(e, STEP_POLL, registration_pace(RETRY_MS));
}
