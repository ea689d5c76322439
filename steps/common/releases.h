/* Lists the releases on the targets of a deployment, from any machine: those that `rollback --to` accepts, the one that is
 * valid, and the holder of the lock. Read from the targets; nothing is locked or written. */
#pragma once
#include "engine/run/engine.h"

/* deployment: "name", "environment", "targets" and the archive-upload steps, of whose inputs "path" is enough.
 * *ret: {"name","environment","targets":[{"name","host","user","identity","base","lock": holder or null,"error",
 *   "paths":[{"path","current": release or null,"leads_to","more","error","releases":[{"release","current","made_ms","commit","dirty",
 *   "deployment"}]}]}]}, releases newest first; missing members are left out. The strings come from the targets, so from outside.
 * Returns the number of targets or paths that could not be read, or a negative code if it cannot continue (a cancel). */
int releases_read(const json_t *deployment, const struct engine_options *o, json_t **ret, struct err *err);
/* The same of one target that is open: "paths" of `answer`. */
int releases_of_target(struct view *v, const json_t *deployment, json_t *answer, struct err *err);
