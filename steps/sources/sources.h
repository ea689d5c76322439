/* Sources, which can be kept and put back: a family of kinds, one const table in a file each. The steps that keep (snapshot) and that put
 * back (restore) know them through this list alone; kept.c has the code shared by all.
 *
 * A snapshot is a directory, BASE/snapshots/NAME.ENVIRONMENT/ID/PLACE:
 *   manifest   what is in it, with digests (steps/common/manifest.h); made last: with it the snapshot is whole
 *   subject    "SOURCE WHAT": what it is a snapshot of; files have none
 *   …          the source's own
 *
 * | member   | touches | promises                                                                            | NULL         |
 * | describe | nothing | what is kept, in half a sentence                                                     |              |
 * | validate | nothing | rules that a schema cannot say                                                       | none         |
 * | subject  | nothing | WHAT of its snapshots, the same as long as the same thing is meant                   | found by its place |
 * | plan     | reads   | its size, the room for it, whether it can be kept (and, to_put_back, put back)        |              |
 * | keep     | writes  | what it holds lies in the directory; what of it stays outside (a database to prove it) is gone | |
 * | put_back | writes  | the content is what the snapshot `from` holds, durable; the directory `own` is where notes may lie | |
 * | is_untouched | reads | a put_back into `own` that did not end has replaced nothing                           | who knows    |
 * | sweep    | writes  | what a killed process left of either outside the directory is gone; twice equals once | nothing is left |
 */
#pragma once
#include "engine/run/step.h"
#include "steps/common/manifest.h"

struct source;
/* A source with its inputs. */
struct source_call {
	const struct source *source;
	const struct step_context *c;
	const json_t *in;  /* its own inputs, read and with their defaults */
	const json_t *env; /* variables for its programs, secrets among them; NULL: none */
	json_t *all;       /* all inputs of the step */
};
/* The result of a plan. Objects are the plan's. */
struct source_plan {
	char *summary; /* "snapshot of 2 paths, 7 files, 1.2 MB"; NULL: there is nothing to keep, as a warning said */
	json_t *extra; /* data for the undo beside the inputs, and the part for the digest: extra.plan */
	json_t *shown; /* for people */
};
/* What the API that has it keeps itself, by changes of kinds of its own: nothing of it lies below BASE, and davit's records of it are rows of the
 * store. Only what a row names is ever put back or removed.
 *
 * | check   | reads  | faults: what can be known before the first change               |
 * | keep    | reads  | plans the snapshot; restore: its undo puts it back first         |
 * | replace | reads  | plans the way to the snapshot that `from` means                  |
 * | back    | reads  | plans the way to what a change of an earlier deployment kept     |
 * | back_to | reads  | plans the way to what was kept when that release was replaced    |
 * | clean   | writes | retention                                                       |
 */
struct source_outside {
	const char *target; /* the kind of targets that has it */
	int (*check)(const struct source_call *s, struct view *v, bool to_put_back, struct faults *faults,
	             struct err *err);
	int (*keep)(const struct source_call *s, struct view *v, bool restore, struct plan *plan, struct err *err);
	int (*replace)(const struct source_call *s, struct view *v, const json_t *from, struct plan *plan,
	               struct err *err);
	int (*back)(const struct source_call *s, struct view *v, const struct change *former, struct plan *plan,
	            struct err *err);
	int (*back_to)(const struct source_call *s, struct view *v, const char *release, struct plan *plan,
	               struct err *err);
	int (*clean)(const struct source_call *s, struct target *t, struct err *err);
};
struct source {
	const char *name; /* the input that holds its inputs */
	const char *verb; /* verb for keeping: "keep a copy of" */
	bool programs;    /* runs programs of the target, with variables */
	bool moves;       /* its snapshots may go to another environment */
	void (*describe)(const struct source_call *s, struct str *out);
	void (*validate)(const struct source_call *s, struct faults *faults);
	void (*subject)(const struct source_call *s, struct str *out);
	int (*plan)(const struct source_call *s, struct view *v, bool to_put_back, struct plan *plan,
	            struct source_plan *ret, struct err *err);
	int (*keep)(const struct source_call *s, struct target *t, const struct change *change, json_t *head,
	            struct tree *all, struct err *err);
	int (*put_back)(const struct source_call *s, struct target *t, const char *from, const json_t *head,
	                const char *own, struct err *err);
	int (*is_untouched)(const struct source_call *s, struct view *v, const char *own, bool *ret, struct err *err);
	int (*sweep)(const struct source_call *s, struct target *t, const char *own, struct err *err);
	const struct source_outside *outside; /* NULL: its snapshots lie on its host */
};
extern const struct source source_files, source_postgres, source_volume, source_command, source_proxmox,
	source_scaleway;

/* The source that the step's inputs name. Exactly one is given: the schema says so. */
void source_call_init(struct source_call *s, const struct step_context *c);
void source_call_done(struct source_call *s);
/* A step's `check`: its targets are of the kind that has such a source, and what that says. */
int source_check_targets(const struct source_call *s, bool to_put_back, struct faults *faults, struct err *err);
/* A step's `outputs`, for what lies outside: the deployment whose snapshots the store now names. */
int source_tell_outside(const struct source_call *s, struct view *v, struct err *err);
int64_t source_duration_ms(const json_t *in, const char *name);

/* ---- content.c: files, links and directories ---- */

/* Copies a file, link or directory without what the patterns (relative to `from`) exclude. `to` must be absent, its directory there. */
int source_copy(struct target *t, const char *from, const char *to, const struct ignore *ignore, struct err *err);
/* Puts a copy back in place of the current content; excluded entries stay as they are now. copy NULL: there was nothing. */
int source_copy_back(struct target *t, const char *copy, const char *path, const struct ignore *ignore,
                     struct err *err);

/* ---- files.c ---- */

/* The free bytes of the file system that BASE is on, or will be. */
int source_space_below_base(struct view *v, int64_t *ret_room, struct err *err);
/* Checks that there is room for so many bytes in so many files below BASE, */
struct source_sizes {
	int64_t bytes, files;
};
/* and tells the plan. */
int source_check_space(struct view *v, const struct source_sizes *sizes, struct plan *plan, int64_t *ret_room,
                       struct err *err);
/* Adds up the sizes at a path. */
int source_measure(struct view *v, const char *path, const struct ignore *ignore, enum node_type *ret_type,
                   struct source_sizes *sizes, struct err *err);
/* One path into the directory `goal` names, compared and with digests in `all` below `number`. */
int source_copy_path(const struct step_context *c, struct target *t, const char *path, const char *goal,
                     const char *number, const char *type, const struct ignore *ignore, struct tree *all,
                     struct err *err);

/* All that lies in the directory, with digests. */
int source_add_directory(struct target *t, const char *dir, struct tree *all, struct err *err);

/* ---- kept.c: snapshots of any source ---- */

char *source_snapshots_dir(const struct step_context *c, const struct view *v);
/* The path of this step's snapshot in this deployment. free() */
char *source_own_dir(const struct step_context *c, const struct view *v);
int source_plan_snapshot(const struct source_call *s, struct view *v, bool restore, struct plan *plan, struct err *err);
int source_make(const struct source_call *s, struct target *t, struct change *change, struct err *err);
/* Checks that its content matches its manifest. ret_head: the first line of the manifest; may be NULL. */
int source_check(struct view *v, const char *path, json_t **ret_head, struct err *err);
/* Puts the content back if the change says so, and removes the snapshot. */
int source_unmake(const struct source_call *s, struct target *t, const struct change *change, struct err *err);
/* The oldest whole snapshot of the source in the inputs that is younger than that release: what its successor kept before it changed
 * anything. NULL in *ret: there is none. ret_sure: one that is as old as the release is still there, so none behind it was dropped. */
int source_first_after(const struct source_call *s, struct view *v, const char *release, char **ret, bool *ret_sure,
                       struct err *err);
/* Was it made after that release, and not by it? Both are ids of deployments. */
bool source_is_after(const char *name, const char *release);
/* Only what its manifest begins with, and how many files it has. */
int source_read_manifest(struct view *v, const char *path, json_t **ret_head, size_t *ret_files, struct err *err);
/* Only what its manifest begins with. */
int source_read_head(struct view *v, const char *path, json_t **ret, struct err *err);
/* ---- from.c: the snapshot that `from` means. head: what its manifest begins with, without what of it is not meant ---- */
struct source_from {
	char *path;
	json_t *head;
	char *copy_target, *copy_name; /* of the copy that is fetched to that path first; NULL: it lies there */
};
void source_from_done(struct source_from *f);
/* files: the head if all paths that are named are in it, without what else it has; NULL: they are not. */
json_t *source_only_paths(const struct source_call *s, const json_t *head);
/* Is this subject, "SOURCE WHAT" and perhaps where it was, the inputs' own, or of that name? Another environment has it elsewhere. */
bool source_is_meant(const struct source_call *s, const char *there, const char *name);
/* Does it name another deployment or environment than the one that is deployed? */
bool source_is_elsewhere(const struct source_call *s, const json_t *from);
int source_find_from(const struct source_call *s, struct view *v, const json_t *from, struct source_from *ret,
                     struct err *err);
/* The path of a snapshot of the source in the inputs, below the directory of one deployment; NULL in *ret: none. */
int source_place(const struct source_call *s, struct view *v, const char *snapshot, char **ret, struct err *err);
enum { SUBJECT_MAX = 4096 };
void source_subject(const struct source_call *s, struct str *out); /* "SOURCE WHAT" */
/* Retention: beyond `keep`, older than `keep_for`; never the newest good one. */
int source_clean(const struct source_call *s, struct target *t, struct err *err);

/* ---- replace.c: a source becomes what a snapshot holds, and a step of such changes and of snapshots does with them ---- */

extern const struct change_type *const source_replace_kinds[];
/* Where a copy is fetched to: inside of the snapshot of what is replaced. free() */
char *source_fetched_dir(const struct step_context *c, const struct view *v);
int source_plan_replace(const struct source_call *s, struct view *v, const struct source_from *from, struct plan *plan,
                        struct err *err);
/* A step's `back` and `back_to`. */
int source_back(const struct step_context *c, struct view *v, const struct change *former, bool force,
                struct plan *plan, struct err *err);
int source_back_to(const struct step_context *c, struct view *v, const char *release, struct plan *plan,
                   struct err *err);
int source_apply(const struct step_context *c, struct target *t, struct change *change, struct err *err);
int source_verify(const struct step_context *c, struct view *v, const struct change *change, struct err *err);
int source_undo(const struct step_context *c, struct target *t, const struct change *change, struct err *err);
