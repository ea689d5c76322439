/* What the targets of a deployment hold, for people who look from anywhere: the releases that `rollback --to` accepts, the one that is
 * valid, and who holds the lock. Read from the targets; nothing is locked or written. */
#pragma once
#include "engine/run/engine.h"

/* deployment: "name", "environment", "targets" and the archive-upload steps, of whose inputs "path" is enough.
 * *ret: {"name","environment","targets":[{"name","host","user","identity","base","lock": holder or null,"error",
 *   "paths":[{"path","current": release or null,"leads_to","more","error","releases":[{"release","current","made_ms","commit","dirty",
 *   "deployment"}]}]}]}, releases newest first; what is not there is left out. It holds what targets say: text from outside.
 * Returns how many targets or paths could not be read, or a negative code when that is not worth going on for (a cancel). */
int releases_read(const json_t *deployment, const struct engine_options *o, json_t **ret, struct err *err);
