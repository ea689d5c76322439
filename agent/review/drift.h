/* What a look at the targets found (davit deploy --plan --refresh), as an issue: one for each name and environment, updated in place, closed
 * when all is as described and opened again when it is not. */
#pragma once
#include "agent/deployment/invocation.h"
#include "agent/deployment/session.h"

int review_drift_check(const struct invocation *job, struct err *err);
/* Of a look that was not refused. *ret_number: the issue's; 0: there is none, and none is needed. */
int review_drift_tell(struct deployment_session *s, const struct invocation *job, const json_t *deployment,
                      const struct engine_result *result, int64_t *ret_number, struct err *err);
