/* What the older services send: connection data, sessions with their key, encrypted messages, jobs, errors: any bytes are read or refused. */
#include "agent/service/queue.h"
#include "agent/service/v1_answer.h"
#include "agent/service/v1_locations.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void locations(const char *data, size_t size)
{
	static const struct v1_value values[] = {
		{"poolId", "1"}, {"planId", "../p"}, {"recordId", "a b"}, {"timelineId", "t"}, {0}};
	_cleanup_(v1_locations_freep) struct v1_locations *l = NULL;
	if (v1_locations_read("https://git.example/a?x=1", data, size, &l, NULL) < 0)
		return;
	for (int call = 0; call < V1_CALLS; call++) {
		struct service_request q = {.url = NULL};
		if (v1_locations_request(l, (enum v1_call)call, values, "y=2", &q, NULL) >= 0 &&
		    !str_starts(q.url, "https://git.example/a/"))
			abort();
		service_request_done(&q);
	}
}

static void messages(const json_t *object, const struct oauth_key *key)
{
	struct v1_key session = {.len = 0};
	_cleanup_(str_done) struct str body = STR_SECRET_INIT(1 << 20);
	if (v1_key_read(object, key, &session, NULL) < 0)
		return;
	if (session.len == 0)
		session.len = V1_KEY_MAX;
	struct broker_message m = {0};
	if (v1_message_body(object, &session, &body, NULL) >= 0 &&
	    broker_message_of(object, str_peek(&body), body.len, 1 << 20, &m, NULL) >= 0)
		broker_message_done(&m);
	struct run_job job = {0};
	if (run_job_read(object, &job, NULL) == 0)
		run_job_done(&job);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct oauth_key *key;
	if (key == NULL && oauth_key_make(&key, NULL) < 0)
		return 0;
	locations((const char *)data, size);
	struct http_response response = {.status = 400, .body = STR_INIT(1 << 20)};
	str_append_n(&response.body, data, MIN(size, (size_t)1 << 16));
	free(v1_error_class(&response));
	(void)queue_v1.session_error(&response);
	http_response_done(&response);
	_cleanup_json_ json_t *object = NULL;
	if (wire_parse_object((const char *)data, size, &object, NULL) >= 0)
		messages(object, key);
	return 0;
}
