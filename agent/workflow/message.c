/* The job message: what acquirejob answers. Members and their spelling as GitHub's run service sends them. */
#include "agent/workflow/workflow.h"
#include "agent/template/context_data.h"
#include "base/core/rand.h"

#include <string.h>

static json_t *copy_or_null(const json_t *value)
{
	return value ? json_deep_copy(value) : json_null();
}

static void set_variable(json_t *variables, const char *name, const char *value, bool secret)
{
	if (!value)
		return;
	json_t *v = json_pack("{s:s}", "value", value);
	if (secret)
		json_object_set_new(v, "isSecret", json_true());
	json_object_set_new(variables, name, v);
}

static json_t *variables_of(const struct workflow_message *m)
{
	json_t *v = json_object();
	_cleanup_free_ char *permissions = json_text(m->permissions);
	_cleanup_free_ char *orchestration = xasprintf("%s.%s.__default", m->plan_id, m->job->id);
	set_variable(v, "system.github.token", m->github_token, true);
	set_variable(v, "github_token", m->github_token, true);
	const char *name;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)m->secrets, name, value)
		set_variable(v, name, json_string_value(value), true);
	set_variable(v, "system.github.job", m->job->id, false);
	set_variable(v, "system.github.launch_endpoint", m->launch_url, false);
	set_variable(v, "system.github.results_endpoint", m->results_url, false);
	set_variable(v, "system.github.results_upload_with_sdk", "true", false);
	set_variable(v, "system.github.token.permissions", permissions, false);
	set_variable(v, "system.orchestrationId", orchestration, false);
	set_variable(v, "system.phaseDisplayName", m->job->id, false);
	set_variable(v, "system.runnerGroupName", m->runner_group, false);
	set_variable(v, "system.runnerEnvironment", "self-hosted", false);
	set_variable(v, "system.culture", "en-US", false);
	set_variable(v, "system.from_run_service", "true", false);
	set_variable(v, "system.runner.lowdiskspacethreshold", "100", false);
	static const char *const flags[] = {"DistributedTask.EnhancedAnnotations",
	                                    "DistributedTask.DeprecateStepOutputCommands",
	                                    "DistributedTask.LogTemplateErrorsAsDebugMessages",
	                                    "DistributedTask.UseContainerPathForTemplate",
	                                    "DistributedTask.AllowRunnerContainerHooks",
	                                    "DistributedTask.NewActionMetadata",
	                                    "RunService.FixEmbeddedIssues",
	                                    "actions_add_check_run_id_to_job_context",
	                                    "actions_display_helpful_actions_download_errors",
	                                    "actions_send_job_level_annotations"};
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		set_variable(v, flags[i], "true", false);
	json_object_foreach((json_t *)(uintptr_t)m->flags, name, value)
		set_variable(v, name, json_string_value(value), false);
	return v;
}

/* Everything secret as a regular expression that matches it literally, and the shapes of GitHub's tokens. */
static json_t *mask_of(const struct workflow_message *m)
{
	json_t *mask = json_array();
	const char *name;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)m->secrets, name, value)
	{
		_cleanup_(str_done) struct str regex = STR_INIT(1 << 20);
		for (const char *p = json_string_value(value); p && *p; p++) {
			if (strchr("\\^$.|?*+()[]{}#", *p))
				str_append_c(&regex, '\\');
			if (*p == '\n')
				str_append(&regex, "\\n");
			else
				str_append_c(&regex, *p);
		}
		if (regex.len && !regex.failed)
			json_array_append_new(mask, json_pack("{s:s, s:s}", "type", "regex", "value", regex.data));
	}
	json_array_append_new(mask,
	                      json_pack("{s:s, s:s}", "type", "regex", "value", "\\bgh[psoura]_[A-Za-z0-9]{36}\\b"));
	return mask;
}

static json_t *endpoint_of(const struct workflow_message *m)
{
	json_t *data = json_object();
	json_object_set_new(data, "ResultsServiceUrl", json_string(m->actions_url));
	json_object_set_new(data, "CacheServerUrl", json_string(m->cache_url ? m->cache_url : ""));
	if (m->feed_url)
		json_object_set_new(data, "FeedStreamUrl", json_string(m->feed_url));
	if (m->pipelines_url)
		json_object_set_new(data, "PipelinesServiceUrl", json_string(m->pipelines_url));
	json_object_set_new(data, "GenerateIdTokenUrl", json_string(m->id_token_url ? m->id_token_url : ""));
	json_object_set_new(data, "ServerId", json_string(""));
	json_object_set_new(data, "ServerName", json_string(""));
	return json_pack("{s:s, s:s, s:{s:s, s:{s:s}}, s:o, s:b, s:b}", "name", "SystemVssConnection", "url",
	                 m->run_service_url, "authorization", "scheme", "OAuth", "parameters", "AccessToken",
	                 m->access_token, "data", data, "isShared", 0, "isReady", 1);
}

/* One that starts no process: it waits for steps in the background, or cancels them. */
static json_t *control_of(const struct workflow_step *s, const char *id)
{
	static const char *const types[] = {NULL, "wait", "wait-all", "cancel"};
	static const char *const names[] = {NULL, "Wait", "Wait for all", "Cancel"};
	json_t *targets = json_array();
	for (size_t i = 0; i < s->targets.count; i++)
		json_array_append_new(targets, json_string(s->targets.items[i]));
	json_t *step =
		json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:s, s:o}", "type", "backgroundStepControl", "id", id, "name",
	                  s->context_name, "contextName", s->context_name, "condition", s->condition, "continueOnError",
	                  copy_or_null(s->continue_on_error), "controlType", types[s->kind], "stepIds", targets);
	json_object_set_new(step, "displayNameToken",
	                    s->name != NULL ? json_incref(s->name) : json_string(names[s->kind]));
	return step;
}

static json_t *action_of(const struct workflow_step *s, const char *id)
{
	json_t *step = json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:O}", "type", "action", "id", id, "name",
	                         s->context_name, "contextName", s->context_name, "condition", s->condition,
	                         "continueOnError", copy_or_null(s->continue_on_error), "timeoutInMinutes",
	                         copy_or_null(s->timeout_minutes), "reference", s->reference);
	if (s->background)
		json_object_set_new(step, "background", json_true());
	if (s->name)
		json_object_set(step, "displayNameToken", s->name);
	if (s->env)
		json_object_set(step, "environment", s->env);
	if (s->inputs)
		json_object_set(step, "inputs", s->inputs);
	return step;
}

static json_t *step_of(const struct workflow_step *s)
{
	char id[37];
	rand_uuid4(id);
	json_t *step = s->kind == WORKFLOW_STEP_RUNS ? action_of(s, id) : control_of(s, id);
	if (s->group != NULL)
		json_object_set_new(step, "parallelGroupId", json_string(s->group));
	return step;
}

static json_t *contexts_of(const struct workflow_message *m)
{
	json_t *strategy = m->strategy != NULL ? json_deep_copy(m->strategy)
	                                       : json_pack("{s:b, s:i, s:i, s:i}", "fail-fast", 1, "job-index", 0,
	                                                   "job-total", 1, "max-parallel", 1);
	const char *repository = json_get_string(m->github, "repository");
	const char *sha = json_get_string(m->github, "workflow_sha");
	const char *ref = json_get_string(m->github, "ref");
	/* Of a called workflow, unlike github.workflow_ref. */
	_cleanup_free_ char *of_job = xasprintf("%s/%s@%s", repository, m->workflow->path, ref != NULL ? ref : "");
	json_t *job = json_pack("{s:I, s:s, s:s?, s:s?, s:s}", "check_run_id", (json_int_t)m->check_run_id,
	                        "workflow_ref", of_job, "workflow_sha", sha, "workflow_repository", repository,
	                        "workflow_file_path", m->workflow->path);
	json_t *empty = json_object();
	json_t *out = json_object();
	json_object_set_new(out, "github", context_data(m->github));
	json_object_set_new(out, "needs", context_data(m->needs ? m->needs : empty));
	json_object_set_new(out, "inputs", context_data(m->inputs));
	json_object_set_new(out, "vars", context_data(m->vars ? m->vars : empty));
	json_object_set_new(out, "matrix", m->matrix != NULL ? context_data(m->matrix) : json_null());
	json_object_set_new(out, "strategy", context_data(strategy));
	json_object_set_new(out, "job", context_data(job));
	json_decref(strategy);
	json_decref(job);
	json_decref(empty);
	return out;
}

static json_t *list_of_two(const json_t *first, const json_t *second)
{
	json_t *list = json_array();
	if (first)
		json_array_append_new(list, json_deep_copy(first));
	if (second)
		json_array_append_new(list, json_deep_copy(second));
	return list;
}

json_t *workflow_job_message(const struct workflow_message *m)
{
	json_t *steps = json_array();
	for (size_t i = 0; i < m->job->step_count; i++)
		json_array_append_new(steps, step_of(&m->job->steps[i]));
	json_t *out = json_object();
	json_object_set_new(out, "messageType", json_string("RunnerJobRequest"));
	json_object_set_new(out, "plan",
	                    json_pack("{s:s, s:s, s:s, s:i, s:n, s:s, s:s}", "scopeIdentifier",
	                              "00000000-0000-0000-0000-000000000000", "planId", m->plan_id, "planType",
	                              "actions", "version", 0, "planGroup", "artifactUri", "", "artifactLocation", ""));
	json_object_set_new(out, "timeline", json_pack("{s:s, s:i, s:n}", "id", m->plan_id, "changeId", 0, "location"));
	json_object_set_new(out, "jobId", json_string(m->job_id));
	json_object_set_new(out, "jobDisplayName", json_string(m->display_name));
	long long leg = json_get_int(m->strategy, "job-index", 0) + 1;
	json_object_set_new(out, "jobName", leg > 1 ? json_stringf("_%lld", leg) : json_string("__default"));
	json_object_set_new(out, "requestId", json_integer(0));
	json_object_set_new(out, "lockedUntil", json_string("0001-01-01T00:00:00"));
	json_object_set_new(out, "resources", json_pack("{s:[o]}", "endpoints", endpoint_of(m)));
	json_object_set_new(out, "variables", variables_of(m));
	json_object_set_new(out, "mask", mask_of(m));
	json_object_set_new(out, "contextData", contexts_of(m));
	json_object_set_new(out, "steps", steps);
	json_object_set_new(out, "environmentVariables", list_of_two(m->workflow->env, m->job->env));
	json_object_set_new(out, "defaults", list_of_two(m->workflow->defaults, m->job->defaults));
	json_object_set_new(out, "fileTable", json_pack("[s]", m->workflow->path));
	json_object_set_new(out, "workspace", json_pack("{s:n}", "clean"));
	json_object_set_new(out, "jobContainer", copy_or_null(m->job->container));
	json_object_set_new(out, "jobServiceContainers", copy_or_null(m->job->services));
	json_object_set_new(out, "jobOutputs", copy_or_null(m->job->outputs));
	json_object_set_new(out, "actionsEnvironment",
	                    m->environment ? json_pack("{s:s, s:o}", "name", m->environment, "url",
	                                               copy_or_null(m->job->environment_url))
	                                   : json_null());
	json_object_set_new(out, "snapshot", json_null());
	json_object_set_new(out, "enableDebugger", json_false());
	json_object_set_new(out, "billingOwnerId", json_string(m->billing_owner_id));
	return out;
}
