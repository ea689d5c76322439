/* setup: directories, contexts, the list of steps; and the log of "Set up job". */
#include "agent/worker/worker_priv.h"
#include "agent/template/context_data.h"

#include "agent/service/wire.h"
#include "agent/worker/message.h"
#include "agent/actions/resolve.h"
#include "base/sys/fs.h"
#include "base/core/rand.h"
#include "base/data/walls_told.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

const char *job_variable(const struct job *j, const char *name)
{
	return message_variable(j->message, name);
}

static const char *setting(const struct job *j, const char *name)
{
	const char *text = json_get_string(j->settings, name);
	return text != NULL ? text : "";
}

/* ---- before anything is logged ---- */

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

static int make_paths(struct job *j, struct err *err)
{
	const char *repository = json_get_string(j->github, "repository"), *slash = strrchr(repository, '/');
	const char *name = slash != NULL ? slash + 1 : repository;
	if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return err_set(err, ERR_INVALID, "the repository's name '%s' cannot name a directory here", repository);
	j->work = xstrdup(setting(j, "work_folder"));
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
	j->runner =
		json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "os", wire_os(), "arch", wire_arch(), "name",
	                  setting(j, "agent_name"), "tool_cache", j->tools, "temp", j->temp, "workspace", j->pipeline);
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
	int r = decode_contexts(j, err);
	if (r == 0)
		r = make_paths(j, err);
	if (r < 0)
		return r;
	const char *unsecure = json_get_string(j->job_environ, "ACTIONS_ALLOW_UNSECURE_COMMANDS");
	j->unsecure_commands = unsecure != NULL && strcasecmp(unsecure, "true") == 0;
	j->notice = message_flag(j->message, "DistributedTask.EnhancedAnnotations", false);
	j->debug = debug_is_on(j);
	const char *tracking = setting(j, "tracking_id");
	char id[37];
	rand_uuid4(id);
	j->tracking_id = tracking[0] != '\0' ? xstrdup(tracking) : xasprintf("github_%s", id);
	set_if_absent(j->github, "token", job_variable(j, "system.github.token"));
	set_if_absent(j->github, "job", job_variable(j, "system.github.job"));
	set_if_absent(j->github, "server_url", setting(j, "server_url")[0] != '\0' ? setting(j, "server_url") : NULL);
	json_object_set_new(j->github, "workspace", json_string(j->workspace));
	json_object_set_new(j->github, "event_path", json_string(j->event_path));
	if (message_flag(j->message, "DistributedTask.UseContainerPathForTemplate", false))
		json_object_set_new(j->github, "host-workspace", json_string(j->workspace));
	make_runner_context(j);
	make_job_context(j);
	make_scope(j);
	return 0;
}

/* ---- directories ---- */

static int remake(const char *path, struct err *err)
{
	int r = fs_remove_tree(AT_FDCWD, path, err);
	return r < 0 ? r : fs_mkdirs(AT_FDCWD, path, 0755, err);
}

static int write_event(struct job *j, struct err *err)
{
	json_t *event = json_object_get(j->github, "event");
	_cleanup_free_ char *text = json_is_object(event) ? json_pretty(event) : xstrdup("{}");
	return fs_write_replace(AT_FDCWD, j->event_path, text, strlen(text), 0644, err);
}

/* The job's key for those who look for it without the environment of a step. */
static int write_key(struct job *j, struct err *err)
{
	static const char *const members[] = {"server", "repository", "run_id",     "attempt",
	                                      "job",    "matrix",     "tracking_id"};
	struct uses_job source = {
		.github = j->github, .matrix = json_object_get(j->contexts, "matrix"), .tracking_id = j->tracking_id};
	_cleanup_json_ json_t *all = uses_job(&source), *key = json_object();
	_cleanup_free_ char *dir = fs_join(j->temp, "davit"), *path = fs_join(dir, "job.json");
	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		if (json_object_get(all, members[i]) != NULL)
			json_object_set(key, members[i], json_object_get(all, members[i]));
	_cleanup_free_ char *text = json_text(key);
	int r = fs_mkdirs(AT_FDCWD, dir, 0700, err);
	return r < 0 ? r : fs_write_replace(AT_FDCWD, path, text, strlen(text), 0600, err);
}

/* The registration's own: nobody else looks into it. */
static int make_area(const char *path, struct err *err)
{
	_cleanup_free_ char *root = xstrndup(path, (size_t)(strrchr(path, '/') - path));
	struct stat st;
	int r = *root == '\0' ? 0 : fs_mkdirs(AT_FDCWD, root, 0755, err);
	if (r == 0)
		r = fs_mkdirs(AT_FDCWD, path, 0700, err);
	if (r < 0)
		return r;
	if (lstat(path, &st) < 0)
		return err_errno(err, errno, "look at it");
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid()) {
		r = err_set(err, ERR_PERMISSION, "it does not belong to the user that jobs run as");
		return err_hint(err, r, "chown it to that user, or remove it");
	}
	if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0 && chmod(path, 0700) < 0)
		return err_errno(err, errno, "close it to others");
	return 0;
}

static int make_directories(struct job *j, struct err *err)
{
	const char *clean = wire_string(wire_get(j->message, "workspace"), "clean");
	_cleanup_free_ char *actions = fs_join(j->work, "_actions"), *event_dir = fs_join(j->temp, "_github_workflow");
	int r = make_area(j->work, err);
	if (r == 0)
		r = remake(j->temp, err);
	if (r == 0)
		r = fs_remove_tree(AT_FDCWD, actions, err);
	if (r == 0 && clean != NULL && strcasecmp(clean, "all") == 0)
		r = fs_remove_tree(AT_FDCWD, j->pipeline, err);
	if (r == 0 && clean != NULL && strcasecmp(clean, "resources") == 0)
		r = fs_remove_tree(AT_FDCWD, j->workspace, err);
	if (r == 0)
		r = fs_mkdirs(AT_FDCWD, j->workspace, 0755, err);
	if (r == 0)
		r = fs_mkdirs(AT_FDCWD, j->files, 0755, err);
	if (r == 0)
		r = fs_mkdirs(AT_FDCWD, event_dir, 0755, err);
	/* Where an administrator chose a place that only others may make, the steps that use it say so. */
	if (r == 0)
		fs_mkdirs(AT_FDCWD, j->tools, 0755, NULL);
	if (r == 0)
		r = write_event(j, err);
	if (r == 0)
		r = write_key(j, err);
	return r < 0 ? err_wrap(err, r, "prepare the work directory '%s'", j->work) : 0;
}

/* ---- the log's head ---- */

static void log_permissions(struct job *j, struct record *s)
{
	const char *text = job_variable(j, "system.github.token.permissions"), *name;
	_cleanup_json_ json_t *permissions = NULL;
	json_t *level;
	if (text == NULL || json_parse(text, strlen(text), 1 << 16, &permissions, NULL) < 0 ||
	    !json_is_object(permissions))
		return;
	record_line(j, s, "##[group]GITHUB_TOKEN Permissions");
	json_object_foreach(permissions, name, level)
		record_line(j, s, "%s: %s", name, json_is_string(level) ? json_string_value(level) : "");
	record_line(j, s, "##[endgroup]");
}

static void log_head(struct job *j, struct record *s)
{
	char host[256] = "";
	const char *group = job_variable(j, "system.runnerGroupName"),
		   *source = json_get_string(j->github, "secret_source");
	gethostname(host, sizeof(host) - 1);
	record_line(j, s, "Current runner version: '%s'", WIRE_RUNNER_VERSION);
	record_line(j, s, "davit %s", DAVIT_VERSION);
	record_line(j, s, "Runner name: '%s'", setting(j, "agent_name"));
	if (group != NULL)
		record_line(j, s, "Runner group name: '%s'", group);
	record_line(j, s, "Machine name: '%s'", host);
	log_permissions(j, s);
	record_short_lines(j, s);
	if (source != NULL && source[0] != '\0')
		record_line(j, s, "Secret source: %s", source);
	record_line(j, s, "Prepare workflow directory");
}

static void log_tail(struct job *j, struct record *s)
{
	const char *file = job_variable(j, "system.workflowFileFullPath"),
		   *ref = job_variable(j, "system.workflowFileRef");
	const char *sha = job_variable(j, "system.workflowFileSha"), *name;
	json_t *inputs = json_object_get(j->contexts, "inputs"), *value;
	if (file != NULL && sha != NULL && ref != NULL && ref[0] != '\0')
		record_line(j, s, "Uses: %s@%s (%s)", file, ref, sha);
	else if (file != NULL)
		record_line(j, s, "Uses: %s%s%s", file, sha != NULL ? "@" : "", sha != NULL ? sha : "");
	if (json_is_object(inputs) && json_object_size(inputs) > 0) {
		record_line(j, s, "##[group] Inputs");
		json_object_foreach(inputs, name, value)
		{
			_cleanup_(expr_value_done) struct expr_value v = EXPR_VALUE_INIT;
			_cleanup_(str_done) struct str text = STR_INIT(1 << 20);
			expr_value_from_json(value, &v);
			expr_value_text(&v, &text);
			record_line(j, s, "  %s: %s", name, str_peek(&text));
		}
		record_line(j, s, "##[endgroup]");
	}
	record_line(j, s, "Complete job name: %s", j->run.name);
}

/* ---- what the job asks for ---- */

static int refuse_containers(struct job *j, struct err *err)
{
	static const struct {
		const char *member, *word;
	} kinds[] = {
		{"jobContainer", "container"},
		{"jobServiceContainers", "services"},
		{"snapshot", "snapshot"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const json_t *token = wire_get(j->message, kinds[i].member);
		_cleanup_json_ json_t *value = NULL;
		if (template_is_null(token))
			continue;
		int r = template_eval(token, &j->scope, &value, err);
		if (r < 0)
			return r;
		if (json_is_null(value) || json_string_length(value) == 0)
			if (!json_is_object(value))
				continue;
		r = err_set(err, ERR_UNSUPPORTED, "the job's `%s:` asks for containers, which this agent does not run",
		            kinds[i].word);
		return err_hint(err, r,
		                "remove it and start what is needed in a run: step, or send the job to another runner");
	}
	return 0;
}

static int eval_global_env(struct job *j, struct err *err)
{
	size_t i;
	json_t *token;
	struct template_scope scope = j->scope;
	scope.expr.status = NULL;
	json_array_foreach(wire_get(j->message, "environmentVariables"), i, token)
	{
		_cleanup_json_ json_t *own = json_object();
		int r = template_eval_strings(token, &scope, own, err);
		if (r < 0)
			return err_wrap(err, r, "the job's env");
		json_object_update(j->global_env, own);
	}
	return 0;
}

/* A later token replaces the whole table of an earlier one. */
static int eval_defaults(struct job *j, struct err *err)
{
	size_t i;
	json_t *token;
	struct template_scope scope = j->scope;
	scope.expr.status = NULL;
	json_array_foreach(wire_get(j->message, "defaults"), i, token)
	{
		_cleanup_json_ json_t *value = NULL;
		if (template_is_null(token))
			continue;
		int r = template_eval(token, &scope, &value, err);
		if (r < 0)
			return err_wrap(err, r, "the job's defaults");
		json_t *run = expr_member(value, "run", 3);
		if (!json_is_object(run))
			continue;
		json_decref(j->defaults_run);
		j->defaults_run = json_incref(run);
	}
	return 0;
}

static const json_t *script_of(const json_t *step)
{
	size_t i;
	json_t *pair;
	json_array_foreach(wire_get(wire_get(step, "inputs"), "map"), i, pair)
	{
		const json_t *key = wire_get(pair, "key");
		const char *name = json_is_string(key) ? json_string_value(key) : wire_string(key, "lit");
		if (name != NULL && strcasecmp(name, "script") == 0)
			return wire_get(pair, "value");
	}
	return NULL;
}

const json_t *step_title_token(const json_t *step, const char **ret_prefix)
{
	const json_t *token = wire_get(step, "displayNameToken");
	*ret_prefix = "";
	if (!template_is_null(token))
		return token;
	*ret_prefix = "Run ";
	return script_of(step);
}

char *step_title(const char *prefix, const char *value)
{
	value += strspn(value, " \t\r\n");
	size_t len = strcspn(value, "\r\n");
	return len == 0 ? xstrdup("run") : xasprintf("%s%.*s", prefix, (int)len, value);
}

/* A name that needs later contexts is first shown with its expressions. uses: what a step without script runs.
 */
static char *first_title(struct job *j, const json_t *step, const char *uses, bool *ret_final)
{
	const char *given = wire_string(step, "displayName"), *prefix;
	const json_t *token = step_title_token(step, &prefix);
	*ret_final = true;
	if (given != NULL && given[0] != '\0')
		return xstrdup(given);
	if (token == NULL)
		return step_title(prefix, uses);
	_cleanup_json_ json_t *text = NULL;
	static const char *const later[] = {"steps", "env", "job", "runner", "secrets"};
	_cleanup_json_ json_t *early = json_copy(j->contexts);
	for (size_t i = 0; i < ARRAY_SIZE(later); i++)
		json_object_del(early, later[i]);
	struct template_scope scope = {.expr = {.contexts = early}, .file_table = j->scope.file_table};
	if (template_eval_string(token, &scope, &text, NULL) == 0)
		return step_title(prefix, json_string_value(text));
	*ret_final = false;
	_cleanup_free_ char *readable = template_readable(token);
	return step_title(prefix, readable);
}

static bool is_action(const json_t *step)
{
	const char *type = wire_string(step, "type");
	return type != NULL ? strcasecmp(type, "action") == 0 : wire_int(step, "type", 0) == 4;
}

static bool is_script(const json_t *reference)
{
	const char *type = wire_string(reference, "type");
	return type != NULL ? strcasecmp(type, "script") == 0 : wire_int(reference, "type", 0) == 3;
}

static int add_step(struct job *j, json_t *step, struct err *err)
{
	const json_t *reference = wire_get(step, "reference");
	struct uses uses = {.step = NULL};
	bool final, script = is_script(reference);
	if (wire_bool(step, "background", false)) {
		int r = err_set(err, ERR_UNSUPPORTED,
		                "the step '%s' asks for `background: true`, which this agent does not do",
		                wire_string(step, "contextName") != NULL ? wire_string(step, "contextName") : "");
		return err_hint(err, r, "run the program in the background of a run: step");
	}
	if (!script) {
		int r = uses_resolve(reference, setting(j, "actions_repository"), &uses, err);
		if (r < 0)
			return r;
	}
	_cleanup_free_ char *name = first_title(j, step, script ? "" : uses.shown, &final);
	struct record *r = record_new(j, wire_string(step, "id"), name,
	                              script                     ? STEP_SCRIPT
	                              : uses.kind == USES_DEPLOY ? STEP_DEPLOY
	                                                         : STEP_TYPED);
	r->step = step;
	r->name_final = final;
	r->context_name = wire_string(step, "contextName");
	r->reference_name = wire_string(step, "name");
	uses_done(&uses);
	record_tell(j, r);
	return 0;
}

static int add_steps(struct job *j, struct err *err)
{
	size_t i;
	json_t *step;
	json_array_foreach(wire_get(j->message, "steps"), i, step)
	{
		const char *type = wire_string(step, "type");
		if (type != NULL && strcasecmp(type, "backgroundStepControl") == 0) {
			int r = err_set(err, ERR_UNSUPPORTED,
			                "the job waits for background steps, which this agent does not do");
			return err_hint(err, r, "run the program in the background of a run: step");
		}
		if (!json_is_object(step) || !is_action(step))
			continue;
		int r = add_step(j, step, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* After the work area was made: what a walled job may reach is looked up now. */
static int keep_apart(struct job *j, struct err *err)
{
	const json_t *isolation = json_get_object(j->settings, "isolation");
	const char *text = json_get_string(isolation, "text");
	int r = walls_told_raise(isolation, err);
	if (r < 0 && json_get_bool(isolation, "required", false))
		return err_wrap(err, r, "keep this job apart from those of other repositories");
	if (r < 0)
		record_line(j, j->setup, "##[warning]not apart from jobs of other repositories: %s",
		            err->frames[0].text);
	else if (text != NULL)
		record_line(j, j->setup, "Isolation: %s", text);
	if (r < 0)
		json_object_del(j->settings, "isolation");
	err_clear(err);
	return 0;
}

int job_set_up(struct job *j, struct err *err)
{
	struct record *s = j->setup;
	log_head(j, s);
	int r = make_directories(j, err);
	if (r == 0)
		r = keep_apart(j, err);
	if (r == 0)
		r = eval_global_env(j, err);
	if (r == 0)
		r = refuse_containers(j, err);
	if (r == 0)
		r = eval_defaults(j, err);
	if (r < 0)
		return r;
	record_line(j, s, "Prepare all required actions");
	r = add_steps(j, err);
	if (r == 0)
		log_tail(j, s);
	return r;
}
