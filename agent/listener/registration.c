/* One registration: token → session → poll → …, with the outcomes and pauses of protocol 2.4, 3.3, 4.5, 4.6. Fatal
 * outcomes end this registration only; the process ends when all have. */
#include "agent/listener/listener_priv.h"

#include "base/core/clock.h"
#include "base/core/log.h"
#include "base/core/rand.h"

enum {
	RETRY_MS = 30000, /* session and token */
	CONFLICTS_MAX = 8,
	CLOCK_FAILURES_MAX = 60,
	POLL_TIMEOUT_MS = 100000,
	POLL_FLOOR_MS = 1000, /* between polls that are answered at once with nothing */
	DELETE_TIMEOUT_MS = 30000,
	LOST_AFTER_MS = 5 * 60 * 1000, /* a session that is "not found" for so long is worth a word */
};

static void enter(struct endpoint *e, enum endpoint_step step);

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
	e->broker = xstrdup(e->reg.broker_url);
	if (id != NULL && l->store != NULL)
		e->left_session = records_read_session(l->store, id);
	e->exit_code = LISTEN_DONE;
	return e;
}

static void drop_token(struct endpoint *e)
{
	if (e->token != NULL)
		explicit_bzero(e->token, strlen(e->token));
	free(TAKE(e->token));
	e->token_refresh_ms = 0;
}

void endpoint_free(struct endpoint *e)
{
	call_cancel(&e->call);
	drop_token(e);
	free(e->id);
	free(e->session);
	free(e->left_session);
	free(e->broker);
	str_done(&e->key);
	registration_done(&e->reg);
	json_decref(e->isolation);
	free(e);
}

bool endpoint_is_busy(const struct endpoint *e)
{
	return e->jobs > 0;
}

static const char *place(const struct endpoint *e)
{
	return e->reg.url != NULL ? e->reg.url : e->reg.name;
}

static void write_state(const struct endpoint *e, const char *state, const char *text)
{
	if (e->id != NULL && e->listener->store != NULL)
		records_write_state(e->listener->store, e->id, state, text);
}

static void write_session(const struct endpoint *e, const char *session)
{
	if (e->id != NULL && e->listener->store != NULL)
		records_write_session(e->listener->store, e->id, session);
}

static void wait_then(struct endpoint *e, enum endpoint_step step, int64_t ms)
{
	e->step = step;
	e->due_ms = clock_mono_ms() + MAX(ms, 1);
}

/* The first failure of a streak is told, the others are not. */
static void tell_failure(struct endpoint *e, const struct err *err)
{
	char line[ERR_FRAME_SIZE * 2];
	err_line(err, line, sizeof(line));
	if (e->told_error) {
		log_debug("listen", "%s: %s", place(e), line);
		return;
	}
	e->told_error = true;
	log_warning("listen", "%s: %s; trying again", place(e), line);
	write_state(e, "retrying", line);
}

void endpoint_end(struct endpoint *e, int exit_code)
{
	if (e->step == STEP_ENDED)
		return;
	call_cancel(&e->call);
	drop_token(e);
	e->due_ms = 0;
	e->step = STEP_ENDED;
	if (e->exit_code == LISTEN_DONE)
		e->exit_code = exit_code;
	write_state(e, "stopped", NULL);
	if (e->forget && e->id != NULL && e->listener->store != NULL) {
		struct err err = ERR_INIT;
		if (records_delete(e->listener->store, e->id, &err) < 0)
			log_err(&err);
		else
			listener_say("√ Removed the registration for %s", place(e));
	}
}

/* Something that no retry mends: told with its way out. */
static void end_with(struct endpoint *e, int exit_code, const struct err *err)
{
	char line[ERR_FRAME_SIZE * 2];
	log_error("listen", "%s: %s%s%s", place(e), err_line(err, line, sizeof(line)), err->hint[0] ? "; " : "",
	          err->hint);
	endpoint_end(e, exit_code);
	write_state(e, "failed", line);
}

/* ---- Token. */

static int load_key(const struct endpoint *e, struct oauth_key **ret, struct err *err)
{
	if (e->key.len > 0)
		return oauth_key_read_pem(str_peek(&e->key), e->key.len, ret, err);
	_cleanup_(str_done) struct str pem = STR_SECRET_INIT(64 << 10);
	int r = records_load_key(e->listener->store, e->id, &pem, err);
	if (r >= 0)
		r = oauth_key_read_pem(str_peek(&pem), pem.len, ret, err);
	return r < 0 ? err_hint(err, r, "davit agent configure --replace makes the registration anew, with another key")
	             : r;
}

int endpoint_token_request(struct endpoint *e, struct call *c, call_done_fn done, void *context, struct err *err)
{
	_cleanup_(oauth_key_freep) struct oauth_key *key = NULL;
	_cleanup_(str_done) struct str assertion = STR_SECRET_INIT(16 << 10), form = STR_SECRET_INIT(64 << 10);
	int r = load_key(e, &key, err);
	if (r >= 0)
		r = oauth_assertion(key, e->reg.client_id, e->reg.authorization_url, e->reg.pss, clock_wall_ms(),
		                    &assertion, err);
	if (r < 0)
		return r;
	oauth_form(str_peek(&assertion), &form);
	const char *url = e->reg.token_url != NULL ? e->reg.token_url : e->reg.authorization_url;
	struct call_request q = {.url = xstrdup(url), .form = str_peek(&form)};
	call_start(e->listener, c, &q, done, context);
	return 0;
}

enum oauth_result endpoint_token_read(struct endpoint *e, int result, struct http_response *response,
                                      const struct err *failure, struct err *err)
{
	if (result < 0) {
		call_result(result, response, failure, "get an access token", err);
		return OAUTH_UNAVAILABLE;
	}
	char *token = NULL;
	int64_t life_ms = 0;
	enum oauth_result how = oauth_read_answer(response, &token, &life_ms, err);
	if (how != OAUTH_OK)
		return how;
	drop_token(e);
	e->token = token;
	e->token_refresh_ms = life_ms > 0 ? clock_mono_ms() + life_ms / 5 * 4 : 0;
	return OAUTH_OK;
}

static void token_done(void *context, int result, struct http_response *response, const struct err *failure)
{
	struct endpoint *e = context;
	struct err err = ERR_INIT;
	switch (endpoint_token_read(e, result, response, failure, &err)) {
	case OAUTH_OK:
		e->clock_failures = 0;
		enter(e, e->after);
		return;
	case OAUTH_GONE:
		end_with(e, LISTEN_TERMINATED, &err);
		return;
	case OAUTH_CLOCK:
		if (++e->clock_failures >= CLOCK_FAILURES_MAX) {
			end_with(e, LISTEN_TERMINATED, &err);
			return;
		}
		break;
	default:
		break;
	}
	tell_failure(e, &err);
	enum endpoint_step after = e->after;
	wait_then(e, STEP_TOKEN, registration_pace(RETRY_MS));
	e->after = after;
}

static void get_token(struct endpoint *e, enum endpoint_step after)
{
	struct err err = ERR_INIT;
	e->step = STEP_TOKEN;
	e->after = after;
	if (endpoint_token_request(e, &e->call, token_done, e, &err) < 0)
		end_with(e, LISTEN_TERMINATED, &err);
}

/* A 401: one new token at once, then a pause before each further one. */
static void refused(struct endpoint *e, enum endpoint_step step, const struct err *err)
{
	drop_token(e);
	if (++e->refusals == 1) {
		get_token(e, step);
		return;
	}
	tell_failure(e, err);
	wait_then(e, STEP_TOKEN, registration_pace(RETRY_MS));
	e->after = step;
}

/* ---- Session. */

static void session_made(struct endpoint *e)
{
	if (e->told_error)
		listener_say("Runner reconnected.");
	listener_connected(e->listener);
	e->told_error = false;
	e->refusals = e->conflicts = e->failures = 0;
	e->unreachable_since_ms = 0;
	if (!e->listening) {
		e->listening = true;
		listener_say("Listening for Jobs%s%s", e->listener->endpoint_count > 1 ? " of " : "",
		             e->listener->endpoint_count > 1 ? place(e) : "");
	}
	write_state(e, "listening", NULL);
	write_session(e, e->session);
	listener_trim_soon(e->listener);
	enter(e, STEP_POLL);
}

static void session_refused(struct endpoint *e, const struct http_response *response, struct err *err)
{
	switch (response->status) {
	case 401:
		refused(e, STEP_SESSION, err);
		return;
	case 403:
		err_hint(err, ERR_AUTH,
		         "the service does not allow this runner to listen; look at it in the settings of %s",
		         place(e));
		end_with(e, LISTEN_TERMINATED, err);
		return;
	case 409:
		if (++e->conflicts >= CONFLICTS_MAX) {
			err_hint(err, ERR_EXISTS,
			         "another process listens under the name '%s'; stop it, or configure with another "
			         "--name",
			         e->reg.name);
			end_with(e, LISTEN_CONFLICT, err);
			return;
		}
		break;
	case 404:
		if (e->unreachable_since_ms == 0)
			e->unreachable_since_ms = clock_mono_ms();
		else if (clock_mono_ms() - e->unreachable_since_ms > registration_pace(LOST_AFTER_MS)) {
			e->unreachable_since_ms = clock_mono_ms();
			log_warning("listen",
			            "%s: the service does not know this runner; if that stays so, remove and configure "
			            "it again",
			            place(e));
		}
		break;
	default:
		break;
	}
	tell_failure(e, err);
	wait_then(e, STEP_SESSION, registration_pace(RETRY_MS));
}

static void session_done(void *context, int result, struct http_response *response, const struct err *failure)
{
	struct endpoint *e = context;
	struct err err = ERR_INIT;
	int r = call_result(result, response, failure, "create a session", &err);
	if (r >= 0) {
		free(TAKE(e->session));
		r = broker_read_session(response, &e->session, &err);
		if (r >= 0) {
			session_made(e);
			return;
		}
		tell_failure(e, &err);
		wait_then(e, STEP_SESSION, registration_pace(RETRY_MS));
		return;
	}
	if (result >= 0 && wire_broker_error(response) == BROKER_ERROR_VERSION_TOO_OLD) {
		bool own_code = wire_is_true(getenv("ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE"));
		err_hint(&err, ERR_PROTOCOL, "a newer release of davit is needed");
		end_with(e, own_code ? LISTEN_VERSION : LISTEN_TERMINATED, &err);
		return;
	}
	session_refused(e, response, &err);
}

static void left_deleted(void *context, int result, struct http_response *response, const struct err *failure)
{
	struct endpoint *e = context;
	(void)result;
	(void)response;
	(void)failure;
	/* Whatever came of it: the service tells whether a session is in the way. */
	enter(e, STEP_SESSION);
}

/* An agent that was killed left its session open; this one holds the lock of the registration, so nobody else uses it.
 */
static void delete_left_session(struct endpoint *e)
{
	_cleanup_free_ char *left = TAKE(e->left_session);
	struct call_request q = {.method = "DELETE",
	                         .url = broker_session_url(e->reg.broker_url, left),
	                         .token = e->token,
	                         .timeout_ms = DELETE_TIMEOUT_MS};
	call_start(e->listener, &e->call, &q, left_deleted, e);
}

static void create_session(struct endpoint *e)
{
	if (e->left_session != NULL) {
		delete_left_session(e);
		return;
	}
	_cleanup_json_ json_t *body = broker_session_body(&e->reg);
	struct call_request q = {.url = broker_session_url(e->reg.broker_url, NULL), .token = e->token, .json = body};
	call_start(e->listener, &e->call, &q, session_done, e);
}

static void delete_done(void *context, int result, struct http_response *response, const struct err *failure)
{
	struct endpoint *e = context;
	struct err err = ERR_INIT;
	/* The service may have removed runner and session first; the end is the same. */
	if (call_result(result, response, failure, "delete the session", &err) < 0)
		log_debug("listen", "%s: the session was not deleted (status %d)", place(e), response->status);
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
	struct call_request q = {.method = "DELETE",
	                         .url = broker_session_url(e->reg.broker_url, e->session),
	                         .token = e->token,
	                         .timeout_ms = DELETE_TIMEOUT_MS};
	call_start(e->listener, &e->call, &q, delete_done, e);
}

/* ---- Polling. */

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

/* True when a job was taken up, and polling waits until it is acquired or dropped. */
static bool take_job(struct endpoint *e, struct broker_message *m)
{
	struct listener *l = e->listener;
	if (knows_request(e, m->request_id)) {
		log_debug("listen", "%s: the job was announced before", place(e));
		return false;
	}
	if (e->closing || l->stopping || e->jobs > 0 || (l->options.once && l->once_taken)) {
		log_debug("listen", "%s: not now; the service gives the job to another runner", place(e));
		return false;
	}
	if (m->run_service_url == NULL) {
		log_warning("listen",
		            "%s: a job without a run service needs the older protocol; left to another runner",
		            place(e));
		return false;
	}
	struct lease *j = lease_new(e, m);
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
	log_warning("listen", "%s: the service asks this runner to stop%s%s", place(e), m->detail ? ": " : "",
	            m->detail ? m->detail : "");
	e->keep_session = true;
	endpoint_close(e);
}

static void migrate(struct endpoint *e, const struct broker_message *m)
{
	if (!str_starts(m->broker_base_url, "https://") && str_starts(e->reg.broker_url, "https://")) {
		log_warning("listen", "%s: refused to move to a queue without TLS", place(e));
		return;
	}
	log_info("listen", "%s: the queue moves to %.200s", place(e), m->broker_base_url);
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
		drop_token(e);
		break;
	case BROKER_SHUTDOWN:
		shutdown_by_service(e, m);
		break;
	case BROKER_OLD_JOB:
		log_warning("listen", "%s: a job of the older protocol; left to another runner", place(e));
		break;
	default:
		log_debug("listen", "%s: message of type '%.60s' passed over", place(e), m->type_name);
		break;
	}
	return false;
}

/* An answer without a message: again, but not faster than once a second. */
static void poll_again(struct endpoint *e, bool had_message)
{
	int64_t next = e->poll_started_ms + registration_pace(POLL_FLOOR_MS), now = clock_mono_ms();
	if (had_message || now >= next)
		enter(e, STEP_POLL);
	else
		wait_then(e, STEP_POLL, next - now);
}

static void poll_succeeded(struct endpoint *e, struct http_response *response)
{
	struct broker_message m = {0};
	struct err err = ERR_INIT;
	if (e->told_error) {
		e->told_error = false;
		listener_say("Runner reconnected.");
		write_state(e, "listening", NULL);
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
		log_warning("listen", "%s: %s", place(e), err_line(&err, line, sizeof(line)));
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
		log_warning("listen", "%s: the runner '%s' was deleted on the server", place(e), e->reg.name);
		e->forget = e->keep_session = true;
		endpoint_close(e);
		return true;
	case BROKER_ERROR_VERSION_TOO_OLD:
		err_hint(err, ERR_PROTOCOL, "a newer release of davit is needed");
		end_with(e,
		         wire_is_true(getenv("ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE")) ? LISTEN_VERSION
		                                                                                    : LISTEN_TERMINATED,
		         err);
		return true;
	case BROKER_ERROR_DEPROVISIONED:
		endpoint_close(e);
		return true;
	case BROKER_ERROR_SESSION_INVALID:
		log_info("listen", "%s: the session has expired; making a new one", place(e));
		free(TAKE(e->session));
		/* A service that ends every session at once must not be asked without end. */
		if (++e->failures > 1)
			wait_then(e, STEP_SESSION, registration_pace(RETRY_MS));
		else
			enter(e, STEP_SESSION);
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
	if (r >= 0) {
		poll_succeeded(e, response);
		return;
	}
	if (result >= 0 && response->status == 401) {
		refused(e, STEP_POLL, &err);
		return;
	}
	if (result >= 0 && poll_ended(e, response, &err))
		return;
	/* A poll that the service held until our own limit is an empty one. */
	if (r == ERR_TIMEOUT && clock_mono_ms() - e->poll_started_ms >= POLL_TIMEOUT_MS - 1000) {
		enter(e, STEP_POLL);
		return;
	}
	e->failures++;
	tell_failure(e, &err);
	wait_then(e, STEP_POLL, e->failures <= 5 ? listener_pause(15000, 30000) : listener_pause(30000, 60000));
}

static void poll_now(struct endpoint *e)
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

/* ---- The machine. */

static void enter(struct endpoint *e, enum endpoint_step step)
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
		get_token(e, e->after);
		break;
	case STEP_SESSION:
		if (stale)
			get_token(e, STEP_SESSION);
		else
			create_session(e);
		break;
	case STEP_POLL:
		if (e->session == NULL)
			enter(e, STEP_SESSION);
		else if (stale)
			get_token(e, STEP_POLL);
		else
			poll_now(e);
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
	enter(e, STEP_SESSION);
}

void endpoint_timer(struct endpoint *e, int64_t now_ms)
{
	if (e->due_ms != 0 && now_ms >= e->due_ms)
		enter(e, e->step);
}

void endpoint_close(struct endpoint *e)
{
	if (e->closing || e->step == STEP_ENDED)
		return;
	e->closing = true;
	if (e->jobs == 0)
		enter(e, STEP_DELETE);
}

/* The outstanding poll is given up and made again with the new status [4.1]. */
static void poll_anew(struct endpoint *e)
{
	if (e->step == STEP_HOLD) {
		enter(e, STEP_POLL);
	} else if (e->step == STEP_POLL && e->due_ms == 0 && e->polled_busy != endpoint_is_busy(e)) {
		call_cancel(&e->call);
		enter(e, STEP_POLL);
	}
}

void endpoint_job_accepted(struct endpoint *e)
{
	e->skips = 0;
	poll_anew(e);
}

static void job_left(struct endpoint *e)
{
	e->jobs--;
	if (e->closing && e->jobs == 0)
		enter(e, STEP_DELETE);
}

void endpoint_job_dropped(struct endpoint *e, int64_t pause_ms)
{
	e->listener->once_taken = false;
	job_left(e);
	if (e->step != STEP_HOLD)
		poll_anew(e);
	else if (pause_ms > 0)
		wait_then(e, STEP_POLL, pause_ms);
	else
		enter(e, STEP_POLL);
}

void endpoint_job_over(struct endpoint *e)
{
	if (e->listener->options.once || e->reg.ephemeral) {
		e->closing = true;
		e->forget = e->forget || e->reg.ephemeral;
	}
	job_left(e);
	if (e->step != STEP_ENDED && e->step != STEP_DELETE)
		poll_anew(e);
}
