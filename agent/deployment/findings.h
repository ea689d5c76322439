/* What was found before the first change: a workflow gets an annotation for each, a person one table. */
#pragma once
#include "base/data/json.h"

/* engine_options.findings of a session. */
void deployment_findings_tell(void *session, const json_t *findings);
