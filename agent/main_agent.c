/* davit-agent: the program that davit executes for the agent, its workers and the commands that need neither a target nor the journal. Called as `davit-agent COMMAND …`. */
#include <stdio.h>
#include <string.h>

#include "agent/cmd/cli.h"
#include "agent/cmd/commands.h"
#include "agent/program.h"
#include "base/data/json.h"
#include "base/core/log.h"
#include "base/core/mem.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	bool prints; /* its output is all that it does */
} commands[] = {
	{"agent", cmd_agent, true},           {"schema", cmd_schema, true}, {"expr", cmd_expr, true},
	{"workflow", cmd_workflow, true},     {"watch", cmd_watch, false},  {"worker", worker_run, false},
	{"completion", cmd_completion, true},
};

int main_agent(int argc, char **argv)
{
	json_wipe_freed();
	log_setup(LOG_INFO, LOG_TEXT, NULL);
	for (size_t i = 0; argc > 1 && i < ARRAY_SIZE(commands); i++) {
		if (strcmp(argv[1], commands[i].name) != 0)
			continue;
		int status = commands[i].run(argc - 1, argv + 1);
		return commands[i].prints && cli_output_failed() && status == 0 ? 1 : status;
	}
	fputs("davit-agent is executed by davit; `davit --help` lists its commands\n", stderr);
	return 2;
}
