/* One change of the world: what, on which target, from and to, and how far it got. Its record appears in the journal, the target's
 * copy, the plan, the digest and `davit show`; it never holds a secret.
 *
 * Record format 1 (JSON; unknown members are kept, a higher "format" is refused):
 *   {"format":1,"id":12,"step":3,"step_name":"secret-write","target":"web","kind":"file","path":"/opt/shop/.env",
 *    "step_id":"env","step_inputs":"…","action":"update","before":NODE,"after":NODE,"extra":{…},"task":"…","secret":true,"summary":"…","state":"done"}
 *   NODE: {"type":"absent"} | {"type":"file","digest":"…","size":n,"mode":"0600","owner":"root","group":"root","mtime_ns":n}
 *       | {"type":"dir","mode":…,"owner":…,"group":…,"mtime_ns":n} | {"type":"link","link":"…"}
 *   The record of a secret file has no digest and no size: the digest of the new content lies in the copy's undo/ID.after on
 *   the target, which has the content anyway.
 * States: intent → started → done | unknown → undone | conflict | blocked.
 * The previous content of a file, link or tree that a change replaces or removes is saved as undo/ID in the target's copy
 * (LOCK_DIR/undo/) before the change starts.
 */
#pragma once
#include "base/core/mem.h"
#include "base/core/str.h"
#include "engine/record/node.h"

enum { CHANGE_FORMAT = 1, CHANGE_KIND_SIZE = 32 };
enum change_action { ACTION_CREATE, ACTION_UPDATE, ACTION_REPLACE, ACTION_DESTROY, ACTION_ADOPT, ACTION_RUN };
enum change_state {
	CHANGE_INTENT,
	CHANGE_STARTED,
	CHANGE_DONE,
	CHANGE_UNKNOWN,
	CHANGE_UNDONE,
	CHANGE_CONFLICT,
	CHANGE_BLOCKED
};

struct change_type;
struct change {
	int64_t id; /* 1.. in the deployment, in order of making; given by the store */
	int step_index;
	char *step, *target, *path, *summary;
	char *step_id, *step_inputs; /* the file's step: its id, and the digest of its inputs; NULL in old records */
	char kind[CHANGE_KIND_SIZE]; /* its driver's name: small letters, digits and - */
	enum change_action action;
	enum change_state state;
	bool secret;
	json_t *before, *after; /* NODE */
	json_t *extra; /* the step's own, no secrets; part of the record. "risk": words, why people should look at it first. "digest" inside: what a plan's digest counts
	                                 of it ("plan": object that is digested; other members are not) */
	char *task;    /* the API's name of the task that works, or worked, on it; NULL: none */
	char *note;    /* the reason of conflict, blocked or not undone */
	/* Not part of the record. */
	const struct change_type
		*type;      /* its driver (engine/change/change_type.h); NULL: not looked up, or not known */
	struct str content; /* of a file: the new bytes, wiped */
	int level;          /* in its plan, where that has `together`: those of one level need nothing of each other */
	void *payload;      /* the step's, freed by payload_free */
	void (*payload_free)(void *payload);
};

/* What the changes of a plan write below a directory of the target, at most: it may not be there yet. */
struct plan_room {
	char *path;
	int64_t bytes, files;
};

struct plan {
	struct change *changes;
	size_t count, cap;
	struct plan_room *rooms; /* beside the content of its changes, which is counted by itself */
	size_t room_count, room_cap;
	size_t together; /* so many changes of one level at a time, the lowest level first; 0: one after the other, as they stand */
	struct strv warnings; /* shown with the plan */
	json_t *shown;        /* further facts for `--plan --json` and the page, e.g. largest files; not digested */
};
/* engine/change has plan_add, which takes the driver. */
struct change *plan_add_kind(struct plan *p, const char *kind, enum change_action action, const char *path);
void plan_add_room(struct plan *p, const char *path, int64_t bytes, int64_t files);
void plan_done(struct plan *p);
void change_done(struct change *c);

json_t *change_record(const struct change *c);
int change_from_record(const json_t *record, struct change *ret, struct err *err);
const char *change_action_name(enum change_action a);
const char *change_state_name(enum change_state s);

/* Adds the state row of an apply change to change.extra. It moves into the store with the change's done record,
 * and back with its undone record. row NULL: removes the row. */
void change_set_state_row(struct change *c, const char *key, const json_t *row, const json_t *former);
