/* Takes changes back: newest first, each undo recorded, repeated until it is durable; then contents, after_undo and the gate. */
#include "engine/run/undo_priv.h"

#include "base/core/clock.h"
#include <stdlib.h>
#include <string.h>

enum { UNDO_PASSES = 4, DEFAULT_UNDO_MS = 15 * 60 * 1000 };

/* Directories that came with a release, or above a snapshot: an empty one would have been removed with it, one in use stays. */
static void made_with(const struct change *c, struct strv *ret)
{
	if (c->type && c->type->made)
		c->type->made(c, ret);
}

static int look_at_made(struct etarget *et, const struct change *c, enum change_match *match, struct err *err)
{
	_cleanup_(strv_done) struct strv made = {0};
	if (*match == MATCH_BEFORE)
		made_with(c, &made);
	for (size_t i = 0; i < made.count; i++) {
		_cleanup_(strv_done) struct strv names = {0};
		int r = host_list(&et->t->view, made.items[i], &names, err);
		if (engine_may_retry(r) || r == ERR_CANCELLED)
			return r;
		if (r == 0 && names.count == 0)
			*match = MATCH_PART;
		else if (r < 0 && err)
			err_clear(err);
	}
	return 0;
}

/* Changes taken back may exist again if a target lost its power before the undo was durable; they count as done once more.
 * Called after a barrier for everything: a restored state that is seen now stays. */
static int look_again(struct engine *e, struct plan *all, bool *ret_again, struct err *err)
{
	for (size_t i = 0; i < all->count; i++) {
		struct change *c = &all->changes[i];
		struct etarget *et = engine_target(e, c->target);
		enum change_match match = MATCH_BEFORE;
		if (c->state != CHANGE_UNDONE || !engine_was_started(c) || !engine_undo_concerns(e, c) || et == NULL ||
		    !et->anchor->locked)
			continue;
		int64_t pause = ENGINE_UNDO_PAUSE_MS;
		int r;
		do {
			r = change_compare(&et->t->view, et->t->lock_dir, c, &match, err);
			if (r == 0)
				r = look_at_made(et, c, &match, err);
			if (!engine_is_away(e, et, r, err))
				break;
			r = engine_meet_again(e, et, r, &pause, err);
			match = MATCH_NEITHER;
		} while (r == 0);
		if (r < 0)
			return r;
		if (match != MATCH_AFTER && match != MATCH_PART)
			continue;
		engine_say(e, "warning", "'%s' on '%s' is back: the target lost what was not durable", c->path,
		           c->target);
		engine_record_undo(e, c, CHANGE_DONE, NULL);
		*ret_again = true;
	}
	return engine_sweep_private_names(e, all, ret_again, err);
}

bool engine_anything_begun(const struct engine *e)
{
	for (size_t i = 0; i < e->step_count; i++)
		if (e->steps[i].begun && (e->only_step < 0 || e->steps[i].index == e->only_step))
			return true;
	return false;
}

/* By the change itself, or by those of what lies in it. */
static bool was_touched(const struct engine *e, const struct plan *all, const struct change *c)
{
	for (size_t i = 0; i < all->count; i++) {
		const struct change *o = &all->changes[i];
		if (engine_was_started(o) && engine_undo_concerns(e, o) && strcmp(o->target, c->target) == 0 &&
		    change_path_within(c->path, o->path))
			return true;
	}
	return false;
}

static bool is_settled_later(const struct engine *e, const struct plan *all, const struct change *c)
{
	return c->state == CHANGE_UNDONE && c->type && c->type->settle && was_touched(e, all, c);
}

/* Behind all that was taken back, and behind the sweep of private names. */
static int settle(struct engine *e, const struct plan *all, struct err *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < all->count; i++) {
		const struct change *c = &all->changes[i];
		struct etarget *et = is_settled_later(e, all, c) ? engine_target(e, c->target) : NULL;
		int64_t pause = ENGINE_UNDO_PAUSE_MS;
		while (r == 0 && et && et->locked) {
			r = change_settle(et->t, c, err);
			if (!engine_is_away(e, et, r, err))
				break;
			r = engine_meet_again(e, et, r, &pause, err);
		}
		/* It is there again: that its time is another harms nobody. */
		if (r == ERR_PERMISSION) {
			err_clear(err);
			r = 0;
		}
	}
	return r;
}

static int undo_barriers(struct engine *e, struct plan *all, struct err *err)
{
	for (size_t i = 0; i < e->host_count; i++) {
		struct etarget *et = &e->targets[i];
		const char **paths = xcalloc(all->count + 1, sizeof(*paths));
		size_t count = 0;
		for (size_t j = 0; j < all->count; j++)
			if (strcmp(all->changes[j].target, et->name) == 0 && change_has(&all->changes[j], CHANGE_FILES))
				paths[count++] = all->changes[j].path;
		int64_t pause = ENGINE_UNDO_PAUSE_MS;
		int r = 0;
		while (count > 0) {
			r = host_barrier(et->t, paths, count, err);
			if (!engine_is_away(e, et, r, err))
				break;
			r = engine_meet_again(e, et, r, &pause, err);
			if (r < 0)
				break;
		}
		free(paths);
		if (r < 0)
			return err_wrap(err, r, "make the undo on '%s' durable", et->name);
	}
	return 0;
}

/* Changes that could not be taken back the last time may be possible now. */
static void try_all_again(struct engine *e, struct plan *all)
{
	json_array_clear(e->left_over);
	for (size_t i = 0; i < all->count; i++)
		if (all->changes[i].state == CHANGE_CONFLICT || all->changes[i].state == CHANGE_BLOCKED)
			all->changes[i].state = CHANGE_UNKNOWN;
}

/* Repeats until a look after a barrier finds everything as before. */
static int undo_until_durable(struct engine *e, struct plan *all, struct err *err)
{
	bool again = true;
	int r = 0;
	for (int i = 0; r == 0 && again && i < UNDO_PASSES; i++) {
		try_all_again(e, all);
		e->no_space = false;
		r = engine_undo_changes(e, all, err);
		/* Entries removed since then have made room. */
		if (r == 0 && e->no_space) {
			try_all_again(e, all);
			r = engine_undo_changes(e, all, err);
		}
		if (r == 0)
			r = engine_sweep_private_names(e, all, &again, err);
		if (r == 0)
			r = settle(e, all, err);
		again = false;
		if (r == 0)
			r = undo_barriers(e, all, err);
		if (r == 0)
			r = look_again(e, all, &again, err);
	}
	if (r == 0 && again)
		r = err_set(err, ERR_TIMEOUT, "a target loses again and again what was restored");
	return r;
}

static int undo_pass(struct engine *e, struct plan *all, bool *ret_again, struct err *err)
{
	int r = undo_until_durable(e, all, err);
	if (r == 0 && engine_anything_begun(e)) {
		r = engine_restore_steps(e, all, err);
		if (r == 0 && e->only_step < 0)
			r = engine_gate_again(e, err);
		if (r == 0)
			r = undo_barriers(e, all, err);
		if (r == 0)
			r = look_again(e, all, ret_again, err);
	}
	return r;
}

/* What was taken back on a target that went away before a barrier: a power cut may have brought it back. */
static bool may_be_back(struct engine *e, const struct change *c)
{
	const struct etarget *et = engine_target(e, c->target);
	return et != NULL && target_is_host(et->t) && et->away_since != 0 && engine_was_started(c);
}

/* A target that stayed away until the deadline: reports what it still carries, for a person and the next rollback. */
static int out_of_reach(struct engine *e, const struct plan *all, int r, struct err *err)
{
	char line[ERR_FRAME_SIZE];
	if (!engine_may_retry(r))
		return r;
	err_line(err, line, sizeof(line));
	for (size_t i = all->count; i-- > 0;) {
		const struct change *c = &all->changes[i];
		if (!engine_undo_concerns(e, c) || c->state == CHANGE_CONFLICT || c->state == CHANGE_BLOCKED)
			continue;
		if (c->state != CHANGE_UNDONE)
			engine_leave_over(e, c->target, c->path, c->id, "%s", line);
		else if (may_be_back(e, c))
			engine_leave_over(e, c->target, c->path, c->id, "taken back, but perhaps not for good: %s",
			                  line);
	}
	if (json_array_size(e->left_over) == 0)
		engine_leave_over(e, NULL, NULL, 0, "%s", line);
	return 0;
}

static int take_back(struct engine *e, struct err *err)
{
	_cleanup_(plan_done) struct plan all = {0};
	int64_t given = e->o->undo_deadline_ms > 0 ? e->o->undo_deadline_ms
	                                           : json_get_int(e->deployment, "undo_deadline_ms", 0);
	e->undo_deadline = clock_mono_ms() + (given > 0 ? given : DEFAULT_UNDO_MS);
	e->facts.undoing = true;
	int r = engine_changes(e, &all, err);
	if (r < 0)
		return r;
	bool again = false;
	/* A previous process may have taken them back. */
	r = look_again(e, &all, &again, err);
	for (int i = 0; r == 0 && i < UNDO_PASSES; i++) {
		again = false;
		r = undo_pass(e, &all, &again, err);
		if (!again)
			break;
	}
	if (r == 0 && again)
		r = err_set(err, ERR_TIMEOUT, "a target loses again and again what was restored");
	r = out_of_reach(e, &all, r, err);
	if (r < 0)
		return r;
	if (json_array_size(e->left_over) > 0)
		return err_set(err, ERR_CONFLICT, "%zu thing%s could not be taken back", json_array_size(e->left_over),
		               json_array_size(e->left_over) == 1 ? "" : "s");
	return 0;
}

int engine_undo(struct engine *e, struct err *err)
{
	engine_live_begin(e, "taking back");
	int r = take_back(e, err);
	engine_live_end(e);
	return r;
}
