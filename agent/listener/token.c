/* The access token of a registration: asked for with a signed assertion, kept until it grows old or is refused. */
#include "agent/listener/endpoint_priv.h"

#include "base/core/clock.h"
#include "base/core/log.h"
#include "base/net/net.h"

enum { RETRY_MS = 30000, CLOCK_FAILURES_MAX = 60 };
#define CLOCK_AHEAD_MAX_MS (INT64_C(30) * 24 * 3600 * 1000)

void endpoint_drop_token(struct endpoint *e)
{
	if (e->token != NULL)
		explicit_bzero(e->token, strlen(e->token));
	free(TAKE(e->token));
	e->token_refresh_ms = 0;
}

int endpoint_load_key(const struct endpoint *e, struct oauth_key **ret, struct err *err)
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
	int r = endpoint_load_key(e, &key, err);
	if (r >= 0)
		r = oauth_assertion(key, e->reg.client_id, e->reg.authorization_url, e->reg.pss,
		                    clock_wall_ms() + e->clock_ahead_ms, &assertion, err);
	if (r < 0)
		return r;
	oauth_form(str_peek(&assertion), &form);
	const char *url = e->reg.token_url != NULL ? e->reg.token_url : e->reg.authorization_url;
	/* At github.com tokens are given by a host of their own, and the next one is asked of it in an hour: hundreds of connections would be
	 * kept for that, one of each registration. */
	const char *queue = e->reg.broker_url != NULL ? e->reg.broker_url : e->reg.server_url;
	struct call_request q = {
		.url = xstrdup(url), .form = str_peek(&form), .last = queue != NULL && !net_same_origin(url, queue)};
	call_start(e->listener, c, &q, done, context);
	return 0;
}

/* The service refused our time: its own is used for what is signed from now on. */
static void follow_clock(struct endpoint *e, const struct http_response *response)
{
	int64_t theirs = http_date_ms(response), ahead = theirs - clock_wall_ms();
	if (theirs < 0 || ahead > CLOCK_AHEAD_MAX_MS || ahead < -CLOCK_AHEAD_MAX_MS)
		return;
	e->clock_ahead_ms = ahead;
	log_warning("listen", "%s: this machine's clock is %lld s %s the service's, whose time is used; set it",
	            endpoint_place(e), (long long)(ahead < 0 ? -ahead : ahead) / 1000, ahead < 0 ? "before" : "behind");
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
	if (how == OAUTH_CLOCK)
		follow_clock(e, response);
	if (how != OAUTH_OK)
		return how;
	endpoint_drop_token(e);
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
		endpoint_enter(e, e->after);
		return;
	case OAUTH_GONE:
		/* The service may forget a runner for one job before that job's worker has ended here. */
		if (e->reg.ephemeral && e->jobs > 0) {
			e->forget = e->keep_session = true;
			endpoint_close(e);
			return;
		}
		if (endpoint_is_made_anew(e, e->after))
			return;
		if (endpoint_can_renew(e))
			endpoint_enter(e, STEP_RENEW);
		else
			endpoint_end_with(e, LISTEN_TERMINATED, &err);
		return;
	case OAUTH_CLOCK:
		if (++e->clock_failures >= CLOCK_FAILURES_MAX) {
			endpoint_end_with(e, LISTEN_TERMINATED, &err);
			return;
		}
		if (e->clock_failures == 1 && e->clock_ahead_ms != 0) {
			endpoint_get_token(e, e->after);
			return;
		}
		break;
	default:
		break;
	}
	endpoint_tell_failure(e, &err);
	enum endpoint_step after = e->after;
	endpoint_wait_as_asked(e, STEP_TOKEN, registration_pace(RETRY_MS), response);
	e->after = after;
}

void endpoint_get_token(struct endpoint *e, enum endpoint_step after)
{
	struct err err = ERR_INIT;
	e->step = STEP_TOKEN;
	e->after = after;
	if (endpoint_token_request(e, &e->call, token_done, e, &err) < 0)
		endpoint_end_with(e, LISTEN_TERMINATED, &err);
}

/* A 401: one new token at once, then a pause before each further one. */
void endpoint_refused(struct endpoint *e, enum endpoint_step step, const struct err *err)
{
	endpoint_drop_token(e);
	if (++e->refusals == 1) {
		endpoint_get_token(e, step);
		return;
	}
	endpoint_tell_failure(e, err);
	endpoint_wait_then(e, STEP_TOKEN, registration_pace(RETRY_MS));
	e->after = step;
}
