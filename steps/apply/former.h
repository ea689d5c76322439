/* The contents that a committed deployment replaced or took away on a host: BASE/former/NAME.ENVIRONMENT/ID/DIGEST, until the next one that
 * changes something there. By them `davit rollback ID` puts a file back. */
#pragma once
#include "engine/run/step.h"

/* Behind the commit, before the lock's copy goes: keeps those of this step, and drops those of earlier deployments. */
int former_keep(const struct step_context *c, struct target *t, struct err *err);
/* ERR_NOT_FOUND: it was not kept, or is not what the digest says. */
int former_read(const struct step_context *c, struct view *v, const char *digest, struct str *out, struct err *err);
