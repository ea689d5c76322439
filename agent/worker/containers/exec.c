/* exec: a program of a step in the job's container [11.6], reached by cancels and time limits where it runs. */
#include "agent/worker/containers/hook.h"

#include "base/core/rand.h"
#include "base/sys/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PID_MAX = 32, SIGNAL_MS = 10000 };
static const char mounted_node[] = "/__e/node/bin/node";

/* ---- signals ---- */

struct target {
	const char *pid_file; /* on this machine */
};

/* The container's word for it: only a number is taken, and it is one of that container. */
static bool read_pid(const char *path, char pid[PID_MAX])
{
	_cleanup_(str_done) struct str text = STR_INIT(PID_MAX);
	if (fs_read_plain(AT_FDCWD, path, PID_MAX - 1, &text, NULL) < 0)
		return false;
	str_truncate(&text, strcspn(str_peek(&text), "\n"));
	if (text.len == 0 || strspn(str_peek(&text), "0123456789") != text.len || strcmp(str_peek(&text), "1") == 0 ||
	    text.data[0] == '0')
		return false;
	memcpy(pid, text.data, text.len + 1);
	return true;
}

/* To the whole group, as on this machine; as root, since a step may have become another user. */
static bool pass_on(struct job *j, struct record *r, void *context, int number)
{
	static const char script[] = "kill -\"$1\" -\"$2\" 2>/dev/null || kill -\"$1\" \"$2\" 2>/dev/null";
	const struct target *t = context;
	const struct docker *d = &j->containers->docker;
	const char *name = number == SIGINT ? "INT" : number == SIGTERM ? "TERM" : "KILL";
	char pid[PID_MAX];
	if (!read_pid(t->pid_file, pid))
		return false;
	(void)r;
	const char *argv[] = {d->program, "exec", "--user", "0", j->containers->all[0].id, "sh", "-c", script,
	                      "sh",       name,   pid,      NULL};
	struct proc_options o = {.argv = argv,
	                         .env = (const char *const *)strv_null_terminated((struct strv *)(uintptr_t)&d->env)};
	int status = 1;
	return job_child(j, &o, SIGNAL_MS, true, NULL, NULL, &status, NULL) == 0 && status == 0;
}

/* Open to each user of the container; the directory around it is closed to those of this machine. */
static int make_pid_file(const struct job *j, char **ret, struct err *err)
{
	char id[37];
	rand_uuid4(id);
	_cleanup_free_ char *path = xasprintf("%s/.pid_%s", j->temp, id);
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0 || fchmod(fd, 0666) < 0)
		return err_errno(err, errno, "make '%s'", path);
	*ret = TAKE(path);
	return 0;
}

/* ---- a program ---- */

static void make_variables(struct job *j, const struct record *r, int flags, struct strv *ret)
{
	struct strv all = {.count = 0};
	environ_make(j, r, flags | ENVIRON_CONTAINER | ENVIRON_INSIDE, &all);
	for (size_t i = 0; i < all.count; i++) {
		const char *equals = strchr(all.items[i], '=');
		_cleanup_free_ char *inside = containers_inside_path(j, equals + 1);
		strv_addf(ret, "%.*s=%s", (int)(equals - all.items[i]), all.items[i], inside);
	}
	strv_done(&all);
}

static int exec_by_hook(struct job *j, struct record *r, const struct strv *words, const char *cwd, int flags,
                        enum process_end *ret_end, int *ret_status, struct err *err)
{
	struct strv variables = {.count = 0};
	make_variables(j, r, flags, &variables);
	struct hook_program p = {.words = words, .variables = &variables, .cwd = cwd};
	int e = hook_run_program(j, r, &p, ret_end, ret_status, err);
	strv_done(&variables);
	return e;
}

int containers_exec(struct job *j, struct record *r, const struct strv *words, const char *cwd, int flags,
                    enum process_end *ret_end, int *ret_status, struct err *err)
{
	struct containers *all = j->containers;
	if (hook_is_set(j))
		return exec_by_hook(j, r, words, cwd, flags, ret_end, ret_status, err);
	if (all->all[0].id == NULL || !all->all[0].runs)
		return err_set(err, ERR_FAILED, "the job's container does not run");
	_cleanup_free_ char *pid_file = NULL, *path = environ_added_path(j, all->path);
	struct strv variables = {.count = 0}, argv = {.count = 0}, env = {.count = 0};
	int e = make_pid_file(j, &pid_file, err);
	if (e < 0)
		return e;
	_cleanup_free_ char *inside = containers_inside_path(j, pid_file);
	struct container_program program = {.docker = all->docker.program,
	                                    .id = all->all[0].id,
	                                    .workdir = cwd,
	                                    .path = path,
	                                    .pid_file = inside,
	                                    .words = words};
	struct target target = {.pid_file = pid_file};
	make_variables(j, r, flags, &variables);
	container_exec_arguments(&program, &variables, j->mask, &argv, &env);
	docker_add_own(&all->docker, &env);
	struct process p = {.argv = (const char *const *)strv_null_terminated(&argv),
	                    .env = (const char *const *)strv_null_terminated(&env),
	                    .cwd = j->workspace,
	                    .timeout_ms = step_time_ms(r),
	                    .script = true,
	                    .signal = pass_on,
	                    .signal_context = &target};
	e = process_run(j, r, &p, ret_end, ret_status, err);
	unlink(pid_file);
	strv_done(&variables);
	strv_done(&argv);
	strv_done(&env);
	return e;
}

/* ---- JavaScript ---- */

static int runs_in_it(struct job *j, struct record *r, const char *program, bool *ret, struct err *err)
{
	const struct docker *d = &j->containers->docker;
	const char *argv[] = {d->program, "exec", j->containers->all[0].id, program, "--version", NULL};
	_cleanup_(str_done) struct str version = STR_INIT(1 << 16);
	int status = 1,
	    e = docker_answer(j, r, d, &(struct docker_call){.argv = argv, .hushed = true}, &version, &status, err);
	*ret = e == 0 && status == 0 && str_starts(str_peek(&version), "v");
	return e;
}

/* This machine's, which needs the libraries that it is linked with; else the image's own. */
int containers_node(struct job *j, struct record *r, const char **ret, struct err *err)
{
	struct containers *all = j->containers;
	static const char *const programs[] = {mounted_node, "node"};
	if (hook_is_set(j)) {
		*ret = hook_node(j);
		return 0;
	}
	if (all->all[0].id == NULL || !all->all[0].runs)
		return err_set(err, ERR_FAILED, "the job's container does not run");
	for (size_t i = 0; all->node == NULL && i < ARRAY_SIZE(programs); i++) {
		bool runs = false;
		int e = runs_in_it(j, r, programs[i], &runs, err);
		if (e < 0)
			return e;
		if (runs)
			all->node = xstrdup(programs[i]);
	}
	*ret = all->node;
	if (all->node != NULL)
		return 0;
	int e = err_set(
		err, ERR_NOT_FOUND,
		"JavaScript actions cannot run in the job's container: the image has no node, and this machine's does "
		"not run in it");
	return err_hint(
		err, e,
		"use an image with node, or one with the C library that this machine's node is linked with; `davit "
		"agent configure --node FILE` names another node of this machine");
}
