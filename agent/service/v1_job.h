/* The requests of one job to the older services, for who reports its steps (v1_timeline.c). */
#pragma once
#include "agent/service/runservice.h"
#include "agent/service/v1_locations.h"

enum { V1_VALUES_MAX = 10 };
/* With scope, hub, plan and timeline of the job as route values, and `more`. */
int v1_job_request(const struct run_job *job, enum v1_call call, const struct v1_value *more, const char *query,
                   struct service_request *ret, struct err *err);
/* {"count", "value"}; items: taken. */
json_t *v1_job_list(json_t *items);
/* Counts and issues of a record from annotations as the run service has them. */
void v1_job_set_issues(json_t *record, const json_t *annotations);
