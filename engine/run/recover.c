/* Recovers the deployment of a dead process: prove that it is dead, take over, look, then finish the commit, undo, or hold. */
#include "engine/run/run_priv.h"

#include "base/core/clock.h"
#include "base/core/cancel.h"
#include "base/secret/seal.h"
#include <inttypes.h>
#include <string.h>

enum { MAX_SEALED = 16 << 20 };

enum deployment_state engine_state_of(const json_t *doc)
{
	const char *name = json_get_string(doc, "state");
	for (int s = DEPLOYMENT_PREPARING; name && s <= DEPLOYMENT_PARKED; s++)
		if (strcmp(deployment_state_name((enum deployment_state)s), name) == 0)
			return (enum deployment_state)s;
	return DEPLOYMENT_HELD;
}

/* ---- loading ---- */

static int read_sealed(struct store *s, const char *id, json_t **ret, struct err *err)
{
	_cleanup_(str_done) struct str text = STR_SECRET_INIT(MAX_SEALED + 1024);
	int r = seal_read(store_dir(s), id, &text, err);
	return r < 0 ? r : json_parse(str_peek(&text), text.len, MAX_SEALED, ret, err);
}

/* *ret_given: what was given in place of a sealed object that is not there; NULL: it is. */
static int find_object(const json_t *doc, const struct engine_options *o, const struct deployment *given, json_t **ret,
                       const struct deployment **ret_given, struct err *err)
{
	const char *id = json_get_string(doc, "id");
	_cleanup_json_ json_t *object = NULL;
	int r = read_sealed(o->store, id, &object, err);
	const struct deployment *other = given ? given : o->deployment;
	if (r < 0 && other) {
		object = json_deep_copy(other->json);
		*ret_given = other;
		r = 0;
	}
	if (r == ERR_NOT_FOUND) {
		err_set(err, ERR_AUTH, "what the undo of %s needs was not sealed on this host", id);
		return err_hint(err, ERR_AUTH,
		                "give the deployment file and its secrets: davit recover FILE --secret NAME");
	}
	if (r < 0)
		return r;
	json_object_set(object, "id", json_object_get(doc, "id"));
	json_object_set(object, "name", json_object_get(doc, "name"));
	json_object_set(object, "environment", json_object_get(doc, "environment"));
	*ret = TAKE(object);
	return 0;
}

int engine_load_history(struct engine *e, struct err *err)
{
	_cleanup_json_ json_t *steps = NULL, *events = NULL;
	int r = store_step_list(e->store, e->id, &steps, err);
	if (r == 0)
		r = store_event_list(e->store, e->id, &events, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < json_array_size(steps); i++) {
		const json_t *s = json_array_get(steps, i);
		int64_t index = json_get_int(s, "index", -1);
		if (index >= 0 && (size_t)index < e->step_count)
			e->steps[index].begun = json_get_bool(s, "begun", false) || e->from_copy;
	}
	for (size_t i = 0; i < json_array_size(events); i++) {
		const json_t *event = json_array_get(events, i);
		int64_t index = json_get_int(event, "step", -1);
		const char *kind = json_get_string(event, "kind");
		const json_t *data = json_object_get(event, "data"), *healthy = json_object_get(data, "healthy");
		if (kind == NULL || strcmp(kind, "baseline") != 0 || index < 0 || (size_t)index >= e->step_count)
			continue;
		/* What single checks saw has neither. */
		if (healthy == NULL && !json_get_bool(data, "open", false))
			continue;
		e->steps[index].baseline_open = healthy == NULL;
		e->steps[index].has_baseline = healthy != NULL;
		e->steps[index].baseline_ok = json_is_true(healthy);
	}
	return 0;
}

/* The journal counts the steps that a rollback kept, a file has all its steps: the gate of a baseline is unknown then. */
static void doubt_baselines(struct engine *e)
{
	const struct estep *way_back = engine_way_back_of(e);
	for (size_t i = 0; way_back && (size_t)way_back->index + 1 < e->step_count && i < e->step_count; i++) {
		e->steps[i].has_baseline = e->steps[i].type->probe != NULL;
		e->steps[i].baseline_ok = false;
	}
}

/* Between the steps of a job none of our processes lives: the runner's does, as long as another step may come. */
static bool job_goes_on(const json_t *doc)
{
	const json_t *runner = json_object_get(doc, "runner");
	return runner && engine_state_of(doc) == DEPLOYMENT_OPEN && !lock_owner_process_gone(runner);
}

/* Loads it, owned or not, from the journal and the sealed object, or the file. */
static int load_known(struct engine *e, json_t *doc, const struct engine_options *o, const struct deployment *given,
                      struct err *err)
{
	_cleanup_json_ json_t *object = NULL;
	const struct deployment *file = NULL;
	int r = find_object(doc, o, given, &object, &file, err);
	if (r < 0)
		return r;
	bool from_file = file != NULL;
	struct deployment known = from_file ? *file : (struct deployment){0};
	known.json = object;
	r = from_file ? engine_load(e, &known, o, err) : engine_load_recorded(e, object, o, err);
	if (r == 0 && from_file)
		r = engine_recall_way_back(e, doc, err);
	if (r < 0)
		return r;
	e->recorded = true;
	e->from_file = from_file;
	e->doc = json_incref(doc);
	e->state = engine_state_of(e->doc);
	e->from_copy = json_get_bool(e->doc, "from_copy", false);
	if (e->state == DEPLOYMENT_UNDOING)
		e->hold = false;
	return 0;
}

int engine_load_to_look(struct engine *e, const json_t *doc, const struct engine_options *o, struct err *err)
{
	return load_known(e, (json_t *)doc, o, o->deployment, err);
}

int engine_resume(struct engine *e, const json_t *doc, const struct engine_options *o, const struct deployment *given,
                  bool in_job, struct err *err)
{
	_cleanup_json_ json_t *fresh = NULL;
	const char *id = json_get_string(doc, "id");
	int fd = -1;
	int r = lock_owner_claim(o->store, id, &fd, err);
	if (r < 0)
		return r;
	/* Read again: the owner may have worked until just now. */
	r = store_deployment_get(o->store, id, &fresh, err);
	if (r == 0 && !in_job && job_goes_on(fresh))
		r = err_set(err, ERR_LOCKED, "the job of the deployment %s is still running", id);
	if (r == 0)
		r = load_known(e, fresh, o, given, err);
	if (r < 0) {
		lock_owner_drop(o->store, id, &fd, false);
		return r;
	}
	e->owner_fd = fd;
	r = engine_load_history(e, err);
	if (e->from_file)
		doubt_baselines(e);
	return r;
}

/* ---- taking over ---- */

static bool is_of_this_journal(const struct engine *e, const json_t *record)
{
	const char *store = json_get_string(record, "store_id");
	return store && strcmp(store, store_id(e->store)) == 0;
}

static int take_one_over(struct engine *e, struct etarget *et, bool *ret_found, struct err *err)
{
	_cleanup_free_ char *dir = lock_dir_of(&et->t->view, e->name, e->environment);
	_cleanup_json_ json_t *record = NULL;
	int r = lock_read(&et->t->view, dir, &record, err);
	if (r == ERR_NOT_FOUND)
		return 0;
	if (r < 0)
		return r;
	const char *id = json_get_string(record, "deployment");
	if (id == NULL || strcmp(id, e->id) != 0)
		return 0;
	if (!is_of_this_journal(e, record)) {
		_cleanup_free_ char *who = lock_describe(record);
		err_set(err, ERR_FENCED,
		        "another machine took the deployment over, or this journal was on another one: '%s' is locked %s",
		        et->name, who);
		return err_hint(err, ERR_FENCED, "if that machine is gone for good: davit recover FILE --takeover");
	}
	*ret_found = true;
	return engine_take_over_target(e, et, record, err);
}

/* Only now: decisions of the previous owner count until its tokens were gone. Another target's mark counts if the anchor has no lock
 * of ours any more: it gives its lock back last, and the others are marked after it. */
int engine_mark_there(struct engine *e, char **ret_mark, struct err *err)
{
	*ret_mark = NULL;
	for (size_t i = 0; i < e->host_count; i++) {
		struct target *t = e->targets[i].t;
		_cleanup_json_ json_t *record = NULL;
		if (!e->targets[i].locked || t->lock_dir == NULL)
			continue;
		int r = 0;
		for (int k = 0; k < 4; k++) {
			r = lock_read(&t->view, t->lock_dir, &record, err);
			if (!engine_may_retry(r) || engine_pause(e, 500 << k, NULL) < 0)
				break;
		}
		if (r < 0)
			return r == ERR_NOT_FOUND ? err_set(err, ERR_FENCED, "the lock on '%s' is gone", t->view.name)
			                          : r;
		const char *mark = json_get_string(record, "mark");
		*ret_mark = mark ? xstrdup(mark) : NULL;
		if (i == 0 || mark)
			return 0;
	}
	return 0;
}

int engine_take_over_all(struct engine *e, char **ret_mark, size_t *ret_found, struct err *err)
{
	*ret_found = 0;
	int r = engine_open_targets(e, err);
	for (size_t i = 0; r == 0 && i < e->host_count; i++) {
		bool found = false;
		for (int k = 0; k < 4; k++) {
			r = take_one_over(e, &e->targets[i], &found, err);
			if (!engine_again(e, &e->targets[i], r, engine_tries_left_ms(500, k, 4), err) ||
			    engine_pause(e, 500 << k, NULL) < 0)
				break;
		}
		*ret_found += found;
		if (r == 0 && found)
			engine_alone_hear(e, &e->targets[i]);
	}
	return r < 0 || ret_mark == NULL ? r : engine_mark_there(e, ret_mark, err);
}

/* ---- no locks: another machine finished it ---- */

static bool path_changed_before(const struct plan *all, size_t i)
{
	for (size_t j = 0; j < i; j++)
		if (strcmp(all->changes[j].target, all->changes[i].target) == 0 &&
		    strcmp(all->changes[j].path, all->changes[i].path) == 0)
			return true;
	return false;
}

static bool path_changed_after(const struct plan *all, size_t i)
{
	for (size_t j = i + 1; j < all->count; j++)
		if (strcmp(all->changes[j].target, all->changes[i].target) == 0 &&
		    strcmp(all->changes[j].path, all->changes[i].path) == 0)
			return true;
	return false;
}

struct seen {
	bool before, after;
};

static int look_at(struct engine *e, const struct plan *all, size_t i, struct seen *ret, struct err *err)
{
	const struct change *c = &all->changes[i];
	struct etarget *et = engine_target(e, c->target);
	enum change_match match;
	*ret = (struct seen){true, true};
	if (change_has(c, CHANGE_BLIND) || et == NULL)
		return 0;
	int r = change_compare(&et->t->view, NULL, c, &match, err);
	if (r == 0) {
		ret->after = path_changed_after(all, i) || match == MATCH_AFTER || match == MATCH_BOTH;
		ret->before = path_changed_before(all, i) || match == MATCH_BEFORE || match == MATCH_BOTH;
	}
	return r;
}

/* Leftovers are named only if the world is neither of the two versions. */
static int look_at_all(struct engine *e, bool *ret_after, bool *ret_before, struct err *err)
{
	_cleanup_(plan_done) struct plan all = {0};
	int r = engine_changes(e, &all, err);
	struct seen *seen = xcalloc(all.count + 1, sizeof(*seen));
	*ret_after = *ret_before = true;
	for (size_t i = 0; r == 0 && i < all.count; i++) {
		r = look_at(e, &all, i, &seen[i], err);
		*ret_after = *ret_after && seen[i].after;
		*ret_before = *ret_before && seen[i].before;
	}
	for (size_t i = 0; r == 0 && !*ret_after && !*ret_before && i < all.count; i++)
		if (!seen[i].before)
			engine_leave_over(e, all.changes[i].target, all.changes[i].path, all.changes[i].id, "%s",
			                  seen[i].after ? "it is as it was made"
			                                : "it is neither as it was nor as it was made");
	free(seen);
	return r;
}

int engine_settle_by_looking(struct engine *e, struct err *err)
{
	bool after, before;
	int r = look_at_all(e, &after, &before, err);
	if (r < 0)
		return 4;
	engine_say(e, "info", "the targets carry no lock of %s any more: another machine finished it", e->id);
	if (before)
		r = engine_finish_undone(e, 1, err);
	else if (after)
		r = engine_finish_commit(e, err);
	else
		r = engine_hold(
			e, "another machine finished it, and the targets are neither the old nor the new version", err);
	return r < 0 || (!before && !after) ? 4 : 0;
}

/* ---- one deployment ---- */

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
	case DEPLOYMENT_HELD:
	case DEPLOYMENT_REFUSED:
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
	int fd = -1;
	int r = lock_owner_claim(o->store, id, &fd, err);
	if (r < 0)
		return r == ERR_LOCKED ? 5 : 4;
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

static int recover_one(const json_t *doc, const struct engine_options *o, const struct deployment *given, bool unasked,
                       struct engine_result *ret, struct err *err)
{
	_cleanup_(engine_done) struct engine e = {.owner_fd = -1};
	enum deployment_state state = engine_state_of(doc);
	if (state == DEPLOYMENT_HELD) {
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
	if (seal_sweep(store_dir(o->store), &why) < 0 && o->report)
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
		int one = engine_recover_one(json_array_get(list, i), o, r->deployment, ret, &why);
		/* One that lives is none of our business when nobody named it; one whose lock another machine has needs a person. */
		if (one == 5 && why.code != ERR_FENCED) {
			char line[ERR_FRAME_SIZE];
			if (o->report)
				o->report(o->report_context, "info", err_line(&why, line, sizeof(line)));
			continue;
		}
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
	if (engine_state_of(doc) != DEPLOYMENT_HELD || load_known(&e, doc, o, given, &ignored) < 0 ||
	    engine_open_targets(&e, &ignored) < 0)
		return false;
	for (size_t i = 0; !elsewhere && i < e.host_count; i++) {
		struct view *v = &e.targets[i].t->view;
		_cleanup_free_ char *dir = lock_dir_of(v, e.name, e.environment);
		_cleanup_json_ json_t *record = NULL;
		if (lock_read(v, dir, &record, &ignored) < 0)
			continue;
		const char *id = json_get_string(record, "deployment");
		elsewhere = id && strcmp(id, e.id) == 0 && !is_of_this_journal(&e, record);
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
