/* davit watch: deployments in pull mode. */
#include "agent/watch/watch.h"

#include <stdio.h>
#include <stdlib.h>

#include "agent/cmd/cli.h"
#include "agent/cmd/commands.h"
#include "base/core/cancel.h"
#include "base/core/log.h"

int cmd_watch(int argc, char **argv)
{
	struct watch_options watch = {0};
	const struct cli_option options[] = {
		{"once", 0, CLI_FLAG, &watch.once, NULL,
	         "carry out what there is, then end: 1 where one of them did not succeed"},
		{"policy", 0, CLI_TEXT, &watch.policy, "FILE",
	         "which deployments may run here; default: /etc/davit/policy.yml, else that of the agent"},
		{0}};
	const struct cli_command command = {
		"watch",
		"FILE [options]",
		"Asks GitHub for deployments or new commits of the repositories that FILE names, carries them out, and tells how they went.",
		options,
		1,
		1};
	struct cli_rest rest;
	struct err err = ERR_INIT;
	int status = cli_parse(&command, argc, argv, &rest);
	if (status >= 0)
		return status;
	watch.file = rest.words[0];
	watch.json = cli_json();
	log_times();
	int fd = cancel_install(&err);
	int r = fd < 0 ? fd : watch_run(&watch, fd, &err);
	if (r >= 0)
		return r;
	return cli_fail(&err, r == ERR_LOCKED ? 5 : 2);
}
