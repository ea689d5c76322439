/* What people are asked about a parked deployment, and what they have said, as the journal has it. */
#pragma once
#include "engine/run/step.h"
#include "engine/journal/store.h"

struct request {
	struct step_request step;
	const json_t *plan; /* {"digest","of","plan"}: the digest, what it is of, and the plan as people see it */
	/* Owned; the rest points into them. approvals: all that was recorded. Of these `step` has what proves itself: a comment has to be
	 * read again. */
	json_t *doc, *events, *approvals, *proven;
	char *scope;
};
/* doc: the journal's object. ERR_PROTOCOL: it was never parked. Done by request_done, whatever it returns. */
int request_read(struct store *s, const json_t *doc, struct request *ret, struct err *err);
void request_done(struct request *r);
