/* Evaluates what the service decides itself: conditions of jobs, their names, labels, environments, concurrency groups. */
#include "agent/forge/forge_priv.h"
#include "agent/expr/expr.h"
#include "agent/template/eval.h"

#include <string.h>

struct view {
	const struct forge_run *run;
	const struct forge_job *job;
};

static bool leg_has(const struct forge_job *leg, const char *conclusion)
{
	return leg->conclusion && strcmp(leg->conclusion, conclusion) == 0 &&
	       !(leg->may_fail && strcmp(conclusion, "failure") == 0);
}

/* True if any job that this one needs, directly or not, has this conclusion. seen: a mark for each job of the file. */
static bool before_has_rest(const struct forge_run *run, const struct workflow *w, const struct workflow_job *def,
                            const char *conclusion, char *seen)
{
	for (size_t n = 0; n < def->needs.count; n++) {
		const struct workflow_job *need = workflow_find_job(w, def->needs.items[n]);
		if (!need || seen[need - w->jobs])
			continue;
		seen[need - w->jobs] = 1;
		for (size_t i = 0; i < run->job_count; i++)
			if (run->jobs[i]->def == need && leg_has(run->jobs[i], conclusion))
				return true;
		if (before_has_rest(run, w, need, conclusion, seen))
			return true;
	}
	return false;
}

static bool before_has(const struct forge_job *job, const char *conclusion)
{
	const struct workflow *w = forge_job_workflow(job);
	_cleanup_free_ char *seen = xcalloc(w->job_count, 1);
	return before_has_rest(job->run, w, job->def, conclusion, seen);
}

static bool job_status(void *user, enum expr_status which)
{
	const struct view *view = user;
	switch (which) {
	case EXPR_SUCCESS:
		return !forge_job_is_cancelled(view->job) && !before_has(view->job, "failure") &&
		       !before_has(view->job, "cancelled") && !before_has(view->job, "skipped");
	case EXPR_FAILURE:
		return before_has(view->job, "failure");
	case EXPR_CANCELLED:
		return forge_job_is_cancelled(view->job);
	default:
		return true;
	}
}

json_t *eval_contexts(struct forge *f, const struct forge_run *run, const struct forge_job *job)
{
	json_t *vars = json_deep_copy(json_object_get(f->defaults, "vars"));
	if (!vars)
		vars = json_object();
	json_object_update(vars, run->repo->vars);
	json_t *contexts = json_pack("{s:o, s:o}", "github", forge_run_github_context(f, run, job), "vars", vars);
	json_t *inputs = job != NULL && job->call != NULL ? job->call->inputs : run->inputs;
	json_object_set(contexts, "inputs", inputs != NULL ? inputs : json_null());
	json_object_set_new(contexts, "needs", job ? forge_job_needs(job) : json_object());
	json_object_set_new(contexts, "matrix", job && job->matrix ? json_incref(job->matrix) : json_null());
	json_object_set_new(contexts, "strategy", job && job->strategy ? json_incref(job->strategy) : json_null());
	return contexts;
}

static int evaluate(struct forge *f, const struct forge_run *run, const struct forge_job *job, const char *expr,
                    json_t **ret, struct err *err)
{
	_cleanup_json_ json_t *contexts = eval_contexts(f, run, job);
	struct view view = {run, job};
	struct expr_scope scope = {.contexts = contexts, .status = job ? job_status : NULL, .user = &view};
	struct expr_value value = EXPR_VALUE_INIT;
	int r = expr_eval(expr, strlen(expr), &scope, &value, err);
	if (r < 0)
		return r;
	*ret = expr_value_json(&value);
	expr_value_done(&value);
	return 0;
}

int eval_condition(struct forge *f, const struct forge_job *job, bool *ret, struct err *err)
{
	_cleanup_json_ json_t *contexts = eval_contexts(f, job->run, job);
	struct view view = {job->run, job};
	struct expr_scope scope = {.contexts = contexts, .status = job_status, .user = &view};
	return expr_condition(job->def->condition, &scope, ret, err);
}

int eval_template(struct forge *f, const struct forge_run *run, const struct forge_job *job, const json_t *token,
                  json_t **ret, struct err *err)
{
	const char *expr = json_get_string(token, "expr");
	if (expr)
		return evaluate(f, run, job, expr, ret, err);
	json_t *list = json_get_array(token, "seq");
	if (!list) {
		*ret = json_deep_copy(token);
		return 0;
	}
	json_t *values = json_array();
	size_t i;
	json_t *item;
	json_array_foreach(list, i, item)
	{
		json_t *value = NULL;
		int r = eval_template(f, run, job, item, &value, err);
		if (r < 0) {
			json_decref(values);
			return r;
		}
		json_array_append_new(values, value);
	}
	*ret = values;
	return 0;
}

int eval_tree(struct forge *f, const struct forge_run *run, const struct forge_job *job, const json_t *token,
              json_t **ret, struct err *err)
{
	_cleanup_json_ json_t *contexts = eval_contexts(f, run, job);
	struct template_scope scope = {.expr = {.contexts = contexts}};
	return template_eval(token, &scope, ret, err);
}

int eval_secrets(struct forge *f, const struct forge_job *job, const json_t *token, const json_t *secrets, json_t **ret,
                 struct err *err)
{
	_cleanup_json_ json_t *contexts = eval_contexts(f, job->run, job), *strings = json_object();
	json_object_set(contexts, "secrets", (json_t *)(uintptr_t)secrets);
	struct template_scope scope = {.expr = {.contexts = contexts}};
	int r = token != NULL ? template_eval_strings(token, &scope, strings, err) : 0;
	if (r >= 0)
		*ret = TAKE(strings);
	return r;
}

int eval_string(struct forge *f, const struct forge_run *run, const struct forge_job *job, const json_t *token,
                char **ret, struct err *err)
{
	_cleanup_json_ json_t *value = NULL;
	int r = eval_template(f, run, job, token, &value, err);
	if (r < 0)
		return r;
	char *text = template_literal(value);
	*ret = text ? text : xstrdup("");
	return 0;
}
