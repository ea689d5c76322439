/* calls: a job that calls a reusable workflow: its jobs join the run, and what they come to is the job's. */
#include "agent/forge/forge_priv.h"

#include <fcntl.h>
#include <string.h>

#include "agent/expr/expr.h"
#include "base/core/clock.h"
#include "base/sys/fs.h"

/* GitHub's limits: so many workflows below each other with the first, so many calls of a run. */
enum { DEPTH_MAX = 10, CALLS_MAX = 50, WORKFLOW_MAX = 1 << 20, TOKEN_MS = 6 * 3600 * 1000 };

const struct workflow *forge_job_workflow(const struct forge_job *job)
{
	return job->call != NULL ? job->call->workflow : job->run->workflow;
}

bool forge_job_is_cancelled(const struct forge_job *job)
{
	bool cancelled = job->run->cancelled;
	for (const struct forge_call *call = job->call; call != NULL; call = call->caller->call)
		cancelled |= call->caller->cancelled;
	return cancelled;
}

char *forge_call_name(const struct forge_call *call, const char *name)
{
	return call != NULL ? xasprintf("%s / %s", call->caller->name, name) : xstrdup(name);
}

json_t *forge_call_permissions(const struct forge_job *job)
{
	const struct workflow *w = forge_job_workflow(job);
	_cleanup_json_ json_t *own = workflow_permissions(w, job->def);
	if (job->call == NULL)
		return json_incref(own);
	const json_t *callers = job->call->caller->permissions;
	bool said = job->def->permissions != NULL || w->permissions != NULL;
	return said ? workflow_permissions_below(own, callers) : json_deep_copy(callers);
}

void forge_call_free(struct forge_call *call)
{
	workflow_free(call->workflow);
	json_decref(call->inputs);
	json_decref(call->secrets);
	free(call);
}

/* ---- the beginning */

static int check_limits(const struct forge_job *job, struct err *err)
{
	size_t depth = 2, count = 1;
	for (const struct forge_call *call = job->call; call != NULL; call = call->caller->call)
		depth++;
	for (const struct forge_call *call = job->run->calls; call != NULL; call = call->next)
		count++;
	if (depth > DEPTH_MAX)
		return err_set(err, ERR_LIMIT, "more than %d workflows call each other", DEPTH_MAX);
	return count > CALLS_MAX ? err_set(err, ERR_LIMIT, "the run calls more than %d reusable workflows", CALLS_MAX)
	                         : 0;
}

static int read_text(const struct forge *f, const struct forge_run *run, const char *path, struct str *text,
                     struct err *err)
{
	if (f->config.work_tree == NULL)
		return push_read_file(run->repo, run->sha, path, text, err);
	_cleanup_free_ char *full = fs_join(f->config.work_tree, path);
	return fs_read(AT_FDCWD, full, WORKFLOW_MAX, text, err);
}

static int read_called(struct forge *f, const struct forge_job *job, struct workflow **ret, struct err *err)
{
	const char *path = job->def->uses + strlen("./");
	_cleanup_(str_done) struct str text = STR_INIT(WORKFLOW_MAX);
	_cleanup_(faults_done) struct faults faults = {0};
	_cleanup_(workflow_freep) struct workflow *w = NULL;
	int r = read_text(f, job->run, path, &text, err);
	if (r < 0)
		return err_wrap(err, r, "the reusable workflow %s", path);
	r = workflow_read(path, str_peek(&text), text.len, &faults, &w, NULL, err);
	if (r >= 0 && json_object_get(w->on, "workflow_call") == NULL)
		r = err_set(err, ERR_INVALID,
		            "%s is called, but is no reusable workflow: it has no 'workflow_call' in 'on'", path);
	if (r >= 0)
		*ret = TAKE(w);
	return r;
}

static int give_inputs(struct forge *f, const struct forge_job *job, struct forge_call *call, struct err *err)
{
	_cleanup_json_ json_t *with = NULL, *contexts = eval_contexts(f, job->run, job);
	struct expr_scope scope = {.contexts = contexts};
	int r = job->def->with != NULL ? eval_tree(f, job->run, job, job->def->with, &with, err) : 0;
	return r < 0 ? r : workflow_call_inputs(call->workflow, with, &scope, &call->inputs, err);
}

/* The job's own token counts as a secret that may be handed on. */
static int give_secrets(struct forge *f, struct forge_job *job, struct forge_call *call, struct err *err)
{
	_cleanup_json_ json_t *secrets = forge_job_secrets(f, job);
	if (job->def->inherits_secrets)
		return workflow_call_secrets(call->workflow, secrets, true, err);
	job->github_token = token_new(f, TOKEN_GITHUB, TOKEN_MS, NULL);
	job->github_token->job = job;
	json_object_set_new(secrets, "GITHUB_TOKEN", json_string(job->github_token->text));
	int r = eval_secrets(f, job, job->def->secrets, secrets, &call->secrets, err);
	return r < 0 ? r : workflow_call_secrets(call->workflow, call->secrets, false, err);
}

static void add_jobs(struct forge *f, struct forge_job *job, struct forge_call *call)
{
	size_t count = call->workflow->job_count, at = forge_run_make_room(job->run, job, count);
	for (size_t i = 0; i < count; i++)
		job->run->jobs[at + i] = forge_job_new(f, job->run, call, &call->workflow->jobs[i]);
}

int forge_call_begin(struct forge *f, struct forge_job *job, struct err *err)
{
	struct forge_call *call = xcalloc(1, sizeof(*call));
	call->caller = job;
	int r = check_limits(job, err);
	if (r >= 0)
		r = read_called(f, job, &call->workflow, err);
	if (r >= 0)
		r = give_inputs(f, job, call, err);
	if (r >= 0)
		r = give_secrets(f, job, call, err);
	if (r < 0) {
		forge_call_free(call);
		return r;
	}
	if (call->workflow->concurrency_group != NULL)
		forge_annotate(job->annotations, "warning", "'concurrency' of a called workflow is not observed: %s",
		               call->workflow->path);
	call->next = job->run->calls;
	job->run->calls = call;
	job->acquired_ms = clock_wall_ms();
	add_jobs(f, job, call);
	return 0;
}

/* ---- the end */

static struct forge_call *call_of(const struct forge_job *job)
{
	struct forge_call *call = job->run->calls;
	while (call->caller != job)
		call = call->next;
	return call;
}

static json_t *output_contexts(struct forge *f, const struct forge_job *job, const struct forge_call *call)
{
	json_t *contexts = eval_contexts(f, job->run, job), *jobs = json_object();
	for (size_t i = 0; i < call->workflow->job_count; i++)
		json_object_set_new(jobs, call->workflow->jobs[i].id,
		                    forge_job_summary(job->run, &call->workflow->jobs[i]));
	json_object_set(contexts, "inputs", call->inputs);
	json_object_set_new(contexts, "jobs", jobs);
	return contexts;
}

static void take_outputs(struct forge *f, struct forge_job *job, const struct forge_call *call)
{
	_cleanup_json_ json_t *contexts = output_contexts(f, job, call);
	struct expr_scope scope = {.contexts = contexts};
	const char *name;
	json_t *output;
	json_object_foreach(json_object_get(json_object_get(call->workflow->on, "workflow_call"), "outputs"), name,
	                    output)
	{
		_cleanup_json_ json_t *value = NULL;
		struct err err = ERR_INIT;
		char line[1024];
		const char *expression = json_get_string(output, "value");
		if (expr_template(expression != NULL ? expression : "", &scope, &value, &err) < 0) {
			forge_annotate(job->annotations, "warning", "the output '%.60s' of %s: %s", name,
			               call->workflow->path, err_line(&err, line, sizeof(line)));
			continue;
		}
		_cleanup_free_ char *text = template_literal(value);
		json_object_set_new(job->outputs, name, json_string(text != NULL ? text : ""));
	}
}

bool forge_call_end(struct forge *f, struct forge_job *job)
{
	const struct forge_call *call = call_of(job);
	const char *conclusion = forge_run_conclusion(job->run, call);
	if (conclusion == NULL)
		return false;
	take_outputs(f, job, call);
	if (job->github_token != NULL)
		job->github_token->revoked = true;
	forge_job_end_early(f, job, conclusion);
	return true;
}
