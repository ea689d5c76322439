/* Keeps parts of a deployment file in the journal, so that `davit rollback ID` can roll back a committed deployment without
 * the file: the targets, and the steps that a rollback needs (releases, snapshots, restarts, gates), filled in except for
 * their secrets, which stay expressions. */
#pragma once
#include "base/data/yaml.h"
#include "engine/run/deployment.h"

/* raw: the file as read; deployment: the result; late: an object with the indexes (as strings) of steps that wait for
 * outputs of others, which are left out; contexts as for deployment_expand. NULL when it would hold a secret that was written out
 * in the file. */
json_t *replay_make(const json_t *raw, const json_t *deployment, const json_t *late, const json_t *contexts);
/* The same for a deployment of single steps, which have values in place of expressions, grown by one step: what is secret becomes an
 * expression that names a secret after its place (the key of the target web: secrets.WEB_KEY). former: of the previous steps, NULL: none.
 * all_known: the process's mask knows every secret; else logins, variables and headers count as secret. The result is an object, or a
 * string that says why nothing can be kept. */
json_t *replay_single(const json_t *former, const struct deployment *given, bool all_known);
/* Keeps only what tells where releases lie; see deployment_file_places. */
json_t *replay_places(const json_t *kept);
/* Fills the secrets in. ERR_INVALID when one is missing: all of them are in ret_faults (the caller's, see file.h). */
int replay_fill(const json_t *kept, const json_t *secrets, json_t **ret_deployment, json_t **ret_faults,
                struct err *err);
