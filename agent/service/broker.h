/* The message queue: session, long poll, acknowledgement [3, 4]. Pure: it builds requests and reads answers, and sends
 * nothing. */
#pragma once
#include "agent/service/registration.h"

/* Body of the session request. */
json_t *broker_session_body(const struct registration *r);
int broker_read_session(const struct http_response *response, char **ret_session_id, struct err *err);
/* All free(). */
char *broker_session_url(const char *base, const char *session_id /* NULL: to create it */);
char *broker_poll_url(const char *base, const char *session_id, bool busy, bool disable_update);
char *broker_acknowledge_url(const char *base, const char *session_id, bool busy);

enum broker_message_type {
	BROKER_JOB,       /* RunnerJobRequest */
	BROKER_OLD_JOB,   /* PipelineAgentJobRequest: the older protocol's */
	BROKER_CANCEL,    /* JobCancellation */
	BROKER_MIGRATION, /* poll another broker */
	BROKER_REFRESH,   /* self-update, either kind: not for us */
	BROKER_REFRESH_CONFIG,
	BROKER_TOKEN_REFRESH,
	BROKER_SHUTDOWN,
	BROKER_UNKNOWN,
};
struct broker_message {
	enum broker_message_type type;
	char *type_name;
	int64_t id;             /* 0: not given */
	char *request_id;       /* job: runner_request_id; of the older kind its jobId */
	json_t *job;            /* of the older kind: the job's whole message */
	char *run_service_url;  /* job; NULL: only by the older protocol */
	char *billing_owner_id; /* job; NULL */
	bool should_acknowledge;
	char *job_id;          /* cancellation */
	int64_t timeout_ms;    /* cancellation */
	char *broker_base_url; /* migration */
	char *detail;          /* shutdown's reason, target version; NULL */
};
/* Any bytes. ERR_PROTOCOL: not a message, or one without what its type needs; ERR_LIMIT: too large. */
int broker_message_read(const char *data, size_t len, struct broker_message *ret, struct err *err);
/* The same of a message that is read already, with the text of its body, which lay in it or was decrypted; max: of that. */
int broker_message_of(const json_t *message, const char *body, size_t len, size_t max, struct broker_message *ret,
                      struct err *err);
void broker_message_done(struct broker_message *m);
