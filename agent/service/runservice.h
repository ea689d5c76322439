/* One job at its service: acquire, renew, complete [5]. The listener acquires and renews, the worker completes; the
 * listener completes in place of a dead worker. Jobs of both generations are one struct: its type, by the job's message, says what is asked for,
 * of the run service (runservice.c) or of the older services (v1_job.c). */
#pragma once
#include "agent/service/request.h"

/* Body of acquirejob. billing_owner_id may be NULL. */
json_t *runservice_acquire_body(const char *request_id, const char *billing_owner_id);

/* The data for the calls of a job, read from its message. run_job_done wipes the token. */
struct job_type;
struct v1_locations;
struct run_job {
	const struct job_type *type;
	char *url;   /* the system connection's */
	char *token; /* the job's */
	char *plan_id, *job_id;
	char *name;             /* jobDisplayName */
	char *billing_owner_id; /* NULL */
	/* the older services' */
	char *reference;              /* jobName */
	char *scope, *hub, *timeline; /* of the plan */
	char *environment;            /* name of the deployment environment; NULL: none */
	char *orchestration;          /* system.orchestrationId; NULL */
	int64_t request_id;           /* of the pool's job request */
	char *request_url,
		*request_version;       /* of the job request, by the queue that it came from (queue_type.attach) */
	struct v1_locations *locations; /* NULL: not asked for yet (job_type.prepare) */
};
/* How a job of one generation is renewed and completed. Requests are the caller's to send and free. */
struct job_type {
	const char *message_type; /* "RunnerJobRequest"; compared without case */
	bool renewed_by_runner;   /* with the runner's token, not the job's */
	/* What its message must have beside what all have. */
	int (*read)(const json_t *message, struct run_job *job, struct err *err);
	/* What must be asked, with the job's token, before it can be completed. False: nothing. */
	bool (*prepare)(const struct run_job *job, struct service_request *ret);
	int (*prepared)(struct run_job *job, const struct http_response *response, struct err *err);
	void (*renew)(const struct run_job *job, struct service_request *ret);
	/* How it stands, before it is completed in place of a worker that may have done so. False: the completion tells. */
	bool (*inquire)(const struct run_job *job, struct service_request *ret);
	char *(*result)(const struct http_response *response); /* its answer: "succeeded", …; NULL: not over; free() */
	/* The service knows the job no more: no retry helps. */
	bool (*is_gone)(const struct http_response *response);
	/* The request `index` of those that complete it, one after the other; only the last one decides. 1; 0: there is none. */
	int (*complete)(const struct run_job *job, const json_t *completion, int index, struct service_request *ret,
	                struct err *err);
	/* What asks for the archives of actions; the answer is launch_read's. */
	int (*actions)(const struct run_job *job, const json_t *message, const json_t *actions,
	               struct service_request *ret, struct err *err);
};
extern const struct job_type job_of_run_service, job_of_v1;

/* ERR_PROTOCOL names what the message lacks; ERR_UNSUPPORTED: a job of neither generation. */
int run_job_read(const json_t *message, struct run_job *ret, struct err *err);
void run_job_done(struct run_job *job);
/* For an agent that is started while the job runs: as an object with the token, to be sealed. Reading gives back the same. */
void run_job_write(const struct run_job *job, json_t *record);
int run_job_load(const json_t *record, struct run_job *ret, struct err *err);
/* The data that a recovery needs to report on this job after its end:
 * {"token","api_url","server_url","repository","sha","ref","run_id", "run_attempt","workflow","job","job_name"}, absent
 * if the message has none. The caller's. */
json_t *run_job_report(const json_t *message);

int runservice_read_renewal(const struct http_response *response, int64_t *ret_locked_until_wall_ms, struct err *err);

/* A new completion: planId, jobId, conclusion ("succeeded", "failed", "canceled", "skipped"), billingOwnerId. The
 * caller adds outputs, stepResults, annotations, telemetry, environmentUrl [5.6]. */
json_t *runservice_completion(const struct run_job *job, const char *conclusion);
/* Adds one annotation of the job: level "failure", "warning", "notice". */
void runservice_annotate(json_t *completion, const char *level, const char *message);
/* What the job's type asks for before it can be completed or reported on, with a few tries. Blocks. */
int runservice_prepare(struct http *h, struct run_job *job, struct wait *w, struct err *err);

/* How a try of completejob ended. */
enum runservice_end {
	RUNSERVICE_SENT,
	RUNSERVICE_GONE,    /* the service does not wait for it any more: the job is unknown or over, or its token is */
	RUNSERVICE_REFUSED, /* what was sent: the same again would be refused again */
	RUNSERVICE_LATER,   /* nobody answered, or the service is not well */
};
enum { RUNSERVICE_COMPLETE_TRIES = 25 }; /* five rounds of five [5.6] */
/* result, response, failure: as http_done_fn gets them. err: unless it was sent. *taken: kept from one try of the same end to the next, false
 * at first: the service may have it, though no answer said so; a job that is gone by then counts as sent. */
enum runservice_end runservice_completed(const struct run_job *job, int result, const struct http_response *response,
                                         const struct err *failure, bool *taken, struct err *err);
/* What is sent after so many refusals (from 1) in place of a completion: first without steps and annotations, then without
 * outputs, as failed. why: goes into its annotation. NULL: that was all. The caller's. */
json_t *runservice_smaller(const json_t *completion, int refusals, const char *why);
/* Before the next try, after so many; asked_ms: what the service asked for (http_retry_after_ms), at most 2 min of it. */
int64_t runservice_complete_pause(int tries, int64_t asked_ms);
