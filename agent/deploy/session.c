#include "agent/deploy/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/report/report.h"
#include "base/http.h"
#include "base/log.h"
#include "base/secret.h"

enum { LINE_MAX_BYTES = 1 << 20 };

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
		/* A line that looks like a command must not become one. */
		if (str_starts(line, "::") || str_starts(line, "##["))
			str_append_c(out, ' ');
		str_append(out, line);
	} else {
		str_appendf(out, "::%s::", level);
		append_command_data(out, line);
	}
	str_append_c(out, '\n');
}

static void plain_line(const struct deploy_session *s, const char *level, const char *line, struct str *out)
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

/* Masked first: escaping could hide a secret from the mask. */
static void report_line(void *context, const char *level, const char *line)
{
	struct deploy_session *s = context;
	struct str text _cleanup_(str_done) = STR_INIT(LINE_MAX_BYTES);
	struct str masked _cleanup_(str_done) = STR_INIT(LINE_MAX_BYTES);
	if (strcmp(level, "error") == 0)
		snprintf(s->last_error, sizeof(s->last_error), "%s", line);
	mask_apply(mask_process(), line, strlen(line), &masked);
	if (s->workflow)
		workflow_line(level, str_peek(&masked), &text);
	else
		plain_line(s, level, str_peek(&masked), &text);
	FILE *out = s->json ? stderr : stdout;
	fwrite(str_peek(&text), 1, text.len, out);
	fflush(out);
}

static struct http *session_http(void *context)
{
	struct deploy_session *s = context;
	const struct http_config config = { 0 };
	if (s->http == NULL)
		s->http = http_new(&config, NULL);
	return s->http;
}

int deploy_session_open(struct deploy_session *s, bool needs_store, struct err *err)
{
	*s = (struct deploy_session){ .wait = WAIT_INIT };
	const char *actions = getenv("GITHUB_ACTIONS");
	s->workflow = actions != NULL && strcmp(actions, "true") == 0;
	s->colours = !s->workflow && log_colours(STDOUT_FILENO);
	int fd = cancel_install(err);
	if (fd < 0)
		return fd;
	s->wait.cancel_fd = fd;
	_cleanup_free_ char *dir = engine_state_dir(err);
	if (dir == NULL)
		return err ? err->code : ERR_IO;
	int r = needs_store ? store_open(dir, NULL, &s->store, err) : store_open_readonly(dir, &s->store, err);
	if (r < 0 && (needs_store || r != ERR_NOT_FOUND))
		return err_wrap(err, r, "open the journal in %s", dir);
	s->options = (struct engine_options){
		.store = s->store,
		.wait = &s->wait,
		.seal = true,
		.report = report_line,
		.report_context = s,
		.make_target = target_new,
		.http = session_http,
		.http_context = s,
	};
	return 0;
}

void deploy_session_done(struct deploy_session *s)
{
	store_closep(&s->store);
	http_freep(&s->http);
}

static void say_error(struct deploy_session *s, const struct err *err)
{
	char line[4096];
	if (err->code == 0)
		return;
	err_line(err, line, sizeof(line));
	if (strncmp(line, s->last_error, sizeof(s->last_error) - 1) != 0)
		report_line(s, "error", line);
	if (err->hint[0] != '\0')
		report_line(s, "info", err->hint);
}

int deploy_session_fail(struct deploy_session *s, const struct err *err)
{
	if (s->json) {
		char line[4096];
		json_t *answer _cleanup_json_ = json_pack("{s:i, s:{s:s, s:o, s:s}}", "exit_status", err_exit_status(err->code),
		        "error", "code", err_code_name(err->code), "text", json_stringf("%s", err_line(err, line, sizeof(line))),
		        "hint", err->hint);
		_cleanup_free_ char *text = json_pretty(answer);
		report_print_masked(text, stdout);
	}
	say_error(s, err);
	return err_exit_status(err->code);
}

int deploy_session_tell(struct deploy_session *s, int r, const struct engine_result *result, bool plan, const struct err *err)
{
	if (r < 0)
		return deploy_session_fail(s, err);
	if (s->json) {
		char line[4096];
		json_t *answer _cleanup_json_ = json_pack("{s:i, s:s, s:s?, s:s, s:O?, s:O?}", "exit_status", result->exit_status,
		        "state", plan ? "planned" : deployment_state_name(result->state), "id", result->id, "digest", result->digest,
		        "report", result->report, "outputs", result->outputs);
		if (err->code != 0)
			json_object_set_new(answer, "reason", json_stringf("%s", err_line(err, line, sizeof(line))));
		if (err->hint[0] != '\0')
			json_object_set_new(answer, "hint", json_stringf("%s", err->hint));
		_cleanup_free_ char *text = json_pretty(answer);
		report_print_masked(text, stdout);
	} else if (plan && result->report != NULL && (result->exit_status == 0 || result->exit_status == 3 || result->exit_status == 6)) {
		report_print_plan(result->report, result->digest, s->colours, stdout);
	}
	if (result->exit_status != 0)
		say_error(s, err);
	return result->exit_status;
}
