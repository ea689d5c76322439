/* terraform: the program of that name, or tofu, run on a host: planned to a file, judged, and that file applied.
 *
 *   script.c    what runs on the target, for sh
 *   follow.c    its events, as they come
 *   files.c     what the configuration's files say of its backend
 *   look.c      a plan: made in a directory that goes with it, read, and kept in memory
 *   policy.c    allow_destroy, protect, caps
 *   plan.c      all of that as one change
 *   apply.c     the plan's file laid on the target, compared, applied
 *   end.c       how an apply ended, from what it left beside the lock; the lock of a dead one
 *   undo.c      what can be taken back, and the former configuration
 *   terraform.c the step
 *
 * An apply works in LOCK_DIR/terraform-STEP (0700): `plan`, `data` (TF_DATA_DIR), `log` (its events about resources), `lock` (who holds
 * the state's lock while it works: itself), `facts` (how it ended). It outlives the process that began it, and writes them all the same. */
#pragma once
#include "engine/run/step.h"
#include "engine/target/host.h"
#include "providers/terraform/event.h"
#include "providers/terraform/plan.h"
#include "schemas/terraform.h"

enum { TERRAFORM_PLAN_MAX = 48 << 20, TERRAFORM_FILE_MAX = 4 << 20 };

extern const struct change_type change_terraform; /* "terraform"; its paths are "terraform:DIRECTORY" */

/* ---- script.c ---- */
/* The absolute path on the target; free(). ERR_INVALID: relative, and the target is another machine. */
int terraform_directory(const struct step_context *c, const struct view *v, char **ret, struct err *err);
/* A command's environment: the input's, and what makes runs alike. Borrowed texts, in the arena. */
struct field_pair *terraform_env(const struct terraform_in *in, struct arena *arena, size_t *ret_count);
/* Writes its answer as parts, a line "davit NAME STATUS LENGTH" and so many bytes each; events go to the standard error. */
void terraform_plan_script(const struct terraform_in *in, const char *directory, struct str *out);
void terraform_apply_script(const struct terraform_in *in, const char *directory, const char *work, const char *kept,
                            struct str *out);
/* Asks who holds the lock, and frees it where its id is `id` and all processes of its owner have ended. */
void terraform_unlock_script(const struct terraform_in *in, const char *directory, const char *id, struct str *out);

/* ---- follow.c ---- */
struct terraform_follow {
	const struct step_context *c;
	struct str errors; /* the diagnostics that are errors: "summary: detail; " … */
	struct terraform_lock lock;
	bool is_locked, is_applying;
	size_t done, total, ended; /* ended: a summary of an apply was seen */
};
#define TERRAFORM_FOLLOW_INIT(context)                                                                                 \
	{                                                                                                              \
		.c = (context), .errors = STR_INIT(8192)                                                               \
	}
void terraform_follow_line(void *context, bool is_stderr, const char *line, size_t len);
void terraform_follow_done(struct terraform_follow *f);
/* ERR_LOCKED, or ERR_FAILED with what terraform said. */
int terraform_follow_error(const struct terraform_follow *f, int status, struct err *err);

/* ---- files.c ---- */
int terraform_check(const struct step_context *c, struct faults *faults, struct err *err);
/* The same of a directory on the target, which a step before may have brought. ERR_INVALID: all faults. */
int terraform_check_there(const struct step_context *c, struct view *v, struct strv *warnings, struct err *err);

/* ---- look.c ---- */
struct terraform_look {
	struct terraform_plan plan;
	struct str file; /* the plan's file: it holds values in clear */
	char sha256[65]; /* of it */
	char digest[65]; /* of what it does, without secrets: two plans that do the same have the same */
	char *real;      /* the directory, links followed */
	char *lineage;   /* of the state; "" none */
	int64_t serial;
	bool changes;
};
void terraform_look_done(struct terraform_look *l);
int terraform_look_at(const struct step_context *c, struct view *v, const char *directory, struct terraform_look *ret,
                      struct err *err);
/* One part of a script's answer; NULL: it is not there. Moves *at behind it. */
struct terraform_part {
	char name[24];
	int status;
	const char *data;
	size_t len;
};
bool terraform_part_next(const struct str *answer, size_t *at, struct terraform_part *ret);

/* ---- policy.c ---- */
/* own: addresses that may go as well, since this deployment made them; NULL: none. */
int terraform_judge(const struct terraform_in *in, const struct terraform_plan *plan, const struct strv *own,
                    struct err *err);

/* ---- plan.c ---- */
struct terraform_payload {
	struct terraform_look look;
	bool later; /* planned when it is made, since steps before it bring the files */
};
int terraform_plan_step(const struct step_context *c, struct view *v, struct plan *plan, struct err *err);
void terraform_forget(void *memory);
struct terraform_memory {
	json_t *shown; /* "STEP TARGET" → digest of the plan that was shown */
};
void terraform_tell_rows(const struct step_context *c, const struct terraform_plan *plan);

/* ---- apply.c ---- */
int terraform_apply(const struct step_context *c, struct target *t, struct change *change, struct err *err);
char *terraform_work(const struct step_context *c, const struct target *t, const char *name);
/* Applies what was looked at, in the directory `work`. */
int terraform_run_plan(const struct step_context *c, struct target *t, const struct terraform_look *look,
                       const char *directory, const char *work, struct err *err);
char *terraform_kept(const struct step_context *c, const struct view *v);

/* ---- end.c ---- */
struct terraform_end {
	bool exists;          /* it came so far as to be started */
	bool known;           /* it ended by itself */
	int status;           /* then */
	int64_t serial;       /* of the state, behind it; -1 unknown */
	bool errored;         /* there is an errored.tfstate */
	struct strv begun;    /* addresses that it began to change */
	struct strv created;  /* that it created */
	size_t done;          /* of those begun */
	char *lock;           /* the id of the lock that it held; NULL: not known */
	char *real, *lineage; /* as when it began */
	int64_t before;       /* serial */
};
void terraform_end_done(struct terraform_end *e);
int terraform_end_read(const struct step_context *c, struct target *t, const char *work, struct terraform_end *ret,
                       struct err *err);
/* Frees the lock of the state if a process of that apply holds it, which is dead by now; tells if somebody else does. */
int terraform_end_unlock(const struct step_context *c, struct target *t, const char *directory,
                         const struct terraform_end *e, struct err *err);

/* ---- undo.c ---- */
int terraform_undo(const struct step_context *c, struct target *t, const struct change *change, struct err *err);
int terraform_restore(const struct step_context *c, struct target *t, const char *former_release, struct err *err);
void terraform_after(const struct step_context *c, struct str *out);
