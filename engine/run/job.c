/* Steps of a workflow share the deployment of their job: the first one that changes something opens it, the others join it, finish
 * decides it. */
#include "engine/run/run_priv.h"

#include "base/sys/host.h"
#include <string.h>

static int find_job(const struct engine_options *o, json_t **ret, struct err *err)
{
	_cleanup_json_ json_t *list = NULL;
	const struct store_filter filter = {.job_key = o->job_key, .undecided = true, .limit = 1};
	int r = store_deployment_list(o->store, &filter, &list, err);
	if (r < 0)
		return r;
	if (json_array_size(list) == 0)
		return ERR_NOT_FOUND;
	*ret = json_incref(json_array_get(list, 0));
	return 0;
}

static bool needs_deployment(const struct engine *e)
{
	return e->steps[0].type->info->changes;
}

/* Only looks at the world: a check, a gate, a notice. */
static int run_plain(struct engine *e, struct err *err)
{
	struct estep *s = &e->steps[0];
	int r = engine_reach(e, err);
	if (r == 0)
		r = engine_examine(e, false, err);
	if (r < 0)
		return r;
	if (s->type->probe)
		r = s->type->probe(&s->context, false, err);
	if (r >= 0 && s->type->settled && !s->type->probe && !s->type->plan) {
		/* Alone in a job, actions for after the decision run now: they report the job's own state. */
		_cleanup_json_ json_t *report = engine_report(e);
		const struct step_outcome outcome = {.state = OUTCOME_COMMITTED, .report = report};
		r = s->type->settled(&s->context, &outcome, err);
	}
	return r;
}

static json_t *runner_of(const struct engine_options *o)
{
	return lock_owner_process(o->runner_pid ? o->runner_pid : host_job_process());
}

static int open_job(struct engine *e, struct err *err)
{
	int r = engine_begin(e, err);
	if (r < 0)
		return r;
	_cleanup_json_ json_t *runner = runner_of(e->o);
	engine_begin_steps(e);
	r = engine_reach(e, err);
	if (r == 0 && e->found.count == 0)
		r = engine_lock_all(e, err);
	if (r == 0)
		r = engine_examine(e, true, err);
	if (r == 0 && e->o->expect_digest && strcmp(e->o->expect_digest, e->digest) != 0)
		r = err_set(err, ERR_CONFLICT, "the plan is not the expected one: %s instead of %s", e->digest,
		            e->o->expect_digest);
	if (r == 0)
		r = engine_set_state(e, DEPLOYMENT_OPEN,
		                     json_pack("{s:s, s:O, s:o}", "plan_digest", e->digest, "runner", runner, "targets",
		                               engine_targets_json(e)),
		                     err);
	if (r == 0 && e->o->opened)
		e->o->opened(e->o->opened_context, e->id);
	return r;
}

/* The sealed object grows by this step and by the targets that it brings. */
static json_t *joined_object(const json_t *sealed, const json_t *given)
{
	json_t *object = json_deep_copy(sealed);
	json_t *targets = json_object_get(object, "targets");
	const char *name;
	json_t *config;
	if (targets == NULL) {
		targets = json_object();
		json_object_set_new(object, "targets", targets);
	}
	/* The first step that names a target defines it: a later one without targets must not redefine `local`. */
	json_object_foreach(json_object_get(given, "targets"), name, config) if (json_object_get(targets, name) == NULL)
		json_object_set(targets, name, config);
	json_array_extend(json_object_get(object, "steps"), json_object_get(given, "steps"));
	return object;
}

/* What was read of the step that joins and of the targets that it brings; what earlier steps defined is the sealed object's. */
struct joined {
	json_t *object;
	struct deployment_step *steps;
	struct target_config *targets;
	struct deployment deployment;
};

static void joined_done(struct joined *j)
{
	json_decref(j->object);
	free(j->steps);
	free(j->targets);
}

static void joined_init(const json_t *sealed, const struct deployment *given, struct joined *ret)
{
	size_t before = json_array_size(json_object_get(sealed, "steps"));
	*ret = (struct joined){.object = joined_object(sealed, given->json)};
	ret->steps = xcalloc(before + given->step_count + 1, sizeof(*ret->steps));
	ret->targets = xcalloc(given->target_count + 1, sizeof(*ret->targets));
	for (size_t i = 0; i < given->step_count; i++)
		ret->steps[before + i] = given->steps[i];
	size_t targets = 0;
	for (size_t i = 0; i < given->target_count; i++)
		if (json_object_get(json_object_get(sealed, "targets"), given->targets[i].name) == NULL)
			ret->targets[targets++] = given->targets[i];
	ret->deployment = (struct deployment){.json = ret->object,
	                                      .targets = ret->targets,
	                                      .target_count = targets,
	                                      .steps = ret->steps,
	                                      .step_count = before + given->step_count};
}

static int check_same(const json_t *doc, const json_t *given, struct err *err)
{
	static const char *const keys[] = {"name", "environment", "on_failure"};
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const char *a = json_get_string(doc, keys[i]), *b = json_get_string(given, keys[i]);
		if (a == NULL && strcmp(keys[i], "on_failure") == 0)
			a = "rollback";
		if (a == NULL || b == NULL || strcmp(a, b) == 0)
			continue;
		err_set(err, ERR_REFUSED, "this job's deployment has the %s '%s'; this step says '%s'", keys[i], a, b);
		return err_hint(err, ERR_REFUSED, "leave it out: a later step of a job belongs to its deployment");
	}
	return 0;
}

/* Locks that this deployment holds are taken over by this process; targets that the step brings are locked now. */
static int join_locks(struct engine *e, struct err *err)
{
	size_t found;
	int r = engine_take_over_all(e, NULL, &found, err);
	for (size_t i = 0; r == 0 && i < e->host_count; i++) {
		json_t *holder = NULL;
		if (!e->targets[i].locked)
			r = engine_lock_target(e, &e->targets[i], &holder, err);
		json_decref(holder);
	}
	return r;
}

/* A notice may join after a failure: that is what it is for. */
static bool may_join(const json_t *doc, bool changes_nothing)
{
	return engine_state_of(doc) == DEPLOYMENT_OPEN && (changes_nothing || !json_get_bool(doc, "failed", false));
}

static int join_job(struct engine *e, const json_t *doc, const struct deployment *given, bool changes_nothing,
                    const struct engine_options *o, struct err *err)
{
	int r = check_same(doc, given->json, err);
	if (r < 0)
		return r;
	if (!may_join(doc, changes_nothing)) {
		err_set(err, ERR_REFUSED, "the deployment %s of this job has failed already: nothing more is changed",
		        json_get_string(doc, "id"));
		return ERR_REFUSED;
	}
	{
		/* Loaded once to get at the sealed object, then with the step that joins. */
		_cleanup_(engine_done) struct engine former = {.owner_fd = -1};
		r = engine_resume(&former, doc, o, NULL, true, err);
		if (r < 0)
			return r;
		_cleanup_(joined_done) struct joined joined;
		joined_init(former.deployment, given, &joined);
		r = engine_load(e, &joined.deployment, o, err);
		e->owner_fd = take_fd(&former.owner_fd);
		e->recorded = true;
		e->doc = json_incref(former.doc);
		e->state = former.state;
	}
	if (r == 0)
		r = engine_load_history(e, err);
	if (r == 0)
		r = engine_seal(e, err);
	if (r == 0)
		r = join_locks(e, err);
	if (r == 0) {
		_cleanup_json_ json_t *members = json_pack("{s:o}", "targets", engine_targets_json(e));
		if (json_object_get(given->json, "kept"))
			json_object_set(members, "kept", json_object_get(given->json, "kept"));
		r = store_deployment_set(e->store, e->id, members, err);
	}
	return r;
}

static int apply_own_step(struct engine *e, struct err *err)
{
	struct estep *s = &e->steps[e->step_count - 1];
	int r = engine_plan_step(e, s, s->plans, err);
	if (r == 0)
		r = engine_apply_step(e, s, err);
	if (r == 0)
		r = wait_check(&e->wait, err);
	return r;
}

/* This step's own changes go back; what earlier steps did stays until the deployment is decided. */
static int undo_own_step(struct engine *e, int code, struct err *err)
{
	char line[ERR_FRAME_SIZE];
	struct err why = ERR_INIT;
	if (err)
		e->reason = *err;
	_cleanup_json_ json_t *members = json_pack("{s:b, s:o}", "failed", 1, "reason", engine_line(&e->reason));
	store_deployment_set(e->store, e->id, members, NULL);
	if (code == ERR_FENCED || code == ERR_UNKNOWN)
		return 4;
	engine_past_cancel(e);
	e->only_step = (int)e->step_count - 1;
	int r = engine_undo(e, &why);
	if (r < 0) {
		engine_say(e, "error", "%s", err_line(&why, line, sizeof(line)));
		if (r == ERR_CONFLICT || r == ERR_CANCELLED) {
			engine_leave_rest(e, r);
			engine_hold(e, line, NULL);
		}
		return 4;
	}
	return code == ERR_CANCELLED ? 130 : 1;
}

static int status_before(int code)
{
	return code == ERR_LOCKED ? 5 : code == ERR_CANCELLED ? 130 : code == ERR_CONFLICT ? 3 : 2;
}

static int first_step(struct engine *e, struct err *err)
{
	engine_recover_environment(e->o, e->name, e->environment);
	int r = open_job(e, err);
	if (r < 0) {
		int status = status_before(r);
		if (e->recorded)
			engine_refuse(e, status, err);
		return status;
	}
	r = apply_own_step(e, err);
	return r < 0 ? undo_own_step(e, r, err) : 0;
}

static int later_step(struct engine *e, struct err *err)
{
	int r = engine_examine(e, false, err);
	if (r < 0)
		return 2;
	struct estep *own = &e->steps[e->step_count - 1];
	r = own->type->probe != NULL ? engine_borrow_baseline(e, own, err) : 0;
	if (r < 0)
		return 2;
	r = apply_own_step(e, err);
	return r < 0 ? undo_own_step(e, r, err) : 0;
}

int engine_job_step(const struct deployment *deployment, const struct engine_options *o, struct engine_result *ret,
                    struct err *err)
{
	_cleanup_(engine_done) struct engine e = {.owner_fd = -1};
	_cleanup_json_ json_t *doc = NULL;
	memset(ret, 0, sizeof(*ret));
	int r = engine_load(&e, deployment, o, err);
	if (r == 0)
		r = engine_validate(&e, err);
	int status = r < 0 ? 2 : 0;
	int found = r < 0 ? r : o->job_key != NULL ? find_job(o, &doc, err) : ERR_NOT_FOUND;
	bool changes_nothing = r == 0 && !needs_deployment(&e);
	if (changes_nothing && (found != 0 || !e.steps[0].type->info->joins || !may_join(doc, true))) {
		if (err)
			err_clear(err);
		r = run_plain(&e, err);
		status = r == 0 ? 0 : r == ERR_CANCELLED ? 130 : r == ERR_INVALID || r == ERR_REFUSED ? 2 : 1;
	} else if (r == 0) {
		if (found == ERR_NOT_FOUND) {
			status = first_step(&e, err);
		} else if (found == 0) {
			engine_done(&e);
			memset(&e, 0, sizeof(e));
			e.owner_fd = -1;
			r = join_job(&e, doc, deployment, changes_nothing, o, err);
			status = r == 0 ? later_step(&e, err) : r == ERR_LOCKED ? 5 : 2;
		} else {
			status = 2;
		}
	}
	engine_result_fill(&e, ret, status);
	return 0;
}

/* ---- deciding ---- */

static int commit_job(struct engine *e, struct err *err)
{
	int r = engine_commit(e, err);
	if (r == 0)
		return 0;
	e->reason = err ? *err : (struct err)ERR_INIT;
	if (r == ERR_FENCED || r == ERR_UNKNOWN)
		return 4;
	int undone = engine_undo_and_decide(e, 1, err);
	return undone == 0 ? 1 : undone;
}

static int decide_job(struct engine *e, const char *status, const char *on_failure, struct err *err)
{
	char *mark = NULL;
	size_t found;
	bool failed = json_get_bool(e->doc, "failed", false);
	bool hold = on_failure ? strcmp(on_failure, "hold") == 0 : e->hold;
	bool cancelled = strcmp(status, "cancelled") == 0;
	/* The job's end is being decided, whatever it was: a cancel has nothing left to stop, and half an undo helps nobody. */
	engine_past_cancel(e);
	int r = engine_take_over_all(e, &mark, &found, err);
	bool committed = mark && strcmp(mark, "committed") == 0;
	free(mark);
	if (r < 0)
		return r == ERR_LOCKED ? 5 : 4;
	if (committed)
		return engine_finish_commit(e, err) < 0 ? 4 : 0;
	/* A killed step did not report its failure, and the job may have continued (continue-on-error). */
	_cleanup_free_ char *half = failed ? NULL : engine_half_made(e);
	if (strcmp(status, "success") == 0 && !failed && half == NULL && e->state == DEPLOYMENT_OPEN)
		return commit_job(e, err);
	/* A copy: the journal's object gets another reason when it is held. */
	_cleanup_free_ char *why = xstrdup(half != NULL ? half : json_get_string(e->doc, "reason"));
	err_set(&e->reason, ERR_FAILED, "%s", why ? why : cancelled ? "the job was cancelled" : "the job failed");
	if (hold && !cancelled && e->state == DEPLOYMENT_OPEN) {
		engine_hold(e, why ? why : "the job failed", err);
		err_set(err, ERR_FAILED, "the deployment %s is held: %s", e->id, why ? why : "the job failed");
		return 4;
	}
	int undone = engine_undo_and_decide(e, cancelled ? 130 : 1, err);
	if (undone != 0)
		return undone;
	if (err)
		*err = e->reason;
	return cancelled ? 130 : 1;
}

int engine_finish(const char *status, const char *on_failure, const struct engine_options *o, struct engine_result *ret,
                  struct err *err)
{
	_cleanup_json_ json_t *doc = NULL;
	memset(ret, 0, sizeof(*ret));
	int r = find_job(o, &doc, err);
	if (r == ERR_NOT_FOUND) {
		if (err)
			err_clear(err);
		return 0;
	}
	if (r < 0) {
		ret->exit_status = 4;
		return 0;
	}
	_cleanup_(engine_done) struct engine e = {.owner_fd = -1};
	enum deployment_state state = engine_state_of(doc);
	if (state != DEPLOYMENT_OPEN && state != DEPLOYMENT_UNDOING) {
		/* Held, or decided and not cleaned: only recovery is left to do. */
		ret->exit_status = engine_recover_one(doc, o, NULL, ret, err);
		if (ret->id == NULL) {
			ret->id = xstrdup(json_get_string(doc, "id"));
			ret->state = state;
		}
		return 0;
	}
	r = engine_resume(&e, doc, o, NULL, true, err);
	int code = r == 0 ? decide_job(&e, status, on_failure, err) : r == ERR_LOCKED ? 5 : 4;
	engine_result_fill(&e, ret, code);
	return 0;
}
