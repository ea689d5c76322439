/* environments: what jobs deploy to, by name, and the reviews without which their jobs do not begin. */
#include "agent/forge/forge_priv.h"

#include <strings.h>

json_t *environments_find(const struct forge_repo *repo, const char *name, const char **ret_name)
{
	const char *key;
	json_t *entry;
	json_object_foreach(repo->environments, key, entry)
	{
		if (strcasecmp(key, name) != 0)
			continue;
		*ret_name = key;
		return entry;
	}
	return NULL;
}

json_t *environments_need(struct forge *f, struct forge_repo *repo, const char *name)
{
	const char *known;
	json_t *entry = environments_find(repo, name, &known);
	if (entry == NULL) {
		entry = json_pack("{s:{}, s:{}}", "secrets", "vars");
		json_object_set_new(repo->environments, name, entry);
	}
	if (json_object_get(entry, "id") == NULL)
		json_object_set_new(entry, "id", json_integer(forge_id(f)));
	return entry;
}

/* Each job needs a review of its own: one is of what waited when it was given. */
bool environments_hold(struct forge *f, struct forge_job *job)
{
	if (job->environment == NULL || *job->environment == '\0' || job->reviewed)
		return false;
	json_t *entry = environments_need(f, job->run->repo, job->environment);
	if (json_array_size(json_object_get(entry, "reviewers")) == 0)
		return false;
	if (!job->in_review)
		forge_event(f, "job %s of run %lld waits for a review of '%s'", job->name, (long long)job->run->id,
		            job->environment);
	job->in_review = true;
	return true;
}

bool environments_is_reviewed(const struct forge_job *job, const char *name)
{
	return job->state == JOB_WAITING && job->in_review && strcasecmp(job->environment, name) == 0;
}

void environments_review(struct forge *f, struct forge_run *run, const char *name, bool approved, const char *comment)
{
	for (size_t i = 0; i < run->job_count; i++) {
		struct forge_job *job = run->jobs[i];
		if (!environments_is_reviewed(job, name))
			continue;
		forge_event(f, "job %s of run %lld: '%s' was %s", job->name, (long long)run->id, name,
		            approved ? "approved" : "rejected");
		job->reviewed = true;
		job->in_review = false;
		if (approved)
			continue;
		forge_annotate(job->annotations, "failure", "the deployment to '%.100s' was rejected: %.500s", name,
		               comment);
		forge_job_complete(f, job, "failure");
	}
	forge_run_advance(f, run);
}
