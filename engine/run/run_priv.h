/* Inside the engine (engine*.c): one deployment while a process works on it.
 *
 * Files: engine.c (the public entry of deploy and plan), load.c, context.c (what a step sees), document.c (the journal's object), open.c
 * (connections), plan.c (validate, check, plan), findings.c (what these find), room.c (the disk space of all plans together), digest.c,
 * renew.c (journal and target locks, renewal, fencing ourselves), rows.c (where the rows of the environment lie), apply.c (journal order), undo.c (undo order) with undo_change.c,
 * private_names.c, after_undo.c and left_over.c, commit.c (commit, undone, held, cleaning), passed.c
 * (what a gate let in), recover.c with resume.c, reclaim.c and
 * settle.c, takeover.c, elsewhere.c (one journal, several machines), unlock.c, job.c, rollback.c, rollback_plan.c, way_back.c, back.c, park.c, difference.c, report.c.
 */
#pragma once
#include "base/data/json.h"
#include "base/data/yaml.h"
#include "base/core/mem.h"
#include "engine/run/engine.h"
#include "engine/lock/lock.h"
#include "engine/target/keeper.h"

struct etarget {
	char *name;
	struct target_config config; /* typed in the engine's arena */
	struct target *t;
	struct etarget *anchor; /* whose lock guards it and holds its records: itself, or of an API the first host */
	struct target *renewer; /* a second handle: renewal happens while the first is busy */
	bool locked;
	bool earlier; /* a previous committed deployment changed it, by our journal or by the lock's record */
	int64_t renewals;
	bool unreached;                   /* a finding says why */
	char *alone_token, *alone_former; /* of its own watch; NULL: it has none */
	bool went_alone;                  /* it went back by itself, and was heard */
	int64_t away_since;               /* mono ms: reported as out of reach; 0: it answers, as far as is known */
};

struct estep {
	struct engine *e;
	const struct step_type *type;
	int index, place; /* place: in the file, of which a rollback may have kept only some steps */
	char *id, *display;
	char identity[65]; /* of the input in the file, before outputs are put in */
	json_t *input;
	json_t *named; /* with what stands in the file that it names, once a record was compared with it; else NULL */
	struct arena arena;
	const void *typed;
	bool texts, validated; /* "texts" of its object; by its type */
	struct target **targets;
	struct etarget **etargets;
	size_t target_count;
	json_t *outputs;
	struct plan *plans; /* one a target: the plan that was shown */
	bool unplanned;     /* something was found about it, so that there is no (whole) plan */
	bool fresh;         /* we ran nothing since it was made: it need not be made again */
	bool begun;         /* at least one change was started, or may have been */
	bool has_baseline, baseline_ok, baseline_open; /* open: it was not known when the first change began */
	struct step_context context;
};

/* step_type.memory of one type. */
struct ememory {
	const struct step_type *type;
	void *data;
};

struct engine {
	const struct engine_options *o;
	struct store *store;
	struct wait wait;               /* the caller's with our tick */
	struct crew *crew;              /* of changes that are made at the same time; NULL: none are */
	const struct deployment *given; /* while it is loaded: what was read of it */
	json_t *deployment;             /* as given; may hold secrets */
	json_t *doc;                    /* the journal's object */
	char *id, *name, *environment, *source_root, *scope;
	struct keeper keeper;    /* where the rows of the environment lie: `rows_at`, else the journal */
	struct etarget *rows_at; /* the target that `state` names; NULL: none */
	json_t *rows;            /* of a plan, as read there; NULL: they are in the journal */
	bool rows_locked;        /* the lock of that place is ours */
	int64_t rows_renewals, rows_renewed_ms;
	bool hold; /* on_failure: hold */
	bool fresh_locks; /* no lock of a target was asked for so far, by this process or one before it: nothing of it lies there */
	bool maybe_open; /* the record that it is open was refused or not answered: the journal may have it */
	struct step_deployment facts;
	struct arena arena;
	struct etarget *targets; /* hosts that are locked before all else, each by name: targets[0] is the anchor */
	size_t target_count, host_count;
	size_t named_count; /* without the host that was only added since the file names none */
	struct estep *steps;
	size_t step_count, step_cap;
	struct ememory *memories;
	size_t memory_count;
	int owner_fd;
	bool recorded;       /* the journal has it */
	bool from_copy;      /* the changes were read from the targets: `intent` proves nothing */
	bool journal_failed; /* a record of the undo could not be written: the journal is behind the world */
	bool no_space;       /* a change could not be taken back for lack of space on its target */
	bool undo_stopped;   /* by a second SIGINT */
	bool fenced;
	bool recovered;        /* by the recovery of a deployment whose process is gone */
	bool recorded_object;  /* the deployment was sealed by the engine itself: it may have the engine's own step */
	bool from_file;        /* the steps come from a file given now, not from the sealed object */
	int only_step;         /* a job's step undoes its own changes only; -1: all */
	int64_t undo_deadline; /* mono ms; 0: not begun */
	char digest[65];
	json_t *digested;     /* what the digest is of */
	json_t *left_over;    /* [{"target","path","reason","change"}] */
	struct faults found;  /* before the first change, until they are told */
	struct err found_err; /* the error behind the only one of them */
	int found_code;
	json_t *findings; /* as they were told: [{"severity","step","target","at","text","hint"}]; NULL: none */
	json_t *stays;    /* of a rollback: things it does not take back, a string each; NULL: not requested */
	enum deployment_state state;
	struct err reason; /* why it failed */
	char *live_what;   /* the current activity, for people who watch; NULL: none */
	int64_t live_since, live_own;
	int64_t next_renewal; /* mono ms; 0: with the next tick */
};

/* ---- load.c ---- */
int engine_load(struct engine *e, const struct deployment *deployment, const struct engine_options *o, struct err *err);
/* Loads a sealed deployment: it may hold the step of a rollback, which a file may not. */
int engine_load_recorded(struct engine *e, const json_t *deployment, const struct engine_options *o, struct err *err);
/* Inserts a step of the engine's own; the following ones move by one. */
int engine_insert_step(struct engine *e, size_t at, const json_t *given, struct err *err);
void engine_done(struct engine *e);
struct etarget *engine_target(struct engine *e, const char *name);
/* Reads the input (again, when it was resolved) into the step's struct. */
int engine_read_input(struct engine *e, struct estep *s, struct faults *faults, struct err *err);

/* ---- rows.c ---- */
/* Where they lie, by the deployment's `state`. */
int engine_rows_find(struct engine *e, struct err *err);
/* Does nothing where they lie in the journal. Waits until the deadline (mono ms). */
int engine_rows_lock(struct engine *e, int64_t deadline, struct err *err);
int engine_rows_unlock(struct engine *e, struct err *err);
int engine_rows_renew(struct engine *e, struct err *err);
int engine_rows_look(struct engine *e, struct err *err); /* without a lock, for a plan */
/* Under the lock: into the journal. */
int engine_rows_take(struct engine *e, struct err *err);
/* The same for a deployment of another journal, whose owner was proven gone. */
int engine_rows_take_over(struct engine *e, struct err *err);
/* Writes them back where they are other ones than were read. ERR_CONFLICT: somebody else wrote there. */
int engine_rows_publish(struct engine *e, struct err *err);
/* Before the commit: what fails is undone. */
int engine_rows_commit(struct engine *e, struct err *err);
/* Once it is undone, or a person accepted it: what somebody else wrote stays, with a warning. A place out of reach is an error. */
int engine_rows_settle(struct engine *e, struct err *err);
void engine_rows_keep_copy(struct engine *e); /* after a commit; does nothing where they lie elsewhere */
int engine_rows_get(struct engine *e, const char *target, const char *key, json_t **ret, struct err *err);
int engine_rows_list(struct engine *e, const char *target, json_t **ret, struct err *err);

/* ---- context.c ---- */
/* Fills the step's context from what is loaded of it. */
void engine_make_context(struct engine *e, struct estep *s);
void engine_forget(struct engine *e); /* what types of steps remembered */

/* ---- document.c ---- */
/* The changes that the journal has of it, with their drivers. */
int engine_changes(const struct engine *e, struct plan *ret, struct err *err);
int engine_changes_of(const struct engine_options *o, const char *id, struct plan *ret, struct err *err);
/* Puts the given deployment's id and times into the journal's object. */
void engine_make_doc(struct engine *e);
json_t *engine_targets_json(const struct engine *e); /* with the host that answered, once they are open */

/* ---- id.c ---- */
char *engine_make_id(struct store *s, const char *name, const char *environment); /* free() */

/* ---- engine.c ---- */
enum { ENGINE_MAX_LINE = 8192 }; /* of what is said, with its NUL */
void engine_say(struct engine *e, const char *level, const char *fmt, ...) _printf_(3, 4);
/* Reaches, locks and plans: all before the first change but for what `engine_carry_out` begins with. */
int engine_look(struct engine *e, struct err *err);
/* From the baseline to the decision. Before the first change an error leaves it `preparing`, and *ret alone. */
int engine_carry_out(struct engine *e, struct engine_result *ret, struct err *err);
int engine_refused_status(int code);
int engine_pause(struct engine *e, int64_t ms, struct err *err);
json_t *engine_line(const struct err *err); /* the error's line as a JSON string */
bool engine_may_retry(int code); /* a lost connection, a passed deadline of one operation, an unknown outcome */

/* ---- tell.c ---- */
/* True if the operation that returned r is retried (engine_may_retry). Reports once that the target is out of reach, why, and until
 * when it is retried; and that it answers again. */
bool engine_again(struct engine *e, struct etarget *et, int r, int64_t left_ms, const struct err *why);
/* The remaining pauses of `tries`, each twice the previous one. */
int64_t engine_tries_left_ms(int64_t first, int tried, int tries);
void engine_live_begin(struct engine *e, const char *what);
void engine_live_end(struct engine *e);
void engine_live_tick(struct engine *e);
void engine_live_step(void *engine, const char *fmt, ...) _printf_(2, 3);

/* ---- passed.c ---- */
/* After the commit: each host keeps the record of the images that a gate let in. What fails is a warning. */
void engine_note_passed(struct engine *e);
/* A person let in what stands: no gate did. */
int engine_note_accepted(struct engine *e, struct err *err);

/* ---- open.c ---- */
int engine_open_target(struct engine *e, struct etarget *et, struct err *err);
/* Those that cannot be reached are told, all of them; err is the first one's. */
int engine_open_targets(struct engine *e, struct err *err);
/* The same, and each of them is a finding. Negative: cancelled. */
int engine_reach(struct engine *e, struct err *err);

/* ---- findings.c ---- */
/* An error of what can be known before the first change: s NULL: of no step; where: a target, or NULL. True if it is a finding; else it ends
 * everything. */
bool engine_find(struct engine *e, const struct estep *s, const char *where, int r, const struct err *why);
/* All of a step's faults, which speak of its own input; faults is empty then. */
void engine_find_faults(struct engine *e, const struct estep *s, const char *where, struct faults *faults);
/* Tells them, all at once. 0: there are none, or warnings only. */
int engine_findings_end(struct engine *e, struct err *err);

/* ---- room.c ---- */
/* Do the plans of all steps together have room on each file system of their targets? */
int engine_check_room(struct engine *e, struct err *err);

/* ---- plan.c ---- */
int engine_validate(struct engine *e, struct err *err);
/* The checks of all steps and, with plan, their plans, on each target that answers: all that is found at once. */
int engine_examine(struct engine *e, bool plan, struct err *err);
bool engine_step_has_target(const struct estep *s, const char *target);
int engine_plan_step(struct engine *e, struct estep *s, struct plan *ret_plans, struct err *err);
/* While targets are being connected steps may read local files. */
void engine_begin_steps(struct engine *e);
/* Something was run that may have invalidated the plans. */
void engine_plans_are_stale(struct engine *e);
int engine_baseline(struct engine *e, struct err *err);
/* What was not known before the first change, and is now. */
void engine_baseline_late(struct engine *e);
/* For a gate whose baseline nobody knows: the version that stands was let in by its gate when it was committed. */
int engine_borrow_baseline(struct engine *e, struct estep *s, struct err *err);
/* digest.c: sets e->digest from the plans. */
void engine_make_digest(struct engine *e);
/* The same with what the process masks covered in each text: for the journal. */
json_t *engine_without_secrets(const json_t *value);
json_t *engine_digest_step(const struct engine *e, const struct estep *s);
json_t *engine_plan_json(const struct engine *e);
/* It would bring the world back to its description. */
bool engine_is_drift(const struct change *c);
/* All faults as one error. */
int engine_faults(struct engine *e, struct faults *faults, struct err *err);

/* ---- renew.c ---- */
int engine_begin(struct engine *e, struct err *err);    /* id, owner file, record `preparing` */
int engine_lock_all(struct engine *e, struct err *err); /* journal, then the targets by name; waits */
/* True if a previous committed deployment changed this target, as far as the journal knows. */
bool engine_changed_earlier(const struct engine *e, const struct etarget *et);
int engine_lock_target(struct engine *e, struct etarget *et, json_t **ret_holder, struct err *err);
int engine_unlock_all(struct engine *e, struct err *err); /* targets (the anchor last), journal, owner file */
int engine_take_over_target(struct engine *e, struct etarget *et, const json_t *former, struct err *err);
/* After a lost reply: a new token, and ends everything that still runs, so that nothing of ours arrives late. */
int engine_refence(struct engine *e, struct etarget *et, struct err *err);
int engine_tick(void *engine, struct err *err);
int engine_set_state(struct engine *e, enum deployment_state state, json_t *members, struct err *err);
int engine_seal(struct engine *e, struct err *err);

/* ---- driver.c ---- */
/* False: its driver makes, looks at and takes back the step's changes there, as those of every API. */
bool engine_step_makes(const struct etarget *et);
int engine_change_apply(struct engine *e, struct etarget *et, struct change *c, struct err *err);
int engine_change_undo(struct engine *e, struct etarget *et, struct change *c, struct err *err);
/* Waits for its running task; 0: there is none. ERR_FAILED: the task failed. Compare then shows the state. */
int engine_change_resume(struct engine *e, struct etarget *et, struct change *c, struct err *err);

/* ---- apply.c ---- */
int engine_apply_step(struct engine *e, struct estep *s, struct err *err);
int engine_apply_all(struct engine *e, struct err *err);
int engine_verify_all(struct engine *e, struct err *err);
int engine_settled_by_undo(int r, struct err *err);
/* Journals, saves and makes these changes of one step on one target. */
int engine_apply_change(struct engine *e, struct estep *s, struct etarget *et, struct change *c, struct err *err);
/* together.c: all of the plan, level by level. */
int engine_apply_together(struct engine *e, struct estep *s, struct etarget *et, struct plan *plan, struct err *err);
int engine_apply_changes(struct engine *e, struct estep *s, struct etarget *et, struct plan *plan, struct err *err);

/* ---- undo.c ---- */
/* Takes back, restores, runs after_undo and the gate. 0: all is as it was; ERR_CONFLICT: left-overs are in e->left_over. */
int engine_undo(struct engine *e, struct err *err);
/* At least one change was started, or may have been. */
bool engine_anything_begun(const struct engine *e);

/* ---- after_undo.c ---- */
/* DAVIT_FORMER_RELEASE: the release that is valid on the target now that it is switched back; NULL in *ret: it had nothing before. free() */
int engine_former_release(struct engine *e, const struct plan *all, struct etarget *et, char **ret, struct err *err);
/* An expression in it waits for an output of an earlier step. */
bool engine_is_unresolved(const json_t *value);

/* ---- left_over.c ---- */
void engine_leave_over(struct engine *e, const char *target, const char *path, int64_t change, const char *fmt, ...)
	_printf_(5, 6);
/* Before the deployment is held after an undo that ended with `code`: adds all that is still in place and not named yet, newest first. */
void engine_leave_rest(struct engine *e, int code);

/* ---- private_names.c ---- */
/* Removes leftovers of an interrupted try of this change beside its path; the try must have ended. */
int engine_sweep_beside(struct engine *e, struct etarget *et, const struct change *c, struct err *err);

/* ---- alone.c ---- */
int64_t engine_alone_after_ms(const struct engine *e); /* 0: targets do nothing by themselves */
int64_t engine_alone_tick_ms(const struct engine *e);
/* Adds to the plan what the targets cannot take back by themselves. */
void engine_alone_warn(struct engine *e, struct estep *s, size_t target);
/* Before the first change: on all hosts the watch lies there, armed, and runs. */
int engine_alone_arm(struct engine *e, struct err *err);
/* Before these changes, and before the barrier for them. */
int engine_alone_lay(struct engine *e, struct estep *s, struct etarget *et, const struct plan *plan, struct err *err);
/* From this target on none goes back by itself any more, durably. ERR_FENCED: one already did. */
int engine_alone_disarm(struct engine *e, size_t from, struct err *err);
void engine_alone_disarm_all(struct engine *e); /* as far as they answer */
/* The lock is ours again: what the target did meanwhile. */
void engine_alone_hear(struct engine *e, struct etarget *et);
void engine_alone_fenced(struct engine *e);

/* ---- commit.c ---- */
/* From here on a first SIGINT and a SIGTERM stop nothing: the rest must be done. A second SIGINT stops an undo. */
void engine_past_cancel(struct engine *e);
/* All files of the deployment's changes are durable when it returns. */
int engine_barrier_all(struct engine *e, struct err *err);
/* A step died in the middle of a change (and the job continued): the record says neither made nor taken back. free() what; NULL: none. */
char *engine_half_made(struct engine *e);
int engine_commit(struct engine *e,
                  struct err *err); /* ERR_CONFLICT and the like: not marked, undo; ERR_UNKNOWN: nobody can tell yet */
int engine_finish_commit(struct engine *e,
                         struct err *err); /* the anchor is marked: journal, other marks, cleaning, report */
int engine_finish_undone(struct engine *e, int exit_status, struct err *err);
int engine_hold(struct engine *e, const char *reason, struct err *err);
int engine_refuse(struct engine *e, int exit_status, struct err *err);
/* Removes locks, undo data and sealed secrets; failures are warnings, recovery tries again. */
void engine_clean(struct engine *e, bool committed);
void engine_settled(struct engine *e, enum outcome_state state, int exit_status);
/* What is to be told is kept, the rest cleaned, and then it is told: whoever dies in between leaves
 * it to the next deployment that tells the same place. */
void engine_clean_and_tell(struct engine *e, enum outcome_state state, int exit_status);
/* Failure: undo or hold, decide, and report the end. code: the error. */
void engine_fail(struct engine *e, int code, struct err *err, struct engine_result *ret);

/* ---- resume.c ---- */
enum deployment_state engine_state_of(const json_t *doc);
/* Claims the owner's file of a deployment of the journal and loads it with its sealed object. ERR_LOCKED: its owner lives, or may
 * live; ERR_AUTH: the sealed object is missing. in_job: a step of the job itself may take it. */
int engine_resume(struct engine *e, const json_t *doc, const struct engine_options *o, const struct deployment *given,
                  bool in_job, struct err *err);
/* Loads it, owned or not. */
int engine_load_known(struct engine *e, json_t *doc, const struct engine_options *o, const struct deployment *given,
                      struct err *err);
/* The same without a claim, for a plan: nothing is taken, nothing is written. */
int engine_load_to_look(struct engine *e, const json_t *doc, const struct engine_options *o, struct err *err);
/* Prepares an engine's steps from its journal: which were begun, baselines. */
int engine_load_history(struct engine *e, struct err *err);

/* ---- reclaim.c ---- */
/* The lock's record names this host's journal. */
bool engine_is_of_this_journal(const struct engine *e, const json_t *record);
/* Opens the targets and takes over the locks that carry this deployment; *ret_mark: as engine_mark_there; *ret_found: how many locks. */
int engine_take_over_all(struct engine *e, char **ret_mark, size_t *ret_found, struct err *err);
/* All locks are ours: the anchor's mark ("committed", "undone"; NULL: not decided), free(). */
int engine_mark_there(struct engine *e, char **ret_mark, struct err *err);

/* ---- settle.c ---- */
/* No lock and no copy on the targets: someone else finished it, and the world shows how. Returns the exit status. */
int engine_settle_by_looking(struct engine *e, struct err *err);

/* ---- recover.c ---- */
/* Recovers deployments of this environment whose owner is dead; always 0. */
int engine_recover_environment(const struct engine_options *o, const char *name, const char *environment);
/* undoing, undo, undone or held. Returns the exit status: 0, 4. */
int engine_undo_and_decide(struct engine *e, int recorded_status, struct err *err);
/* Recovers one deployment of the journal, as in section 9. Returns an exit status: 0, 4, 5. */
int engine_recover_one(const json_t *doc, const struct engine_options *o, const struct deployment *given,
                       struct engine_result *ret, struct err *err);

/* ---- park.c ---- */
/* Refuses what cannot wait: a step that waits behind one that changes something, two of them, nothing sealed. */
int engine_check_waiting(struct engine *e, struct err *err);
/* People have to agree before the first change: there is such a step, and something is planned. */
bool engine_must_wait(const struct engine *e);
/* Planned, and nothing changed yet: all locks are given back, and it waits. Returns the exit status. */
int engine_park_planned(struct engine *e, struct err *err);
/* Back to waiting, from `preparing`. */
int engine_park_again(struct engine *e, struct err *err);
/* Of a recovery: closes one that has waited for too long, and else leaves it. unasked: and says nothing of it. Returns the exit status. */
int engine_recover_parked(const json_t *doc, const struct engine_options *o, bool unasked, struct err *err);

/* ---- difference.c ---- */
/* How the plan `now` differs from the one that people saw, a line each; both as the digest is of them. */
void engine_plan_difference(const json_t *seen, const json_t *now, struct strv *ret);
/* The same for the plan that was just made, reported. */
void engine_tell_difference(struct engine *e, const json_t *seen);
/* ERR_CONFLICT: the plan is not the one that the options expect; how it differs is reported. */
int engine_check_expected(struct engine *e, struct err *err);

/* ---- takeover.c ---- */
/* Recovers a deployment whose journal is not here, from its file and the targets. Returns an exit status. */
int engine_recover_from_targets(const struct engine_recover_options *ro, const struct engine_options *o,
                                struct engine_result *ret, struct err *err);

/* ---- import.c ---- */
/* Puts the copies' changes into the journal, if it has none yet. ERR_CONFLICT: a copy does not match the file; then it is held. */
int engine_import_changes(struct engine *e, struct err *err);
/* Sets the identity of a step: its type, its targets and its inputs, as a digest; no secrets. */
void engine_step_identity(struct engine *e, struct estep *s);
/* Checks that the file's steps are those that ran (the journal's list). ERR_CONFLICT: they are not. */
int engine_check_steps(struct engine *e, const json_t *steps, struct err *err);

/* ---- way_back.c ---- */
extern const struct step_type engine_way_back;
/* Inputs for it. ERR_REFUSED: the deployment had nothing before it, or switched a link that is not named any more. */
json_t *engine_way_to_release(const struct engine *e, const char *release);
int engine_way_behind(struct engine *e, const struct plan *changes, json_t **ret, struct err *err);
int engine_add_way_back(struct engine *e, size_t at, const json_t *input, struct err *err);
struct estep *engine_way_back_of(struct engine *e); /* NULL: this is not a rollback */
/* Adds the step of a rollback whose object was not sealed to a file's steps, from the journal's document. */
int engine_recall_way_back(struct engine *e, const json_t *doc, struct err *err);
/* The same for a rollback that only the copies on the targets know: `index` is from the record. */
int engine_expect_way_back(struct engine *e, int index, struct err *err);
/* The names of the releases that lie where the step switches. */
int engine_releases_there(struct engine *e, struct strv *ret, struct err *err);
/* True if the record is of a link that this step switches on that target. */
bool engine_may_switch(const struct estep *s, const char *target, const struct change *c);

/* ---- back.c ---- */
/* The step that makes a change of the step s and takes it back: s itself, or of a rollback the step that the change leads back. */
struct estep *engine_maker(struct engine *e, struct estep *s, const struct change *c);
/* A step knows the way back from this change of the deployment that is rolled back. */
bool engine_leads_back(struct engine *e, const struct change *c);
/* Is there data that `--data` would put back? */
bool engine_keeps_data(const struct estep *s);
/* "formers" for the input of the rollback's step, newest first. */
json_t *engine_back_formers(struct engine *e, const struct plan *changes);
/* This rollback leads the step back by changes of its own: its `restore` is not asked. */
bool engine_led_back(struct engine *e, const struct estep *s);
int engine_back_plan(const struct step_context *c, struct view *v, struct plan *plan, struct err *err);
void engine_back_sort(struct plan *plan); /* newest first */
/* Makes the plans of a rollback newest first, whatever target that is on. */
int engine_back_apply(struct engine *e, struct estep *s, struct plan *plans, struct err *err);

/* ---- rollback.c ---- */
/* A deployment that rolls back the committed `doc`, or goes back to the release `to`: loaded, its step added, nothing opened yet. */
int engine_load_way_back(struct engine *e, const json_t *doc, const char *to, const struct engine_options *o,
                         struct err *err);
/* Once its targets are open. ERR_REFUSED: nothing would be switched; the hint lists the existing releases. */
int engine_plan_way_back(struct engine *e, struct err *err);
/* id NULL: the job's, else the only open or held one. */
int engine_find_for_rollback(const char *id, const struct engine_options *o, json_t **ret, struct err *err);

/* ---- rollback_plan.c ---- */
/* The things that a rollback of the committed `doc`, or to the release `to`, leaves as they are: a string each. */
json_t *engine_stays_behind(struct engine *e, const json_t *doc, const char *to);
void engine_add_stay(struct engine *e, const char *text); /* once */

/* ---- report.c ---- */
json_t *engine_report(struct engine *e);
void engine_result_fill(struct engine *e, struct engine_result *ret, int exit_status);

/* ---- elsewhere.c ---- */
/* In a shared journal: that the deployment changes this machine itself, in its object. */
void engine_note_machine(struct engine *e);
/* ERR_REFUSED: another machine's own files are in it. */
int engine_check_machine(const struct store *s, const json_t *doc, struct err *err);
int engine_check_environment(struct engine *e, struct err *err);
/* Another machine owns the deployment and is not connected: ours, once its locks stood still. ERR_LOCKED: it lives, or that cannot be known. */
int engine_prove_gone(struct engine *e, struct err *err);
/* takeover.c: ERR_LOCKED when the locks' counters move within the time. */
int engine_stands_still(struct engine *e, int64_t after_ms, struct err *err);
