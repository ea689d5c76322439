#include "agent/deployment/session.h"
#include "agent/deployment/findings.h"
#include "engine/journal/postgres/open.h"
#include "engine/journal/state_dir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "agent/deployment/invocation.h"
#include "agent/report/report.h"
#include "base/net/http.h"
#include "base/core/cancel.h"
#include "base/core/log.h"
#include "base/core/rand.h"
#include "base/secret/mask.h"
#include "steps/registry.h"

enum { LINE_MAX_BYTES = 1 << 20, JSON_SHOWN_MAX = 256 << 20 };

/* Data of a workflow command: %, CR and LF are escaped (protocol: workflow commands on stdout). */
static void append_command_data(struct str *out, const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text == '%')
			str_append(out, "%25");
		else if (*text == '\r')
			str_append(out, "%0D");
		else if (*text == '\n')
			str_append(out, "%0A");
		else
			str_append_c(out, *text);
	}
}

static void workflow_line(const char *level, const char *line, struct str *out)
{
	if (strcmp(level, "endgroup") == 0) {
		str_append(out, "::endgroup::\n");
		return;
	}
	if (strcmp(level, "info") == 0) {
		str_append(out, line);
	} else {
		str_appendf(out, "::%s::", level);
		append_command_data(out, line);
	}
	str_append_c(out, '\n');
}

static void plain_line(const struct deployment_session *s, const char *level, const char *line, struct str *out)
{
	const char *colour = "", *mark = "";
	if (strcmp(level, "endgroup") == 0)
		return;
	if (strcmp(level, "group") == 0) {
		colour = "\x1b[1m";
	} else if (strcmp(level, "error") == 0) {
		colour = "\x1b[31m";
		mark = "error: ";
	} else if (strcmp(level, "warning") == 0) {
		colour = "\x1b[33m";
		mark = "warning: ";
	} else {
		mark = "  ";
	}
	str_append(out, s->colours ? colour : "");
	str_append(out, mark);
	str_append_safe(out, line, strlen(line));
	str_append(out, s->colours && *colour ? "\x1b[0m\n" : "\n");
}

/* ---- output of targets, checks and programs is text, never a command to the runner ---- */

static bool could_command(const char *text)
{
	return strstr(text, "::") != NULL || strstr(text, "##[") != NULL;
}

/* From here on the runner executes no commands, until the token. Runners trim everything in front of `::` and look for `##[` in
 * the whole line, so a line cannot be quoted. */
static void stop_commands(struct deployment_session *s)
{
	if (s->token[0] == '\0')
		rand_hex(s->token, sizeof(s->token) - 1);
	if (!s->stopped)
		fprintf(stdout, "::stop-commands::%s\n", s->token);
	s->stopped = true;
}

static void resume_commands(struct deployment_session *s)
{
	if (s->stopped)
		fprintf(stdout, "::%s::\n", s->token);
	s->stopped = false;
}

/* Standard error cannot be framed: how its lines mix with standard output is chance. */
static void write_without_commands(const char *text, FILE *out)
{
	struct str shown _cleanup_(str_done) = STR_INIT(4 * LINE_MAX_BYTES);
	for (; *text != '\0'; text++) {
		if (text[0] == ':' && text[1] == ':')
			str_append(&shown, "\\x3a");
		else if (strncmp(text, "##[", 3) == 0)
			str_append(&shown, "\\x23");
		else if (text[0] == '\r' || (text[0] == '\n' && text[1] != '\0'))
			str_appendf(&shown, "\\x%02x", (unsigned)text[0]);
		else
			str_append_c(&shown, *text);
	}
	fputs(str_peek(&shown), out);
}

/* ---- one line on a terminal that is rewritten ---- */

enum { COLUMNS_WITHOUT_WORD = 80, LIVE_LINE_MAX = 4096 };

static void hide_live(struct deployment_session *s)
{
	if (s->live) {
		fputs("\r\x1b[K", stderr);
		fflush(stderr);
	}
	s->live = false;
}

static size_t terminal_columns(void)
{
	struct winsize size;
	bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
	return known ? size.ws_col : COLUMNS_WITHOUT_WORD;
}

/* Cut to one row: a line that wraps could not be taken back. */
static void cut_to_row(struct str *text)
{
	size_t left = terminal_columns() - 1, at = 0;
	const char *p = str_peek(text);
	for (; at < text->len; at++)
		if (((unsigned char)p[at] & 0xc0) != 0x80 && left-- == 0)
			break;
	str_truncate(text, at);
}

static void show_live(void *context, const char *line)
{
	struct deployment_session *s = context;
	struct str masked _cleanup_(str_done) = STR_INIT(LIVE_LINE_MAX),
			  text _cleanup_(str_done) = STR_INIT(LIVE_LINE_MAX);
	hide_live(s);
	if (line == NULL)
		return;
	mask_apply(mask_process(), line, strlen(line), &masked);
	str_append(&text, "  ");
	str_append_safe(&text, str_peek(&masked), masked.len);
	cut_to_row(&text);
	fputs(str_peek(&text), stderr);
	fflush(stderr);
	s->live = true;
}

static bool is_watched(const struct deployment_session *s)
{
	const char *term = getenv("TERM");
	return !s->workflow && isatty(STDERR_FILENO) && term != NULL && term[0] != '\0' && strcmp(term, "dumb") != 0;
}

/* ---- lines ---- */

/* A workflow's runner reads commands from standard output only; elsewhere errors are on standard error. */
static void write_line(struct deployment_session *s, const char *level, const struct str *text)
{
	FILE *out = s->json || (!s->workflow && strcmp(level, "error") == 0) ? stderr : stdout;
	bool foreign = strcmp(level, "info") == 0;
	hide_live(s);
	if (s->workflow && foreign && out == stderr) {
		write_without_commands(str_peek(text), out);
		return;
	}
	if (s->workflow && out == stdout && !foreign)
		resume_commands(s);
	else if (s->workflow && out == stdout && could_command(str_peek(text)))
		stop_commands(s);
	fwrite(str_peek(text), 1, text->len, out);
	fflush(out);
}

/* `##[` can only occur in JSON strings, where a character may be written by its number. */
static void print_json(const char *pretty)
{
	struct str text _cleanup_(str_done) = STR_INIT(JSON_SHOWN_MAX);
	for (const char *mark; (mark = strstr(pretty, "##[")) != NULL; pretty = mark + 3) {
		str_append_n(&text, pretty, (size_t)(mark - pretty));
		str_append(&text, "##\\u005b");
	}
	str_append(&text, pretty);
	report_print_masked(str_peek(&text), stdout);
}

void deployment_session_begin_text(struct deployment_session *s)
{
	hide_live(s);
	if (s->workflow)
		stop_commands(s);
}

void deployment_session_print_json(const json_t *value)
{
	_cleanup_free_ char *text = json_pretty(value);
	print_json(text);
}

/* Masked first: escaping could hide a secret from the mask. */
static void report_line(void *context, const char *level, const char *line)
{
	struct deployment_session *s = context;
	struct str text _cleanup_(str_done) = STR_INIT(LINE_MAX_BYTES);
	struct str masked _cleanup_(str_done) = STR_INIT(LINE_MAX_BYTES);
	if (strcmp(level, "error") == 0)
		snprintf(s->last_error, sizeof(s->last_error), "%s", line);
	mask_apply(mask_process(), line, strlen(line), &masked);
	if (s->workflow)
		workflow_line(level, str_peek(&masked), &text);
	else
		plain_line(s, level, str_peek(&masked), &text);
	write_line(s, level, &text);
}

void deployment_session_tell_masks(struct deployment_session *s)
{
	if (s->workflow || !mask_has_short_lines(mask_process()))
		return;
	_cleanup_free_ char *line = xasprintf(
		"a secret has lines of fewer than %d characters: they are not masked by themselves", MASK_LINE_MIN);
	report_line(s, "info", line);
}

static struct http *session_http(void *context)
{
	struct deployment_session *s = context;
	const struct http_config config = {0};
	if (s->http == NULL)
		s->http = http_new(&config, NULL);
	return s->http;
}

int deployment_session_open(struct deployment_session *s, bool needs_store, struct err *err)
{
	*s = (struct deployment_session){.wait = WAIT_INIT};
	const char *actions = getenv("GITHUB_ACTIONS");
	s->workflow = actions != NULL && strcmp(actions, "true") == 0;
	s->colours = !s->workflow && log_colours(STDOUT_FILENO);
	int fd = cancel_install(err);
	if (fd < 0)
		return fd;
	s->wait.cancel_fd = fd;
	_cleanup_free_ char *dir = state_dir(err);
	if (dir == NULL)
		return err ? err->code : ERR_IO;
	int r = store_check_owner(dir, err);
	if (r == 0)
		r = needs_store ? journal_open(dir, &s->store, err) : journal_open_readonly(dir, &s->store, err);
	if (r < 0 && (needs_store || r != ERR_NOT_FOUND)) {
		/* Whatever failed: nothing was changed, and without a journal nothing will be. */
		err_wrap(err, r, "open the journal in %s", dir);
		state_dir_hint(err, r);
		if (err)
			err->code = ERR_REFUSED;
		return ERR_REFUSED;
	}
	s->options = (struct engine_options){
		.store = s->store,
		.wait = &s->wait,
		.seal = true,
		.report = report_line,
		.report_context = s,
		.findings = deployment_findings_tell,
		.live = is_watched(s) ? show_live : NULL,
		.target_kinds = target_kinds,
		.make_target = target_config_make,
		.find_step = step_find,
		.find_change = change_find,
		.http = session_http,
		.http_context = s,
	};
	return 0;
}

void deployment_session_done(struct deployment_session *s)
{
	hide_live(s);
	resume_commands(s);
	fflush(stdout);
	store_closep(&s->store);
	http_freep(&s->http);
	json_decrefp(&s->faults);
}

static void append_masked(struct str *out, const char *text)
{
	mask_apply(mask_process(), text, strlen(text), out);
}

/* The properties of a workflow command: their end characters are escaped too. */
static void append_property(struct str *out, const char *text)
{
	struct str data _cleanup_(str_done) = STR_INIT(LINE_MAX_BYTES);
	append_command_data(&data, text);
	for (const char *p = str_peek(&data); *p != '\0'; p++) {
		if (*p == ':')
			str_append(out, "%3A");
		else if (*p == ',')
			str_append(out, "%2C");
		else
			str_append_c(out, *p);
	}
}

/* ::error file=deploy/x.yml,line=3,col=7::text */
static void fault_command(const json_t *fault, const char *text, const char *hint, struct str *out)
{
	const char *file = json_get_string(fault, "file");
	int64_t line = json_get_int(fault, "line", 0);
	str_append(out, "::error");
	if (file != NULL && line > 0) {
		str_append(out, " file=");
		append_property(out, file);
		str_appendf(out, ",line=%lld,col=%lld", (long long)line, (long long)json_get_int(fault, "column", 0));
	}
	str_append(out, "::");
	append_command_data(out, text);
	if (hint != NULL) {
		str_append(out, "%0A");
		append_command_data(out, hint);
	}
	str_append_c(out, '\n');
}

/* deploy/x.yml:3:7: /steps/0/run: text, the hint indented below. */
static void fault_line(const json_t *fault, const char *text, const char *hint, struct str *out)
{
	const char *file = json_get_string(fault, "file");
	int64_t line = json_get_int(fault, "line", 0);
	if (file != NULL && line > 0)
		str_appendf(out, "%s:%lld:%lld: ", file, (long long)line, (long long)json_get_int(fault, "column", 0));
	else if (file != NULL)
		str_appendf(out, "%s: ", file);
	str_append_safe(out, text, strlen(text));
	str_append_c(out, '\n');
	if (hint == NULL)
		return;
	str_append(out, "  ");
	str_append_safe(out, hint, strlen(hint));
	str_append_c(out, '\n');
}

static void say_faults(struct deployment_session *s)
{
	size_t i;
	json_t *fault;
	json_array_foreach(s->faults, i, fault)
	{
		struct str out _cleanup_(str_done) = STR_INIT(LINE_MAX_BYTES),
			       text _cleanup_(str_done) = STR_INIT(LINE_MAX_BYTES);
		struct str hint _cleanup_(str_done) = STR_INIT(LINE_MAX_BYTES);
		const char *at = json_get_string(fault, "at"), *said = json_get_string(fault, "text"),
			   *way = json_get_string(fault, "hint");
		if (at != NULL) {
			append_masked(&text, at);
			str_append(&text, ": ");
		}
		append_masked(&text, said ? said : "");
		append_masked(&hint, way ? way : "");
		(s->workflow ? fault_command : fault_line)(fault, str_peek(&text), way ? str_peek(&hint) : NULL, &out);
		write_line(s, "error", &out);
	}
}

static void say_error(struct deployment_session *s, const struct err *err)
{
	char line[4096];
	if (err->code == 0)
		return;
	err_line(err, line, sizeof(line));
	say_faults(s);
	if (strncmp(line, s->last_error, sizeof(s->last_error) - 1) != 0)
		report_line(s, "error", line);
	if (err->hint[0] == '\0')
		return;
	if (s->workflow || s->json) {
		report_line(s, "info", err->hint);
		return;
	}
	struct str hint _cleanup_(str_done) = STR_INIT(LINE_MAX_BYTES),
			masked _cleanup_(str_done) = STR_INIT(LINE_MAX_BYTES);
	append_masked(&masked, err->hint);
	plain_line(s, "info", str_peek(&masked), &hint);
	write_line(s, "error", &hint);
}

static void summarise(const struct deployment_session *s, const struct engine_result *result, bool plan, int status,
                      const struct err *err)
{
	struct err ignored = ERR_INIT;
	char line[4096];
	if (!s->workflow || s->title == NULL)
		return;
	bool refused = plan && status != 0 && status != 3 && status != 6;
	_cleanup_free_ char *text = report_summary(
		s->title, result && !refused ? result->report : NULL, s->faults,
		result ? json_object_get(result->report, "findings") : NULL,
		refused                ? "refused"
		: plan                 ? "planned"
		: result && result->id ? deployment_state_name(result->state)
				       : NULL,
		(plan && !refused && result) || (result && result->state == DEPLOYMENT_PARKED) ? result->digest : NULL,
		status != 0 && err->code != 0 ? err_line(err, line, sizeof(line)) : NULL);
	if (text != NULL)
		invocation_write_summary(text, &ignored);
}

static int fail(struct deployment_session *s, int status, const struct err *err)
{
	if (s->json) {
		char line[4096];
		json_t *answer _cleanup_json_ = json_pack(
			"{s:i, s:{s:s, s:o, s:s}}", "exit_status", status, "error", "code", err_code_name(err->code),
			"text", json_stringf("%s", err_line(err, line, sizeof(line))), "hint", err->hint);
		if (s->faults != NULL)
			json_object_set(json_object_get(answer, "error"), "faults", s->faults);
		deployment_session_print_json(answer);
	}
	say_error(s, err);
	summarise(s, NULL, false, status, err);
	return status;
}

int deployment_session_fail(struct deployment_session *s, const struct err *err)
{
	int status = err_exit_status(err->code);
	return fail(s, status == 1 ? 2 : status, err);
}

/* Prints one line at the end: which deployment, how it ended, how much, how long. A step of a job shows the state, as it has not ended yet. */
static void say_end(struct deployment_session *s, const char *id, const char *state, const json_t *report)
{
	static const enum deployment_state unended[] = {DEPLOYMENT_OPEN, DEPLOYMENT_REFUSED, DEPLOYMENT_PARKED};
	const json_t *doc = json_object_get(report, "deployment");
	int64_t from = json_get_int(doc, "created_ms", 0), to = json_get_int(doc, "decided_ms", 0);
	size_t count = json_array_size(json_object_get(report, "changes"));
	struct str line _cleanup_(str_done) = STR_INIT(512);
	if (id == NULL || report == NULL)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(unended); i++)
		if (strcmp(state, deployment_state_name(unended[i])) == 0)
			return;
	str_appendf(&line, "%s %s", id, state);
	if (count == 0)
		str_append(&line, ": nothing to change");
	else
		str_appendf(&line, ": %zu change%s", count, count == 1 ? "" : "s");
	if (to >= from && from > 0) {
		str_append(&line, ", ");
		report_append_duration(&line, to - from);
	}
	report_line(s, "info", str_peek(&line));
}

static void say_ends(struct deployment_session *s, const struct engine_result *result)
{
	size_t i;
	json_t *one;
	json_array_foreach(result->decided, i, one)
		say_end(s, json_get_string(one, "id"), json_get_string(one, "state"), json_get_object(one, "report"));
	if (json_array_size(result->decided) == 0)
		say_end(s, result->id, deployment_state_name(result->state), result->report);
}

int deployment_session_tell(struct deployment_session *s, int r, const struct engine_result *result, bool plan,
                            const struct err *err)
{
	if (r < 0)
		return fail(s, err_exit_status(err->code), err);
	if (s->json) {
		char line[4096];
		json_t *answer _cleanup_json_ =
			json_pack("{s:i, s:s, s:s?, s:s, s:O?, s:O?}", "exit_status", result->exit_status, "state",
		                  plan ? "planned" : deployment_state_name(result->state), "id", result->id, "digest",
		                  result->digest, "report", result->report, "outputs", result->outputs);
		if (json_array_size(result->decided) > 0)
			json_object_set(answer, "decided", result->decided);
		if (s->options.refresh)
			json_object_set_new(answer, "drift", json_integer((json_int_t)result->drift));
		if (err->code != 0)
			json_object_set_new(answer, "reason", json_stringf("%s", err_line(err, line, sizeof(line))));
		if (err->hint[0] != '\0')
			json_object_set_new(answer, "hint", json_stringf("%s", err->hint));
		deployment_session_print_json(answer);
	} else if (plan && result->report != NULL &&
	           (result->exit_status == 0 || result->exit_status == 3 || result->exit_status == 6)) {
		deployment_session_begin_text(s);
		report_print_plan(result->report, result->digest, s->colours, stdout);
	}
	if (result->exit_status != 0)
		say_error(s, err);
	if (!plan && !s->json)
		say_ends(s, result);
	summarise(s, result, plan, result->exit_status, err);
	return result->exit_status;
}
