/* A kind of changes: the driver that looks at them, explains, saves, makes and takes them back. The engine knows drivers by their
 * flags and members only; the record's "kind" of a change is the driver's name.
 *
 * | member    | touches | promises                                                                       | NULL             |
 * | compare   | reads   | how the world stands to the change; an outcome that is unknown yet is an error    | cannot be looked at |
 * | explain   | reads   | why compare said MATCH_NEITHER or MATCH_PART: "the mode is 0644 instead of 0600"  | nothing to say   |
 * | save      | writes  | the former state lies in the target's copy; made durable by the engine            | the record has it |
 * | apply     | writes  | makes it; the same change twice is harmless                                       | its step makes it |
 * | undo      | writes  | restores what the record and the copy say; twice equals once                      | its step does, or nobody |
 * | settle    | writes  | behind the undo of all changes: what those of others touched is as it was (a directory's time) | nothing to do |
 * | touches   | nothing | is that path one of those that the change touches?                                | its own path and what lies below |
 * | names     | nothing | does it name that path, so that it must go first when the path goes?              | no               |
 * | release_of | nothing | the name of the release that is valid once it is made                            | none             |
 * | made      | nothing | directories that came with it: an empty one is a leftover of its undo             | none             |
 * | leftovers | nothing | further paths beside which a killed process may leave private names               | its own only     |
 * | is_named  | nothing | does the input of its step name it? Asked of a record that only a target has        | files: by path; others: no |
 * | resume    | waits   | the task that c->task names (NULL: its name was lost) has ended; x->undoing: it may be cancelled | compare decides |
 * | alone     | nothing | the lines by which its target takes it back without us (engine/alone/alone.h)      | it cannot        |
 * | needs     | nothing | who and what must be there: "u USER", "g GROUP", "p DIRECTORY that can be written" | nothing          |
 *
 * An API guards nothing by itself and answers late. Its driver calls change_guard right before each request that changes something,
 * change_note_task as soon as it knows the API's name of the task, and then waits. A request that may have been carried out although its
 * reply was lost is ERR_UNKNOWN; a task that failed is ERR_FAILED; one that still runs when the time is up is ERR_TIMEOUT.
 *
 * A driver keeps nothing between calls: undo may run in another process, which has the record and the target only.
 */
#pragma once
#include "engine/record/change.h"
#include "engine/target/target.h"

/* How the world stands to a change. */
/* MATCH_PART: a directory of which each attribute is as before or as after: an interrupted change; undone like MATCH_AFTER. */
enum change_match { MATCH_AFTER, MATCH_BEFORE, MATCH_BOTH, MATCH_PART, MATCH_NEITHER };

enum change_flag {
	CHANGE_BLIND = 1 << 0,  /* cannot be looked at, and may touch anything on its target */
	CHANGE_SWITCH = 1 << 1, /* all before it is made durable first (with release_of: if that names one) */
	CHANGE_TREE = 1 << 2,   /* filled bit by bit: its existence does not mean that it is complete */
	CHANGE_FILES = 1 << 3,  /* of a host's files: durable after a barrier, private names beside them */
	CHANGE_ASIDE = 1 << 4,  /* keeps data beside the deployed files, without changing them */
	CHANGE_LATER = 1 << 6,  /* stands in a plan for one that is planned anew once more is known */
	CHANGE_EMPTY = 1 << 5,  /* makes a directory that its undo removes only while it is empty */
};

/* The arguments of a driver's call. Borrowed for its duration. */
struct change_call {
	struct view *v;       /* the change's target, to look at it */
	struct target *t;     /* the same, to change it; NULL if only looking is allowed */
	const char *lock_dir; /* the parent of undo/; NULL: not needed */
	bool undoing;         /* a running task is to be taken back */
	/* The engine's, behind change_guard and change_note_task; NULL: a target whose operations guard themselves. */
	int (*guard)(void *context, struct err *err);
	int (*note_task)(void *context, const char *task, struct err *err);
	void *context;
};

struct change_type {
	const char *name;
	unsigned int flags; /* enum change_flag */
	int (*compare)(struct change_call *x, const struct change *c, enum change_match *ret, struct err *err);
	int (*explain)(struct change_call *x, const struct change *c, struct str *out, struct err *err);
	int (*save)(struct change_call *x, const struct change *c, struct err *err);
	int (*apply)(struct change_call *x, struct change *c, struct err *err);
	int (*resume)(struct change_call *x, const struct change *c, struct err *err);
	int (*undo)(struct change_call *x, const struct change *c, struct err *err);
	int (*settle)(struct change_call *x, const struct change *c, struct err *err);
	bool (*touches)(const struct change *c, const char *path);
	bool (*names)(const struct change *c, const char *path);
	const char *(*release_of)(const struct change *c); /* borrowed */
	void (*made)(const struct change *c, struct strv *ret);
	void (*leftovers)(const struct change *c, struct strv *ret);
	bool (*is_named)(const struct change *c, const json_t *input);
	void (*alone)(const struct change *c, struct str *out);
	void (*needs)(const struct change *c, struct strv *ret);
};
