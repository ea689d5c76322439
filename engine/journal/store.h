/* davit's memory, in terms of deployments and changes. It lies in SQLite in the state directory (sqlite.c), or in PostgreSQL (postgres/),
 * where several machines share it. Any number of processes; each write is one short transaction with a bounded wait; the data of a writing
 * call is durable when it returns. Format 1; newer is refused, older is read. */
#pragma once
#include "engine/record/change.h"

enum deployment_state {
	DEPLOYMENT_PREPARING,
	DEPLOYMENT_REFUSED,
	DEPLOYMENT_OPEN,
	DEPLOYMENT_UNDOING,
	DEPLOYMENT_HELD,
	DEPLOYMENT_COMMITTED,
	DEPLOYMENT_UNDONE,
	DEPLOYMENT_PARKED, /* waits for people, with nothing changed and nothing locked */
};
const char *deployment_state_name(enum deployment_state s);

/* A deployment in the store. JSON, no secrets: {"format":1,"id","name","environment","state","on_failure","commit","dirty",
 * "repository","run_url","job_key","runner_decides","user","host","created_ms","decided_ms","exit_status","reason","cleaned","reported",
 * "actor","parked":{"until_ms","step","asked_by",…} (what people are asked, and by when),
 * "targets":[{"name","kind","identity","user","host"}],"kept" (what a later rollback needs of the file, its secrets as expressions),"plan_digest","owner":{pid,start_time,boot_id,pid_ns,host}} */
struct store;

/* dir: $DAVIT_STATE; made 0700 when missing. vfs: NULL, or the simulator's. */
int store_open(const char *dir, const char *vfs, struct store **ret, struct err *err);
/* The content of a state directory is carried out, so its owner must be this user or root. ERR_PERMISSION names the owner. */
int store_check_owner(const char *dir, struct err *err);
int store_open_readonly(const char *dir, struct store **ret,
                        struct err *err); /* for history and show; ERR_NOT_FOUND when there is none */
bool store_is_there(const char *dir);     /* a journal, in the directory or named by it; nothing is opened */
void store_close(struct store *s);
void store_closep(struct store **s);
/* Of the journal: random, made once. One that is not shared is bound to the machine id. */
const char *store_id(const struct store *s);
const char *store_dir(const struct store *s);

/* ---- one journal, several machines. Where it is not shared, every deployment is this machine's. ---- */
bool store_is_shared(const struct store *s);
/* The id of this state directory, of which no other machine has the like. */
const char *store_place(const struct store *s);
/* For a process that works on a deployment, until store_release: another machine writes nothing of it meanwhile. ERR_LOCKED: a process
 * elsewhere does, and is connected. *ret_elsewhere: another machine owns it, but no process of it is connected: it may be gone or cut off. The
 * claim is made, nobody else asks; after a proof by the targets (docs/semantics.md 5) store_take_over, else store_release. */
int store_claim(struct store *s, const char *id, bool *ret_elsewhere, struct err *err);
/* From here on the former owner's writes fail with ERR_FENCED. */
int store_take_over(struct store *s, const char *id, struct err *err);
/* Of a claimed one, before a lock on a target is taken that is not this process's own. ERR_FENCED: another machine took the deployment over, or
 * ended it. */
int store_check_claim(struct store *s, const char *id, struct err *err);
/* One that needs no process any more has no owner either. */
void store_release(struct store *s, const char *id);

/* What an undo needs of secrets (base/secret/seal.h), readable by every machine of the journal. */
int store_seal(struct store *s, const char *id, const void *data, size_t len, struct err *err);
int store_unseal(struct store *s, const char *id, struct str *out, struct err *err); /* ERR_NOT_FOUND, ERR_AUTH */
int store_seal_erase(struct store *s, const char *id, struct err *err);              /* absent is fine */
int store_seal_sweep(struct store *s, struct err *err);

/* Plans of pull requests (docs/semantics.md 10), sealed, readable by every machine of the journal. name: STORE_PLAN_REPOSITORY digits that all plans
 * of a repository share, a '-' and 32 more. At most 60 of a repository and 300 in all stay, for STORE_PLAN_DAYS. */
enum { STORE_PLAN_DAYS = 30, STORE_PLAN_REPOSITORY = 16, STORE_PLAN_NAME = STORE_PLAN_REPOSITORY + 1 + 32 + 1 };
/* In place of the one of that name. */
int store_plan_keep(struct store *s, const char *name, const void *data, size_t len, struct err *err);
/* ERR_NOT_FOUND; ERR_AUTH: it is not what store_plan_keep was given for that name. */
int store_plan_read(struct store *s, const char *name, struct str *out, struct err *err);
int store_plan_drop(struct store *s, const char *name, struct err *err); /* absent is fine */

int store_deployment_add(struct store *s, const json_t *deployment, struct err *err);
/* ERR_EXISTS-like: ERR_LOCKED when name.environment has one that holds locks (ret_holder: its id, the caller's). */
int store_lock(struct store *s, const char *name, const char *environment, const char *id, char **ret_holder,
               struct err *err);
int store_unlock(struct store *s, const char *id, struct err *err);
/* Sets members of the deployment's object ("state", "reason", …). */
int store_deployment_set(struct store *s, const char *id, const json_t *members, struct err *err);
int store_deployment_get(struct store *s, const char *id, json_t **ret, struct err *err); /* ERR_NOT_FOUND */
/* Newest first. Filters may be NULL. undecided: neither committed, undone, refused, or not cleaned. */
struct store_filter {
	const char *name, *environment, *job_key;
	bool undecided;
	int limit;
};
int store_deployment_list(struct store *s, const struct store_filter *filter, json_t **ret_array, struct err *err);

int store_step_add(struct store *s, const char *id, int index, const json_t *step,
                   struct err *err); /* {"step","id","name","target":[…],"state"} */
int store_step_set(struct store *s, const char *id, int index, const json_t *members, struct err *err);
int store_step_list(struct store *s, const char *id, json_t **ret_array, struct err *err);

/* Stores all intents of a step and target in one transaction; sets the ids. */
int store_changes_add(struct store *s, const char *id, struct change *changes, size_t count, struct err *err);
/* Stores the state, note and the state row (engine/record/change.h) in one transaction. */
int store_change_set(struct store *s, const char *id, const struct change *change, enum change_state state,
                     const char *note, struct err *err);
int store_change_list(struct store *s, const char *id, struct plan *ret, struct err *err); /* by id, ascending */
/* Has a committed deployment of that name and environment a change on the target? Asked at the start of each one, however many there were. */
int store_target_changed(struct store *s, const char *name, const char *environment, const char *target, bool *ret,
                         struct err *err);

/* Changes as another store recorded them (the copy on a target): with their ids and states, for a deployment that has no changes here yet. */
int store_changes_import(struct store *s, const char *id, const struct plan *changes, struct err *err);

int store_event_add(struct store *s, const char *id, int step_index, const char *kind, const json_t *data,
                    struct err *err);
/* What a step saw: it outlives the process, and a power cut once anything else was written behind it. Hundreds of them cost no second. */
int store_event_note(struct store *s, const char *id, const char *kind, const json_t *data, struct err *err);
int store_event_list(struct store *s, const char *id, json_t **ret_array, struct err *err);

int store_state_get(struct store *s, const char *scope, const char *target, const char *key, json_t **ret,
                    struct err *err);
int store_state_forget(struct store *s, const char *scope, const char *target, const char *key, struct err *err);
int store_state_list(struct store *s, const char *scope, const char *target, json_t **ret_object, struct err *err);

/* Gives up the reserve (1 MiB) so that an undo can be recorded on a full disk; it is made again when the store is next opened. */
void store_give_up_reserve(struct store *s);

/* Test builds count journal records here and may kill the process after the n-th (DAVIT_TEST_KILL_AT=n). */
extern void (*store_after_write)(void);
/* The same for the simulator's coverage: each state of a change that became durable. */
extern void (*store_after_change)(enum change_state state);
