/* One request of a runner service, as a generation of the protocol wants it: built by a queue or a job, sent by whoever drives it. */
#pragma once
#include "agent/service/wire.h"

enum service_caller { AS_RUNNER, AS_JOB }; /* whose token it carries */
struct service_request {
	const char *method;       /* NULL: GET, or POST with a body */
	char *url;                /* owned */
	json_t *json;             /* the body; owned */
	const char *content_type; /* of a body that is no JSON; NULL: it is */
	char *version;       /* the older services': of the resource, "5.1-preview.1"; owned; NULL: the others' form */
	char *orchestration; /* X-VSS-OrchestrationId; owned; NULL: none */
	enum service_caller caller;
	int64_t timeout_ms; /* 0: the caller's own */
	size_t max_body;    /* of the answer; 0: the client's */
};
void service_request_done(struct service_request *q);
/* token: NULL sends none. has_body: one that is not in `json` too. Wipe with wire_headers_done. */
void service_request_headers(const struct service_request *q, const char *token, bool has_body,
                             struct wire_headers *ret);
/* Sends it and waits. Redirects are followed where the generation has them. */
int service_request_perform(struct http *h, const struct service_request *q, const char *token, struct wait *w,
                            struct http_response *ret, struct err *err);
/* As http_start. */
struct http_transfer *service_request_start(struct http *h, const struct service_request *q, const char *token,
                                            http_done_fn done, void *context, struct err *err);
