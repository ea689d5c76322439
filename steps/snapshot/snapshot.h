/* snapshot's own parts. */
#pragma once
#include "schemas/snapshot.h"
#include "engine/run/step.h"

/* Copies a file, link or directory without what the patterns (relative to `from`) exclude. `to` must be absent, its directory there. */
int snapshot_copy(struct target *t, const char *from, const char *to, const struct ignore *ignore, struct err *err);
/* Puts a copy back in the place of what is there now; what the patterns exclude stays as it is now. copy NULL: there was nothing. */
int snapshot_restore(struct target *t, const char *copy, const char *path, const struct ignore *ignore,
                     struct err *err);
