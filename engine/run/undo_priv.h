/* Between the files of the undo (undo.c, undo_change.c, private_names.c, after_undo.c). All work on the plan that take_back read from the
 * journal; what was told as left over is in e->left_over.
 */
#pragma once
#include "engine/run/run_priv.h"

enum { ENGINE_UNDO_PAUSE_MS = 500 }; /* the first between two tries; *pause of engine_meet_again */

/* ---- undo_change.c ---- */
/* The world has moved already: a record that cannot be written does not stop the undo. */
void engine_record_undo(struct engine *e, struct change *c, enum change_state state, const char *note);
/* True if the operation that returned r is to be tried again, after engine_meet_again. */
bool engine_is_away(struct engine *e, struct etarget *et, int r, const struct err *why);
/* Waits, doubles *pause, and fences what may still run there. Negative: the deadline has passed, cancelled, or fenced off. */
int engine_meet_again(struct engine *e, struct etarget *et, int r, int64_t *pause, struct err *err);
/* It is of the step, or of all of them, that is taken back. */
bool engine_undo_concerns(const struct engine *e, const struct change *c);
/* It may have left something at its path or beside it. */
bool engine_was_started(const struct change *c);
/* All of them once, newest first. Negative: cancelled or fenced; what else fails is left over. */
int engine_undo_changes(struct engine *e, struct plan *all, struct err *err);

/* ---- private_names.c ---- */
/* *ret_found turns true if there was one. */
int engine_sweep_private_names(struct engine *e, const struct plan *all, bool *ret_found, struct err *err);

/* ---- after_undo.c ---- */
int engine_restore_steps(struct engine *e, const struct plan *all, struct err *err);
/* The baseline says whether the gate decides. */
int engine_gate_again(struct engine *e, struct err *err);
