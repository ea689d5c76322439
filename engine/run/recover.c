/* Recovers the deployment of a dead process: prove that it is dead, take over, look, then finish the commit, undo, or hold. */
#include "engine/run/run_priv.h"

#include "base/core/clock.h"
#include "base/core/cancel.h"
#include "base/secret/seal.h"
#include <inttypes.h>
#include <string.h>

/* The undo of a step that never ran is worse than none. */
static int not_these_steps(struct engine *e, struct err *err)
{
	char line[ERR_FRAME_SIZE];
	_cleanup_json_ json_t *steps = NULL;
	struct err why = ERR_INIT;
	int r = e->from_file ? store_step_list(e->store, e->id, &steps, &why) : 0;
	if (r == 0 && e->from_file)
		r = engine_check_steps(e, steps, &why);
	if (r == 0)
		return 0;
	_cleanup_free_ char *reason = xstrdup(err_line(&why, line, sizeof(line)));
	engine_hold(e, reason, NULL);
	err_set(err, r, "%s", reason);
	return err_hint(
		err, r,
		"nothing was undone: davit rollback %s --file FILE with the file as it was, or davit unlock %s.%s --accept",
		e->id, e->name, e->environment);
}

/* The file was given since nothing is sealed here, as where a takeover died before it sealed: once its steps are known to be those that ran,
 * the id is enough for whoever comes next. */
static int go_on_with_file(struct engine *e, struct err *err)
{
	char line[ERR_FRAME_SIZE];
	struct err why = ERR_INIT;
	int r = not_these_steps(e, err);
	if (r == 0 && e->from_file && engine_seal(e, &why) < 0)
		engine_say(e, "warning", "%s", err_line(&why, line, sizeof(line)));
	return r;
}

int engine_undo_and_decide(struct engine *e, int recorded_status, struct err *err)
{
	char line[ERR_FRAME_SIZE];
	struct err why = ERR_INIT;
	engine_past_cancel(e);
	if (go_on_with_file(e, err) < 0)
		return 4;
	if (engine_set_state(e, DEPLOYMENT_UNDOING, NULL, &why) < 0)
		engine_say(e, "warning", "%s", err_line(&why, line, sizeof(line)));
	int r = engine_undo(e, err);
	if (r == 0)
		r = engine_finish_undone(e, recorded_status, err);
	if (r == 0)
		return 0;
	_cleanup_free_ char *reason = xstrdup(err ? err_line(err, line, sizeof(line)) : "the undo failed");
	if (r == ERR_CONFLICT || r == ERR_CANCELLED) {
		engine_leave_rest(e, r);
		engine_hold(e, reason, &why);
	}
	if (err)
		err_hint(err, r,
		         "davit show %s; then davit rollback %s (--force overwrites), or davit unlock %s.%s --accept",
		         e->id, e->id, e->name, e->environment);
	return 4;
}

/* True for a job that ended between its steps with an unknown result. A runner that decides at the job's end did not get there. */
static bool outcome_is_unknown(struct engine *e)
{
	_cleanup_json_ json_t *steps = NULL;
	if (json_get_string(e->doc, "job_key") == NULL || json_get_bool(e->doc, "failed", false) ||
	    json_get_bool(e->doc, "runner_decides", false))
		return false;
	if (store_step_list(e->store, e->id, &steps, NULL) < 0 || json_array_size(steps) == 0)
		return false;
	const char *state = json_get_string(json_array_get(steps, json_array_size(steps) - 1), "state");
	return state && strcmp(state, "done") == 0;
}

static int recover_open(struct engine *e, const char *mark, size_t found, struct err *err)
{
	if (mark && strcmp(mark, "committed") == 0) {
		/* Seen, but perhaps not yet durable: marks it again, durably. */
		int r = e->targets[0].locked ? lock_mark(e->targets[0].t, "committed", err) : 0;
		return r < 0 || engine_finish_commit(e, err) < 0 ? 4 : 0;
	}
	if (mark && strcmp(mark, "undone") == 0)
		return engine_finish_undone(e, 1, err) < 0 ? 4 : 0;
	if (found == 0)
		return engine_settle_by_looking(e, err);
	/* A takeover that died before it had read the copies. */
	if (e->from_copy && engine_import_changes(e, err) < 0)
		return 4;
	/* If nothing was begun there is nothing to hold. */
	if (e->state == DEPLOYMENT_OPEN && engine_anything_begun(e) && (e->hold || outcome_is_unknown(e))) {
		if (go_on_with_file(e, err) < 0)
			return 4;
		_cleanup_free_ char *reason =
			xasprintf(e->hold ? "the process that deployed died; on_failure is hold"
		                          : "the job ended between its steps, and nobody said how");
		engine_hold(e, reason, err);
		err_set(err, ERR_CONFLICT, "%s", reason);
		err_hint(err, ERR_CONFLICT, "davit unlock %s.%s --accept, or davit rollback %s", e->name,
		         e->environment, e->id);
		return 4;
	}
	if (e->reason.code == 0)
		err_set(&e->reason, ERR_FAILED, "the process that deployed died");
	return engine_undo_and_decide(e, 1, err);
}

static int recover_preparing(struct engine *e, struct err *err)
{
	/* People had been asked, and may have agreed: nothing of that is lost. */
	if (json_object_get(e->doc, "parked")) {
		int parked = engine_park_again(e, err);
		if (parked == 0)
			engine_say(e, "info", "%s was to go on, and waits again: nothing was changed", e->id);
		return parked < 0 ? 4 : 0;
	}
	if (e->reason.code == 0)
		err_set(&e->reason, ERR_FAILED, "the process died before the first change");
	struct err why = e->reason;
	int r = engine_refuse(e, 2, &why);
	return r < 0 ? (err_set(err, r, "the locks of %s cannot be given back yet", e->id), 4) : 0;
}

/* Its locks were given back before it was recorded as refused. */
static int recover_refused(struct engine *e, struct err *err)
{
	int r = engine_unlock_all(e, err);
	if (r == 0)
		r = store_seal_erase(e->store, e->id, err);
	if (r == 0)
		r = store_unlock(e->store, e->id, err);
	if (r == 0)
		lock_owner_drop(e->store, e->id, &e->owner_fd, true);
	return r < 0 ? 4 : 0;
}

static void finish_cleaning(struct engine *e, enum outcome_state state, int exit_status)
{
	if (json_get_bool(e->doc, "reported", false))
		engine_clean(e, state == OUTCOME_COMMITTED);
	else
		engine_clean_and_tell(e, state, exit_status);
}

static int recover_loaded(struct engine *e, struct err *err)
{
	_cleanup_free_ char *mark = NULL;
	size_t found = 0;
	char line[ERR_FRAME_SIZE];
	int r = engine_take_over_all(e, &mark, &found, err);
	if (r < 0) {
		engine_say(e, "warning", "%s: %s", e->id,
		           err ? err_line(err, line, sizeof(line)) : "the locks cannot be taken over");
		return r == ERR_LOCKED || r == ERR_FENCED ? 5 : 4;
	}
	_cleanup_json_ json_t *owner = lock_owner_process(0);
	_cleanup_json_ json_t *members = json_pack("{s:O}", "owner", owner);
	store_deployment_set(e->store, e->id, members, NULL);
	switch (e->state) {
	case DEPLOYMENT_PREPARING:
		return recover_preparing(e, err);
	case DEPLOYMENT_COMMITTED:
		finish_cleaning(e, OUTCOME_COMMITTED, 0);
		return 0;
	case DEPLOYMENT_UNDONE:
		finish_cleaning(e, OUTCOME_UNDONE, 1);
		return 0;
	case DEPLOYMENT_OPEN:
	case DEPLOYMENT_UNDOING:
		return recover_open(e, mark, found, err);
	case DEPLOYMENT_REFUSED:
		return recover_refused(e, err);
	case DEPLOYMENT_HELD:
	case DEPLOYMENT_PARKED:
	default:
		return 4;
	}
}

/* Nothing is left but the journal's own entry: it died before the targets' logins were sealed, so before the first lock; or after they were
 * erased, so after the last lock was given back. */
static int close_entry(const json_t *doc, const struct engine_options *o, struct err *err)
{
	const char *id = json_get_string(doc, "id");
	enum deployment_state state = engine_state_of(doc);
	_cleanup_json_ json_t *members = json_object();
	bool elsewhere = false;
	int fd = -1;
	int r = lock_owner_claim(o->store, id, &fd, &elsewhere, err);
	/* No target has anything that could be watched: from here on the journal itself refuses what another machine would begin. */
	if (r == 0 && elsewhere) {
		r = store_take_over(o->store, id, err);
		if (r < 0)
			lock_owner_drop(o->store, id, &fd, false);
	}
	if (r < 0)
		return r == ERR_LOCKED || r == ERR_FENCED ? 5 : 4;
	if (state == DEPLOYMENT_PREPARING) {
		json_object_set_new(members, "state", json_string(deployment_state_name(DEPLOYMENT_REFUSED)));
		json_object_set_new(members, "exit_status", json_integer(2));
		json_object_set_new(members, "reason", json_string("the process died before the first change"));
	} else if (state != DEPLOYMENT_REFUSED) {
		json_object_set_new(members, "cleaned", json_true());
	}
	r = store_deployment_set(o->store, id, members, err);
	if (r == 0)
		r = store_unlock(o->store, id, err);
	lock_owner_drop(o->store, id, &fd, r == 0);
	return r < 0 ? 4 : 0;
}

static bool only_the_entry_is_left(const json_t *doc)
{
	switch (engine_state_of(doc)) {
	case DEPLOYMENT_REFUSED:
		return true;
	case DEPLOYMENT_PREPARING:
	case DEPLOYMENT_COMMITTED:
	case DEPLOYMENT_UNDONE:
		return engine_state_of(doc) == DEPLOYMENT_PREPARING || json_get_bool(doc, "sealed", false);
	case DEPLOYMENT_OPEN:
	case DEPLOYMENT_UNDOING:
	case DEPLOYMENT_HELD:
	case DEPLOYMENT_PARKED:
	default:
		return false;
	}
}

/* A recovery that nobody asked for appears in the log of another deployment: it gets its own heading and end. */
static void say_heading(struct engine *e)
{
	engine_say(e, "group", "Recovery of %s: the process that deployed it is gone", e->id);
}

static void say_end(struct engine *e, int64_t begun_ms, int status, const struct err *why)
{
	_cleanup_(plan_done) struct plan all = {0};
	char spent[CLOCK_TEXT_SIZE], line[ERR_FRAME_SIZE];
	engine_changes(e, &all, NULL);
	engine_say(e, "info", "%s %s: %zu change%s, %s", e->id, deployment_state_name(e->state), all.count,
	           all.count == 1 ? "" : "s", clock_duration(MAX(clock_mono_ms() - begun_ms, (int64_t)1), spent));
	engine_say(e, "endgroup", "%s", e->id);
	if (status != 0 && why->code != 0) {
		engine_say(e, "warning", "%s", err_line(why, line, sizeof(line)));
		if (why->hint[0] != '\0')
			engine_say(e, "info", "  %s", why->hint);
	}
}

/* Held, and its process died before it had said so. What is told is of the journal alone: no target is asked. Where it cannot be loaded, since
 * nothing is sealed, it stays untold until its file is given. */
static void tell_held(const json_t *doc, const struct engine_options *o, const struct deployment *given)
{
	_cleanup_(engine_done) struct engine e = {.owner_fd = -1};
	struct err ignored = ERR_INIT;
	if (json_get_bool(doc, "reported", false) || engine_resume(&e, doc, o, given, false, &ignored) < 0)
		return;
	const char *reason = json_get_string(e.doc, "reason");
	e.recovered = true;
	if (reason)
		err_set(&e.reason, ERR_CONFLICT, "%s", reason);
	json_array_extend(e.left_over, json_get_array(e.doc, "left_over"));
	if (e.state == DEPLOYMENT_HELD && !json_get_bool(e.doc, "reported", false))
		engine_settled(&e, OUTCOME_HELD, 4);
	lock_owner_drop(e.store, e.id, &e.owner_fd, false);
}

static int recover_one(const json_t *doc, const struct engine_options *o, const struct deployment *given, bool unasked,
                       struct engine_result *ret, struct err *err)
{
	_cleanup_(engine_done) struct engine e = {.owner_fd = -1};
	enum deployment_state state = engine_state_of(doc);
	if (engine_check_machine(o->store, doc, err) < 0)
		return 5;
	if (state == DEPLOYMENT_HELD) {
		tell_held(doc, o, given);
		const char *reason = json_get_string(doc, "reason");
		err_set(err, ERR_CONFLICT, "the deployment %s is held: %s", json_get_string(doc, "id"),
		        reason ? reason : "");
		return 4;
	}
	if (state == DEPLOYMENT_PARKED)
		return engine_recover_parked(doc, o, unasked, err);
	int r = engine_resume(&e, doc, o, given, false, err);
	if (r == ERR_AUTH && only_the_entry_is_left(doc) && !json_get_bool(doc, "unsealed", false)) {
		if (err)
			err_clear(err);
		return close_entry(doc, o, err);
	}
	if (r == ERR_LOCKED)
		return 5;
	if (r < 0)
		return 4;
	int64_t begun_ms = clock_mono_ms();
	e.recovered = true;
	if (unasked)
		say_heading(&e);
	int status = recover_loaded(&e, err);
	if (unasked)
		say_end(&e, begun_ms, status, err);
	if (ret)
		engine_result_fill(&e, ret, status);
	return status;
}

int engine_recover_one(const json_t *doc, const struct engine_options *o, const struct deployment *given,
                       struct engine_result *ret, struct err *err)
{
	return recover_one(doc, o, given, false, ret, err);
}

/* Recovery begins: removes leftovers of a previous one that died. */
static void sweep_sealed(const struct engine_options *o)
{
	char line[ERR_FRAME_SIZE];
	struct err why = ERR_INIT;
	if (store_seal_sweep(o->store, &why) < 0 && o->report)
		o->report(o->report_context, "warning", err_line(&why, line, sizeof(line)));
}

int engine_recover_environment(const struct engine_options *o, const char *name, const char *environment)
{
	_cleanup_json_ json_t *list = NULL;
	const struct store_filter filter = {.name = name, .environment = environment, .undecided = true};
	sweep_sealed(o);
	if (store_deployment_list(o->store, &filter, &list, NULL) < 0)
		return 0;
	/* The caller's expected plan and `force` do not apply to other deployments. */
	struct engine_options plain = *o;
	plain.expect_digest = NULL;
	plain.force = plain.keep_open = false;
	plain.job_key = NULL;
	plain.deployment = NULL;
	for (size_t i = 0; i < json_array_size(list); i++) {
		struct err why = ERR_INIT;
		recover_one(json_array_get(list, i), &plain, NULL, true, NULL, &why);
	}
	/* Recovery continues after a cancel; the caller's own work does not begin. */
	if (o->wait && o->wait->cancel_fd >= 0)
		cancel_again();
	return 0;
}

static int worse(int a, int b)
{
	return a == 4 || b == 4 ? 4 : MAX(a, b);
}

/* One of several: the last of them is the result itself. */
static void add_decided(struct engine_result *all, struct engine_result *one)
{
	json_t *decided = all->decided != NULL ? TAKE(all->decided) : json_array();
	if (one->id != NULL) {
		json_array_append_new(decided, json_pack("{s:i, s:s, s:s, s:O?}", "exit_status", one->exit_status,
		                                         "state", deployment_state_name(one->state), "id", one->id,
		                                         "report", one->report));
		engine_result_done(all);
		*all = *one;
		memset(one, 0, sizeof(*one));
	}
	all->decided = decided;
	engine_result_done(one);
}

static int recover_listed(const struct engine_recover_options *r, const struct engine_options *o,
                          struct engine_result *ret, struct err *err)
{
	_cleanup_json_ json_t *list = NULL;
	const struct store_filter filter = {.undecided = true};
	int status = 0;
	if (store_deployment_list(o->store, &filter, &list, err) < 0)
		return 2;
	for (size_t i = json_array_size(list); i-- > 0;) {
		struct err why = ERR_INIT;
		struct engine_result its = {0};
		int one = engine_recover_one(json_array_get(list, i), o, r->deployment, &its, &why);
		/* One that lives is none of our business when nobody named it; one whose lock another machine has needs a person. */
		if (one == 5 && why.code != ERR_FENCED) {
			char line[ERR_FRAME_SIZE];
			if (o->report)
				o->report(o->report_context, "info", err_line(&why, line, sizeof(line)));
			engine_result_done(&its);
			continue;
		}
		add_decided(ret, &its);
		if (one != 0 && err)
			*err = why;
		status = worse(status, one);
	}
	return status;
}

/* It is held here, and another machine has a lock of it by now: what this journal says of it is no longer what decides. */
static bool is_held_elsewhere(json_t *doc, const struct deployment *given, const struct engine_options *o)
{
	_cleanup_(engine_done) struct engine e = {.owner_fd = -1};
	struct err ignored = ERR_INIT;
	bool elsewhere = false;
	if (engine_state_of(doc) != DEPLOYMENT_HELD || engine_load_known(&e, doc, o, given, &ignored) < 0 ||
	    engine_open_targets(&e, &ignored) < 0)
		return false;
	for (size_t i = 0; !elsewhere && i < e.host_count; i++) {
		struct view *v = &e.targets[i].t->view;
		_cleanup_free_ char *dir = lock_dir_of(v, e.name, e.environment);
		_cleanup_json_ json_t *record = NULL;
		if (lock_read(v, dir, &record, &ignored) < 0)
			continue;
		const char *id = json_get_string(record, "deployment");
		elsewhere = id && strcmp(id, e.id) == 0 && !engine_is_of_this_journal(&e, record);
	}
	return elsewhere;
}

/* With its file: a lock that another machine holds by now is taken over like that of an unknown deployment. */
static int recover_or_take_over(json_t *doc, const struct engine_recover_options *r, const struct engine_options *o,
                                struct engine_result *ret, struct err *err)
{
	struct err why = ERR_INIT;
	if (r->takeover && is_held_elsewhere(doc, r->deployment, o))
		return engine_recover_from_targets(r, o, ret, err);
	int status = engine_recover_one(doc, o, r->deployment, ret, &why);
	if (status == 5 && why.code == ERR_FENCED && r->takeover)
		return engine_recover_from_targets(r, o, ret, err);
	if (err && why.code != 0)
		*err = why;
	return status;
}

int engine_recover(const struct engine_recover_options *r, const struct engine_options *o, struct engine_result *ret,
                   struct err *err)
{
	memset(ret, 0, sizeof(*ret));
	sweep_sealed(o);
	if (r->id) {
		_cleanup_json_ json_t *doc = NULL;
		int got = store_deployment_get(o->store, r->id, &doc, err);
		if (got < 0) {
			err_hint(
				err, got,
				"davit history lists the deployments that this host knows; a file is named by its path");
			ret->exit_status = 2;
			return 0;
		}
		enum deployment_state state = engine_state_of(doc);
		bool done =
			state == DEPLOYMENT_REFUSED || ((state == DEPLOYMENT_COMMITTED || state == DEPLOYMENT_UNDONE) &&
		                                        json_get_bool(doc, "cleaned", false));
		ret->exit_status = done ? 0 : engine_recover_one(doc, o, r->deployment, ret, err);
		ret->state = done ? state : ret->state;
		return 0;
	}
	if (r->deployment) {
		const char *name = json_get_string(r->deployment->json, "name"),
			   *environment = json_get_string(r->deployment->json, "environment");
		_cleanup_json_ json_t *list = NULL;
		const struct store_filter filter = {.name = name, .environment = environment, .undecided = true};
		int got = store_deployment_list(o->store, &filter, &list, err);
		/* One that waits for people has nothing on the targets. */
		for (size_t i = json_array_size(list); got == 0 && i-- > 0;)
			if (engine_state_of(json_array_get(list, i)) == DEPLOYMENT_PARKED) {
				engine_recover_one(json_array_get(list, i), o, NULL, NULL, err);
				json_array_remove(list, i);
			}
		if (got == 0 && json_array_size(list) > 0) {
			int status = 0;
			for (size_t i = json_array_size(list); i-- > 0;)
				status = worse(status, recover_or_take_over(json_array_get(list, i), r, o, ret, err));
			ret->exit_status = status;
			return 0;
		}
		ret->exit_status = engine_recover_from_targets(r, o, ret, err);
		return 0;
	}
	ret->exit_status = recover_listed(r, o, ret, err);
	return 0;
}
