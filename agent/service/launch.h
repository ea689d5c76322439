/* What the service says of actions: the commit that a reference stands for, and where its archive lies. */
#pragma once
#include "agent/service/runservice.h"

/* The request, as the job's generation has it. message: of the job. actions: [{"action": "OWNER/REPO", "version": REF, "path": …}]. */
int launch_request(const struct run_job *job, const json_t *message, const json_t *actions, struct service_request *ret,
                   struct err *err);
/* The run service's: on the origin of system.github.launch_endpoint, with the message's pinned versions. */
int launch_of_run_service(const struct run_job *job, const json_t *message, const json_t *actions,
                          struct service_request *ret, struct err *err);
/* The answer: {"OWNER/REPO@REF": {"resolved_name", "resolved_sha", "tar_url", "authentication": {"token"}}}. ret: the caller's. helpful: errors are told
 * by the service (422) and final. *ret_again: the same call may succeed later. */
int launch_read(const struct http_response *response, bool helpful, json_t **ret, bool *ret_again, struct err *err);
