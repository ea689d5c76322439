/* queue: the broker's [3.2, 4], and the choice of the generation. */
#include "agent/service/queue.h"

enum { DELETE_TIMEOUT_MS = 30000, ACKNOWLEDGE_TIMEOUT_MS = 5000 };

struct broker_queue {
	struct queue queue;
	char *base; /* of polls and acknowledgements: the registration's, or after a migration another */
};

static struct broker_queue *of(const struct queue *q)
{
	return (struct broker_queue *)(uintptr_t)q;
}

struct queue *queue_new(const struct registration *reg)
{
	return reg->broker_url != NULL ? queue_new_broker(reg, reg->broker_url) : queue_new_v1(reg);
}

void queue_free(struct queue *q)
{
	if (q != NULL)
		q->type->free(q);
}

struct queue *queue_new_broker(const struct registration *reg, const char *base)
{
	struct broker_queue *b = xcalloc(1, sizeof(*b));
	*b = (struct broker_queue){.queue = {.type = &queue_broker, .reg = reg}, .base = xstrdup(base)};
	return &b->queue;
}

static void free_queue(struct queue *q)
{
	free(of(q)->base);
	free(of(q));
}

static bool prepare(const struct queue *q, struct service_request *ret)
{
	(void)q;
	(void)ret;
	return false;
}

static int prepared(struct queue *q, const struct http_response *response, struct err *err)
{
	(void)q;
	(void)response;
	(void)err;
	return 0;
}

static int open_session(struct queue *q, struct service_request *ret, struct err *err)
{
	(void)err;
	*ret = (struct service_request){.url = broker_session_url(q->reg->broker_url, NULL),
	                                .json = broker_session_body(q->reg)};
	return 0;
}

static int opened(struct queue *q, const struct http_response *response, const struct oauth_key *key,
                  char **ret_session, struct err *err)
{
	(void)q;
	(void)key;
	return broker_read_session(response, ret_session, err);
}

static int close_session(struct queue *q, const char *session, struct service_request *ret, struct err *err)
{
	(void)err;
	*ret = (struct service_request){.method = "DELETE",
	                                .url = broker_session_url(q->reg->broker_url, session),
	                                .timeout_ms = DELETE_TIMEOUT_MS};
	return 0;
}

static int poll_messages(struct queue *q, const char *session, bool busy, struct service_request *ret, struct err *err)
{
	(void)err;
	*ret = (struct service_request){.url = broker_poll_url(of(q)->base, session, busy, true),
	                                .max_body = WIRE_MESSAGE_MAX};
	return 0;
}

static int read_message(struct queue *q, const struct http_response *response, struct broker_message *ret,
                        struct err *err)
{
	(void)q;
	return broker_message_read(str_peek(&response->body), response->body.len, ret, err);
}

static bool remove_message(struct queue *q, const char *session, const struct broker_message *m,
                           struct service_request *ret)
{
	(void)q;
	(void)session;
	(void)m;
	(void)ret;
	return false;
}

static bool offers(const struct queue *q, const struct broker_message *m)
{
	(void)q;
	return m->type == BROKER_JOB && m->run_service_url != NULL;
}

static void acknowledge(struct queue *q, const char *session, const struct broker_message *m,
                        struct service_request *ret)
{
	*ret = (struct service_request){.url = broker_acknowledge_url(of(q)->base, session, false),
	                                .json = json_pack("{s:s}", "runnerRequestId", m->request_id),
	                                .timeout_ms = ACKNOWLEDGE_TIMEOUT_MS};
}

static int acquire(struct queue *q, const struct broker_message *m, struct service_request *ret, struct err *err)
{
	(void)q;
	(void)err;
	*ret = (struct service_request){.url = wire_url(m->run_service_url, "acquirejob"),
	                                .json = runservice_acquire_body(m->request_id, m->billing_owner_id),
	                                .max_body = WIRE_JOB_MAX};
	return 0;
}

static int attach(struct queue *q, struct run_job *job, struct err *err)
{
	(void)q;
	(void)job;
	(void)err;
	return 0;
}

static bool migrate(struct queue *q, const char *broker_url)
{
	free(of(q)->base);
	of(q)->base = xstrdup(broker_url);
	return false;
}

static enum queue_error session_error(const struct http_response *response)
{
	if (wire_broker_error(response) == BROKER_ERROR_VERSION_TOO_OLD)
		return QUEUE_VERSION_TOO_OLD;
	switch (response->status) {
	case 401:
		return QUEUE_UNAUTHORIZED;
	case 403:
		return QUEUE_FORBIDDEN;
	case 404:
		return QUEUE_UNKNOWN;
	case 409:
		return QUEUE_CONFLICT;
	default:
		return QUEUE_FAILED;
	}
}

static enum queue_error poll_error(const struct queue *q, const struct http_response *response)
{
	(void)q;
	if (response->status == 401)
		return QUEUE_UNAUTHORIZED;
	switch (wire_broker_error(response)) {
	case BROKER_ERROR_RUNNER_NOT_FOUND:
		return QUEUE_RUNNER_GONE;
	case BROKER_ERROR_VERSION_TOO_OLD:
		return QUEUE_VERSION_TOO_OLD;
	case BROKER_ERROR_DEPROVISIONED:
		return QUEUE_DEPROVISIONED;
	case BROKER_ERROR_SESSION_INVALID:
		return QUEUE_SESSION_EXPIRED;
	default:
		return QUEUE_FAILED;
	}
}

const struct queue_type queue_broker = {
	.free = free_queue,
	.messenger = "the broker",
	.prepare = prepare,
	.prepared = prepared,
	.open = open_session,
	.opened = opened,
	.close = close_session,
	.closes_any = true,
	.poll = poll_messages,
	.read = read_message,
	.remove = remove_message,
	.offers = offers,
	.acknowledge = acknowledge,
	.acquire = acquire,
	.attach = attach,
	.migrate = migrate,
	.session_error = session_error,
	.poll_error = poll_error,
};
