/* davit agent autoscale: a runner for each queued job. */
#include <stdio.h>
#include <unistd.h>

#include "agent/cmd/agent.h"
#include "agent/cmd/cli.h"
#include "agent/scale/scale.h"
#include "agent/service/wire.h"
#include "base/core/cancel.h"
#include "base/core/log.h"

enum { SLOTS_MAX = 1000, INTERVAL_MIN_MS = 100 };

struct given {
	const char *labels, *slots, *interval;
};

static int read_given(const struct given *given, struct scale_options *o, struct err *err)
{
	long long slots = sysconf(_SC_NPROCESSORS_ONLN), ms = 30000;
	if (o->urls.count == 0) {
		int r = err_set(err, ERR_INVALID, "--url is missing");
		return err_hint(err, r, "https://github.com/OWNER/REPO, or https://github.com/OWNER for all of theirs");
	}
	if (given->slots != NULL && !str_parse_i64(given->slots, 1, SLOTS_MAX, &slots))
		return err_set(err, ERR_INVALID, "--slots takes a number from 1 to %d, not '%.40s'", SLOTS_MAX,
		               given->slots);
	if (given->interval != NULL && (str_parse_duration_ms(given->interval, &ms) < 0 || ms < INTERVAL_MIN_MS))
		return err_set(err, ERR_INVALID, "--interval takes a time such as 30s, not '%.40s'", given->interval);
	o->slots = (int)(slots > 2 ? slots : given->slots != NULL ? slots : 2);
	o->interval_ms = ms;
	strv_add(&o->labels, "self-hosted");
	strv_add(&o->labels, wire_os());
	strv_add(&o->labels, wire_arch());
	return given->labels != NULL ? agent_options_labels(given->labels, &o->labels, err) : 0;
}

int agent_autoscale(int argc, char **argv)
{
	struct given given = {0};
	struct scale_options scale = {0};
	const struct cli_option options[] = {
		{"url", 0, CLI_LIST, &scale.urls, "URL",
	         "a repository, or an owner: all of their repositories; may be repeated"},
		{"labels", 0, CLI_TEXT, &given.labels, "a,b", "further labels that a job may ask for"},
		{"slots", 0, CLI_TEXT, &given.slots, "N", "runners at a time; default: one a processor, at least two"},
		{"interval", 0, CLI_TEXT, &given.interval, "D", "how often it asks; default: 30s"},
		{"token-file", 0, CLI_TEXT, &scale.token_file, "FILE",
	         "a token (0600) that may read actions and administer runners; default: GITHUB_TOKEN"},
		{"app-id", 0, CLI_TEXT, &scale.app_id, "ID", "a GitHub App in the token's place, with --app-key"},
		{"app-key", 0, CLI_TEXT, &scale.app_key, "FILE", "the App's private key (0600, PEM)"},
		{"json", 0, CLI_FLAG, &scale.json, NULL, "print a JSON object a line for what happens"},
		{"policy", 0, CLI_TEXT, &scale.policy, "FILE", "as of `agent run`"},
		{"worker-user", 0, CLI_TEXT, &scale.worker_user, "U", "as of `agent run`"},
		{0}};
	const struct cli_command command = {
		.name = "agent autoscale",
		.usage = "--url URL [options]",
		.summary =
			"Starts a runner for each queued job that fits this machine, with a registration for that one job.",
		.options = options};
	struct cli_rest rest;
	struct err err = ERR_INIT;
	int status = cli_parse(&command, argc, argv, &rest);
	if (status >= 0)
		return status;
	log_times();
	int r = read_given(&given, &scale, &err), fd = r < 0 ? r : cancel_install(&err);
	if (r == 0)
		r = fd < 0 ? fd : scale_run(&scale, fd, &err);
	strv_done(&scale.urls);
	strv_done(&scale.labels);
	return r < 0 ? cli_fail(&err, r == ERR_LOCKED ? 5 : 1) : 0;
}
