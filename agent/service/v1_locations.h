/* Where the older services have their resources: read from connectionData, once for each base URL [1.9.1 to 1.9.3]. Nothing is
 * guessed: a resource that is not advertised is not there. */
#pragma once
#include "agent/service/request.h"

enum v1_call {
	V1_POOLS,
	V1_AGENTS,
	V1_SESSIONS,
	V1_MESSAGES,
	V1_MESSAGES_DELETE,
	V1_JOB_REQUESTS,
	V1_JOB_MESSAGE,
	V1_PLAN_EVENTS,
	V1_RECORDS,
	V1_FEED,
	V1_LOGS,
	V1_ATTACHMENTS,
	V1_ACTION_DOWNLOADS,
	V1_CALLS,
};
struct v1_locations;
/* The request of connectionData below base. */
void v1_locations_ask(const char *base, struct service_request *ret);
/* Any bytes. ERR_PROTOCOL: not connection data. */
int v1_locations_read(const char *base, const char *data, size_t len, struct v1_locations **ret, struct err *err);
/* The same of an answer that is read. */
int v1_locations_of(const char *base, const json_t *answer, struct v1_locations **ret, struct err *err);
void v1_locations_free(struct v1_locations *l);
void v1_locations_freep(struct v1_locations **l);

/* A value of a route; the last one has no name. */
struct v1_value {
	const char *name, *value;
};
/* Fills in URL and version; query (NULL: none) is appended as it is. ERR_UNSUPPORTED: the service has no such resource, or only in versions above
 * the one that we speak. */
int v1_locations_request(const struct v1_locations *l, enum v1_call call, const struct v1_value *values,
                         const char *query, struct service_request *ret, struct err *err);
