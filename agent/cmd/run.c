/* davit run: a workflow of the work tree, here. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/actions/native.h"
#include "agent/cmd/cli.h"
#include "agent/cmd/commands.h"
#include "agent/deployment/values.h"
#include "agent/run/run.h"

enum { SLOTS_MAX = 256 };

struct call {
	struct run_options run;
	const char *slots, *secrets_file;
	struct strv inputs, secrets, vars;
};

static int read_slots(struct call *call, struct err *err)
{
	long long slots = sysconf(_SC_NPROCESSORS_ONLN);
	if (call->slots != NULL && !str_parse_i64(call->slots, 1, SLOTS_MAX, &slots))
		return err_set(err, ERR_INVALID, "--slots takes a number from 1 to %d, not '%.40s'", SLOTS_MAX,
		               call->slots);
	call->run.slots = MIN(MAX(slots, 1), SLOTS_MAX);
	return 0;
}

static int run(struct call *call, struct err *err)
{
	struct deployment_values values;
	int status = 0;
	deployment_values_init(&values);
	int r = deployment_values_given(&values, &call->secrets, call->secrets_file, &call->vars, &call->inputs, err);
	if (r >= 0 && call->run.native != NULL)
		r = native_check(call->run.native, err);
	if (r >= 0)
		r = read_slots(call, err);
	call->run.secrets = values.secrets;
	call->run.vars = values.vars;
	call->run.inputs = values.inputs;
	call->run.json = cli_json();
	if (r >= 0)
		r = run_workflow(&call->run, &status, err);
	deployment_values_done(&values);
	return r < 0 ? cli_fail(err, 2) : status;
}

int cmd_run(int argc, char **argv)
{
	struct call call = {0};
	const struct cli_option options[] = {
		{"job", 0, CLI_TEXT, &call.run.job, "NAME", "only this job and those that it needs"},
		{"event", 0, CLI_TEXT, &call.run.event, "NAME",
	         "the event that starts it; default: push, workflow_dispatch, or the file's first"},
		{"event-file", 0, CLI_TEXT, &call.run.event_file, "FILE",
	         "its payload as JSON; default: made from the work tree"},
		{"input", 0, CLI_LIST, &call.inputs, "NAME=VALUE", "an input of workflow_dispatch; may be repeated"},
		{"secret", 0, CLI_LIST, &call.secrets, "NAME",
	         "a secret: the value of that environment variable; may be repeated"},
		{"secrets", 0, CLI_TEXT, &call.secrets_file, "FILE",
	         "secrets from a JSON or YAML map, mode 0600; - is standard input"},
		{"var", 0, CLI_LIST, &call.vars, "NAME=VALUE", "a value of the context vars; may be repeated"},
		{"env", 0, CLI_LIST, &call.run.environment, "NAME",
	         "an environment variable that the steps inherit; may be repeated"},
		{"repo", 0, CLI_LIST, &call.run.repositories, "OWNER/NAME=PLACE",
	         "where the repository of an action lies: a directory (its .git, or a bare one) or an address; may be repeated"},
		{"native", 0, CLI_TEXT, &call.run.native, "LIST",
	         "what runs inside this program: none, own, actions/checkout; default: all of them"},
		{"releases", 0, CLI_TEXT, &call.run.releases, "DIR",
	         "releases that jobs may download: DIR/OWNER/NAME/TAG/FILE"},
		{"slots", 0, CLI_TEXT, &call.slots, "N", "so many jobs at a time; default: as many as processors"},
		{0},
	};
	const struct cli_command command = {
		"run",
		"[WORKFLOW] [options]",
		"Runs a workflow of the work tree here, without GitHub. Exit: 0 all succeeded, 1 a job failed, 2 refused.",
		options,
		0,
		1};
	struct cli_rest rest;
	int status = cli_parse(&command, argc, argv, &rest);
	if (status < 0) {
		struct err err = ERR_INIT;
		call.run.workflow = rest.count > 0 ? rest.words[0] : NULL;
		call.run.verbose = cli_verbose();
		status = run(&call, &err);
	}
	struct strv *lists[] = {&call.inputs, &call.secrets, &call.vars, &call.run.environment, &call.run.repositories};
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		strv_done(lists[i]);
	return status;
}
