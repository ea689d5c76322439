#include "agent/report/report.h"
#include "agent/report/report_priv.h"

#include <string.h>

#include "base/core/clock.h"
#include "base/secret/mask.h"

enum { TEXT_MAX = 64 << 20 };

void report_print_masked(const char *text, FILE *out)
{
	struct str masked _cleanup_(str_done) = STR_INIT(TEXT_MAX);
	mask_apply(mask_process(), text, strlen(text), &masked);
	fwrite(str_peek(&masked), 1, masked.len, out);
	fputc('\n', out);
}

const char *report_text_of(const json_t *object, const char *key)
{
	const char *text = json_get_string(object, key);
	return text ? text : "";
}

void report_safe(struct str *out, const char *text)
{
	str_append_safe(out, text, strlen(text));
}

const char *report_colour(bool colours, const char *code)
{
	return colours ? code : "";
}

static const char *state_colour(const char *state)
{
	if (strcmp(state, "committed") == 0 || strcmp(state, "done") == 0)
		return "\x1b[32m";
	if (strcmp(state, "held") == 0 || strcmp(state, "conflict") == 0 || strcmp(state, "blocked") == 0)
		return "\x1b[31m";
	return "\x1b[33m";
}

void report_print_out(struct str *text, FILE *out)
{
	struct str masked _cleanup_(str_done) = STR_INIT(TEXT_MAX);
	mask_apply(mask_process(), str_peek(text), text->len, &masked);
	fwrite(str_peek(&masked), 1, masked.len, out);
}

/* "mode 0600 → 0644", one line for each attribute that differs. */
static void append_difference(struct str *out, const json_t *before, const json_t *after)
{
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)after, key, value)
	{
		const json_t *old = json_object_get(before, key);
		if (json_equal(old, value) || strcmp(key, "mtime_ns") == 0)
			continue;
		_cleanup_free_ char *from = old && !json_is_null(old) ? json_dumps(old, JSON_ENCODE_ANY) : NULL;
		_cleanup_free_ char *to = json_dumps(value, JSON_ENCODE_ANY);
		bool digest = strcmp(key, "digest") == 0;
		struct str line _cleanup_(str_done) = STR_INIT(TEXT_MAX);
		str_appendf(&line, "        %s: ", key);
		if (from != NULL)
			str_appendf(&line, digest ? "%.13s…\" → " : "%s → ", from);
		str_appendf(&line, digest ? "%.13s…\"" : "%s", to ? to : "");
		report_safe(out, str_peek(&line));
		str_append_c(out, '\n');
	}
}

static void append_change(struct str *out, const json_t *change, bool with_state, bool colours)
{
	const char *action = report_text_of(change, "action");
	const char *mark = strcmp(action, "create") == 0    ? "+"
	                   : strcmp(action, "destroy") == 0 ? "-"
	                   : strcmp(action, "run") == 0     ? "!"
	                                                    : "~";
	str_appendf(out, "    %s %-8s ", mark, action);
	report_safe(out, report_text_of(change, "target"));
	str_append_c(out, ' ');
	const char *summary = report_text_of(change, "summary"), *path = report_text_of(change, "path");
	bool command = strcmp(report_text_of(change, "kind"), "command") == 0;
	if (!command || summary[0] == '\0')
		report_safe(out, path);
	if (summary[0] != '\0') {
		str_append(out, command ? "" : ": ");
		report_safe(out, summary);
	}
	if (with_state) {
		/* The note of a change that counts as undone says why there was nothing to undo. */
		bool untouched =
			strcmp(report_text_of(change, "state"), "undone") == 0 && report_text_of(change, "note")[0];
		const char *state = untouched ? "nothing to undo" : report_text_of(change, "state");
		str_appendf(out, "  [%s%s%s]", report_colour(colours, state_colour(state)), state,
		            report_colour(colours, "\x1b[0m"));
		if (report_text_of(change, "note")[0]) {
			str_append(out, " ");
			report_safe(out, report_text_of(change, "note"));
		}
	}
	str_append_c(out, '\n');
	append_difference(out, json_object_get(change, "before"), json_object_get(change, "after"));
}

static void append_step_head(struct str *out, const json_t *step, bool colours)
{
	str_appendf(out, "  %s", report_colour(colours, "\x1b[1m"));
	report_safe(out, report_text_of(step, "name")[0] ? report_text_of(step, "name") : report_text_of(step, "step"));
	str_append(out, report_colour(colours, "\x1b[0m"));
	if (report_text_of(step, "state")[0])
		str_appendf(out, "  %s", report_text_of(step, "state"));
	str_append_c(out, '\n');
}

static void append_changes_of(struct str *out, const json_t *report, const json_t *step, size_t index, bool with_state,
                              bool colours)
{
	size_t i;
	json_t *change;
	int64_t number = json_get_int(step, "index", (int64_t)index);
	json_array_foreach(json_object_get(report, "changes"), i,
	                   change) if (json_get_int(change, "step", -1) == number)
		append_change(out, change, with_state, colours);
}

/* One step of a plan carries its own changes and warnings. */
static size_t append_planned_step(struct str *text, const json_t *step, bool colours)
{
	size_t i;
	json_t *change, *warning;
	append_step_head(text, step, colours);
	if (report_text_of(step, "description")[0]) {
		str_append(text, "    ");
		report_safe(text, report_text_of(step, "description"));
		str_append_c(text, '\n');
	}
	json_array_foreach(json_object_get(step, "changes"), i, change) append_change(text, change, false, colours);
	json_array_foreach(json_object_get(step, "warnings"), i, warning)
	{
		str_appendf(text, "    %swarning:%s ", report_colour(colours, "\x1b[33m"),
		            report_colour(colours, "\x1b[0m"));
		report_safe(text, json_string_value(warning) ? json_string_value(warning) : "");
		str_append_c(text, '\n');
	}
	return json_array_size(json_object_get(step, "changes"));
}

void report_print_plan(const json_t *report, const char *digest, bool colours, FILE *out)
{
	struct str text _cleanup_(str_done) = STR_INIT(TEXT_MAX);
	size_t i, count = 0;
	json_t *step;
	json_array_foreach(json_object_get(report, "plan"), i, step) count += append_planned_step(&text, step, colours);
	if (count == 0)
		str_append(&text, "Nothing to change.\n");
	else
		str_appendf(&text, "%zu change%s.\n", count, count == 1 ? "" : "s");
	json_array_foreach(json_object_get(report, "not_taken_back"), i, step)
	{
		str_append(&text, i == 0 ? "Not taken back:\n  " : "  ");
		report_safe(&text, json_string_value(step) ? json_string_value(step) : "");
		str_append_c(&text, '\n');
	}
	if (digest != NULL && digest[0] != '\0')
		str_appendf(&text, "Plan %s\n", digest);
	report_print_out(&text, out);
}

void report_append_time(struct str *out, int64_t wall_ms)
{
	char text[CLOCK_TEXT_SIZE];
	if (wall_ms <= 0) {
		str_append(out, "-                  ");
		return;
	}
	clock_rfc3339(wall_ms, text);
	text[10] = ' ';
	text[19] = '\0';
	str_append(out, text);
}

void report_append_column(struct str *out, const char *value, size_t width)
{
	size_t before = out->len;
	report_safe(out, value);
	while (out->len - before < width)
		str_append_c(out, ' ');
	str_append_c(out, ' ');
}

void report_append_duration(struct str *out, int64_t ms)
{
	if (ms < 1000)
		str_appendf(out, "%lld ms", (long long)ms);
	else if (ms < 10000)
		str_appendf(out, "%lld.%lld s", (long long)(ms / 1000), (long long)(ms % 1000 / 100));
	else if (ms < 120000)
		str_appendf(out, "%lld s", (long long)(ms / 1000));
	else
		str_appendf(out, "%lld min", (long long)(ms / 60000));
}

static void append_took(struct str *out, const json_t *deployment)
{
	int64_t from = json_get_int(deployment, "created_ms", 0), to = json_get_int(deployment, "decided_ms", 0);
	struct str took _cleanup_(str_done) = STR_INIT(64);
	if (to >= from && from > 0)
		report_append_duration(&took, to - from);
	str_appendf(out, " %8s  ", took.len > 0 ? str_peek(&took) : "-");
}

/* "committed (live): rollback of …": the kind unless it is an ordinary deployment, and whether it changed nothing. */
static void append_outcome(struct str *out, const json_t *d, bool colours)
{
	const char *state = report_text_of(d, "state"), *kind = report_text_of(d, "kind");
	str_appendf(out, "%s%s%s%s", report_colour(colours, state_colour(state)), state,
	            report_colour(colours, "\x1b[0m"), json_get_bool(d, "live", false) ? ", live" : "");
	if (strcmp(kind, "rollback") == 0) {
		str_append(out, report_text_of(d, "from")[0] ? ", rollback of " : ", rollback");
		report_safe(out, report_text_of(d, "from"));
	} else if (strcmp(kind, "accepted") == 0) {
		str_append(out, ", accepted by hand");
	} else if (strcmp(state, "committed") == 0 && json_get_int(d, "changes", 1) == 0) {
		str_append(out, ", nothing changed");
	}
}

void report_print_history(const json_t *deployments, bool colours, FILE *out)
{
	struct str text _cleanup_(str_done) = STR_INIT(TEXT_MAX);
	size_t i;
	json_t *d;
	if (json_array_size(deployments) == 0)
		str_append(&text, "No deployment has been made from here.\n");
	else
		str_append(
			&text,
			"ID                      WHEN (UTC)             TOOK  NAME.ENVIRONMENT          COMMIT    RELEASE                 STATE\n");
	json_array_foreach(deployments, i, d)
	{
		_cleanup_free_ char *scope =
			xasprintf("%s.%s", report_text_of(d, "name"), report_text_of(d, "environment"));
		report_append_column(&text, report_text_of(d, "id"), 23);
		report_append_time(&text, json_get_int(d, "created_ms", 0));
		append_took(&text, d);
		report_append_column(&text, scope, 25);
		_cleanup_free_ char *commit = xasprintf("%.8s", report_text_of(d, "commit"));
		report_append_column(&text, commit[0] ? commit : "-", 9);
		report_append_column(&text, report_text_of(d, "release")[0] ? report_text_of(d, "release") : "-", 23);
		append_outcome(&text, d, colours);
		if (report_text_of(d, "reason")[0]) {
			str_append(&text, ": ");
			report_safe(&text, report_text_of(d, "reason"));
		}
		str_append_c(&text, '\n');
	}
	report_print_out(&text, out);
}

static void append_field(struct str *out, const char *name, const char *value)
{
	if (value[0] == '\0')
		return;
	str_appendf(out, "%-13s", name);
	report_safe(out, value);
	str_append_c(out, '\n');
}

/* "ok    https://…: answered 200 (try 2, 14 ms)" */
static void append_probe(struct str *out, const json_t *data)
{
	str_append(out, json_get_bool(data, "ok", false) ? "ok      " : "failed  ");
	if (report_text_of(data, "target")[0]) {
		report_safe(out, report_text_of(data, "target"));
		str_append(out, ": ");
	}
	report_safe(out, report_text_of(data, "check"));
	str_append(out, ": ");
	report_safe(out, report_text_of(data, "seen"));
	str_appendf(out, " (try %lld, %lld ms)%s", (long long)json_get_int(data, "try", 0),
	            (long long)json_get_int(data, "ms", 0), json_get_bool(data, "passed", false) ? ", passed" : "");
}

void report_append_event_words(struct str *out, const json_t *event)
{
	const json_t *data = json_object_get(event, "data");
	if (report_text_of(data, "text")[0]) {
		report_safe(out, report_text_of(data, "text"));
	} else if (report_text_of(data, "check")[0]) {
		append_probe(out, data);
	} else if (json_is_boolean(json_object_get(data, "healthy"))) {
		bool healthy = json_get_bool(data, "healthy", false);
		str_append(out, healthy ? "healthy" : "not healthy");
		str_append(out, report_text_of(data, "reason")[0] ? ": " : "");
		report_safe(out, report_text_of(data, "reason"));
		if (report_text_of(data, "of")[0])
			str_appendf(out, " (when %s was committed)", report_text_of(data, "of"));
	} else if (data != NULL) {
		_cleanup_free_ char *compact = json_text(data);
		report_safe(out, compact);
	}
}

static void append_event(struct str *out, const json_t *event)
{
	char when[CLOCK_TEXT_SIZE];
	clock_rfc3339(json_get_int(event, "at_ms", 0), when);
	when[19] = '\0';
	str_appendf(out, "  %s  %-10s ", when + 11, report_text_of(event, "kind"));
	report_append_event_words(out, event);
	str_append_c(out, '\n');
}

void report_print_deployment(const json_t *report, bool colours, FILE *out)
{
	struct str text _cleanup_(str_done) = STR_INIT(TEXT_MAX);
	const json_t *d = json_object_get(report, "deployment");
	size_t i;
	json_t *item;
	str_appendf(&text, "%s%s%s  %s.%s  ", report_colour(colours, "\x1b[1m"), report_text_of(d, "id"),
	            report_colour(colours, "\x1b[0m"), report_text_of(d, "name"), report_text_of(d, "environment"));
	append_outcome(&text, d, colours);
	str_append_c(&text, '\n');
	append_field(&text, "release", report_text_of(d, "release"));
	append_field(&text, "reason", report_text_of(d, "reason"));
	if (json_is_integer(json_object_get(d, "exit_status")))
		str_appendf(&text, "%-13s%lld\n", "exit status", (long long)json_get_int(d, "exit_status", 0));
	append_field(&text, "commit", report_text_of(d, "commit"));
	append_field(&text, "run", report_text_of(d, "run_url"));
	append_field(&text, "by", report_text_of(d, "user"));
	append_field(&text, "plan", report_text_of(d, "plan_digest"));
	json_array_foreach(json_object_get(d, "targets"), i, item)
	{
		const char *identity = report_text_of(item, "identity");
		_cleanup_free_ char *line =
			xasprintf("%s%s%s%s%s%s%s%s", report_text_of(item, "name"), *identity ? ": " : "",
		                  report_text_of(item, "user"), report_text_of(item, "host")[0] ? "@" : "",
		                  report_text_of(item, "host"), *identity ? " (" : "", identity, *identity ? ")" : "");
		append_field(&text, "target", line);
	}
	str_append(&text, "\nsteps and changes\n");
	json_array_foreach(json_object_get(report, "steps"), i, item)
	{
		append_step_head(&text, item, colours);
		append_changes_of(&text, report, item, i, true, colours);
	}
	if (json_array_size(json_object_get(report, "events")) > 0)
		str_append(&text, "\nwhat was seen\n");
	json_array_foreach(json_object_get(report, "events"), i, item) append_event(&text, item);
	report_print_out(&text, out);
}
