/* http checks that are asked from a target, for what listens on its 127.0.0.1 only: by the target's curl, whose orders (headers with secrets
 * among them) come on its standard input. */
#include "base/core/clock.h"
#include "steps/health_gate/health_gate.h"

enum { ORDERS_MAX = 256 << 10 };

/* A value of curl's configuration: in double quotes, with the escapes that it knows. */
static void add_order(struct str *out, const char *name, const char *value)
{
	str_appendf(out, "%s = \"", name);
	for (; *value != '\0'; value++) {
		if (*value == '"' || *value == '\\')
			str_append_c(out, '\\');
		if (*value != '\n' && *value != '\r')
			str_append_c(out, *value);
	}
	str_append(out, "\"\n");
}

static void write_orders(const struct health_gate_checks *in, int64_t left_ms, struct str *out)
{
	add_order(out, "url", in->http);
	str_appendf(out, "silent\nshow-error\nmax-time = %.3f\n", (double)left_ms / 1000);
	/* Behind the body, which may hold anything: the last line is curl's. */
	add_order(out, "write-out", "\\n%{http_code}");
	if (in->follow)
		str_append(out, "location\nmax-redirs = 10\nproto-redir = \"=http,https\"\n");
	if (in->method == HEALTH_GATE_CHECKS_METHOD_HEAD)
		str_append(out, "head\n");
	for (size_t i = 0; i < in->headers.count; i++) {
		_cleanup_free_ char *header = xasprintf("%s: %s", in->headers.items[i].key, in->headers.items[i].value);
		add_order(out, "header", header);
	}
}

static void judge(struct gate_check *check, struct target_result *result)
{
	_cleanup_(str_done) struct str why = STR_INIT(4096);
	const char *text = str_peek(&result->out), *last = strrchr(text, '\n');
	long long status = 0;
	if (result->status != 0 || last == NULL || !str_parse_i64(last + 1, 100, 599, &status)) {
		step_last_line(result->err.len > 0 ? &result->err : &result->out, &why);
		gate_result(check, false, "%s", why.len > 0 ? str_peek(&why) : "gave no answer");
		return;
	}
	str_truncate(&result->out, (size_t)(last - text));
	if (!gate_status_accepts(check->in->status, (int)status)) {
		gate_status_show(check->in->status, &why);
		gate_result(check, false, "answered %d, wanted %s", (int)status, str_peek(&why));
	} else if (!gate_text_holds(check->in, &result->out, "body", &why)) {
		gate_result(check, false, "answered %d, but %s", (int)status, str_peek(&why));
	} else {
		gate_result(check, true, "answered %d", (int)status);
	}
}

void gate_from_try(struct gate_check *check)
{
	const struct health_gate_checks *in = check->in;
	int64_t left = gate_left_ms(check);
	_cleanup_(str_done) struct str orders = STR_SECRET_INIT(ORDERS_MAX);
	write_orders(in, left, &orders);
	static const char *const argv[] = {"curl", "-q", "-K", "-", NULL};
	struct target_command call = {
		.argv = argv,
		.input = str_peek(&orders),
		.input_len = orders.len,
		.timeout_ms = left + 2000, /* curl's own limit comes first, and says more */
		.max_output = GATE_BODY_MAX,
	};
	_cleanup_(target_result_done) struct target_result result = TARGET_RESULT_INIT;
	if (gate_query(check, &call, "gave no answer", &result))
		judge(check, &result);
}

int gate_from_check(struct view *v, const char *pointer, struct faults *faults, struct err *err)
{
	static const char *const argv[] = {"sh", "-c", "command -v curl", NULL};
	const struct target_command call = {.argv = argv};
	_cleanup_(target_result_done) struct target_result result = TARGET_RESULT_INIT;
	int r = host_query(v, &call, &result, err);
	if (r == 0 && result.status != 0) {
		faults_add(faults, NULL, pointer, "'%s' has no curl to ask with", v->name);
		faults_hint(faults, "install curl there, or write the check as a `command`");
	}
	return r;
}
