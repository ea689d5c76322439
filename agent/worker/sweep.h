/* Work areas: held by the job that works there, removed when all of them take too much. */
#pragma once
#include "base/core/wait.h"

/* The worker's, for as long as *ret_fd is open. ERR_CONFLICT: it was removed in that moment; it has to be made anew. */
int sweep_hold(const char *area, struct wait *w, int *ret_fd, struct err *err);
/* argv: QUOTA AREA…; prints {AREA: {"bytes", "used", "removed"}}. */
int sweep_run(int argc, char **argv);
