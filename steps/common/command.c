#include "steps/common/command.h"
#include "base/core/clock.h"
#include "base/secret/mask.h"
#include "base/core/shown.h"

#include <ctype.h>

enum { MAX_SHOWN = 4096, MAX_LINE = 300, LAST_SIGNAL = 64 };

bool step_command_is_none(const json_t *value)
{
	const char *text = json_string_value(value);
	return text != NULL && strcmp(text, "none") == 0;
}

static void text_faults(const json_t *text, const char *pointer, struct faults *faults)
{
	size_t len = json_string_length(text);
	const char *s = json_string_value(text);
	if (memchr(s, '\0', len) != NULL)
		faults_add(faults, NULL, pointer, "a command cannot hold a NUL");
	if (mask_finds(mask_process(), s, len)) {
		faults_add(faults, NULL, pointer,
		           "a secret is part of the command, where every user of the target could read it");
		faults_hint(faults, "give it by `env:` and let the command use the variable");
	}
}

void step_command_faults(const json_t *value, const char *pointer, struct faults *faults)
{
	if (value == NULL)
		return;
	if (json_is_string(value)) {
		text_faults(value, pointer, faults);
		if (json_string_length(value) == 0)
			faults_add(faults, NULL, pointer, "the command is empty");
		return;
	}
	if (!json_is_array(value) || json_array_size(value) == 0) {
		faults_add(faults, NULL, pointer, "a command is a list of arguments, or one line for sh");
		return;
	}
	for (size_t i = 0; i < json_array_size(value); i++) {
		_cleanup_(str_done) struct str at = STR_INIT(1024);
		str_append(&at, pointer);
		faults_pointer_push_index(&at, i);
		const json_t *item = json_array_get(value, i);
		if (!json_is_string(item)) {
			faults_add(faults, NULL, str_peek(&at), "an argument must be a text");
			faults_hint(faults, "put numbers and words like true in quotes");
			continue;
		}
		text_faults(item, str_peek(&at), faults);
	}
}

struct step_command step_command_read(const json_t *value, struct arena *arena)
{
	struct step_command command = {0};
	if (json_is_string(value)) {
		command.script = json_string_value(value);
		return command;
	}
	size_t count = json_array_size(value);
	const char **argv = arena_alloc(arena, (count + 1) * sizeof(*argv));
	for (size_t i = 0; i < count; i++)
		argv[i] = json_string_value(json_array_get(value, i));
	command.argv = argv;
	return command;
}

static bool is_variable_name(const char *name)
{
	if (!isalpha((unsigned char)*name) && *name != '_')
		return false;
	for (const char *p = name; *p != '\0'; p++) {
		if (!isalnum((unsigned char)*p) && *p != '_')
			return false;
	}
	return true;
}

void step_env_faults(const struct field_map *env, const char *pointer, struct faults *faults)
{
	for (size_t i = 0; i < env->count; i++) {
		if (is_variable_name(env->items[i].key))
			continue;
		_cleanup_(str_done) struct str at = STR_INIT(1024);
		str_append(&at, pointer);
		faults_pointer_push(&at, env->items[i].key);
		faults_add(faults, NULL, str_peek(&at), "'%s' cannot be the name of a variable", env->items[i].key);
		faults_hint(faults, "letters, digits and _ only, not a digit first");
	}
}

static bool is_plain_word(const char *word)
{
	if (*word == '\0')
		return false;
	for (const char *p = word; *p != '\0'; p++) {
		if (!isalnum((unsigned char)*p) && strchr("_-./:=,@%+", *p) == NULL)
			return false;
	}
	return true;
}

void step_command_show(const json_t *value, struct str *out)
{
	if (json_is_string(value)) {
		const char *text = json_string_value(value);
		const char *end = strchr(text, '\n');
		size_t len = end != NULL ? (size_t)(end - text) : strlen(text);
		_cleanup_free_ char *shown = shown_text(text, len, MAX_SHOWN);
		str_append_safe(out, shown, strlen(shown));
		if (end != NULL && end[1] != '\0')
			str_append(out, " …");
		return;
	}
	for (size_t i = 0; i < json_array_size(value); i++) {
		const char *word = json_string_value(json_array_get(value, i));
		if (word == NULL)
			continue;
		_cleanup_(str_done) struct str quoted = STR_INIT(MAX_SHOWN);
		if (!is_plain_word(word))
			str_append_shell(&quoted, word);
		if (i > 0)
			str_append_c(out, ' ');
		str_append_safe(out, quoted.len > 0 ? quoted.data : word, quoted.len > 0 ? quoted.len : strlen(word));
	}
}

bool step_exit_accepted(const struct field_integers *list, int status)
{
	if (list == NULL || list->count == 0)
		return status == 0;
	for (size_t i = 0; i < list->count; i++) {
		if (list->items[i] == status)
			return true;
	}
	return false;
}

void step_last_line(const struct str *text, struct str *out)
{
	size_t end = text->len;
	while (end > 0 && isspace((unsigned char)text->data[end - 1]))
		end--;
	size_t start = end;
	while (start > 0 && text->data[start - 1] != '\n')
		start--;
	if (end == start)
		return;
	_cleanup_free_ char *shown = shown_text(text->data + start, end - start, MAX_LINE);
	str_append_safe(out, shown, strlen(shown));
}

static void show_line(void *context, bool is_stderr, const char *line, size_t len)
{
	const struct step_context *c = context;
	(void)is_stderr;
	_cleanup_free_ char *shown = shown_text(line, len, 64 << 10);
	if (c->report != NULL)
		c->report(c->engine, "%s", shown);
}

int step_command_run(const struct step_context *c, struct target *t, const struct step_command *command,
                     const struct step_run_options *o, struct err *err)
{
	size_t count = o->env != NULL ? o->env->count : 0;
	_cleanup_free_ struct field_pair *env = xcalloc(count + 1, sizeof(*env));
	for (size_t i = 0; i < count; i++)
		env[i] = o->env->items[i];
	if (o->extra_name != NULL)
		env[count++] = (struct field_pair){o->extra_name, o->extra_value};
	struct target_command call = {
		.argv = command->argv,
		.script = command->script,
		.env = env,
		.env_count = count,
		.cwd = o->cwd,
		.user = o->user,
		.timeout_ms = o->timeout_ms,
		.on_line = show_line,
		.context = (void *)(uintptr_t)c,
	};
	_cleanup_(target_result_done) struct target_result result = TARGET_RESULT_INIT;
	int r = host_run(t, &call, &result, err);
	if (r < 0)
		return r;
	char took[CLOCK_TEXT_SIZE];
	if (result.timed_out)
		return err_hint(err,
		                err_set(err, ERR_TIMEOUT, "it did not end within %s and was stopped",
		                        clock_duration(o->timeout_ms, took)),
		                "raise `timeout`, or look why it hangs");
	if (step_exit_accepted(o->exit_list, result.status))
		return 0;
	_cleanup_(str_done) struct str line = STR_INIT(4096);
	step_last_line(result.err.len > 0 ? &result.err : &result.out, &line);
	/* A shell reports a signal as 128 plus its number; 255 or 200 come from the program, and so may the others. */
	if (result.status > 128 && result.status <= 128 + LAST_SIGNAL)
		return err_set(err, ERR_FAILED, "exit status %d, ended by signal %d%s%s", result.status,
		               result.status - 128, line.len > 0 ? ": " : "", str_peek(&line));
	return err_set(err, ERR_FAILED, "exit status %d%s%s", result.status, line.len > 0 ? ": " : "", str_peek(&line));
}
