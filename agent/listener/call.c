#include "agent/listener/listener_priv.h"

enum { BODY_MAX = 1 << 20 };

bool call_is_running(const struct call *c)
{
	return c->transfer != NULL;
}

void call_cancel(struct call *c)
{
	http_cancel(TAKE(c->transfer));
}

/* The call is free before its owner hears of it, who may start the next one with it. */
static void finished(void *context, int result, struct http_response *response, const struct err *err)
{
	struct call *c = context;
	c->transfer = NULL;
	c->done(c->context, result, response, err);
}

static void start(struct listener *l, struct call *c, const struct http_request *request, call_done_fn done,
                  void *context)
{
	struct err err = ERR_INIT;
	call_cancel(c);
	*c = (struct call){.listener = l, .done = done, .context = context};
	c->transfer = http_start(l->http, request, finished, c, &err);
	if (c->transfer == NULL) {
		struct http_response none = {0};
		finished(c, err.code != 0 ? err.code : ERR_INTERNAL, &none, &err);
	}
}

void call_start(struct listener *l, struct call *c, const struct call_request *q, call_done_fn done, void *context)
{
	_cleanup_(wire_headers_done) struct wire_headers headers;
	_cleanup_(str_done) struct str body = STR_SECRET_INIT(BODY_MAX);
	_cleanup_free_ char *url = q->url;
	bool has_body = q->json != NULL || q->form != NULL;
	wire_headers_make(&headers, q->token != NULL ? "Bearer" : NULL, q->token, true, q->json != NULL);
	if (q->json != NULL) {
		_cleanup_free_ char *text = json_text(q->json);
		str_append(&body, text);
		explicit_bzero(text, strlen(text));
	} else if (q->form != NULL) {
		str_append(&body, q->form);
		headers.lines[headers.count++] = xstrdup("Content-Type: application/x-www-form-urlencoded");
	}
	struct http_request request = {
		.method = q->method,
		.url = url,
		.headers = (const char *const *)headers.lines,
		.body = has_body ? str_peek(&body) : NULL,
		.body_len = has_body ? body.len : 0,
		.max_body = q->max_body,
		.timeout_ms = q->timeout_ms != 0 ? wire_limit_ms(q->timeout_ms) : wire_call_ms(),
		.last = q->last,
		.follow = true,
	};
	start(l, c, &request, done, context);
}

void call_service(struct listener *l, struct call *c, struct service_request *q, const char *token, call_done_fn done,
                  void *context)
{
	_cleanup_(wire_headers_done) struct wire_headers headers;
	_cleanup_free_ char *text = q->json != NULL ? json_text(q->json) : NULL;
	_cleanup_free_ char *url = TAKE(q->url);
	service_request_headers(q, token, text != NULL, &headers);
	struct http_request request = {
		.method = q->method,
		.url = url,
		.headers = (const char *const *)headers.lines,
		.body = text,
		.body_len = text != NULL ? strlen(text) : 0,
		.max_body = q->max_body,
		.timeout_ms = q->timeout_ms != 0 ? wire_limit_ms(q->timeout_ms) : wire_call_ms(),
		.follow = q->version == NULL,
	};
	service_request_done(q);
	start(l, c, &request, done, context);
}

int call_result(int result, const struct http_response *response, const struct err *err, const char *what,
                struct err *ret_err)
{
	if (result < 0) {
		if (err != NULL)
			*ret_err = *err;
		else
			err_set(ret_err, result, "no answer");
		return err_wrap(ret_err, result, "%s", what);
	}
	if (response->status >= 200 && response->status < 300)
		return 0;
	return wire_status_error(response, what, ret_err);
}
