/* Checks the user of the jobs before anything depends on it: it exists, this agent can become it, and it may
 * execute davit and davit-step, each directory on the way included. */
#pragma once
#include "base/core/err.h"

/* user NULL: the agent's own, nothing to check. program: this one (NULL: /proc/self/exe). ERR_NOT_FOUND,
 * ERR_PERMISSION. */
int worker_user_check(const char *user, const char *program, struct err *err);
/* The directory of the journal of a worker's user. With a root agent and $DAVIT_STATE that is $DAVIT_STATE/users/USER, so
 * that $DAVIT_STATE, with the agent's directory in it, stays root's. free(); NULL with err. */
char *worker_user_state_dir(const char *user, struct err *err);
/* Makes it if it lies in a directory of root's. */
int worker_user_make_state_dir(const char *user, struct err *err);
/* The other side, in a process of that user (`davit agent as-user USER --may-execute PATH…`): prints the first directory
 * or file that is closed, and ends with 3; 0 when all may be executed. */
int worker_user_may_execute(const char *const *paths);
