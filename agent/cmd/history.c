/* davit history and davit show: print the journal of this host. They only read, so they work beside a running deployment. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/cmd/cli.h"
#include "agent/cmd/commands.h"
#include "agent/cmd/journal.h"
#include "agent/deployment/find.h"
#include "agent/report/report.h"
#include "base/core/log.h"

int cmd_history(int argc, char **argv)
{
	const char *name = NULL, *environment = NULL, *limit_text = NULL;
	const struct cli_option options[] = {
		{"name", 0, CLI_TEXT, &name, "NAME", "only deployments of this name"},
		{"environment", 0, CLI_TEXT, &environment, "ENV", "only this environment"},
		{"limit", 'n', CLI_TEXT, &limit_text, "N", "the newest N; default 50"},
		{0},
	};
	const struct cli_command command = {"history", "[options]", "What was deployed from here, newest first.",
	                                    options,   0,           0};
	struct cli_rest rest;
	int status = cli_parse(&command, argc, argv, &rest);
	if (status >= 0)
		return status;
	struct err err = ERR_INIT;
	struct store *store _cleanup_(store_closep) = NULL;
	json_t *deployments _cleanup_json_ = NULL;
	long long limit = 50;
	if (limit_text != NULL && !str_parse_i64(limit_text, 1, 100000, &limit)) {
		err_set(&err, ERR_INVALID, "--limit '%s' is not a number from 1 to 100000", limit_text);
		err_hint(&err, ERR_INVALID, "as in: davit history --limit 20");
		return cmd_journal_fail(&err);
	}
	if (cmd_open_journal(&store, &err) < 0)
		return cmd_journal_fail(&err);
	struct store_filter filter = {.name = name, .environment = environment, .limit = (int)limit};
	if (store != NULL && store_deployment_list(store, &filter, &deployments, &err) < 0)
		return cmd_journal_fail(&err);
	if (deployments == NULL)
		deployments = json_array();
	size_t i;
	json_t *deployment;
	json_array_foreach(deployments, i, deployment)
	{
		if (deployment_describe(store, deployment, &err) < 0)
			return cmd_journal_fail(&err);
		cmd_make_readable(deployment);
	}
	deployment_mark_live(deployments);
	if (cli_json()) {
		_cleanup_free_ char *text = json_pretty(deployments);
		report_print_masked(text, stdout);
	} else {
		report_print_history(deployments, log_colours(STDOUT_FILENO), stdout);
	}
	return 0;
}

int cmd_show(int argc, char **argv)
{
	const struct cli_option options[] = {{0}};
	const struct cli_command command = {"show",  "[ID|last]", "One deployment: each step, each change, each probe.",
	                                    options, 0,           1};
	struct cli_rest rest;
	int status = cli_parse(&command, argc, argv, &rest);
	if (status >= 0)
		return status;
	struct err err = ERR_INIT;
	struct store *store _cleanup_(store_closep) = NULL;
	json_t *report _cleanup_json_ = NULL;
	if (cmd_open_journal(&store, &err) < 0)
		return cmd_journal_fail(&err);
	if (cmd_read_report(store, rest.count ? rest.words[0] : "last", &report, &err) < 0)
		return cmd_journal_fail(&err);
	if (cli_json()) {
		_cleanup_free_ char *text = json_pretty(report);
		report_print_masked(text, stdout);
	} else {
		report_print_deployment(report, log_colours(STDOUT_FILENO), stdout);
	}
	return 0;
}
