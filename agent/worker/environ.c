/* environ: the environment of a step's process, layer over layer [10.1]. */
#include "agent/worker/worker_priv.h"

#include "agent/worker/message.h"

enum { NAME_MAX_BYTES = 1 << 20 };

/* Members of `github` that become GITHUB_*; others stay inside expressions. */
static const char *const exported[] = {
	"action",
	"action_path",
	"action_ref",
	"action_repository",
	"actor",
	"actor_id",
	"api_url",
	"artifacts",
	"artifacts_list",
	"base_ref",
	"env",
	"event_name",
	"event_path",
	"graphql_url",
	"head_ref",
	"job",
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
	"retention_days",
	"run_attempt",
	"run_id",
	"run_number",
	"server_url",
	"sha",
	"state",
	"step_summary",
	"triggering_actor",
	"workflow",
	"workflow_ref",
	"workflow_sha",
	"workspace",
};

static void set_upper(json_t *env, const char *prefix, const char *name, const json_t *value)
{
	_cleanup_(str_done) struct str variable = STR_INIT(NAME_MAX_BYTES);
	str_append(&variable, prefix);
	expr_fold(name, strlen(name), &variable);
	const char *key = str_peek(&variable);
	if (json_is_string(value))
		json_object_set(env, key, (json_t *)value);
	else if (json_is_boolean(value))
		json_object_set_new(env, key, json_string(json_is_true(value) ? "true" : "false"));
	else if (json_is_null(value))
		json_object_set_new(env, key, json_string(""));
}

static void add_contexts(const struct job *j, json_t *env)
{
	const char *key;
	json_t *value;
	for (size_t i = 0; i < ARRAY_SIZE(exported); i++) {
		value = expr_member(j->github, exported[i], strlen(exported[i]));
		if (value != NULL)
			set_upper(env, "GITHUB_", exported[i], value);
	}
	json_object_foreach(j->runner, key, value) set_upper(env, "RUNNER_", key, value);
}

static void set_text(json_t *env, const char *name, const char *text)
{
	if (text != NULL)
		json_object_set_new(env, name, json_string(text));
}

static void add_identity_token(const struct job *j, json_t *env)
{
	const char *url = message_connection_data(j->message, "GenerateIdTokenUrl");
	if (url == NULL)
		return;
	set_text(env, "ACTIONS_ID_TOKEN_REQUEST_URL", url);
	set_text(env, "ACTIONS_ID_TOKEN_REQUEST_TOKEN", j->run.token);
}

/* INPUT_…, STATE_…, and where the services are that the toolkit's libraries call. */
static void add_action_env(const struct record *r, json_t *env)
{
	const char *key;
	json_t *value;
	json_object_foreach(r->state, key, value)
	{
		_cleanup_free_ char *name = xasprintf("STATE_%s", key);
		json_object_set(env, name, value);
	}
	json_object_foreach((json_t *)(uintptr_t)r->inputs, key, value)
	{
		_cleanup_free_ char *name = xstrdup(key);
		for (char *p = name; *p != '\0'; p++)
			*p = *p == ' ' ? '_' : *p;
		set_upper(env, "INPUT_", name, value);
	}
	json_object_del(env, "NODE_ICU_DATA");
}

static void add_services(const struct job *j, int flags, json_t *env)
{
	const char *url = message_connection_data(j->message, "PipelinesServiceUrl");
	set_text(env, "ACTIONS_RUNTIME_URL", url != NULL ? url : j->run.url);
	set_text(env, "ACTIONS_RUNTIME_TOKEN", j->run.token);
	set_text(env, "ACTIONS_CACHE_URL", message_connection_data(j->message, "CacheServerUrl"));
	set_text(env, "ACTIONS_RESULTS_URL", message_connection_data(j->message, "ResultsServiceUrl"));
	if ((!(flags & ENVIRON_CONTAINER) || (flags & ENVIRON_INSIDE)) &&
	    message_flag(j->message, "actions_uses_cache_service_v2", false))
		set_text(env, "ACTIONS_CACHE_SERVICE_V2", "True");
	set_text(env, "ACTIONS_CACHE_MODE", job_variable(j, "actions_cache_mode"));
}

/* ---- proxies of this machine ---- */

static const char *const proxy_names[][2] = {{"http_proxy", "HTTP_PROXY"}, {"https_proxy", "HTTPS_PROXY"}};

/* Programs look at either spelling. */
static const char *either(const json_t *environ, const char *lower, const char *upper)
{
	const char *given = json_get_string(environ, lower);
	if (given == NULL || given[0] == '\0')
		given = json_get_string(environ, upper);
	return given != NULL && given[0] != '\0' ? given : NULL;
}

static void set_both(json_t *env, const char *lower, const char *upper, const char *value)
{
	json_set_string(env, lower, value);
	json_set_string(env, upper, value);
}

json_t *environ_proxies(const json_t *environ)
{
	json_t *proxies = json_object();
	for (size_t i = 0; i < ARRAY_SIZE(proxy_names); i++) {
		const char *given = either(environ, proxy_names[i][0], proxy_names[i][1]);
		if (given == NULL)
			continue;
		_cleanup_free_ char *url = xasprintf("%s%s", strstr(given, "://") != NULL ? "" : "http://", given);
		set_both(proxies, proxy_names[i][0], proxy_names[i][1], url);
	}
	const char *others = either(environ, "no_proxy", "NO_PROXY");
	if (others != NULL && json_object_size(proxies) > 0)
		set_both(proxies, "no_proxy", "NO_PROXY", others);
	return proxies;
}

static void add_step_env(const struct record *r, json_t *env)
{
	const char *key;
	json_t *value;
	json_object_foreach(r->env, key, value) if (json_is_string(value)) json_object_set(env, key, value);
}

json_t *environ_open_values(const struct job *j, const struct record *r)
{
	json_t *values = json_object(), *value;
	const char *key;
	json_object_foreach(r->env, key,
	                    value) if (json_is_string(value) &&
	                               !mask_finds(j->mask, json_string_value(value), json_string_length(value)))
		json_object_set(values, key, value);
	return values;
}

char *environ_added_path(const struct job *j, const char *base)
{
	_cleanup_(str_done) struct str path = STR_INIT(1 << 20);
	const char *directory;
	json_t *unused;
	struct strv directories = {.count = 0};
	if (json_object_size(j->prepend_path) == 0)
		return NULL;
	json_object_foreach(j->prepend_path, directory, unused) strv_add(&directories, directory);
	for (size_t i = directories.count; i > 0; i--) {
		str_append(&path, path.len > 0 ? ":" : "");
		str_append(&path, directories.items[i - 1]);
	}
	strv_done(&directories);
	if (base == NULL || base[0] == '\0')
		return str_take(&path);
	if (strncmp(base, str_peek(&path), path.len) == 0 && base[path.len] == ':')
		return xstrdup(base);
	str_appendf(&path, ":%s", base);
	return str_take(&path);
}

char *environ_path(const struct job *j, const struct record *r)
{
	/* Without additions PATH is left alone: the step's own, else the process's. */
	const char *own = json_get_string(r->env, "PATH"), *base = job_variable(j, "PATH");
	if (own == NULL)
		own = json_get_string(j->job_environ, "PATH");
	char *path = environ_added_path(j, base != NULL ? base : own);
	return path != NULL ? path : xstrdup(own);
}

char *environ_node(const struct job *j)
{
	const char *given = job_setting(j, "node");
	return given[0] != '\0' ? shell_find(given, "") : shell_find("node", json_get_string(j->job_environ, "PATH"));
}

void environ_make(struct job *j, const struct record *r, int flags, struct strv *ret)
{
	_cleanup_json_ json_t *env = flags & ENVIRON_CONTAINER ? json_object() : json_copy(j->job_environ);
	const char *key;
	json_t *value;
	/* Variables set by earlier steps (LD_PRELOAD, SSL_CERT_FILE, https_proxy, PATH) apply to steps like them, not to the program
	 * that gets keys and secrets: it has the worker's own. */
	if (!(flags & ENVIRON_TYPED)) {
		_cleanup_free_ char *path = environ_path(j, r);
		/* A job's container got them when it was made. */
		if (!(flags & ENVIRON_INSIDE))
			json_object_update(env, j->proxies);
		add_step_env(r, env);
		if (flags & ENVIRON_ACTION)
			add_action_env(r, env);
		if (!(flags & ENVIRON_CONTAINER))
			set_text(env, "PATH", path);
	}
	if (flags & ENVIRON_HOOK)
		json_object_update(env, j->proxies);
	add_contexts(j, env);
	if (!(flags & ENVIRON_TYPED) || flags & ENVIRON_HOOK)
		add_identity_token(j, env);
	if (flags & ENVIRON_ACTION)
		add_services(j, flags, env);
	if (message_flag(j->message, "actions_set_orchestration_id_env_for_actions", false))
		set_text(env, "ACTIONS_ORCHESTRATION_ID", job_variable(j, "system.orchestrationId"));
	set_text(env, "RUNNER_TRACKING_ID", j->tracking_id);
	set_text(env, "GITHUB_ACTIONS", "true");
	if (json_object_get(env, "CI") == NULL)
		set_text(env, "CI", "true");
	/* A job must not choose the journal of this host. */
	if (!(flags & ENVIRON_CONTAINER))
		set_text(env, "DAVIT_STATE", json_get_string(j->settings, "state_dir"));
	json_object_foreach(env, key, value) if (strchr(key, '=') == NULL && key[0] != '\0')
		strv_addf(ret, "%s=%s", key, json_string_value(value));
}
