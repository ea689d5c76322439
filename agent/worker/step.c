/* step: one step of the job [5.4, 5.5]. */
#include "agent/worker/worker_priv.h"

#include "agent/service/wire.h"
#include "agent/worker/action.h"
#include "agent/worker/background.h"
#include "agent/worker/containers/containers.h"
#include "base/core/clock.h"

#include <math.h>
#include <stdio.h>
#include <strings.h>

/* ---- what steps inside a composite action see ---- */

static void exchange(struct job *j, struct frame *f)
{
	struct frame now = {.contexts = j->contexts,
	                    .github = j->github,
	                    .steps_context = j->steps_context,
	                    .defaults_run = j->defaults_run,
	                    .outer_env = j->outer_env,
	                    .file_table = j->scope.file_table,
	                    .status = j->action_status};
	j->contexts = f->contexts;
	j->github = f->github;
	j->steps_context = f->steps_context;
	j->defaults_run = f->defaults_run;
	j->outer_env = f->outer_env;
	j->action_status = f->status;
	j->scope.expr.contexts = f->contexts;
	j->scope.file_table = f->file_table;
	now.outside = f->outside;
	*f = now;
}

void step_enter_frame(struct job *j, struct frame *f)
{
	f->outside = j->frame;
	exchange(j, f);
	j->frame = f;
}

void step_leave_frame(struct job *j)
{
	struct frame *f = j->frame;
	exchange(j, f);
	j->frame = f->outside;
}

/* ---- a step's expressions ---- */

/* For everything but conditions: success() and similar functions are not known there. */
struct template_scope step_value_scope(const struct job *j)
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

/* The job's, and what the steps around set. New. */
static json_t *env_around(const struct job *j)
{
	json_t *env = json_copy(j->global_env);
	json_object_update(env, j->outer_env);
	return env;
}

/* The step's environment: values see the job's, not each other. */
static int eval_env(struct job *j, struct record *r, struct err *err)
{
	_cleanup_json_ json_t *own = json_object();
	struct template_scope scope = step_value_scope(j);
	json_decref(r->env);
	json_decref(r->own_env);
	r->own_env = NULL;
	r->env = env_around(j);
	json_object_set(j->contexts, "env", r->env);
	int e = template_eval_strings(wire_get(r->step, "environment"), &scope, own, err);
	if (e == 0)
		json_object_update(r->env, own);
	r->own_env = TAKE(own);
	return e;
}

static const json_t *script_of(const json_t *step)
{
	size_t i;
	json_t *pair;
	json_array_foreach(wire_get(wire_get(step, "inputs"), "map"), i, pair)
	{
		const json_t *key = wire_get(pair, "key");
		const char *name = json_is_string(key) ? json_string_value(key) : wire_string(key, "lit");
		if (name != NULL && strcasecmp(name, "script") == 0)
			return wire_get(pair, "value");
	}
	return NULL;
}

const json_t *step_title_token(const json_t *step, const char **ret_prefix)
{
	const json_t *token = wire_get(step, "displayNameToken");
	*ret_prefix = "";
	if (!template_is_null(token))
		return token;
	*ret_prefix = "Run ";
	return script_of(step);
}

char *step_title(const char *prefix, const char *value)
{
	value += strspn(value, " \t\r\n");
	size_t len = strcspn(value, "\r\n");
	return len == 0 ? xstrdup("run") : xasprintf("%s%.*s", prefix, (int)len, value);
}

static void final_name(struct job *j, struct record *r)
{
	if (r->name_final)
		return;
	_cleanup_json_ json_t *text = NULL;
	struct template_scope scope = step_value_scope(j);
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

/* Of a stage: no success() is put in front of it. */
static int eval_stage_condition(struct job *j, const char *condition, bool *ret, struct err *err)
{
	struct expr_value value = EXPR_VALUE_INIT;
	int e = expr_eval(condition, strlen(condition), &j->scope.expr, &value, err);
	if (e < 0)
		return e;
	*ret = expr_value_truth(&value);
	expr_value_done(&value);
	return 0;
}

static int eval_condition(struct job *j, struct record *r, bool *ret, struct err *err)
{
	if (r->stage_condition != NULL)
		return eval_stage_condition(j, r->stage_condition, ret, err);
	const char *condition = r->step != NULL ? wire_string(r->step, "condition") : "always()";
	return expr_condition(condition, &j->scope.expr, ret, err);
}

bool step_goes_on(struct job *j, struct record *r)
{
	bool holds = false;
	if (j->active != NULL && j->active->cancels > 0)
		return false;
	if (eval_condition(j, r, &holds, NULL) < 0 || !holds)
		return false;
	struct frame *f = j->frame;
	if (r->parent == NULL || f == NULL)
		return true;
	step_leave_frame(j);
	holds = step_goes_on(j, r->parent);
	step_enter_frame(j, f);
	return holds;
}

int64_t step_time_ms(const struct record *r)
{
	return r->deadline_mono_ms == 0 ? 0 : MAX(r->deadline_mono_ms - clock_mono_ms(), 1);
}

/* Whole minutes; 0: none. */
static int64_t eval_timeout(struct job *j, struct record *r)
{
	const json_t *token = wire_get(r->step, "timeoutInMinutes");
	struct template_scope scope = step_value_scope(j);
	struct err err = ERR_INIT;
	double minutes = 0;
	if (template_is_null(token))
		return 0;
	if (template_eval_number(token, &scope, &minutes, &err) < 0) {
		record_error(j, r, "An error occurred when attempting to determine the step timeout.");
		log_error(j, r, &err);
		return 0;
	}
	minutes = trunc(minutes);
	return minutes > 0 && minutes < 1e6 ? (int64_t)minutes : 0;
}

/* Asked only after a failure. */
static bool eval_continue_on_error(struct job *j, struct record *r)
{
	const json_t *token = wire_get(r->step, "continueOnError");
	struct template_scope scope = step_value_scope(j);
	struct err err = ERR_INIT;
	bool goes_on = false;
	if (template_is_null(token))
		return false;
	if (template_eval_boolean(token, &scope, &goes_on, &err) < 0) {
		record_error(j, r,
		             "The step failed and an error occurred when attempting to determine whether to continue "
		             "on error.");
		log_error(j, r, &err);
		return false;
	}
	return goes_on;
}

/* ---- what actions share ---- */

void step_log_env(struct job *j, struct record *r)
{
	const char *name;
	json_t *value;
	if (json_object_size(r->env) + json_object_size(r->state) == 0)
		return;
	record_line(j, r, "env:");
	json_object_foreach(r->env, name, value) record_line(j, r, "  %s: %s", name, json_string_value(value));
	json_object_foreach(r->state, name, value) record_line(j, r, "  STATE_%s: %s", name, json_string_value(value));
}

enum result step_end_of_process(struct job *j, struct record *r, enum process_end end, int status)
{
	switch (end) {
	case PROCESS_CANCELLED:
		record_error(j, r, "The operation was canceled.");
		return RESULT_CANCELED;
	case PROCESS_TIMED_OUT:
		if (r->minutes == 0)
			record_error(j, r, "The action has timed out.");
		else
			record_error(j, r, "The action '%s' has timed out after %lld minutes.", r->name,
			             (long long)r->minutes);
		return RESULT_FAILED;
	case PROCESS_EXITED:
		break;
	}
	return status == 0 ? RESULT_SUCCEEDED : RESULT_FAILED;
}

/* ---- the loop's body ---- */

static void set_step_keys(struct job *j, struct record *r)
{
	if (r->parent == NULL)
		json_object_set_new(j->github, "action",
		                    json_string(r->reference_name != NULL ? r->reference_name : ""));
	json_object_set_new(j->github, "action_repository", json_null());
	json_object_set_new(j->github, "action_ref", json_null());
}

/* Paths in them are those of the place where the step runs. */
static int eval_inputs(struct job *j, const struct record *r, json_t *inputs, struct err *err)
{
	_cleanup_json_ json_t *contexts = r->action->here ? json_incref(j->contexts) : containers_contexts(j);
	struct template_scope scope = step_value_scope(j);
	const char *name;
	json_t *value;
	void *next;
	scope.expr.contexts = contexts;
	int e = template_eval_strings(wire_get(r->step, "inputs"), &scope, inputs, err);
	if (e < 0 || !r->action->here)
		return e;
	json_object_foreach_safe(inputs, next, name, value)
	{
		_cleanup_free_ char *here = containers_outside(j, json_string_value(value));
		json_object_set_new(inputs, name, json_string(here));
	}
	return 0;
}

static enum result execute(struct job *j, struct record *r)
{
	_cleanup_json_ json_t *inputs = json_object();
	struct err err = ERR_INIT;
	enum result result = RESULT_FAILED;
	int e = effects_create_files(j, r, &err);
	if (e == 0) {
		e = eval_inputs(j, r, inputs, &err);
		if (e == 0)
			e = r->action->run(j, r, inputs, &result, &err);
		if (e < 0)
			log_error(j, r, &err);
		if (e == ERR_CANCELLED)
			result = RESULT_CANCELED;
		effects_read_files(j, r);
	} else {
		log_error(j, r, &err);
	}
	return result;
}

void step_set_outcome(struct job *j, struct record *r)
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

/* RESULT_NONE: run it. */
static enum result check_condition(struct job *j, struct record *r)
{
	struct err err = ERR_INIT;
	bool wanted = false;
	if (j->cancel.shutdown)
		return RESULT_SKIPPED;
	record_debug(j, r, "Evaluating condition for step: '%s'", r->name);
	if (eval_condition(j, r, &wanted, &err) < 0) {
		r->condition_failed = true;
		log_error(j, r, &err);
		return RESULT_FAILED;
	}
	record_debug(j, r, "Result: %s", wanted ? "true" : "false");
	return wanted ? RESULT_NONE : RESULT_SKIPPED;
}

static void set_time_limit(struct record *r)
{
	if (r->parent == NULL && r->minutes > 0)
		r->deadline_mono_ms = clock_mono_ms() + r->minutes * 60000;
}

enum result step_begin(struct job *j, struct record *r)
{
	struct err err = ERR_INIT;
	set_step_keys(j, r);
	if (eval_env(j, r, &err) < 0) {
		log_error(j, r, &err);
		return RESULT_FAILED;
	}
	final_name(j, r);
	enum result result = check_condition(j, r);
	if (result == RESULT_NONE && r->parent == NULL)
		r->minutes = eval_timeout(j, r);
	return result;
}

void step_end(struct job *j, struct record *r, enum result result, bool may_continue)
{
	r->outcome = result;
	if (result == RESULT_FAILED && may_continue && eval_continue_on_error(j, r))
		result = RESULT_SUCCEEDED;
	step_show_env(j);
	record_complete(j, r, result);
}

void step_execute(struct job *j, struct record *r)
{
	set_time_limit(r);
	enum result result = execute(j, r);
	step_end(j, r, result_merge(result, r->command_result), true);
}

void step_show_env(struct job *j)
{
	json_object_set_new(j->contexts, "env", env_around(j));
}

void step_run(struct job *j, struct record *r)
{
	record_start(j, r);
	enum result result = step_begin(j, r);
	if (result == RESULT_NONE)
		step_execute(j, r);
	else
		step_end(j, r, result, false);
	step_set_outcome(j, r);
	if (r->result == RESULT_FAILED && r->parent == NULL)
		job_set_result(j, RESULT_FAILED);
}
