#include "agent/worker/containers/hook.h"

#include "agent/worker/message.h"
#include "base/core/rand.h"
#include "base/sys/fs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ANSWER_MAX = 1 << 20, DOCUMENT_MAX = 16 << 20, CLEAN_UP_MS = 300000 };

static const char failed_text[] =
	"Executing the custom container implementation failed. Please contact your self hosted runner administrator.";

static const char *script_of(const struct job *j)
{
	const char *path = json_get_string(j->job_environ, "ACTIONS_RUNNER_CONTAINER_HOOKS");
	return path != NULL && path[0] != '\0' ? path : NULL;
}

bool hook_is_set(const struct job *j)
{
	return script_of(j) != NULL && message_flag(j->message, "DistributedTask.AllowRunnerContainerHooks", true);
}

/* ---- one call ---- */

/* By the end of its name, as the official runner chooses. node: for a script of JavaScript; free() */
static int choose_program(const struct job *j, const char *script, const char *argv[5], char **ret_node,
                          struct err *err)
{
	size_t n = 0;
	if (script[0] != '/' || !fs_exists(AT_FDCWD, script))
		return err_set(err, ERR_NOT_FOUND, "the container hook '%s' is no absolute path of a file", script);
	if (str_ends(script, ".js")) {
		*ret_node = environ_node(j);
		if (*ret_node == NULL)
			return err_set(err, ERR_NOT_FOUND,
			               "the container hook '%s' needs node, which this machine does not have", script);
		argv[n++] = *ret_node;
	} else if (str_ends(script, ".sh")) {
		argv[n++] = "/bin/bash";
		argv[n++] = "-e";
	} else if (str_ends(script, ".ps1")) {
		argv[n++] = "pwsh";
		argv[n++] = "-File";
	} else {
		return err_set(err, ERR_INVALID, "the container hook '%s' is neither .js, .sh nor .ps1", script);
	}
	argv[n++] = script;
	argv[n] = NULL;
	return 0;
}

static int make_answer_file(const struct job *j, char **ret, struct err *err)
{
	char id[37];
	rand_uuid4(id);
	_cleanup_free_ char *directory = fs_join(j->temp, "_runner_hook_responses"),
			    *path = xasprintf("%s/%s.json", directory, id);
	int r = fs_mkdirs(AT_FDCWD, directory, 0700, err);
	_cleanup_close_ int fd = r < 0 ? -1 : open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return r < 0 ? r : err_set(err, ERR_IO, "the file '%s' for the hook's answer cannot be made", path);
	*ret = TAKE(path);
	return 0;
}

/* What it left behind. An empty file is no answer, which is one too. */
static int read_answer(struct job *j, const char *command, const char *path, json_t **ret, struct err *err)
{
	_cleanup_(str_done) struct str text = STR_INIT(ANSWER_MAX);
	_cleanup_json_ json_t *answer = NULL;
	int r = fs_read_plain(AT_FDCWD, path, ANSWER_MAX, &text, err);
	if (r >= 0 && text.len > 0 && str_peek(&text)[strspn(str_peek(&text), " \t\r\n")] != '\0')
		r = json_parse(text.data, text.len, ANSWER_MAX, &answer, err);
	if (r >= 0 && answer != NULL && !json_is_object(answer))
		r = err_set(err, ERR_PROTOCOL, "it is no JSON object");
	if (r < 0)
		return err_wrap(err, r, "the container hook's answer to %s", command);
	if (answer == NULL)
		answer = json_object();
	if (json_object_get(answer, "state") != NULL) {
		json_decref(j->hook_state);
		j->hook_state = json_incref(json_object_get(answer, "state"));
	}
	*ret = TAKE(answer);
	return 0;
}

struct call {
	const char *command;
	json_t *args; /* taken */
	bool is_step; /* what it prints is the step's, workflow commands included */
	bool deaf;
	int64_t timeout_ms;
};

static int run(struct job *j, struct record *r, const struct call *c, const char *answer_file,
               enum process_end *ret_end, int *ret_status, struct err *err)
{
	const char *argv[5];
	_cleanup_free_ char *node = NULL;
	_cleanup_(str_done) struct str text = STR_SECRET_INIT(DOCUMENT_MAX);
	_cleanup_json_ json_t *document =
		json_pack("{s:s, s:s, s:O}", "command", c->command, "responseFile", answer_file, "args", c->args);
	json_object_set(document, "state", j->hook_state != NULL ? j->hook_state : json_null());
	int e = choose_program(j, script_of(j), argv, &node, err);
	if (e < 0)
		return e;
	if (!json_text_secret(document, &text))
		return err_set(err, ERR_LIMIT, "what the container hook is told is larger than %d MiB",
		               DOCUMENT_MAX >> 20);
	struct strv env = {.count = 0};
	environ_make(j, r, ENVIRON_TYPED, &env);
	struct process p = {.argv = argv,
	                    .env = (const char *const *)strv_null_terminated(&env),
	                    .cwd = j->workspace,
	                    .input = str_peek(&text),
	                    .input_len = text.len,
	                    .timeout_ms = c->timeout_ms,
	                    .plain = !c->is_step,
	                    .deaf = c->deaf};
	e = process_run(j, r, &p, ret_end, ret_status, err);
	strv_done(&env);
	return e;
}

/* < 0: it could not be run, or its answer cannot be read. Its own failure is in *ret_end and *ret_status. */
static int call(struct job *j, struct record *r, const struct call *c, json_t **ret_answer, enum process_end *ret_end,
                int *ret_status, struct err *err)
{
	_cleanup_free_ char *path = NULL;
	*ret_end = PROCESS_EXITED;
	*ret_status = 0;
	int e = make_answer_file(j, &path, err);
	if (e == 0)
		e = run(j, r, c, path, ret_end, ret_status, err);
	if (e == 0 && *ret_end == PROCESS_EXITED && *ret_status == 0)
		e = read_answer(j, c->command, path, ret_answer, err);
	if (path != NULL)
		unlink(path);
	json_decref(c->args);
	return e;
}

/* ---- the job's containers ---- */

json_t *hook_mount(const char *text)
{
	const char *colon = strchr(text, ':'), *mode = colon != NULL ? strchr(colon + 1, ':') : NULL;
	_cleanup_free_ char *here = colon != NULL ? xstrndup(text, (size_t)(colon - text)) : xstrdup(""),
			    *there = colon == NULL  ? xstrdup(text)
	                             : mode == NULL ? xstrdup(colon + 1)
	                                            : xstrndup(colon + 1, (size_t)(mode - colon - 1));
	/* "DST:ro" is a volume without a name. */
	bool bare = colon != NULL && mode == NULL && strcmp(colon + 1, "ro") == 0;
	return json_pack("{s:s, s:s, s:b}", "sourceVolumePath", bare ? "" : here, "targetVolumePath",
	                 bare ? here : there, "readOnly", bare || (mode != NULL && strcmp(mode + 1, "ro") == 0));
}

static json_t *texts(const struct strv *list)
{
	json_t *array = json_array();
	for (size_t i = 0; i < list->count; i++)
		json_array_append_new(array, json_string_lossy(list->items[i], strlen(list->items[i])));
	return array;
}

static json_t *mounts_of(const struct strv *list)
{
	json_t *array = json_array();
	for (size_t i = 0; i < list->count; i++)
		json_array_append_new(array, hook_mount(list->items[i]));
	return array;
}

/* The words of `options:` as one line again. */
static json_t *options_of(const struct container *c)
{
	_cleanup_(str_done) struct str out = STR_INIT(1 << 20);
	for (size_t i = 0; i < c->options.count; i++) {
		const char *word = c->options.items[i];
		str_append(&out, i > 0 ? " " : "");
		if (word[0] != '\0' && strpbrk(word, " \t\r\n\"'\\$`") == NULL)
			str_append(&out, word);
		else
			str_append_shell(&out, word);
	}
	return json_string_lossy(str_peek(&out), out.len);
}

static json_t *registry_of(const struct container *c)
{
	if (c->username == NULL)
		return json_null();
	const char *slash = strchr(c->image, '/');
	_cleanup_free_ char *host = slash != NULL ? xstrndup(c->image, (size_t)(slash - c->image)) : xstrdup("");
	bool named = strpbrk(host, ".:") != NULL;
	return json_pack("{s:s, s:s, s:s}", "username", c->username, "password", c->password != NULL ? c->password : "",
	                 "serverUrl", named ? host : "");
}

static json_t *container_of(struct job *j, const struct container *c, const struct strv *system_mounts)
{
	_cleanup_free_ char *workdir = containers_inside_path(j, j->workspace);
	json_t *o =
		json_pack("{s:s, s:o, s:o, s:o, s:o, s:o}", "image", c->image, "createOptions", options_of(c),
	                  "portMappings", texts(&c->ports), "userMountVolumes", mounts_of(&c->volumes), "registry",
	                  registry_of(c), "environmentVariables", c->env != NULL ? json_copy(c->env) : json_object());
	if (c->alias != NULL) {
		json_object_set_new(o, "contextName", json_string(c->alias));
		json_object_set_new(o, "systemMountVolumes", json_array());
		json_object_set_new(o, "entryPoint", c->entrypoint != NULL ? json_string(c->entrypoint) : json_null());
		json_object_set_new(o, "entryPointArgs", texts(&c->command));
		return o;
	}
	json_object_set_new(json_object_get(o, "environmentVariables"), "HOME", json_string("/github/home"));
	json_object_set_new(o, "workingDirectory", json_string(workdir));
	json_object_set_new(o, "systemMountVolumes", mounts_of(system_mounts));
	json_object_set_new(o, "entryPoint", json_string("tail"));
	json_object_set_new(o, "entryPointArgs", json_pack("[s, s]", "-f", "/dev/null"));
	return o;
}

static json_t *context_of(const json_t *told)
{
	json_t *context = json_object();
	static const char *const members[] = {"id", "network"};
	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		if (json_get_string(told, members[i]) != NULL)
			json_object_set(context, members[i], json_object_get(told, members[i]));
	return context;
}

/* By its name where the script tells it, else by its place. */
static const json_t *told_of(const json_t *services, const struct container *c, size_t place)
{
	size_t i;
	json_t *one;
	json_array_foreach((json_t *)(uintptr_t)services, i, one)
	{
		const char *name = json_get_string(one, "contextName");
		if (name != NULL && strcmp(name, c->alias) == 0)
			return one;
	}
	one = json_array_get(services, place);
	return json_get_string(one, "contextName") == NULL ? one : NULL;
}

static void take_services(struct job *j, const json_t *told)
{
	const struct containers *all = j->containers;
	json_t *services = json_object();
	size_t place = 0;
	for (size_t i = 0; i < all->count; i++) {
		if (all->all[i].alias == NULL)
			continue;
		const json_t *one = told_of(told, &all->all[i], place++);
		json_t *context = context_of(one), *ports = json_get_object(one, "ports");
		json_object_set_new(context, "ports", ports != NULL ? json_copy(ports) : json_object());
		json_object_set_new(services, all->all[i].alias, context);
	}
	if (place > 0)
		json_object_set_new(j->job_context, "services", services);
	else
		json_decref(services);
}

static int take_answer(struct job *j, const json_t *answer, struct err *err)
{
	const json_t *context = json_get_object(answer, "context");
	struct containers *all = j->containers;
	const json_t *alpine = json_object_get(answer, "isAlpine");
	if (all->inside && !json_is_boolean(alpine))
		return err_set(err, ERR_PROTOCOL, "the container hook's answer to prepare_job does not say 'isAlpine'");
	json_object_set_new(j->job_context, "container", context_of(json_get_object(context, "container")));
	take_services(j, json_get_array(context, "services"));
	free(all->node);
	all->node = xstrdup(json_is_true(alpine) ? "node" : "/__e/node/bin/node");
	return 0;
}

static json_t *arguments(struct job *j, struct err *err)
{
	const struct containers *all = j->containers;
	json_t *services = json_array(), *own = NULL;
	struct strv mounts = {.count = 0};
	int e = all->inside ? containers_add_work(j, &mounts, err) : 0;
	for (size_t i = 0; e == 0 && i < all->count; i++) {
		json_t *one = container_of(j, &all->all[i], &mounts);
		if (all->all[i].alias == NULL)
			own = one;
		else
			json_array_append_new(services, one);
	}
	strv_done(&mounts);
	if (e == 0)
		return json_pack("{s:o, s:o}", "container", own != NULL ? own : json_null(), "services", services);
	json_decref(services);
	return NULL;
}

int hook_prepare(struct job *j, struct record *r, struct err *err)
{
	enum process_end end;
	int status;
	_cleanup_json_ json_t *answer = NULL;
	struct call c = {.command = "prepare_job", .args = arguments(j, err), .timeout_ms = step_time_ms(r)};
	if (c.args == NULL)
		return err->code;
	int e = call(j, r, &c, &answer, &end, &status, err);
	if (e < 0)
		return e;
	if (end != PROCESS_EXITED)
		return err_set(err, ERR_CANCELLED, "The operation was canceled.");
	if (status == 0)
		return take_answer(j, answer, err);
	e = err_set(err, ERR_FAILED, "%s", failed_text);
	return err_hint(err, e, "prepare_job of '%s' ended with exit code %d", script_of(j), status);
}

void hook_clean_up(struct job *j, struct record *r)
{
	enum process_end end;
	int status;
	struct err err = ERR_INIT;
	char line[1024];
	_cleanup_json_ json_t *answer = NULL;
	struct call c = {.command = "cleanup_job", .args = json_object(), .deaf = true, .timeout_ms = CLEAN_UP_MS};
	int e = call(j, r, &c, &answer, &end, &status, &err);
	if (e == 0 && end == PROCESS_EXITED && status == 0)
		return;
	_cleanup_free_ char *text = e < 0 ? xasprintf("cleanup_job: %s", err_line(&err, line, sizeof(line)))
	                                  : xasprintf("%s cleanup_job ended with exit code %d.", failed_text, status);
	record_issue(j, r, ISSUE_WARNING, text, NULL);
}

/* ---- steps ---- */

/* The newest first. */
static json_t *added_path(const struct job *j)
{
	json_t *list = json_array(), *unused;
	const char *directory;
	json_object_foreach(j->prepend_path, directory, unused)
	{
		_cleanup_free_ char *inside = containers_inside_path(j, directory);
		json_array_insert_new(list, 0, json_string_lossy(inside, strlen(inside)));
	}
	return list;
}

static json_t *map_of(const struct strv *variables)
{
	json_t *map = json_object();
	for (size_t i = 0; i < variables->count; i++) {
		const char *entry = variables->items[i], *equals = strchr(entry, '=');
		_cleanup_free_ char *name = xstrndup(entry, (size_t)(equals - entry));
		json_object_set_new(map, name, json_string_lossy(equals + 1, strlen(equals + 1)));
	}
	return map;
}

int hook_run_program(struct job *j, struct record *r, const struct hook_program *p, enum process_end *ret_end,
                     int *ret_status, struct err *err)
{
	_cleanup_json_ json_t *answer = NULL;
	json_t *words = texts(p->words);
	json_array_remove(words, 0);
	struct call c = {.command = "run_script_step",
	                 .args = json_pack("{s:s, s:o, s:o, s:o, s:s}", "entryPoint", p->words->items[0],
	                                   "entryPointArgs", words, "environmentVariables", map_of(p->variables),
	                                   "prependPath", added_path(j), "workingDirectory", p->cwd),
	                 .is_step = true,
	                 .timeout_ms = step_time_ms(r)};
	return call(j, r, &c, &answer, ret_end, ret_status, err);
}

int hook_run_container(struct job *j, struct record *r, json_t *args, enum process_end *ret_end, int *ret_status,
                       struct err *err)
{
	_cleanup_json_ json_t *answer = NULL;
	struct call c = {.command = "run_container_step", .args = args, .is_step = true, .timeout_ms = step_time_ms(r)};
	return call(j, r, &c, &answer, ret_end, ret_status, err);
}

const char *hook_node(const struct job *j)
{
	return j->containers->node;
}
