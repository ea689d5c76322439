/* http checks that are made from a target, for services that listen on its 127.0.0.1 only: by the target's curl, whose options (with
 * headers that hold secrets) come on its standard input. */
#include "base/core/clock.h"
#include "engine/target/host.h"
#include "steps/health_gate/health_gate.h"

#include <stdio.h>

void gate_http_from(struct gate_check *check);
int gate_http_can_ask(const struct health_gate_checks *in, struct view *v, const struct gate_place *place,
                      struct err *err);

enum { ORDERS_MAX = 1 << 20, CURL_SLACK_MS = 2000 };

/* A value of curl's configuration: in double quotes, with the escapes that it knows. */
static void add_order(struct str *out, const char *name, const char *value)
{
	str_appendf(out, "%s = \"", name);
	for (; *value != '\0'; value++) {
		if (*value == '"' || *value == '\\')
			str_append_c(out, '\\');
		if (*value == '\n' || *value == '\r')
			str_append(out, *value == '\n' ? "\\n" : "\\r");
		else
			str_append_c(out, *value);
	}
	str_append(out, "\"\n");
}

static void write_orders(const struct health_gate_checks *in, int64_t left_ms, struct str *out)
{
	add_order(out, "url", in->http);
	/* Heads and body, which may hold anything and may be cut, on its standard output; a last line of its own on standard error. */
	str_appendf(out, "silent\nshow-error\ninclude\nmax-time = %.3f\n", (double)left_ms / 1000);
	str_append(out, "write-out = \"%{stderr}\\n%{http_code} %{time_total} %{remote_port} %{remote_ip}\"\n");
	if (in->follow)
		str_append(out, "location\nmax-redirs = 10\nproto-redir = \"=http,https\"\n");
	if (in->has_method && in->method == HEALTH_GATE_CHECKS_METHOD_HEAD)
		str_append(out, "head\n");
	else if (in->has_method)
		add_order(out, "request", health_gate_checks_method_name(in->method));
	if (in->body != NULL)
		add_order(out, "data-raw", in->body);
	if (in->body != NULL)
		add_order(out, "header", "Content-Type:");
	if (in->resolve != NULL)
		add_order(out, "resolve", in->resolve);
	for (size_t i = 0; i < in->headers.count; i++) {
		_cleanup_free_ char *header = xasprintf("%s: %s", in->headers.items[i].key, in->headers.items[i].value);
		add_order(out, "header", header);
	}
}

static bool read_last_line(const char *line, struct http_response *ret, int64_t *ret_ms)
{
	char address[64];
	int status, port;
	double seconds;
	if (sscanf(line, "%d %lf %d %63s", &status, &seconds, &port, address) != 4 || status < 100 || status > 599)
		return false;
	ret->status = status;
	ret->peer = xasprintf(strchr(address, ':') != NULL ? "[%s]:%d" : "%s:%d", address, port);
	*ret_ms = (int64_t)(seconds * 1000 + 0.5);
	return true;
}

/* Each redirect and each "100 Continue" has a head before the one that counts. */
static void take_heads(struct http_response *ret, struct str *text)
{
	for (bool more = true; more && strncmp(str_peek(text), "HTTP/", 5) == 0;) {
		const char *space = strchr(str_peek(text), ' ');
		long status = space != NULL ? strtol(space + 1, NULL, 10) : 0;
		strv_done(&ret->headers);
		for (bool in_head = true; in_head && text->len > 0;) {
			size_t len = strcspn(str_peek(text), "\n"), bare = len;
			while (bare > 0 && str_peek(text)[bare - 1] == '\r')
				bare--;
			in_head = bare > 0;
			if (in_head)
				strv_add_take(&ret->headers, xstrndup(str_peek(text), bare));
			str_remove_front(text, MIN(len + 1, text->len));
		}
		more = status != ret->status;
	}
}

static void judge(struct gate_check *check, struct target_result *result)
{
	_cleanup_(http_response_done) struct http_response response = {0};
	const char *text = str_peek(&result->err), *last = strrchr(text, '\n');
	if (result->status != 0 || last == NULL || !read_last_line(last + 1, &response, &check->answer.ms)) {
		_cleanup_(str_done) struct str why = STR_INIT(4096);
		if (last != NULL)
			str_truncate(&result->err, (size_t)(last - text));
		step_last_line(&result->err, &why);
		gate_result(check, false, "%s", why.len > 0 ? str_peek(&why) : "gave no answer");
		return;
	}
	take_heads(&response, &result->out);
	gate_http_judge(check, &response, &result->out);
}

void gate_http_from(struct gate_check *check)
{
	int64_t left = gate_left_ms(check);
	_cleanup_(str_done) struct str orders = STR_SECRET_INIT(ORDERS_MAX);
	write_orders(check->in, left, &orders);
	static const char *const argv[] = {"curl", "-q", "-K", "-", NULL};
	const struct target_command call = {
		.argv = argv,
		.env = check->in->env.items,
		.env_count = check->in->env.count,
		.input = str_peek(&orders),
		.input_len = orders.len,
		.timeout_ms = left + CURL_SLACK_MS, /* curl's own limit comes first, and says more */
		.max_output = GATE_BODY_MAX,
	};
	_cleanup_(target_result_done) struct target_result result = TARGET_RESULT_INIT;
	if (gate_query(check, &call, "gave no answer", &result))
		judge(check, &result);
}

int gate_http_can_ask(const struct health_gate_checks *in, struct view *v, const struct gate_place *place,
                      struct err *err)
{
	(void)in;
	return gate_needs_program(v, "curl", "install curl there, or write the check as a `command`", place, err);
}
