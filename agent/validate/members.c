/* members: what the contexts hold whose members do not depend on the workflow. GitHub takes any name there, and another one is empty. */
#include "agent/validate/validate.h"
#include "base/core/mem.h"
#include "base/core/str.h"

#include <string.h>
#include <strings.h>

/* What the service sends and what the runner adds. `env` is the file of a step. */
static const char *const of_github[] = {"action",
                                        "action_path",
                                        "action_ref",
                                        "action_repository",
                                        "action_status",
                                        "actor",
                                        "actor_id",
                                        "api_url",
                                        "artifact_cache_size_limit",
                                        "artifacts",
                                        "artifacts_list",
                                        "base_ref",
                                        "env",
                                        "environment",
                                        "event",
                                        "event_name",
                                        "event_path",
                                        "graphql_url",
                                        "head_ref",
                                        "host-workspace",
                                        "job",
                                        "job_workflow_sha",
                                        "output",
                                        "path",
                                        "ref",
                                        "ref_name",
                                        "ref_protected",
                                        "ref_type",
                                        "repository",
                                        "repository_id",
                                        "repository_owner",
                                        "repository_owner_id",
                                        "repository_visibility",
                                        "repositoryUrl",
                                        "retention_days",
                                        "run_attempt",
                                        "run_id",
                                        "run_number",
                                        "secret_source",
                                        "server_url",
                                        "sha",
                                        "state",
                                        "step_summary",
                                        "token",
                                        "triggering_actor",
                                        "workflow",
                                        "workflow_ref",
                                        "workflow_sha",
                                        "workspace"};
static const char *const of_runner[] = {"arch", "debug", "environment", "name",
                                        "os",   "temp",  "tool_cache",  "workspace"};
static const char *const of_job[] = {"check_run_id",       "container",    "services",     "status",
                                     "workflow_file_path", "workflow_ref", "workflow_sha", "workflow_repository"};
static const char *const of_strategy[] = {"fail-fast", "job-index", "job-total", "max-parallel"};
static const char *const of_step[] = {"conclusion", "outcome", "outputs"};

static const struct {
	const char *context;
	size_t at; /* of the name in the path */
	const char *const *names;
	size_t count;
} contexts[] = {
	{"github", 1, of_github, ARRAY_SIZE(of_github)}, {"runner", 1, of_runner, ARRAY_SIZE(of_runner)},
	{"job", 1, of_job, ARRAY_SIZE(of_job)},          {"strategy", 1, of_strategy, ARRAY_SIZE(of_strategy)},
	{"steps", 2, of_step, ARRAY_SIZE(of_step)},
};

static bool has(const char *const *names, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcasecmp(names[i], name) == 0)
			return true;
	return false;
}

bool validate_unknown_member(const char *const *path, size_t count, char **ret_message, char **ret_hint)
{
	for (size_t i = 0; i < ARRAY_SIZE(contexts); i++) {
		size_t at = contexts[i].at;
		if (strcasecmp(path[0], contexts[i].context) != 0 || count <= at ||
		    has(contexts[i].names, contexts[i].count, path[at]))
			continue;
		const char *nearest = str_nearest(path[at], contexts[i].names, contexts[i].count);
		*ret_hint = nearest != NULL ? xasprintf("did you mean '%s'?", nearest) : NULL;
		*ret_message = xasprintf("%s%s%s has no '%s', so this is empty", path[0], at > 1 ? "." : "",
		                         at > 1 ? path[1] : "", path[at]);
		return true;
	}
	return false;
}
