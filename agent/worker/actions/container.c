#include "agent/worker/actions/container.h"

#include "agent/worker/containers/hook.h"
#include "base/core/rand.h"
#include "base/sys/fs.h"

#include <fcntl.h>

enum { REMOVE_MS = 30000 };

static int pull(struct job *j, struct record *r, const struct docker *d, const char *image, enum process_end *ret_end,
                struct err *err)
{
	record_line(j, r, "##[group]Pull down action image '%s'", image);
	int e = docker_pull(j, r, d, image, NULL, ret_end, err);
	record_line(j, r, "##[endgroup]");
	return e;
}

static int build(struct job *j, struct record *r, const struct docker *d, const char *dockerfile, const char *tag,
                 enum process_end *ret_end, struct err *err)
{
	_cleanup_free_ char *dir = xstrndup(dockerfile, (size_t)(strrchr(dockerfile, '/') - dockerfile));
	const char *argv[] = {d->program, "build", "-t", tag, "-f", dockerfile, dir, NULL};
	int status = 0;
	record_line(j, r, "##[group]Build container for action use: '%s'.", dockerfile);
	struct docker_call c = {.argv = argv, .quiet = true};
	int e = docker_show(j, r, d, &c, ret_end, &status, err);
	record_line(j, r, "##[endgroup]");
	if (e == 0 && *ret_end == PROCESS_EXITED && status != 0)
		e = err_set(err, ERR_FAILED, "Docker build failed with exit code %d", status);
	return e;
}

/* ---- what the container sees ---- */

/* Where directories of this machine are in it: the innermost first. */
static char *translated(const struct job *j, const char *value)
{
	_cleanup_free_ char *workflow = fs_join(j->temp, "_github_workflow"), *home = fs_join(j->temp, "_github_home");
	const struct {
		const char *here, *there;
	} places[] = {{j->workspace, "/github/workspace"},
	              {j->files, "/github/file_commands"},
	              {workflow, "/github/workflow"},
	              {home, "/github/home"},
	              {j->temp, "/github/runner_temp"}};
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		size_t len = strlen(places[i].here);
		if (strncmp(value, places[i].here, len) == 0 && (value[len] == '\0' || value[len] == '/'))
			return xasprintf("%s%s", places[i].there, value + len);
	}
	return xstrdup(value);
}

/* Values of a job in a container may be as that container sees them. */
static void add_variable(struct job *j, const char *name, const char *value, struct strv *argv, struct strv *env)
{
	if (strcmp(name, "HOME") == 0)
		return;
	_cleanup_free_ char *here = containers_outside(j, value), *inside = translated(j, here);
	docker_add_variable(j->mask, name, inside, argv, env);
}

static void add_environment(struct job *j, struct record *r, const struct container_run *c, struct strv *argv,
                            struct strv *env)
{
	struct strv all = {.count = 0};
	const char *name;
	json_t *value;
	environ_make(j, r, ENVIRON_ACTION | ENVIRON_CONTAINER, &all);
	for (size_t i = 0; i < all.count; i++) {
		_cleanup_free_ char *key = xstrndup(all.items[i], strcspn(all.items[i], "="));
		add_variable(j, key, all.items[i] + strlen(key) + 1, argv, env);
	}
	json_object_foreach((json_t *)(uintptr_t)c->env, name, value)
	{
		if (name[0] != '\0' && strchr(name, '=') == NULL && !docker_sets(&all, name))
			add_variable(j, name, json_string_value(value), argv, env);
	}
	strv_add(argv, "-e");
	strv_add(argv, "HOME=/github/home");
	strv_done(&all);
}

static void add_volumes(const struct job *j, struct strv *argv)
{
	static const char *const below[][2] = {{"", "/github/runner_temp"},
	                                       {"/_github_home", "/github/home"},
	                                       {"/_github_workflow", "/github/workflow"}};
	const char *engine = docker_socket(j);
	/* The engine would make a directory of that name. */
	if (fs_exists(AT_FDCWD, engine)) {
		strv_add(argv, "-v");
		strv_addf(argv, "%s:/var/run/docker.sock", engine);
	}
	for (size_t i = 0; i < ARRAY_SIZE(below); i++) {
		strv_add(argv, "-v");
		strv_addf(argv, "%s%s:%s", j->temp, below[i][0], below[i][1]);
	}
	strv_add(argv, "-v");
	strv_addf(argv, "%s:/github/file_commands", j->files);
	strv_add(argv, "-v");
	strv_addf(argv, "%s:/github/workspace", j->workspace);
}

/* What a cut off command leaves behind, and an image that was built for this step. Its layers stay, for the next one. */
static void clean_up(struct job *j, const struct docker *d, const char *container, const char *built)
{
	const char *rm[] = {d->program, "rm", "--force", container, NULL},
		   *rmi[] = {d->program, "rmi", "--no-prune", built, NULL};
	const char *const *calls[] = {container != NULL ? rm : NULL, built != NULL ? rmi : NULL};
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		if (calls[i] == NULL)
			continue;
		struct proc_options o = {
			.argv = calls[i],
			.env = (const char *const *)strv_null_terminated((struct strv *)(uintptr_t)&d->env)};
		int status;
		job_child(j, &o, REMOVE_MS, true, NULL, NULL, &status, NULL);
	}
}

static int run(struct job *j, struct record *r, const struct docker *d, const struct container_run *c, const char *id,
               const char *image, enum process_end *ret_end, int *ret_status, struct err *err)
{
	_cleanup_free_ char *name = xasprintf("davit_%s", id), *home = fs_join(j->temp, "_github_home");
	struct strv argv = {.count = 0}, env = {.count = 0};
	const char *const head[] = {d->program, "run", "--name", name, "--workdir", "/github/workspace", "--rm"},
			  *network = containers_network(j);
	for (size_t i = 0; i < ARRAY_SIZE(head); i++)
		strv_add(&argv, head[i]);
	docker_add_labels(j, &argv);
	if (network != NULL) {
		strv_add(&argv, "--network");
		strv_add(&argv, network);
	}
	add_environment(j, r, c, &argv, &env);
	docker_add_own(d, &env);
	if (c->entrypoint != NULL && c->entrypoint[0] != '\0') {
		strv_add(&argv, "--entrypoint");
		strv_add(&argv, c->entrypoint);
	}
	add_volumes(j, &argv);
	strv_add(&argv, image);
	for (size_t i = 0; i < c->args.count; i++)
		strv_add(&argv, c->args.items[i]);
	int e = fs_mkdirs(AT_FDCWD, home, 0755, err);
	if (e == 0)
		e = docker_show(j, r, d,
		                &(struct docker_call){.argv = (const char *const *)strv_null_terminated(&argv),
		                                      .env = &env,
		                                      .obeyed = true,
		                                      .quiet = true},
		                ret_end, ret_status, err);
	clean_up(j, d, e < 0 || *ret_end != PROCESS_EXITED ? name : NULL, NULL);
	strv_done(&argv);
	strv_done(&env);
	return e;
}

/* ---- by the host's hook ---- */

static json_t *variables_of(struct job *j, struct record *r, const struct container_run *c)
{
	struct strv all = {.count = 0};
	json_t *map = json_object(), *value;
	const char *name;
	json_object_foreach((json_t *)(uintptr_t)c->env, name, value)
	{
		_cleanup_free_ char *inside = translated(j, json_string_value(value));
		json_object_set_new(map, name, json_string(inside));
	}
	environ_make(j, r, ENVIRON_ACTION | ENVIRON_CONTAINER, &all);
	for (size_t i = 0; i < all.count; i++) {
		_cleanup_free_ char *key = xstrndup(all.items[i], strcspn(all.items[i], "=")),
				    *here = containers_outside(j, all.items[i] + strlen(key) + 1),
				    *inside = translated(j, here);
		json_object_set_new(map, key, json_string_lossy(inside, strlen(inside)));
	}
	json_object_set_new(map, "HOME", json_string("/github/home"));
	strv_done(&all);
	return map;
}

static json_t *mounts_for_hook(const struct job *j)
{
	struct strv words = {.count = 0};
	json_t *list = json_array();
	add_volumes(j, &words);
	for (size_t i = 1; i < words.count; i += 2) /* behind each "-v" */
		json_array_append_new(list, hook_mount(words.items[i]));
	strv_done(&words);
	return list;
}

/* No image is pulled or built here: that is its work. */
static int run_by_hook(struct job *j, struct record *r, const struct container_run *c, enum result *ret,
                       struct err *err)
{
	enum process_end end;
	int status;
	_cleanup_free_ char *home = fs_join(j->temp, "_github_home");
	json_t *words = json_array();
	for (size_t i = 0; i < c->args.count; i++)
		json_array_append_new(words, json_string_lossy(c->args.items[i], strlen(c->args.items[i])));
	json_t *args = json_pack("{s:s?, s:s?, s:s?, s:o, s:s, s:s, s:o, s:[], s:o, s:[], s:n}", "image", c->image,
	                         "dockerfile", c->image != NULL ? NULL : c->dockerfile, "entryPoint", c->entrypoint,
	                         "entryPointArgs", words, "workingDirectory", "/github/workspace", "createOptions", "",
	                         "environmentVariables", variables_of(j, r, c), "userMountVolumes",
	                         "systemMountVolumes", mounts_for_hook(j), "portMappings", "registry");
	int e = fs_mkdirs(AT_FDCWD, home, 0755, err);
	if (e < 0)
		json_decref(args);
	else
		e = hook_run_container(j, r, args, &end, &status, err);
	if (e == 0)
		*ret = step_end_of_process(j, r, end, status);
	return e;
}

int container_run(struct job *j, struct record *r, const struct container_run *c, enum result *ret, struct err *err)
{
	if (hook_is_set(j))
		return run_by_hook(j, r, c, ret, err);
	struct docker d = {.program = NULL};
	enum process_end end = PROCESS_EXITED;
	char id[33];
	rand_hex(id, 32);
	int status = 0, e = docker_find(j, "the step runs a container", &d, err);
	_cleanup_free_ char *tag = xasprintf("davit:%s", id);
	if (e == 0)
		e = c->image != NULL ? pull(j, r, &d, c->image, &end, err)
		                     : build(j, r, &d, c->dockerfile, tag, &end, err);
	if (e == 0 && end == PROCESS_EXITED) {
		e = run(j, r, &d, c, id, c->image != NULL ? c->image : tag, &end, &status, err);
		docker_give_back(j, r, &d, c->image != NULL ? c->image : tag);
	}
	if (d.program != NULL && c->image == NULL)
		clean_up(j, &d, NULL, tag);
	if (e == 0)
		*ret = step_end_of_process(j, r, end, status);
	docker_done(&d);
	return e;
}
