/* What `agent status` shows, as JSON: {"pid", "version", "runner_version", "healthy", "registrations": [{…}]} and, while an agent runs, what that
 * says (agent/listener/live.h). */
#pragma once
#include "agent/listener/records.h"

/* store without a directory: there is none, and so no registration. walls: looks at the isolation of each registration too, which asks
 * programs. Names in it are others'. */
int describe_agent(const struct records *store, bool walls, json_t **ret, struct err *err);
