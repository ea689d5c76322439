/* What lease.c, acquire.c and worker.c tell each other. */
#pragma once
#include <signal.h>

#include "agent/listener/listener_priv.h"

/* ---- lease.c */
void lease_over(struct lease *j, const char *result); /* result: said; NULL: nothing */
void lease_drop(struct lease *j, enum lease_drop why);
/* Completes it from here: there is no worker that could. explanation: taken. */
void lease_complete_as(struct lease *j, const char *conclusion, char *explanation);
void lease_complete(struct lease *j);
void lease_let_go(struct lease *j);
void lease_renew(struct lease *j);

/* ---- admit.c */
/* ERR_REFUSED: the policy of this host does not let it in. */
int lease_admit(struct lease *j, const json_t *message, struct err *err);

/* ---- acquire.c */
void lease_acquire(struct lease *j);

/* ---- delivery.c */
/* Its worker may have left its result on the disk: that counts, whatever became of the worker. */
bool delivery_is_due(const struct lease *j);
/* Its worker left its result on the disk. */
bool delivery_lies_there(const struct lease *j);
/* Sends it, or looks how the process fares that does; in the end the job is over, or completed from here. */
void delivery_begin(struct lease *j);

/* ---- unstarted.c */
/* Writes the explanation into the job's log, then completes it as failed. */
void unstarted_tell(struct lease *j);
bool unstarted_is_told(struct lease *j);
json_t *unstarted_steps(const struct unstarted *u); /* for its completion. The caller's. */
void unstarted_free(struct unstarted *u);

/* ---- worker.c */
int lease_spawn_worker(struct lease *j, struct err *err);
void lease_run_worker(struct lease *j);
void lease_tell(struct lease *j, int64_t timeout_ms, const char *reason);
int lease_signal_worker(const struct lease *j, int number, siginfo_t *info);
void lease_close_input(struct lease *j);
void lease_clear_orphans(struct lease *j);
