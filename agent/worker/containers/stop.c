/* stop: "Stop containers" [11.8], whatever became of the job. A cancel, or the agent's own end, does not cut it short. */
#include "agent/worker/containers/containers.h"

void containers_show_log(struct job *j, struct record *r, const struct container *c, bool deaf)
{
	const char *argv[] = {j->containers->docker.program, "logs", "--details", c->id, NULL};
	enum process_end end;
	int status;
	docker_show(j, r, &j->containers->docker, &(struct docker_call){.argv = argv, .deaf = deaf}, &end, &status,
	            NULL);
}

static void call(struct job *j, struct record *r, const char *const *argv, const char *what)
{
	struct err err = ERR_INIT;
	char line[1024];
	int status = 0, e = docker_answer(j, r, &j->containers->docker,
	                                  &(struct docker_call){.argv = argv, .deaf = true}, NULL, &status, &err);
	if (e == 0 && status == 0)
		return;
	_cleanup_free_ char *text = e < 0 ? xasprintf("%s: %s", what, err_line(&err, line, sizeof(line)))
	                                  : xasprintf("%s failed with exit code %d", what, status);
	record_issue(j, r, ISSUE_WARNING, text, NULL);
}

/* Volumes without a name go with their container. */
static void stop(struct job *j, struct record *r, const struct container *c)
{
	const char *rm[] = {j->containers->docker.program, "rm", "--force", "--volumes", c->id, NULL};
	if (c->id == NULL)
		return;
	if (c->alias != NULL) {
		record_line(j, r, "Print service container logs: %s", c->name);
		containers_show_log(j, r, c, true);
	}
	record_line(j, r, "Stop and remove container: %s", c->name);
	call(j, r, rm, "docker rm");
}

/* What a call that was cut off by a cancel made all the same, and what steps of the job made with its label. */
static void stop_rest(struct job *j, struct record *r)
{
	const char *docker = j->containers->docker.program;
	_cleanup_free_ char *label = docker_job_label(j->tracking_id), *filter = xasprintf("label=%s", label);
	_cleanup_(str_done) struct str ids = STR_INIT(1 << 16);
	const char *list[] = {docker, "ps", "--all", "--quiet", "--no-trunc", "--filter", filter, NULL};
	int status = 0;
	docker_answer(j, r, &j->containers->docker, &(struct docker_call){.argv = list, .deaf = true, .quiet = true},
	              &ids, &status, NULL);
	for (char *rest = ids.data, *id; rest != NULL && status == 0 && (id = strsep(&rest, "\n")) != NULL;) {
		const char *rm[] = {docker, "rm", "--force", "--volumes", id, NULL};
		if (id[0] != '\0')
			call(j, r, rm, "docker rm");
	}
}

void containers_stop(struct job *j, struct record *r)
{
	struct containers *all = j->containers;
	const char *rm[] = {all->docker.program, "network", "rm", all->network, NULL};
	if (all->docker.program == NULL)
		return;
	for (size_t i = 0; i < all->count; i++)
		stop(j, r, &all->all[i]);
	stop_rest(j, r);
	if (all->inside && all->all[0].id != NULL)
		docker_give_back(j, r, &all->docker, all->all[0].image);
	if (all->network == NULL)
		return;
	record_line(j, r, "Remove container network: %s", all->network);
	call(j, r, rm, "docker network rm");
}
