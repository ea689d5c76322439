/* davit deploy FILE: a deployment file, planned or carried out. Without FILE in a workflow, or with --input, it is the root
 * action: `file`, `secrets`, `vars`, `inputs`, `plan`, `expect` and `wait` come from the inputs of the step. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/cmd/cli.h"
#include "agent/cmd/commands.h"
#include "agent/deployment/file.h"
#include "agent/deployment/personal.h"
#include "agent/deployment/session.h"
#include "agent/deployment/step_input.h"
#include "agent/review/drift.h"
#include "agent/review/pull.h"
#include "base/core/clock.h"
#include "base/secret/mask.h"
#include "base/sys/fs.h"

struct deploy_call {
	bool plan, no_seal, refresh, comment, issue;
	const char *destroy, *metrics;
	const char *file, *input, *expect, *wait, *secrets_file, *undo_deadline;
	struct strv secrets, vars, inputs;
	struct step_input in; /* of the root action */
	char *own_file;       /* of the person's settings */
	char *document;       /* owned: source of its inputs, unless that is an environment */
	json_t *expected;     /* the plan of a pull request, which the session's options borrow */
};

static const char *const action_inputs[] = {"file",   "secrets", "vars",  "inputs",  "plan", "refresh",
                                            "expect", "wait",    "token", "comment", "issue"};
static const char expect_pull[] = "pull-request";

static bool is_true(const json_t *input, const char *name)
{
	const char *text = json_get_string(input, name);
	return text != NULL && strcmp(text, "true") == 0;
}

/* Reads the inputs of the root action; an unknown name is refused. */
static int read_action(struct deploy_call *call, struct deployment_values *values, struct err *err)
{
	int r = 0;
	if (call->input != NULL) {
		r = step_input_read(call->input, NULL, &call->in, err);
	} else {
		invocation_from_environment(&call->in.job);
		call->in.input = invocation_inputs_by_name(action_inputs, ARRAY_SIZE(action_inputs));
	}
	const char *key;
	json_t *value;
	json_object_foreach(call->in.input, key, value)
	{
		bool known = false;
		for (size_t i = 0; i < ARRAY_SIZE(action_inputs); i++)
			known |= strcmp(key, action_inputs[i]) == 0;
		if (r < 0 || known)
			continue;
		const char *nearest = str_nearest(key, action_inputs, ARRAY_SIZE(action_inputs));
		r = err_set(err, ERR_INVALID, "the action has no input '%s'%s%s%s", key,
		            nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
	}
	json_t *maps[] = {values->secrets, values->vars, values->inputs};
	static const char *const names[] = {"secrets", "vars", "inputs"};
	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(maps); i++)
		r = deployment_values_map(maps[i], names[i], json_object_get(call->in.input, names[i]), i == 0, err);
	if (r < 0)
		return r;
	call->plan = call->plan || is_true(call->in.input, "plan");
	call->refresh = call->refresh || is_true(call->in.input, "refresh");
	call->comment = call->comment || is_true(call->in.input, "comment");
	call->issue = call->issue || is_true(call->in.input, "issue");
	call->file = json_get_string(call->in.input, "file");
	call->expect = json_get_string(call->in.input, "expect");
	call->wait = json_get_string(call->in.input, "wait");
	if (call->in.job.workspace != NULL && chdir(call->in.job.workspace) != 0)
		return err_errno(err, errno, "go to the workspace %s", call->in.job.workspace);
	if (call->file == NULL || call->file[0] == '\0') {
		r = err_set(err, ERR_INVALID, "no deployment file is named");
		return err_hint(err, r, "with: file: deploy/production.yml, or: davit deploy deploy/production.yml");
	}
	if (call->expect != NULL && call->expect[0] == '\0')
		call->expect = NULL;
	if (call->wait != NULL && call->wait[0] == '\0')
		call->wait = NULL;
	return 0;
}

/* `--input` has two meanings: NAME=VALUE, and the document of the root action (`-`, or a file's name, which holds no `=`). */
static void take_document_option(struct deploy_call *call)
{
	if (call->file != NULL || call->inputs.count != 1 || strchr(call->inputs.items[0], '=') != NULL)
		return;
	call->document = call->inputs.items[0];
	call->input = call->document;
	call->inputs.count = 0;
}

/* Without one, and without a step that names one, it is that of the person's settings. */
static int choose_file(struct deploy_call *call, struct err *err)
{
	_cleanup_(personal_done) struct personal settings = PERSONAL_INIT;
	if (call->file != NULL || call->input != NULL)
		return 0;
	int r = personal_read(&settings, err);
	if (r >= 0)
		call->file = call->own_file = xstrdup(json_get_string(settings.root, "file"));
	return r;
}

/* Of a script in a job, which names the file itself. */
static void read_job_around(struct deploy_call *call)
{
	struct invocation *job = &call->in.job;
	bool needed = call->comment || call->issue || (call->expect != NULL && strcmp(call->expect, expect_pull) == 0);
	const char *token = getenv("GITHUB_TOKEN");
	if (!needed)
		return;
	invocation_from_environment(job);
	if (job->present && job->token == NULL && token != NULL && *token != '\0') {
		job->token = xstrdup(token);
		mask_add(mask_process(), token, strlen(token));
	}
}

static int duration_option(const char *option, const char *text, int64_t *ret_ms, struct err *err)
{
	long long ms;
	if (text == NULL)
		return 0;
	if (str_parse_duration_ms(text, &ms) < 0) {
		int r = err_set(err, ERR_INVALID, "--%s '%s' is not a duration", option, text);
		return err_hint(err, r, "write 90s, 2m or 1h");
	}
	*ret_ms = ms;
	return 0;
}

static int check_options(const struct deploy_call *call, struct err *err)
{
	if (call->refresh && !call->plan)
		return err_set(err, ERR_INVALID,
		               "--refresh belongs to --plan: what it finds is never applied by itself");
	if (call->refresh && call->destroy != NULL)
		return err_set(err, ERR_INVALID, "--refresh and --destroy exclude each other");
	if (call->metrics != NULL && !call->refresh)
		return err_set(err, ERR_INVALID, "--metrics belongs to --plan --refresh");
	if (call->comment && (!call->plan || call->refresh || call->destroy != NULL))
		return err_set(err, ERR_INVALID, "--comment belongs to --plan, without --refresh and --destroy");
	if (call->issue && !call->refresh)
		return err_set(err, ERR_INVALID, "--issue belongs to --plan --refresh");
	if (call->comment)
		return review_pull_check(&call->in.job, err);
	return call->issue ? review_drift_check(&call->in.job, err) : 0;
}

static int set_options(const struct deploy_call *call, struct deployment_session *s, struct err *err)
{
	s->options.refresh = call->refresh;
	s->options.planned = call->comment;
	s->options.expect_digest = call->expect;
	if (call->no_seal)
		s->options.seal = false;
	int r = duration_option("wait", call->wait, &s->options.lock_wait_ms, err);
	if (r < 0)
		return r;
	return duration_option("undo-deadline", call->undo_deadline, &s->options.undo_deadline_ms, err);
}

/* Names of deployments and environments need no quoting there. */
static int write_metrics(const char *path, const json_t *deployment, const struct engine_result *result,
                         struct err *err)
{
	const char *name = json_get_string(deployment, "name"),
		   *environment = json_get_string(deployment, "environment");
	_cleanup_free_ char *labels = xasprintf("{name=\"%s\",environment=\"%s\"}", name != NULL ? name : "",
	                                        environment != NULL ? environment : "");
	_cleanup_free_ char *text =
		xasprintf("# HELP davit_drift_changes Changes that would bring the targets back to their description.\n"
	                  "# TYPE davit_drift_changes gauge\ndavit_drift_changes%s %zu\n"
	                  "# HELP davit_drift_looked_at_seconds When that was looked at.\n"
	                  "# TYPE davit_drift_looked_at_seconds gauge\ndavit_drift_looked_at_seconds%s %lld\n",
	                  labels, result->drift, labels, (long long)(clock_wall_ms() / 1000));
	return fs_write_replace(AT_FDCWD, path, text, strlen(text), 0644, err);
}

/* A plan that was refused says nothing of the world. */
static int tell_drift(const struct deploy_call *call, const json_t *deployment, const struct engine_result *result,
                      struct err *err)
{
	bool looked = call->refresh && (result->exit_status == 0 || result->exit_status == 6);
	if (!looked || call->metrics == NULL)
		return 0;
	int r = write_metrics(call->metrics, deployment, result, err);
	return r < 0 ? err_wrap(err, r, "write the metrics to '%s'", call->metrics) : 0;
}

static int plan_or_deploy(const struct deploy_call *call, struct deployment_file *document,
                          struct deployment_session *s, struct engine_result *result, struct err *err)
{
	const struct deployment *deployment = deployment_file_deployment(document);
	int r = call->plan ? engine_plan(deployment, &s->options, result, err)
	                   : engine_deploy(deployment, &s->options, result, err);
	return r < 0 ? r : tell_drift(call, deployment->json, result, err);
}

static int find_expected(struct deploy_call *call, struct deployment_file *document, struct deployment_session *s,
                         struct err *err)
{
	if (call->expect == NULL || strcmp(call->expect, expect_pull) != 0)
		return 0;
	return review_pull_expect(s, &call->in.job, deployment_file_object(document), &call->expected, err);
}

/* To people who were not asked to look at a log. */
static int tell_people(const struct deploy_call *call, struct deployment_session *s, const json_t *deployment,
                       const struct engine_result *result, const struct err *why, struct err *err)
{
	int64_t number = 0;
	bool looked = result->exit_status == 0 || result->exit_status == 6;
	if (call->comment && result->exit_status != 130)
		return review_pull_tell(s, &call->in.job, deployment, result, why, err);
	if (!call->issue || !looked)
		return 0;
	int r = review_drift_tell(s, &call->in.job, deployment, result, &number, err);
	if (r == 0 && number > 0) {
		_cleanup_free_ char *line = xasprintf("told in the issue #%lld", (long long)number);
		s->options.report(s->options.report_context, "info", line);
	}
	return r;
}

static int end(const struct deploy_call *call, struct deployment_session *s, int r, struct deployment_file *document,
               const struct engine_result *result, const struct err *err)
{
	struct err untold = ERR_INIT;
	int told = r < 0 ? 0 : tell_people(call, s, deployment_file_object(document), result, err, &untold);
	int status = deployment_session_tell(s, r, result, call->plan, err);
	if (told == 0)
		return status;
	char line[ERR_FRAME_SIZE];
	s->options.report(s->options.report_context, "error", err_line(&untold, line, sizeof(line)));
	if (untold.hint[0] != '\0')
		s->options.report(s->options.report_context, "info", untold.hint);
	return told == ERR_CANCELLED ? 130 : 2;
}

static int turn_around(const struct deploy_call *call, struct deployment_file *document, struct deployment_session *s,
                       struct err *err)
{
	_cleanup_(strv_done) struct strv left = {0};
	if (call->destroy == NULL)
		return 0;
	int r = deployment_file_destroy(document, call->destroy, &left, err);
	for (size_t i = 0; r >= 0 && i < left.count; i++) {
		_cleanup_free_ char *line = xasprintf("what '%s' did stays as it is", left.items[i]);
		s->options.report(s->options.report_context, "warning", line);
	}
	return r;
}

static void write_outputs(const struct deploy_call *call, const struct engine_result *result)
{
	struct err ignored = ERR_INIT;
	json_t *outputs _cleanup_json_ =
		json_pack("{s:s, s:s, s:s}", "deployment", result->id ? result->id : "", "digest", result->digest,
	                  "state", result->id ? deployment_state_name(result->state) : "");
	if (call->refresh)
		json_object_set_new(outputs, "drift", json_stringf("%zu", result->drift));
	invocation_write_outputs(outputs, &ignored);
}

int cmd_deploy(int argc, char **argv)
{
	struct deploy_call call = {0};
	const struct cli_option options[] = {
		{"plan", 0, CLI_FLAG, &call.plan, NULL,
	         "show what would change and its digest; no lock, nothing written"},
		{"refresh", 0, CLI_FLAG, &call.refresh, NULL, "with --plan: exit 6 when a target is not as described"},
		{"metrics", 0, CLI_TEXT, &call.metrics, "FILE",
	         "with --refresh: how much is not as described, for Prometheus"},
		{"destroy", 0, CLI_TEXT, &call.destroy, "ENV",
	         "destroy what the file's steps made in that environment, the last one first"},
		{"expect", 0, CLI_TEXT, &call.expect, "DIGEST",
	         "apply the plan with this digest or nothing (exit 3); pull-request: the one that\n"
	         "                               was shown on the pull request which this job's commit merged"},
		{"comment", 0, CLI_FLAG, &call.comment, NULL,
	         "with --plan, in a job of a pull request: show the plan there, and keep it for the merge"},
		{"issue", 0, CLI_FLAG, &call.issue, NULL,
	         "with --refresh, in a job: an issue says what is not as described"},
		{"secret", 0, CLI_LIST, &call.secrets, "NAME",
	         "a secret: the value of that environment variable; may be repeated"},
		{"secrets", 0, CLI_TEXT, &call.secrets_file, "FILE",
	         "secrets from a JSON or YAML map, mode 0600; - is standard input"},
		{"var", 0, CLI_LIST, &call.vars, "NAME=VALUE", "a value of the context vars; may be repeated"},
		{"input", 0, CLI_LIST, &call.inputs, "NAME=VALUE",
	         "a value of the context inputs; may be repeated. Without FILE, --input -: the\n"
	         "                               inputs of the root action as JSON or YAML from standard input"},
		{"wait", 0, CLI_TEXT, &call.wait, "D", "wait so long for a held lock (90s, 10m); default: not at all"},
		{"undo-deadline", 0, CLI_TEXT, &call.undo_deadline, "D",
	         "give an undo so long before it is held; default 15m"},
		{"no-seal", 0, CLI_FLAG, &call.no_seal, NULL,
	         "keep no sealed secrets for a recovery: it will ask for them"},
		{0},
	};
	const struct cli_command command = {
		"deploy",
		"FILE [options]",
		"Carries out a deployment file as one transaction: the new version is healthy, or the old one is.",
		options,
		0,
		1};
	struct cli_rest rest;
	int status = cli_parse(&command, argc, argv, &rest);
	if (status >= 0)
		return status;

	struct err err = ERR_INIT;
	struct deployment_session session;
	struct deployment_values values;
	struct deployment_file *document _cleanup_(deployment_file_freep) = NULL;
	struct engine_result result = {0};
	deployment_values_init(&values);
	deployment_values_environment(&values);
	call.file = rest.count > 0 ? rest.words[0] : NULL;
	take_document_option(&call);
	int r = choose_file(&call, &err);
	if (r >= 0 && call.file == NULL)
		r = read_action(&call, &values, &err);
	else if (r >= 0)
		read_job_around(&call);
	json_object_update(values.env, call.in.job.env);
	/* A plan makes no journal. */
	struct err not_opened = ERR_INIT;
	int opened = deployment_session_open(&session, r >= 0 && (!call.plan || call.comment), &not_opened);
	session.json = cli_json();
	session.title = call.file ? call.file : "deploy";
	if (r >= 0 && opened < 0) {
		r = opened;
		err = not_opened;
	}
	if (r >= 0)
		r = set_options(&call, &session, &err);
	if (r >= 0)
		r = deployment_values_given(&values, &call.secrets, call.secrets_file, &call.vars, &call.inputs, &err);
	if (r >= 0 && call.file != NULL)
		r = personal_values_of_file(call.file, &values, &err);
	deployment_session_tell_masks(&session);
	if (r >= 0)
		r = check_options(&call, &err);
	if (r >= 0)
		r = deployment_file_read(call.file, &values, &document, &session.faults, &err);
	if (r >= 0)
		r = turn_around(&call, document, &session, &err);
	if (r >= 0)
		r = find_expected(&call, document, &session, &err);
	if (r >= 0) {
		const struct invocation *job = &call.in.job;
		session.workflow |= job->present;
		session.title = call.file;
		deployment_file_set_job(document, job->repository, job->run_url, job->api_url, job->token, job->commit,
		                        job->ref);
		/* Without the action's inputs there is only the environment. */
		deployment_file_keep(document, job->masked,
		                     job->actor ? job->actor : json_get_string(values.github, "actor"));
		deployment_file_bind(document, &session.options);
		r = plan_or_deploy(&call, document, &session, &result, &err);
		status = end(&call, &session, r, document, &result, &err);
		write_outputs(&call, &result);
	} else {
		status = deployment_session_fail(&session, &err);
	}
	step_input_done(&call.in);
	engine_result_done(&result);
	deployment_values_done(&values);
	deployment_session_done(&session);
	free(call.own_file);
	free(call.document);
	json_decref(call.expected);
	strv_done(&call.secrets);
	strv_done(&call.vars);
	strv_done(&call.inputs);
	return status;
}
