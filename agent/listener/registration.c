/* One registration: token → session → poll → …, with the outcomes and pauses of protocol 2.4, 3.3, 4.5, 4.6. Fatal
 * outcomes end this registration only; the process ends when all have. */
#include "agent/listener/endpoint_priv.h"

#include <stdio.h>

#include "base/core/clock.h"
#include "base/core/log.h"

enum {
	RETRY_MS = 30000,
	CONFLICTS_MAX = 8,
	CONFLICTS_LOST_MAX = 24,       /* with a session of our own that only the service can end */
	LOST_AFTER_MS = 5 * 60 * 1000, /* a session that is "not found" for so long is worth a message */
};

struct endpoint *endpoint_new(struct listener *l, const char *id, struct registration *reg, struct str *key)
{
	struct endpoint *e = xcalloc(1, sizeof(*e));
	e->listener = l;
	e->id = xstrdup(id);
	e->reg = *reg;
	*reg = (struct registration){0};
	if (key != NULL) {
		e->key = *key;
		*key = (struct str){.max = key->max, .wipe = true};
	}
	e->queue = queue_new(&e->reg);
	if (id != NULL && l->store != NULL)
		e->left_session = records_read_session(l->store, id);
	e->exit_code = LISTEN_DONE;
	e->renewal = (struct proc)PROC_INIT;
	e->renewal_fd = -1;
	return e;
}

void endpoint_free(struct endpoint *e)
{
	call_cancel(&e->call);
	call_cancel(&e->removal);
	endpoint_drop_token(e);
	proc_done(&e->renewal);
	closep(&e->renewal_fd);
	free(e->id);
	free(e->session);
	free(e->left_session);
	queue_free(e->queue);
	free(e->last_request);
	free(e->area);
	str_done(&e->key);
	registration_done(&e->reg);
	json_decref(e->isolation);
	free(e);
}

bool endpoint_is_busy(const struct endpoint *e)
{
	return e->jobs > 0;
}

const char *endpoint_place(const struct endpoint *e)
{
	return e->reg.url != NULL ? e->reg.url : e->reg.name;
}

void endpoint_write_state(const struct endpoint *e, const char *state, const char *text)
{
	if (e->id != NULL && e->listener->store != NULL)
		records_write_state(e->listener->store, e->id, state, text);
}

static void write_session(const struct endpoint *e, const char *session)
{
	if (e->id != NULL && e->listener->store != NULL)
		records_write_session(e->listener->store, e->id, session);
}

void endpoint_wait_then(struct endpoint *e, enum endpoint_step step, int64_t ms)
{
	e->step = step;
	e->due_ms = clock_mono_ms() + MAX(ms, 1);
	listener_nearer(&e->listener->endpoints_due_ms, e->due_ms);
}

void endpoint_wait_as_asked(struct endpoint *e, enum endpoint_step step, int64_t own_ms,
                            const struct http_response *response)
{
	endpoint_wait_then(e, step, listener_pause_asked(own_ms, response));
}

/* Reports the first failure of a streak only. */
void endpoint_tell_failure(struct endpoint *e, const struct err *err)
{
	char line[ERR_FRAME_SIZE * 2];
	err_line(err, line, sizeof(line));
	if (e->told_error) {
		log_debug("listen", "%s: %s", endpoint_place(e), line);
		return;
	}
	e->told_error = true;
	log_warning("listen", "%s: %s; trying again", endpoint_place(e), line);
	endpoint_write_state(e, "retrying", line);
}

void endpoint_end(struct endpoint *e, int exit_code)
{
	if (e->step == STEP_ENDED)
		return;
	call_cancel(&e->call);
	call_cancel(&e->removal);
	endpoint_drop_token(e);
	e->due_ms = 0;
	e->step = STEP_ENDED;
	if (e->exit_code == LISTEN_DONE)
		e->exit_code = exit_code;
	endpoint_write_state(e, "stopped", NULL);
	if (e->forget && e->id != NULL && e->listener->store != NULL) {
		struct err err = ERR_INIT;
		/* Another registration may lie there by now, which the next start serves. */
		if (records_changed(e->listener->store, e->id, &e->reg))
			return;
		if (records_delete(e->listener->store, e->id, &err) < 0)
			log_err(&err);
		else
			listener_say("√ Removed the registration for %s", endpoint_place(e));
	}
}

/* A failure that no retry fixes: reported with a hint. */
void endpoint_end_with(struct endpoint *e, int exit_code, const struct err *err)
{
	char line[ERR_FRAME_SIZE * 2];
	log_error("listen", "%s: %s%s%s", endpoint_place(e), err_line(err, line, sizeof(line)),
	          err->hint[0] ? "; " : "", err->hint);
	endpoint_end(e, exit_code);
	endpoint_write_state(e, "failed", line);
}

/* ---- Session. */

/* Nothing is asked of the service until --version-source brings another version. One job, or a registration for one job, does not wait. */
static bool wait_for_version(struct endpoint *e, const struct err *err)
{
	char line[ERR_FRAME_SIZE * 2];
	if (e->id == NULL || e->reg.ephemeral || e->listener->options.once || !version_refused(e->listener))
		return false;
	err_line(err, line, sizeof(line));
	log_error("listen", "%s: %s; waiting for a newer version from --version-source", endpoint_place(e), line);
	endpoint_write_state(e, "refused", line);
	if (e->session != NULL) {
		free(e->left_session);
		e->left_session = TAKE(e->session);
	}
	e->due_ms = 0;
	e->step = STEP_VERSION;
	endpoint_version_changed(e);
	return true;
}

void endpoint_version_changed(struct endpoint *e)
{
	if (e->step == STEP_VERSION && strcmp(e->announced, wire_runner_version()) != 0)
		endpoint_enter(e, STEP_SESSION);
}

void endpoint_announce_version(struct endpoint *e)
{
	(void)snprintf(e->announced, sizeof(e->announced), "%s", wire_runner_version());
}

void endpoint_version_refused(struct endpoint *e, struct err *err)
{
	if (wait_for_version(e, err))
		return;
	bool own_code = wire_is_true(getenv("ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE"));
	err_hint(err, ERR_PROTOCOL, "a newer release of davit is needed");
	endpoint_end_with(e, own_code ? LISTEN_VERSION : LISTEN_TERMINATED, err);
}

static void session_made(struct endpoint *e)
{
	if (e->told_error)
		listener_say("Runner reconnected.");
	listener_connected(e->listener);
	e->told_error = false;
	e->refusals = e->conflicts = e->failures = 0;
	e->session_lost = false;
	e->unreachable_since_ms = 0;
	e->heard_ms = clock_mono_ms();
	/* Before it is said: who is killed right behind it finds the session again. */
	write_session(e, e->session);
	if (!e->listening) {
		e->listening = true;
		listener_say("Listening for Jobs%s%s", e->listener->endpoint_count > 1 ? " of " : "",
		             e->listener->endpoint_count > 1 ? endpoint_place(e) : "");
	}
	endpoint_write_state(e, "listening", NULL);
	listener_trim_soon(e->listener);
	if (e->listener->options.probe > 0) {
		e->listener->probed++;
		e->closing = true;
	}
	endpoint_enter(e, STEP_POLL);
}

static void lost_deleted(void *context, int result, struct http_response *response, const struct err *failure)
{
	struct endpoint *e = context;
	struct err err = ERR_INIT;
	int r = call_result(result, response, failure, "delete the session whose id is not known", &err);
	if (r >= 0 || r == ERR_NOT_FOUND) {
		e->session_lost = false;
		endpoint_enter(e, STEP_SESSION);
		return;
	}
	endpoint_tell_failure(e, &err);
	endpoint_wait_as_asked(e, STEP_SESSION, registration_pace(RETRY_MS), response);
}

/* The session that is in the way may be our own: the service made it, but its answer was lost. False: it has to run out, or is not ours. */
static bool delete_lost_session(struct endpoint *e)
{
	struct service_request q = {.url = NULL};
	if (!e->session_lost || !e->queue->type->closes_any || e->queue->type->close(e->queue, NULL, &q, NULL) < 0) {
		service_request_done(&q);
		return false;
	}
	call_service(e->listener, &e->call, &q, e->token, lost_deleted, e);
	return true;
}

static void session_refused(struct endpoint *e, enum queue_error why, const struct http_response *response,
                            struct err *err)
{
	if (why == QUEUE_RUNNER_GONE && endpoint_is_made_anew(e, STEP_SESSION))
		return;
	if (why == QUEUE_RUNNER_GONE && endpoint_can_renew(e)) {
		endpoint_enter(e, STEP_RENEW);
		return;
	}
	switch (why) {
	case QUEUE_UNAUTHORIZED:
		endpoint_refused(e, STEP_SESSION, err);
		return;
	case QUEUE_VERSION_TOO_OLD:
		endpoint_version_refused(e, err);
		return;
	case QUEUE_RUNNER_GONE:
	case QUEUE_POOL_GONE:
	case QUEUE_FORBIDDEN:
		err_hint(err, ERR_AUTH,
		         "the service does not allow this runner to listen; look at it in the settings of %s",
		         endpoint_place(e));
		endpoint_end_with(e, LISTEN_TERMINATED, err);
		return;
	case QUEUE_DEPROVISIONED:
		endpoint_close(e);
		return;
	case QUEUE_CONFLICT:
		if (++e->conflicts >= (e->session_lost ? CONFLICTS_LOST_MAX : CONFLICTS_MAX)) {
			err_hint(err, ERR_EXISTS,
			         "another process listens under the name '%s'; stop it, or configure with another "
			         "--name",
			         e->reg.name);
			endpoint_end_with(e, LISTEN_CONFLICT, err);
			return;
		}
		if (delete_lost_session(e))
			return;
		break;
	case QUEUE_UNKNOWN:
		if (e->unreachable_since_ms == 0)
			e->unreachable_since_ms = clock_mono_ms();
		else if (clock_mono_ms() - e->unreachable_since_ms > registration_pace(LOST_AFTER_MS)) {
			e->unreachable_since_ms = clock_mono_ms();
			log_warning("listen",
			            "%s: the service does not know this runner; if that stays so, remove and configure "
			            "it again",
			            endpoint_place(e));
		}
		break;
	default:
		break;
	}
	endpoint_tell_failure(e, err);
	endpoint_wait_as_asked(e, STEP_SESSION, registration_pace(RETRY_MS), response);
}

/* Before any conflict: a session that was in the way earlier is another process's. */
static void note_lost_session(struct endpoint *e)
{
	e->session_lost = e->session_lost || e->conflicts == 0;
}

static int read_session(struct endpoint *e, const struct http_response *response, struct err *err)
{
	_cleanup_(oauth_key_freep) struct oauth_key *key = NULL;
	int r = e->queue->type->needs_key ? endpoint_load_key(e, &key, err) : 0;
	free(TAKE(e->session));
	return r < 0 ? r : e->queue->type->opened(e->queue, response, key, &e->session, err);
}

static void session_done(void *context, int result, struct http_response *response, const struct err *failure)
{
	struct endpoint *e = context;
	struct err err = ERR_INIT;
	int r = call_result(result, response, failure, "create a session", &err);
	if (r < 0) {
		if (response->resent || (result < 0 ? http_was_sent(&err) : response->status >= 500))
			note_lost_session(e);
		session_refused(e, result >= 0 ? e->queue->type->session_error(response) : QUEUE_FAILED, response,
		                &err);
		return;
	}
	if (read_session(e, response, &err) >= 0) {
		session_made(e);
		return;
	}
	note_lost_session(e);
	endpoint_tell_failure(e, &err);
	endpoint_wait_then(e, STEP_SESSION, registration_pace(RETRY_MS));
}

static void queue_prepared(void *context, int result, struct http_response *response, const struct err *failure)
{
	struct endpoint *e = context;
	struct err err = ERR_INIT;
	int r = call_result(result, response, failure, "ask what the service has", &err);
	if (r >= 0)
		r = e->queue->type->prepared(e->queue, response, &err);
	if (r >= 0) {
		endpoint_enter(e, STEP_SESSION);
	} else if (result >= 0 && e->queue->type->session_error(response) == QUEUE_UNAUTHORIZED) {
		endpoint_refused(e, STEP_SESSION, &err);
	} else {
		endpoint_tell_failure(e, &err);
		endpoint_wait_as_asked(e, STEP_SESSION, registration_pace(RETRY_MS), response);
	}
}

static void left_deleted(void *context, int result, struct http_response *response, const struct err *failure)
{
	struct endpoint *e = context;
	(void)result;
	(void)failure;
	/* The result does not matter: the service tells whether a session is in the way. */
	if (http_retry_after_ms(response) > 0)
		endpoint_wait_as_asked(e, STEP_SESSION, 0, response);
	else
		endpoint_enter(e, STEP_SESSION);
}

/* A request of the queue that cannot even be made is tried again: another registration may serve jobs meanwhile. */
static void cannot_ask(struct endpoint *e, struct service_request *q, const struct err *err)
{
	service_request_done(q);
	endpoint_tell_failure(e, err);
	endpoint_wait_then(e, STEP_SESSION, registration_pace(RETRY_MS));
}

/* An agent that was killed left its session open; this one holds the lock of the registration, so nobody else uses it.
 */
static void delete_left_session(struct endpoint *e)
{
	_cleanup_free_ char *left = TAKE(e->left_session);
	struct service_request q = {.url = NULL};
	struct err err = ERR_INIT;
	if (e->queue->type->close(e->queue, left, &q, &err) < 0)
		cannot_ask(e, &q, &err);
	else
		call_service(e->listener, &e->call, &q, e->token, left_deleted, e);
}

static void create_session(struct endpoint *e)
{
	struct service_request q = {.url = NULL};
	struct err err = ERR_INIT;
	if (e->queue->type->prepare(e->queue, &q)) {
		call_service(e->listener, &e->call, &q, e->token, queue_prepared, e);
		return;
	}
	if (e->left_session != NULL) {
		delete_left_session(e);
		return;
	}
	endpoint_announce_version(e);
	if (e->queue->type->open(e->queue, &q, &err) < 0)
		cannot_ask(e, &q, &err);
	else
		call_service(e->listener, &e->call, &q, e->token, session_done, e);
}

static void delete_done(void *context, int result, struct http_response *response, const struct err *failure)
{
	struct endpoint *e = context;
	struct err err = ERR_INIT;
	/* The service may have removed runner and session first; the end is the same. */
	if (call_result(result, response, failure, "delete the session", &err) < 0)
		log_debug("listen", "%s: the session was not deleted (status %d)", endpoint_place(e), response->status);
	else
		write_session(e, NULL);
	endpoint_end(e, LISTEN_DONE);
}

static void delete_session(struct endpoint *e)
{
	if (e->session == NULL || e->token == NULL || e->keep_session) {
		endpoint_end(e, LISTEN_DONE);
		return;
	}
	struct service_request q = {.url = NULL};
	struct err err = ERR_INIT;
	if (e->queue->type->close(e->queue, e->session, &q, &err) >= 0) {
		call_service(e->listener, &e->call, &q, e->token, delete_done, e);
		return;
	}
	service_request_done(&q);
	endpoint_end(e, LISTEN_DONE);
}

/* ---- The machine. */

void endpoint_enter(struct endpoint *e, enum endpoint_step step)
{
	if (e->step == STEP_ENDED)
		return;
	e->due_ms = 0;
	e->step = step;
	if (e->closing && e->jobs == 0 && step != STEP_DELETE) {
		call_cancel(&e->call);
		e->step = STEP_DELETE;
		delete_session(e);
		return;
	}
	bool stale = e->token == NULL || (e->token_refresh_ms != 0 && clock_mono_ms() >= e->token_refresh_ms);
	switch (step) {
	case STEP_TOKEN:
		endpoint_get_token(e, e->after);
		break;
	case STEP_SESSION:
		if (stale)
			endpoint_get_token(e, STEP_SESSION);
		else
			create_session(e);
		break;
	case STEP_POLL:
		if (e->session == NULL)
			endpoint_enter(e, STEP_SESSION);
		else if (stale)
			endpoint_get_token(e, STEP_POLL);
		else if (e->jobs == 0 && areas_are_full(e))
			endpoint_wait_then(e, STEP_POLL, registration_pace(RETRY_MS));
		else
			endpoint_poll(e);
		break;
	case STEP_RENEW:
		endpoint_renew(e);
		break;
	case STEP_DELETE:
		delete_session(e);
		break;
	default:
		break;
	}
}

void endpoint_start(struct endpoint *e)
{
	endpoint_enter(e, STEP_SESSION);
}

void endpoint_timer(struct endpoint *e, int64_t now_ms)
{
	if (e->due_ms != 0 && now_ms >= e->due_ms)
		endpoint_enter(e, e->step);
}

void endpoint_close(struct endpoint *e)
{
	if (e->closing || e->step == STEP_ENDED)
		return;
	e->closing = true;
	if (e->jobs == 0)
		endpoint_enter(e, STEP_DELETE);
}
