/* davit report: one deployment as a page for a browser. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/cmd/cli.h"
#include "agent/cmd/commands.h"
#include "agent/cmd/journal.h"
#include "agent/report/report.h"
#include "base/sys/fs.h"

static int write_page(const json_t *report, const char *file, struct err *err)
{
	_cleanup_free_ char *page = report_page(report);
	if (page == NULL)
		return err_set(err, ERR_LIMIT, "the page would have more than 64 MiB");
	if (strcmp(file, "-") == 0) {
		fputs(page, stdout);
		return 0;
	}
	struct stat st;
	if (stat(file, &st) == 0 && !S_ISREG(st.st_mode))
		return err_set(err, ERR_INVALID, "'%s' exists but is not a file", file);
	mode_t mask = umask(0);
	umask(mask);
	int r = fs_write_atomic(AT_FDCWD, file, page, strlen(page), 0644 & ~mask, err);
	return r < 0 ? err_wrap(err, r, "write '%s'", file) : 0;
}

static void say(const json_t *report, const char *file)
{
	const char *id = json_get_string(json_object_get(report, "deployment"), "id");
	if (cli_json()) {
		json_t *answer _cleanup_json_ = json_pack("{s:s, s:s}", "deployment", id, "html", file);
		_cleanup_free_ char *text = json_pretty(answer);
		report_print_masked(text, stdout);
	} else if (strcmp(file, "-") != 0) {
		_cleanup_free_ char *line = xasprintf("%s: deployment %s", file, id);
		report_print_masked(line, stdout);
	}
}

int cmd_report(int argc, char **argv)
{
	const char *file = NULL;
	const struct cli_option options[] = {
		{"html", 0, CLI_TEXT, &file, "FILE", "write the page to FILE; - is standard output"},
		{0},
	};
	const struct cli_command command = {
		"report",
		"[ID|last] --html FILE",
		"One deployment as a page: its timeline, changes and checks, without scripts.",
		options,
		0,
		1};
	struct cli_rest rest;
	int status = cli_parse(&command, argc, argv, &rest);
	if (status >= 0)
		return status;
	struct err err = ERR_INIT;
	struct store *store _cleanup_(store_closep) = NULL;
	json_t *report _cleanup_json_ = NULL;
	if (file == NULL) {
		err_set(&err, ERR_INVALID, "--html FILE is missing");
		err_hint(&err, ERR_INVALID, "as in: davit report last --html report.html; `davit show` prints it here");
		return cmd_journal_fail(&err);
	}
	if (cli_json() && strcmp(file, "-") == 0) {
		err_set(&err, ERR_INVALID, "--json and --html - both want standard output");
		return cmd_journal_fail(&err);
	}
	if (cmd_open_journal(&store, &err) < 0 ||
	    cmd_read_report(store, rest.count ? rest.words[0] : "last", &report, &err) < 0 ||
	    write_page(report, file, &err) < 0)
		return cmd_journal_fail(&err);
	say(report, file);
	return 0;
}
