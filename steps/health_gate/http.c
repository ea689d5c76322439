/* http checks: one asynchronous transfer a try, through the gate's client, each over a connection of its own: one that was kept leads to the
 * worker of before, not to who serves now. */
#include "base/core/clock.h"
#include "base/core/shown.h"
#include "base/net/url.h"
#include "base/secret/mask.h"
#include "steps/health_gate/health_gate.h"

#include <strings.h>

void gate_http_from(struct gate_check *check);
int gate_http_can_ask(const struct health_gate_checks *in, struct view *v, const struct gate_place *place,
                      struct err *err);

struct http_try {
	struct gate_check *check;
	struct http_transfer *transfer;
	struct str body;
};

static bool is_asked(const struct health_gate_checks *in)
{
	return in->http != NULL;
}

static void label(const struct health_gate_checks *in, struct str *out)
{
	str_append(out, in->http);
}

static void validate_headers(const struct health_gate_checks *in, const struct gate_place *place)
{
	for (size_t i = 0; i < in->headers.count; i++) {
		const struct field_pair *h = &in->headers.items[i];
		if (strpbrk(h->key, ": \t\r\n") == NULL && *h->key != '\0' && strpbrk(h->value, "\r\n") == NULL)
			continue;
		gate_fault(place, "headers", NULL, "'%s' cannot be sent as a header", h->key);
	}
}

static void validate(const struct health_gate_checks *in, const struct gate_place *place)
{
	const char *fault = strstr(in->http, "${{") == NULL ? net_url_fault(in->http) : NULL;
	if (fault != NULL)
		gate_fault(place, "http", NULL, "'%s' cannot be asked: %s", in->http, fault);
	if (mask_finds(mask_process(), in->http, strlen(in->http)))
		gate_fault(place, NULL, "send it by `headers:`",
		           "a secret is part of the URL, which ends up in logs of servers and proxies");
	if (in->from != NULL && in->follow && in->headers.count > 0)
		gate_fault(
			place, NULL, "name the address that answers at last",
			"`follow` with `headers` is not possible `from` a target: they would go wherever a redirect leads");
	if (in->from != NULL && in->ca != NULL)
		gate_fault(place, "ca", "add the authority to the target's own list",
		           "a check `from` a target trusts the authorities that the target trusts");
	gate_status_faults(in->status, place);
	validate_headers(in, place);
}

static char *host_of(const struct health_gate_checks *in)
{
	const char *authority = strstr(in->http, "://") + 3, *at = memchr(authority, '@', strcspn(authority, "/?#"));
	const char *host = at != NULL ? at + 1 : authority;
	if (in->resolve != NULL)
		return xstrdup(strchr(strchr(in->resolve, ':') + 1, ':') + 1);
	return *host == '[' ? xstrndup(host + 1, strcspn(host + 1, "]")) : xstrndup(host, strcspn(host, ":/?#"));
}

static bool headers_hold(const struct health_gate_checks *in, const struct http_response *response, struct str *why)
{
	for (size_t i = 0; i < in->answer_headers.count; i++) {
		const struct field_pair *wanted = &in->answer_headers.items[i];
		const char *is = http_header(response, wanted->key);
		if (is != NULL && (*wanted->value == '\0' || strcmp(is, wanted->value) == 0))
			continue;
		if (is == NULL)
			str_appendf(why, "has no header %s", wanted->key);
		else
			str_appendf(why, "%s is '%s', wanted '%s'", wanted->key, is, wanted->value);
		return false;
	}
	return true;
}

void gate_http_judge(struct gate_check *check, const struct http_response *response, const struct str *body)
{
	const struct health_gate_checks *in = check->in;
	_cleanup_(str_done) struct str why = STR_INIT(4096);
	const char *to = http_header(response, "Location");
	bool led = to != NULL && response->status >= 300 && response->status < 400;
	check->answer.status = response->status;
	check->answer.address = xstrdup(response->peer);
	gate_begins(check, body);
	if (!gate_status_accepts(in->status, response->status)) {
		gate_status_show(in->status, &why);
		if (led)
			gate_result(check, false, "answered %d to %s, wanted %s (`follow: true` follows redirects)",
			            response->status, to, str_peek(&why));
		else
			gate_result(check, false, "answered %d, wanted %s", response->status, str_peek(&why));
	} else if (!headers_hold(in, response, &why) || !gate_text_holds(in, body, "body", &why) ||
	           (in->has_json && !gate_json_holds(&in->json, body, &why))) {
		gate_result(check, false, "answered %d, but %s", response->status, str_peek(&why));
	} else {
		gate_result(check, true, "answered %d", response->status);
	}
}

static void stop(struct gate_check *check)
{
	struct http_try *t = TAKE(check->own);
	if (t == NULL)
		return;
	if (t->transfer != NULL)
		http_cancel(t->transfer);
	str_done(&t->body);
	free(t);
}

static int keep_body(void *context, const void *data, size_t len, struct err *err)
{
	(void)err;
	struct http_try *t = context;
	str_append_n(&t->body, data, MIN(len, GATE_BODY_MAX - t->body.len));
	return 0;
}

/* The check is told by its address already. */
static const char *without_address(const struct health_gate_checks *in, const char *line)
{
	size_t len = strlen(in->http);
	return str_starts(line, in->http) && str_starts(line + len, ": ") ? line + len + 2 : line;
}

static void done(void *context, int result, struct http_response *response, const struct err *err)
{
	struct http_try *t = context;
	struct gate_check *check = t->check;
	char line[512], took[CLOCK_TEXT_SIZE];
	t->transfer = NULL;
	if (result == 0)
		gate_http_judge(check, response, t->body.len > 0 ? &t->body : &response->body);
	else if (result == ERR_TIMEOUT)
		gate_result(check, false, "gave no answer within %s", clock_duration(check->in->timeout_ms, took));
	else
		gate_result(check, false, "%s", without_address(check->in, err_line(err, line, sizeof(line))));
	stop(check);
}

static void begin(struct gate_check *check, struct http_try *t, const char *ca, struct err *err)
{
	const struct health_gate_checks *in = check->in;
	_cleanup_(strv_done) struct strv headers = {0};
	for (size_t i = 0; i < in->headers.count; i++)
		strv_addf(&headers, "%s: %s", in->headers.items[i].key, in->headers.items[i].value);
	const struct http_request request = {
		.method = in->has_method ? health_gate_checks_method_name(in->method) : NULL,
		.url = in->http,
		.headers = (const char *const *)strv_null_terminated(&headers),
		.body = in->body,
		.body_len = in->body != NULL ? strlen(in->body) : 0,
		.timeout_ms = in->timeout_ms,
		.connect_timeout_ms = in->timeout_ms,
		.fresh = true,
		.resolve = in->resolve,
		.ca_text = ca,
		.follow = in->follow,
		.on_body = keep_body,
		.context = t,
	};
	t->transfer = http_start(check->gate->http, &request, done, t, err);
}

static void start(struct gate_check *check)
{
	struct err err = ERR_INIT;
	char line[512];
	_cleanup_free_ char *ca = NULL;
	struct http_try *t = check->own = xcalloc(1, sizeof(*t));
	*t = (struct http_try){.check = check, .body = STR_INIT(GATE_BODY_MAX + 1)};
	if (gate_read_ca(check->gate->c, check->in->ca, &ca, &err) == 0)
		begin(check, t, ca, &err);
	if (t->transfer != NULL)
		return;
	gate_result(check, false, "%s", without_address(check->in, err_line(&err, line, sizeof(line))));
	stop(check);
}

const struct probe_type http_probe = {.name = "http",
                                      .is_asked = is_asked,
                                      .label = label,
                                      .validate = validate,
                                      .host = host_of,
                                      .start = start,
                                      .stop = stop,
                                      .ask = gate_http_from,
                                      .can_ask = gate_http_can_ask};
