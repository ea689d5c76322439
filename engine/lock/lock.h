/* The lock of an environment on a target (docs/semantics.md 5), and the proof that its owner lives.
 *
 * LOCK_DIR = BASE/open/NAME.ENVIRONMENT holds: lock (the record), renewed (the counter), changes.jsonl (the copy of the change
 * records, append only), undo/ (previous contents), pids/ (commands now running), mark ("committed ID": how it was decided, beside the
 * record, since a takeover that read the record before it was marked replaces it).
 * Record format 1: {"format":1,"token","deployment","name","environment","store_id","machine_id","boot_id","pid_ns","pid","start_time",
 *   "host","user","commit","made_ms","targets":[names],"mark":"committed"|"undone","earlier":true}; mark only once decided; earlier
 *   if a previous deployment changed this target, which another machine's journal does not know.
 */
#pragma once
#include "engine/journal/store.h"
#include "engine/target/target.h"

enum { LOCK_FORMAT = 1, LOCK_TOKEN_DIGITS = 32, LOCK_TICK_MS = 10000, LOCK_STANDSTILL_MS = 90000 };

/* A record for this process; `former` (may be NULL): source of what a takeover keeps: deployment, targets, mark, earlier. A new token each time. */
json_t *lock_record(const struct store *s, const json_t *deployment, const json_t *former);
char *lock_dir_of(const struct view *v, const char *name, const char *environment);

/* Letters, digits, - and _: it becomes part of paths, on this machine too. */
bool lock_id_is_sound(const char *id);

/* Takes the lock: t->lock_dir and t->token are set when it is ours. ERR_LOCKED: *ret_holder is the holder's record (the caller's). */
int lock_take(struct target *t, const char *lock_dir, const json_t *record, json_t **ret_holder, struct err *err);
/* ERR_NOT_FOUND: free. ERR_UNSUPPORTED: of a newer format. */
int lock_read(struct view *v, const char *lock_dir, json_t **ret, struct err *err);
/* Replaces the record that carries former's token, ends the former owner's commands and waits for them; a mark that the previous owner
 * made until then is in `record` and durable. ERR_FENCED: somebody was faster. */
int lock_take_over(struct target *t, const char *lock_dir, const json_t *former, json_t *record, struct err *err);
/* The decision about the deployment of `record`, the existing lock: "committed", "undone", or NULL. *ret: free(). */
int lock_read_mark(struct view *v, const char *lock_dir, const json_t *record, char **ret, struct err *err);
/* Writes the mark, durably. */
int lock_mark(struct target *t, const char *mark, struct err *err);
/* Checks that the lock is still ours. ERR_FENCED: it is not. For changes elsewhere: a host's own operations check it by themselves. */
int lock_guard(struct target *t, struct err *err);
int lock_renew(struct target *t, int64_t counter, struct err *err);
/* Removes everything in the directory, the lock last, then the directories that are empty. The lock must be ours; after it t is unguarded. */
int lock_release(struct target *t, struct err *err);
/* Removes leftovers of a process that died before it had the lock, and empty directories. Never touches another deployment's lock. */
int lock_sweep(struct target *t, const char *lock_dir, const char *deployment_id, struct err *err);
/* "by NAME (deployment ID) on HOST as USER since TIME". free() */
char *lock_describe(const json_t *record);

/* The copy of the change records. */
int lock_append_changes(struct target *t, const struct change *changes, size_t count, struct err *err);
/* With c->task, if it has one. */
int lock_append_state(struct target *t, const struct change *c, enum change_state state, struct err *err);
int lock_read_changes(struct view *v, const char *lock_dir, struct plan *ret, struct err *err);

/* The file owners/ID of the state directory, locked with flock while the owner lives. ERR_LOCKED: it lives. *ret_fd: keep it open.
 * ret_elsewhere (NULL: then ERR_LOCKED): as store_claim has it, whose claim is part of this one. */
int lock_owner_claim(struct store *s, const char *id, int *ret_fd, bool *ret_elsewhere, struct err *err);
void lock_owner_drop(struct store *s, const char *id, int *fd, bool remove);
/* {"pid","start_time","boot_id","pid_ns"} of a process, this one when pid is 0. */
json_t *lock_owner_process(int pid);
/* 1: surely gone, 0: alive or not provable. */
bool lock_owner_process_gone(const json_t *process);
