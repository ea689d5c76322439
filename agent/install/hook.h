/* The job-started hook of the official runner: what a job before left undecided is finished or undone before the next one begins. */
#pragma once
#include "base/core/err.h"

/* dir: of a configured runner (config.sh's). *ret_changed: false when it was all there. The files get the directory's owner.
 * ERR_NOT_FOUND: not such a directory. ERR_REFUSED: it has a hook of its own. */
int hook_install(const char *dir, const char *program, bool *ret_changed, struct err *err);
int hook_remove(const char *dir, bool *ret_changed, struct err *err);
/* The script. free() */
char *hook_script(const char *program);
