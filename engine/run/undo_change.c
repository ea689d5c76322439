/* Takes one change back, compared with the state that was written, and records it; tries again while its target is away. */
#include "engine/run/undo_priv.h"

#include "base/core/clock.h"
#include <string.h>

enum {
	RESTORE_TRIES = 3,
	LONGEST_PAUSE_MS = 15000,
	UNDO_NOTHING = 1, /* there was nothing to take back */
};

static const char never_started[] = "never started", as_before[] = "it was as before",
		  needs_none[] = "it needs no undo", went_back[] = "its target went back by itself";

/* The world has moved already: a record that cannot be written must not stop the undo. Recovery then looks again. */
void engine_record_undo(struct engine *e, struct change *c, enum change_state state, const char *note)
{
	struct err err = ERR_INIT;
	int r = store_change_set(e->store, e->id, c, state, note, &err);
	if (r == ERR_NO_SPACE) {
		store_give_up_reserve(e->store);
		r = store_change_set(e->store, e->id, c, state, note, &err);
	}
	c->state = state;
	free(c->note);
	c->note = xstrdup(note);
	if (r == 0)
		return;
	char line[ERR_FRAME_SIZE];
	e->journal_failed = true;
	engine_say(e, "warning", "the undo of '%s' cannot be recorded: %s", c->path,
	           err_line(&err, line, sizeof(line)));
}

/* A change cannot be undone while a later change of the same path stays. */
static const struct change *blocker(const struct plan *all, size_t i)
{
	const struct change *c = &all->changes[i];
	for (size_t j = i + 1; j < all->count; j++) {
		const struct change *later = &all->changes[j];
		if (later->state != CHANGE_CONFLICT && later->state != CHANGE_BLOCKED)
			continue;
		if (strcmp(later->target, c->target) != 0 || change_has(later, CHANGE_BLIND) ||
		    change_has(c, CHANGE_BLIND))
			continue;
		if (change_path_within(c->path, later->path) || change_path_within(later->path, c->path) ||
		    change_names(later, c->path))
			return later;
	}
	return NULL;
}

/* ---- one change ---- */

static int step_undo(struct engine *e, struct estep *s, struct etarget *et, struct change *c, struct err *err)
{
	s = engine_maker(e, s, c);
	if (s && engine_step_makes(et) && s->type->undo)
		return s->type->undo(&s->context, et->t, c, err);
	return engine_change_undo(e, et, c, err);
}

/* A task at an API must have ended before anybody looks: it would run beside the undo. Its result does not matter. */
static int end_task(struct engine *e, struct etarget *et, struct change *c, struct err *err)
{
	int r = engine_change_resume(e, et, c, err);
	if (r != ERR_FAILED)
		return r;
	err_clear(err);
	return 0;
}

/* A change whose reply was lost may still be running: it must not run beside its undo, or after it. */
static int undo_command(struct engine *e, struct estep *s, struct etarget *et, const struct change *c, struct err *err)
{
	int r = c->state == CHANGE_UNKNOWN ? engine_refence(e, et, err) : 0;
	if (r < 0)
		return r;
	if (s == NULL || s->type->undo == NULL)
		return err_set(err, ERR_UNSUPPORTED, "the command has no undo: %s", c->summary ? c->summary : c->path);
	return s->type->undo(&s->context, et->t, c, err);
}

/* A target that lost its power may be in the state before this change, and before others of the same path. */
static int is_older_state(const struct engine *e, struct etarget *et, const struct plan *all, const struct change *c,
                          bool *ret, struct err *err)
{
	*ret = false;
	for (const struct change *o = c; !*ret && o-- > all->changes;) {
		enum change_match match;
		if ((o->state == CHANGE_INTENT && !e->from_copy) || strcmp(o->target, c->target) != 0 ||
		    strcmp(o->path, c->path) != 0)
			continue;
		int r = change_compare(&et->t->view, et->t->lock_dir, o, &match, err);
		if (r < 0)
			return r;
		*ret = match != MATCH_NEITHER;
	}
	return 0;
}

static int undo_looked_at(struct engine *e, struct estep *s, struct etarget *et, const struct plan *all,
                          struct change *c, struct err *err)
{
	enum change_match match;
	int r = end_task(e, et, c, err);
	if (r == 0)
		r = change_compare(&et->t->view, et->t->lock_dir, c, &match, err);
	if (r < 0)
		return r;
	bool tree = change_has(c, CHANGE_TREE);
	if ((match == MATCH_BEFORE && !tree) || match == MATCH_BOTH)
		return UNDO_NOTHING;
	bool older = false;
	if (match == MATCH_NEITHER)
		r = is_older_state(e, et, all, c, &older, err);
	if (r < 0 || older)
		return r < 0 ? r : UNDO_NOTHING;
	if (match == MATCH_NEITHER && !e->o->force) {
		_cleanup_(str_done) struct str why = STR_INIT(1000);
		change_explain(&et->t->view, c, &why, NULL);
		return err_set(err, ERR_CONFLICT, "it is not as davit left it: %s", str_peek(&why));
	}
	/* Repeated when it is not as before: a target that lost its power in between may have kept half a copy. */
	bool restored = false;
	for (int i = 0; r == 0 && !restored && i < RESTORE_TRIES; i++) {
		r = step_undo(e, s, et, c, err);
		if (r == 0 && !tree)
			r = change_compare(&et->t->view, et->t->lock_dir, c, &match, err);
		restored = r == 0 && (tree || match == MATCH_BEFORE || match == MATCH_BOTH);
	}
	if (r == ERR_EXISTS && change_has(c, CHANGE_EMPTY))
		return err_set(err, ERR_CONFLICT, "the directory is not empty");
	if (r == 0 && !restored)
		r = err_set(err, ERR_CONFLICT, "it is not as it was, although it was restored");
	return r;
}

/* Tries once; the caller handles lost connections. */
static int undo_once(struct engine *e, struct etarget *et, const struct plan *all, struct change *c, struct err *err)
{
	struct estep *s = c->step_index >= 0 && (size_t)c->step_index < e->step_count ? &e->steps[c->step_index] : NULL;
	int r = et->anchor->locked ? 0 : err_set(err, ERR_FENCED, "the lock on '%s' is not ours", et->name);
	if (r < 0)
		return r;
	return change_has(c, CHANGE_BLIND) ? undo_command(e, s, et, c, err) : undo_looked_at(e, s, et, all, c, err);
}

bool engine_is_away(struct engine *e, struct etarget *et, int r, const struct err *why)
{
	return engine_again(e, et, r, e->undo_deadline - clock_mono_ms(), why);
}

int engine_meet_again(struct engine *e, struct etarget *et, int r, int64_t *pause, struct err *err)
{
	if (clock_mono_ms() >= e->undo_deadline)
		return r;
	int waited = engine_pause(e, *pause, err);
	if (waited < 0)
		return waited;
	*pause = MIN(*pause * 2, LONGEST_PAUSE_MS);
	if (r == ERR_NETWORK)
		return 0;
	int fenced = engine_refence(e, et, err);
	return engine_may_retry(fenced) ? 0 : fenced;
}

/* A target that goes back alone may take it back between two looks here: what was seen is of no moment then. */
static bool may_have_met_watch(const struct engine *e, const struct change *c, int r)
{
	return (r == ERR_NOT_FOUND || r == ERR_CONFLICT) && engine_alone_after_ms(e) > 0 &&
	       !change_has(c, CHANGE_BLIND);
}

static int undo_with_retries(struct engine *e, struct etarget *et, const struct plan *all, struct change *c,
                             struct err *err)
{
	int64_t pause = ENGINE_UNDO_PAUSE_MS;
	bool looked_again = false;
	for (;;) {
		int r = undo_once(e, et, all, c, err);
		if (!looked_again && may_have_met_watch(e, c, r)) {
			looked_again = true;
			err_clear(err);
			continue;
		}
		if (!engine_is_away(e, et, r, err))
			return r;
		int met = engine_meet_again(e, et, r, &pause, err);
		if (met < 0)
			return met;
	}
}

/* Made by a davit that has another driver: nobody here can say what it did, nor take it back. */
static int stays_unknown(struct engine *e, struct change *c)
{
	_cleanup_free_ char *note = xasprintf("this program knows no changes of the kind '%s'", c->kind);
	engine_record_undo(e, c, CHANGE_CONFLICT, note);
	engine_leave_over(e, c->target, c->path, c->id, "%s: roll back with the davit that made it", note);
	return 0;
}

static int undo_change(struct engine *e, struct plan *all, size_t i, struct err *err)
{
	struct change *c = &all->changes[i];
	char line[ERR_FRAME_SIZE];
	/* A change that was only intended was not made: the journal says `started` first. The copy on a target says so for commands only. */
	bool untouched = c->state == CHANGE_INTENT;
	if (untouched && (!e->from_copy || change_has(c, CHANGE_BLIND))) {
		engine_record_undo(e, c, CHANGE_UNDONE, never_started);
		return 0;
	}
	if (c->type == NULL)
		return stays_unknown(e, c);
	const struct change *in_the_way = blocker(all, i);
	if (in_the_way && !e->o->force) {
		_cleanup_free_ char *note = xasprintf("blocked: '%s' could not be taken back", in_the_way->path);
		engine_record_undo(e, c, CHANGE_BLOCKED, note);
		engine_leave_over(e, c->target, c->path, c->id, "%s", note);
		return 0;
	}
	struct etarget *et = engine_target(e, c->target);
	int r = et ? undo_with_retries(e, et, all, c, err)
	           : err_set(err, ERR_NOT_FOUND, "the deployment names no target '%s'", c->target);
	if (r == ERR_FENCED || r == ERR_CANCELLED)
		return r;
	e->no_space = e->no_space || r == ERR_NO_SPACE;
	if (r >= 0) {
		bool command = change_has(c, CHANGE_BLIND);
		const char *why = r != UNDO_NOTHING ? NULL
		                  : command         ? needs_none
		                  : et->went_alone  ? went_back
		                                    : as_before;
		engine_record_undo(e, c, CHANGE_UNDONE, why);
		if (command && et->anchor->t->lock_dir)
			lock_append_state(et->anchor->t, c, CHANGE_UNDONE, NULL);
		engine_say(e, "info", "%s: %s:%s%s%s", why ? "nothing to undo" : "undone", c->target,
		           command && c->summary ? c->summary : c->path, why ? ": " : "", why ? why : "");
		return 0;
	}
	err_line(err, line, sizeof(line));
	engine_record_undo(e, c, CHANGE_CONFLICT, line);
	engine_leave_over(e, c->target, c->path, c->id, "%s", line);
	return 0;
}

bool engine_undo_concerns(const struct engine *e, const struct change *c)
{
	return e->only_step < 0 || c->step_index == e->only_step;
}

int engine_undo_changes(struct engine *e, struct plan *all, struct err *err)
{
	for (size_t i = all->count; i-- > 0;) {
		struct change *c = &all->changes[i];
		if (c->state == CHANGE_UNDONE || !engine_undo_concerns(e, c))
			continue;
		int r = wait_ms(&e->wait, 0, err);
		if (r == 0 || r == ERR_TIMEOUT)
			r = undo_change(e, all, (size_t)(c - all->changes), err);
		if (r < 0)
			return r;
	}
	return 0;
}

bool engine_was_started(const struct change *c)
{
	return c->type && !change_has(c, CHANGE_BLIND) && c->state != CHANGE_INTENT &&
	       (c->note == NULL || strcmp(c->note, never_started) != 0);
}
