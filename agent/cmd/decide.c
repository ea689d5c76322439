/* The commands that decide a deployment: rollback, recover, unlock, finish. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/cmd/cli.h"
#include "agent/cmd/commands.h"
#include "agent/deployment/file.h"
#include "agent/deployment/find.h"
#include "agent/deployment/replay.h"
#include "agent/deployment/session.h"
#include "agent/deployment/step_input.h"

/* Shared by these commands: a session, values for what the sealed file lacks, and a result. */
struct decision {
	struct deployment_session session;
	struct deployment_values values;
	struct engine_result result;
	struct step_input in;
	struct strv secrets;
	struct deployment kept; /* what a rollback needs, as it was kept; nothing of it is read here */
	const char *secrets_file, *input;
	bool planned; /* the result is a plan */
	struct err err;
};

static int decision_open(struct decision *d, const char *title, bool plan)
{
	deployment_values_init(&d->values);
	int r = deployment_session_open(&d->session, !plan, &d->err);
	d->session.json = cli_json();
	d->session.title = title;
	if (r >= 0)
		r = deployment_values_given(&d->values, &d->secrets, d->secrets_file, NULL, NULL, &d->err);
	return r;
}

/* A job's document or the environment of a workflow gives the job's key and may give inputs. */
static int decision_read_inputs(struct decision *d, const char *const *names, size_t count)
{
	int r = 0;
	if (d->input != NULL) {
		r = step_input_read(d->input, NULL, &d->in, &d->err);
	} else {
		invocation_from_environment(&d->in.job);
		d->in.input = invocation_inputs_by_name(names, count);
	}
	if (d->in.job.present) {
		d->session.options.job_key = d->in.job.key;
		d->session.workflow = true;
	}
	return r;
}

static void write_outputs(const struct engine_result *result)
{
	struct err ignored = ERR_INIT;
	json_t *outputs _cleanup_json_ = json_pack("{s:s, s:s}", "deployment", result->id ? result->id : "", "state",
	                                           result->id ? deployment_state_name(result->state) : "");
	invocation_write_outputs(outputs, &ignored);
}

static int decision_end(struct decision *d, int r, bool started)
{
	if (started && d->session.workflow)
		write_outputs(&d->result);
	int status = started ? deployment_session_tell(&d->session, r, &d->result, d->planned, &d->err)
	                     : deployment_session_fail(&d->session, &d->err);
	engine_result_done(&d->result);
	deployment_values_done(&d->values);
	step_input_done(&d->in);
	deployment_session_done(&d->session);
	strv_done(&d->secrets);
	return status;
}

static void say(struct decision *d, const char *line)
{
	if (!d->session.json)
		d->session.options.report(d->session.options.report_context, "info", line);
}

static const char *input_text(const struct decision *d, const char *name)
{
	const char *text = json_get_string(d->in.input, name);
	return text != NULL && *text != '\0' ? text : NULL;
}

/* Finds a committed deployment by its id, or by the release to go back to, which has its deployment's id; else the
 * only one of this host. ret NULL: not known here. */
static int find_committed(struct decision *d, const char *id, const char *to, json_t **ret)
{
	json_t *doc _cleanup_json_ = NULL, *list _cleanup_json_ = NULL;
	struct err ignored = ERR_INIT;
	if (id == NULL && to == NULL)
		return 0;
	store_deployment_get(d->session.store, id ? id : to, &doc, &ignored);
	const struct store_filter filter = {.name = json_get_string(doc, "name"),
	                                    .environment = json_get_string(doc, "environment")};
	int r = id == NULL ? store_deployment_list(d->session.store, &filter, &list, &d->err) : 0;
	const char *name = filter.name, *environment = filter.environment;
	size_t i;
	json_t *other, *newest = id ? doc : NULL;
	json_array_foreach(list, i, other)
	{
		const char *state = json_get_string(other, "state");
		if (state == NULL || strcmp(state, "committed") != 0)
			continue;
		newest = newest ? newest : other;
		name = name ? name : json_get_string(other, "name");
		environment = environment ? environment : json_get_string(other, "environment");
		if (strcmp(name, json_get_string(other, "name")) == 0 &&
		    strcmp(environment, json_get_string(other, "environment")) == 0)
			continue;
		r = err_set(&d->err, ERR_INVALID,
		            "no deployment made the release '%s', and several names were deployed from here", to);
		return err_hint(&d->err, r, "say which: davit rollback --to %s --file FILE", to);
	}
	*ret = json_incref(newest);
	return r;
}

/* Only the release directory that is meant. document: NULL: what was kept. */
static void keep_path(struct deployment_file *document, json_t *kept, const char *path)
{
	json_t *steps = json_object_get(document != NULL ? deployment_file_object(document) : kept, "steps");
	for (size_t i = json_array_size(steps); path != NULL && i-- > 0;) {
		const json_t *step = json_array_get(steps, i);
		const char *name = json_get_string(step, "step");
		const struct step_info *info = name != NULL ? step_info(name) : NULL;
		const char *at = step_releases_path(name, json_object_get(step, "input"));
		if (info == NULL || info->releases == NULL || (at != NULL && strcmp(at, path) == 0))
			continue;
		if (document != NULL)
			deployment_file_remove_step(document, i);
		else
			json_array_remove(steps, i);
	}
}

/* Reads what a rollback of a committed deployment needs: from the file, or from what was kept of it. */
static int read_way_back(struct decision *d, const char *file, const char *id, const char *to, const char *path,
                         struct deployment_file **ret_document, json_t **ret_kept)
{
	json_t *doc _cleanup_json_ = NULL;
	int r = 0;
	if (file != NULL) {
		r = deployment_file_read(file, &d->values, ret_document, &d->session.faults, &d->err);
	} else {
		r = find_committed(d, id, to, &doc);
		const char *state = json_get_string(doc, "state");
		const json_t *kept =
			state != NULL && strcmp(state, "committed") == 0 ? json_object_get(doc, "kept") : NULL;
		if (r >= 0 && json_is_string(kept)) {
			r = err_set(&d->err, ERR_INVALID, "what a way back needs was not kept: %s",
			            json_string_value(kept));
			return err_hint(
				&d->err, r,
				"davit rollback %s%s --file FILE, a deployment file with these targets and steps",
				to ? "--to " : "", to ? to : id);
		}
		if (r >= 0 && kept != NULL)
			r = replay_fill(kept, d->values.secrets, ret_kept, &d->session.faults, &d->err);
	}
	if (r < 0)
		return r;
	keep_path(*ret_document, *ret_kept, path);
	d->kept.json = *ret_kept;
	d->session.options.deployment = *ret_document != NULL ? deployment_file_deployment(*ret_document)
	                                : *ret_kept != NULL   ? &d->kept
	                                                      : NULL;
	return r;
}

static bool input_true(const struct decision *d, const char *name)
{
	const char *text = input_text(d, name);
	return json_is_true(json_object_get(d->in.input, name)) || (text != NULL && strcmp(text, "true") == 0);
}

/* Resolves an id, its beginning or "last". A refused deployment changed nothing, so there is nothing to take back. */
static int find_meant(struct decision *d, const char **id, json_t **ret)
{
	int r = deployment_find(d->session.store, *id, ret, &d->err);
	if (r < 0)
		return r;
	const char *state = json_get_string(*ret, "state");
	*id = json_get_string(*ret, "id");
	if (state == NULL || strcmp(state, "refused") != 0)
		return 0;
	r = err_set(&d->err, ERR_REFUSED, "the deployment %s was refused: nothing was changed, nothing is taken back",
	            *id);
	return err_hint(&d->err, r, "`davit history` shows which one is live");
}

/* Reports what the rollback of a committed deployment did, and what it did not do. */
static void say_switched(struct decision *d)
{
	json_t *made _cleanup_json_ = NULL;
	struct err ignored = ERR_INIT;
	if (d->result.id == NULL || d->result.state != DEPLOYMENT_COMMITTED ||
	    deployment_find(d->session.store, d->result.id, &made, &ignored) < 0 ||
	    deployment_describe(d->session.store, made, &ignored) < 0)
		return;
	const char *from = json_get_string(made, "from"), *to = json_get_string(made, "release"),
		   *kind = json_get_string(made, "kind");
	if (from == NULL || to == NULL || strcmp(kind, "rollback") != 0)
		return;
	_cleanup_free_ char *line =
		xasprintf("switched from %s to %s; not taken back: files, secrets and what commands did%s", from, to,
	                  d->session.options.data ? "" : ", and data (--data restores snapshots)");
	say(d, line);
}

static int plan_rollback(struct decision *d, const char *id, const char *to)
{
	int r = engine_rollback_plan(id, to, &d->session.options, &d->result, &d->err);
	d->planned = true;
	return decision_end(d, r, true);
}

int cmd_rollback(int argc, char **argv)
{
	struct decision d = {.err = ERR_INIT};
	struct deployment_file *document _cleanup_(deployment_file_freep) = NULL;
	json_t *kept _cleanup_json_ = NULL;
	bool data = false, force = false, plan = false;
	const char *to = NULL, *file = NULL, *path = NULL;
	struct strv vars _cleanup_(strv_done) = {0};
	const struct cli_option options[] = {
		{"plan", 0, CLI_FLAG, &plan, NULL,
	         "show what it would do and what it would leave as it is; no lock, nothing written"},
		{"to", 0, CLI_TEXT, &to, "RELEASE", "switch to this earlier release instead"},
		{"path", 0, CLI_TEXT, &path, "PATH", "with --to: only the releases of this archive-upload"},
		{"data", 0, CLI_FLAG, &data, NULL, "restore the snapshots of the deployment too"},
		{"force", 0, CLI_FLAG, &force, NULL, "overwrite what somebody changed since"},
		{"file", 0, CLI_TEXT, &file, "FILE",
	         "the deployment file, where this host does not know the deployment"},
		{"secret", 0, CLI_LIST, &d.secrets, "NAME",
	         "a secret that is not sealed here, from that environment variable"},
		{"secrets", 0, CLI_TEXT, &d.secrets_file, "FILE", "the same from a JSON or YAML map, mode 0600"},
		{"var", 0, CLI_LIST, &vars, "NAME=VALUE", "with --file: a value of the context vars"},
		{"input", 0, CLI_TEXT, &d.input, "FILE", "the inputs of the step rollback; - is standard input"},
		{0},
	};
	const struct cli_command command = {
		"rollback",
		"[ID] [options]",
		"Undoes a deployment: the job's, or the only open or held one; or, by its ID, the newest committed one of its environment.",
		options,
		0,
		1};
	static const char *const inputs[] = {"deployment", "to", "path", "data", "force", "token"};
	struct cli_rest rest;
	int status = cli_parse(&command, argc, argv, &rest);
	if (status >= 0)
		return status;
	int r = decision_open(&d, "rollback", plan);
	if (r >= 0)
		r = decision_read_inputs(&d, inputs, ARRAY_SIZE(inputs));
	for (size_t i = 0; r >= 0 && i < vars.count; i++)
		r = deployment_values_pair(d.values.vars, "var", vars.items[i], &d.err);
	if (r < 0)
		return decision_end(&d, r, false);
	d.session.options.data = data || input_true(&d, "data");
	d.session.options.force = force || input_true(&d, "force");
	const char *id = rest.count > 0 ? rest.words[0] : input_text(&d, "deployment");
	to = to ? to : input_text(&d, "to");
	path = path ? path : input_text(&d, "path");
	if (id != NULL && to != NULL) {
		r = err_set(&d.err, ERR_INVALID, "an id and --to exclude each other");
		err_hint(&d.err, r, "an id is the deployment to take back, --to the release to go to");
	}
	if (r >= 0 && d.session.store == NULL && (id != NULL || file == NULL))
		r = err_hint(&d.err, err_set(&d.err, ERR_INVALID, "nothing has been deployed from here"),
		             "a journal elsewhere is named by DAVIT_STATE");
	json_t *meant _cleanup_json_ = NULL;
	if (r >= 0 && id != NULL)
		r = find_meant(&d, &id, &meant);
	if (r >= 0)
		r = read_way_back(&d, file, id, to, path, &document, &kept);
	if (r < 0)
		return decision_end(&d, r, false);
	if (plan)
		return plan_rollback(&d, id, to);
	r = engine_rollback(id, to, d.values.secrets, &d.session.options, &d.result, &d.err);
	if (r >= 0 && d.result.exit_status == 0)
		say_switched(&d);
	return decision_end(&d, r, true);
}

int cmd_recover(int argc, char **argv)
{
	struct decision d = {.err = ERR_INIT};
	bool takeover = false;
	const char *after = NULL;
	struct strv vars = {0}, inputs = {0};
	const struct cli_option options[] = {
		{"takeover", 0, CLI_FLAG, &takeover, NULL,
	         "with FILE: take the lock of another machine that is gone for good; of a shared journal with ID, too"},
		{"after", 0, CLI_TEXT, &after, "D",
	         "once another machine's lock was not renewed for so long; default 90s"},
		{"secret", 0, CLI_LIST, &d.secrets, "NAME",
	         "a secret that is not sealed here, from that environment variable"},
		{"secrets", 0, CLI_TEXT, &d.secrets_file, "FILE", "the same from a JSON or YAML map, mode 0600"},
		{"var", 0, CLI_LIST, &vars, "NAME=VALUE", "with FILE: a value of the context vars"},
		{"input", 0, CLI_LIST, &inputs, "NAME=VALUE", "with FILE: a value of the context inputs"},
		{0},
	};
	const struct cli_command command = {
		"recover",
		"[ID|FILE] [options]",
		"Finishes or undoes what a dead process left: every such deployment of this host, or the one named.",
		options,
		0,
		1};
	struct cli_rest rest;
	struct deployment_file *document _cleanup_(deployment_file_freep) = NULL;
	json_t *named _cleanup_json_ = NULL;
	int status = cli_parse(&command, argc, argv, &rest);
	if (status >= 0)
		return status;
	int r = decision_open(&d, "recover", false);
	struct engine_recover_options recover = {
		.takeover = takeover, .takeover_after_ms = 90000, .secrets = d.values.secrets};
	for (size_t i = 0; r >= 0 && i < vars.count; i++)
		r = deployment_values_pair(d.values.vars, "var", vars.items[i], &d.err);
	for (size_t i = 0; r >= 0 && i < inputs.count; i++)
		r = deployment_values_pair(d.values.inputs, "input", inputs.items[i], &d.err);
	long long after_ms;
	if (r >= 0 && after != NULL) {
		if (str_parse_duration_ms(after, &after_ms) < 0)
			r = err_hint(&d.err, err_set(&d.err, ERR_INVALID, "--after '%s' is not a duration", after),
			             "as in: --after 5m");
		else
			recover.takeover_after_ms = d.session.options.standstill_ms = after_ms;
	}
	struct stat st;
	if (r >= 0 && rest.count > 0 && stat(rest.words[0], &st) == 0) {
		r = deployment_file_read(rest.words[0], &d.values, &document, &d.session.faults, &d.err);
		if (r >= 0)
			recover.deployment = deployment_file_deployment(document);
	} else if (r >= 0 && rest.count > 0) {
		r = deployment_find(d.session.store, rest.words[0], &named, &d.err);
		recover.id = json_get_string(named, "id");
	}
	if (r >= 0 && takeover && recover.deployment == NULL &&
	    (recover.id == NULL || !store_is_shared(d.session.store))) {
		r = err_set(&d.err, ERR_INVALID, "--takeover needs the deployment file, which names the targets");
		err_hint(&d.err, r, "davit recover deploy/production.yml --takeover");
	}
	d.session.options.consent = takeover;
	if (r >= 0) {
		r = engine_recover(&recover, &d.session.options, &d.result, &d.err);
		if (r >= 0 && d.result.exit_status == 0 && d.result.id == NULL)
			say(&d, "nothing is left undecided");
	} else {
		d.result.exit_status = -1;
	}
	strv_done(&vars);
	strv_done(&inputs);
	return decision_end(&d, r, d.result.exit_status != -1);
}

/* For the history: it was not the gate that found this version good. */
static void note_accepted(struct decision *d)
{
	json_t *members _cleanup_json_ = json_pack("{s:b}", "accepted", 1);
	struct err ignored = ERR_INIT;
	store_deployment_set(d->session.store, d->result.id, members, &ignored);
}

int cmd_unlock(int argc, char **argv)
{
	struct decision d = {.err = ERR_INIT};
	bool yes = false, accept = false;
	const struct cli_option options[] = {
		{"yes", 0, CLI_FLAG, &yes, NULL, "give up on a deployment that is not decided: it becomes held"},
		{"accept", 0, CLI_FLAG, &accept, NULL, "the world as it is becomes the version"},
		{"secret", 0, CLI_LIST, &d.secrets, "NAME",
	         "a secret that is not sealed here, from that environment variable"},
		{"secrets", 0, CLI_TEXT, &d.secrets_file, "FILE", "the same from a JSON or YAML map, mode 0600"},
		{0},
	};
	const struct cli_command command = {
		"unlock",
		"ENVIRONMENT|NAME.ENVIRONMENT [--yes|--accept]",
		"Frees a lock whose owner is provably dead with nothing left open; anything else needs consent.",
		options,
		1,
		1};
	struct cli_rest rest;
	int status = cli_parse(&command, argc, argv, &rest);
	if (status >= 0)
		return status;
	int r = decision_open(&d, "unlock", false);
	if (r >= 0 && yes && accept)
		r = err_hint(
			&d.err, err_set(&d.err, ERR_INVALID, "--yes and --accept exclude each other"),
			"--yes gives the deployment up, which keeps it held; --accept makes the world as it is the version");
	if (r < 0)
		return decision_end(&d, r, false);
	r = engine_unlock(rest.words[0], yes, accept, &d.session.options, &d.result, &d.err);
	if (r >= 0 && accept && d.result.id != NULL && d.result.state == DEPLOYMENT_COMMITTED)
		note_accepted(&d);
	if (r >= 0 && d.result.exit_status == 0 && d.result.id == NULL)
		say(&d, "nothing is locked or open there");
	return decision_end(&d, r, true);
}

/* No deployment of this job was found. The runner's directory tells whether there was none or this step looks in the wrong place. */
static void look_for_lost(struct decision *d)
{
	json_t *doc _cleanup_json_ = NULL;
	struct err ignored = ERR_INIT;
	_cleanup_free_ char *id = d->in.job.present ? invocation_kept_id() : NULL;
	if (id == NULL)
		return;
	bool known = store_deployment_get(d->session.store, id, &doc, &ignored) == 0;
	const char *state = json_get_string(doc, "state");
	if (state != NULL && strcmp(state, "open") != 0 && strcmp(state, "undoing") != 0 && strcmp(state, "held") != 0)
		return;
	d->result.exit_status = 4;
	if (known) {
		err_set(&d->err, ERR_REFUSED,
		        "the deployment %.60s of this job is not decided: it was opened under another key", id);
		err_hint(
			&d->err, ERR_REFUSED,
			"a step changed GITHUB_JOB, DAVIT_MATRIX or RUNNER_TRACKING_ID; `davit rollback %.60s` takes it back",
			id);
		return;
	}
	err_set(&d->err, ERR_NOT_FOUND, "the deployment %.60s of this job is not in the journal in %s", id,
	        store_dir(d->session.store));
	err_hint(
		&d->err, ERR_NOT_FOUND,
		"all steps of a job need the same DAVIT_STATE; where that directory is lost, `davit recover FILE --takeover` reads the targets");
}

int cmd_finish(int argc, char **argv)
{
	struct decision d = {.err = ERR_INIT};
	const char *status_option = NULL, *on_failure = NULL;
	const struct cli_option options[] = {
		{"status", 0, CLI_TEXT, &status_option, "S", "how the job ended: success, failure or cancelled"},
		{"on-failure", 0, CLI_TEXT, &on_failure, "WHAT", "rollback or hold; default: what the deployment says"},
		{"input", 0, CLI_TEXT, &d.input, "FILE", "the inputs of the step finish; - is standard input"},
		{0},
	};
	const struct cli_command command = {
		"finish",
		"[--status S] [options]",
		"Decides the deployment of this job: commit after success, undo or hold after anything else.",
		options,
		0,
		0};
	static const char *const inputs[] = {"status", "on_failure", "token"};
	struct cli_rest rest;
	int status = cli_parse(&command, argc, argv, &rest);
	if (status >= 0)
		return status;
	int r = decision_open(&d, "finish", false);
	if (r >= 0)
		r = decision_read_inputs(&d, inputs, ARRAY_SIZE(inputs));
	if (status_option == NULL)
		status_option = input_text(&d, "status");
	/* As action.yml has it by default. */
	if (status_option == NULL)
		status_option = d.in.job.status;
	if (on_failure == NULL)
		on_failure = input_text(&d, "on_failure");
	if (r >= 0 && status_option == NULL) {
		r = err_set(&d.err, ERR_INVALID, "finish does not know how the job ended");
		err_hint(&d.err, r, "with: status: ${{ job.status }}, or --status success");
	} else if (r >= 0 && strcmp(status_option, "success") != 0 && strcmp(status_option, "failure") != 0 &&
	           strcmp(status_option, "cancelled") != 0) {
		r = err_set(&d.err, ERR_INVALID, "'%s' is not a status of a job", status_option);
		err_hint(&d.err, r, "success, failure or cancelled");
	}
	if (r < 0)
		return decision_end(&d, r, false);
	r = engine_finish(status_option, on_failure, &d.session.options, &d.result, &d.err);
	if (r >= 0 && d.result.exit_status == 0 && d.result.id == NULL)
		look_for_lost(&d);
	return decision_end(&d, r, true);
}
