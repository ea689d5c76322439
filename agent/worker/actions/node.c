/* A JavaScript action: its script of the stage, by the configured node or this machine's. */
#include "agent/worker/actions/use.h"
#include "agent/worker/containers/containers.h"

#include "base/sys/fs.h"

#include <fcntl.h>

static const char *script_of(const struct action_manifest *m, enum stage stage)
{
	return stage == STAGE_PRE ? m->pre : stage == STAGE_POST ? m->post : m->main;
}

static int no_node(const struct job *j, const struct use *u, struct err *err)
{
	const char *given = job_setting(j, "node");
	int r = given[0] != '\0'
	                ? err_set(err, ERR_NOT_FOUND, "%s is a JavaScript action, and there is no program '%s'",
	                          u->shown, given)
	                : err_set(err, ERR_NOT_FOUND,
	                          "%s is a JavaScript action, and this machine has no node in the agent's PATH",
	                          u->shown);
	return err_hint(err, r, "install node, or say where it is: davit agent configure --node FILE");
}

static int run_here(struct job *j, struct record *r, const struct use *u, const char *script, enum process_end *ret_end,
                    int *ret_status, struct err *err)
{
	_cleanup_free_ char *node = environ_node(j);
	if (node == NULL)
		return no_node(j, u, err);
	struct strv env = {.count = 0};
	const char *argv[] = {node, script, NULL};
	environ_make(j, r, ENVIRON_ACTION, &env);
	struct process p = {
		.argv = argv,
		.env = (const char *const *)strv_null_terminated(&env),
		.cwd = j->workspace,
		.timeout_ms = step_time_ms(r),
		.script = true,
	};
	int e = process_run(j, r, &p, ret_end, ret_status, err);
	strv_done(&env);
	return e;
}

static int run_inside(struct job *j, struct record *r, const char *script, enum process_end *ret_end, int *ret_status,
                      struct err *err)
{
	_cleanup_free_ char *inside = containers_inside_path(j, script), *cwd = containers_inside_path(j, j->workspace);
	struct strv words = {.count = 0};
	const char *node = NULL;
	int e = containers_node(j, r, &node, err);
	if (e < 0)
		return e;
	strv_add(&words, node);
	strv_add(&words, inside);
	e = containers_exec(j, r, &words, cwd, ENVIRON_ACTION, ret_end, ret_status, err);
	strv_done(&words);
	return e;
}

int use_run_node(struct job *j, struct record *r, struct use *u, enum result *ret, struct err *err)
{
	_cleanup_free_ char *script = fs_join(u->action->directory, script_of(&u->action->manifest, r->stage));
	enum process_end end = PROCESS_EXITED;
	int status = 0;
	if (!fs_exists(AT_FDCWD, script))
		return err_set(err, ERR_NOT_FOUND, "File not found: '%s'", script);
	int e = containers_inside(j) ? run_inside(j, r, script, &end, &status, err)
	                             : run_here(j, r, u, script, &end, &status, err);
	if (e < 0)
		return e;
	if (end == PROCESS_EXITED)
		record_debug(j, r, "Node Action run completed with exit code %d", status);
	*ret = step_end_of_process(j, r, end, status);
	return 0;
}
