/* A kind of steps: what a `run:` or a `uses:` becomes. Each has a file in actions/, which ends with its const entry, and a line in
 * actions/list.c. */
#pragma once
#include "agent/worker/worker_priv.h"

/* Where a reference stands. */
struct action_place {
	const json_t *reference;
	int depth; /* of composite actions around it */
};

struct action_type {
	/* Is a step with this reference of the message one of the kind? */
	bool (*takes)(const struct job *j, const json_t *reference);
	/* Before the job's first step. *ret_memory: what main and post get as r->memory. *ret_shown: what a step without a name and a script is
	 * shown as. A refusal is a sentence for the job's log, with the way out as its hint. */
	int (*prepare)(struct job *j, const struct action_place *place, void **ret_memory, char **ret_shown,
	               struct err *err);
	/* The step itself, in r->stage. < 0: it could not be run. */
	int (*run)(struct job *j, struct record *r, const json_t *inputs, enum result *ret, struct err *err);
	/* The condition of a stage before the job's first step or after its last one; NULL: it has no such stage. Without it: none. */
	const char *(*stage)(const void *memory, enum stage stage);
	void (*post)(struct job *j, struct record *r); /* in place of a step's run in STAGE_POST; NULL: that */
	void (*release)(void *memory);                 /* NULL: there is none */
	bool here; /* runs on this machine, even where the job's steps run in a container */
};
const struct action_type *action_type_of(const struct job *j, const json_t *reference);
extern const struct action_type action_script, action_image, action_repository, action_stand_in;
/* True if what it names is not part of this program: the host's policy applies. */
bool action_is_foreign(const struct job *j, const json_t *reference);
