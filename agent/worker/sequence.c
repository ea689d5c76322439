/* sequence: the job from its first record to its last [5.2]. */
#include "agent/worker/action.h"
#include "agent/worker/actions/job_hook.h"
#include "agent/worker/background.h"

void job_set_result(struct job *j, enum result r)
{
	j->result = result_merge(j->result, r);
	json_object_set_new(j->job_context, "status", json_string(result_context(j->result)));
}

bool job_status_is(void *user, enum expr_status which)
{
	const struct job *j = user;
	if (j->action_status != NULL && which == EXPR_SUCCESS)
		return *j->action_status < RESULT_FAILED || *j->action_status == RESULT_NONE;
	if (j->action_status != NULL && which == EXPR_FAILURE)
		return *j->action_status == RESULT_FAILED;
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
	j->setup->frame = true;
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
	bool cancelled = r >= 0 || (r == ERR_CANCELLED && j->cancel.serial > 0);
	if (!cancelled) {
		record_error(j, j->setup, "%s", err_line(&err, line, sizeof(line)));
		if (err.hint[0] != '\0')
			record_line(j, j->setup, "  %s", err.hint);
		job_set_result(j, RESULT_FAILED);
	}
	record_complete(j, j->setup, cancelled ? RESULT_CANCELED : RESULT_FAILED);
	return false;
}

/* When the first one is expected the count is doubled, and each later one stands before it. */
struct record *record_expect_post(struct job *j, struct record *of, const char *name)
{
	if (j->post_count == 0)
		j->counter *= 2;
	int counter = j->counter;
	struct record *r = record_new(j, NULL, name);
	r->number = counter - (int)j->post_count;
	j->counter = counter;
	r->action = of->action;
	r->memory = of->memory;
	r->shares_memory = true;
	r->step = of->step;
	r->reference_name = of->reference_name;
	r->stage = STAGE_POST;
	r->name_final = true;
	j->posts = xgrow(j->posts, &j->post_cap, j->post_count + 1, sizeof(j->posts[0]));
	j->posts[j->post_count++] = r;
	record_tell(j, r);
	return r;
}

static void run_posts(struct job *j)
{
	for (size_t i = j->post_count; i-- > 0;) {
		struct record *r = j->posts[i];
		job_turn(j, NULL, 0, 0);
		if (r->action->post != NULL)
			r->action->post(j, r);
		else
			step_run(j, r);
	}
}

enum result job_run(struct job *j)
{
	if (!set_up(j))
		return j->result;
	size_t steps = j->record_count;
	job_hook_expect_completed(j);
	for (size_t i = 1; i < steps; i++) {
		job_turn(j, NULL, 0, 0);
		if (j->records[i]->background)
			background_begin(j, j->records[i]);
		else
			step_run(j, j->records[i]);
	}
	background_drain(j);
	run_posts(j);
	job_complete(j);
	return j->result;
}
