/* The end of a try: what it means for its check, and how log and journal tell it. */
#include "base/core/clock.h"
#include "base/core/shown.h"
#include "steps/health_gate/health_gate.h"

enum {
	MAX_EVENTS = 40,
	BACKOFF_START = 4,
	BACKOFF_MAX = 10,
	SEEN_MAX = 64 << 10,
	BEGINS_MAX = 400,
	BEGINS_TOLD = 60,
	LOG_LINE_MAX = 300
};

void gate_result(struct gate_check *check, bool ok, const char *fmt, ...)
{
	_cleanup_free_ char *raw = NULL;
	va_list ap;
	va_start(ap, fmt);
	if (vasprintf(&raw, fmt, ap) < 0)
		abort();
	va_end(ap);
	struct gate_answer *a = &check->answer;
	a->ok = ok;
	str_clear(&a->seen);
	str_append_n(&a->seen, raw, MIN(strlen(raw), (size_t)SEEN_MAX));
	if (a->ms < 0)
		a->ms = clock_mono_ms() - check->started_mono_ms;
	check->answered = true;
}

void gate_answer_done(struct gate_answer *a)
{
	str_done(&a->seen);
	str_done(&a->begins);
	strv_done(&a->log);
	free(TAKE(a->address));
	free(TAKE(a->incarnation));
}

void gate_begins(struct gate_check *check, const struct str *text)
{
	str_clear(&check->answer.begins);
	str_append_n(&check->answer.begins, str_peek(text), MIN(text->len, (size_t)BEGINS_MAX));
}

/* Masked, cut, and for a person's terminal. free() */
static char *told(const char *text, size_t len, size_t max)
{
	_cleanup_free_ char *shown = shown_text(text, len, max);
	_cleanup_(str_done) struct str safe = STR_INIT(8 * max + 1);
	str_append_safe(&safe, shown, strlen(shown));
	return str_take(&safe);
}

void gate_log_tail(struct gate_check *check, const char *who, const struct str *text)
{
	const char *end = str_peek(text) + text->len, *from = end;
	for (int lines = 0; from > str_peek(text); from--)
		if (from[-1] == '\n' && from != end && ++lines == GATE_LOG_LINES)
			break;
	while (from < end) {
		const char *line = memchr(from, '\n', (size_t)(end - from));
		size_t len = line != NULL ? (size_t)(line - from) : (size_t)(end - from);
		strv_addf(&check->answer.log, "%s | %.*s", who, (int)MIN(len, (size_t)LOG_LINE_MAX * 4), from);
		from += len + (line != NULL);
	}
}

static void pause_after(struct gate_check *check, bool ok)
{
	int64_t interval = check->in->interval_ms, now = clock_mono_ms();
	if (ok) {
		check->pause_ms = MAX(interval / BACKOFF_START, 1);
		check->next_mono_ms = now + interval;
		return;
	}
	check->next_mono_ms = now + check->pause_ms;
	check->pause_ms = MIN(check->pause_ms * 2, interval * BACKOFF_MAX);
}

static int64_t settle_ms(const struct gate_check *check)
{
	return check->in->has_settle ? check->in->settle_ms : check->type->settle_ms;
}

/* A thing that was restarted between two successes was not healthy in between. */
static void judge_incarnation(struct gate_check *check)
{
	struct gate_answer *a = &check->answer;
	bool changed = a->ok && check->incarnation != NULL && a->incarnation != NULL &&
	               strcmp(check->incarnation, a->incarnation) != 0;
	if (a->incarnation != NULL) {
		free(check->incarnation);
		check->incarnation = xstrdup(a->incarnation);
	}
	if (!changed)
		return;
	a->ok = false;
	str_append(&a->seen, ", but was restarted since it was asked before");
}

static bool has_passed(const struct gate_check *check, struct str *why)
{
	if (!check->answer.ok)
		return false;
	if (check->gate->baseline)
		return !check->in->latency.has_times || check->latency_count >= gate_latency_room(check->in);
	int64_t since = clock_mono_ms() - check->row_since_mono_ms, settle = settle_ms(check);
	char is[CLOCK_TEXT_SIZE], wanted[CLOCK_TEXT_SIZE];
	if (check->successes < check->in->for_)
		return false;
	if (since < settle) {
		str_appendf(why, ", for %s of %s", clock_duration(since, is), clock_duration(settle, wanted));
		return false;
	}
	return gate_latency_holds(check, why);
}

static void keep_last(struct gate_check *check, bool ok)
{
	struct gate_answer *a = &check->answer;
	check->last_ok = ok;
	if (a->cut && check->seen.len > 0)
		return;
	str_clear(&check->seen);
	_cleanup_free_ char *seen = told(str_peek(&a->seen), a->seen.len, GATE_SEEN_MAX);
	str_append(&check->seen, seen);
	if (ok)
		return;
	if (a->ok || a->log.count > 0) /* a try that the deadline cuts off may have had no time for them */
		strv_done(&check->log);
	for (size_t i = 0; i < a->log.count; i++)
		strv_add_take(&check->log, told(a->log.items[i], strlen(a->log.items[i]), LOG_LINE_MAX));
}

void gate_take(struct gate_check *check)
{
	struct gate_answer *a = &check->answer;
	_cleanup_(str_done) struct str why = STR_INIT(1024);
	_cleanup_free_ char *former = xstrdup(str_peek(&check->seen));
	check->answered = check->in_flight = false;
	judge_incarnation(check);
	if (a->ok && check->successes == 0)
		check->row_since_mono_ms = check->started_mono_ms;
	check->successes = a->ok ? check->successes + 1 : 0;
	if (a->ok)
		gate_latency_add(check, a->ms);
	check->passed = has_passed(check, &why);
	bool same = check->tries > 1 && a->ok == check->last_ok;
	keep_last(check, a->ok);
	same = same && strcmp(former, str_peek(&check->seen)) == 0;
	if (why.len > 0)
		str_append(&check->seen, str_peek(&why));
	pause_after(check, a->ok);
	if (!check->gate->silent)
		gate_tell(check, same);
	if (why.len > 0)
		str_truncate(&check->seen, check->seen.len - why.len);
	if (check->gate->baseline && (check->passed || !a->ok))
		atomic_store(&check->finished, true);
}

static void report(struct gate_check *check)
{
	const struct step_context *c = check->gate->c;
	const struct gate_answer *a = &check->answer;
	_cleanup_free_ char *begins = told(str_peek(&a->begins), strcspn(str_peek(&a->begins), "\r\n"), BEGINS_TOLD);
	c->report(c->engine, "%s %s: %s%s%s%s (try %lld, %lld ms%s%s)%s", a->ok ? "ok  " : "wait", check->label,
	          str_peek(&check->seen), a->ok && *begins != '\0' ? ", \"" : "", a->ok ? begins : "",
	          a->ok && *begins != '\0' ? "\"" : "", (long long)check->tries, (long long)a->ms,
	          a->address != NULL ? ", " : "", a->address != NULL ? a->address : "",
	          check->passed ? ", passed" : "");
}

static json_t *event_of(const struct gate_check *check)
{
	const struct gate_answer *a = &check->answer;
	json_t *data = json_object(), *log = json_array();
	json_object_set_new(data, "check", json_string_lossy(check->label, strlen(check->label)));
	json_object_set_new(data, "kind", json_string(check->type->name));
	if (check->target != NULL)
		json_object_set_new(data, "target", json_string(check->target->view.name));
	json_object_set_new(data, "ok", json_boolean(a->ok));
	json_object_set_new(data, "try", json_integer(check->tries));
	json_object_set_new(data, "ms", json_integer(a->ms));
	json_object_set_new(data, "seen", json_string_lossy(str_peek(&check->seen), check->seen.len));
	if (a->address != NULL)
		json_object_set_new(data, "address", json_string_lossy(a->address, strlen(a->address)));
	if (a->status >= 0)
		json_object_set_new(data, "status", json_integer(a->status));
	_cleanup_free_ char *begins = told(str_peek(&a->begins), a->begins.len, BEGINS_MAX);
	if (*begins != '\0')
		json_object_set_new(data, "begins", json_string_lossy(begins, strlen(begins)));
	for (size_t i = 0; !a->ok && i < check->log.count; i++)
		json_array_append_new(log, json_string_lossy(check->log.items[i], strlen(check->log.items[i])));
	if (json_array_size(log) > 0)
		json_object_set(data, "log", log);
	json_decref(log);
	if (check->passed) {
		json_object_set_new(data, "passed", json_true());
		json_object_set_new(data, "latency", gate_latency_json(check));
	}
	return data;
}

/* Every try as long as they are few, then those that saw something else than the one before. */
void gate_tell(struct gate_check *check, bool same)
{
	const struct step_context *c = check->gate->c;
	if (c->report != NULL && !check->gate->baseline && (!same || check->passed))
		report(check);
	if (c->event == NULL || (check->events >= MAX_EVENTS && same && !check->passed) ||
	    check->events >= 5 * MAX_EVENTS)
		return;
	check->events++;
	c->event(c->engine, check->gate->baseline ? "baseline" : "probe", event_of(check));
}

static void add_reason(const struct gate *g, const struct gate_check *check, struct str *text)
{
	_cleanup_(str_done) struct str why = STR_INIT(1024);
	const char *seen = check->tries == 0      ? "was never tried"
	                   : check->seen.len == 0 ? "has not answered"
	                                          : str_peek(&check->seen);
	str_appendf(text, "%s %s", check->label, seen);
	if (g->baseline)
		return;
	if (check->in->for_ > 1)
		str_appendf(text, " (%lld of %lld in a row)", (long long)check->successes, (long long)check->in->for_);
	if (check->last_ok && check->tries > 0 && !gate_latency_holds(check, &why))
		str_append(text, str_peek(&why));
	else if (check->last_ok && settle_ms(check) > 0)
		str_append(text, ", but did not settle");
	str_appendf(text, " (%lld tr%s)", (long long)check->tries, check->tries == 1 ? "y" : "ies");
}

static void report_logs(const struct gate *g)
{
	const struct step_context *c = g->c;
	for (size_t i = 0; c->report != NULL && !g->baseline && i < g->count; i++)
		for (size_t j = 0; !g->checks[i].passed && j < g->checks[i].log.count; j++)
			c->report(c->engine, "     %s", g->checks[i].log.items[j]);
}

int gate_failed(const struct gate *g, struct err *err)
{
	_cleanup_(str_done) struct str text = STR_INIT(8192);
	char took[CLOCK_TEXT_SIZE];
	size_t bad = 0;
	for (size_t i = 0; i < g->count; i++) {
		if (g->checks[i].passed)
			continue;
		str_append(&text, bad++ == 0 ? "" : "; ");
		add_reason(g, &g->checks[i], &text);
	}
	report_logs(g);
	if (g->baseline)
		return err_set(err, ERR_FAILED, "%zu of %zu checks do not pass now: %s", bad, g->count,
		               str_peek(&text));
	clock_duration(clock_mono_ms() - g->started_mono_ms, took);
	return err_set(err, ERR_FAILED, "%zu of %zu checks did not pass within %s: %s", bad, g->count, took,
	               str_peek(&text));
}
