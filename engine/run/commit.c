/* The end of a deployment: the anchor's mark, the journal, cleaning and the report. */
#include "engine/run/run_priv.h"

#include "base/core/clock.h"
#include "base/core/cancel.h"
#include "base/secret/seal.h"
#include <string.h>

enum { MARK_DEADLINE_MS = 5 * 60 * 1000, LONGEST_PAUSE_MS = 15000 };

/* ---- marking ---- */

static int anchor_mark_seen(struct engine *e, const char *mark, bool *ret, struct err *err)
{
	struct etarget *anchor = &e->targets[0];
	_cleanup_json_ json_t *record = NULL;
	*ret = false;
	int r = lock_read(&anchor->t->view, anchor->t->lock_dir, &record, err);
	if (r < 0)
		return r == ERR_NOT_FOUND ? err_set(err, ERR_FENCED, "the lock on '%s' is gone", anchor->name) : r;
	const char *token = json_get_string(record, "token");
	_cleanup_free_ char *there = NULL;
	if (token == NULL || strcmp(token, anchor->t->token) != 0)
		return err_set(err, ERR_FENCED, "the lock on '%s' was taken over", anchor->name);
	r = lock_read_mark(&anchor->t->view, anchor->t->lock_dir, record, &there, err);
	*ret = r == 0 && there && strcmp(there, mark) == 0;
	return r;
}

static int mark_until_known(struct engine *e, const char *mark, struct err *err)
{
	struct etarget *anchor = &e->targets[0];
	int64_t deadline = clock_mono_ms() + MARK_DEADLINE_MS, pause = 500;
	bool tried = false;
	for (;;) {
		int r = lock_mark(anchor->t, mark, err);
		engine_again(e, anchor, r, deadline - clock_mono_ms(), err);
		if (r == 0 || r == ERR_FENCED)
			return r;
		tried = tried || r != ERR_NETWORK;
		/* Full disk, no permission, a failed barrier: looks if it is marked, once nothing of ours can arrive any more. */
		bool marked = false;
		int look = engine_may_retry(r) ? engine_refence(e, anchor, err) : 0;
		if (look == 0)
			look = anchor_mark_seen(e, mark, &marked, err);
		if (look == ERR_FENCED)
			return look;
		if (look == 0 && !marked && !engine_may_retry(r))
			return r;
		if (clock_mono_ms() >= deadline)
			return look == 0 && !marked
			               ? ERR_TIMEOUT
			               : err_set(err, ERR_UNKNOWN,
			                         "the target '%s' is out of reach in the moment of the decision",
			                         anchor->name);
		wait_ms(&(struct wait)WAIT_INIT, pause, NULL);
		pause = MIN(pause * 2, LONGEST_PAUSE_MS);
	}
}

/* 0: marked and durable. ERR_UNKNOWN: the anchor is out of reach and nobody can tell. Anything else: surely not marked. A cancel comes too
 * late here: it could only leave the decision open. */
static int mark_anchor(struct engine *e, const char *mark, struct err *err)
{
	int cancel_fd = e->wait.cancel_fd;
	e->wait.cancel_fd = -1;
	int r = mark_until_known(e, mark, err);
	e->wait.cancel_fd = cancel_fd;
	return r;
}

int engine_barrier_all(struct engine *e, struct err *err)
{
	_cleanup_(plan_done) struct plan all = {0};
	int r = engine_changes(e, &all, err);
	for (size_t i = 0; r == 0 && i < e->host_count; i++) {
		struct etarget *et = &e->targets[i];
		const char **paths = xcalloc(all.count + 1, sizeof(*paths));
		size_t count = 0;
		for (size_t j = 0; j < all.count; j++)
			if (strcmp(all.changes[j].target, et->name) == 0 && change_has(&all.changes[j], CHANGE_FILES))
				paths[count++] = all.changes[j].path;
		for (int k = 0; count > 0 && k < 4; k++) {
			r = host_barrier(et->t, paths, count, err);
			if (!engine_again(e, et, r, engine_tries_left_ms(500, k, 4), err) ||
			    engine_pause(e, 500 << k, NULL) < 0)
				break;
		}
		free(paths);
	}
	return r;
}

char *engine_half_made(struct engine *e)
{
	_cleanup_(plan_done) struct plan all = {0};
	_cleanup_json_ json_t *steps = NULL;
	if (store_change_list(e->store, e->id, &all, NULL) < 0 || store_step_list(e->store, e->id, &steps, NULL) < 0)
		return xstrdup("the changes of the deployment cannot be read");
	for (size_t i = 0; i < all.count; i++) {
		const struct change *c = &all.changes[i];
		if (c->state == CHANGE_INTENT || c->state == CHANGE_STARTED || c->state == CHANGE_UNKNOWN)
			return xasprintf("step %d (%s) ended in the middle of its changes: '%s' on '%s' is not made",
			                 c->step_index + 1, c->step, c->path, c->target);
	}
	/* Between two of its targets: all recorded changes are made, and the rest was not even intended. */
	for (size_t i = 0; i < json_array_size(steps); i++) {
		const json_t *step = json_array_get(steps, i);
		const char *state = json_get_string(step, "state"), *name = json_get_string(step, "step");
		if (json_get_bool(step, "begun", false) && state && strcmp(state, "running") == 0)
			return xasprintf("step %d (%s) did not come to its end",
			                 (int)json_get_int(step, "index", 0) + 1, name ? name : "?");
	}
	return NULL;
}

int engine_commit(struct engine *e, struct err *err)
{
	/* The others before the anchor's mark: one that is cut off between the two must not go back from what is committed. */
	int r = engine_alone_disarm(e, 1, err);
	/* Looked at after the barrier: the observed state is durable. */
	if (r == 0)
		r = engine_barrier_all(e, err);
	if (r == 0)
		r = engine_verify_all(e, err);
	if (r == 0)
		r = wait_check(&e->wait, err);
	if (r == 0)
		r = engine_rows_commit(e, err);
	if (r < 0)
		return engine_settled_by_undo(r, err);
	r = mark_anchor(e, "committed", err);
	if (r < 0)
		return r;
	return engine_finish_commit(e, err);
}

/* ---- after the decision ---- */

static void mark_others(struct engine *e, const char *mark)
{
	for (size_t i = 1; i < e->host_count; i++)
		for (int k = 0; e->targets[i].locked && k < 4; k++) {
			int r = lock_mark(e->targets[i].t, mark, NULL);
			if (!engine_may_retry(r) || engine_pause(e, 300 << k, NULL) < 0)
				break;
		}
}

void engine_past_cancel(struct engine *e)
{
	if (e->wait.cancel_fd >= 0)
		cancel_reset();
}

int engine_finish_commit(struct engine *e, struct err *err)
{
	engine_past_cancel(e);
	json_t *members = json_pack("{s:I, s:i, s:n, s:b}", "decided_ms", (json_int_t)clock_wall_ms(), "exit_status", 0,
	                            "reason", "reported", 0);
	int r = e->state == DEPLOYMENT_COMMITTED ? 0
	                                         : engine_set_state(e, DEPLOYMENT_COMMITTED, json_incref(members), err);
	json_decref(members);
	/* The anchor is marked: if the journal cannot be written now, recovery corrects it. */
	if (r < 0) {
		char line[ERR_FRAME_SIZE];
		engine_say(e, "warning", "the deployment is committed, but its journal is not: %s",
		           err_line(err, line, sizeof(line)));
		e->state = DEPLOYMENT_COMMITTED;
		if (err)
			err_clear(err);
		return 0;
	}
	mark_others(e, "committed");
	engine_clean_and_tell(e, OUTCOME_COMMITTED, 0);
	return 0;
}

int engine_finish_undone(struct engine *e, int exit_status, struct err *err)
{
	engine_past_cancel(e);
	engine_alone_disarm_all(e);
	int r = engine_rows_settle(e, err);
	if (r == 0)
		r = e->target_count > 0 && e->targets[0].locked ? mark_anchor(e, "undone", err) : 0;
	if (r < 0)
		return r;
	json_t *members = json_pack("{s:I, s:i, s:b}", "decided_ms", (json_int_t)clock_wall_ms(), "exit_status",
	                            exit_status, "reported", 0);
	if (e->reason.code)
		json_object_set_new(members, "reason", engine_line(&e->reason));
	r = engine_set_state(e, DEPLOYMENT_UNDONE, members, err);
	if (r < 0)
		return r;
	mark_others(e, "undone");
	engine_clean_and_tell(e, OUTCOME_UNDONE, exit_status);
	return 0;
}

int engine_hold(struct engine *e, const char *reason, struct err *err)
{
	/* Not told yet: a recovery tells it where this process does not get to it. */
	json_t *members = json_pack("{s:i, s:O, s:b}", "exit_status", 4, "left_over", e->left_over, "reported", 0);
	if (reason)
		json_object_set_new(members, "reason", json_string_lossy(reason, strlen(reason)));
	if (reason && e->reason.code == 0)
		err_set(&e->reason, ERR_CONFLICT, "%s", reason);
	/* Nobody renews what is held. */
	engine_alone_disarm_all(e);
	int r = engine_set_state(e, DEPLOYMENT_HELD, members, err);
	if (r == 0)
		engine_settled(e, OUTCOME_HELD, 4);
	return r;
}

int engine_refuse(struct engine *e, int exit_status, struct err *err)
{
	char line[ERR_FRAME_SIZE];
	struct err why = ERR_INIT;
	json_t *members =
		json_pack("{s:I, s:i}", "decided_ms", (json_int_t)clock_wall_ms(), "exit_status", exit_status);
	if (err)
		json_object_set_new(members, "reason", engine_line(err));
	engine_past_cancel(e);
	/* The locks first: recovery frees the locks of a deployment that is `preparing`. */
	int r = engine_unlock_all(e, &why);
	/* If the journal may say `open`, recovery needs the targets' logins until it says otherwise; else it knows an entry without them. */
	if (r == 0 && !e->maybe_open)
		r = store_seal_erase(e->store, e->id, &why);
	if (r == 0)
		r = engine_set_state(e, DEPLOYMENT_REFUSED, json_incref(members), &why);
	json_decref(members);
	if (r == 0 && e->maybe_open)
		r = store_seal_erase(e->store, e->id, &why);
	if (r == 0)
		r = store_unlock(e->store, e->id, &why);
	if (r == 0) {
		lock_owner_drop(e->store, e->id, &e->owner_fd, true);
	} else {
		engine_say(e, "warning", "the locks could not be given back (recovery will): %s",
		           err_line(&why, line, sizeof(line)));
	}
	e->state = DEPLOYMENT_REFUSED;
	return r;
}

/* ---- cleaning ---- */

enum { CLEAN_TRIES = 4 };

/* A lost reply: nothing of ours may arrive after the lock is gone, and the next try cleans what is half done. */
static int clean_one(struct engine *e, struct estep *s, size_t j, struct err *err)
{
	int r = s->type->clean(&s->context, s->targets[j], err);
	for (int tries = 1; engine_may_retry(r) && tries < CLEAN_TRIES && engine_refence(e, s->etargets[j], err) >= 0;
	     tries++)
		r = s->type->clean(&s->context, s->targets[j], err);
	return r;
}

static void clean_steps(struct engine *e)
{
	for (size_t i = 0; i < e->step_count; i++) {
		struct estep *s = &e->steps[i];
		for (size_t j = 0; s->type->clean && j < s->target_count; j++) {
			struct err why = ERR_INIT;
			char line[ERR_FRAME_SIZE];
			if (s->etargets[j]->anchor->locked && clean_one(e, s, j, &why) < 0)
				engine_say(e, "warning", "%s: cleaning on '%s': %s", s->display, s->etargets[j]->name,
				           err_line(&why, line, sizeof(line)));
		}
	}
}

void engine_clean(struct engine *e, bool committed)
{
	struct err why = ERR_INIT;
	char line[ERR_FRAME_SIZE];
	if (committed) {
		engine_note_passed(e);
		clean_steps(e);
		engine_rows_keep_copy(e);
	}
	int r = committed ? engine_rows_settle(e, &why) : 0;
	if (r == 0)
		r = engine_unlock_all(e, &why);
	if (r == 0)
		r = store_seal_erase(e->store, e->id, &why);
	if (r == 0) {
		_cleanup_json_ json_t *members = json_pack("{s:b}", "cleaned", 1);
		r = store_deployment_set(e->store, e->id, members, &why);
		if (r == ERR_NO_SPACE) {
			store_give_up_reserve(e->store);
			r = store_deployment_set(e->store, e->id, members, &why);
		}
	}
	if (r == 0)
		r = store_unlock(e->store, e->id, &why);
	if (r == 0)
		lock_owner_drop(e->store, e->id, &e->owner_fd, true);
	else
		engine_say(e, "warning", "cleaning is not complete (davit recover continues it): %s",
		           err_line(&why, line, sizeof(line)));
}

/* line: where the reason is written. The report is the caller's. */
static struct step_outcome outcome_of(struct engine *e, enum outcome_state state, int exit_status,
                                      char line[ERR_FRAME_SIZE])
{
	bool has_reason = state != OUTCOME_COMMITTED && e->reason.code != 0;
	return (struct step_outcome){
		.state = state,
		.exit_status = exit_status,
		.reason = has_reason ? err_line(&e->reason, line, ERR_FRAME_SIZE) : NULL,
		.report = engine_report(e),
		.recovered = e->recovered,
	};
}

void engine_clean_and_tell(struct engine *e, enum outcome_state state, int exit_status)
{
	char line[ERR_FRAME_SIZE];
	struct step_outcome outcome = outcome_of(e, state, exit_status, line);
	for (size_t i = 0; i < e->step_count; i++)
		if (e->steps[i].type->deciding)
			e->steps[i].type->deciding(&e->steps[i].context, &outcome);
	json_decref((json_t *)outcome.report);
	engine_clean(e, state == OUTCOME_COMMITTED);
	engine_settled(e, state, exit_status);
}

void engine_settled(struct engine *e, enum outcome_state state, int exit_status)
{
	char line[ERR_FRAME_SIZE], text[ERR_FRAME_SIZE];
	struct step_outcome outcome = outcome_of(e, state, exit_status, text);
	for (size_t i = 0; i < e->step_count; i++) {
		struct err why = ERR_INIT;
		struct estep *s = &e->steps[i];
		if (s->type->settled && s->type->settled(&s->context, &outcome, &why) < 0)
			engine_say(e, "warning", "%s: %s", s->display, err_line(&why, line, sizeof(line)));
	}
	json_decref((json_t *)outcome.report);
	if (e->recorded) {
		_cleanup_json_ json_t *members = json_pack("{s:b}", "reported", 1);
		store_deployment_set(e->store, e->id, members, NULL);
	}
}

/* ---- failure ---- */

static int hold_failed(struct engine *e, struct err *err)
{
	char line[ERR_FRAME_SIZE];
	_cleanup_free_ char *reason = xstrdup(err_line(&e->reason, line, sizeof(line)));
	int r = engine_hold(e, reason, err);
	if (r < 0)
		engine_say(e, "warning", "the deployment is held, but its journal cannot say so: %s",
		           err_line(err, line, sizeof(line)));
	if (err) {
		*err = e->reason;
		err->hint[0] = '\0';
		err_hint(err, err->code, "davit show %s; then davit rollback %s, or davit unlock %s.%s --accept", e->id,
		         e->id, e->name, e->environment);
	}
	e->state = DEPLOYMENT_HELD;
	return r;
}

void engine_fail(struct engine *e, int code, struct err *err, struct engine_result *ret)
{
	bool cancelled = code == ERR_CANCELLED;
	char line[ERR_FRAME_SIZE];
	if (err)
		e->reason = *err;
	e->reason.code = code;
	engine_say(e, "error", "%s", err_line(&e->reason, line, sizeof(line)));
	if (code == ERR_FENCED || code == ERR_UNKNOWN) {
		engine_alone_fenced(e);
		/* Taken over, or unknown: not ours to continue. */
		if (err)
			err_hint(err, code, "davit recover %s", e->id);
		engine_result_fill(e, ret, 4);
		return;
	}
	if (e->hold && !cancelled) {
		hold_failed(e, err);
		engine_result_fill(e, ret, 4);
		return;
	}
	engine_past_cancel(e);
	struct err why = ERR_INIT;
	int r = engine_set_state(e, DEPLOYMENT_UNDOING, NULL, &why);
	if (r < 0)
		engine_say(e, "warning", "%s", err_line(&why, line, sizeof(line)));
	engine_say(e, "info", "taking back what was changed");
	r = engine_undo(e, &why);
	int status = cancelled ? 130 : 1;
	if (r == 0)
		r = engine_finish_undone(e, status, &why);
	if (r == 0) {
		engine_result_fill(e, ret, status);
		return;
	}
	engine_say(e, "error", "%s", err_line(&why, line, sizeof(line)));
	if (r == ERR_FENCED) {
		engine_alone_fenced(e);
		if (err)
			err_hint(err, code, "davit recover %s", e->id);
	}
	if (r == ERR_CONFLICT || r == ERR_CANCELLED) {
		engine_leave_rest(e, r);
		hold_failed(e, err);
	}
	engine_result_fill(e, ret, 4);
}
