/* workflow: what would fail when a workflow runs, beyond what its reader finds. */
#include "agent/validate/validate_priv.h"
#include "agent/expr/expr.h"
#include "agent/workflow/matrix.h"
#include "agent/workflow/workflow.h"
#include "base/core/mem.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

void validate_report(const struct look *l, enum finding_severity severity, const char *code, const char *hint,
                     const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	_cleanup_free_ char *text = NULL;
	if (vasprintf(&text, fmt, args) < 0)
		text = NULL;
	va_end(args);
	finding_add(l->file->findings, l->file->name, yaml_value_mark(l->doc, str_peek(&l->at)), severity, code, hint,
	            "%s", text != NULL ? text : "out of memory");
}

/* ---- names in expressions ---- */

static void check_step_name(const struct look *l, const char *name)
{
	const char *known[512];
	size_t count = 0;
	for (size_t i = 0; i < l->job->step_count; i++) {
		const char *id = l->job->steps[i].context_name;
		if (id == NULL || str_starts(id, "__"))
			continue;
		if (strcasecmp(id, name) == 0) {
			if (l->job->steps[i].entry >= l->step)
				validate_report(l, FINDING_ERROR, "unknown-step",
				                "name a step that stands before this one",
				                "step '%s' has not run yet when this is evaluated", name);
			return;
		}
		if (count < ARRAY_SIZE(known))
			known[count++] = id;
	}
	const char *nearest = str_nearest(name, known, count);
	_cleanup_free_ char *hint = nearest != NULL ? xasprintf("did you mean '%s'?", nearest) : NULL;
	validate_report(l, FINDING_ERROR, "unknown-step", hint, "job '%s' has no step with the id '%s'", l->job->id,
	                name);
}

/* Of a step that runs a composite action of this work tree. */
static void check_step_output(const struct look *l, const char *const *path)
{
	const json_t *step = NULL;
	size_t i;
	json_t *one;
	json_array_foreach((json_t *)(uintptr_t)l->steps, i, one)
	{
		const char *id = json_get_string(one, "id");
		if (id != NULL && strcasecmp(id, path[1]) == 0)
			step = one;
	}
	const char *uses = json_get_string(step, "uses");
	_cleanup_json_ json_t *outputs = uses != NULL ? validate_action_outputs(l->file, uses) : NULL;
	if (outputs == NULL || validate_member(outputs, path[3]) != NULL)
		return;
	validate_report(l, FINDING_ERROR, "unknown-output", "declare it under 'outputs' of that action",
	                "the action '%s' has no output '%s'", uses, path[3]);
}

/* The keys that a token of a map has; true if `name` is one, or if the map has a key that is an expression. */
static bool has_output(const json_t *outputs, const char *name)
{
	size_t i;
	json_t *pair;
	json_array_foreach(json_object_get(outputs, "map"), i, pair)
	{
		const char *key = json_get_string(pair, "key");
		if (key == NULL || strcasecmp(key, name) == 0)
			return true;
	}
	return false;
}

static void check_output(const struct look *l, const struct workflow_job *job, const char *name)
{
	if (job->step_count > 0 && !has_output(job->outputs, name))
		validate_report(l, FINDING_ERROR, "unknown-output", "declare it under 'outputs' of that job",
		                "job '%s' has no output '%s'", job->id, name);
	if (job->uses != NULL && !validate_called_has_output(l->file, job->uses, name))
		validate_report(l, FINDING_ERROR, "unknown-output",
		                "declare it under 'on.workflow_call.outputs' of that workflow",
		                "'%s', which job '%s' calls, has no output '%s'", job->uses, job->id, name);
}

/* `jobs`, which the outputs of a workflow that is called may name. */
static void check_job(const struct look *l, const char *const *path, size_t count)
{
	const struct workflow_job *job = workflow_find_job(l->workflow, path[1]);
	if (job == NULL)
		validate_report(l, FINDING_ERROR, "unknown-job", NULL, "the workflow has no job '%s'", path[1]);
	else if (count > 3 && strcasecmp(path[2], "outputs") == 0)
		check_output(l, job, path[3]);
}

static void check_need(const struct look *l, const char *const *path, size_t count)
{
	bool named = false;
	for (size_t i = 0; i < l->job->needs.count; i++)
		named |= strcasecmp(l->job->needs.items[i], path[1]) == 0;
	const struct workflow_job *needed = workflow_find_job(l->workflow, path[1]);
	if (!named) {
		validate_report(l, FINDING_ERROR, "unknown-need",
		                needed != NULL ? "add it to 'needs' of this job" : NULL,
		                "job '%s' does not need '%s', so needs.%s is empty", l->job->id, path[1], path[1]);
		return;
	}
	if (count > 3 && strcasecmp(path[2], "outputs") == 0 && needed != NULL)
		check_output(l, needed, path[3]);
	if (count > 2 && strcasecmp(path[2], "outputs") != 0 && strcasecmp(path[2], "result") != 0)
		validate_report(l, FINDING_ERROR, "unknown-output", NULL,
		                "needs.%s has 'outputs' and 'result', not '%s'", path[1], path[2]);
}

static void check_input(const struct look *l, const char *name)
{
	const json_t *dispatch = json_object_get(l->workflow->on, "workflow_dispatch"),
		     *call = json_object_get(l->workflow->on, "workflow_call");
	if (validate_member(json_object_get(dispatch, "inputs"), name) != NULL ||
	    validate_member(json_object_get(call, "inputs"), name) != NULL)
		return;
	if (dispatch == NULL && call == NULL)
		validate_report(l, FINDING_WARNING, "unknown-input", NULL,
		                "no event of the workflow brings inputs, so inputs.%s is empty", name);
	else
		validate_report(l, FINDING_ERROR, "unknown-input",
		                "declare it under 'inputs' of workflow_dispatch or workflow_call",
		                "the workflow has no input '%s'", name);
}

/* The event of a call is the caller's, who may have other inputs. */
static void check_event_input(const struct look *l, const char *name)
{
	const json_t *dispatch = json_object_get(l->workflow->on, "workflow_dispatch");
	if (dispatch != NULL && json_object_get(l->workflow->on, "workflow_call") == NULL &&
	    validate_member(json_object_get(dispatch, "inputs"), name) == NULL)
		validate_report(l, FINDING_ERROR, "unknown-input", "declare it under 'inputs' of workflow_dispatch",
		                "the workflow has no input '%s'", name);
}

/* Of a workflow that is only called and says which secrets it takes. */
static bool knows_secret(const struct workflow *w, const char *name)
{
	const json_t *secrets = json_object_get(json_object_get(w->on, "workflow_call"), "secrets");
	return secrets == NULL || json_object_size(w->on) > 1 || strcasecmp(name, "GITHUB_TOKEN") == 0 ||
	       validate_member(secrets, name) != NULL;
}

static void check_member(const struct look *l, const char *const *path, size_t count)
{
	_cleanup_free_ char *message = NULL, *hint = NULL;
	if (validate_unknown_member(path, count, &message, &hint))
		validate_report(l, FINDING_WARNING, "unknown-member", hint, "%s", message);
}

static void check_path(void *user, const char *const *path, size_t count)
{
	const struct look *l = user;
	if (count < 2)
		return;
	check_member(l, path, count);
	if (strcasecmp(path[0], "secrets") == 0 && !knows_secret(l->workflow, path[1]))
		validate_report(
			l, FINDING_WARNING, "unknown-secret", "declare it under 'secrets' of workflow_call",
			"the secret '%s' is not declared: it is there only where a caller writes 'secrets: inherit'",
			path[1]);
	if (l->job == NULL && strcasecmp(path[0], "jobs") == 0)
		check_job(l, path, count);
	if (l->job == NULL)
		return;
	if (strcasecmp(path[0], "steps") == 0)
		check_step_name(l, path[1]);
	if (strcasecmp(path[0], "steps") == 0 && count > 3 && strcasecmp(path[2], "outputs") == 0)
		check_step_output(l, path);
	if (strcasecmp(path[0], "needs") == 0)
		check_need(l, path, count);
}

/* Without a matrix GitHub has an empty text, which steps that several jobs have alike may count on. */
static void check_matrix_key(const struct look *l, const char *key)
{
	if (json_object_size(l->matrix) == 0)
		validate_report(l, FINDING_WARNING, "unknown-matrix-key", NULL,
		                "job '%s' has no matrix: matrix.%s is empty", l->job->id, key);
	else if (validate_member(l->matrix, key) == NULL)
		validate_report(l, FINDING_ERROR, "unknown-matrix-key", NULL, "the matrix of job '%s' has no key '%s'",
		                l->job->id, key);
}

/* What may be missing where something else stands in for it. */
static void check_needed_path(void *user, const char *const *path, size_t count)
{
	const struct look *l = user;
	if (count > 1 && strcasecmp(path[0], "inputs") == 0)
		check_input(l, path[1]);
	if (count > 3 && strcasecmp(path[0], "github") == 0 && strcasecmp(path[1], "event") == 0 &&
	    strcasecmp(path[2], "inputs") == 0)
		check_event_input(l, path[3]);
	if (count > 1 && l->job != NULL && strcasecmp(path[0], "matrix") == 0 && l->matrix != NULL)
		check_matrix_key(l, path[1]);
}

static void tell_stranger(void *user, const char *what)
{
	const struct look *l = user;
	validate_report(l, FINDING_WARNING, "script-injection",
	                l->javascript ? "hand it over by 'env:' and write process.env.NAME in the script"
	                              : "hand it over by 'env:' and write \"$NAME\" in the script",
	                "a stranger chooses %s, which becomes part of the script", what);
}

static void look_at_string(struct look *l, const char *text, bool condition)
{
	_cleanup_free_ char *failure = validate_sure_failure(text, condition);
	if (failure != NULL)
		validate_report(l, FINDING_ERROR, "expression", NULL, "%s", failure);
	validate_each_path(text, condition, 0, check_path, l);
	validate_each_path(text, condition, EXPR_PATHS_NEEDED, check_needed_path, l);
	if (l->script)
		validate_each_stranger(text, l->envs, ARRAY_SIZE(l->envs), tell_stranger, l);
}

/* Goes through every string below a value. */
static void walk(struct look *l, const json_t *value, const char *key)
{
	size_t base = l->at.len, i;
	const char *name;
	json_t *item;
	if (json_is_string(value))
		look_at_string(l, json_string_value(value), key != NULL && strcmp(key, "if") == 0);
	json_array_foreach(value, i, item)
	{
		faults_pointer_push_index(&l->at, i);
		walk(l, item, NULL);
		str_truncate(&l->at, base);
	}
	if (!json_is_object(value))
		return;
	json_object_foreach((json_t *)(uintptr_t)value, name, item)
	{
		faults_pointer_push(&l->at, name);
		bool before = l->script;
		l->script |= strcmp(name, l->javascript ? "script" : "run") == 0 && json_is_string(item);
		walk(l, item, name);
		l->script = before;
		str_truncate(&l->at, base);
	}
}

/* ---- a job ---- */

/* The matrix's keys where they are all written out. New; NULL: an expression makes it. */
static json_t *matrix_keys(const json_t *job)
{
	json_t *strategy = json_object_get(job, "strategy"), *matrix = json_object_get(strategy, "matrix"), *value,
	       *entry;
	json_t *keys = json_object();
	const char *name, *inner;
	size_t i;
	if (json_is_string(strategy) || (matrix != NULL && !json_is_object(matrix)))
		goto unknown;
	json_object_foreach(matrix, name, value)
	{
		bool include = strcmp(name, "include") == 0;
		if (!include && strcmp(name, "exclude") != 0)
			json_object_set_new(keys, name, json_true());
		if (include && !json_is_array(value))
			goto unknown;
		json_t *none;
		if (include)
			json_array_foreach(value, i, entry) json_object_foreach(entry, inner, none)
				json_object_set_new(keys, inner, json_true());
	}
	return keys;
unknown:
	json_decref(keys);
	return NULL;
}

static bool holds_expression(const json_t *value)
{
	size_t i;
	const char *key;
	json_t *item;
	bool holds = json_is_string(value) && strstr(json_string_value(value), "${{") != NULL;
	json_array_foreach(value, i, item) holds = holds || holds_expression(item);
	json_object_foreach((json_t *)(uintptr_t)value, key, item) holds = holds || holds_expression(item);
	return holds;
}

/* A matrix that is written out has the combinations that it will have. */
static void check_matrix(struct look *l, const json_t *job)
{
	const json_t *matrix = json_object_get(json_object_get(job, "strategy"), "matrix");
	_cleanup_json_ json_t *legs = NULL;
	struct err err = ERR_INIT;
	char line[ERR_FRAME_SIZE];
	if (!json_is_object(matrix) || holds_expression(matrix) || matrix_expand(matrix, &legs, &err) >= 0)
		return;
	size_t base = l->at.len;
	faults_pointer_push(&l->at, "strategy");
	faults_pointer_push(&l->at, "matrix");
	/* The reader tells of vectors that are empty. */
	if (!str_starts(err_line(&err, line, sizeof(line)), "Matrix vector"))
		validate_report(l, FINDING_ERROR, "bad-matrix", NULL, "%s", line);
	str_truncate(&l->at, base);
}

static void look_at_job(struct look *l, const struct workflow_job *job, const json_t *value)
{
	json_t *keys _cleanup_json_ = matrix_keys(value), *steps = json_object_get(value, "steps"), *step,
		     *rest _cleanup_json_ = json_copy((json_t *)(uintptr_t)value);
	size_t base = l->at.len, i;
	l->job = job;
	l->matrix = keys;
	l->envs[1] = json_object_get(value, "env");
	l->steps = steps;
	json_object_del(rest, "steps");
	l->step = SIZE_MAX;
	walk(l, rest, NULL);
	validate_labels(l, value);
	check_matrix(l, value);
	validate_condition(l, value);
	validate_default_shell(l, value);
	validate_finish(l, steps);
	if (job->uses != NULL)
		validate_call(l->file, l->doc, str_peek(&l->at), job->uses, value);
	faults_pointer_push(&l->at, "steps");
	json_array_foreach(steps, i, step)
	{
		size_t inner = l->at.len;
		faults_pointer_push_index(&l->at, i);
		l->step = i;
		l->javascript = validate_step_is_javascript(step);
		l->envs[0] = json_object_get(step, "env");
		walk(l, step, NULL);
		l->javascript = false;
		validate_step(l, step);
		str_truncate(&l->at, inner);
	}
	str_truncate(&l->at, base);
	l->job = NULL;
	l->matrix = NULL;
	l->steps = NULL;
	l->envs[0] = l->envs[1] = NULL;
}

static void look_at(struct look *l)
{
	json_t *root = yaml_root(l->doc), *rest _cleanup_json_ = json_copy(root), *jobs = json_object_get(root, "jobs");
	json_object_del(rest, "jobs");
	if (json_is_object(rest))
		walk(l, rest, NULL);
	validate_default_shell(l, root);
	l->envs[2] = json_object_get(root, "env");
	for (size_t i = 0; i < l->workflow->job_count; i++) {
		const struct workflow_job *job = &l->workflow->jobs[i];
		const json_t *value = json_object_get(jobs, job->id);
		str_append(&l->at, "/jobs");
		faults_pointer_push(&l->at, job->id);
		if (json_is_object(value))
			look_at_job(l, job, value);
		str_truncate(&l->at, 0);
	}
}

void validate_workflow(const struct validate_file *file)
{
	struct faults faults = {.max = FINDINGS_MAX}, refusals = {.max = FINDINGS_MAX};
	struct err err = ERR_INIT;
	_cleanup_(workflow_freep) struct workflow *workflow = NULL;
	_cleanup_(yaml_freep) struct yaml_doc *doc = NULL;
	if (workflow_check(file->name, file->data, file->len, &faults, &refusals, &workflow, &doc, &err) < 0) {
		finding_add_faults(file->findings, file->name, &faults, FINDING_ERROR, "yaml");
		finding_add_err(file->findings, file->name, "yaml", &err);
	} else {
		finding_add_faults(file->findings, file->name, &faults, FINDING_ERROR, "syntax");
		finding_add_faults(file->findings, file->name, &refusals, FINDING_WARNING, "not-done-here");
		struct look l = {.file = file, .workflow = workflow, .doc = doc, .at = STR_INIT(8192)};
		look_at(&l);
		str_done(&l.at);
		validate_triggers(file, doc);
	}
	faults_done(&faults);
	faults_done(&refusals);
}
