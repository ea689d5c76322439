/* What a step may print or write: lines of output with commands in them, command files, formats of shells. */
#include "agent/worker/command.h"
#include "agent/worker/command_file.h"
#include "agent/worker/lines.h"
#include "agent/worker/shell.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look(void *context, const char *line, size_t len)
{
	_cleanup_free_ char *text = xstrndup(line, len);
	struct command_rules rules = {.notice = true, .stopped = *(bool *)context ? "token" : NULL};
	struct command c;
	command_read(text, &rules, &c);
	if (c.kind == COMMAND_STOP)
		*(bool *)context = command_token_is_allowed(c.data);
	if (c.kind == COMMAND_RESUME)
		*(bool *)context = false;
	if (c.kind != COMMAND_NONE && (c.data == NULL || c.properties == NULL))
		abort();
	command_done(&c);
}

static void look_each(void *context, const char *text, size_t len)
{
	for (const char *end = text + len, *stop; text < end; text = stop + 1) {
		stop = memchr(text, '\n', (size_t)(end - text));
		look(context, text, (size_t)(stop - text));
	}
}

static int count(void *context, const char *name, const char *value, size_t len, struct err *err)
{
	(void)err;
	if (name[0] == '\0' || value[len > 0 ? len - 1 : 0] == '\x01')
		(*(int *)context)++;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct lines lines;
	bool stopped = false;
	const struct line_taker to = {.line = look, .lines = look_each, .context = &stopped};
	lines_init(&lines, 64, NULL);
	for (size_t at = 0; at < size; at += 97)
		lines_feed(&lines, text + at, MIN(size - at, (size_t)97), &to);
	lines_end(&lines, &to);
	lines_done(&lines);

	int seen = 0;
	command_file_pairs(text, size, count, &seen, NULL);
	struct strv paths = {.count = 0};
	command_file_lines(text, size, &paths);
	strv_done(&paths);

	_cleanup_free_ char *format = xstrndup(text, size);
	struct shell shell = {.program = (char *)"/bin/sh", .format = format, .extension = ""};
	struct strv argv = {.count = 0};
	shell_arguments(&shell, "/a \"b\"/x.sh", &argv, NULL);
	strv_done(&argv);
	return 0;
}
