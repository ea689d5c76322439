#include "agent/worker/actions/container.h"

#include "base/core/rand.h"
#include "base/sys/fs.h"

#include <fcntl.h>

enum { PULL_TRIES = 3, REMOVE_MS = 30000 };

struct docker {
	char *program;
	struct strv env; /* of the command: this machine's own */
	char id[33];
};

static void docker_done(struct docker *d)
{
	free(d->program);
	strv_done(&d->env);
}

static int find_docker(const struct job *j, struct docker *d, struct err *err)
{
	const char *name;
	json_t *value;
	d->program = shell_find("docker", json_get_string(j->job_environ, "PATH"));
	if (d->program == NULL) {
		int r = err_set(err, ERR_UNSUPPORTED,
		                "the step runs a container, and this machine has no program 'docker'");
		return err_hint(err, r, "install a Docker engine, or send the job to another runner");
	}
	json_object_foreach(j->job_environ, name, value) strv_addf(&d->env, "%s=%s", name, json_string_value(value));
	rand_hex(d->id, 32);
	return 0;
}

/* Its output goes to the log. *ret_status 0: it succeeded. */
static int call(struct job *j, struct record *r, const char *const *argv, struct strv *env, enum process_end *ret_end,
                int *ret_status, struct err *err)
{
	struct process p = {.argv = argv,
	                    .env = (const char *const *)strv_null_terminated(env),
	                    .cwd = j->workspace,
	                    .timeout_ms = step_time_ms(r),
	                    .script = true};
	return process_run(j, r, &p, ret_end, ret_status, err);
}

static int call_until_good(struct job *j, struct record *r, struct docker *d, const char *const *argv, const char *what,
                           enum process_end *ret_end, int *ret_status, struct err *err)
{
	for (int try = 1;; try++) {
		int e = call(j, r, argv, &d->env, ret_end, ret_status, err);
		if (e < 0 || *ret_end != PROCESS_EXITED || *ret_status == 0 || try == PULL_TRIES)
			return e;
		int64_t pause = 1000 + (int64_t)rand_below(9000);
		_cleanup_free_ char *text =
			xasprintf("%s failed with exit code %d, back off %.3f seconds before retry.", what, *ret_status,
		                  (double)pause / 1000);
		record_issue(j, r, ISSUE_WARNING, text, NULL);
		e = job_pause(j, pause, err);
		if (e < 0)
			return e;
	}
}

/* 1, 0, or ERR_CANCELLED: the step does not go on. */
static int is_here(struct job *j, struct record *r, struct docker *d, const char *image, struct err *err)
{
	const char *argv[] = {d->program, "image", "inspect", "--format", "{{.Id}}", image, NULL};
	struct proc_options o = {.argv = argv, .env = (const char *const *)strv_null_terminated(&d->env)};
	int status = 1, e;
	do {
		err_clear(err);
		e = job_child(j, &o, REMOVE_MS, false, NULL, &status, err);
	} while (e == ERR_CANCELLED && !j->cancel.shutdown && step_goes_on(j, r));
	if (e == ERR_CANCELLED)
		return e;
	err_clear(err);
	return e == 0 && status == 0;
}

/* An image that nobody serves, but that was made here, is taken as it is. */
static int pull(struct job *j, struct record *r, struct docker *d, const char *image, enum process_end *ret_end,
                struct err *err)
{
	const char *argv[] = {d->program, "pull", image, NULL};
	int status = 0;
	if (image[0] == '-')
		return err_set(err, ERR_INVALID, "'%.100s' is no image", image);
	record_line(j, r, "##[group]Pull down action image '%s'", image);
	int e = is_here(j, r, d, image, err);
	if (e >= 0)
		e = e > 0 ? call(j, r, argv, &d->env, ret_end, &status, err)
		          : call_until_good(j, r, d, argv, "Docker pull", ret_end, &status, err);
	record_line(j, r, "##[endgroup]");
	if (e < 0 || *ret_end != PROCESS_EXITED || status == 0)
		return e;
	e = is_here(j, r, d, image, err);
	if (e < 0)
		return e;
	if (e == 0)
		return err_set(err, ERR_FAILED, "Docker pull failed with exit code %d", status);
	record_line(j, r, "The image cannot be pulled; the one of this machine is used");
	return 0;
}

static int build(struct job *j, struct record *r, struct docker *d, const char *dockerfile, const char *tag,
                 enum process_end *ret_end, struct err *err)
{
	_cleanup_free_ char *dir = xstrndup(dockerfile, (size_t)(strrchr(dockerfile, '/') - dockerfile));
	const char *argv[] = {d->program, "build", "-t", tag, "-f", dockerfile, dir, NULL};
	int status = 0;
	record_line(j, r, "##[group]Build container for action use: '%s'.", dockerfile);
	int e = call(j, r, argv, &d->env, ret_end, &status, err);
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

/* Names that would change the docker command itself. */
static bool is_commands_own(const char *name)
{
	return strcmp(name, "HOME") == 0 || strcmp(name, "PATH") == 0 || str_starts(name, "LD_") ||
	       str_starts(name, "DOCKER_");
}

/* By name only: values travel in the command's environment, so that no secret stands in its arguments. */
static void add_variable(struct job *j, const char *name, const char *value, struct strv *argv, struct strv *env)
{
	if (strcmp(name, "HOME") == 0)
		return;
	_cleanup_free_ char *inside = translated(j, value);
	strv_add(argv, "-e");
	if (is_commands_own(name) && !mask_finds(j->mask, inside, strlen(inside))) {
		strv_addf(argv, "%s=%s", name, inside);
		return;
	}
	strv_add(argv, name);
	strv_addf(env, "%s=%s", name, inside);
}

static bool sets(const struct strv *env, const char *name)
{
	size_t len = strcspn(name, "=");
	for (size_t i = 0; i < env->count; i++)
		if (strncmp(env->items[i], name, len) == 0 && env->items[i][len] == '=')
			return true;
	return false;
}

/* What is passed on by name keeps its value: of a name that stands there twice, docker takes the first. */
static void add_commands_own(const struct docker *d, struct strv *env)
{
	size_t passed_on = env->count;
	for (size_t i = 0; i < d->env.count; i++)
		if (!sets(&(struct strv){.items = env->items, .count = passed_on}, d->env.items[i]))
			strv_add(env, d->env.items[i]);
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
		if (name[0] != '\0' && strchr(name, '=') == NULL && !sets(&all, name))
			add_variable(j, name, json_string_value(value), argv, env);
	}
	strv_add(argv, "-e");
	strv_add(argv, "HOME=/github/home");
	strv_done(&all);
}

static const char default_socket[] = "/var/run/docker.sock";

static void add_volumes(const struct job *j, struct strv *argv)
{
	static const char *const below[][2] = {{"", "/github/runner_temp"},
	                                       {"/_github_home", "/github/home"},
	                                       {"/_github_workflow", "/github/workflow"}};
	const char *host = json_get_string(j->job_environ, "DOCKER_HOST"),
		   *engine = host != NULL && str_starts(host, "unix://") ? host + strlen("unix://") : default_socket;
	/* The engine would make a directory of that name. */
	if (fs_exists(AT_FDCWD, engine)) {
		strv_add(argv, "-v");
		strv_addf(argv, "%s:%s", engine, default_socket);
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
static void clean_up(struct job *j, struct docker *d, const char *container, const char *built)
{
	const char *rm[] = {d->program, "rm", "--force", container, NULL},
		   *rmi[] = {d->program, "rmi", "--no-prune", built, NULL};
	const char *const *calls[] = {container != NULL ? rm : NULL, built != NULL ? rmi : NULL};
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		if (calls[i] == NULL)
			continue;
		struct proc_options o = {.argv = calls[i], .env = (const char *const *)strv_null_terminated(&d->env)};
		int status;
		job_child(j, &o, REMOVE_MS, true, NULL, &status, NULL);
	}
}

static int run(struct job *j, struct record *r, struct docker *d, const struct container_run *c, const char *image,
               enum process_end *ret_end, int *ret_status, struct err *err)
{
	_cleanup_free_ char *name = xasprintf("davit_%s", d->id), *home = fs_join(j->temp, "_github_home");
	struct strv argv = {.count = 0}, env = {.count = 0};
	const char *const head[] = {d->program,          "run", "--name", name, "--label", "davit", "--workdir",
	                            "/github/workspace", "--rm"};
	for (size_t i = 0; i < ARRAY_SIZE(head); i++)
		strv_add(&argv, head[i]);
	add_environment(j, r, c, &argv, &env);
	add_commands_own(d, &env);
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
		e = call(j, r, (const char *const *)strv_null_terminated(&argv), &env, ret_end, ret_status, err);
	clean_up(j, d, e < 0 || *ret_end != PROCESS_EXITED ? name : NULL, NULL);
	strv_done(&argv);
	strv_done(&env);
	return e;
}

int container_run(struct job *j, struct record *r, const struct container_run *c, enum result *ret, struct err *err)
{
	struct docker d = {.program = NULL};
	enum process_end end = PROCESS_EXITED;
	int status = 0, e = find_docker(j, &d, err);
	_cleanup_free_ char *tag = xasprintf("davit:%s", d.id);
	if (e == 0)
		e = c->image != NULL ? pull(j, r, &d, c->image, &end, err)
		                     : build(j, r, &d, c->dockerfile, tag, &end, err);
	if (e == 0 && end == PROCESS_EXITED)
		e = run(j, r, &d, c, c->image != NULL ? c->image : tag, &end, &status, err);
	if (d.program != NULL && c->image == NULL)
		clean_up(j, &d, NULL, tag);
	if (e == 0)
		*ret = step_end_of_process(j, r, end, status);
	docker_done(&d);
	return e;
}
