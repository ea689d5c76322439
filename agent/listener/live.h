/* How a running agent is asked, and what it says: one JSON document for each connection to AGENT/status.sock.
 *
 *   {"pid", "version", "started", "healthy", "stopping", "slots",
 *    "registrations": {ID: {"step", "session", "last_poll", "last_answer": {"at", "status"}, "jobs", "refused", "area_bytes", "full"}},
 *    "jobs": [{"name", "repository", "run_id", "registration", "phase", "began", "lease_until", "cancelled", "step": {"number", "name"}}],
 *    "refusals": {"count", "last": [{"at", "job", "repository", "rule", "reason"}]}, "recoveries", "disk": {"path", "free", "size"},
 *    "update": {"program", "state", "why"}, of `agent update`; null: none,
 *    "runner_version", "version_source": {"serial", "asked", "good"}, of --version-source; null: none}
 *
 * Names of jobs, steps and repositories are others': who shows them makes them harmless. */
#pragma once
#include <sys/un.h>

#include "base/core/wait.h"
#include "base/data/json.h"

#define LIVE_SOCKET "status.sock"
/* By the directory's descriptor: its own name may be longer than an address. */
void live_address(int dir, struct sockaddr_un *ret);
/* dir: the agent's. ERR_NOT_FOUND: none runs, or an older one; ERR_TIMEOUT: it does not answer. */
int live_read(const char *dir, struct wait *w, json_t **ret, struct err *err);
