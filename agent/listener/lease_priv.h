/* What lease.c, acquire.c and worker.c tell each other. */
#pragma once
#include <signal.h>

#include "agent/listener/listener_priv.h"

/* ---- lease.c */
void lease_over(struct lease *j, const char *result); /* result: said; NULL: nothing */
void lease_drop(struct lease *j, enum lease_drop why);
/* Completes it from here: there is no worker that could. explanation: taken. */
void lease_complete_as(struct lease *j, const char *conclusion, char *explanation);
void lease_renew(struct lease *j);

/* ---- admit.c */
/* ERR_REFUSED: the policy of this host does not let it in. */
int lease_admit(struct lease *j, const json_t *message, struct err *err);

/* ---- acquire.c */
void lease_acquire(struct lease *j);

/* ---- worker.c */
int lease_spawn_worker(struct lease *j, struct err *err);
void lease_run_worker(struct lease *j);
void lease_tell(struct lease *j, int64_t timeout_ms, const char *reason);
int lease_signal_worker(const struct lease *j, int number, siginfo_t *info);
void lease_close_input(struct lease *j);
void lease_clear_orphans(struct lease *j);
