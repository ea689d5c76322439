/* output: handles a line that a step printed: ordinary text, or a command with an effect. */
#include "agent/worker/worker_priv.h"

#include "agent/expr/expr.h"
#include "agent/worker/command.h"
#include "agent/worker/matcher.h"
#include "agent/worker/message.h"

#include <strings.h>

enum {
	TOKEN_MASK_MIN = 7,
	SHOWN_MAX = 1024,
	COMMAND_SHOWN_MAX = 500,
	TOKEN_SHOWN_MAX = 100,
	OUTPUT_COUNT_MAX = 200000,    /* of a step */
	OUTPUT_BYTES_MAX = 128 << 20, /* of a step; values that were replaced count */
	MASKS_MAX = 100000,           /* of a job's steps */
};

/* The first spelling stays, the last value wins. */
static const char *spelling_of(struct record *r, const char *name)
{
	_cleanup_(str_done) struct str folded = STR_INIT(4 * (size_t)JOB_FILE_MAX);
	expr_fold(name, strlen(name), &folded);
	const char *spelling = json_get_string(r->output_names, str_peek(&folded));
	if (spelling != NULL)
		return spelling;
	json_object_set_new(r->output_names, str_peek(&folded), json_string(name));
	return name;
}

int record_set_output(struct job *j, struct record *r, const char *name, const char *value, size_t len, struct err *err)
{
	if (j->debug) {
		_cleanup_free_ char *shown = job_shown(j, value, len, SHOWN_MAX);
		record_debug(j, r, "Set output %s = %s", name, shown);
	}
	if (json_object_size(r->outputs) >= OUTPUT_COUNT_MAX)
		return err_set(err, ERR_LIMIT, "the step sets more than %d outputs", OUTPUT_COUNT_MAX);
	if (len > OUTPUT_BYTES_MAX - r->output_bytes)
		return err_set(err, ERR_LIMIT, "the outputs of the step have more than %d MiB", OUTPUT_BYTES_MAX >> 20);
	r->output_bytes += len;
	json_object_set_new(r->outputs, spelling_of(r, name), json_string_lossy(value, len));
	if (r->context_name == NULL || r->context_name[0] == '\0' || strncmp(r->context_name, "__", 2) == 0)
		return 0;
	json_t *step = expr_member(j->steps_context, r->context_name, strlen(r->context_name));
	if (step == NULL) {
		step = json_object();
		json_object_set_new(j->steps_context, r->context_name, step);
	}
	json_object_set(step, "outputs", r->outputs);
	return 0;
}

int record_save_state(struct job *j, struct record *r, const char *name, const char *value, size_t len, struct err *err)
{
	if (r->state == NULL)
		return 0;
	record_debug(j, r, "Save intra-action state %s", name);
	if (json_object_size(r->state) >= OUTPUT_COUNT_MAX)
		return err_set(err, ERR_LIMIT, "the step saves more than %d states", OUTPUT_COUNT_MAX);
	if (len > OUTPUT_BYTES_MAX - r->state_bytes)
		return err_set(err, ERR_LIMIT, "the states of the step have more than %d MiB", OUTPUT_BYTES_MAX >> 20);
	r->state_bytes += len;
	const char *key = name, *other;
	json_t *unused;
	json_object_foreach(r->state, other, unused) if (expr_same_text(other, name)) key = other;
	json_object_set_new(r->state, key, json_string_lossy(value, len));
	return 0;
}

/* A command that fails: two lines, and the step fails in the end. */
static void command_failed(struct job *j, struct record *r, const char *line, const char *name, bool show_line,
                           const char *why)
{
	const char *what = show_line ? line : name;
	_cleanup_free_ char *shown = job_shown(j, what, strlen(what), COMMAND_SHOWN_MAX);
	record_error(j, r, "Unable to process command '%s' successfully.", shown);
	record_error(j, r, "%s", why);
	r->command_result = result_merge(r->command_result, RESULT_FAILED);
}

static bool unsecure_is_allowed(const struct job *j, const struct record *r)
{
	const char *own = json_get_string(r->env, "ACTIONS_ALLOW_UNSECURE_COMMANDS");
	return j->unsecure_commands || (own != NULL && strcasecmp(own, "true") == 0);
}

static const char disabled[] = "The `%s` command is disabled. Please upgrade to using Environment Files or opt into "
			       "unsecure command execution by setting the "
			       "`ACTIONS_ALLOW_UNSECURE_COMMANDS` environment variable to `true`.";

static void deprecated(struct job *j, struct record *r, const char *name)
{
	if (!message_flag(j->message, "DistributedTask.DeprecateStepOutputCommands", false))
		return;
	char text[300];
	snprintf(text, sizeof(text),
	         "The `%s` command is deprecated and will be disabled soon. Please upgrade to using Environment "
	         "Files.",
	         name);
	record_issue(j, r, ISSUE_WARNING, text, NULL);
	telemetry_add(j, "ActionCommand", "DeprecatedCommand: %s", name);
}

static void do_named(struct job *j, struct record *r, const struct command *c, const char *line)
{
	const char *name = command_property(c, "name");
	struct err err = ERR_INIT;
	char why[300];
	if ((c->kind == COMMAND_SET_ENV || c->kind == COMMAND_ADD_PATH) && !unsecure_is_allowed(j, r)) {
		snprintf(why, sizeof(why), disabled, c->name);
		command_failed(j, r, line, c->name, true, why);
		return;
	}
	if (c->kind == COMMAND_ADD_PATH) {
		if (c->data[0] == '\0')
			command_failed(j, r, line, c->name, true, "path");
		else if (job_add_path(j, c->data, &err) < 0)
			command_failed(j, r, line, c->name, true, err_line(&err, why, sizeof(why)));
		return;
	}
	if (name == NULL) {
		snprintf(why, sizeof(why), "Required field 'name' is missing in ##[%s] command.", c->name);
		command_failed(j, r, line, c->name, true, why);
		return;
	}
	int e = 0;
	if (c->kind == COMMAND_SET_ENV) {
		e = job_set_env(j, r, true, name, c->data, strlen(c->data), &err);
	} else {
		deprecated(j, r, c->name);
		if (c->kind == COMMAND_SET_OUTPUT)
			e = record_set_output(j, r, name, c->data, strlen(c->data), &err);
		else
			e = record_save_state(j, r, name, c->data, strlen(c->data), &err);
	}
	if (e < 0)
		command_failed(j, r, line, c->name, true, err_line(&err, why, sizeof(why)));
}

static bool may_mask(struct job *j, struct record *r, const struct command *c)
{
	if (j->masks_added++ < MASKS_MAX)
		return true;
	/* Reported once: the command has no visible effect either way. */
	if (j->masks_added == MASKS_MAX + 1)
		command_failed(j, r, c->name, c->name, false, "the steps of this job add more than 100000 masks");
	r->command_result = result_merge(r->command_result, RESULT_FAILED);
	return false;
}

static void do_mask(struct job *j, struct record *r, const struct command *c)
{
	if (c->data[strspn(c->data, " \t\r\n")] == '\0') {
		record_issue(j, r, ISSUE_WARNING, "Can't add secret mask for empty string in ##[add-mask] command.",
		             NULL);
		return;
	}
	if (!may_mask(j, r, c))
		return;
	mask_add(j->mask, c->data, strlen(c->data));
	record_short_lines(j, r);
	if (r->echo)
		record_line(j, r, "::add-mask::***");
}

static void do_debug(struct job *j, struct record *r, const struct command *c)
{
	for (const char *p = c->data; j->debug && p != NULL;) {
		size_t len = strcspn(p, "\n");
		record_line(j, r, "##[debug]%.*s", (int)len, p);
		p = p[len] == '\n' ? p + len + 1 : NULL;
	}
}

static void do_echo(struct job *j, struct record *r, const struct command *c, const char *line)
{
	const char *p = c->data + strspn(c->data, " \t\r\n");
	size_t len = strlen(p);
	while (len > 0 && strchr(" \t\r\n", p[len - 1]) != NULL)
		len--;
	if (len == 2 && strncasecmp(p, "on", 2) == 0)
		r->echo = true;
	else if (len == 3 && strncasecmp(p, "off", 3) == 0)
		r->echo = false;
	else {
		_cleanup_free_ char *why = xasprintf(
			"Invalid echo command value. Possible values can be: 'on', 'off'. Current value is: '%s'.",
			c->data);
		command_failed(j, r, line, c->name, true, why);
	}
}

static void do_matcher(struct job *j, struct record *r, const struct command *c, const char *line)
{
	struct err err = ERR_INIT;
	char why[1024];
	int e = c->kind == COMMAND_ADD_MATCHER ? problems_add(j, r, c->data, &err)
	                                       : problems_remove(j, r, command_property(c, "owner"), c->data, &err);
	if (e < 0)
		command_failed(j, r, line, c->name, true, err_line(&err, why, sizeof(why)));
}

static bool any_token_is_allowed(const struct job *j, const struct record *r)
{
	static const char name[] = "ACTIONS_ALLOW_UNSECURE_STOPCOMMAND_TOKENS";
	const char *own = json_get_string(r->env, name);
	if (own == NULL)
		own = json_get_string(j->job_environ, name);
	return own != NULL && (strcasecmp(own, "true") == 0 || strcmp(own, "1") == 0);
}

static void do_stop(struct job *j, struct record *r, const struct command *c)
{
	if (!command_token_is_allowed(c->data) && (c->data[0] == '\0' || !any_token_is_allowed(j, r))) {
		_cleanup_free_ char *shown = job_shown(j, c->data, strlen(c->data), TOKEN_SHOWN_MAX);
		record_error(j, r,
		             "Invoked ::stop-commands:: with the token '%s', which is empty or the name of a "
		             "command; choose a "
		             "random one",
		             shown);
		r->command_result = result_merge(r->command_result, RESULT_FAILED);
		return;
	}
	if (strlen(c->data) >= TOKEN_MASK_MIN && may_mask(j, r, c))
		mask_add(j->mask, c->data, strlen(c->data));
	free(r->stopped);
	r->stopped = xstrdup(c->data);
}

static enum issue_kind issue_of(enum command_kind kind)
{
	return kind == COMMAND_ERROR ? ISSUE_ERROR : kind == COMMAND_WARNING ? ISSUE_WARNING : ISSUE_NOTICE;
}

static bool is_echoed(enum command_kind kind)
{
	switch (kind) {
	case COMMAND_SET_OUTPUT:
	case COMMAND_SAVE_STATE:
	case COMMAND_SET_ENV:
	case COMMAND_ADD_PATH:
	case COMMAND_ADD_MATCHER:
	case COMMAND_REMOVE_MATCHER:
	case COMMAND_ECHO:
	case COMMAND_GROUP:
	case COMMAND_ENDGROUP:
		return true;
	default:
		return false;
	}
}

static void do_command(struct job *j, struct record *r, const struct command *c, const char *line)
{
	bool always = c->kind == COMMAND_STOP || c->kind == COMMAND_RESUME;
	if (always || (r->echo && is_echoed(c->kind)))
		record_write(j, r, line, strlen(line));
	switch (c->kind) {
	case COMMAND_SET_OUTPUT:
	case COMMAND_SAVE_STATE:
	case COMMAND_SET_ENV:
	case COMMAND_ADD_PATH:
		do_named(j, r, c, line);
		break;
	case COMMAND_ADD_MASK:
		do_mask(j, r, c);
		break;
	case COMMAND_DEBUG:
		do_debug(j, r, c);
		break;
	case COMMAND_ERROR:
	case COMMAND_WARNING:
	case COMMAND_NOTICE:
		record_issue(j, r, issue_of(c->kind), c->data, c->properties);
		break;
	case COMMAND_GROUP:
		record_line(j, r, "##[group]%s", c->data);
		break;
	case COMMAND_ENDGROUP:
		record_line(j, r, "##[endgroup]");
		break;
	case COMMAND_ADD_MATCHER:
	case COMMAND_REMOVE_MATCHER:
		do_matcher(j, r, c, line);
		break;
	case COMMAND_ECHO:
		do_echo(j, r, c, line);
		break;
	case COMMAND_STOP:
		do_stop(j, r, c);
		break;
	case COMMAND_RESUME:
		free(TAKE(r->stopped));
		break;
	case COMMAND_NONE:
		break;
	}
}

/* Output must not forge the markers of the service's own log folding. */
static void write_plain(struct job *j, struct record *r, const char *line, size_t len)
{
	const char *start = memmem(line, len, "##[start-action", 15), *end = memmem(line, len, "##[end-action", 13);
	if (start == NULL && end == NULL) {
		record_write(j, r, line, len);
		return;
	}
	_cleanup_(str_done) struct str out = STR_INIT(2 * JOB_LINE_MAX);
	for (size_t i = 0; i < len; i++) {
		str_append_c(&out, line[i]);
		bool marker = i >= 2 && memcmp(line + i - 2, "##[", 3) == 0 &&
		              (strncmp(line + i + 1, "start-action", 12) == 0 ||
		               strncmp(line + i + 1, "end-action", 10) == 0);
		if (marker)
			str_append_c(&out, '\\');
	}
	record_write(j, r, str_peek(&out), out.len);
}

void record_plain(struct job *j, struct record *r, const char *line, size_t len)
{
	_cleanup_json_ json_t *repaired = NULL;
	if (!str_is_utf8(line, len)) {
		repaired = json_string_lossy(line, len);
		line = json_string_value(repaired);
		len = json_string_length(repaired);
	}
	write_plain(j, r, line, len);
}

void output_line(struct job *j, struct record *r, const char *line, size_t len)
{
	_cleanup_json_ json_t *repaired = NULL;
	if (!str_is_utf8(line, len)) {
		repaired = json_string_lossy(line, len);
		line = json_string_value(repaired);
		len = json_string_length(repaired);
	}
	struct command_rules rules = {.notice = j->notice, .stopped = r->stopped};
	struct command c = {.kind = COMMAND_NONE};
	if (memchr(line, '\0', len) == NULL &&
	    (memmem(line, len, "::", 2) != NULL || memmem(line, len, "##[", 3) != NULL))
		command_read(line, &rules, &c);
	if (c.kind == COMMAND_NONE && !problems_take(j, r, line, len))
		write_plain(j, r, line, len);
	else if (c.kind != COMMAND_NONE)
		do_command(j, r, &c, line);
	command_done(&c);
}

static const char *line_of(const char *text, const char *at)
{
	const char *before = memrchr(text, '\n', (size_t)(at - text));
	return before != NULL ? before + 1 : text;
}

static bool is_blank(const char *from, const char *to)
{
	while (from < to && (unsigned char)*from <= ' ')
		from++;
	return from == to;
}

/* The first line that begins with colons, as commands do; `end` where there is none. */
static const char *line_with_colons(const char *text, const char *end)
{
	for (const char *p = text; (p = memchr(p, ':', (size_t)(end - p))) != NULL; p++) {
		if (p + 1 == end || p[1] != ':')
			continue;
		const char *line = line_of(text, p);
		if (is_blank(line, p))
			return line;
	}
	return end;
}

/* The first line with a command's bracket, or a marker of the service. */
static const char *line_with_bracket(const char *text, const char *end)
{
	for (const char *p = text; (p = memchr(p, '#', (size_t)(end - p))) != NULL; p++)
		if (end - p >= 3 && memcmp(p, "##[", 3) == 0)
			return line_of(text, p);
	return end;
}

static const char *single_line(struct job *j, struct record *r, const char *text, const char *end)
{
	const char *stop = memchr(text, '\n', (size_t)(end - text));
	_cleanup_free_ char *line = xstrndup(text, (size_t)(stop - text));
	output_line(j, r, line, (size_t)(stop - text));
	return stop + 1;
}

void output_lines(struct job *j, struct record *r, const char *text, size_t len)
{
	const char *end = text + len, *colons = text, *bracket = text;
	bool plain = !matchers_any(j->matchers) && str_is_utf8(text, len);
	for (bool first = true; plain && text < end; first = false) {
		if (first || colons < text)
			colons = line_with_colons(text, end);
		if (first || bracket < text)
			bracket = line_with_bracket(text, end);
		const char *special = MIN(colons, bracket);
		record_write_lines(j, r, text, (size_t)(special - text));
		text = special < end ? single_line(j, r, special, end) : end;
		plain = !matchers_any(j->matchers);
	}
	/* A command among them may have added a matcher, which looks at each line behind it. */
	while (text < end)
		text = single_line(j, r, text, end);
}
