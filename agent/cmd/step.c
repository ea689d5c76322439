/* davit step NAME: one typed step. Inside a job it shares the job's deployment; elsewhere it is a deployment of its own. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/cmd/cli.h"
#include "agent/cmd/commands.h"
#include "agent/deployment/file.h"
#include "agent/deployment/invocation.h"
#include "agent/deployment/replay.h"
#include "agent/deployment/session.h"
#include "agent/deployment/step_input.h"
#include "steps/registry.h"

enum { SEALED_MAX = 16 << 20 };

/* The deployment that earlier steps of the job opened. NULL: none. */
static json_t *deployment_of_job(const struct deployment_session *session, const struct step_input *in)
{
	json_t *list _cleanup_json_ = NULL;
	struct err ignored = ERR_INIT;
	const struct store_filter filter = {.job_key = in->job.key, .undecided = true, .limit = 1};
	if (!in->job.present || session->store == NULL ||
	    store_deployment_list(session->store, &filter, &list, &ignored) < 0)
		return NULL;
	return json_incref(json_array_get(list, 0));
}

/* The targets that they defined, with their logins, as sealed for an undo. NULL: none. */
static json_t *targets_of_job(const struct deployment_session *session, const json_t *joined)
{
	json_t *sealed _cleanup_json_ = NULL;
	struct str text _cleanup_(str_done) = STR_SECRET_INIT(SEALED_MAX + 1024);
	struct err ignored = ERR_INIT;
	const char *id = json_get_string(joined, "id");
	if (id == NULL || store_unseal(session->store, id, &text, &ignored) < 0 ||
	    json_parse(str_peek(&text), text.len, SEALED_MAX, &sealed, &ignored) < 0)
		return NULL;
	return json_incref(json_object_get(sealed, "targets"));
}

/* The job's environment, if its runner gives it. Another runner does not, and one default for all would lock staging and
 * production alike. A step without changes locks nothing. */
static void default_heads(const char *step, const struct step_input *in, const json_t *joined,
                          struct deployment_single *single)
{
	if (joined != NULL) {
		single->name = json_get_string(joined, "name");
		single->environment = json_get_string(joined, "environment");
		single->on_failure = json_get_string(joined, "on_failure");
	} else if (single->environment == NULL && in->job.present) {
		single->environment = "default";
		single->environment_unknown = !in->job.runner_decides && step_info(step)->changes;
	}
}

static int make_document(const char *name, const struct deployment_session *session, const struct step_input *in,
                         struct deployment_file **ret, json_t **ret_faults, struct err *err)
{
	json_t *joined _cleanup_json_ = deployment_of_job(session, in),
		       *known _cleanup_json_ = targets_of_job(session, joined);
	_cleanup_free_ char *default_name = invocation_default_name(&in->job);
	_cleanup_free_ char *default_environment = invocation_default_environment(&in->job);
	struct deployment_single single = {
		.step = name,
		.input = in->input,
		.text_values = in->text_values,
		.known_targets = known,
		.name = default_name,
		.environment = default_environment,
		.on_failure = in->job.on_failure,
		.source_root = in->job.workspace,
		.repository = in->job.repository,
		.run_url = in->job.run_url,
		.api_url = in->job.api_url,
		.token = in->job.token,
		.commit = in->job.commit,
		.ref = in->job.ref,
	};
	default_heads(name, in, joined, &single);
	int r = deployment_file_single(&single, ret, ret_faults, err);
	if (r < 0)
		return r;
	json_t *former _cleanup_json_ = json_incref(json_object_get(joined, "kept"));
	if (joined != NULL && former == NULL)
		former = json_string("an earlier step of the job was one of a release that kept nothing for it");
	json_object_set_new(deployment_file_object(*ret), "kept",
	                    replay_single(former, deployment_file_deployment(*ret), in->job.secrets_known));
	return 0;
}

static void write_outputs(const struct engine_result *result)
{
	const char *id;
	json_t *outputs;
	struct err ignored = ERR_INIT;
	json_object_foreach(result->outputs, id, outputs) invocation_write_outputs(outputs, &ignored);
}

static int run_step(const char *name, struct deployment_session *session, const struct step_input *in, bool plan,
                    struct err *err)
{
	struct deployment_file *document _cleanup_(deployment_file_freep) = NULL;
	struct engine_result result _cleanup_(engine_result_done) = {0};
	int r = make_document(name, session, in, &document, &session->faults, err);
	if (r < 0)
		return deployment_session_fail(session, err);
	deployment_file_bind(document, &session->options);
	const struct deployment *deployment = deployment_file_deployment(document);
	if (in->job.present) {
		session->workflow = true;
		session->options.job_key = in->job.key;
		session->options.runner_decides = in->job.runner_decides;
		session->options.keep_open = true;
		session->options.opened = invocation_keep_id;
		session->options.opened_context = session;
	}
	if (plan)
		r = engine_plan(deployment, &session->options, &result, err);
	/* A step that only reads, or works on this side only (checkout), needs no lock and leaves nothing to decide. */
	else if (in->job.present || (!step_info(name)->changes && !step_info(name)->joins))
		r = engine_job_step(deployment, &session->options, &result, err);
	else
		r = engine_deploy(deployment, &session->options, &result, err);
	if (r >= 0)
		write_outputs(&result);
	return deployment_session_tell(session, r, &result, plan, err);
}

/* Splits a preflight's inputs: some are used to read the file, the rest remains for the step itself. */
static int read_file_inputs(json_t *input, struct deployment_values *values, char **ret_file, struct err *err)
{
	json_t *maps[] = {values->secrets, values->vars, values->inputs};
	static const char *const names[] = {"values", "vars", "inputs"}, *const taken[] = {"vars", "inputs", "file",
	                                                                                   "deployment", "targets"};
	*ret_file = xstrdup(json_get_string(input, "file"));
	for (size_t i = 0; i < ARRAY_SIZE(maps); i++) {
		int r = deployment_values_map(maps[i], names[i], json_object_get(input, names[i]), i == 0, err);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < ARRAY_SIZE(taken); i++)
		json_object_del(input, taken[i]);
	return 0;
}

/* Runs a preflight that is alone in a job and names a deployment file: checks and plans everything in the file, and what
 * the step itself asks for. No lock, nothing written. */
static int check_file(struct deployment_session *session, const struct step_info *info, const struct step_input *in,
                      struct err *err)
{
	struct deployment_file *document _cleanup_(deployment_file_freep) = NULL;
	struct deployment_values values _cleanup_(deployment_values_done) = {0};
	struct engine_result result _cleanup_(engine_result_done) = {0};
	json_t *input _cleanup_json_ = json_deep_copy(in->input);
	_cleanup_free_ char *file = NULL;
	deployment_values_init(&values);
	deployment_values_environment(&values);
	json_object_update(values.env, in->job.env);
	int r = read_file_inputs(input, &values, &file, err);
	if (r >= 0 && in->job.workspace != NULL && chdir(in->job.workspace) != 0)
		r = err_errno(err, errno, "go to the workspace %s", in->job.workspace);
	if (r >= 0)
		r = deployment_file_read(file, &values, &document, &session->faults, err);
	if (r < 0)
		return deployment_session_fail(session, err);
	session->workflow |= in->job.present;
	deployment_file_set_job(document, in->job.repository, in->job.run_url, in->job.api_url, in->job.token,
	                        in->job.commit, in->job.ref);
	deployment_file_bind(document, &session->options);
	json_array_append_new(json_object_get(deployment_file_object(document), "steps"),
	                      json_pack("{s:s, s:[], s:O}", "step", info->name, "target", "input", input));
	r = engine_plan(deployment_file_deployment(document), &session->options, &result, err);
	return deployment_session_tell(session, r, &result, true, err);
}

static int no_such_step(const char *name, struct err *err)
{
	size_t count;
	const struct step_type *const *all = step_all(&count);
	const char *names[64];
	for (size_t i = 0; i < count && i < ARRAY_SIZE(names); i++)
		names[i] = all[i]->info->name;
	const char *nearest = str_nearest(name, names, MIN(count, ARRAY_SIZE(names)));
	int r = err_set(err, ERR_INVALID, "no step is called '%s'", name);
	if (nearest != NULL)
		return err_hint(err, r, "did you mean '%s'?", nearest);
	return err_hint(err, r, "`davit schema` lists the steps");
}

int cmd_step(int argc, char **argv)
{
	bool plan = false;
	const char *input = NULL;
	const struct cli_option options[] = {
		{"input", 0, CLI_TEXT, &input, "FILE",
	         "the inputs as JSON or YAML; - is standard input. In a workflow: INPUT_*"},
		{"plan", 0, CLI_FLAG, &plan, NULL, "show what would change, and stop"},
		{0},
	};
	const struct cli_command command = {"step",
	                                    "NAME [--input FILE|-] [--plan]",
	                                    "Carries out one typed step; `davit schema NAME` shows its inputs.",
	                                    options,
	                                    1,
	                                    1};
	struct cli_rest rest;
	int status = cli_parse(&command, argc, argv, &rest);
	if (status >= 0)
		return status;
	const char *name = rest.words[0];
	/* A step that decides a deployment is a command of that name, not part of a deployment. */
	const struct step_info *info = step_info(name);
	if (info != NULL && info->decides) {
		char *forwarded[] = {(char *)name, (char *)"--input", (char *)(input ? input : "-"), NULL};
		return command_run(name, input ? 3 : 1, forwarded);
	}

	struct err err = ERR_INIT;
	struct deployment_session session;
	struct step_input in = {0};
	int r = deployment_session_open(&session, !plan, &err);
	session.json = cli_json();
	session.title = name;
	const struct step_type *type = step_find(name);
	if (r >= 0 && info != NULL && info->waits) {
		r = err_set(&err, ERR_INVALID, "'%s' parks a whole deployment: a single step cannot wait", name);
		err_hint(&err, r, "write it into a deployment file, before the first step that changes something");
	}
	if (r >= 0 && type == NULL) {
		r = no_such_step(name, &err);
	}
	if (r >= 0)
		r = step_input_read(input, type->info->inputs, &in, &err);
	const char *file = type != NULL && info->file != NULL ? json_get_string(in.input, info->file) : NULL;
	if (r < 0)
		status = deployment_session_fail(&session, &err);
	else if (file != NULL && *file != '\0')
		status = check_file(&session, info, &in, &err);
	else
		status = run_step(name, &session, &in, plan, &err);
	step_input_done(&in);
	deployment_session_done(&session);
	return status;
}
