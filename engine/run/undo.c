/* Takes changes back: newest first, compared with the written state, each undo recorded; then contents, after_undo and the gate. */
#include "engine/run/run_priv.h"

#include "base/core/clock.h"
#include "base/core/shown.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
	RESTORE_TRIES = 3,
	UNDO_PASSES = 4,
	DEFAULT_UNDO_MS = 15 * 60 * 1000,
	FIRST_PAUSE_MS = 500,
	LONGEST_PAUSE_MS = 15000,
	MAX_REASON = 1023,
	UNDO_NOTHING = 1, /* there was nothing to take back */
};

void engine_leave_over(struct engine *e, const char *target, const char *path, int64_t change, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	_cleanup_free_ char *reason = shown_format(MAX_REASON, fmt, args);
	va_end(args);
	json_array_append_new(e->left_over, json_pack("{s:s, s:s, s:I, s:o}", "target", target ? target : "", "path",
	                                              path ? path : "", "change", (json_int_t)change, "reason",
	                                              json_string_lossy(reason, strlen(reason))));
	engine_say(e, "error", "not undone: %s%s%s%s%s", target ? target : "", target ? ":" : "", path ? path : "",
	           path ? ": " : "", reason);
}

static const char never_started[] = "never started", as_before[] = "it was as before",
		  needs_none[] = "it needs no undo", went_back[] = "its target went back by itself";

static bool is_left_over(const struct engine *e, int64_t change)
{
	for (size_t i = 0; i < json_array_size(e->left_over); i++)
		if (json_get_int(json_array_get(e->left_over, i), "change", 0) == change)
			return true;
	return false;
}

void engine_leave_rest(struct engine *e, int code)
{
	const char *why = code == ERR_CANCELLED
	                          ? "the undo was stopped before it came to this"
	                          : "an earlier step of the job made it, and it stays until the deployment is decided";
	_cleanup_(plan_done) struct plan all = {0};
	struct err err = ERR_INIT;
	if (engine_changes(e, &all, &err) < 0) {
		char line[ERR_FRAME_SIZE];
		engine_leave_over(e, NULL, NULL, 0, "the journal cannot say what else is in place: %s",
		                  err_line(&err, line, sizeof(line)));
		return;
	}
	bool undone = false;
	for (size_t i = all.count; i-- > 0;) {
		const struct change *c = &all.changes[i];
		bool untouched = c->state == CHANGE_INTENT && (!e->from_copy || change_has(c, CHANGE_BLIND));
		undone = undone || (c->state == CHANGE_UNDONE && !untouched);
		if (c->state != CHANGE_UNDONE && !untouched && !is_left_over(e, c->id))
			engine_leave_over(e, c->target, c->path, c->id, "%s", why);
	}
	if (undone && code == ERR_CANCELLED)
		engine_leave_over(
			e, NULL, NULL, 0,
			"the undo was stopped before it was made sure that what was taken back stays so at a power cut");
}

/* ---- records ---- */

/* The world has moved already: a record that cannot be written must not stop the undo. Recovery then looks again. */
static void record(struct engine *e, struct change *c, enum change_state state, const char *note)
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
	if (s && s->type->undo)
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

static bool is_away(struct engine *e, struct etarget *et, int r, const struct err *why)
{
	return engine_again(e, et, r, e->undo_deadline - clock_mono_ms(), why);
}

static int meet_again(struct engine *e, struct etarget *et, int r, int64_t *pause, struct err *err)
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

static int undo_with_retries(struct engine *e, struct etarget *et, const struct plan *all, struct change *c,
                             struct err *err)
{
	int64_t pause = FIRST_PAUSE_MS;
	for (;;) {
		int r = undo_once(e, et, all, c, err);
		if (!is_away(e, et, r, err))
			return r;
		int met = meet_again(e, et, r, &pause, err);
		if (met < 0)
			return met;
	}
}

/* Made by a davit that has another driver: nobody here can say what it did, nor take it back. */
static int stays_unknown(struct engine *e, struct change *c)
{
	_cleanup_free_ char *note = xasprintf("this program knows no changes of the kind '%s'", c->kind);
	record(e, c, CHANGE_CONFLICT, note);
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
		record(e, c, CHANGE_UNDONE, never_started);
		return 0;
	}
	if (c->type == NULL)
		return stays_unknown(e, c);
	const struct change *in_the_way = blocker(all, i);
	if (in_the_way && !e->o->force) {
		_cleanup_free_ char *note = xasprintf("blocked: '%s' could not be taken back", in_the_way->path);
		record(e, c, CHANGE_BLOCKED, note);
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
		record(e, c, CHANGE_UNDONE, why);
		if (command && et->anchor->t->lock_dir)
			lock_append_state(et->anchor->t, c, CHANGE_UNDONE, NULL);
		engine_say(e, "info", "%s: %s:%s%s%s", why ? "nothing to undo" : "undone", c->target,
		           command && c->summary ? c->summary : c->path, why ? ": " : "", why ? why : "");
		return 0;
	}
	err_line(err, line, sizeof(line));
	record(e, c, CHANGE_CONFLICT, line);
	engine_leave_over(e, c->target, c->path, c->id, "%s", line);
	return 0;
}

static bool concerns(const struct engine *e, const struct change *c)
{
	return e->only_step < 0 || c->step_index == e->only_step;
}

static int undo_changes(struct engine *e, struct plan *all, struct err *err)
{
	for (size_t i = all->count; i-- > 0;) {
		struct change *c = &all->changes[i];
		if (c->state == CHANGE_UNDONE || !concerns(e, c))
			continue;
		int r = wait_ms(&e->wait, 0, err);
		if (r == 0 || r == ERR_TIMEOUT)
			r = undo_change(e, all, (size_t)(c - all->changes), err);
		if (r < 0)
			return r;
	}
	return 0;
}

static bool was_started(const struct change *c)
{
	return c->type && !change_has(c, CHANGE_BLIND) && c->state != CHANGE_INTENT &&
	       (c->note == NULL || strcmp(c->note, never_started) != 0);
}

/* ---- leftovers of interrupted operations beside the paths ---- */

static char *folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash && slash != path ? xstrndup(path, (size_t)(slash - path)) : xstrdup("/");
}

/* Paths beside which it makes private names. */
static void leftovers_of(const struct change *c, struct strv *ret)
{
	if (!change_has(c, CHANGE_FILES))
		return;
	strv_add(ret, c->path);
	if (c->type->leftovers)
		c->type->leftovers(c, ret);
}

/* Only names that this deployment's own changes would use. */
static bool is_ours(const struct engine *e, const struct plan *all, const char *target, const char *directory,
                    const char *name)
{
	for (size_t i = 0; i < all->count; i++) {
		const struct change *c = &all->changes[i];
		_cleanup_(strv_done) struct strv paths = {0};
		if (!was_started(c) || !concerns(e, c) || strcmp(c->target, target) != 0)
			continue;
		leftovers_of(c, &paths);
		for (size_t k = 0; k < paths.count; k++) {
			_cleanup_free_ char *own = folder_of(paths.items[k]);
			if (strcmp(own, directory) == 0 && target_is_private_name(name, paths.items[k]))
				return true;
		}
	}
	return false;
}

static int sweep_folder(struct engine *e, const struct plan *all, struct etarget *et, const char *directory,
                        bool *ret_found, struct err *err)
{
	_cleanup_(strv_done) struct strv names = {0};
	int r = host_list(&et->t->view, directory, &names, err);
	if (r == ERR_NOT_FOUND) {
		err_clear(err);
		return 0;
	}
	for (size_t i = 0; r == 0 && i < names.count; i++) {
		if (!str_starts(names.items[i], ".davit-") || !is_ours(e, all, et->name, directory, names.items[i]))
			continue;
		_cleanup_free_ char *path =
			xasprintf("%s/%s", strcmp(directory, "/") == 0 ? "" : directory, names.items[i]);
		r = host_remove_tree(et->t, path, err);
		*ret_found = true;
	}
	return r;
}

static void add_folder(struct strv *directories, const char *path)
{
	_cleanup_free_ char *directory = folder_of(path);
	if (!strv_has(directories, directory))
		strv_add(directories, directory);
}

static void add_folders_of(struct strv *directories, const struct change *c)
{
	_cleanup_(strv_done) struct strv paths = {0};
	leftovers_of(c, &paths);
	for (size_t i = 0; i < paths.count; i++)
		add_folder(directories, paths.items[i]);
}

int engine_sweep_beside(struct engine *e, struct etarget *et, const struct change *c, struct err *err)
{
	_cleanup_(strv_done) struct strv directories = {0};
	const struct plan one = {.changes = (struct change *)(uintptr_t)c, .count = 1};
	bool found = false;
	int r = 0;
	if (was_started(c))
		add_folders_of(&directories, c);
	for (size_t i = 0; r == 0 && i < directories.count; i++)
		r = sweep_folder(e, &one, et, directories.items[i], &found, err);
	return r;
}

static int sweep_target(struct engine *e, const struct plan *all, struct etarget *et, bool *ret_found, struct err *err)
{
	_cleanup_(strv_done) struct strv directories = {0};
	for (size_t i = 0; i < all->count; i++) {
		const struct change *c = &all->changes[i];
		if (!was_started(c) || !concerns(e, c) || strcmp(c->target, et->name) != 0)
			continue;
		add_folders_of(&directories, c);
	}
	int r = 0;
	for (size_t i = 0; r == 0 && i < directories.count; i++) {
		int64_t pause = FIRST_PAUSE_MS;
		do {
			r = sweep_folder(e, all, et, directories.items[i], ret_found, err);
			if (!is_away(e, et, r, err))
				break;
			r = meet_again(e, et, r, &pause, err);
		} while (r == 0);
	}
	/* A directory that may not be read or changed: reports its entries, and continues with the rest. */
	if (r < 0 && r != ERR_FENCED && r != ERR_CANCELLED && !engine_may_retry(r)) {
		char line[ERR_FRAME_SIZE];
		engine_say(e, "warning", "private names on '%s' cannot be removed: %s", et->name,
		           err ? err_line(err, line, sizeof(line)) : "");
		r = 0;
	}
	return r;
}

static int sweep_private_names(struct engine *e, const struct plan *all, bool *ret_found, struct err *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < e->host_count; i++)
		if (e->targets[i].locked)
			r = sweep_target(e, all, &e->targets[i], ret_found, err);
	return r;
}

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
		if (c->state != CHANGE_UNDONE || !was_started(c) || !concerns(e, c) || et == NULL ||
		    !et->anchor->locked)
			continue;
		int64_t pause = FIRST_PAUSE_MS;
		int r;
		do {
			r = change_compare(&et->t->view, et->t->lock_dir, c, &match, err);
			if (r == 0)
				r = look_at_made(et, c, &match, err);
			if (!is_away(e, et, r, err))
				break;
			r = meet_again(e, et, r, &pause, err);
			match = MATCH_NEITHER;
		} while (r == 0);
		if (r < 0)
			return r;
		if (match != MATCH_AFTER && match != MATCH_PART)
			continue;
		engine_say(e, "warning", "'%s' on '%s' is back: the target lost what was not durable", c->path,
		           c->target);
		record(e, c, CHANGE_DONE, NULL);
		*ret_again = true;
	}
	return sweep_private_names(e, all, ret_again, err);
}

/* ---- after the changes ---- */

/* True if something of an earlier deployment existed: a release, a file that this one changed, or an entry in the journal. Directories
 * mean nothing: they may have been made for the first one. */
static bool had_before(const struct engine *e, const struct plan *all, const struct etarget *et)
{
	for (size_t i = 0; i < all->count; i++) {
		const struct change *c = &all->changes[i];
		enum node_type before = node_type_of(c->before);
		if (strcmp(c->target, et->name) == 0 && !change_has(c, CHANGE_BLIND) && before != NODE_ABSENT &&
		    before != NODE_DIR)
			return true;
	}
	/* The lock of an older davit does not say it. */
	return et->earlier || engine_changed_earlier(e, et);
}

/* DAVIT_FORMER_RELEASE of one target, read from it once its changes are taken back: a release that this deployment did not touch also
 * counts. NULL in *ret: it had nothing of an earlier deployment. */
int engine_former_release(struct engine *e, const struct plan *all, struct etarget *et, char **ret, struct err *err)
{
	for (size_t i = 0; i < e->step_count; i++) {
		const struct estep *s = &e->steps[i];
		for (size_t j = 0; s->type->release != NULL && j < s->target_count; j++) {
			_cleanup_free_ char *name = NULL;
			if (s->etargets[j] != et)
				continue;
			int r = s->type->release(&s->context, &et->t->view, &name, err);
			if (r < 0)
				return r;
			if (name != NULL && *name != '\0') {
				*ret = TAKE(name);
				return 0;
			}
		}
	}
	*ret = had_before(e, all, et) ? xstrdup("") : NULL;
	return 0;
}

/* An expression names an output of a step that was not reached: its value is unknown. */
bool engine_is_unresolved(const json_t *value)
{
	size_t i;
	const char *key, *open;
	json_t *member;
	if (json_is_string(value))
		return (open = strstr(json_string_value(value), "${{")) != NULL && strstr(open, "}}") != NULL;
	json_array_foreach((json_t *)value, i, member) if (engine_is_unresolved(member)) return true;
	json_object_foreach((json_t *)value, key, member) if (engine_is_unresolved(member)) return true;
	return false;
}

static int restore_on(struct engine *e, struct estep *s, size_t i, const struct plan *all, struct err *err)
{
	_cleanup_free_ char *former = NULL;
	int r = engine_former_release(e, all, s->etargets[i], &former, err);
	return r < 0 ? r : s->type->restore(&s->context, s->targets[i], former, err);
}

static int restore_step(struct engine *e, struct estep *s, const struct plan *all, struct err *err)
{
	for (size_t i = 0; i < s->target_count; i++) {
		int64_t pause = FIRST_PAUSE_MS;
		int r;
		if (!s->etargets[i]->anchor->locked) {
			engine_leave_over(e, s->etargets[i]->name, s->display, 0,
			                  "after the undo: the lock is not ours");
			continue;
		}
		do {
			r = restore_on(e, s, i, all, err);
			if (!is_away(e, s->etargets[i], r, err))
				break;
			r = meet_again(e, s->etargets[i], r, &pause, err);
		} while (r == 0);
		if (r == ERR_FENCED || r == ERR_CANCELLED)
			return r;
		if (r < 0) {
			char line[ERR_FRAME_SIZE];
			engine_leave_over(e, s->etargets[i]->name, s->display, 0, "after the undo: %s",
			                  err_line(err, line, sizeof(line)));
		}
	}
	return 0;
}

static int restore_steps(struct engine *e, const struct plan *all, struct err *err)
{
	for (size_t i = 0; i < e->step_count; i++) {
		struct estep *s = &e->steps[i];
		/* All of them, even those that were not reached: a target that was restarted in between already runs the new version. */
		if (s->type->restore == NULL || (e->only_step >= 0 && s->index != e->only_step))
			continue;
		if (engine_is_unresolved(s->input)) {
			engine_say(
				e, "info",
				"%s: nothing is done for it after the undo, since it names what a step gives that was not reached",
				s->display);
			continue;
		}
		int r = restore_step(e, s, all, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The baseline says whether the gate decides. */
static int gate_again(struct engine *e, struct err *err)
{
	engine_baseline_late(e);
	for (size_t i = 0; i < e->step_count; i++) {
		struct estep *s = &e->steps[i];
		if (s->type->probe == NULL || engine_is_unresolved(s->input) || (!s->has_baseline && !s->baseline_open))
			continue;
		if (s->baseline_open)
			engine_borrow_baseline(e, s, NULL);
		struct err why = ERR_INIT;
		char line[ERR_FRAME_SIZE];
		int r = s->type->probe(&s->context, false, &why);
		if (r == ERR_CANCELLED || r == ERR_FENCED)
			return err_set(err, r, "the gate after the undo was stopped");
		err_line(&why, line, sizeof(line));
		_cleanup_json_ json_t *data = json_pack("{s:b, s:b, s:s}", "healthy", r >= 0, "decides", s->baseline_ok,
		                                        "reason", r < 0 ? line : "");
		store_event_add(e->store, e->id, s->index, "gate after undo", data, NULL);
		if (r < 0 && s->baseline_ok)
			engine_leave_over(e, NULL, s->display, 0, "the old version is not healthy again: %s", line);
		else
			engine_say(e, "info", "%s after the undo: %s", s->display, r < 0 ? line : "healthy");
	}
	return 0;
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
		if (was_started(o) && concerns(e, o) && strcmp(o->target, c->target) == 0 &&
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
		int64_t pause = FIRST_PAUSE_MS;
		while (r == 0 && et && et->locked) {
			r = change_settle(et->t, c, err);
			if (!is_away(e, et, r, err))
				break;
			r = meet_again(e, et, r, &pause, err);
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
		int64_t pause = FIRST_PAUSE_MS;
		int r = 0;
		while (count > 0) {
			r = host_barrier(et->t, paths, count, err);
			if (!is_away(e, et, r, err))
				break;
			r = meet_again(e, et, r, &pause, err);
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
		r = undo_changes(e, all, err);
		/* Entries removed since then have made room. */
		if (r == 0 && e->no_space) {
			try_all_again(e, all);
			r = undo_changes(e, all, err);
		}
		if (r == 0)
			r = sweep_private_names(e, all, &again, err);
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
		r = restore_steps(e, all, err);
		if (r == 0 && e->only_step < 0)
			r = gate_again(e, err);
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
	return et != NULL && target_is_host(et->t) && et->away_since != 0 && was_started(c);
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
		if (!concerns(e, c) || c->state == CHANGE_CONFLICT || c->state == CHANGE_BLOCKED)
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
