/* An address that speaks terraform's HTTP protocol for states, as a target: an API without files (schemas/targets/http.json). It keeps the state of one
 * environment (engine/target/keeper.h).
 *
 * The protocol, as terraform 1.11 speaks it: GET gives 200 and the document, 204 or 404 for none; LOCK with a lock's JSON gives 200, or 423 (409) with
 * the holder's; POST ?ID=LOCK writes; UNLOCK with the lock's JSON frees it. It has no condition on a write, no lease on a lock and no former
 * versions: the lock is what keeps others off, what is there is asked for right before, and copies lie in the state directory. */
#pragma once
#include "engine/target/target.h"

int http_target_new(const struct target_config *config, struct target **ret, struct err *err);
