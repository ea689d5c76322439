/* queue: the older services' pools [3.1, 4]: sessions with a key of their own, encrypted messages that are removed one by one, single
 * polls that are sent on to a broker [4.8]. */
#include "agent/service/queue.h"
#include "agent/service/v1_answer.h"
#include "agent/service/v1_locations.h"

#include <stdio.h>
#include <strings.h>

enum { DELETE_TIMEOUT_MS = 30000, QUERY_MAX = 4096, VERSION_REFUSED = 1 };

struct v1_queue {
	struct queue queue;
	struct v1_locations *locations; /* NULL: not asked for yet */
	struct v1_key key;
	bool has_last;
	int64_t last; /* id of the last message */
	char pool[24];
	char *broker_url;     /* where the redirected polls go; NULL: none was */
	struct queue *broker; /* speaks to it */
	bool redirected;      /* the next poll goes there */
	bool polled_broker;   /* the last one did */
};

static struct v1_queue *of(const struct queue *q)
{
	return (struct v1_queue *)(uintptr_t)q;
}

struct queue *queue_new_v1(const struct registration *reg)
{
	struct v1_queue *v = xcalloc(1, sizeof(*v));
	v->queue = (struct queue){.type = &queue_v1, .reg = reg};
	(void)snprintf(v->pool, sizeof(v->pool), "%lld", (long long)reg->group_id);
	return &v->queue;
}

static void free_queue(struct queue *q)
{
	struct v1_queue *v = of(q);
	v1_locations_free(v->locations);
	explicit_bzero(&v->key, sizeof(v->key));
	free(v->broker_url);
	queue_free(v->broker);
	free(v);
}

static bool prepare(const struct queue *q, struct service_request *ret)
{
	if (of(q)->locations != NULL)
		return false;
	v1_locations_ask(q->reg->server_url, ret);
	return true;
}

static int prepared(struct queue *q, const struct http_response *response, struct err *err)
{
	return v1_locations_read(q->reg->server_url, str_peek(&response->body), response->body.len, &of(q)->locations,
	                         err);
}

static int request(const struct v1_queue *v, enum v1_call call, const char *name, const char *value, const char *query,
                   struct service_request *ret, struct err *err)
{
	const struct v1_value values[] = {{"poolId", v->pool}, {name, value}, {0}};
	if (v->locations == NULL)
		return err_set(err, ERR_INTERNAL, "the service's resources are not known yet");
	return v1_locations_request(v->locations, call, values, query, ret, err);
}

static int open_session(struct queue *q, struct service_request *ret, struct err *err)
{
	*ret = (struct service_request){.json = NULL};
	int r = request(of(q), V1_SESSIONS, NULL, NULL, NULL, ret, err);
	if (r >= 0)
		ret->json = broker_session_body(q->reg);
	return r;
}

static int opened(struct queue *q, const struct http_response *response, const struct oauth_key *key,
                  char **ret_session, struct err *err)
{
	_cleanup_json_ json_t *answer = NULL;
	struct v1_queue *v = of(q);
	int r = broker_read_session(response, ret_session, err);
	if (r >= 0)
		r = wire_read_object(response, &answer, err);
	if (r >= 0)
		r = v1_key_read(answer, key, &v->key, err);
	if (r < 0)
		free(TAKE(*ret_session));
	v->has_last = v->redirected = false;
	return r;
}

static int close_session(struct queue *q, const char *session, struct service_request *ret, struct err *err)
{
	*ret = (struct service_request){.method = "DELETE", .timeout_ms = DELETE_TIMEOUT_MS};
	return request(of(q), V1_SESSIONS, "sessionId", session, NULL, ret, err);
}

static int poll_messages(struct queue *q, const char *session, bool busy, struct service_request *ret, struct err *err)
{
	struct v1_queue *v = of(q);
	v->polled_broker = v->redirected;
	v->redirected = false;
	if (v->polled_broker)
		return v->broker->type->poll(v->broker, session, busy, ret, err);
	_cleanup_(str_done) struct str query = STR_INIT(QUERY_MAX);
	str_append(&query, "sessionId=");
	wire_escape(&query, session);
	if (v->has_last)
		str_appendf(&query, "&lastMessageId=%lld", (long long)v->last);
	str_appendf(&query, "&status=%s&runnerVersion=%s&os=%s&architecture=%s&disableUpdate=true",
	            busy ? "Busy" : "Online", wire_runner_version(), wire_os(), wire_arch());
	*ret = (struct service_request){.max_body = WIRE_JOB_MAX};
	return request(v, V1_MESSAGES, NULL, NULL, str_peek(&query), ret, err);
}

static int read_message(struct queue *q, const struct http_response *response, struct broker_message *ret,
                        struct err *err)
{
	struct v1_queue *v = of(q);
	_cleanup_json_ json_t *message = NULL;
	_cleanup_(str_done) struct str body = STR_SECRET_INIT(WIRE_JOB_MAX + 64);
	int r = wire_read_object(response, &message, err);
	if (r < 0)
		return err_wrap(err, r, "read a message of the queue");
	/* A broker's are not encrypted. */
	const struct v1_key none = {.len = 0};
	r = v1_message_body(message, v->polled_broker ? &none : &v->key, &body, err);
	if (r >= 0)
		r = broker_message_of(message, str_peek(&body), body.len, WIRE_JOB_MAX, ret, err);
	if (r >= 0 && ret->type != BROKER_MIGRATION) {
		v->has_last = true;
		v->last = ret->id;
	}
	return r;
}

/* Not what sends a poll to a broker: the queue says it until it no longer holds [4.8]. */
static bool remove_message(struct queue *q, const char *session, const struct broker_message *m,
                           struct service_request *ret)
{
	char id[24];
	_cleanup_(str_done) struct str query = STR_INIT(QUERY_MAX);
	if (m->type == BROKER_MIGRATION || m->type == BROKER_SHUTDOWN)
		return false;
	(void)snprintf(id, sizeof(id), "%lld", (long long)m->id);
	str_append(&query, "sessionId=");
	wire_escape(&query, session);
	*ret = (struct service_request){.method = "DELETE", .timeout_ms = DELETE_TIMEOUT_MS};
	return request(of(q), V1_MESSAGES_DELETE, "messageId", id, str_peek(&query), ret, NULL) >= 0;
}

static bool offers(const struct queue *q, const struct broker_message *m)
{
	(void)q;
	return m->type == BROKER_JOB || m->job != NULL;
}

static void acknowledge(struct queue *q, const char *session, const struct broker_message *m,
                        struct service_request *ret)
{
	struct v1_queue *v = of(q);
	if (v->broker != NULL)
		v->broker->type->acknowledge(v->broker, session, m, ret);
}

static int acquire(struct queue *q, const struct broker_message *m, struct service_request *ret, struct err *err)
{
	*ret = (struct service_request){.max_body = WIRE_JOB_MAX};
	if (m->run_service_url != NULL)
		return queue_broker.acquire(q, m, ret, err);
	return request(of(q), V1_JOB_MESSAGE, "messageId", m->request_id, NULL, ret, err);
}

static int attach(struct queue *q, struct run_job *job, struct err *err)
{
	char id[24];
	if (!job->type->renewed_by_runner)
		return 0;
	(void)snprintf(id, sizeof(id), "%lld", (long long)job->request_id);
	struct service_request place = {.json = NULL};
	int r = request(of(q), V1_JOB_REQUESTS, "requestId", id, NULL, &place, err);
	if (r >= 0) {
		job->request_url = TAKE(place.url);
		job->request_version = TAKE(place.version);
	}
	service_request_done(&place);
	return r;
}

/* The next poll alone: the queue says it again for as long as it holds. */
static bool migrate(struct queue *q, const char *broker_url)
{
	struct v1_queue *v = of(q);
	if (v->broker_url == NULL || strcmp(v->broker_url, broker_url) != 0) {
		free(v->broker_url);
		queue_free(v->broker);
		v->broker_url = xstrdup(broker_url);
		v->broker = queue_new_broker(q->reg, broker_url);
	}
	v->redirected = true;
	return true;
}

static enum queue_error error_of(const struct http_response *response)
{
	static const struct {
		const char *name;
		enum queue_error error;
	} rows[] = {
		{"TaskAgentSessionConflictException", QUEUE_CONFLICT},
		{"TaskAgentNotFoundException", QUEUE_RUNNER_GONE},
		{"TaskAgentPoolNotFoundException", QUEUE_POOL_GONE},
		{"TaskAgentSessionExpiredException", QUEUE_SESSION_EXPIRED},
		{"TaskAgentAccessTokenExpiredException", QUEUE_DEPROVISIONED},
	};
	/* A redirect leads to where a person would sign in. */
	if (response->status == 401 || response->status == 302)
		return QUEUE_UNAUTHORIZED;
	_cleanup_free_ char *name = v1_error_class(response);
	for (size_t i = 0; name != NULL && i < ARRAY_SIZE(rows); i++)
		if (strcasecmp(name, rows[i].name) == 0)
			return rows[i].error;
	if (name != NULL && strcasecmp(name, "AccessDeniedException") == 0)
		return v1_error_code(response) == VERSION_REFUSED ? QUEUE_VERSION_TOO_OLD : QUEUE_FORBIDDEN;
	return response->status == 404 ? QUEUE_UNKNOWN : QUEUE_FAILED;
}

static enum queue_error poll_error(const struct queue *q, const struct http_response *response)
{
	const struct v1_queue *v = of(q);
	return v->polled_broker ? queue_broker.poll_error(q, response) : error_of(response);
}

const struct queue_type queue_v1 = {
	.free = free_queue,
	.needs_key = true,
	.messenger = "the queue",
	.prepare = prepare,
	.prepared = prepared,
	.open = open_session,
	.opened = opened,
	.close = close_session,
	.poll = poll_messages,
	.read = read_message,
	.remove = remove_message,
	.offers = offers,
	.acknowledge = acknowledge,
	.acquire = acquire,
	.attach = attach,
	.migrate = migrate,
	.session_error = error_of,
	.poll_error = poll_error,
};
