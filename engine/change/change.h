/* The operations of a change on its target: look, explain, save, apply, undo, through its driver (engine/change/change_type.h; the record is
 * engine/record/change.h's). */
#pragma once
#include "engine/change/change_type.h"

/* The kinds that hosts have. */
extern const struct change_type change_file;    /* put content and attributes */
extern const struct change_type change_dir;     /* make a directory, or set its attributes */
extern const struct change_type change_link;    /* a symbolic link, replaced atomically: the switch of `current` too */
extern const struct change_type change_remove;  /* removes a file, a link, an empty directory */
extern const struct change_type change_move;    /* rename: extra.to */
extern const struct change_type change_release; /* a new directory filled by the step; undo removes it */
extern const struct change_type
	change_snapshot; /* the same below BASE/snapshots; its step's undo may put its content back first */
extern const struct change_type change_command; /* a command's effect; undo: the step's */

/* One of them by its name; NULL: none. */
const struct change_type *change_type_find(const char *kind);
const struct change_type *const *
change_type_all(size_t *ret_count); /* without those that steps and providers bring along */
/* The drivers of records that were read: by `find` (NULL: none of its own), else of those above. */
void change_find_types(struct plan *p, const struct change_type *(*find)(const char *kind));
bool change_has(const struct change *c, enum change_flag flag); /* false where its kind is not known */

struct change *plan_add(struct plan *p, const struct change_type *type, enum change_action action, const char *path);

/* The driver's own look, save, apply and undo; each may be repeated. lock_dir: the parent of undo/. ERR_UNSUPPORTED: the kind is not
 * known, or leaves that to its step. A change that cannot be looked at compares as MATCH_NEITHER. A release or snapshot is MATCH_AFTER as soon as its
 * directory exists. Modification times are restored but not compared. */
int change_compare(struct view *v, const char *lock_dir, const struct change *c, enum change_match *ret,
                   struct err *err);
int change_explain(struct view *v, const struct change *c, struct str *out, struct err *err);
int change_save_former(struct target *t, const struct change *c, struct err *err);
int change_apply(struct target *t, struct change *c, struct err *err);
int change_settle(struct target *t, const struct change *c, struct err *err);
int change_undo(struct target *t, const struct change *c, struct err *err);

/* The same for the engine, which knows how the target is guarded and where tasks are noted. resume: 0 if there is nothing to wait for. */
int change_call_apply(struct change_call *x, struct change *c, struct err *err);
int change_call_resume(struct change_call *x, const struct change *c, struct err *err);
int change_call_undo(struct change_call *x, const struct change *c, struct err *err);

/* For drivers. Checks that the deployment's lock is still ours. ERR_FENCED: it is not, and nothing may be changed. */
int change_guard(struct change_call *x, struct err *err);
/* Records, durably, the API's name of the task that works on this change. Call it before waiting for the task. */
int change_note_task(struct change_call *x, const char *task, struct err *err);

bool change_touches(const struct change *c, const char *path);
bool change_names(const struct change *c, const char *path);
/* All before it must be durable before it is made. */
bool change_switches(const struct change *c);
/* The name of the release that is valid once the change is made; NULL: it names none. */
const char *change_release_of(const struct change *c);
/* True if `path` is the directory or below it. */
bool change_path_within(const char *dir, const char *path);
