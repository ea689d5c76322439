#include "agent/service/request.h"

#include "base/core/rand.h"

void service_request_done(struct service_request *q)
{
	free(q->url);
	free(q->version);
	free(q->orchestration);
	json_decref(q->json);
	*q = (struct service_request){0};
}

/* One a process; X-TFS-Session of the older services [7.1]. */
static const char *session_id(void)
{
	static char id[37];
	if (id[0] == '\0')
		rand_uuid4(id);
	return id;
}

static void add(struct wire_headers *h, char *line)
{
	h->lines[h->count++] = line;
}

void service_request_headers(const struct service_request *q, const char *token, bool has_body,
                             struct wire_headers *ret)
{
	bool body = has_body || q->json != NULL;
	const char *content = q->content_type != NULL ? q->content_type : "application/json; charset=utf-8";
	const char *scheme = token != NULL ? "Bearer" : NULL;
	if (q->version == NULL) {
		wire_headers_make(ret, scheme, token, true, body);
		return;
	}
	char id[37];
	rand_uuid4(id);
	wire_headers_make(ret, scheme, token, false, false);
	add(ret, q->version[0] == '\0' ? xstrdup("Accept: application/json")
	                               : xasprintf("Accept: application/json; api-version=%s", q->version));
	add(ret, xstrdup("X-TFS-FedAuthRedirect: Suppress"));
	add(ret, xasprintf("X-TFS-Session: %s", session_id()));
	add(ret, xasprintf("X-VSS-E2EID: %s", id));
	if (q->orchestration != NULL)
		add(ret, xasprintf("X-VSS-OrchestrationId: %s", q->orchestration));
	if (body)
		add(ret, xasprintf("Content-Type: %s; api-version=%s", content, q->version));
}

/* headers, *body: the caller's, as long as the request is used. */
static struct http_request make(const struct service_request *q, const char *token, struct wire_headers *headers,
                                char **body)
{
	*body = q->json != NULL ? json_text(q->json) : NULL;
	service_request_headers(q, token, *body != NULL, headers);
	return (struct http_request){
		.method = q->method,
		.url = q->url,
		.headers = (const char *const *)headers->lines,
		.body = *body,
		.body_len = *body != NULL ? strlen(*body) : 0,
		.max_body = q->max_body,
		.timeout_ms = q->timeout_ms != 0 ? wire_limit_ms(q->timeout_ms) : wire_call_ms(),
		.follow = q->version == NULL,
	};
}

int service_request_perform(struct http *h, const struct service_request *q, const char *token, struct wait *w,
                            struct http_response *ret, struct err *err)
{
	_cleanup_free_ char *body = NULL;
	_cleanup_(wire_headers_done) struct wire_headers headers;
	const struct http_request request = make(q, token, &headers, &body);
	return http_perform(h, &request, w, ret, err);
}

struct http_transfer *service_request_start(struct http *h, const struct service_request *q, const char *token,
                                            http_done_fn done, void *context, struct err *err)
{
	_cleanup_free_ char *body = NULL;
	_cleanup_(wire_headers_done) struct wire_headers headers;
	const struct http_request request = make(q, token, &headers, &body);
	return http_start(h, &request, done, context, err);
}
