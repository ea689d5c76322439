/* contexts: what expressions of the job see, and where its directories lie, before anything is logged. */
#include "agent/worker/worker_priv.h"

#include "agent/service/urls.h"
#include "agent/service/wire.h"
#include "agent/template/context_data.h"
#include "agent/worker/message.h"
#include "base/core/rand.h"
#include "base/sys/fs.h"

#include <strings.h>
#include <unistd.h>

extern char **environ;

const char *job_variable(const struct job *j, const char *name)
{
	return message_variable(j->message, name);
}

const char *job_setting(const struct job *j, const char *name)
{
	const char *text = json_get_string(j->settings, name);
	return text != NULL ? text : "";
}

static json_t *environ_map(void)
{
	json_t *map = json_object();
	for (char **e = environ; *e != NULL; e++) {
		const char *equals = strchr(*e, '=');
		if (equals == NULL || equals == *e)
			continue;
		_cleanup_free_ char *name = xstrndup(*e, (size_t)(equals - *e));
		json_object_set_new(map, name, json_string_lossy(equals + 1, strlen(equals + 1)));
	}
	return map;
}

static int decode_contexts(struct job *j, struct err *err)
{
	static const char *const names[] = {"github", "strategy", "matrix", "needs", "vars", "inputs", "job"};
	json_t *data = wire_get(j->message, "contextData");
	j->contexts = json_object();
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		json_t *value;
		int r = context_data_decode(wire_get(data, names[i]), &value, err);
		if (r < 0)
			return err_wrap(err, r, "context '%s'", names[i]);
		json_object_set_new(j->contexts, names[i], value);
	}
	j->github = json_incref(json_object_get(j->contexts, "github"));
	if (!json_is_object(j->github) || json_get_string(j->github, "repository") == NULL)
		return err_set(err, ERR_PROTOCOL, "the job's message has no github.repository");
	return 0;
}

static void set_if_absent(json_t *context, const char *name, const char *text)
{
	if (text != NULL && expr_member(context, name, strlen(name)) == NULL)
		json_object_set_new(context, name, json_string(text));
}

/* A message that names no server: the registration's, with the addresses that an Enterprise Server has below its own. */
static void set_server(struct job *j)
{
	const char *own = job_setting(j, "server_url"),
		   *sent = json_string_value(expr_member(j->github, "server_url", strlen("server_url")));
	if (own[0] == '\0' || (sent != NULL && sent[0] != '\0'))
		return;
	_cleanup_(github_url_done) struct github_url url = {.url = NULL};
	bool hosted = github_url_parse(job_setting(j, "url"), &url, NULL) < 0 || url.hosted;
	json_object_set_new(j->github, "server_url", json_string(own));
	if (hosted)
		return;
	json_object_set_new(j->github, "api_url", json_sprintf("%s/api/v3", own));
	json_object_set_new(j->github, "graphql_url", json_sprintf("%s/api/graphql", own));
}

static int make_paths(struct job *j, struct err *err)
{
	const char *repository = json_get_string(j->github, "repository"), *slash = strrchr(repository, '/');
	const char *name = slash != NULL ? slash + 1 : repository;
	if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return err_set(err, ERR_INVALID, "the repository's name '%s' cannot name a directory here", repository);
	j->work = xstrdup(job_setting(j, "work_folder"));
	if (j->work[0] != '/')
		return err_set(err, ERR_INTERNAL, "the work directory '%s' is no absolute path", j->work);
	/* Names with "_" in front are the agent's own there. */
	_cleanup_free_ char *beside = name[0] == '_' ? xasprintf("_r/%s", name) : xstrdup(name);
	j->pipeline = fs_join(j->work, beside);
	j->workspace = fs_join(j->pipeline, name);
	j->temp = fs_join(j->work, "_temp");
	j->files = fs_join(j->temp, "_runner_file_commands");
	j->event_path = fs_join(j->temp, "_github_workflow/event.json");
	static const char *const tool_variables[] = {"RUNNER_TOOL_CACHE", "RUNNER_TOOLSDIRECTORY",
	                                             "AGENT_TOOLSDIRECTORY"};
	for (size_t i = 0; i < ARRAY_SIZE(tool_variables) && j->tools == NULL; i++) {
		const char *given = getenv(tool_variables[i]);
		if (given != NULL && given[0] != '\0')
			j->tools = xstrdup(given);
	}
	if (j->tools == NULL)
		j->tools = fs_join(j->work, "_tool");
	return 0;
}

static void make_runner_context(struct job *j)
{
	const char *environment = job_variable(j, "system.runnerEnvironment");
	j->runner = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "os", wire_os(), "arch", wire_arch(), "name",
	                      job_setting(j, "agent_name"), "tool_cache", j->tools, "temp", j->temp, "workspace",
	                      j->pipeline);
	if (environment != NULL)
		json_object_set_new(j->runner, "environment", json_string(environment));
	if (j->debug)
		json_object_set_new(j->runner, "debug", json_string("1"));
	json_object_set(j->contexts, "runner", j->runner);
}

static void make_job_context(struct job *j)
{
	json_t *sent = json_object_get(j->contexts, "job");
	j->job_context = json_is_object(sent) ? json_deep_copy(sent) : json_object();
	json_object_set_new(j->job_context, "status", json_string("success"));
	json_object_set(j->contexts, "job", j->job_context);
}

static bool debug_is_on(const struct job *j)
{
	const char *sent = job_variable(j, "ACTIONS_STEP_DEBUG");
	json_t *own =
		expr_member(json_object_get(j->contexts, "vars"), "ACTIONS_STEP_DEBUG", strlen("ACTIONS_STEP_DEBUG"));
	if (sent != NULL)
		return message_flag(j->message, "ACTIONS_STEP_DEBUG", false);
	return json_is_string(own) && strcasecmp(json_string_value(own), "true") == 0;
}

static void make_scope(struct job *j)
{
	json_object_set_new(j->contexts, "secrets", message_secrets(j->message));
	json_object_set(j->contexts, "steps", j->steps_context);
	json_object_set(j->contexts, "env", j->global_env);
	j->scope = (struct template_scope){
		.expr = {.contexts = j->contexts,
	                 .exact_context = "env",
	                 .status = job_status_is,
	                 .hash_files = hash_files,
	                 .user = j},
		.file_table = wire_get(j->message, "fileTable"),
	};
}

int job_prepare(struct job *j, struct err *err)
{
	message_mask(j->message, j->mask);
	j->result = RESULT_NONE;
	j->outputs = json_object();
	j->annotations = json_array();
	j->global_env = json_object();
	j->steps_context = json_object();
	j->log.block = (struct str)STR_INIT(64 << 20);
	j->job_environ = environ_map();
	j->proxies = environ_proxies(j->job_environ);
	int r = decode_contexts(j, err);
	if (r == 0)
		r = make_paths(j, err);
	if (r < 0)
		return r;
	const char *unsecure = json_get_string(j->job_environ, "ACTIONS_ALLOW_UNSECURE_COMMANDS");
	j->unsecure_commands = unsecure != NULL && strcasecmp(unsecure, "true") == 0;
	j->notice = message_flag(j->message, "DistributedTask.EnhancedAnnotations", false);
	j->debug = debug_is_on(j);
	const char *tracking = job_setting(j, "tracking_id");
	char id[37];
	rand_uuid4(id);
	j->tracking_id = tracking[0] != '\0' ? xstrdup(tracking) : xasprintf("github_%s", id);
	set_if_absent(j->github, "token", job_variable(j, "system.github.token"));
	set_if_absent(j->github, "job", job_variable(j, "system.github.job"));
	set_server(j);
	json_object_set_new(j->github, "workspace", json_string(j->workspace));
	json_object_set_new(j->github, "event_path", json_string(j->event_path));
	if (message_flag(j->message, "DistributedTask.UseContainerPathForTemplate", false))
		json_object_set_new(j->github, "host-workspace", json_string(j->workspace));
	make_runner_context(j);
	make_job_context(j);
	make_scope(j);
	return 0;
}
