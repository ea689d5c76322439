/* davit deploy FILE: a deployment file, planned or carried out. */
#include <stdio.h>
#include <string.h>

#include "agent/cli.h"
#include "agent/commands.h"
#include "agent/deploy/document.h"
#include "agent/deploy/session.h"

struct deploy_call {
	bool plan, no_seal;
	const char *expect, *wait, *secrets_file, *undo_deadline;
	struct strv secrets, vars, inputs;
};

static int read_values(const struct deploy_call *call, struct deploy_values *values, struct err *err)
{
	int r = 0;
	for (size_t i = 0; r >= 0 && i < call->secrets.count; i++)
		r = deploy_values_secret_from_env(values, call->secrets.items[i], err);
	if (r >= 0 && call->secrets_file != NULL)
		r = deploy_values_secrets_file(values, call->secrets_file, err);
	for (size_t i = 0; r >= 0 && i < call->vars.count; i++)
		r = deploy_values_pair(values->vars, "var", call->vars.items[i], err);
	for (size_t i = 0; r >= 0 && i < call->inputs.count; i++)
		r = deploy_values_pair(values->inputs, "input", call->inputs.items[i], err);
	return r;
}

static int duration_option(const char *option, const char *text, int64_t *ret_ms, struct err *err)
{
	long long ms;
	if (text == NULL)
		return 0;
	if (str_parse_duration_ms(text, &ms) < 0) {
		int r = err_set(err, ERR_INVALID, "--%s '%s' is no duration", option, text);
		return err_hint(err, r, "write 90s, 2m or 1h");
	}
	*ret_ms = ms;
	return 0;
}

static int set_options(const struct deploy_call *call, struct deploy_session *s, struct err *err)
{
	s->options.expect_digest = call->expect;
	if (call->no_seal)
		s->options.seal = false;
	int r = duration_option("wait", call->wait, &s->options.lock_wait_ms, err);
	if (r < 0)
		return r;
	return duration_option("undo-deadline", call->undo_deadline, &s->options.undo_deadline_ms, err);
}

int cmd_deploy(int argc, char **argv)
{
	struct deploy_call call = { 0 };
	const struct cli_option options[] = {
		{ "plan", 0, CLI_FLAG, &call.plan, NULL, "show what would change and its digest; no lock, nothing written" },
		{ "expect", 0, CLI_TEXT, &call.expect, "DIGEST", "apply the plan with this digest or nothing (exit 3)" },
		{ "secret", 0, CLI_LIST, &call.secrets, "NAME", "a secret: the value of that environment variable; may be repeated" },
		{ "secrets", 0, CLI_TEXT, &call.secrets_file, "FILE", "secrets from a JSON or YAML map, mode 0600; - is standard input" },
		{ "var", 0, CLI_LIST, &call.vars, "NAME=VALUE", "a value of the context vars; may be repeated" },
		{ "input", 0, CLI_LIST, &call.inputs, "NAME=VALUE", "a value of the context inputs; may be repeated" },
		{ "wait", 0, CLI_TEXT, &call.wait, "D", "wait so long for a held lock (90s, 10m); default: not at all" },
		{ "undo-deadline", 0, CLI_TEXT, &call.undo_deadline, "D", "give an undo so long before it is held; default 15m" },
		{ "no-seal", 0, CLI_FLAG, &call.no_seal, NULL, "keep no sealed secrets for a recovery: it will ask for them" },
		{ 0 },
	};
	const struct cli_command command = { "deploy", "FILE [options]",
		"Carries out a deployment file as one transaction: the new version is healthy, or the old one is.", options, 1, 1 };
	struct cli_rest rest;
	int status = cli_parse(&command, argc, argv, &rest);
	if (status >= 0)
		return status;

	struct err err = ERR_INIT;
	struct deploy_session session;
	struct deploy_values values;
	struct deploy_document *document _cleanup_(deploy_document_freep) = NULL;
	struct engine_result result = { 0 };
	deploy_values_init(&values);
	int r = deploy_session_open(&session, !call.plan, &err);
	session.json = cli_json();
	if (r >= 0)
		r = set_options(&call, &session, &err);
	if (r >= 0)
		r = read_values(&call, &values, &err);
	if (r >= 0)
		r = deploy_document_read(rest.words[0], &values, &document, &err);
	if (r >= 0) {
		deploy_document_bind(document, &session.options);
		const json_t *deployment = deploy_document_deployment(document);
		if (call.plan)
			r = engine_plan(deployment, &session.options, &result, &err);
		else
			r = engine_deploy(deployment, &session.options, &result, &err);
		status = deploy_session_tell(&session, r, &result, call.plan, &err);
	} else {
		status = deploy_session_fail(&session, &err);
	}
	engine_result_done(&result);
	deploy_values_done(&values);
	deploy_session_done(&session);
	strv_done(&call.secrets);
	strv_done(&call.vars);
	strv_done(&call.inputs);
	return status;
}
