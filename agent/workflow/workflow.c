/* The model's life, and the permissions that follow from it. */
#include "agent/workflow/workflow.h"

#include <ctype.h>
#include <string.h>

static void step_done(struct workflow_step *s)
{
	free(s->context_name);
	free(s->group);
	strv_done(&s->targets);
	free(s->condition);
	json_decref(s->name);
	json_decref(s->env);
	json_decref(s->inputs);
	json_decref(s->continue_on_error);
	json_decref(s->timeout_minutes);
	json_decref(s->reference);
}

static void job_done(struct workflow_job *j)
{
	for (size_t i = 0; i < j->step_count; i++)
		step_done(&j->steps[i]);
	free(j->steps);
	free(j->id);
	free(j->condition);
	free(j->uses);
	strv_done(&j->needs);
	json_t *tokens[] = {j->name,
	                    j->runs_on,
	                    j->env,
	                    j->defaults,
	                    j->outputs,
	                    j->timeout_minutes,
	                    j->continue_on_error,
	                    j->container,
	                    j->services,
	                    j->environment_name,
	                    j->environment_url,
	                    j->permissions,
	                    j->concurrency_group,
	                    j->concurrency_cancel,
	                    j->cancel_timeout_minutes,
	                    j->matrix,
	                    j->fail_fast,
	                    j->max_parallel,
	                    j->with,
	                    j->secrets};
	for (size_t i = 0; i < ARRAY_SIZE(tokens); i++)
		json_decref(tokens[i]);
}

void workflow_free(struct workflow *w)
{
	if (!w)
		return;
	for (size_t i = 0; i < w->job_count; i++)
		job_done(&w->jobs[i]);
	free(w->jobs);
	free(w->path);
	free(w->name);
	json_t *tokens[] = {w->run_name,          w->on, w->env, w->defaults, w->permissions, w->concurrency_group,
	                    w->concurrency_cancel};
	for (size_t i = 0; i < ARRAY_SIZE(tokens); i++)
		json_decref(tokens[i]);
	free(w);
}

void workflow_freep(struct workflow **w)
{
	workflow_free(*w);
	*w = NULL;
}

const struct workflow_job *workflow_find_job(const struct workflow *w, const char *id)
{
	for (size_t i = 0; i < w->job_count; i++)
		if (strcmp(w->jobs[i].id, id) == 0)
			return &w->jobs[i];
	return NULL;
}

static void mark_needed(const struct workflow *w, const char *id, bool *wanted)
{
	const struct workflow_job *job = workflow_find_job(w, id);
	if (job == NULL || wanted[job - w->jobs])
		return;
	wanted[job - w->jobs] = true;
	for (size_t i = 0; i < job->needs.count; i++)
		mark_needed(w, job->needs.items[i], wanted);
}

int workflow_keep_job(struct workflow *w, const char *id, struct err *err)
{
	if (workflow_find_job(w, id) == NULL) {
		_cleanup_free_ const char **ids = xcalloc(w->job_count, sizeof(*ids));
		for (size_t i = 0; i < w->job_count; i++)
			ids[i] = w->jobs[i].id;
		const char *nearest = str_nearest(id, ids, w->job_count);
		int r = err_set(err, ERR_INVALID, "%s has no job '%.60s'", w->path, id);
		return nearest != NULL ? err_hint(err, r, "did you mean '%s'?", nearest) : r;
	}
	_cleanup_free_ bool *wanted = xcalloc(w->job_count, sizeof(*wanted));
	mark_needed(w, id, wanted);
	size_t kept = 0;
	for (size_t i = 0; i < w->job_count; i++) {
		if (wanted[i])
			w->jobs[kept++] = w->jobs[i];
		else
			job_done(&w->jobs[i]);
	}
	w->job_count = kept;
	return 0;
}

/* "pull-requests" → "PullRequests": the spelling in the message. */
static void set_permission(json_t *out, const char *scope, const char *level)
{
	char name[64];
	size_t n = 0;
	bool upper = true;
	for (const char *p = scope; *p && n + 1 < sizeof(name); p++) {
		if (*p == '-') {
			upper = true;
			continue;
		}
		name[n++] = upper ? (char)toupper((unsigned char)*p) : *p;
		upper = false;
	}
	name[n] = '\0';
	if (strcmp(level, "none") != 0)
		json_object_set_new(out, name, json_string(level));
}

json_t *workflow_permissions(const struct workflow *w, const struct workflow_job *job)
{
	static const char *const all[] = {
		"actions", "attestations", "checks", "contents",      "deployments",         "discussions",
		"issues",  "packages",     "pages",  "pull-requests", "repository-projects", "security-events",
		"statuses"};
	const json_t *said = job && job->permissions ? job->permissions : w->permissions;
	json_t *out = json_object();
	if (!said) { /* the default of a new repository: restricted */
		set_permission(out, "contents", "read");
		set_permission(out, "packages", "read");
	} else if (json_is_string(said)) {
		const char *level = strcmp(json_string_value(said), "write-all") == 0 ? "write" : "read";
		for (size_t i = 0; i < ARRAY_SIZE(all); i++)
			set_permission(out, all[i], level);
	} else {
		const char *scope;
		json_t *level;
		json_object_foreach((json_t *)(uintptr_t)said, scope, level)
			set_permission(out, scope, json_string_value(level));
	}
	set_permission(out, "metadata", "read");
	return out;
}
