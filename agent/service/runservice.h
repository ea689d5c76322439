/* One job at the run service: acquire, renew, complete [5]. The listener acquires and renews, the worker completes; the
 * listener completes in place of a dead worker. */
#pragma once
#include "agent/service/wire.h"

/* Body of acquirejob. billing_owner_id may be NULL. */
json_t *runservice_acquire_body(const char *request_id, const char *billing_owner_id);

/* The data for the calls of a job, read from its message. run_job_done wipes the token. */
struct run_job {
	char *url;   /* the system connection's */
	char *token; /* the job's */
	char *plan_id, *job_id;
	char *name;             /* jobDisplayName */
	char *billing_owner_id; /* NULL */
};
/* ERR_PROTOCOL names what the message lacks; ERR_UNSUPPORTED: a job of the older protocol. */
int run_job_read(const json_t *message, struct run_job *ret, struct err *err);
void run_job_done(struct run_job *job);
/* The data that a recovery needs to report on this job after its end:
 * {"token","api_url","server_url","repository","sha","ref","run_id", "run_attempt","workflow","job","job_name"}, absent
 * if the message has none. The caller's. */
json_t *run_job_report(const json_t *message);

json_t *runservice_renew_body(const struct run_job *job);
int runservice_read_renewal(const struct http_response *response, int64_t *ret_locked_until_wall_ms, struct err *err);

/* A new completion: planId, jobId, conclusion ("succeeded", "failed", "canceled", "skipped"), billingOwnerId. The
 * caller adds outputs, stepResults, annotations, telemetry, environmentUrl [5.6]. */
json_t *runservice_completion(const struct run_job *job, const char *conclusion);
/* Adds one annotation of the job: level "failure", "warning", "notice". */
void runservice_annotate(json_t *completion, const char *level, const char *message);
/* completejob, with the retries of [5.6]: five rounds 5 s apart of five tries; 401 and the service's own 404 end them
 * (ERR_AUTH, ERR_NOT_FOUND). */
int runservice_complete(struct http *h, const struct run_job *job, const json_t *completion, struct wait *w,
                        struct err *err);
