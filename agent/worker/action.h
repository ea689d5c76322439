/* A kind of steps: what a `run:` or a `uses:` becomes. Each has a file in actions/, which ends with its const entry, and a line in
 * actions/list.c. */
#pragma once
#include "agent/worker/worker_priv.h"

struct action_type {
	/* Is a step with this reference of the message one of the kind? */
	bool (*takes)(const json_t *reference);
	/* Before the job's first step. *ret_memory: what main and post get as r->memory. *ret_shown: what a step without a name and a script is
	 * shown as. A refusal is a sentence for the job's log, with the way out as its hint. */
	int (*prepare)(struct job *j, const json_t *reference, void **ret_memory, char **ret_shown, struct err *err);
	/* The step itself: minutes 0: no limit. < 0: it could not be run. */
	int (*main)(struct job *j, struct record *r, const json_t *inputs, int64_t minutes, enum result *ret,
	            struct err *err);
	void (*post)(struct job *j,
	             struct record *r); /* after the job's last step, the last step first; NULL: nothing */
	void (*release)(void *memory);  /* NULL: there is none */
};
const struct action_type *action_type_of(const json_t *reference);
