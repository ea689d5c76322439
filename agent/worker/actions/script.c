/* A `run:`: its script in a file, by the shell that it names. */
#include "agent/worker/action.h"

#include "agent/service/wire.h"
#include "agent/worker/containers/containers.h"
#include "base/core/rand.h"
#include "base/sys/fs.h"

#include <fcntl.h>
#include <strings.h>
#include <unistd.h>

static const char *text_of(const json_t *inputs, const char *name)
{
	json_t *value = expr_member(inputs, name, strlen(name));
	return json_is_string(value) ? json_string_value(value) : NULL;
}

static void log_script_head(struct job *j, struct record *r, const char *script)
{
	const char *from = script + strspn(script, " \t\r\n");
	size_t end = strlen(script);
	record_line(j, r, "##[group]Run %.*s", (int)strcspn(from, "\r\n"), from);
	while (end > 0 && (script[end - 1] == '\n' || script[end - 1] == '\r'))
		end--;
	if (end == 0)
		record_line(j, r, "\x1b[36;1m\x1b[0m");
	for (const char *p = script; p < script + end;) {
		const char *stop = memchr(p, '\n', (size_t)(script + end - p));
		size_t n = (size_t)((stop != NULL ? stop : script + end) - p);
		record_line(j, r, "\x1b[36;1m%.*s\x1b[0m", (int)(n > 0 && p[n - 1] == '\r' ? n - 1 : n), p);
		p += n + 1;
	}
}

static char *working_directory(const struct job *j, const json_t *inputs)
{
	const char *given = text_of(inputs, "workingDirectory");
	if (given == NULL)
		given = text_of(j->defaults_run, "working-directory");
	if (given == NULL || given[0] == '\0')
		return xstrdup(j->workspace);
	return given[0] == '/' ? xstrdup(given) : fs_join(j->workspace, given);
}

static enum result end_of_script(struct job *j, struct record *r, enum process_end end, int status)
{
	if (end == PROCESS_EXITED && status != 0)
		record_error(j, r, "Process completed with exit code %d.", status);
	return step_end_of_process(j, r, end, status);
}

static int write_script(struct job *j, const struct shell *shell, const char *script, char **ret_path, struct err *err)
{
	char id[37];
	rand_uuid4(id);
	_cleanup_free_ char *path = xasprintf("%s/%s%s", j->temp, id, shell->extension),
			    *text = shell_script(shell, script);
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return err_set(err, ERR_IO, "the script's file '%s' cannot be written", path);
	int e = fs_write_all(fd, text, strlen(text), err);
	if (e == 0)
		*ret_path = TAKE(path);
	return e;
}

/* Both as this machine has them. */
static int run_here(struct job *j, struct record *r, struct strv *argv, const char *cwd, enum process_end *ret_end,
                    int *ret_status, struct err *err)
{
	struct strv env = {.count = 0};
	environ_make(j, r, 0, &env);
	struct process p = {
		.argv = (const char *const *)strv_null_terminated(argv),
		.env = (const char *const *)strv_null_terminated(&env),
		.cwd = cwd,
		.timeout_ms = step_time_ms(r),
		.script = true,
	};
	int e = process_run(j, r, &p, ret_end, ret_status, err);
	strv_done(&env);
	return e;
}

static int run_script(struct job *j, struct record *r, const json_t *inputs, const struct shell *shell,
                      enum result *ret, struct err *err)
{
	const char *script = text_of(inputs, "script");
	_cleanup_free_ char *path = NULL, *here = working_directory(j, inputs), *cwd = containers_inside_path(j, here);
	struct strv argv = {.count = 0};
	enum process_end end = PROCESS_EXITED;
	int status = 0;
	record_line(j, r, "shell: %s %s", shell->program, shell->format);
	step_log_env(j, r);
	record_line(j, r, "##[endgroup]");
	int e = write_script(j, shell, script, &path, err);
	_cleanup_free_ char *shown = e == 0 ? containers_inside_path(j, path) : NULL;
	if (e == 0)
		e = shell_arguments(shell, shown, &argv, err);
	if (e == 0)
		e = containers_inside(j) ? containers_exec(j, r, &argv, cwd, 0, &end, &status, err)
		                         : run_here(j, r, &argv, cwd, &end, &status, err);
	if (e == 0)
		*ret = end_of_script(j, r, end, status);
	strv_done(&argv);
	return e;
}

/* A PATH that the step sets is for its programs: the shell is looked up by the agent's own, behind what steps added. */
static int choose_shell(const struct job *j, const char *given, struct shell *ret, struct err *err)
{
	if (containers_inside(j)) {
		shell_choose_unseen(given, ret);
		return 0;
	}
	const char *own = json_get_string(j->job_environ, "PATH");
	_cleanup_free_ char *path = environ_added_path(j, own);
	return shell_choose(given, path != NULL ? path : own, ret, err);
}

static int run(struct job *j, struct record *r, const json_t *inputs, enum result *ret, struct err *err)
{
	const char *script = text_of(inputs, "script"), *given = text_of(inputs, "shell");
	if (script == NULL)
		return err_set(err, ERR_PROTOCOL, "the step has no script");
	if (given == NULL || given[0] == '\0')
		given = text_of(j->defaults_run, "shell");
	struct shell shell = {.extension = ""};
	log_script_head(j, r, script);
	int e = choose_shell(j, given, &shell, err);
	if (e < 0) {
		record_line(j, r, "##[endgroup]");
		return e;
	}
	r->type = xstrdup("run");
	r->action_name = xstrdup(shell.command);
	e = run_script(j, r, inputs, &shell, ret, err);
	shell_done(&shell);
	return e;
}

static bool takes(const struct job *j, const json_t *reference)
{
	(void)j;
	const char *type = wire_string(reference, "type");
	return type != NULL ? strcasecmp(type, "script") == 0 : wire_int(reference, "type", 0) == 3;
}

static int prepare(struct job *j, const struct action_place *place, void **ret_memory, char **ret_shown,
                   struct err *err)
{
	(void)j, (void)place, (void)ret_memory, (void)ret_shown, (void)err;
	return 0;
}

const struct action_type action_script = {.takes = takes, .prepare = prepare, .run = run};
