/* What a host has beside plain files: packages, users, groups, keys, a time zone, swap, rules of a firewall. A kind is a
 * `struct machine_kind` in a file of its own, and serves bootstrap and apply.
 *
 * A kind is two pieces of POSIX sh. `look` prints what is there and changes nothing; all looks of a plan go to the target as one
 * script. `turn` brings one thing to a state, whatever of that was done before, so that it makes, repeats and takes back alike.
 * Values reach both on standard input and as variables, never as a part of the script.
 *
 * A state is {"type": the kind's name | "absent" | …, NAME: text, …}. What a look finds that is no state of the thing itself, yet an undo
 * or a reader needs it (was the home there before?), is a note. Two notes are the driver's: `part`, a creation that was interrupted has left
 * something; `unasked`, it is there, but only because something else needs it, which is as good as absent where it was
 * absent before or shall be. And one is the planner's: `brought`, it was not there and comes with what is made before it, in whatever state.
 */
#pragma once
#include "base/data/fields/read.h"
#include "engine/change/change.h"

struct machine_kind {
	struct change_type change; /* first; its name is the kind's */
	/* The body of a function: prints members with `say NAME VALUE` and notes with `note NAME VALUE`, of $1 (the name of the thing),
	 * $2 (further words of who asks) and, of a change that began, $3 (what `before` printed). PLANNING is empty where what is there is only
	 * compared with a record: what the thing would bring is not asked then. */
	const char *look;
	/* Has ID, ARG, FROM_NAME and TO_NAME of the two states, NOTE_NAME, BEGUN (what `before` printed), CONTENT (of the change, which an undo has no
	 * more), UNDOING. Its last line on standard error says why it failed. */
	const char *turn;
	/* The same once all else is taken back too; NULL: nothing is left to do then. */
	const char *settle;
	/* Printed and kept with the former contents before the first change; NULL: nothing is. */
	const char *before;
	bool by_anyone; /* whoever the target's user is; else root */
	char of_user;  /* an id with it is of the user before it ("deploy/…"), who may do it too; 0: there are none */
	bool by_owner; /* done by the user with whose name the id begins ("deploy:…"), not by the target's */
	int64_t timeout_ms;
	/* A member that a change which failed or was interrupted leaves as it happens ("state"); NULL: none. */
	const char *passing;
	/* A list of names in the state, of which an interrupted creation may have only some; NULL: none. */
	const char *list;
};

/* NULL: none of that name. */
const struct machine_kind *machine_kind_named(const char *name);

/* One thing that is looked at. */
struct machine_sight {
	const struct machine_kind *kind;
	const char *id, *arg; /* neither holds a tab, a line feed or a NUL; arg may be NULL */
	json_t *node, *notes; /* found; machine_sights_done */
};
/* All of them in one round trip. ERR_PROTOCOL: the target answers something else. */
int machine_look(struct view *v, struct machine_sight *sights, size_t count, struct err *err);
void machine_sights_done(struct machine_sight *sights, size_t count);
bool machine_text_fits(const char *text); /* can be `id` or `arg` */

/* Adds the change that leads from what was seen to `after`; NULL: it is so already. The summary is the caller's. */
struct change *machine_plan(struct plan *plan, const struct machine_sight *seen, const json_t *after);
/* Behind a committed deployment: the change that leads back from `former`. ERR_CONFLICT: it is not as that left it. */
int machine_back(struct view *v, const struct change *former, bool force, struct plan *plan, struct err *err);
bool machine_is_absent(const json_t *node);
/* Does `now` have each member of `wanted`, `notes` aside? */
bool machine_covers(const json_t *now, const json_t *wanted);

/* The members of a driver. */
int machine_compare(struct change_call *x, const struct change *c, enum change_match *ret, struct err *err);
int machine_explain(struct change_call *x, const struct change *c, struct str *out, struct err *err);
int machine_save(struct change_call *x, const struct change *c, struct err *err);
int machine_apply(struct change_call *x, struct change *c, struct err *err);
int machine_undo(struct change_call *x, const struct change *c, struct err *err);
int machine_settle(struct change_call *x, const struct change *c, struct err *err);
#define MACHINE_CHANGE(kind_name)                                                                                      \
	{                                                                                                              \
		.name = (kind_name), .compare = machine_compare, .explain = machine_explain, .apply = machine_apply,   \
		.undo = machine_undo                                                                                   \
	}

extern const struct machine_kind machine_package, machine_engine, machine_group, machine_user, machine_key,
	machine_timezone, machine_swap, machine_firewall, machine_unit, machine_sysctl, machine_network, machine_volume;
/* The state that a user who is `before` shall have. shell NULL, uid -1: as it is. The caller's. */
struct machine_user_want {
	const char *name, *home, *shell;
	const struct field_strings *groups;
	int64_t uid;
};
json_t *machine_user_after(const json_t *before, const struct machine_user_want *want);
/* A line of authorized_keys. key: "TYPE BASE64". options, comment: "" where it has none. */
struct machine_key_line {
	char *options, *key, *comment;
};
/* False: sshd would find no key in it, and nothing is to be freed. */
bool machine_key_read(const char *line, struct machine_key_line *ret);
void machine_key_line_done(struct machine_key_line *line);
/* The name of a key in records and plans: "USER:SHA256:…", as ssh-keygen -l shows it. free() */
char *machine_key_id(const char *user, const char *key);
/* False, and why: sshd would pass over a line with these options. */
bool machine_key_options_fit(const char *options, struct str *ret_why);
/* Files of sudoers, and directories for users who are made too: with the drivers of files and directories. */
extern const struct change_type machine_sudoers, machine_place;
/* ERR_FAILED: visudo does not take it, and says why. content NULL: what sudo has. */
int machine_sudoers_check(struct view *v, const char *content, size_t len, struct err *err);
