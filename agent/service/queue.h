/* The message queue of a registration, in either generation: the broker (broker_queue.c), or the older pools with their encrypted messages
 * (v1_queue.c), which may send single polls on to a broker. It builds requests and reads answers, and sends nothing; which
 * generation it is shows in nothing else of the listener. */
#pragma once
#include "agent/service/broker.h"
#include "agent/service/oauth.h"
#include "agent/service/request.h"
#include "agent/service/runservice.h"

enum queue_error {
	QUEUE_FAILED,       /* nothing that is told apart: later again */
	QUEUE_UNAUTHORIZED, /* a new token is needed */
	QUEUE_FORBIDDEN,
	QUEUE_CONFLICT, /* a session is open already */
	QUEUE_UNKNOWN,  /* a bare 404 */
	QUEUE_RUNNER_GONE,
	QUEUE_POOL_GONE, /* its group; a runner is not forgotten for that */
	QUEUE_SESSION_EXPIRED,
	QUEUE_VERSION_TOO_OLD,
	QUEUE_DEPROVISIONED,
};

struct queue;
struct queue_type {
	void (*free)(struct queue *q);
	bool needs_key;        /* opened() is given the runner's key */
	const char *messenger; /* who sends the messages, for people */
	/* What must be asked before anything else, once. False: nothing. */
	bool (*prepare)(const struct queue *q, struct service_request *ret);
	int (*prepared)(struct queue *q, const struct http_response *response, struct err *err);
	int (*open)(struct queue *q, struct service_request *ret, struct err *err);
	int (*opened)(struct queue *q, const struct http_response *response, const struct oauth_key *key,
	              char **ret_session, struct err *err);
	/* session NULL: whichever the runner has, where the service can tell (closes_any). */
	int (*close)(struct queue *q, const char *session, struct service_request *ret, struct err *err);
	bool closes_any;
	int (*poll)(struct queue *q, const char *session, bool busy, struct service_request *ret, struct err *err);
	/* ERR_AUTH: it cannot be decrypted, another session may help. */
	int (*read)(struct queue *q, const struct http_response *response, struct broker_message *ret, struct err *err);
	/* Tells the service that a message was dealt with. False: there is nothing to tell. */
	bool (*remove)(struct queue *q, const char *session, const struct broker_message *m,
	               struct service_request *ret);
	/* True if a job that is announced like this can be had. */
	bool (*offers)(const struct queue *q, const struct broker_message *m);
	void (*acknowledge)(struct queue *q, const char *session, const struct broker_message *m,
	                    struct service_request *ret);
	int (*acquire)(struct queue *q, const struct broker_message *m, struct service_request *ret, struct err *err);
	/* What a job's renewals need of the queue that it came from. */
	int (*attach)(struct queue *q, struct run_job *job, struct err *err);
	/* Where the next poll, or all further ones, go. True: it is the next one, which is to follow at once. */
	bool (*migrate)(struct queue *q, const char *broker_url);
	enum queue_error (*session_error)(const struct http_response *response);
	enum queue_error (*poll_error)(const struct queue *q, const struct http_response *response);
};
struct queue {
	const struct queue_type *type;
	const struct registration *reg;
};
extern const struct queue_type queue_broker, queue_v1;

/* Of the generation that the registration says. reg: borrowed for its life. */
struct queue *queue_new(const struct registration *reg);
void queue_free(struct queue *q);
struct queue *queue_new_broker(const struct registration *reg, const char *base);
struct queue *queue_new_v1(const struct registration *reg);
