/* http checks: one asynchronous transfer a try, through the process's client. */
#include "base/core/clock.h"
#include "steps/health_gate/health_gate.h"

static int keep_body(void *context, const void *data, size_t len, struct err *err)
{
	(void)err;
	struct gate_check *check = context;
	size_t room = GATE_BODY_MAX - check->body.len;
	str_append_n(&check->body, data, MIN(len, room));
	return 0;
}

static void judge(struct gate_check *check, const struct http_response *response)
{
	_cleanup_(str_done) struct str why = STR_INIT(4096);
	const char *type = http_header(response, "Location");
	if (!gate_status_accepts(check->in->status, response->status)) {
		gate_status_show(check->in->status, &why);
		if (type != NULL && response->status >= 300 && response->status < 400)
			gate_result(check, false, "answered %d to %s, wanted %s (`follow: true` follows redirects)",
			            response->status, type, str_peek(&why));
		else
			gate_result(check, false, "answered %d, wanted %s", response->status, str_peek(&why));
		return;
	}
	if (!gate_text_holds(check->in, &check->body, "body", &why)) {
		gate_result(check, false, "answered %d, but %s", response->status, str_peek(&why));
		return;
	}
	gate_result(check, true, "answered %d", response->status);
}

static void done(void *context, int result, struct http_response *response, const struct err *err)
{
	struct gate_check *check = context;
	check->transfer = NULL;
	if (result == 0) {
		judge(check, response);
		return;
	}
	char line[512];
	char took[CLOCK_TEXT_SIZE];
	if (result == ERR_TIMEOUT)
		gate_result(check, false, "gave no answer within %s", clock_duration(check->in->timeout_ms, took));
	else
		gate_result(check, false, "%s", err_line(err, line, sizeof(line)));
}

void gate_http_start(struct gate_check *check)
{
	const struct health_gate_checks *in = check->in;
	struct err err = ERR_INIT;
	char line[512];
	struct strv headers = {0};
	for (size_t i = 0; i < in->headers.count; i++)
		strv_addf(&headers, "%s: %s", in->headers.items[i].key, in->headers.items[i].value);
	str_clear(&check->body);
	struct http_request request = {
		.method = in->method == HEALTH_GATE_CHECKS_METHOD_HEAD ? "HEAD" : "GET",
		.url = in->http,
		.headers = (const char *const *)strv_null_terminated(&headers),
		.timeout_ms = in->timeout_ms,
		.connect_timeout_ms = in->timeout_ms,
		.follow = in->follow,
		.on_body = keep_body,
		.context = check,
	};
	check->transfer = http_start(check->gate->http, &request, done, check, &err);
	strv_done(&headers);
	if (check->transfer == NULL)
		gate_result(check, false, "%s", err_line(&err, line, sizeof(line)));
}

void gate_http_stop(struct gate_check *check)
{
	if (check->transfer != NULL)
		http_cancel(check->transfer);
	check->transfer = NULL;
}
