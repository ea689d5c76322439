#include "agent/listener/listener_priv.h"

enum { BODY_MAX = 1 << 20 };

bool call_is_running(const struct call *c)
{
	return c->transfer != NULL;
}

static void release(struct call *c)
{
	c->transfer = NULL;
	wire_headers_done(&c->headers);
	free(TAKE(c->url));
	str_done(&c->body);
}

void call_cancel(struct call *c)
{
	if (c->transfer != NULL)
		http_cancel(c->transfer);
	release(c);
}

/* Releases the parts of the call first, so that its owner may start the next one with the same call. */
static void finished(void *context, int result, struct http_response *response, const struct err *err)
{
	struct call *c = context;
	call_done_fn done = c->done;
	void *owner = c->context;
	release(c);
	done(owner, result, response, err);
}

void call_start(struct listener *l, struct call *c, const struct call_request *q, call_done_fn done, void *context)
{
	call_cancel(c);
	bool has_body = q->json != NULL || q->form != NULL;
	*c = (struct call){
		.listener = l, .url = q->url, .body = STR_SECRET_INIT(BODY_MAX), .done = done, .context = context};
	wire_headers_make(&c->headers, q->token != NULL ? "Bearer" : NULL, q->token, true, q->json != NULL);
	if (q->json != NULL) {
		_cleanup_free_ char *text = json_text(q->json);
		str_append(&c->body, text);
		explicit_bzero(text, strlen(text));
	} else if (q->form != NULL) {
		str_append(&c->body, q->form);
		c->headers.lines[c->headers.count++] = xstrdup("Content-Type: application/x-www-form-urlencoded");
	}
	struct http_request request = {
		.method = q->method,
		.url = c->url,
		.headers = (const char *const *)c->headers.lines,
		.body = has_body ? str_peek(&c->body) : NULL,
		.body_len = has_body ? c->body.len : 0,
		.max_body = q->max_body,
		.timeout_ms = q->timeout_ms != 0 ? wire_limit_ms(q->timeout_ms) : wire_call_ms(),
		.follow = true,
	};
	struct err err = ERR_INIT;
	c->transfer = http_start(l->http, &request, finished, c, &err);
	if (c->transfer == NULL) {
		struct http_response none = {0};
		finished(c, err.code != 0 ? err.code : ERR_INTERNAL, &none, &err);
		return;
	}
	/* The client has its own copies: a token need not stay here while a poll waits. */
	wire_headers_done(&c->headers);
	free(TAKE(c->url));
	str_done(&c->body);
}

void call_service(struct listener *l, struct call *c, struct service_request *q, const char *token, call_done_fn done,
                  void *context)
{
	call_cancel(c);
	*c = (struct call){.listener = l, .body = STR_SECRET_INIT(BODY_MAX), .done = done, .context = context};
	_cleanup_free_ char *text = q->json != NULL ? json_text(q->json) : NULL;
	service_request_headers(q, token, text != NULL, &c->headers);
	struct http_request request = {
		.method = q->method,
		.url = q->url,
		.headers = (const char *const *)c->headers.lines,
		.body = text,
		.body_len = text != NULL ? strlen(text) : 0,
		.max_body = q->max_body,
		.timeout_ms = q->timeout_ms != 0 ? wire_limit_ms(q->timeout_ms) : wire_call_ms(),
		.follow = q->version == NULL,
	};
	struct err err = ERR_INIT;
	c->transfer = http_start(l->http, &request, finished, c, &err);
	service_request_done(q);
	wire_headers_done(&c->headers);
	if (c->transfer == NULL) {
		struct http_response none = {0};
		finished(c, err.code != 0 ? err.code : ERR_INTERNAL, &none, &err);
	}
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
