/* A JavaScript action: its script of the stage, by the configured node or this machine's. */
#include "agent/worker/actions/use.h"

#include "base/sys/fs.h"

#include <fcntl.h>

/* A step's PATH may lead to another node: that is for its programs, not for actions. free() */
static char *find_node(const struct job *j)
{
	const char *given = job_setting(j, "node");
	return given[0] != '\0' ? shell_find(given, "") : shell_find("node", json_get_string(j->job_environ, "PATH"));
}

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

int use_run_node(struct job *j, struct record *r, struct use *u, enum result *ret, struct err *err)
{
	_cleanup_free_ char *node = find_node(j),
			    *script = fs_join(u->action->directory, script_of(&u->action->manifest, r->stage));
	if (node == NULL)
		return no_node(j, u, err);
	if (!fs_exists(AT_FDCWD, script))
		return err_set(err, ERR_NOT_FOUND, "File not found: '%s'", script);
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
	enum process_end end;
	int status = 0;
	int e = process_run(j, r, &p, &end, &status, err);
	strv_done(&env);
	if (e < 0)
		return e;
	if (end == PROCESS_EXITED)
		record_debug(j, r, "Node Action run completed with exit code %d", status);
	*ret = step_end_of_process(j, r, end, status);
	return 0;
}
