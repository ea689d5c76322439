/* sequence: the job from its first record to its last [5.2]. */
#include "agent/worker/action.h"

void job_set_result(struct job *j, enum result r)
{
	j->result = result_merge(j->result, r);
	json_object_set_new(j->job_context, "status", json_string(result_context(j->result)));
}

bool job_status_is(void *user, enum expr_status which)
{
	const struct job *j = user;
	switch (which) {
	case EXPR_SUCCESS:
		return j->result == RESULT_NONE || j->result < RESULT_FAILED;
	case EXPR_FAILURE:
		return j->result == RESULT_FAILED;
	case EXPR_CANCELLED:
		return j->result == RESULT_CANCELED;
	case EXPR_ALWAYS:
		break;
	}
	return true;
}

static bool set_up(struct job *j)
{
	struct err err = ERR_INIT;
	char line[4096];
	j->setup = record_new(j, NULL, "Set up job");
	j->setup->type = xstrdup("runner");
	j->setup->action_name = xstrdup("setup_job");
	record_start(j, j->setup);
	int r = job_set_up(j, &err);
	/* A cancel that came with the job. */
	job_turn(j, NULL, 0, 0);
	if (r == 0 && j->cancel.serial == 0) {
		record_complete(j, j->setup, RESULT_SUCCEEDED);
		return true;
	}
	if (r < 0) {
		record_error(j, j->setup, "%s", err_line(&err, line, sizeof(line)));
		if (err.hint[0] != '\0')
			record_line(j, j->setup, "  %s", err.hint);
		job_set_result(j, RESULT_FAILED);
	}
	record_complete(j, j->setup, r < 0 ? RESULT_FAILED : RESULT_CANCELED);
	return false;
}

/* In the steps' opposite order. */
static void run_posts(struct job *j, size_t steps)
{
	for (size_t i = steps; i-- > 1;)
		if (j->records[i]->action->post != NULL)
			j->records[i]->action->post(j, j->records[i]);
}

enum result job_run(struct job *j)
{
	if (!set_up(j))
		return j->result;
	size_t steps = j->record_count;
	for (size_t i = 1; i < steps; i++) {
		job_turn(j, NULL, 0, 0);
		step_run(j, j->records[i]);
	}
	run_posts(j, steps);
	job_complete(j);
	return j->result;
}
