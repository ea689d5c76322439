/* Finds deployments of the journal by the names that people use. */
#pragma once
#include "engine/journal/store.h"

/* By its id, a unique beginning of it, or "last": the newest that was not refused. ERR_INVALID: none, or several. */
int deployment_find(struct store *store, const char *word, json_t **ret, struct err *err);
/* Adds the members for a list: "kind" (deploy, rollback, accepted), "release" (that it made valid), "from" (that was valid before), "changes". */
int deployment_describe(struct store *store, json_t *deployment, struct err *err);
/* Marks as "live" the newest committed one of each name and environment. The list is newest first. */
void deployment_mark_live(json_t *deployments);
