/* Messages from the listener to a worker, on its standard input, one JSON object a line:
 *
 *   {"message": <the acquired job message>, "settings": {…}}            the first line, once
 *   {"cancel": {"timeout_s": N, "reason": "cancelled"|"lease"|"shutdown"}}   any number of times; the last one counts
 *
 * "cancelled": the service asked; "lease": the job's lease is lost, no time limit (timeout_s 0); "shutdown": the agent
 * was told to stop, the job fails (protocol 6.3). The end of the input without a first line: there is no job, the
 * worker exits 0 silently. The end of the input after it: the listener is gone; the worker continues.
 *
 * A listener that is started after it finds the worker again, but not the pipe: it renews the lease and sends the same
 * messages by a queued SIGUSR1 whose value is timeout_s * 4 + reason (1 cancelled, 2 lease, 3 shutdown). Only root and the
 * worker's own user are listened to.
 *
 * The worker completes the job itself (agent/service/runservice.h) and exits with 100 + result: 100 succeeded, 101
 * succeeded with issues, 102 failed, 103 cancelled, 104 skipped, 105 abandoned (5.6, 6.5); or with 110 + result: the service could
 * not be told, and the result lies in STATE_DIR/unsent, from where `davit worker deliver` sends it. Any other exit status means that it
 * did not complete the job; a result may lie there all the same.
 *
 * Settings: agent_name, agent_id, runner_group, runner_group_id, os, arch, version (the runner release that we are
 * compatible with), work_folder (absolute), labels (list), actions_repository ("": no action is our own), native (agent/actions/native.h), on_failure, state_dir, server_url (the
 * operator's URL's server; "" for just-in-time ones), url, ephemeral, tracking_id (for RUNNER_TRACKING_ID), isolation (isolation.h),
 * watched (true: `davit run` reads standard output, and the end of the input ends the job). */
#pragma once
#include <signal.h>

#include "agent/service/registration.h"

enum { HANDOVER_SIGNAL = SIGUSR1 };

/* state_dir: the journal's directory of the user that the worker runs as. */
json_t *handover_settings(const struct registration *r, const char *state_dir, const char *tracking_id,
                          const json_t *isolation);
json_t *handover_cancel(int64_t timeout_s, const char *reason);
/* The same as the value of a signal. */
int handover_cancel_value(int64_t timeout_s, const char *reason);
/* The directory of `--work`, absolute: it may hold the areas of several registrations. free() */
char *handover_work_root(const struct registration *r, const char *state_dir);
/* The area in it for this registration's jobs only: workspaces, temporary files, tools. free() */
char *handover_work_folder(const struct registration *r, const char *state_dir);
