/* matrix: a job that is ready becomes a job for each combination of its matrix; what the legs of one job mean for each other. */
#include "agent/forge/forge_priv.h"

#include "agent/workflow/matrix.h"

#include <string.h>

/* A strategy that is an expression need not have each member. */
static bool is_given(const struct forge_job *job, const json_t *value)
{
	return value != NULL && !(job->def->strategy_is_expression && json_is_null(value));
}

static int eval_settings(struct forge *f, const struct forge_job *job, size_t total, bool *ret_fail_fast,
                         int64_t *ret_parallel, struct err *err)
{
	_cleanup_json_ json_t *fail_fast = NULL, *parallel = NULL;
	int r = 0;
	if (job->def->fail_fast != NULL)
		r = eval_template(f, job->run, job, job->def->fail_fast, &fail_fast, err);
	if (r >= 0 && job->def->max_parallel != NULL)
		r = eval_template(f, job->run, job, job->def->max_parallel, &parallel, err);
	if (r < 0)
		return err_wrap(err, r, "strategy");
	if (is_given(job, fail_fast) && !json_is_boolean(fail_fast))
		return err_set(err, ERR_INVALID, "strategy: 'fail-fast' must be true or false");
	if (is_given(job, parallel) && (!json_is_number(parallel) || json_number_value(parallel) < 1))
		return err_set(err, ERR_INVALID, "strategy: 'max-parallel' must be a number greater than 0");
	*ret_fail_fast = !json_is_false(fail_fast);
	*ret_parallel =
		is_given(job, parallel) ? (int64_t)MIN(json_number_value(parallel), MATRIX_MAX) : (int64_t)total;
	return 0;
}

static void set_leg(struct forge_job *leg, json_t *matrix, size_t index, size_t total, bool fail_fast, int64_t parallel)
{
	leg->matrix = json_incref(matrix);
	leg->strategy = json_pack("{s:b, s:I, s:I, s:I}", "fail-fast", (int)fail_fast, "job-index", (json_int_t)index,
	                          "job-total", (json_int_t)total, "max-parallel", (json_int_t)parallel);
}

size_t forge_run_make_room(struct forge_run *run, const struct forge_job *job, size_t more)
{
	size_t at = 0;
	while (run->jobs[at] != job)
		at++;
	run->jobs = xrealloc(run->jobs, (run->job_count + more) * sizeof(run->jobs[0]));
	memmove(&run->jobs[at + 1 + more], &run->jobs[at + 1], (run->job_count - at - 1) * sizeof(run->jobs[0]));
	run->job_count += more;
	return at + 1;
}

int forge_job_expand(struct forge *f, struct forge_job *job, size_t *ret_legs, struct err *err)
{
	_cleanup_json_ json_t *matrix = NULL, *legs = NULL;
	bool fail_fast = true;
	int64_t parallel = 1;
	*ret_legs = 1;
	if (job->def->matrix == NULL || job->matrix != NULL)
		return 0;
	int r = eval_tree(f, job->run, job, job->def->matrix, &matrix, err);
	if (r >= 0 && job->def->strategy_is_expression && json_is_null(matrix))
		return 0;
	if (r >= 0)
		r = matrix_expand(matrix, &legs, err);
	if (r < 0)
		return err_wrap(err, r, "strategy.matrix");
	size_t total = *ret_legs = json_array_size(legs);
	r = eval_settings(f, job, total, &fail_fast, &parallel, err);
	if (r < 0 || total == 0)
		return r;
	size_t at = forge_run_make_room(job->run, job, total - 1);
	set_leg(job, json_array_get(legs, 0), 0, total, fail_fast, parallel);
	for (size_t i = 1; i < total; i++) {
		struct forge_job *leg = job->run->jobs[at + i - 1] = forge_job_new(f, job->run, job->call, job->def);
		set_leg(leg, json_array_get(legs, i), i, total, fail_fast, parallel);
	}
	return 0;
}

char *forge_job_leg_name(const struct forge_job *job, const char *name)
{
	if (job->matrix == NULL || json_is_object(job->def->name))
		return xstrdup(name);
	_cleanup_free_ char *suffix = matrix_suffix(job->matrix);
	return *suffix != '\0' ? xasprintf("%s (%s)", name, suffix) : xstrdup(name);
}

bool forge_job_has_turn(const struct forge_job *job)
{
	int64_t active = 0;
	for (size_t i = 0; job->matrix != NULL && i < job->run->job_count; i++) {
		const struct forge_job *other = job->run->jobs[i];
		active += other->def == job->def && other->state >= JOB_QUEUED && other->state < JOB_COMPLETED;
	}
	return job->matrix == NULL || active < json_get_int(job->strategy, "max-parallel", 1);
}

bool forge_job_fails_others(const struct forge_job *job, const struct forge_job *other)
{
	return job->matrix != NULL && other != job && other->def == job->def && other->state != JOB_COMPLETED &&
	       !job->may_fail && json_get_bool(job->strategy, "fail-fast", true) &&
	       strcmp(job->conclusion, "failure") == 0;
}

/* ---- what jobs that need it see ---- */

static const char *const worst_last[] = {"skipped", "success", "cancelled", "failure"};

static size_t rank_of(const struct forge_job *leg)
{
	const char *conclusion = leg->may_fail && leg->conclusion != NULL ? "success" : leg->conclusion;
	for (size_t i = 0; i < ARRAY_SIZE(worst_last); i++)
		if (conclusion != NULL && strcmp(conclusion, worst_last[i]) == 0)
			return i;
	return 0;
}

/* Of several legs with one output the one that ended last wins, unless it gives nothing. */
static json_t *outputs_of(const struct forge_run *run, const struct workflow_job *def)
{
	json_t *outputs = json_object(), *value;
	const char *name;
	for (int64_t last = INT64_MIN;;) {
		int64_t next = INT64_MAX;
		for (size_t i = 0; i < run->job_count; i++)
			if (run->jobs[i]->def == def && run->jobs[i]->completed_ms > last)
				next = MIN(next, run->jobs[i]->completed_ms);
		if (next == INT64_MAX)
			return outputs;
		for (size_t i = 0; i < run->job_count; i++)
			if (run->jobs[i]->def == def && run->jobs[i]->completed_ms == next)
				json_object_foreach(run->jobs[i]->outputs, name,
				                    value) if (json_string_length(value) > 0)
					json_object_set(outputs, name, value);
		last = next;
	}
}

json_t *forge_job_summary(const struct forge_run *run, const struct workflow_job *def)
{
	size_t worst = 0;
	for (size_t i = 0; i < run->job_count; i++)
		if (run->jobs[i]->def == def)
			worst = MAX(worst, rank_of(run->jobs[i]));
	return json_pack("{s:s, s:o}", "result", worst_last[worst], "outputs", outputs_of(run, def));
}

json_t *forge_job_needs(const struct forge_job *job)
{
	json_t *needs = json_object();
	for (size_t n = 0; n < job->def->needs.count; n++) {
		const struct workflow_job *def = workflow_find_job(forge_job_workflow(job), job->def->needs.items[n]);
		if (def != NULL)
			json_object_set_new(needs, def->id, forge_job_summary(job->run, def));
	}
	return needs;
}
