/* What a change does to its target: look, explain, save, apply, undo (engine/record/change.h has the record). */
#pragma once
#include "engine/record/change.h"
#include "engine/target/target.h"

/* Why compare said MATCH_NEITHER or MATCH_PART: "the mode is 0644 instead of 0600". Appended to out. */
int change_explain(struct view *v, const struct change *c, struct str *out, struct err *err);
/* How the world stands to a change. */
/* MATCH_PART: a directory each of whose attributes is the one or the other: an interrupted change; undone like MATCH_AFTER. */
enum change_match { MATCH_AFTER, MATCH_BEFORE, MATCH_BOTH, MATCH_PART, MATCH_NEITHER };
/* The primitives' own look, save, apply and undo. lock_dir: where undo/ lies. Each may be repeated.
 * A CHANGE_COMMAND cannot be looked at: compare gives MATCH_NEITHER, apply and undo ERR_UNSUPPORTED. A release or snapshot is
 * MATCH_AFTER as soon as its directory is there. Modification times are restored but not compared. */
int change_compare(struct view *v, const char *lock_dir, const struct change *c, enum change_match *ret,
                   struct err *err);
int change_save_former(struct target *t, const struct change *c, struct err *err);
int change_apply(struct target *t, const struct change *c, struct err *err);
int change_undo(struct target *t, const struct change *c, struct err *err);
