/* Making the changes, in the journal's order: intents, previous contents, barrier, then each change started, made, verified, done. */
#include "engine/run/run_priv.h"

#include "base/core/clock.h"
#include <inttypes.h>
#include <string.h>

enum { APPLY_TRIES = 4, PAUSE_MS = 500 };

/* ---- changes since the plan ---- */

static bool same_node(const json_t *a, const json_t *b)
{
	_cleanup_json_ json_t *x = json_deep_copy(a), *y = json_deep_copy(b);
	json_object_del(x, "mtime_ns");
	json_object_del(y, "mtime_ns");
	if (strcmp(json_get_string(x, "type") ? json_get_string(x, "type") : "", "dir") == 0) {
		json_object_del(x, "size");
		json_object_del(y, "size");
	}
	return json_equal(x, y);
}

/* An earlier step of this deployment touched the path, or ran a command there, which may touch anything (*ret_command). */
static bool explained(const struct engine *e, const struct estep *s, const char *target, const char *path,
                      bool *ret_command)
{
	*ret_command = false;
	for (int i = 0; i < s->index; i++) {
		const struct estep *earlier = &e->steps[i];
		for (size_t j = 0; j < earlier->target_count; j++)
			for (size_t k = 0;
			     strcmp(earlier->etargets[j]->name, target) == 0 && k < earlier->plans[j].count; k++) {
				const struct change *c = &earlier->plans[j].changes[k];
				if (change_touches(c, path)) {
					*ret_command = false;
					return true;
				}
				*ret_command = *ret_command || change_has(c, CHANGE_BLIND);
			}
	}
	return *ret_command;
}

/* The command or a person may have changed it: it is named, so that a person can tell. */
static void name_replaced(struct engine *e, const struct estep *s, const struct change *c)
{
	_cleanup_json_ json_t *data =
		json_pack("{s:s, s:s, s:O}", "target", c->target, "path", c->path, "was", c->before);
	engine_say(e, "warning",
	           "'%s' on '%s' is not as it was planned, perhaps by a command of this deployment: it is replaced",
	           c->path, c->target);
	store_event_add(e->store, e->id, s->index, "replaced", data, NULL);
}

static bool same_place(const struct change *a, const struct change *b)
{
	return a->type == b->type && strcmp(a->path, b->path) == 0;
}

/* A step may change one path twice (a file becomes a link, and the file's row is removed): the n-th change of a path is the
 * n-th that was shown. */
static const struct change *planned(const struct plan *shown, const struct plan *now, size_t index)
{
	size_t before = 0;
	for (size_t i = 0; i < index; i++)
		before += same_place(&now->changes[i], &now->changes[index]);
	for (size_t i = 0; i < shown->count; i++)
		if (same_place(&shown->changes[i], &now->changes[index]) && before-- == 0)
			return &shown->changes[i];
	return NULL;
}

/* The changes must be those that were planned and shown; a change by a person in between stops the step. */
static int compare_plans(struct engine *e, struct estep *s, size_t target, const struct plan *now, bool resolved,
                         struct err *err)
{
	const struct plan *shown = &s->plans[target];
	for (size_t i = 0; !resolved && i < now->count; i++) {
		const struct change *c = &now->changes[i];
		const struct change *before = planned(shown, now, i);
		if (change_has(c, CHANGE_BLIND) || (before && same_node(before->before, c->before)))
			continue;
		bool command;
		if (explained(e, s, c->target, c->path, &command)) {
			if (command)
				name_replaced(e, s, c);
			continue;
		}
		return err_set(err, ERR_CONFLICT, "'%s' on '%s' was changed by somebody else since the plan was made",
		               c->path, c->target);
	}
	return 0;
}

/* ---- one change ---- */

static int set_change(struct engine *e, struct change *c, enum change_state state, const char *note, struct err *err)
{
	int r = store_change_set(e->store, e->id, c, state, note, err);
	if (r < 0)
		return err_wrap(err, r, "record '%s' as %s", c->path, change_state_name(state));
	c->state = state;
	return 0;
}

static int must_be_before(struct etarget *et, const struct change *c, struct err *err)
{
	enum change_match match;
	if (change_has(c, CHANGE_BLIND))
		return 0;
	int r = change_compare(&et->t->view, et->t->lock_dir, c, &match, err);
	if (r < 0 || match == MATCH_BEFORE || match == MATCH_BOTH)
		return r;
	return err_set(err, ERR_CONFLICT, "'%s' on '%s' was changed by somebody else since the plan was made", c->path,
	               c->target);
}

static int verify_change(struct estep *s, struct etarget *et, const struct change *c, struct err *err)
{
	enum change_match match;
	s = engine_maker(s->e, s, c);
	if (engine_step_makes(et) && s->type->verify)
		return s->type->verify(&s->context, &et->t->view, c, err);
	if (change_has(c, CHANGE_BLIND))
		return 0;
	int r = change_compare(&et->t->view, et->t->lock_dir, c, &match, err);
	if (r < 0 || match == MATCH_AFTER || match == MATCH_BOTH)
		return r;
	_cleanup_(str_done) struct str why = STR_INIT(1000);
	change_explain(&et->t->view, c, &why, NULL);
	return err_set(err, ERR_CONFLICT, "'%s' on '%s' is not as it was made: %s", c->path, c->target, str_peek(&why));
}

static int is_made(struct etarget *et, const struct change *c, bool *ret, struct err *err)
{
	enum change_match match;
	*ret = false;
	int r = change_compare(&et->t->view, et->t->lock_dir, c, &match, err);
	if (r == 0)
		*ret = !change_has(c, CHANGE_TREE) && (match == MATCH_AFTER || match == MATCH_BOTH);
	return r;
}

/* Retries after a lost connection; after a lost reply the target is fenced against that request before it is looked at. */
static int make_change(struct engine *e, struct estep *s, struct etarget *et, struct change *c, struct err *err)
{
	bool at_work = false; /* the requested task still runs: it must not be requested again */
	int r = 0;
	s = engine_maker(e, s, c);
	for (int i = 0; i < APPLY_TRIES; i++) {
		if (!at_work)
			r = engine_step_makes(et) && s->type->apply ? s->type->apply(&s->context, et->t, c, err)
			                                            : engine_change_apply(e, et, c, err);
		bool again = engine_again(e, et, r, engine_tries_left_ms(PAUSE_MS, i, APPLY_TRIES), err);
		if (!again || (change_has(c, CHANGE_BLIND) && r != ERR_NETWORK))
			return r;
		int waited = engine_pause(e, PAUSE_MS << i, err);
		if (waited < 0)
			return waited;
		if (r == ERR_NETWORK && !at_work)
			continue;
		bool made = false;
		at_work = c->type->resume != NULL;
		r = engine_refence(e, et, err);
		if (r == 0)
			r = engine_sweep_beside(e, et, c, err);
		if (r == 0)
			r = engine_change_resume(e, et, c, err);
		at_work = at_work && r < 0;
		if (r == 0)
			r = is_made(et, c, &made, err);
		if (r == 0 && made)
			return 0;
		if (r < 0 && !engine_may_retry(r))
			return r;
	}
	return r < 0 ? r
	             : err_set(err, ERR_TIMEOUT, "'%s' on '%s' cannot be changed: replies are lost", c->path,
	                       c->target);
}

static int barrier_at(struct etarget *et, const char *path, struct err *err)
{
	struct target *t = et->anchor->t;
	const char *const paths[] = {path, t->lock_dir};
	return host_barrier(t, paths, 2, err);
}

static int start_change(struct engine *e, struct etarget *et, struct change *c, struct err *err)
{
	int r = must_be_before(et, c, err);
	if (r == 0 && change_switches(c))
		r = target_is_host(et->t) ? barrier_at(et, c->path, err) : engine_barrier_all(e, err);
	if (r == 0)
		r = set_change(e, c, CHANGE_STARTED, NULL, err);
	if (r == 0 && change_has(c, CHANGE_BLIND)) {
		/* Another machine, which only has the copy, could not see whether it was run. */
		r = lock_append_state(et->anchor->t, c, CHANGE_STARTED, err);
		if (r == 0)
			r = barrier_at(et, et->anchor->t->lock_dir, err);
	}
	return r;
}

static int mark_begun(struct engine *e, struct estep *s, struct err *err)
{
	if (s->begun)
		return 0;
	_cleanup_json_ json_t *members = json_pack("{s:s, s:b}", "state", "running", "begun", 1);
	int r = store_step_set(e->store, e->id, s->index, members, err);
	s->begun = r == 0;
	return r;
}

int engine_apply_change(struct engine *e, struct estep *s, struct etarget *et, struct change *c, struct err *err)
{
	int r = wait_ms(&e->wait, 0, err);
	if (r == 0)
		r = start_change(e, et, c, err);
	if (r < 0)
		return r;
	r = make_change(e, s, et, c, err);
	if (r == 0)
		r = verify_change(s, et, c, err);
	if (r < 0) {
		char line[ERR_FRAME_SIZE];
		set_change(e, c, CHANGE_UNKNOWN, err ? err_line(err, line, sizeof(line)) : NULL, NULL);
		return r;
	}
	return set_change(e, c, CHANGE_DONE, NULL, err);
}

/* ---- one step on one target ---- */

static int retry_target(struct engine *e, struct etarget *et, int r, int i, struct err *err)
{
	if (!engine_again(e, et, r, engine_tries_left_ms(PAUSE_MS, i, APPLY_TRIES - 1), err) || i + 1 >= APPLY_TRIES)
		return r;
	int waited = engine_pause(e, PAUSE_MS << i, err);
	if (waited < 0)
		return waited;
	return r == ERR_NETWORK ? 0 : engine_refence(e, et, err);
}

/* "" if it cannot be read: then a reboot shows as a lost connection only. */
static int read_boot(struct etarget *et, char **ret, struct err *err)
{
	_cleanup_(str_done) struct str text = STR_INIT(256);
	int r = host_read(&et->anchor->t->view, "/proc/sys/kernel/random/boot_id", 255, &text, err);
	if (engine_may_retry(r) || r == ERR_CANCELLED)
		return r;
	err_clear(err);
	*ret = str_take(&text);
	return 0;
}

/* A barrier covers data written since the target's start: a restart in between lost it. */
static int same_boot(struct etarget *et, const char *before, bool *ret, struct err *err)
{
	_cleanup_free_ char *now = NULL;
	int r = read_boot(et, &now, err);
	*ret = r == 0 && strcmp(now, before) == 0;
	return r;
}

/* Puts intents and previous contents into the target's copy, durable before the first change. Repeated as a whole when a reply is
 * lost: appended records are merged by their id, and the content saved again is still the previous one. */
static int prepare_target(struct engine *e, struct estep *s, struct etarget *et, struct plan *plan, struct err *err)
{
	int r = 0;
	for (int i = 0; i < APPLY_TRIES; i++) {
		_cleanup_free_ char *boot = NULL;
		bool same = false;
		r = read_boot(et, &boot, err);
		if (r == 0)
			r = lock_append_changes(et->anchor->t, plan->changes, plan->count, err);
		for (size_t k = 0; r == 0 && k < plan->count; k++)
			r = change_save_former(et->t, &plan->changes[k], err);
		if (r == 0)
			r = engine_alone_lay(e, s, et, plan, err);
		if (r == 0)
			r = barrier_at(et, et->anchor->t->lock_dir, err);
		if (r == 0)
			r = same_boot(et, boot, &same, err);
		if (r == 0 && same)
			return 0;
		r = retry_target(e, et, r, i, err);
		if (r < 0)
			return r;
	}
	return r < 0 ? r
	             : err_set(err, ERR_TIMEOUT, "the previous contents on '%s' cannot be saved: replies are lost",
	                       et->name);
}

int engine_apply_changes(struct engine *e, struct estep *s, struct etarget *et, struct plan *plan, struct err *err)
{
	if (plan->count == 0)
		return 0;
	/* The planned state must still exist when it is saved. */
	for (size_t i = 0; i < plan->count; i++) {
		plan->changes[i].state = CHANGE_INTENT;
		plan->changes[i].step_index = s->index;
		free(plan->changes[i].step_id);
		free(plan->changes[i].step_inputs);
		plan->changes[i].step_id = xstrdup(s->id);
		plan->changes[i].step_inputs = xstrdup(s->identity);
	}
	int r = store_changes_add(e->store, e->id, plan->changes, plan->count, err);
	if (r < 0)
		return err_wrap(err, r, "record the intents of step %d", s->index + 1);
	r = prepare_target(e, s, et, plan, err);
	if (r == 0)
		r = mark_begun(e, s, err);
	bool together = plan->together > 1 && !target_is_host(et->t);
	if (r == 0 && together)
		r = engine_apply_together(e, s, et, plan, err);
	for (size_t i = 0; r == 0 && !together && i < plan->count; i++)
		r = engine_apply_change(e, s, et, &plan->changes[i], err);
	/* Only for another machine, which looks at the world anyway: a failure here costs nothing. */
	for (size_t i = 0; r == 0 && i < plan->count; i++)
		if (change_has(&plan->changes[i], CHANGE_BLIND) &&
		    lock_append_state(et->anchor->t, &plan->changes[i], CHANGE_DONE, NULL) < 0)
			break;
	return r;
}

/* ---- steps ---- */

/* ID → name → value, as steps told in their output of that name. */
static void add_resources(json_t *resources, const json_t *outputs)
{
	const char *text = json_get_string(outputs, "resources");
	json_t *told _cleanup_json_ = text != NULL ? json_loads(text, 0, NULL) : NULL;
	if (json_is_object(told))
		json_object_update(resources, told);
}

static json_t *contexts_of(const struct engine *e)
{
	json_t *steps = json_object(), *resources = json_object();
	for (size_t i = 0; i < e->step_count; i++) {
		json_object_set_new(steps, e->steps[i].id, json_pack("{s:O}", "outputs", e->steps[i].outputs));
		add_resources(resources, e->steps[i].outputs);
	}
	json_t *deployment = json_pack("{s:s, s:s, s:s}", "id", e->id, "name", e->name, "environment", e->environment);
	return json_pack("{s:o, s:o, s:o}", "deployment", deployment, "steps", steps, "resources", resources);
}

/* Fills in values of earlier steps; *ret is true when the input has changed. */
static int resolve_input(struct engine *e, struct estep *s, bool *ret, struct err *err)
{
	*ret = false;
	if (e->o->resolve == NULL)
		return 0;
	_cleanup_json_ json_t *contexts = contexts_of(e);
	_cleanup_json_ json_t *input = NULL;
	int r = e->o->resolve(e->o->resolve_context, s->index, contexts, &input, err);
	if (r < 0)
		return err_wrap(err, r, "step %d (%s)", s->index + 1, s->display);
	if (input == NULL || json_equal(input, s->input))
		return 0;
	json_decref(s->input);
	s->input = json_incref(input);
	json_object_set(json_array_get(json_object_get(e->deployment, "steps"), (size_t)s->index), "input", input);
	struct faults faults = {0};
	r = engine_read_input(e, s, &faults, err);
	if (r == 0)
		r = engine_faults(e, &faults, err);
	faults_done(&faults);
	/* The data for an undo is known only now. */
	if (r == 0)
		r = engine_seal(e, err);
	*ret = true;
	return r;
}

static int add_step_record(struct engine *e, struct estep *s, struct err *err)
{
	json_t *targets = json_array();
	for (size_t i = 0; i < s->target_count; i++)
		json_array_append_new(targets, json_string(s->etargets[i]->name));
	_cleanup_json_ json_t *doc =
		json_pack("{s:i, s:s, s:s, s:s, s:s, s:o, s:s, s:I}", "index", s->index, "step", s->type->info->name,
	                  "id", s->id, "name", s->display, "inputs", s->identity, "target", targets, "state",
	                  "preparing", "started_ms", (json_int_t)clock_wall_ms());
	return store_step_add(e->store, e->id, s->index, doc, err);
}

static int apply_plans(struct engine *e, struct estep *s, struct plan *plans, struct err *err)
{
	int r = 0;
	if (s->type == &engine_way_back)
		return engine_back_apply(e, s, plans, err);
	for (size_t i = 0; r == 0 && i < s->target_count; i++)
		r = engine_apply_changes(e, s, s->etargets[i], &plans[i], err);
	return r;
}

/* Planned a moment ago under this lock; each change is still compared with its previous state before it is made. */
static int apply_as_planned(struct engine *e, struct estep *s, struct err *err)
{
	return apply_plans(e, s, s->plans, err);
}

static int apply_planned_again(struct engine *e, struct estep *s, bool resolved, struct err *err)
{
	struct plan *plans = xcalloc(s->target_count + 1, sizeof(plans[0]));
	int r = engine_plan_step(e, s, plans, err);
	for (size_t i = 0; r == 0 && i < s->target_count; i++)
		r = compare_plans(e, s, i, &plans[i], resolved, err);
	if (r == 0)
		r = apply_plans(e, s, plans, err);
	for (size_t i = 0; i < s->target_count; i++)
		plan_done(&plans[i]);
	free(plans);
	return r;
}

static int probe_step(struct engine *e, struct estep *s, struct err *err)
{
	struct err why = ERR_INIT;
	int r = s->type->probe(&s->context, false, &why);
	char line[ERR_FRAME_SIZE];
	_cleanup_json_ json_t *data =
		json_pack("{s:b, s:s}", "healthy", r >= 0, "reason", r < 0 ? err_line(&why, line, sizeof(line)) : "");
	store_event_add(e->store, e->id, s->index, "gate", data, NULL);
	if (r < 0 && err)
		*err = why;
	return r;
}

/* After this point `unknown` means that nobody can tell how the deployment was decided. The undo settles the outcome of a change. */
int engine_settled_by_undo(int r, struct err *err)
{
	if (r != ERR_UNKNOWN)
		return r;
	if (err)
		err->code = ERR_NETWORK;
	return ERR_NETWORK;
}

static int tell_outputs(struct estep *s, struct err *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && s->type->outputs != NULL && i < s->target_count; i++)
		r = s->type->outputs(&s->context, &s->targets[i]->view, err);
	return r;
}

static bool changes_nothing(const struct estep *s)
{
	for (size_t i = 0; s->plans != NULL && i < s->target_count; i++)
		if (s->plans[i].count > 0)
			return false;
	return s->plans != NULL && s->target_count > 0;
}

int engine_apply_step(struct engine *e, struct estep *s, struct err *err)
{
	bool resolved = false;
	engine_say(e, "group", "%s", s->display);
	engine_live_begin(e, s->display);
	int r = add_step_record(e, s, err);
	if (r == 0)
		r = resolve_input(e, s, &resolved, err);
	if (r == 0 && s->type->plan)
		r = s->fresh && !resolved ? apply_as_planned(e, s, err) : apply_planned_again(e, s, resolved, err);
	if (r == 0 && s->type->plan && changes_nothing(s))
		engine_say(e, "info", "nothing to change");
	engine_plans_are_stale(e);
	if (r == 0)
		r = tell_outputs(s, err);
	if (r == 0 && s->type->probe)
		r = probe_step(e, s, err);
	_cleanup_json_ json_t *members = json_pack("{s:s, s:I, s:O}", "state", r == 0 ? "done" : "failed", "ended_ms",
	                                           (json_int_t)clock_wall_ms(), "outputs", s->outputs);
	if (r < 0 && err)
		json_object_set_new(members, "reason", engine_line(err));
	int recorded = store_step_set(e->store, e->id, s->index, members, r == 0 ? err : NULL);
	engine_live_end(e);
	engine_say(e, "endgroup", "%s", s->display);
	if (r < 0)
		r = err_wrap(err, r, "step %d (%s)", s->index + 1, s->display);
	return r < 0 ? engine_settled_by_undo(r, err) : recorded;
}

int engine_apply_all(struct engine *e, struct err *err)
{
	for (size_t i = 0; i < e->step_count; i++) {
		int r = engine_apply_step(e, &e->steps[i], err);
		if (r < 0)
			return r;
	}
	engine_baseline_late(e);
	return wait_check(&e->wait, err);
}

/* ---- before the commit ---- */

static bool changed_later(const struct plan *all, size_t i)
{
	const struct change *c = &all->changes[i];
	for (size_t j = i + 1; j < all->count; j++) {
		const struct change *later = &all->changes[j];
		if (strcmp(later->target, c->target) == 0 && later->state == CHANGE_DONE &&
		    strcmp(later->path, c->path) == 0)
			return true;
	}
	return false;
}

int engine_verify_all(struct engine *e, struct err *err)
{
	_cleanup_(plan_done) struct plan all = {0};
	int r = engine_changes(e, &all, err);
	for (size_t i = 0; r == 0 && i < all.count; i++) {
		const struct change *c = &all.changes[i];
		struct etarget *et = engine_target(e, c->target);
		if (c->state != CHANGE_DONE || change_has(c, CHANGE_BLIND) || changed_later(&all, i) || et == NULL)
			continue;
		if (c->step_index < 0 || (size_t)c->step_index >= e->step_count)
			continue;
		for (int k = 0; k < APPLY_TRIES; k++) {
			r = verify_change(&e->steps[c->step_index], et, c, err);
			if (!engine_again(e, et, r, engine_tries_left_ms(PAUSE_MS, k, APPLY_TRIES), err))
				break;
			int waited = engine_pause(e, PAUSE_MS << k, err);
			if (waited < 0)
				return waited;
		}
	}
	return r < 0 ? err_wrap(err, r, "verify") : 0;
}
