/* step: one step of the job [5.4, 5.5]. */
#include "agent/worker/worker_priv.h"

#include "agent/service/wire.h"
#include "agent/actions/resolve.h"
#include "base/sys/fs.h"
#include "base/core/rand.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <strings.h>
#include <unistd.h>

enum { SCRIPT_MAX = 10 << 20, DOCUMENT_MAX = 8 << 20, EXIT_CANCELLED = 130 };

/* Everything but conditions: success() and its like are not known there. */
static struct template_scope value_scope(const struct job *j)
{
	struct template_scope scope = j->scope;
	scope.expr.status = NULL;
	return scope;
}

static void log_error(struct job *j, struct record *r, const struct err *err)
{
	char line[4096];
	record_error(j, r, "%s", err_line(err, line, sizeof(line)));
	if (err->hint[0] != '\0')
		record_line(j, r, "  %s", err->hint);
}

static const char *text_of(const json_t *inputs, const char *name)
{
	json_t *value = expr_member(inputs, name, strlen(name));
	return json_is_string(value) ? json_string_value(value) : NULL;
}

/* The step's environment: values see the job's, not each other. */
static int eval_env(struct job *j, struct record *r, struct err *err)
{
	_cleanup_json_ json_t *own = json_object();
	struct template_scope scope = value_scope(j);
	json_decref(r->env);
	r->env = json_copy(j->global_env);
	json_object_set(j->contexts, "env", r->env);
	int e = template_eval_strings(wire_get(r->step, "environment"), &scope, own, err);
	if (e == 0)
		json_object_update(r->env, own);
	return e;
}

static void final_name(struct job *j, struct record *r)
{
	if (r->name_final)
		return;
	_cleanup_json_ json_t *text = NULL;
	struct template_scope scope = value_scope(j);
	struct err err = ERR_INIT;
	char line[1024];
	r->name_final = true;
	const char *prefix;
	const json_t *token = step_title_token(r->step, &prefix);
	if (template_eval_string(token, &scope, &text, &err) < 0) {
		record_issue(j, r, ISSUE_WARNING, err_line(&err, line, sizeof(line)), NULL);
		return;
	}
	free(r->name);
	r->name = step_title(prefix, json_string_value(text));
	record_tell(j, r);
}

static int eval_condition(struct job *j, struct record *r, bool *ret, struct err *err)
{
	const char *condition = r->step != NULL ? wire_string(r->step, "condition") : "always()";
	return expr_condition(condition, &j->scope.expr, ret, err);
}

bool step_goes_on(struct job *j, struct record *r)
{
	bool holds = false;
	return eval_condition(j, r, &holds, NULL) == 0 && holds;
}

/* Whole minutes; 0: none. */
static int64_t eval_timeout(struct job *j, struct record *r)
{
	_cleanup_json_ json_t *value = NULL;
	const json_t *token = wire_get(r->step, "timeoutInMinutes");
	struct template_scope scope = value_scope(j);
	struct err err = ERR_INIT;
	if (template_is_null(token))
		return 0;
	int e = template_eval(token, &scope, &value, &err);
	if (e == 0 && !json_is_number(value))
		e = err_set(&err, ERR_INVALID, "timeout-minutes must be a number");
	if (e < 0) {
		record_error(j, r, "An error occurred when attempting to determine the step timeout.");
		log_error(j, r, &err);
		return 0;
	}
	double minutes = trunc(json_number_value(value));
	return minutes > 0 && minutes < 1e6 ? (int64_t)minutes : 0;
}

/* Asked only after a failure. */
static bool eval_continue_on_error(struct job *j, struct record *r)
{
	_cleanup_json_ json_t *value = NULL;
	const json_t *token = wire_get(r->step, "continueOnError");
	struct template_scope scope = value_scope(j);
	struct err err = ERR_INIT;
	if (template_is_null(token))
		return false;
	int e = template_eval(token, &scope, &value, &err);
	if (e == 0 && !json_is_boolean(value))
		e = err_set(&err, ERR_INVALID,
		            "Unexpected type encountered while reading 'continue-on-error'. A boolean was expected");
	if (e < 0) {
		record_error(j, r,
		             "The step failed and an error occurred when attempting to determine whether to continue "
		             "on error.");
		log_error(j, r, &err);
		return false;
	}
	return json_is_true(value);
}

/* ---- run: ---- */

static void log_env(struct job *j, struct record *r)
{
	const char *name;
	json_t *value;
	if (json_object_size(r->env) == 0)
		return;
	record_line(j, r, "env:");
	json_object_foreach(r->env, name, value) record_line(j, r, "  %s: %s", name, json_string_value(value));
}

static void log_script_head(struct job *j, struct record *r, const char *script)
{
	const char *from = script + strspn(script, " \t\r\n");
	size_t end = strlen(script);
	record_line(j, r, "##[group]Run %.*s", (int)strcspn(from, "\r\n"), from);
	while (end > 0 && (script[end - 1] == '\n' || script[end - 1] == '\r'))
		end--;
	for (const char *p = script; p < script + end;) {
		const char *stop = memchr(p, '\n', (size_t)(script + end - p));
		size_t n = (size_t)((stop != NULL ? stop : script + end) - p);
		record_line(j, r, "\x1b[36;1m%.*s\x1b[0m", (int)(n > 0 && p[n - 1] == '\r' ? n - 1 : n), p);
		p += n + 1;
	}
}

static char *working_directory(const struct job *j, const json_t *inputs)
{
	const char *given = text_of(inputs, "workingDirectory");
	if (given == NULL)
		given = text_of(j->defaults_run, "working-directory");
	if (given == NULL || given[0] == '\0')
		return xstrdup(j->workspace);
	return given[0] == '/' ? xstrdup(given) : fs_join(j->workspace, given);
}

static enum result end_of_process(struct job *j, struct record *r, enum process_end end, int status, int64_t minutes)
{
	switch (end) {
	case PROCESS_CANCELLED:
		record_error(j, r, "The operation was canceled.");
		return RESULT_CANCELED;
	case PROCESS_TIMED_OUT:
		record_error(j, r, "The action '%s' has timed out after %lld minutes.", r->name, (long long)minutes);
		return RESULT_FAILED;
	case PROCESS_EXITED:
		break;
	}
	if (status == 0)
		return RESULT_SUCCEEDED;
	if (r->kind == STEP_SCRIPT)
		record_error(j, r, "Process completed with exit code %d.", status);
	else
		record_debug(j, r, "exit code %d", status);
	return RESULT_FAILED;
}

static int write_script(struct job *j, const struct shell *shell, const char *script, char **ret_path, struct err *err)
{
	char id[37];
	rand_uuid4(id);
	_cleanup_free_ char *path = xasprintf("%s/%s%s", j->temp, id, shell->extension),
			    *text = shell_script(shell, script);
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return err_set(err, ERR_IO, "the script's file '%s' cannot be written", path);
	int e = fs_write_all(fd, text, strlen(text), err);
	if (e == 0)
		*ret_path = TAKE(path);
	return e;
}

static int run_script(struct job *j, struct record *r, const json_t *inputs, const struct shell *shell, int64_t minutes,
                      enum result *ret, struct err *err)
{
	const char *script = text_of(inputs, "script");
	_cleanup_free_ char *path = NULL, *cwd = working_directory(j, inputs);
	struct strv argv = {.count = 0}, env = {.count = 0};
	record_line(j, r, "shell: %s %s", shell->program, shell->format);
	log_env(j, r);
	record_line(j, r, "##[endgroup]");
	int e = write_script(j, shell, script, &path, err);
	if (e == 0)
		e = shell_arguments(shell, path, &argv, err);
	if (e == 0) {
		environ_make(j, r, 0, &env);
		struct process p = {
			.argv = (const char *const *)strv_null_terminated(&argv),
			.env = (const char *const *)strv_null_terminated(&env),
			.cwd = cwd,
			.timeout_ms = minutes * 60000,
			.script = true,
		};
		enum process_end end;
		int status = 0;
		e = process_run(j, r, &p, &end, &status, err);
		if (e == 0)
			*ret = end_of_process(j, r, end, status, minutes);
	}
	strv_done(&argv);
	strv_done(&env);
	return e;
}

static int do_script(struct job *j, struct record *r, const json_t *inputs, int64_t minutes, enum result *ret,
                     struct err *err)
{
	const char *script = text_of(inputs, "script"), *given = text_of(inputs, "shell");
	if (script == NULL)
		return err_set(err, ERR_PROTOCOL, "the step has no script");
	if (given == NULL || given[0] == '\0')
		given = text_of(j->defaults_run, "shell");
	struct shell shell = {.extension = ""};
	_cleanup_free_ char *path = environ_path(j, r);
	log_script_head(j, r, script);
	int e = shell_choose(given, path, &shell, err);
	if (e < 0) {
		record_line(j, r, "##[endgroup]");
		return e;
	}
	r->type = xstrdup("run");
	r->action_name = xstrdup(shell.command);
	e = run_script(j, r, inputs, &shell, minutes, ret, err);
	shell_done(&shell);
	return e;
}

/* ---- uses: ---- */

static void log_action_head(struct job *j, struct record *r, const struct uses *uses, const json_t *inputs)
{
	const char *name;
	json_t *value;
	record_line(j, r, "##[group]Run %s", uses->shown);
	if (json_object_size(inputs) > 0)
		record_line(j, r, "with:");
	json_object_foreach((json_t *)inputs, name, value) if (json_string_length(value) > 0)
		record_line(j, r, "  %s: %s", name, json_string_value(value));
	log_env(j, r);
	record_line(j, r, "##[endgroup]");
}

static json_t *step_job_document(const struct job *j, const struct record *r, const json_t *inputs)
{
	_cleanup_json_ json_t *env = environ_open_values(j, r);
	struct uses_job source = {
		.inputs = inputs,
		.env = env,
		.github = j->github,
		.matrix = json_object_get(j->contexts, "matrix"),
		.secrets = json_object_get(j->contexts, "secrets"),
		.tracking_id = j->tracking_id,
		.workspace = j->workspace,
		.on_failure = json_get_string(j->settings, "on_failure"),
		.environment = wire_string(wire_get(j->message, "actionsEnvironment"), "name"),
		.isolation = json_get_object(j->settings, "isolation"),
	};
	return uses_job(&source);
}

int step_run_program(struct job *j, struct record *r, const struct uses *uses, const json_t *inputs, int64_t timeout_ms,
                     bool deaf, enum process_end *ret_end, int *ret_status, struct err *err)
{
	_cleanup_free_ char *program = fs_helper_program("davit-step", err);
	if (program == NULL)
		return ERR_NOT_FOUND;
	_cleanup_json_ json_t *job = step_job_document(j, r, inputs);
	_cleanup_(str_done) struct str document = STR_SECRET_INIT(DOCUMENT_MAX);
	if (!uses_document(uses, inputs, job, &document))
		return err_set(err, ERR_LIMIT, "the inputs of %s are larger than %d MiB", uses->shown,
		               DOCUMENT_MAX >> 20);
	const char *argv[5];
	struct strv env = {.count = 0};
	uses_arguments(uses, program, argv);
	environ_make(j, r, ENVIRON_TYPED, &env);
	struct process p = {
		.argv = argv,
		.env = (const char *const *)strv_null_terminated(&env),
		.cwd = j->workspace,
		.input = str_peek(&document),
		.input_len = document.len,
		.timeout_ms = timeout_ms,
		.patient = true,
		.deaf = deaf,
	};
	int e = process_run(j, r, &p, ret_end, ret_status, err);
	strv_done(&env);
	return e;
}

/* The deployment that the steps of this job may have opened is decided at the job's end, in a record of its own,
 * numbered like a post step. */
static void expect_decision(struct job *j)
{
	if (j->decide != NULL)
		return;
	int number = 2 * j->counter;
	j->decide = record_new(j, NULL, "Decide the deployment", STEP_RUNNER);
	j->decide->number = j->counter = number;
	record_tell(j, j->decide);
}

static int do_action(struct job *j, struct record *r, const json_t *inputs, int64_t minutes, enum result *ret,
                     struct err *err)
{
	struct uses uses;
	int e = uses_resolve(wire_get(r->step, "reference"), json_get_string(j->settings, "actions_repository"), &uses,
	                     err);
	if (e < 0)
		return e;
	r->type = xstrdup("davit");
	r->action_name = xstrdup(uses.action);
	r->ref = xstrdup(uses.ref);
	log_action_head(j, r, &uses, inputs);
	if (!uses_only_looks(&uses))
		expect_decision(j);
	enum process_end end = PROCESS_EXITED;
	int status = 0;
	e = step_run_program(j, r, &uses, inputs, minutes * 60000, false, &end, &status, err);
	if (e == 0)
		*ret = end_of_process(j, r, end, status, minutes);
	uses_done(&uses);
	return e;
}

/* ---- the loop's body ---- */

static void set_step_keys(struct job *j, struct record *r)
{
	json_object_set_new(j->github, "action", json_string(r->reference_name != NULL ? r->reference_name : ""));
	json_object_set_new(j->github, "action_repository", json_null());
	json_object_set_new(j->github, "action_ref", json_null());
}

static enum result execute(struct job *j, struct record *r, int64_t minutes)
{
	_cleanup_json_ json_t *inputs = json_object();
	struct template_scope scope = value_scope(j);
	struct err err = ERR_INIT;
	enum result result = RESULT_FAILED;
	int e = effects_create_files(j, r, &err);
	if (e == 0) {
		e = template_eval_strings(wire_get(r->step, "inputs"), &scope, inputs, &err);
		if (e == 0 && r->kind == STEP_SCRIPT)
			e = do_script(j, r, inputs, minutes, &result, &err);
		else if (e == 0)
			e = do_action(j, r, inputs, minutes, &result, &err);
		if (e < 0)
			log_error(j, r, &err);
		effects_read_files(j, r);
	} else {
		log_error(j, r, &err);
	}
	return result;
}

static void set_outcome(struct job *j, struct record *r)
{
	if (r->context_name == NULL || r->context_name[0] == '\0' || strncmp(r->context_name, "__", 2) == 0)
		return;
	json_t *step = expr_member(j->steps_context, r->context_name, strlen(r->context_name));
	if (step == NULL) {
		step = json_object();
		json_object_set_new(j->steps_context, r->context_name, step);
	}
	json_object_set(step, "outputs", r->outputs);
	json_object_set_new(step, "outcome", json_string(result_context(r->outcome)));
	json_object_set_new(step, "conclusion", json_string(result_context(r->result)));
}

/* RESULT_NONE: go on and run it. */
static enum result check_condition(struct job *j, struct record *r)
{
	struct err err = ERR_INIT;
	bool wanted = false;
	if (j->cancel.shutdown)
		return RESULT_SKIPPED;
	record_debug(j, r, "Evaluating condition for step: '%s'", r->name);
	if (eval_condition(j, r, &wanted, &err) < 0) {
		log_error(j, r, &err);
		return RESULT_FAILED;
	}
	record_debug(j, r, "Result: %s", wanted ? "true" : "false");
	return wanted ? RESULT_NONE : RESULT_SKIPPED;
}

void step_run(struct job *j, struct record *r)
{
	struct err err = ERR_INIT;
	enum result result;
	bool may_continue = false;
	j->current = r;
	record_start(j, r);
	set_step_keys(j, r);
	if (eval_env(j, r, &err) < 0) {
		log_error(j, r, &err);
		result = RESULT_FAILED;
	} else {
		final_name(j, r);
		result = check_condition(j, r);
		if (result == RESULT_NONE) {
			result = execute(j, r, eval_timeout(j, r));
			result = result_merge(result, r->command_result);
			may_continue = true;
		}
	}
	r->outcome = result;
	if (result == RESULT_FAILED && may_continue && eval_continue_on_error(j, r))
		result = RESULT_SUCCEEDED;
	json_object_set(j->contexts, "env", j->global_env);
	record_complete(j, r, result);
	set_outcome(j, r);
	if (result == RESULT_FAILED)
		job_set_result(j, RESULT_FAILED);
	j->current = NULL;
}
