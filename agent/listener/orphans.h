/* Finds the processes that a dead worker left: all that carry the job's RUNNER_TRACKING_ID, whatever became of their
 * parents and groups. A process that emptied the variable wanted to outlive its job, and does. */
#pragma once
#include <stddef.h>

struct orphans {
	size_t count; /* alive now */
	size_t steps; /* davit-step among them, which takes a deployment back when it is told to stop */
};
/* Looks at all processes that this user may look at, and sends the signal (0: none) to those that are left; a
 * davit-step gets SIGINT only. */
struct orphans orphans_find(const char *tracking_id, int signal);
