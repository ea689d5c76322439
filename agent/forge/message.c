/* The job message of an acquired job: its tokens, its github context, its secrets. */
#include "agent/forge/services_priv.h"
#include "base/core/clock.h"

#include <string.h>

enum { JOB_TOKEN_MS = 6 * 3600 * 1000, DEFAULT_TIMEOUT_MIN = 360 };

/* Of a pull request; else empty. */
static void set_side(json_t *github, const char *member, const json_t *payload, const char *side)
{
	const char *branch = json_get_string(json_get_object(json_get_object(payload, "pull_request"), side), "ref");
	json_object_set_new(github, member, json_string(branch != NULL ? branch : ""));
}

json_t *forge_run_github_context(struct forge *f, const struct forge_run *run, const struct forge_job *job)
{
	const char *ref_name = strrchr(run->ref, '/') ? run->ref + strlen("refs/") : run->ref;
	const char *behind = strchr(ref_name, '/');
	ref_name = behind ? behind + 1 : ref_name;
	bool tag = str_starts(run->ref, "refs/tags/");
	const char *actor = run->actor ? run->actor : "octocat";
	json_t *g = json_object();
	json_object_set_new(g, "ref", json_string(run->ref));
	json_object_set_new(g, "sha", json_string(run->sha));
	json_object_set_new(g, "repository", json_string(run->repo->full_name));
	json_object_set_new(g, "repository_owner", json_string(run->repo->owner));
	json_object_set_new(g, "repository_owner_id", json_stringf("%lld", (long long)run->repo->id + 1000000));
	json_object_set_new(g, "repositoryUrl", json_stringf("%s/%s.git", f->server_url, run->repo->full_name));
	json_object_set_new(g, "run_id", json_stringf("%lld", (long long)run->id));
	json_object_set_new(g, "run_number", json_stringf("%lld", (long long)run->number));
	json_object_set_new(g, "retention_days", json_string("90"));
	json_object_set_new(g, "run_attempt", json_stringf("%d", run->attempt));
	json_object_set_new(g, "artifact_cache_size_limit",
	                    json_stringf("%lld", (long long)((f->config.cache_bytes + (1 << 30) - 1) >> 30)));
	json_object_set_new(g, "repository_visibility", json_string(run->repo->is_public ? "public" : "private"));
	json_object_set_new(g, "actor_id", json_string("1"));
	json_object_set_new(g, "actor", json_string(actor));
	json_object_set_new(g, "triggering_actor", json_string(actor));
	json_object_set_new(g, "workflow", json_string(run->name));
	set_side(g, "head_ref", run->payload, "head");
	set_side(g, "base_ref", run->payload, "base");
	json_object_set_new(g, "event_name", json_string(run->event));
	json_object_set_new(g, "server_url", json_string(f->server_url));
	json_object_set_new(g, "api_url", json_stringf("%s/api/v3", f->base));
	json_object_set_new(g, "graphql_url", json_stringf("%s/api/graphql", f->base));
	json_object_set_new(g, "ref_name", json_string(ref_name));
	json_object_set_new(g, "ref_protected", json_false());
	json_object_set_new(g, "ref_type", json_string(tag ? "tag" : "branch"));
	json_object_set_new(g, "secret_source", json_string("Actions"));
	json_object_set_new(g, "event", json_incref(run->payload));
	json_object_set_new(g, "workflow_ref", json_stringf("%s/%s@%s", run->repo->full_name, run->path, run->ref));
	json_object_set_new(g, "workflow_sha", json_string(run->sha));
	json_object_set_new(g, "repository_id", json_stringf("%lld", (long long)run->repo->id));
	if (job && job->environment)
		json_object_set_new(g, "environment", json_string(job->environment));
	return g;
}

/* Merges the default values, the repository's, and the environment's: the later wins. */
static json_t *overlaid(struct forge *f, const struct forge_job *job, const char *member, const json_t *of_repo)
{
	json_t *out = json_object();
	json_object_update(out, json_object_get(f->defaults, member));
	json_object_update(out, (json_t *)(uintptr_t)of_repo);
	if (job->environment)
		json_object_update(
			out, json_object_get(json_object_get(job->run->repo->environments, job->environment), member));
	return out;
}

json_t *forge_job_secrets(struct forge *f, const struct forge_job *job)
{
	const struct forge_call *call = job->call;
	if (job->run->from_fork)
		return json_object();
	while (call != NULL && call->secrets == NULL)
		call = call->caller->call;
	if (call == NULL)
		return overlaid(f, job, "secrets", job->run->repo->secrets);
	json_t *secrets = json_copy(call->secrets);
	if (job->environment != NULL)
		json_object_update(
			secrets,
			json_object_get(json_object_get(job->run->repo->environments, job->environment), "secrets"));
	return secrets;
}

/* Of a called workflow the runner says where it is from. */
static json_t *variables_of(const struct forge *f, const struct forge_job *job)
{
	json_t *variables = json_pack("{s:s}", "actions_uses_cache_service_v2", "true");
	json_object_update(variables, f->variables);
	if (job->call == NULL)
		return variables;
	json_object_set_new(variables, "system.workflowFileFullPath",
	                    json_stringf("%s/%s", job->run->repo->full_name, job->call->workflow->path));
	json_object_set_new(variables, "system.workflowFileRef", json_string(job->run->ref));
	json_object_set_new(variables, "system.workflowFileSha", json_string(job->run->sha));
	return variables;
}

/* The claim by which libraries know which caches the job may read (1) and write (2). */
static json_t *cache_claim(const struct forge_job *job)
{
	_cleanup_(strv_done) struct strv scopes = {0};
	_cleanup_json_ json_t *list = json_array();
	caches_scopes(job, &scopes);
	for (size_t i = 0; i < scopes.count; i++)
		json_array_append_new(list,
		                      json_pack("{s:s, s:i}", "Scope", scopes.items[i], "Permission", i == 0 ? 3 : 1));
	_cleanup_free_ char *text = json_text(list);
	return json_string(text);
}

static void make_tokens(struct forge *f, struct forge_job *job)
{
	int64_t now = clock_wall_ms() / 1000;
	_cleanup_json_ json_t *claims =
		json_pack("{s:s, s:I, s:I, s:o, s:o, s:o, s:s}", "iss", f->base, "nbf", (json_int_t)now, "exp",
	                  (json_int_t)(now + JOB_TOKEN_MS / 1000), "scp",
	                  json_stringf("Actions.GenericRead:%s Actions.UploadArtifacts:%s Actions.Results:%s:%s",
	                               job->run->plan_id, job->run->plan_id, job->run->plan_id, job->job_id),
	                  "orch_id", json_stringf("%s.%s.__default", job->run->plan_id, job->def->id), "ac",
	                  cache_claim(job), "run_type", "full");
	job->access_token = token_new(f, TOKEN_JOB, JOB_TOKEN_MS, claims);
	job->access_token->job = job;
	job->github_token = token_new(f, TOKEN_GITHUB, JOB_TOKEN_MS, NULL);
	job->github_token->job = job;
}

static void set_deadline(struct forge *f, struct forge_job *job)
{
	_cleanup_json_ json_t *minutes = NULL;
	double limit = DEFAULT_TIMEOUT_MIN;
	if (job->def->timeout_minutes &&
	    eval_template(f, job->run, job, job->def->timeout_minutes, &minutes, NULL) >= 0 &&
	    json_is_number(minutes) && json_number_value(minutes) > 0)
		limit = json_number_value(minutes);
	job->deadline_ms = clock_mono_ms() + (int64_t)(MIN(limit, 1e6) * 60000);
}

void forge_job_make_message(struct forge *f, struct forge_job *job)
{
	make_tokens(f, job);
	set_deadline(f, job);
	_cleanup_json_ json_t *github = forge_run_github_context(f, job->run, job);
	_cleanup_json_ json_t *needs = forge_job_needs(job);
	_cleanup_json_ json_t *secrets = forge_job_secrets(f, job), *variables = variables_of(f, job);
	_cleanup_json_ json_t *vars = overlaid(f, job, "vars", job->run->repo->vars);
	_cleanup_free_ char *run_service = xasprintf("%s/_services/run/1/", f->base);
	_cleanup_free_ char *results = xasprintf("%s/_services/results/", f->base);
	_cleanup_free_ char *feed = xasprintf("ws%s/_services/results/_ws/ingest.sock", f->base + strlen("http"));
	_cleanup_free_ char *owner = xasprintf("U_%lld", (long long)job->run->repo->id);
	struct workflow_message m = {
		.workflow = forge_job_workflow(job),
		.job = job->def,
		.plan_id = job->run->plan_id,
		.job_id = job->job_id,
		.display_name = job->name,
		.run_service_url = run_service,
		.results_url = f->local != NULL ? NULL : results, /* here the worker's own output is watched */
		.feed_url = f->local != NULL ? NULL : feed,
		.actions_url = results,
		.launch_url = f->base,
		.access_token = job->access_token->text,
		.github_token = job->github_token->text,
		.billing_owner_id = owner,
		.runner_group = "Default",
		.environment = job->environment,
		.github = github,
		.needs = needs,
		.matrix = job->matrix,
		.strategy = job->strategy,
		.inputs = job->call != NULL ? job->call->inputs : job->run->inputs,
		.vars = vars,
		.secrets = secrets,
		.permissions = job->permissions,
		.check_run_id = job->id,
		.flags = variables,
	};
	job->message = workflow_job_message(&m);
}
