/* Evaluates what the service decides itself: conditions of jobs, their names, labels, environments, concurrency groups. */
#include "agent/forge/forge_priv.h"
#include "agent/expr/expr.h"

#include <string.h>

struct view {
	const struct forge_run *run;
	const struct forge_job *job;
};

static struct forge_job *job_named(const struct forge_run *run, const char *id)
{
	for (size_t i = 0; i < run->job_count; i++)
		if (strcmp(run->jobs[i]->def->id, id) == 0)
			return run->jobs[i];
	return NULL;
}

/* True if any job that this one needs, directly or not, has this conclusion. seen: a mark for each job of the run. */
static bool before_has_rest(const struct forge_run *run, const struct workflow_job *def, const char *conclusion,
                            char *seen)
{
	for (size_t i = 0; i < def->needs.count; i++) {
		const struct forge_job *need = job_named(run, def->needs.items[i]);
		if (!need || seen[need->def - run->workflow->jobs])
			continue;
		seen[need->def - run->workflow->jobs] = 1;
		if (need->conclusion && strcmp(need->conclusion, conclusion) == 0 &&
		    !(need->may_fail && strcmp(conclusion, "failure") == 0))
			return true;
		if (before_has_rest(run, need->def, conclusion, seen))
			return true;
	}
	return false;
}

static bool before_has(const struct forge_run *run, const struct workflow_job *def, const char *conclusion)
{
	_cleanup_free_ char *seen = xcalloc(run->job_count, 1);
	return before_has_rest(run, def, conclusion, seen);
}

static bool job_status(void *user, enum expr_status which)
{
	const struct view *view = user;
	switch (which) {
	case EXPR_SUCCESS:
		return !view->run->cancelled && !before_has(view->run, view->job->def, "failure") &&
		       !before_has(view->run, view->job->def, "cancelled") &&
		       !before_has(view->run, view->job->def, "skipped");
	case EXPR_FAILURE:
		return before_has(view->run, view->job->def, "failure");
	case EXPR_CANCELLED:
		return view->run->cancelled;
	default:
		return true;
	}
}

json_t *forge_job_needs(const struct forge_job *job)
{
	json_t *needs = json_object();
	for (size_t i = 0; i < job->def->needs.count; i++) {
		const struct forge_job *need = job_named(job->run, job->def->needs.items[i]);
		if (need)
			json_object_set_new(needs, need->def->id,
			                    json_pack("{s:s, s:O}", "result",
			                              need->may_fail     ? "success"
			                              : need->conclusion ? need->conclusion
			                                                 : "",
			                              "outputs", need->outputs));
	}
	return needs;
}

/* Contexts that are known before a runner has the job. */
static json_t *contexts_of(struct forge *f, const struct forge_run *run, const struct forge_job *job)
{
	json_t *vars = json_deep_copy(json_object_get(f->defaults, "vars"));
	if (!vars)
		vars = json_object();
	json_object_update(vars, run->repo->vars);
	json_t *contexts = json_pack("{s:o, s:o}", "github", forge_run_github_context(f, run, job), "vars", vars);
	json_object_set(contexts, "inputs", run->inputs ? run->inputs : json_null());
	json_object_set_new(contexts, "needs", job ? forge_job_needs(job) : json_object());
	json_object_set_new(contexts, "matrix", json_null());
	json_object_set_new(contexts, "strategy", json_null());
	return contexts;
}

static int evaluate(struct forge *f, const struct forge_run *run, const struct forge_job *job, const char *expr,
                    json_t **ret, struct err *err)
{
	_cleanup_json_ json_t *contexts = contexts_of(f, run, job);
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
	_cleanup_json_ json_t *contexts = contexts_of(f, job->run, job);
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
