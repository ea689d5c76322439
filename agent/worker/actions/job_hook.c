/* The administrator's scripts before a job's first step and behind its last one: ACTIONS_RUNNER_HOOK_JOB_STARTED and
 * ACTIONS_RUNNER_HOOK_JOB_COMPLETED in the agent's environment name them [11.1]. */
#include "agent/worker/actions/job_hook.h"

#include "base/sys/fs.h"

#include <fcntl.h>

struct hook {
	const char *variable, *name, *action_name, *word;
};
static const struct hook started = {"ACTIONS_RUNNER_HOOK_JOB_STARTED", "Set up runner", "Pre Job Hook", "started"},
			 completed = {"ACTIONS_RUNNER_HOOK_JOB_COMPLETED", "Complete runner", "Post Job Hook",
                                      "completed"};

static const char *script_of(const struct job *j, const struct hook *h)
{
	const char *path = json_get_string(j->job_environ, h->variable);
	/* They are for jobs that a service sends: `davit run` in a step of such a job has inherited the variables. */
	return path != NULL && path[0] != '\0' && !j->watched ? path : NULL;
}

/* What runs it by the end of its name. argument: of the program, with the script. Both free() */
struct launch {
	char *program, *argument;
	const char *option, *format;
};

static void launch_done(struct launch *l)
{
	free(l->program);
	free(l->argument);
}

static int choose(const struct job *j, const char *script, struct launch *ret, struct err *err)
{
	const char *path = json_get_string(j->job_environ, "PATH"), *missing = "bash";
	if (str_ends(script, ".sh")) {
		*ret = (struct launch){.program = shell_find("bash", path), .option = "-e", .format = "-e {0}"};
	} else if (str_ends(script, ".ps1")) {
		*ret = (struct launch){.program = shell_find("pwsh", path),
		                       .argument = xasprintf(". '%s'", script),
		                       .option = "-command",
		                       .format = "-command \". '{0}'\""};
		missing = "pwsh";
	} else if (str_ends(script, ".js")) {
		*ret = (struct launch){.program = environ_node(j), .format = "{0}"};
		missing = "node";
	} else {
		return err_set(err, ERR_INVALID,
		               "'%s' is not a valid path to a script. Make sure it ends in '.sh', '.ps1' or '.js'.",
		               script);
	}
	if (ret->argument == NULL)
		ret->argument = xstrdup(script);
	if (ret->program != NULL)
		return 0;
	launch_done(ret);
	return err_set(err, ERR_NOT_FOUND, "%s: command not found", missing);
}

/* With the agent's own environment, PATH included, and outside of the job's walls: a workflow does not change how it runs. */
static int run_script(struct job *j, struct record *r, const struct launch *l, enum process_end *ret_end,
                      int *ret_status, struct err *err)
{
	struct strv env = {.count = 0};
	const char *argv[4] = {l->program};
	size_t n = 1;
	if (l->option != NULL)
		argv[n++] = l->option;
	argv[n] = l->argument;
	environ_make(j, r, ENVIRON_TYPED | ENVIRON_HOOK, &env);
	struct process p = {.argv = argv, .env = (const char *const *)strv_null_terminated(&env), .cwd = j->workspace};
	int e = process_run(j, r, &p, ret_end, ret_status, err);
	strv_done(&env);
	return e;
}

static int run(struct job *j, struct record *r, const json_t *inputs, enum result *ret, struct err *err)
{
	const struct hook *h = r->stage == STAGE_POST ? &completed : &started;
	const char *script = script_of(j, h);
	struct launch l = {.program = NULL};
	enum process_end end = PROCESS_EXITED;
	int status = 0;
	(void)inputs;
	record_line(j, r, "A job %s hook has been configured by the self-hosted runner administrator", h->word);
	if (script[0] != '/' || !fs_exists(AT_FDCWD, script))
		return err_set(err, ERR_NOT_FOUND, "File doesn't exist");
	int e = choose(j, script, &l, err);
	if (e < 0)
		return e;
	record_line(j, r, "##[group]Run '%s'", script);
	record_line(j, r, "shell: %s %s", l.program, l.format);
	record_line(j, r, "##[endgroup]");
	e = run_script(j, r, &l, &end, &status, err);
	launch_done(&l);
	if (e < 0)
		return e;
	if (end == PROCESS_EXITED && status != 0)
		record_error(j, r, "Process completed with exit code %d.", status);
	*ret = step_end_of_process(j, r, end, status);
	return 0;
}

static const struct action_type action_job_hook = {.run = run, .here = true};

static void describe(struct record *r, const struct hook *h)
{
	r->action = &action_job_hook;
	r->type = xstrdup("runner");
	r->action_name = xstrdup(h->action_name);
	r->stage_condition = xstrdup("always()");
	r->name_final = true;
}

void job_hook_expect_started(struct job *j)
{
	if (script_of(j, &started) == NULL)
		return;
	struct record *r = record_new(j, NULL, started.name);
	describe(r, &started);
	record_tell(j, r);
}

void job_hook_expect_completed(struct job *j)
{
	struct record of = {.action = &action_job_hook};
	if (script_of(j, &completed) != NULL)
		describe(record_expect_post(j, &of, completed.name), &completed);
}
