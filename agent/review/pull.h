/* The plan of a pull request: shown as its comment, and kept for the deployment of the merge. */
#pragma once
#include "agent/deployment/invocation.h"
#include "agent/deployment/session.h"

/* The job is one of a pull request of this repository, and has a token. Refused for one from a fork: its file would be planned with what only
 * this repository may know. */
int review_pull_check(const struct invocation *job, struct err *err);
/* Writes the comment, and then keeps a plan that was not refused. why: of one that was. */
int review_pull_tell(struct deployment_session *s, const struct invocation *job, const json_t *deployment,
                     const struct engine_result *result, const struct err *why, struct err *err);
/* Sets the session's options to expect the plan of the pull request that this job's commit merged. *ret owns what they borrow. */
int review_pull_expect(struct deployment_session *s, const struct invocation *job, const json_t *deployment,
                       json_t **ret, struct err *err);
