/* Plans that people review on a pull request, kept in the journal until it is merged. One is found by its service, repository, pull request, name
 * and environment, and each of these is compared with what was sealed. */
#pragma once
#include "base/core/err.h"
#include "base/data/json.h"
#include "engine/journal/store.h"

struct review_plan {
	const char *api_url, *repository; /* api_url NULL: GitHub itself */
	int64_t number;                   /* of the pull request */
	const char *name, *environment;
	const char *head; /* the commit of its branch */
};
/* In place of what is kept of that pull request. of: what the digest is of; too large for being kept, it is left out. */
int review_plan_keep(struct store *store, const struct review_plan *plan, const char *digest, const json_t *of,
                     struct err *err);
/* *ret: {"digest", "of"}; "of" may be missing. ERR_REFUSED: there is none of this head, or not any more. */
int review_plan_find(struct store *store, const struct review_plan *plan, json_t **ret, struct err *err);
int review_plan_drop(struct store *store, const struct review_plan *plan, struct err *err);
