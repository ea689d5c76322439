/* The commands that decide a deployment: rollback, recover, unlock, finish. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/cli.h"
#include "agent/commands.h"
#include "agent/deploy/document.h"
#include "agent/deploy/session.h"
#include "agent/step_input.h"

/* What these commands have in common: a session, values for what the sealed file lacks, and a result. */
struct decision {
	struct deploy_session session;
	struct deploy_values values;
	struct engine_result result;
	struct step_input in;
	struct strv secrets;
	const char *secrets_file, *input;
	struct err err;
};

static int decision_open(struct decision *d)
{
	deploy_values_init(&d->values);
	int r = deploy_session_open(&d->session, true, &d->err);
	d->session.json = cli_json();
	for (size_t i = 0; r >= 0 && i < d->secrets.count; i++)
		r = deploy_values_secret_from_env(&d->values, d->secrets.items[i], &d->err);
	if (r >= 0 && d->secrets_file != NULL)
		r = deploy_values_secrets_file(&d->values, d->secrets_file, &d->err);
	return r;
}

/* A job's document or the environment of a workflow gives the job's key and may give inputs. */
static int decision_read_inputs(struct decision *d, const char *const *names, size_t count)
{
	int r = 0;
	if (d->input != NULL) {
		r = step_input_read(d->input, NULL, &d->in, &d->err);
	} else {
		deploy_job_from_environment(&d->in.job);
		d->in.input = deploy_job_inputs_by_name(names, count);
	}
	if (d->in.job.present) {
		d->session.options.job_key = d->in.job.key;
		d->session.workflow = true;
	}
	return r;
}

static int decision_end(struct decision *d, int r, bool started)
{
	int status = started ? deploy_session_tell(&d->session, r, &d->result, false, &d->err)
	                     : deploy_session_fail(&d->session, &d->err);
	engine_result_done(&d->result);
	deploy_values_done(&d->values);
	step_input_done(&d->in);
	deploy_session_done(&d->session);
	strv_done(&d->secrets);
	return status;
}

static const char *input_text(const struct decision *d, const char *name)
{
	const char *text = json_get_string(d->in.input, name);
	return text != NULL && *text != '\0' ? text : NULL;
}

int cmd_rollback(int argc, char **argv)
{
	struct decision d = { .err = ERR_INIT };
	bool data = false, force = false;
	const char *to = NULL;
	const struct cli_option options[] = {
		{ "to", 0, CLI_TEXT, &to, "RELEASE", "switch to this earlier release instead" },
		{ "data", 0, CLI_FLAG, &data, NULL, "restore the snapshots of the deployment too" },
		{ "force", 0, CLI_FLAG, &force, NULL, "overwrite what somebody changed since" },
		{ "secret", 0, CLI_LIST, &d.secrets, "NAME", "a secret that is not sealed here, from that environment variable" },
		{ "secrets", 0, CLI_TEXT, &d.secrets_file, "FILE", "the same from a JSON or YAML map, mode 0600" },
		{ "input", 0, CLI_TEXT, &d.input, "FILE", "the inputs of the step rollback; - is standard input" },
		{ 0 },
	};
	const struct cli_command command = { "rollback", "[ID] [options]",
		"Undoes a deployment: the job's, or the only open or held one; or, by its ID, the newest committed one of its environment.",
		options, 0, 1 };
	static const char *const inputs[] = { "deployment", "to", "token" };
	struct cli_rest rest;
	int status = cli_parse(&command, argc, argv, &rest);
	if (status >= 0)
		return status;
	int r = decision_open(&d);
	if (r >= 0)
		r = decision_read_inputs(&d, inputs, ARRAY_SIZE(inputs));
	if (r < 0)
		return decision_end(&d, r, false);
	d.session.options.data = data;
	d.session.options.force = force;
	const char *id = rest.count > 0 ? rest.words[0] : input_text(&d, "deployment");
	if (to == NULL)
		to = input_text(&d, "to");
	r = engine_rollback(id, to, d.values.secrets, &d.session.options, &d.result, &d.err);
	return decision_end(&d, r, true);
}

int cmd_recover(int argc, char **argv)
{
	struct decision d = { .err = ERR_INIT };
	bool takeover = false;
	const char *after = NULL;
	struct strv vars = { 0 }, inputs = { 0 };
	const struct cli_option options[] = {
		{ "takeover", 0, CLI_FLAG, &takeover, NULL, "with FILE: take the lock of another machine that is gone for good" },
		{ "after", 0, CLI_TEXT, &after, "D", "with --takeover: once its lock was not renewed for so long; default 90s" },
		{ "secret", 0, CLI_LIST, &d.secrets, "NAME", "a secret that is not sealed here, from that environment variable" },
		{ "secrets", 0, CLI_TEXT, &d.secrets_file, "FILE", "the same from a JSON or YAML map, mode 0600" },
		{ "var", 0, CLI_LIST, &vars, "NAME=VALUE", "with FILE: a value of the context vars" },
		{ "input", 0, CLI_LIST, &inputs, "NAME=VALUE", "with FILE: a value of the context inputs" },
		{ 0 },
	};
	const struct cli_command command = { "recover", "[ID|FILE] [options]",
		"Finishes or undoes what a dead process left: every such deployment of this host, or the one named.", options, 0, 1 };
	struct cli_rest rest;
	struct deploy_document *document _cleanup_(deploy_document_freep) = NULL;
	int status = cli_parse(&command, argc, argv, &rest);
	if (status >= 0)
		return status;
	int r = decision_open(&d);
	struct engine_recover_options recover = { .takeover = takeover, .takeover_after_ms = 90000, .secrets = d.values.secrets };
	for (size_t i = 0; r >= 0 && i < vars.count; i++)
		r = deploy_values_pair(d.values.vars, "var", vars.items[i], &d.err);
	for (size_t i = 0; r >= 0 && i < inputs.count; i++)
		r = deploy_values_pair(d.values.inputs, "input", inputs.items[i], &d.err);
	long long after_ms;
	if (r >= 0 && after != NULL) {
		if (str_parse_duration_ms(after, &after_ms) < 0)
			r = err_set(&d.err, ERR_INVALID, "--after '%s' is no duration", after);
		else
			recover.takeover_after_ms = after_ms;
	}
	struct stat st;
	if (r >= 0 && rest.count > 0 && stat(rest.words[0], &st) == 0) {
		r = deploy_document_read(rest.words[0], &d.values, &document, &d.err);
		if (r >= 0)
			recover.deployment = deploy_document_deployment(document);
	} else if (rest.count > 0) {
		recover.id = rest.words[0];
	}
	if (r >= 0 && takeover && recover.deployment == NULL) {
		r = err_set(&d.err, ERR_INVALID, "--takeover needs the deployment file, which names the targets");
		err_hint(&d.err, r, "davit recover deploy/production.yml --takeover");
	}
	if (r >= 0)
		r = engine_recover(&recover, &d.session.options, &d.result, &d.err);
	else
		d.result.exit_status = -1;
	strv_done(&vars);
	strv_done(&inputs);
	return decision_end(&d, r, d.result.exit_status != -1);
}

int cmd_unlock(int argc, char **argv)
{
	struct decision d = { .err = ERR_INIT };
	bool yes = false, accept = false;
	const struct cli_option options[] = {
		{ "yes", 0, CLI_FLAG, &yes, NULL, "give up on a deployment that is not decided: it becomes held" },
		{ "accept", 0, CLI_FLAG, &accept, NULL, "the world as it is becomes the version" },
		{ "secret", 0, CLI_LIST, &d.secrets, "NAME", "a secret that is not sealed here, from that environment variable" },
		{ "secrets", 0, CLI_TEXT, &d.secrets_file, "FILE", "the same from a JSON or YAML map, mode 0600" },
		{ 0 },
	};
	const struct cli_command command = { "unlock", "ENVIRONMENT|NAME.ENVIRONMENT [--yes|--accept]",
		"Frees a lock whose owner is provably dead with nothing left open; anything else needs consent.", options, 1, 1 };
	struct cli_rest rest;
	int status = cli_parse(&command, argc, argv, &rest);
	if (status >= 0)
		return status;
	int r = decision_open(&d);
	if (r >= 0 && yes && accept)
		r = err_set(&d.err, ERR_INVALID, "--yes and --accept exclude each other");
	if (r < 0)
		return decision_end(&d, r, false);
	r = engine_unlock(rest.words[0], yes, accept, &d.session.options, &d.result, &d.err);
	return decision_end(&d, r, true);
}

int cmd_finish(int argc, char **argv)
{
	struct decision d = { .err = ERR_INIT };
	const char *status_option = NULL, *on_failure = NULL;
	const struct cli_option options[] = {
		{ "status", 0, CLI_TEXT, &status_option, "S", "how the job ended: success, failure or cancelled" },
		{ "on-failure", 0, CLI_TEXT, &on_failure, "WHAT", "rollback or hold; default: what the deployment says" },
		{ "input", 0, CLI_TEXT, &d.input, "FILE", "the inputs of the step finish; - is standard input" },
		{ 0 },
	};
	const struct cli_command command = { "finish", "[--status S] [options]",
		"Decides the deployment of this job: commit after success, undo or hold after anything else.", options, 0, 0 };
	static const char *const inputs[] = { "status", "on_failure", "token" };
	struct cli_rest rest;
	int status = cli_parse(&command, argc, argv, &rest);
	if (status >= 0)
		return status;
	int r = decision_open(&d);
	if (r >= 0)
		r = decision_read_inputs(&d, inputs, ARRAY_SIZE(inputs));
	if (status_option == NULL)
		status_option = input_text(&d, "status");
	if (on_failure == NULL)
		on_failure = input_text(&d, "on_failure");
	if (r >= 0 && status_option == NULL) {
		r = err_set(&d.err, ERR_INVALID, "finish does not know how the job ended");
		err_hint(&d.err, r, "with: status: ${{ job.status }}, or --status success");
	} else if (r >= 0 && strcmp(status_option, "success") != 0 && strcmp(status_option, "failure") != 0 &&
	           strcmp(status_option, "cancelled") != 0) {
		r = err_set(&d.err, ERR_INVALID, "'%s' is no status of a job", status_option);
		err_hint(&d.err, r, "success, failure or cancelled");
	}
	if (r < 0)
		return decision_end(&d, r, false);
	r = engine_finish(status_option, on_failure, &d.session.options, &d.result, &d.err);
	return decision_end(&d, r, true);
}
