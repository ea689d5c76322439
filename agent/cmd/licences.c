#include "agent/cmd/licences.h"

#include "agent/cmd/cli.h"
#include "agent/cmd/commands.h"
#include "base/core/clock.h"
#include "base/core/log.h"
#include "base/core/wait.h"
#include "base/data/json.h"
#include "base/sys/fs.h"
#include "base/sys/proc.h"

#include <stdio.h>
#include <string.h>

enum { ANSWER_MAX = 1 << 20, ANSWER_MS = 10 * 1000 };

json_t *licences_part(const char *name, const char *version, const char *licence, bool built_in)
{
	return json_pack("{s:s, s:s, s:s, s:s}", "name", name, "version", version, "licence", licence, "linked",
	                 built_in ? "built in" : "at run time");
}

static bool names(const json_t *parts, const char *name)
{
	size_t i;
	const json_t *part;
	json_array_foreach((json_t *)parts, i, part) if (strcmp(json_get_string(part, "name"), name) == 0) return true;
	return false;
}

/* davit-forge may have parts of its own. It is left out where it is not installed. */
static void add_those_of_the_forge(json_t *parts)
{
	_cleanup_free_ char *program = fs_helper_program("davit-forge", NULL);
	if (program == NULL)
		return;
	const char *const argv[] = {program, "--licences", NULL};
	const struct proc_options options = {.argv = argv, .stdin_fd = -1};
	_cleanup_(str_done) struct str answer = STR_INIT(ANSWER_MAX), errors = STR_INIT(ANSWER_MAX);
	struct wait w = WAIT_INIT;
	int status = -1;
	w.deadline_mono_ms = clock_mono_ms() + ANSWER_MS;
	if (proc_run(&options, NULL, 0, ANSWER_MAX, &w, &answer, &errors, &status, NULL) < 0 || status != 0)
		return;
	_cleanup_json_ json_t *document = json_loads(str_peek(&answer), 0, NULL);
	size_t i;
	json_t *part;
	json_array_foreach(json_get_array(document, "parts"), i, part)
	{
		const char *name = json_get_string(part, "name");
		if (name != NULL && !names(parts, name))
			json_array_append(parts, part);
	}
}

static json_t *all_parts(bool with_forge)
{
	json_t *parts = licences_built_in();
	if (parts == NULL) {
		parts = licences_linked();
		json_array_insert_new(parts, 0, licences_part("davit", DAVIT_VERSION, "MIT", true));
	}
	if (with_forge)
		add_those_of_the_forge(parts);
	return parts;
}

static void print_text(const json_t *part)
{
	const char *text = json_get_string(part, "text");
	if (text != NULL)
		printf("\n---- %s %s: %s\n\n%s", json_get_string(part, "name"), json_get_string(part, "version"),
		       json_get_string(part, "licence"), text);
}

int licences_print(bool json, bool with_forge)
{
	_cleanup_json_ json_t *document =
		json_pack("{s:s, s:o}", "version", DAVIT_VERSION, "parts", all_parts(with_forge));
	const json_t *parts = json_object_get(document, "parts"), *part;
	size_t i;
	if (json) {
		_cleanup_free_ char *text = json_text(document);
		puts(text);
		return cli_output_failed();
	}
	json_array_foreach((json_t *)parts, i, part)
		printf("%-14s %-22s %-12s %s\n", json_get_string(part, "name"), json_get_string(part, "version"),
	               json_get_string(part, "linked"), json_get_string(part, "licence"));
	json_array_foreach((json_t *)parts, i, part) print_text(part);
	return cli_output_failed();
}

int cmd_licences(int argc, char **argv)
{
	const struct cli_option options[] = {{0}};
	const struct cli_command command = {.name = "--version --licences",
	                                    .usage = "[--json]",
	                                    .summary = "What the programs are made of: parts, versions, licences.",
	                                    .options = options};
	struct cli_rest rest = {0};
	int status = cli_parse(&command, argc, argv, &rest);
	return status >= 0 ? status : licences_print(cli_json(), true);
}
