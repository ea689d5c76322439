/* job: the jobs of a workflow, and what they need of each other. */
#include "agent/workflow/workflow_priv.h"
#include "agent/expr/expr.h"

#include <string.h>

static const char *const job_keys[] = {"cancel-timeout-minutes",
                                       "name",
                                       "needs",
                                       "runs-on",
                                       "if",
                                       "env",
                                       "defaults",
                                       "outputs",
                                       "environment",
                                       "timeout-minutes",
                                       "permissions",
                                       "steps",
                                       "continue-on-error",
                                       "concurrency",
                                       "container",
                                       "services",
                                       "strategy",
                                       "uses",
                                       "with",
                                       "secrets",
                                       "snapshot"};
static const char *const in_job_if[] = {"github", "needs", "vars", "inputs", NULL};
static const char *const in_job[] = {"github", "needs", "strategy", "matrix", "vars", "inputs", NULL};
static const char *const in_job_env[] = {"github", "needs", "strategy", "matrix", "vars", "inputs", "secrets", NULL};
static const char *const in_defaults[] = {"github", "needs", "strategy", "matrix", "vars", "inputs", "env", NULL};

static void read_environment(struct reader *r, struct workflow_job *job, const json_t *object)
{
	json_t *value = json_object_get(object, "environment");
	if (!value || json_is_null(value))
		return;
	size_t mark = reader_enter(r, "environment");
	static const char *const keys[] = {"name", "url", "deployment"};
	if (json_is_string(value)) {
		job->environment_name = template_from_yaml(&r->source, value, str_peek(&r->at));
	} else if (json_is_object(value)) {
		reader_known_keys(r, value, "environment", keys, ARRAY_SIZE(keys));
		json_decref(reader_boolean(r, value,
		                           "deployment")); /* checked; this forge makes no deployment of its own */
		if (!json_is_string(json_object_get(value, "name")))
			reader_fault(r, "'environment' needs a 'name' that is a text");
		job->environment_name = reader_token(r, value, "name");
		reader_allow(r, workflow_in_url, 0);
		job->environment_url = reader_token(r, value, "url");
		reader_allow(r, in_job, 0);
	} else {
		reader_fault(r, "'environment' must be a text or a map with 'name'");
	}
	reader_leave(r, mark);
}

static void read_runs_on(struct reader *r, struct workflow_job *job, const json_t *object)
{
	static const char *const keys[] = {"group", "labels"};
	json_t *value = json_object_get(object, "runs-on");
	size_t mark = reader_enter(r, "runs-on");
	bool good = json_is_string(value) && *json_string_value(value);
	if (json_is_array(value)) {
		size_t i;
		json_t *item;
		good = json_array_size(value) > 0;
		json_array_foreach(value, i, item) good &= json_is_string(item) && *json_string_value(item);
	}
	if (json_is_object(value)) {
		reader_known_keys(r, value, "runs-on", keys, ARRAY_SIZE(keys));
		reader_refuse_here(r, "'runs-on' by 'group' is not supported: name labels, as a text or a list");
	} else if (!good)
		reader_fault(r, value ? "'runs-on' must be a label or a list of labels" : "a job needs 'runs-on'");
	job->runs_on = value ? template_from_yaml(&r->source, value, str_peek(&r->at)) : NULL;
	reader_leave(r, mark);
}

static void read_needs(struct reader *r, struct workflow_job *job, const json_t *object)
{
	json_t *value = json_object_get(object, "needs");
	if (json_is_string(value)) {
		strv_add(&job->needs, json_string_value(value));
		return;
	}
	size_t mark = reader_enter(r, "needs");
	size_t i;
	json_t *item;
	if (value && !json_is_array(value))
		reader_fault(r, "'needs' must be the id of a job or a list of them");
	json_array_foreach(value, i, item)
	{
		if (json_is_string(item))
			strv_add(&job->needs, json_string_value(item));
		else
			reader_fault(r, "'needs' holds ids of jobs");
	}
	reader_leave(r, mark);
}

/* What belongs to a job with steps only. */
static void read_settings(struct reader *r, struct workflow_job *job, const json_t *value)
{
	reader_forbid(r, value, "with", "the call of a reusable workflow");
	reader_forbid(r, value, "secrets", "the call of a reusable workflow");
	reader_allow(r, in_job_env, 0);
	job->env = reader_scalars(r, value, "env");
	reader_allow(r, in_defaults, 0);
	job->defaults = reader_defaults(r, value);
	reader_allow(r, workflow_in_step, 0);
	job->outputs = reader_scalars(r, value, "outputs");
	reader_allow(r, in_job, 0);
	job->timeout_minutes = reader_number(r, value, "timeout-minutes");
	job->cancel_timeout_minutes = reader_number(r, value, "cancel-timeout-minutes");
	job->continue_on_error = reader_boolean(r, value, "continue-on-error");
	job->container = reader_container(r, value);
	job->services = reader_services(r, value);
	reader_allow(r, in_job, 0);
	read_environment(r, job, value);
}

static void read_job(struct reader *r, struct workflow_job *job, const char *id, const json_t *value)
{
	job->id = xstrdup(id);
	job->mark = yaml_key_mark(r->source.doc, str_peek(&r->at));
	job->condition = xstrdup("success()");
	reader_check_id(r, id);
	if (!json_is_object(value)) {
		reader_fault(r, "a job must be a map");
		return;
	}
	static const char *const not_empty[] = {"env", "outputs", "services", "strategy", "defaults"};
	reader_known_keys(r, value, "a job", job_keys, ARRAY_SIZE(job_keys));
	reader_refuse_empty(r, value, not_empty, ARRAY_SIZE(not_empty));
	reader_refuse(r, value, "snapshot", "custom images exist only on hosted runners");
	free(job->condition);
	reader_allow(r, in_job_if, EXPR_WITH_STATUS);
	job->condition = reader_condition(r, value);
	reader_strategy(r, job, value);
	reader_allow(r, in_job, 0);
	job->name = reader_token(r, value, "name");
	read_needs(r, job, value);
	if (json_object_get(value, "uses")) {
		reader_call(r, job, value);
	} else {
		read_runs_on(r, job, value);
		reader_steps(r, job, value);
		read_settings(r, job, value);
	}
	reader_allow(r, in_job, 0);
	job->permissions = reader_permissions(r, value);
	reader_concurrency(r, value, &job->concurrency_group, &job->concurrency_cancel);
}

static size_t job_index(const struct workflow *w, const char *id)
{
	const struct workflow_job *job = workflow_find_job(w, id);
	return job ? (size_t)(job - w->jobs) : SIZE_MAX;
}

/* Whether a way of needs leads from one job to another; each job is gone through once. */
static bool leads_to(const struct workflow *w, size_t from, size_t to, bool *seen)
{
	bool found = false;
	for (size_t i = 0; i < w->jobs[from].needs.count && !found; i++) {
		size_t next = job_index(w, w->jobs[from].needs.items[i]);
		if (next == SIZE_MAX || seen[next])
			continue;
		seen[next] = true;
		found = next == to || leads_to(w, next, to, seen);
	}
	return found;
}

static void check_needs(struct reader *r, const struct workflow *w)
{
	const char *ids[WORKFLOW_MAX_JOBS];
	for (size_t i = 0; i < w->job_count; i++)
		ids[i] = w->jobs[i].id;
	_cleanup_free_ bool *seen = xcalloc(w->job_count, sizeof(*seen));
	for (size_t i = 0; i < w->job_count; i++) {
		const struct workflow_job *job = &w->jobs[i];
		memset(seen, 0, w->job_count * sizeof(*seen));
		size_t mark = reader_enter(r, "jobs");
		reader_enter(r, job->id);
		reader_enter(r, "needs");
		for (size_t n = 0; n < job->needs.count; n++) {
			if (workflow_find_job(w, job->needs.items[n]))
				continue;
			reader_fault(r, "job '%s' needs '%.60s', which is not a job of this file", job->id,
			             job->needs.items[n]);
			faults_code(r->source.faults, "unknown-job");
			const char *nearest = str_nearest(job->needs.items[n], ids, w->job_count);
			if (nearest)
				faults_hint(r->source.faults, "did you mean '%s'?", nearest);
		}
		if (leads_to(w, i, i, seen)) {
			reader_fault(r, "job '%s' waits for itself through its 'needs'", job->id);
			faults_code(r->source.faults, "cycle");
		}
		reader_leave(r, mark);
	}
}

void reader_jobs(struct reader *r, struct workflow *w, const json_t *root)
{
	json_t *jobs = json_object_get(root, "jobs");
	size_t mark = reader_enter(r, "jobs");
	if (!json_is_object(jobs) || !json_object_size(jobs)) {
		reader_fault(r, "a workflow needs 'jobs', a map with at least one job");
		reader_leave(r, mark);
		return;
	}
	if (json_object_size(jobs) > WORKFLOW_MAX_JOBS) {
		reader_fault(r, "more than %d jobs", WORKFLOW_MAX_JOBS);
		reader_leave(r, mark);
		return;
	}
	w->jobs = xcalloc(json_object_size(jobs), sizeof(*w->jobs));
	const char *id;
	json_t *value;
	json_object_foreach(jobs, id, value)
	{
		size_t inner = reader_enter(r, id);
		read_job(r, &w->jobs[w->job_count++], id, value);
		reader_leave(r, inner);
	}
	reader_leave(r, mark);
	check_needs(r, w);
}
