/* health: waits until the services say that they are ready, those of them that can say it [11.5]. */
#include "agent/worker/containers/containers.h"

enum { FIRST_S = 2, LONGEST_S = 32, HEALTH_MAX = 4096 };

enum health { HEALTH_STARTING, HEALTH_GOOD, HEALTH_BAD };

/* Without a check of its own a service is taken for ready. One that ended never will be. */
static int look(struct job *j, struct record *r, const struct container *c, enum health *ret, struct err *err)
{
	static const char format[] =
		"{{.State.Running}} {{if .Config.Healthcheck}}{{if .State.Health}}{{print .State.Health.Status}}{{end}}{{end}}";
	const char *argv[] = {j->containers->docker.program, "inspect", "--format", format, c->id, NULL};
	_cleanup_(str_done) struct str answer = STR_INIT(HEALTH_MAX);
	int status = 0,
	    e = docker_answer(j, r, &j->containers->docker, &(struct docker_call){.argv = argv}, &answer, &status, err);
	if (e < 0)
		return e;
	str_truncate(&answer, strcspn(str_peek(&answer), "\r\n"));
	const char *blank = strchr(str_peek(&answer), ' '), *health = blank != NULL ? blank + 1 : "";
	bool runs = str_starts(str_peek(&answer), "true");
	if (status != 0)
		*ret = HEALTH_BAD;
	else if (health[0] == '\0' || strcmp(health, "none") == 0 || strcmp(health, "healthy") == 0)
		*ret = HEALTH_GOOD;
	else
		*ret = strcmp(health, "starting") == 0 && runs ? HEALTH_STARTING : HEALTH_BAD;
	return 0;
}

/* How long a check may take is the image's or the workflow's word; the time limit of the job ends the rest. */
static int wait_for(struct job *j, struct record *r, const struct container *c, bool *ret_good, struct err *err)
{
	enum health health = HEALTH_STARTING;
	for (int pause = FIRST_S;; pause = MIN(2 * pause, LONGEST_S)) {
		int e = look(j, r, c, &health, err);
		if (e < 0 || health != HEALTH_STARTING) {
			*ret_good = health == HEALTH_GOOD;
			return e;
		}
		record_line(j, r, "%s service is starting, waiting %d seconds before checking again.", c->alias, pause);
		e = job_pause(j, (int64_t)pause * 1000, err);
		if (e < 0)
			return e;
	}
}

static void show_failure(struct job *j, struct record *r, const struct container *c)
{
	record_line(j, r, "##[endgroup]");
	record_line(j, r, "##[group]Service container %s failed.", c->alias);
	containers_show_log(j, r, c, false);
	record_error(j, r, "Failed to initialize container %s", c->image);
	record_line(j, r, "##[endgroup]");
}

int containers_wait(struct job *j, struct record *r, struct err *err)
{
	struct containers *all = j->containers;
	bool good = true;
	if (all->count == (all->inside ? 1u : 0u))
		return 0;
	record_line(j, r, "##[group]Waiting for all services to be ready");
	for (size_t i = all->inside ? 1 : 0; i < all->count; i++) {
		bool healthy = false;
		int e = wait_for(j, r, &all->all[i], &healthy, err);
		if (e < 0)
			return e;
		if (healthy)
			record_line(j, r, "%s service is healthy.", all->all[i].alias);
		else
			show_failure(j, r, &all->all[i]);
		good &= healthy;
	}
	record_line(j, r, "##[endgroup]");
	return good ? 0 : err_set(err, ERR_FAILED, "One or more containers failed to start.");
}
