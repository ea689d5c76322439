/* The runner's side of the services: OAuth token, session, message poll, acknowledgement. */
#include "agent/forge/forge_priv.h"
#include "base/core/clock.h"
#include "base/secret/base64.h"
#include "base/core/rand.h"

#include <errno.h>
#include <openssl/rsa.h>
#include <poll.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RUNNER_TOKEN_MS = 3000 * 1000, SESSION_SILENT_MS = 5 * 60 * 1000, REDELIVER_MS = 10 * 1000 };

/* ---- OAuth ---- */

static void oauth_error(struct req *r, const char *error, const char *description)
{
	req_reply_json(r, 400, json_pack("{s:s, s:s}", "error", error, "error_description", description));
}

/* A value of the form body, decoded; NULL: absent. free(). */
static char *form_value(const char *form, const char *name)
{
	size_t len = strlen(name);
	for (const char *p = form; p && *p; p = strchr(p, '&') ? strchr(p, '&') + 1 : NULL) {
		if (strncmp(p, name, len) != 0 || p[len] != '=')
			continue;
		char *value = xstrndup(p + len + 1, strcspn(p + len + 1, "&"));
		for (char *c = value; *c; c++)
			if (*c == '+')
				*c = ' ';
		MHD_http_unescape(value);
		return value;
	}
	return NULL;
}

/* Returns the fault of the claims, or NULL. */
static const char *claims_fault(struct req *r, const json_t *claims)
{
	static const struct member members[] = {{"sub", 'g', true}, {"iss", 'g', true}, {"jti", 'g', true},
	                                        {"aud", 'S', true}, {"nbf", 'i', true}, {"exp", 'i', true},
	                                        {"iat", 'i', false}};
	if (!check_members(r, claims, "the assertion", members, ARRAY_SIZE(members)))
		return "the claims are not those of a client assertion";
	_cleanup_free_ char *audience = xasprintf("%s/_services/vstoken/_apis/oauth2/token/1", r->f->base);
	int64_t now = clock_wall_ms() / 1000, nbf = json_get_int(claims, "nbf", 0),
		until = json_get_int(claims, "exp", 0);
	const char *jti = json_get_string(claims, "jti");
	if (strcmp(json_get_string(claims, "sub"), json_get_string(claims, "iss")) != 0)
		return "sub and iss differ";
	if (strcmp(json_get_string(claims, "aud"), audience) != 0)
		return "aud is not the authorization URL";
	if (until - nbf > 300 || until <= nbf)
		return "exp must be at most 300 s after nbf";
	if (nbf > now + 300 || until < now - 300)
		return "the token is not valid at this time. Current server time is";
	if (json_object_get(r->f->used_jti, jti))
		return "jti was used before";
	json_object_set_new(r->f->used_jti, jti, json_true());
	return NULL;
}

static struct forge_runner *runner_by_client(struct forge *f, const char *client_id)
{
	for (size_t i = 0; client_id && i < f->runner_count; i++)
		if (!f->runners[i]->deleted && strcmp(f->runners[i]->client_id, client_id) == 0)
			return f->runners[i];
	return NULL;
}

/* The runner that signed the assertion; NULL: answered. */
static struct forge_runner *verify_assertion(struct req *r, const char *jwt)
{
	const char *dot1 = strchr(jwt, '.');
	const char *dot2 = dot1 ? strchr(dot1 + 1, '.') : NULL;
	_cleanup_json_ json_t *header = dot2 ? jwt_part(jwt, (size_t)(dot1 - jwt)) : NULL;
	_cleanup_json_ json_t *claims = dot2 ? jwt_part(dot1 + 1, (size_t)(dot2 - dot1 - 1)) : NULL;
	_cleanup_(str_done) struct str signature = STR_INIT(4096);
	const char *algorithm = json_get_string(header, "alg"), *type = json_get_string(header, "typ");
	if (!claims || base64_decode(dot2 + 1, strlen(dot2 + 1), &signature, NULL) < 0) {
		req_complain(r, "client_assertion is not a JWT");
		oauth_error(r, "invalid_request", "The client assertion is not a JWT.");
		return NULL;
	}
	if (!algorithm || !type || strcmp(type, "JWT") != 0 ||
	    (strcmp(algorithm, "PS256") != 0 && strcmp(algorithm, "RS256") != 0)) {
		req_complain(r, "the assertion's header must be typ JWT, alg PS256 or RS256");
		oauth_error(r, "invalid_request", "The header of the client assertion is not supported.");
		return NULL;
	}
	struct forge_runner *runner = runner_by_client(r->f, json_get_string(claims, "sub"));
	if (!runner) { /* it was removed: not the client's fault */
		oauth_error(r, "invalid_client", "The client is not registered.");
		return NULL;
	}
	if (!jwt_fits(runner->key, algorithm, jwt, (size_t)(dot2 - jwt), (unsigned char *)str_peek(&signature),
	              signature.len)) {
		req_complain(r, "the assertion's signature does not fit the registered key");
		oauth_error(r, "invalid_client", "The signature of the client assertion is invalid.");
		return NULL;
	}
	const char *fault = claims_fault(r, claims);
	if (fault) {
		req_complain(r, "the assertion: %s", fault);
		char time[CLOCK_TEXT_SIZE];
		_cleanup_free_ char *text = xasprintf("%s %s", fault, clock_rfc3339(clock_wall_ms(), time));
		oauth_error(r, "invalid_client", text);
		return NULL;
	}
	return runner;
}

static void oauth_token(struct req *r)
{
	const char *type = req_header(r, "Content-Type");
	if (!type || strncasecmp(type, "application/x-www-form-urlencoded", 33) != 0)
		req_complain(r, "Content-Type must be application/x-www-form-urlencoded");
	const char *accept = req_header(r, "Accept");
	if (!accept || !strstr(accept, "application/json"))
		req_complain(r, "Accept must be application/json");
	if (req_header(r, "Authorization"))
		req_complain(r, "a token request has no Authorization");
	_cleanup_free_ char *grant = form_value(str_peek(&r->body), "grant_type");
	_cleanup_free_ char *assertion_type = form_value(str_peek(&r->body), "client_assertion_type");
	_cleanup_free_ char *assertion = form_value(str_peek(&r->body), "client_assertion");
	if (!grant || strcmp(grant, "client_credentials") != 0 || !assertion_type || !assertion ||
	    strcmp(assertion_type, "urn:ietf:params:oauth:client-assertion-type:jwt-bearer") != 0) {
		req_complain(
			r, "the form lacks grant_type, client_assertion_type or client_assertion, or has other values");
		oauth_error(r, "invalid_request", "The request is missing a parameter or has an unsupported one.");
		return;
	}
	struct forge_runner *runner = verify_assertion(r, assertion);
	if (!runner)
		return;
	_cleanup_json_ json_t *claims =
		json_pack("{s:s, s:s, s:s, s:I, s:I, s:b, s:s}", "iss", r->f->base, "sub", runner->client_id, "aud",
	                  "broker", "exp", (json_int_t)(clock_wall_ms() + RUNNER_TOKEN_MS) / 1000, "runner_id",
	                  (json_int_t)runner->id, "is_ephemeral", runner->ephemeral, "runner_group_id", "1");
	char nonce[17];
	rand_hex(nonce, 16);
	json_object_set_new(claims, "jti", json_string(nonce));
	struct forge_token *t = token_new(r->f, TOKEN_RUNNER, RUNNER_TOKEN_MS, claims);
	t->runner = runner;
	req_reply_json(r, 200,
	               json_pack("{s:s, s:s, s:i}", "access_token", t->text, "token_type", "JWT", "expires_in",
	                         RUNNER_TOKEN_MS / 1000));
}

/* ---- session ---- */

static void broker_error(struct req *r, int status, const char *kind, const char *text)
{
	req_reply_json(r, status,
	               json_pack("{s:s, s:s, s:i, s:s}", "source", "actions-broker-listener", "errorKind", kind,
	                         "statusCode", status, "errorMessage", text));
}

static struct forge_runner *need_runner(struct req *r)
{
	struct forge_token *t = token_need(r, TOKEN_RUNNER);
	if (!t)
		return NULL;
	if (t->runner->deleted) {
		r->status = 0;
		broker_error(r, 404, "RunnerNotFound", "The runner registration has been deleted from the server.");
		return NULL;
	}
	return t->runner;
}

static bool check_session_body(struct req *r, const json_t *body, const struct forge_runner *runner)
{
	static const struct member members[] = {{"sessionId", 'g', true},
	                                        {"ownerName", 'S', true},
	                                        {"agent", 'o', true},
	                                        {"useFipsEncryption", 'b', false},
	                                        {"encryptionKey", 'n', false}};
	static const struct member agent_members[] = {{"id", 'i', true},
	                                              {"name", 'S', true},
	                                              {"version", 'S', true},
	                                              {"osDescription", 'S', true},
	                                              {"ephemeral", 'n', false},
	                                              {"status", 'n', false},
	                                              {"provisioningState", 'n', false}};
	bool good = check_members(r, body, "session", members, ARRAY_SIZE(members));
	json_t *agent = json_object_get(body, "agent");
	good = check_members(r, agent, "agent", agent_members, ARRAY_SIZE(agent_members)) && good;
	if (good && json_get_int(agent, "id", 0) != runner->id) {
		req_complain(r, "agent.id is %lld, the token is runner %lld's", (long long)json_get_int(agent, "id", 0),
		             (long long)runner->id);
		good = false;
	}
	if (good && strcmp(json_get_string(agent, "name"), runner->name) != 0)
		req_complain(r, "agent.name is not '%s'", runner->name);
	return good;
}

static void create_session(struct req *r)
{
	check_service_headers(r);
	struct forge_runner *runner = need_runner(r);
	if (!runner)
		return;
	_cleanup_json_ json_t *body = req_json(r);
	if (!body)
		return;
	if (!check_session_body(r, body, runner)) {
		broker_error(r, 400, "BadRequest", "The session request is not valid.");
		return;
	}
	bool silent = !runner->polling && clock_mono_ms() - runner->last_poll_ms > SESSION_SILENT_MS;
	if (runner->session_id[0] && !silent) {
		broker_error(r, 409, "SessionConflict", "A session for this runner already exists.");
		return;
	}
	rand_uuid4(runner->session_id);
	runner->last_poll_ms = clock_mono_ms();
	json_object_set_new(body, "sessionId", json_string(runner->session_id));
	forge_event(r->f, "runner %s: session opened", runner->name);
	req_reply_json(r, 200, json_incref(body));
}

static void delete_session(struct req *r)
{
	struct forge_runner *runner = need_runner(r);
	if (!runner)
		return;
	const char *id = req_query(r, "sessionId");
	if (id && strcmp(id, runner->session_id) != 0)
		req_complain(r, "the runner's session is '%s'", runner->session_id);
	if (r->body_len)
		req_complain(r, "the request must have no body");
	runner->session_id[0] = '\0';
	forge_event(r->f, "runner %s: session closed", runner->name);
	forge_wake(r->f);
	req_reply(r, 204);
}

/* ---- messages ---- */

void forge_wake(struct forge *f)
{
	uint64_t one = 1;
	for (struct waiter *w = f->waiters; w; w = w->next)
		if (write(w->fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
			forge_complain(f, "forge", "a waiting poll cannot be woken");
}

static bool check_poll(struct req *r, const struct forge_runner *runner)
{
	static const char *const systems[] = {"Linux", "macOS", "Windows"};
	static const char *const machines[] = {"X64", "X86", "ARM", "ARM64"};
	const char *session = req_query(r, "sessionId"), *status = req_query(r, "status"), *os = req_query(r, "os"),
		   *machine = req_query(r, "architecture"), *version = req_query(r, "runnerVersion"),
		   *update = req_query(r, "disableUpdate");
	bool known = false, known_machine = false;
	for (size_t i = 0; os && i < ARRAY_SIZE(systems); i++)
		known |= strcmp(os, systems[i]) == 0;
	for (size_t i = 0; machine && i < ARRAY_SIZE(machines); i++)
		known_machine |= strcmp(machine, machines[i]) == 0;
	const char *fault = !session || !check_is_guid(session)                                         ? "sessionId"
	                    : !status || (strcmp(status, "Online") != 0 && strcmp(status, "Busy") != 0) ? "status"
	                    : !version || !*version ? "runnerVersion"
	                    : !known                ? "os"
	                    : !known_machine        ? "architecture"
	                                            : NULL;
	bool acknowledging = strstr(r->path, "/acknowledge") != NULL;
	if (!fault && !acknowledging && (!update || (strcmp(update, "true") != 0 && strcmp(update, "false") != 0)))
		fault = "disableUpdate";
	if (fault) {
		req_complain(r, "the query's %s is missing or not one of its values", fault);
		broker_error(r, 400, "BadRequest", "The query is not valid.");
		return false;
	}
	if (!runner->session_id[0] || strcmp(runner->session_id, session) != 0) {
		broker_error(r, 400, "RunnerSessionInvalid", "The session is not valid.");
		return false;
	}
	return true;
}

static void send_message(struct req *r, struct forge_runner *runner, const char *type, json_t *body)
{
	_cleanup_free_ char *text = json_text(body);
	json_decref(body);
	json_t *message = json_pack("{s:I, s:s, s:s}", "messageId", (json_int_t)++runner->message_id, "messageType",
	                            type, "body", text);
	forge_event(r->f, "runner %s: message %s", runner->name, type);
	req_reply_json(r, 200, message);
}

/* A job for an idle runner: one that it was given but did not take (the reply may have been lost), or the oldest that
 * fits. */
static struct forge_job *pick_job(struct forge *f, struct forge_runner *runner)
{
	struct forge_job *job = runner->job;
	if (job)
		return job->state == JOB_GIVEN && clock_mono_ms() - job->given_mono_ms > REDELIVER_MS ? job : NULL;
	return forge_job_for_runner(f, runner);
}

static bool answer_with_message(struct req *r, struct forge_runner *runner, const char *status)
{
	struct forge *f = r->f;
	if (json_array_size(runner->queue)) {
		json_t *entry = json_array_get(runner->queue, 0);
		send_message(r, runner, json_get_string(entry, "type"), json_deep_copy(json_object_get(entry, "body")));
		json_array_remove(runner->queue, 0);
		return true;
	}
	if (strcmp(status, "Online") != 0)
		return false;
	struct forge_job *job = pick_job(f, runner);
	if (!job)
		return false;
	if (job->state != JOB_GIVEN)
		rand_uuid4(job->request_id);
	job->state = JOB_GIVEN;
	job->runner = runner;
	job->given_ms = clock_wall_ms();
	job->given_mono_ms = clock_mono_ms();
	job->acknowledged = false;
	runner->job = job;
	forge_event(f, "job %s of run %lld offered to %s", job->name, (long long)job->run->id, runner->name);
	send_message(r, runner, "RunnerJobRequest",
	             json_pack("{s:o, s:s, s:o, s:o, s:b}", "id", json_stringf("%lld", (long long)job->id),
	                       "runner_request_id", job->request_id, "run_service_url",
	                       json_stringf("%s/_services/run/1/", f->base), "billing_owner_id",
	                       json_stringf("U_%lld", (long long)job->run->repo->id), "should_acknowledge",
	                       f->config.acknowledge));
	return true;
}

/* Waits until woken, the client hangs up, or the time is up; without the lock. False: the client is gone. */
static bool wait_for_change(struct req *r, int fd, int64_t until_ms)
{
	int64_t left = until_ms - clock_mono_ms();
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct pollfd p[2] = {{.fd = fd, .events = POLLIN}, {.fd = info ? info->connect_fd : -1, .events = POLLRDHUP}};
	if (left <= 0 || poll(p, 2, (int)MIN(left, 60000)) < 0)
		return true;
	uint64_t count;
	if (p[0].revents && read(fd, &count, sizeof(count)) < 0)
		return true;
	return !(p[1].revents & (POLLRDHUP | POLLHUP | POLLERR));
}

static void poll_messages(struct req *r, struct forge_runner *runner, int fd)
{
	struct forge *f = r->f;
	const char *status = req_query(r, "status");
	int64_t until = clock_mono_ms() + f->config.poll_ms;
	char session[37];
	memcpy(session, runner->session_id, sizeof(session));
	for (;;) {
		if (runner->deleted) {
			broker_error(r, 404, "RunnerNotFound",
			             "The runner registration has been deleted from the server.");
			return;
		}
		if (strcmp(session, runner->session_id) != 0) {
			broker_error(r, 400, "RunnerSessionInvalid", "The session is not valid.");
			return;
		}
		if (r->superseded || f->stopping || clock_mono_ms() >= until) {
			req_reply(r, 202);
			return;
		}
		if (answer_with_message(r, runner, status))
			return;
		pthread_mutex_unlock(&f->lock);
		bool there = wait_for_change(r, fd, until);
		pthread_mutex_lock(&f->lock);
		if (!there) {
			req_reply(r, 202);
			return;
		}
	}
}

static void message(struct req *r)
{
	struct forge *f = r->f;
	pthread_mutex_lock(&f->lock);
	check_service_headers(r);
	struct forge_runner *runner = need_runner(r);
	if (runner && check_poll(r, runner)) {
		struct waiter me = {.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .next = f->waiters};
		f->waiters = &me;
		if (runner->polling) {
			runner->polling->superseded = true;
			forge_wake(f);
		}
		runner->polling = r;
		runner->last_poll_ms = clock_mono_ms();
		free(runner->os);
		runner->os = xstrdup(req_query(r, "os"));
		free(runner->status);
		runner->status = xstrdup(req_query(r, "status"));
		poll_messages(r, runner, me.fd);
		runner->last_poll_ms = clock_mono_ms();
		if (runner->polling == r)
			runner->polling = NULL;
		for (struct waiter **p = &f->waiters; *p; p = &(*p)->next)
			if (*p == &me) {
				*p = me.next;
				break;
			}
		close(me.fd);
	}
	pthread_mutex_unlock(&f->lock);
}

static void acknowledge(struct req *r)
{
	static const struct member members[] = {{"runnerRequestId", 'S', true}};
	check_service_headers(r);
	struct forge_runner *runner = need_runner(r);
	if (!runner || !check_poll(r, runner))
		return;
	_cleanup_json_ json_t *body = req_json(r);
	if (!body)
		return;
	if (!check_members(r, body, "acknowledge", members, ARRAY_SIZE(members))) {
		broker_error(r, 400, "BadRequest", "The acknowledgement is not valid.");
		return;
	}
	const char *id = json_get_string(body, "runnerRequestId");
	if (!runner->job || strcmp(runner->job->request_id, id) != 0) {
		broker_error(r, 404, "AcknowledgeJobNotFound", "There is no such job for this runner.");
		return;
	}
	runner->job->acknowledged = true;
	req_reply_json(r, 200, json_object());
}

const struct route broker_routes[] = {
	{"POST", "_services/vstoken/_apis/oauth2/token/1", oauth_token, 0},
	{"POST", "_services/broker/session", create_session, 0},
	{"DELETE", "_services/broker/session", delete_session, 0},
	{"GET", "_services/broker/message", message, ROUTE_UNLOCKED},
	{"POST", "_services/broker/acknowledge", acknowledge, 0},
	{0},
};
