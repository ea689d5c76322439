/* A cancel source fed by signals: SIGINT and SIGTERM (and HUP, QUIT) make its descriptor readable for good. One a process. After
 * cancel_reset only a second SIGINT does so again; SIGTERM after SIGINT is a runner's habit and stops nothing. */
#pragma once
#include "base/core/err.h"

int cancel_install(struct err *err); /* returns the descriptor to put into wait.cancel_fd */
int cancel_sigint_count(void);       /* a second SIGINT stops an undo (docs/semantics.md, 7) */
bool cancel_requested(void);
void cancel_reset(void); /* the undo after a cancel runs uncancelled: fd is not readable any more */
/* Ends what cancel_reset began: the first SIGINT or SIGTERM counts, even one that came meanwhile. */
void cancel_again(void);
