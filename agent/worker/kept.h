/* Results that the service could not be told yet: sealed in $DAVIT_STATE/unsent of the worker's user, one file a job, with what is left of
 * its logs and step states. At most 64 files and 64 MiB: the oldest go first. One is good as long as the job's token is (else
 * 6 hours), and as long as the service knows the job. */
#pragma once
#include "agent/worker/worker_priv.h"

/* Writes or replaces it. taken: the service may have it already, as before the tries of a process that may be killed in one of them. False: it
 * could not be kept (told), or nobody would send it: a person watches this job. */
bool kept_write(struct job *j, const json_t *completion, enum result result, bool taken);
void kept_erase(struct job *j);

/* `davit worker deliver STATE_DIR JOB_ID`: one try to send what is kept. Exit status: 100 + the job's result: sent; else: */
enum { KEPT_LATER = 1, KEPT_NONE = 3, KEPT_DROPPED = 4 };
int kept_deliver(const char *state_dir, const char *job_id);
