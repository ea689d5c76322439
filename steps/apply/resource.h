/* A kind of resource of apply: its entry in `resources`, and how it is compared with the target and planned. apply
 * knows none of them by name: the list is in steps/resources.c.
 *
 * | member   | touches     | promises                                                                     | NULL                   |
 * | id       | nothing     | what tells it from others (a path normalized), of r->id as given; a fault and NULL otherwise | r->id as it is |
 * | validate | nothing     | rules that a schema cannot say, each at its member                           | none                   |
 * | bars     | nothing     | is there no room for `other` where this one is?                              | there always is         |
 * | check    | local files | what can be known before the first change                                    | nothing                |
 * | ahead    | reads       | looks at all of these together; saves round trips only                       | each by itself         |
 * | together | asks        | calls these on the API, as many at once as it bears: each asks for itself     | one after the other    |
 * | words    | nothing     | what its look asks for beside its id, by what is wanted (NULL: it left the desired state) or its row; free() | nothing |
 * | look     | reads       | what is there, as in a change's `before`; its "type" is `what`, "absent" or of another kind | –      |
 * | want     | reads       | what shall be there, as in a change's `after`; content: what the driver writes | –                    |
 * | first    | reads       | adds the changes that must come before this one                              | none                   |
 * | differs  | nothing     | does what is there have to be changed?                                       | whether they are unequal |
 * | remember | nothing     | what was asked for, into the row that apply keeps: no contents, no secrets    | nothing                |
 * | explain  | nothing     | words for the plan, behind the kind's name                                   | none                   |
 * | keeps    | reads       | why it stays although it left the desired state; NULL: it may go              | it may always go       |
 * | forces   | nothing     | the attributes that what is there cannot take over, so that a new one takes its place | it takes over all, and is never replaced |
 * | alike    | nothing     | is the value of an attribute the same there as wanted?                        | whether they are equal |
 * | identity | nothing     | of one with a state of its own: what allow_destroy has to say behind its key, "=101" | its key is enough  |
 * | forbids  | reads       | why that is not done to it at all, whatever is allowed                          | nothing is forbidden   |
 * | outputs  | reads       | what is known of it only once it is there (an address), for others that refer to it: name → string | nothing |
 * | kept     | nothing     | with `source`: how that names it, {"guests": ["101"]}, for `snapshot: before`; the caller's | nothing keeps it |
 * | means    | nothing     | what the change does beside what it sets (a restart), for the plan              | nothing                |
 */
#pragma once
#include "engine/run/step.h"
#include "engine/target/node_cache.h"

struct resource_type;
struct source; /* steps/sources/sources.h */

struct resource {
	const struct resource_type *type;
	const void *in;                                              /* the struct of its schema */
	const char *id;                                              /* "/path" */
	const char *key;                                             /* "file:/path" */
	const char *name;                                            /* its `id` in the desired state; NULL: none */
	bool protect;                                                /* never destroyed or replaced */
	char pointer[96];                                            /* "/resources/3/file" */
	struct field_strings depends_on, ignore_changes, replace_on; /* as given */
	const struct resource **needs;                               /* what depends_on names */
	size_t need_count;
	int level;       /* above that of each that it needs; from 1 */
	json_t *written; /* its input, where strings of it refer to resources; NULL: none does */
};

/* One plan. Borrowed. */
struct resource_call {
	const struct step_context *c;
	struct view *v;
	struct node_cache *seen; /* of hosts: the nodes already looked at */
	json_t *found;  /* by those kinds whose `ahead` puts something here, in their own form; NULL: nothing */
	json_t *looked; /* of an API: key → what was there ahead; NULL: nothing was looked at */
	struct plan *plan;
	/* Of the resource that is looked at: what is wanted (NULL: it left the desired state), and its row (NULL: it has none). */
	const struct resource *wanted;
	const json_t *row;
};

/* One that is looked at ahead: wanted, or the row of what left the desired state. */
struct resource_sight {
	const struct resource_type *type; /* NULL: this program has no such kind */
	const char *key, *id;
	const struct resource *wanted;
	const json_t *row;
};

/* Reports a fault at a member of the resource. */
struct resource_faults {
	struct faults *faults;
	const struct yaml_doc *doc;
};
void resource_fault(const struct resource_faults *f, const struct resource *r, const char *member, const char *fmt, ...)
	_printf_(4, 5);

struct resource_type {
	struct field_choice choice; /* first; its name is the first half of a key: schemas/resources/NAME.json */
	const char *const *targets; /* the kinds of targets that have it, NULL at the end; NULL: every host */
	const struct change_type *const *kinds; /* kinds of changes that it brings along, NULL at the end; NULL: none */
	const struct change_type *change, *remove;
	const struct source *source; /* what keeps it before it is changed; NULL: nothing does */
	bool outlived;               /* with source: what was kept stays when it goes */
	const char *space;           /* the space in which its id is unique, together with other kinds: "path" */
	const char *what;            /* "type" of an existing node of this kind */
	bool by_key;                 /* a change is named by the key, "guest:web", since the id alone says too little */
	bool plain;                  /* may take the place of another plain one when that is allowed */
	const char *const
		*facts; /* attributes that it has beside its input, known with the plan; NULL at the end; NULL: none */
	const char *const
		*families; /* attributes of which it has several: "net" is net0, net1, …; NULL at the end; NULL: none */
	const char *const *
		holds; /* attributes that list what only one resource can have at a time; NULL at the end; NULL: none */
	const char *
		own_id; /* the attribute by which what is there is known to the API that made it: its row keeps it; NULL: none */
	const char *const *output_names; /* of `outputs`, NULL at the end */
	bool edits; /* a part of what others own: what leaves the desired state is forgotten, never destroyed */
	bool nests; /* its id is a path: what lies below it comes after it */
	char *(*id)(const struct resource *r, const char *pointer, struct faults *faults); /* free() */
	void (*validate)(const struct resource *r, const struct resource_faults *f);
	bool (*bars)(const struct resource *r, const struct resource *other);
	int (*check)(const struct step_context *c, const struct resource *r, struct err *err);
	int (*ahead)(struct resource_call *x, const struct resource_sight *sights, size_t count, bool with_way,
	             struct err *err);
	int (*together)(struct view *v, size_t count, void (*one)(void *context, size_t i), void *context,
	                struct err *err);
	char *(*words)(const struct resource *wanted, const json_t *row);
	int (*look)(struct resource_call *x, const char *id, json_t **ret, struct err *err);
	int (*want)(struct resource_call *x, const struct resource *r, const json_t *before, json_t **ret,
	            struct str *content, struct err *err);
	int (*first)(struct resource_call *x, const struct resource *r, struct err *err);
	bool (*differs)(const json_t *before, const json_t *after);
	void (*remember)(const struct resource *r, json_t *row);
	void (*explain)(const struct resource *r, struct str *out);
	int (*keeps)(struct resource_call *x, const char *id, const char **ret_why, struct err *err);
	void (*forces)(const json_t *before, const json_t *after, struct str *out);
	bool (*alike)(const json_t *before, const json_t *after, const char *name);
	void (*identity)(const json_t *before, struct str *out);
	int (*forbids)(struct resource_call *x, const json_t *before, const json_t *after, enum change_action action,
	               struct str *ret_why, struct err *err);
	int (*outputs)(struct resource_call *x, const struct resource *r, json_t *ret, struct err *err);
	json_t *(*kept)(const struct resource *r);
	void (*means)(const json_t *before, const json_t *after, enum change_action action, struct str *out);
};

const struct resource_type *resource_type_of(const struct field_choice *choice);
/* NULL: the step has no such kind. */
const struct resource_type *resource_type_named(const struct step_type *step, const char *name);
/* Why a reference cannot be to that attribute; NULL: it can. later: of a later step, which also knows what is known once it is made. nearest may be set. */
const char *resource_type_refuse(const struct resource_type *type, const char *attribute, bool later,
                                 const char **ret_nearest);
/* A desired state of the source tree: a path from a repository leads to nothing outside of it. yaml_free() */
int resource_read_file(const char *root, const char *name, struct yaml_doc **ret, struct err *err);
bool resource_type_fits(const struct resource_type *type, const struct view *v);
