/* The wait for a command that is told to end and then has time to do so (target_command.grace_ms): what ends the caller's wait, a cancel
 * or the command's own deadline, asks it once; from then on only its end or its grace does. The caller's tick goes on. */
#pragma once
#include "base/core/wait.h"

/* So long at most nothing is killed that was asked to end: a takeover waits for it too. */
enum { GRACE_MAX_MS = 3600000 };

struct grace {
	struct wait own; /* what the command is waited for with */
	struct wait *caller;
	int64_t deadline_mono_ms, ms;
	void (*ask)(void *context);
	void *context;
	int why; /* ERR_CANCELLED or ERR_TIMEOUT once it was asked; 0: it was not */
};
/* caller stays where it is, since calls within its tick use it. timeout_ms: of the command. */
struct wait *grace_begin(struct grace *g, struct wait *caller, int64_t timeout_ms, int64_t grace_ms,
                         void (*ask)(void *context), void *context);
/* r: how the wait ended. The result for the caller: why it was asked, or r. */
int grace_end(const struct grace *g, int r, struct err *err);
