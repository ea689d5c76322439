/* What the service says of actions: the commit that a reference stands for, and where its archive lies. */
#pragma once
#include "agent/service/runservice.h"

/* The call's URL on the origin of system.github.launch_endpoint. free() */
char *launch_url(const char *endpoint, const struct run_job *job);
/* actions: [{"action": "OWNER/REPO", "version": REF, "path": …}]; dependencies: of the message, may be NULL. New. */
json_t *launch_body(const json_t *actions, const json_t *dependencies);
/* The answer: {"OWNER/REPO@REF": {"resolved_name", "resolved_sha", "tar_url", "authentication": {"token"}}}. ret: the caller's. helpful: errors are told
 * by the service (422) and final. *ret_again: the same call may succeed later. */
int launch_read(const struct http_response *response, bool helpful, json_t **ret, bool *ret_again, struct err *err);
