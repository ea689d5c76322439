/* health-gate: the judge of a deployment. See health_gate.h for how its checks run. */
#include "steps/health_gate/health_gate.h"
#include "base/core/clock.h"
#include "base/secret/mask.h"
#include "base/core/shown.h"

enum { MAX_EVENTS = 40, BACKOFF_START = 4, BACKOFF_MAX = 10 };

static enum gate_kind kind_of(const struct health_gate_checks *in)
{
	if (in->http != NULL)
		return in->from != NULL ? GATE_FROM : GATE_HTTP;
	return in->tcp != NULL ? GATE_TCP : GATE_COMMAND;
}

static const char *kind_name(enum gate_kind kind)
{
	return kind == GATE_TCP ? "tcp" : kind == GATE_COMMAND ? "command" : "http";
}

static bool is_asked_there(enum gate_kind kind)
{
	return kind == GATE_COMMAND || kind == GATE_FROM;
}

static char *label_of(const struct health_gate_checks *in)
{
	_cleanup_(str_done) struct str text = STR_INIT(1024);
	if (in->name != NULL)
		str_append(&text, in->name);
	else if (in->http != NULL)
		str_append(&text, in->http);
	else if (in->tcp != NULL)
		str_append(&text, in->tcp);
	else
		step_command_show(in->command, &text);
	_cleanup_(str_done) struct str masked = STR_INIT(8192);
	mask_apply(mask_process(), str_peek(&text), text.len, &masked);
	return str_take(&masked);
}

static void describe(const struct step_context *c, struct str *out)
{
	const struct health_gate_in *in = c->input;
	char took[CLOCK_TEXT_SIZE];
	str_appendf(out, "wait at most %s for %zu check%s:", clock_duration(in->deadline_ms, took), in->checks_count,
	            in->checks_count == 1 ? "" : "s");
	for (size_t i = 0; i < in->checks_count; i++) {
		_cleanup_free_ char *label = label_of(&in->checks[i]);
		str_appendf(out, "%s %s", i == 0 ? "" : ",", label);
	}
}

static void check_pointer(struct str *at, size_t index, const char *member)
{
	str_append(at, "/checks");
	faults_pointer_push_index(at, index);
	if (member != NULL)
		faults_pointer_push(at, member);
}

static struct target *find_target(const struct step_context *c, const char *name)
{
	for (size_t i = 0; i < c->target_count; i++) {
		if (name == NULL || strcmp(c->targets[i]->view.name, name) == 0)
			return c->targets[i];
	}
	return NULL;
}

static void validate_text(const struct health_gate_checks *in, size_t index, struct faults *faults)
{
	struct err err = ERR_INIT;
	char line[512];
	if (in->matches != NULL && gate_pattern_check(in->matches, &err) < 0) {
		_cleanup_(str_done) struct str at = STR_INIT(256);
		check_pointer(&at, index, "matches");
		faults_add(faults, NULL, str_peek(&at), "%s", err_line(&err, line, sizeof(line)));
	}
}

static void validate_headers(const struct health_gate_checks *in, size_t index, struct faults *faults)
{
	for (size_t i = 0; i < in->headers.count; i++) {
		const struct field_pair *h = &in->headers.items[i];
		if (strpbrk(h->key, ": \t\r\n") == NULL && *h->key != '\0' && strpbrk(h->value, "\r\n") == NULL)
			continue;
		_cleanup_(str_done) struct str at = STR_INIT(256);
		check_pointer(&at, index, "headers");
		faults_add(faults, NULL, str_peek(&at), "'%s' cannot be sent as a header", h->key);
	}
}

static void validate_one(const struct health_gate_checks *in, size_t index, struct faults *faults)
{
	_cleanup_(str_done) struct str at = STR_INIT(256), status_at = STR_INIT(256), command_at = STR_INIT(256),
				       env_at = STR_INIT(256);
	check_pointer(&at, index, NULL);
	check_pointer(&status_at, index, "status");
	check_pointer(&command_at, index, "command");
	check_pointer(&env_at, index, "env");
	if (in->http != NULL && mask_finds(mask_process(), in->http, strlen(in->http))) {
		faults_add(faults, NULL, str_peek(&at),
		           "a secret is part of the URL, which ends up in logs of servers and proxies");
		faults_hint(faults, "send it by `headers:`");
	}
	struct err err = ERR_INIT;
	char line[512];
	_cleanup_free_ char *host = NULL;
	int port;
	if (in->tcp != NULL && gate_split_address(in->tcp, &host, &port, &err) < 0)
		faults_add(faults, NULL, str_peek(&at), "%s", err_line(&err, line, sizeof(line)));
	step_command_faults(in->command, str_peek(&command_at), faults);
	if (in->from != NULL && in->http == NULL)
		faults_add(faults, NULL, str_peek(&at), "`from` belongs to an http check");
	if (in->from != NULL && in->follow && in->headers.count > 0) {
		faults_add(
			faults, NULL, str_peek(&at),
			"`follow` with `headers` is not possible `from` a target: they would go wherever a redirect leads");
		faults_hint(faults, "name the address that answers at last");
	}
	step_env_faults(&in->env, str_peek(&env_at), faults);
	gate_status_faults(in->status, str_peek(&status_at), faults);
	if (in->timeout_ms <= 0 || in->interval_ms <= 0)
		faults_add(faults, NULL, str_peek(&at), "`timeout` and `interval` must be longer than nothing");
	validate_text(in, index, faults);
	validate_headers(in, index, faults);
}

static void validate(const struct step_context *c, struct faults *faults)
{
	const struct health_gate_in *in = c->input;
	for (size_t i = 0; i < in->checks_count; i++)
		validate_one(&in->checks[i], i, faults);
	if (in->deadline_ms <= 0)
		faults_add(faults, NULL, "/deadline", "the deadline must be longer than nothing");
}

static int check_targets(const struct step_context *c, struct faults *faults, struct err *err)
{
	const struct health_gate_in *in = c->input;
	for (size_t i = 0; i < in->checks_count; i++) {
		const struct health_gate_checks *check = &in->checks[i];
		_cleanup_(str_done) struct str at = STR_INIT(256);
		check_pointer(&at, i, check->from != NULL ? "from" : "target");
		if (kind_of(check) == GATE_FROM && find_target(c, check->from) != NULL) {
			int r = gate_from_check(&find_target(c, check->from)->view, str_peek(&at), faults, err);
			if (r < 0)
				return r;
			continue;
		}
		if (kind_of(check) == GATE_FROM) {
			faults_add(faults, NULL, str_peek(&at), "there is no target '%s' in this step", check->from);
			faults_hint(faults, "name it in the step's `target:` too");
		}
		if (kind_of(check) != GATE_COMMAND)
			continue;
		if (check->target == NULL && c->target_count > 1) {
			faults_add(faults, NULL, str_peek(&at),
			           "the step has %zu targets: name the one that the command runs on", c->target_count);
		} else if (find_target(c, check->target) == NULL) {
			faults_add(faults, NULL, str_peek(&at), "there is no target '%s' in this step",
			           check->target != NULL ? check->target : "");
			faults_hint(faults, "name it in the step's `target:` too");
		}
	}
	return 0;
}

static void pause_after(struct gate_check *check, bool ok)
{
	int64_t interval = check->in->interval_ms;
	if (ok) {
		check->pause_ms = MAX(interval / BACKOFF_START, 1);
		check->next_mono_ms = clock_mono_ms() + interval;
		return;
	}
	check->next_mono_ms = clock_mono_ms() + check->pause_ms;
	check->pause_ms = MIN(check->pause_ms * 2, interval * BACKOFF_MAX);
}

/* Every try as long as they are few, then those that saw something else than the one before. */
static void tell(struct gate_check *check, bool ok, bool same, int64_t took_ms)
{
	const struct step_context *c = check->gate->c;
	bool last = ok && check->passed;
	if (c->report != NULL && !check->gate->baseline && (!same || last))
		c->report(c->engine, "%s %s: %s (try %lld, %lld ms)%s", ok ? "ok  " : "wait", check->label,
		          str_peek(&check->seen), (long long)check->tries, (long long)took_ms, last ? ", passed" : "");
	if (c->event == NULL || (check->events >= MAX_EVENTS && same && !last) || check->events >= 5 * MAX_EVENTS)
		return;
	check->events++;
	json_t *data = json_object();
	json_object_set_new(data, "check", json_string_lossy(check->label, strlen(check->label)));
	json_object_set_new(data, "kind", json_string(kind_name(check->kind)));
	if (check->target != NULL)
		json_object_set_new(data, "target", json_string(check->target->view.name));
	json_object_set_new(data, "ok", json_boolean(ok));
	json_object_set_new(data, "try", json_integer(check->tries));
	json_object_set_new(data, "ms", json_integer(took_ms));
	json_object_set_new(data, "seen", json_string_lossy(str_peek(&check->seen), check->seen.len));
	if (check->passed)
		json_object_set_new(data, "passed", json_true());
	c->event(c->engine, check->gate->baseline ? "baseline" : "probe", data);
}

void gate_result(struct gate_check *check, bool ok, const char *fmt, ...)
{
	_cleanup_free_ char *raw = NULL;
	va_list ap;
	va_start(ap, fmt);
	if (vasprintf(&raw, fmt, ap) < 0)
		abort();
	va_end(ap);
	_cleanup_free_ char *shown = shown_text(raw, strlen(raw), GATE_SEEN_MAX);
	_cleanup_(str_done) struct str seen = STR_INIT(4 * GATE_SEEN_MAX + 1);
	str_append_safe(&seen, shown, strlen(shown));
	bool same = check->tries > 1 && ok == check->last_ok && strcmp(str_peek(&seen), str_peek(&check->seen)) == 0;
	str_clear(&check->seen);
	str_append(&check->seen, str_peek(&seen));
	check->in_flight = false;
	check->last_ok = ok;
	check->successes = ok ? check->successes + 1 : 0;
	check->passed = ok && (check->gate->baseline || check->successes >= check->in->for_);
	pause_after(check, ok);
	tell(check, ok, same, clock_mono_ms() - check->started_mono_ms);
}

static void start_try(struct gate_check *check)
{
	check->in_flight = true;
	check->tries++;
	check->started_mono_ms = clock_mono_ms();
	if (check->kind == GATE_HTTP)
		gate_http_start(check);
	else if (check->kind == GATE_TCP)
		gate_tcp_start(check);
	else if (check->kind == GATE_FROM)
		gate_from_try(check);
	else
		gate_command_try(check);
}

static bool is_due(const struct gate *g, const struct gate_check *check, int64_t now)
{
	return !check->in_flight && !check->passed && now >= check->next_mono_ms && (!g->baseline || check->tries == 0);
}

/* A round's end: baseline tries once; a gate until all have passed. */
static bool is_over(const struct gate *g)
{
	for (size_t i = 0; i < g->count; i++) {
		const struct gate_check *check = &g->checks[i];
		if (check->in_flight || (g->baseline ? check->tries == 0 : !check->passed))
			return false;
	}
	return true;
}

static size_t in_flight(const struct gate *g)
{
	size_t count = 0;
	for (size_t i = 0; i < g->count; i++)
		count += g->checks[i].in_flight;
	return count;
}

/* Until when nothing has to be started or timed out. Commands wait for the end of what is in flight. */
static int64_t next_turn_ms(const struct gate *g, int64_t now)
{
	int64_t next = now + 1000;
	bool flying = in_flight(g) > 0;
	for (size_t i = 0; i < g->count; i++) {
		const struct gate_check *check = &g->checks[i];
		if (check->in_flight && check->kind == GATE_TCP)
			next = MIN(next, check->started_mono_ms + check->in->timeout_ms);
		if (!check->in_flight && !check->passed && !(flying && is_asked_there(check->kind)))
			next = MIN(next, check->next_mono_ms);
	}
	if (g->deadline_mono_ms > 0)
		next = MIN(next, g->deadline_mono_ms);
	return MAX(next - now, 0);
}

static int wait_turn(struct gate *g, struct err *err)
{
	struct wait *w = g->c->wait;
	_cleanup_free_ struct pollfd *fds = xcalloc(g->count + 1, sizeof(*fds));
	size_t count = 0;
	if (w->cancel_fd >= 0)
		fds[count++] = (struct pollfd){.fd = w->cancel_fd, .events = POLLIN};
	for (size_t i = 0; i < g->count; i++) {
		if (g->checks[i].in_flight && g->checks[i].kind == GATE_TCP)
			gate_tcp_poll(&g->checks[i], &fds[count++]);
	}
	int r = http_step(g->http, fds, count, next_turn_ms(g, clock_mono_ms()), err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < g->count; i++) {
		if (g->checks[i].in_flight && g->checks[i].kind == GATE_TCP)
			gate_tcp_turn(&g->checks[i]);
	}
	/* The tick (the lock's renewal) is due by time only. */
	return wait_ms(w, 0, err);
}

static int turn(struct gate *g, struct err *err)
{
	int r = wait_check(g->c->wait, err);
	if (r < 0)
		return r;
	bool flying = in_flight(g) > 0;
	for (size_t i = 0; i < g->count && !flying; i++) {
		if (is_asked_there(g->checks[i].kind) && is_due(g, &g->checks[i], clock_mono_ms()))
			start_try(&g->checks[i]);
		r = wait_check(g->c->wait, err);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < g->count; i++) {
		if (!is_asked_there(g->checks[i].kind) && is_due(g, &g->checks[i], clock_mono_ms()))
			start_try(&g->checks[i]);
	}
	return is_over(g) ? 0 : wait_turn(g, err);
}

static int failed(const struct gate *g, struct err *err)
{
	_cleanup_(str_done) struct str text = STR_INIT(8192);
	char took[CLOCK_TEXT_SIZE];
	size_t bad = 0;
	for (size_t i = 0; i < g->count; i++) {
		const struct gate_check *check = &g->checks[i];
		if (check->passed)
			continue;
		str_appendf(&text, "%s%s %s", bad++ == 0 ? "" : "; ", check->label,
		            check->tries == 0 ? "was never tried" : str_peek(&check->seen));
		if (check->in->for_ > 1 && !g->baseline)
			str_appendf(&text, " (%lld of %lld in a row)", (long long)check->successes,
			            (long long)check->in->for_);
		if (!g->baseline)
			str_appendf(&text, " (%lld tr%s)", (long long)check->tries, check->tries == 1 ? "y" : "ies");
	}
	if (g->baseline)
		return err_set(err, ERR_FAILED, "%zu of %zu checks do not pass now: %s", bad, g->count,
		               str_peek(&text));
	clock_duration(clock_mono_ms() - g->started_mono_ms, took);
	return err_set(err, ERR_FAILED, "%zu of %zu checks did not pass within %s: %s", bad, g->count, took,
	               str_peek(&text));
}

static int judge(struct gate *g, struct err *err)
{
	while (!is_over(g)) {
		if (!g->baseline && clock_mono_ms() >= g->deadline_mono_ms)
			break;
		int r = turn(g, err);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < g->count; i++) {
		if (!g->checks[i].passed)
			return failed(g, err);
	}
	return 0;
}

static void gate_done(struct gate *g)
{
	for (size_t i = 0; i < g->count; i++) {
		gate_http_stop(&g->checks[i]);
		gate_tcp_stop(&g->checks[i]);
		str_done(&g->checks[i].seen);
		str_done(&g->checks[i].body);
		free(g->checks[i].label_owned);
	}
	free(g->checks);
}

static int probe(const struct step_context *c, bool baseline, struct err *err)
{
	const struct health_gate_in *in = c->input;
	_cleanup_(gate_done) struct gate g = {.c = c, .count = in->checks_count, .baseline = baseline};
	g.checks = xcalloc(g.count + 1, sizeof(*g.checks));
	g.http = c->http(c->engine);
	if (g.http == NULL)
		return err_set(err, ERR_INTERNAL, "this process has no HTTP client");
	g.started_mono_ms = clock_mono_ms();
	g.deadline_mono_ms = baseline ? 0 : g.started_mono_ms + in->deadline_ms;
	for (size_t i = 0; i < g.count; i++) {
		struct gate_check *check = &g.checks[i];
		*check = (struct gate_check){.in = &in->checks[i],
		                             .gate = &g,
		                             .kind = kind_of(&in->checks[i]),
		                             .seen = STR_INIT(8192),
		                             .body = STR_INIT(GATE_BODY_MAX + 1)};
		check->label = check->label_owned = label_of(check->in);
		check->pause_ms = MAX(check->in->interval_ms / BACKOFF_START, 1);
		if (is_asked_there(check->kind)) {
			check->target = find_target(c, check->kind == GATE_FROM ? check->in->from : check->in->target);
			if (check->target == NULL)
				return err_set(err, ERR_INVALID, "the check '%s' needs a target", check->label);
		}
	}
	return judge(&g, err);
}

const struct step_type health_gate_step = {
	.info = &health_gate_info,
	.describe = describe,
	.validate = validate,
	.check = check_targets,
	.probe = probe,
};
