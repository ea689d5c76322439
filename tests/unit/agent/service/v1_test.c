#include "unit/cmocka_all.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "agent/service/queue.h"
#include "agent/service/v1_answer.h"
#include "agent/service/v1_job.h"
#include "base/secret/base64.h"

/* Of a service with these members beside path, minimum, maximum and released version. */
static const char *resource_version = "2";

static char *data_of(const char *identifier, const char *path, const char *min, const char *max, const char *released)
{
	return xasprintf(
		"{\"LocationServiceData\":{\"serviceDefinitions\":[{\"serviceType\":\"distributedtask\",\"identifier\":\"%s\","
		"\"displayName\":\"agents\",\"relativePath\":\"%s\",\"resourceVersion\":%s,\"minVersion\":\"%s\","
		"\"maxVersion\":\"%s\"%s%s%s}]}}",
		identifier, path, resource_version, min, max, released ? ",\"releasedVersion\":\"" : "",
		released ? released : "", released ? "\"" : "");
}

#define AGENTS "E298EF32-5878-4CAB-993C-043836571F42"

static int ask(const char *base, char *data, const struct v1_value *values, const char *query,
               struct service_request *ret, struct err *err)
{
	struct v1_locations *l = NULL;
	int r = v1_locations_read(base, data, strlen(data), &l, err);
	free(data);
	if (r >= 0)
		r = v1_locations_request(l, V1_AGENTS, values, query, ret, err);
	v1_locations_free(l);
	return r;
}

static void a_route_is_what_the_service_says_with_the_values_of_the_call(void **state)
{
	(void)state;
	static const struct {
		const char *base, *path, *pool, *agent, *query, *url;
	} rows[] = {
		{"https://g/x/", "_apis/{area}/pools/{poolId}/{resource}/{agentId}", "1", "7", NULL,
	         "https://g/x/_apis/distributedtask/pools/1/agents/7"},
		{"https://g/x", "/_apis/v1/Agent/{POOLID}/{*agentId}", "1", NULL, NULL, "https://g/x/_apis/v1/Agent/1"},
		{"https://g/x/?k=1", "_apis/{poolId}", "a/../b c", NULL, "y=2",
	         "https://g/x/_apis/a%2F..%2Fb%20c?k=1&y=2"},
		{"https://g", "//a//{nothing}/b{nothing}/", NULL, NULL, "y=2", "https://g/a/b?y=2"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct service_request q = {.url = NULL};
		const struct v1_value values[] = {{rows[i].pool ? "poolId" : "other", rows[i].pool},
		                                  {rows[i].agent ? "agentId" : NULL, rows[i].agent},
		                                  {0}};
		assert_int_equal(ask(rows[i].base, data_of(AGENTS, rows[i].path, "1.0", "7.1", "7.1"), values,
		                     rows[i].query, &q, NULL),
		                 0);
		assert_string_equal(q.url, rows[i].url);
		service_request_done(&q);
	}
}

static void versions_are_negotiated_by_what_the_service_has(void **state)
{
	(void)state;
	static const struct {
		const char *min, *max, *released, *resource, *version;
	} rows[] = {
		{"1.0", "7.1", "7.1", "2", "6.0-preview.2"}, {"1.0", "7.1", "5.0", "2", "6.0-preview.2"},
		{"1.0", "12.0", NULL, "2", "6.0-preview.2"}, {"6.0", "6.0", "6.0", "7", "6.0-preview.2"},
		{"1.0", "7.1", "7.1", "1", "6.0-preview.1"}, {"1.0", "7.1", "7.1", "0", "6.0-preview"},
		{"1.0", "5.0", "5.0", "2", "5.0"},           {"1.0", "5.0", "4.1", "2", "5.0-preview"},
		{"1.0", "5.0", NULL, "2", "5.0-preview"},    {"1.0", "5.0", "5.1", "2", "5.0"},
	};
	static const struct v1_value none[] = {{0}};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct service_request q = {.url = NULL};
		resource_version = rows[i].resource;
		assert_int_equal(ask("https://g", data_of(AGENTS, "a", rows[i].min, rows[i].max, rows[i].released),
		                     none, NULL, &q, NULL),
		                 0);
		assert_string_equal(q.version, rows[i].version);
		service_request_done(&q);
	}
	resource_version = "2";
}

static void what_a_service_does_not_list_is_not_guessed(void **state)
{
	(void)state;
	static const struct v1_value none[] = {{0}};
	static const struct {
		const char *identifier, *path, *min, *says;
	} rows[] = {
		{"00000000-0000-0000-0000-000000000000", "a", "1.0", "has no agents"},
		{AGENTS, "a?b=c", "1.0", "has no agents"},
		{AGENTS, "a#b", "1.0", "has no agents"},
		{AGENTS, "a%2e", "1.0", "has no agents"},
		{AGENTS, "", "1.0", "has no agents"},
		{AGENTS, "/{agentId}//", "1.0", "has no agents"},
		{AGENTS, "a", "6.1", "newer versions"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct service_request q = {.url = NULL};
		struct err err = ERR_INIT;
		char line[1024];
		assert_int_equal(ask("https://g", data_of(rows[i].identifier, rows[i].path, rows[i].min, "7.1", "7.1"),
		                     none, NULL, &q, &err),
		                 ERR_UNSUPPORTED);
		assert_non_null(strstr(err_line(&err, line, sizeof(line)), rows[i].says));
	}
	struct err err = ERR_INIT;
	struct service_request q = {.url = NULL};
	assert_int_equal(ask("https://g", xstrdup("{\"locationServiceData\":{}}"), none, NULL, &q, &err), ERR_PROTOCOL);
	assert_int_equal(ask("https://g", xstrdup("[]"), none, NULL, &q, NULL), ERR_PROTOCOL);
}

/* ---- messages ---- */

static struct oauth_key *key;

static int make_key(void **state)
{
	(void)state;
	return oauth_key_make(&key, NULL);
}

static int free_key(void **state)
{
	(void)state;
	oauth_key_freep(&key);
	return 0;
}

/* base64 of the bytes, encrypted for the runner's key. */
static char *wrapped(const unsigned char *bytes, size_t len, bool sha256)
{
	struct str pem = STR_INIT(1 << 16), out = STR_INIT(1 << 16);
	assert_int_equal(oauth_key_write_pem(key, &pem, NULL), 0);
	BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.len);
	EVP_PKEY *own = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
	EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(own, NULL);
	unsigned char room[512];
	size_t size = sizeof(room);
	assert_int_equal(EVP_PKEY_encrypt_init(c), 1);
	EVP_PKEY_CTX_set_rsa_padding(c, RSA_PKCS1_OAEP_PADDING);
	EVP_PKEY_CTX_set_rsa_oaep_md(c, sha256 ? EVP_sha256() : EVP_sha1());
	EVP_PKEY_CTX_set_rsa_mgf1_md(c, sha256 ? EVP_sha256() : EVP_sha1());
	assert_int_equal(EVP_PKEY_encrypt(c, room, &size, bytes, len), 1);
	base64_encode(room, size, &out);
	EVP_PKEY_CTX_free(c);
	EVP_PKEY_free(own);
	BIO_free(bio);
	str_done(&pem);
	return str_take(&out);
}

static void a_sessions_key_is_read_by_the_hash_that_the_answer_names(void **state)
{
	(void)state;
	static const unsigned char bytes[32] = {1, 2, 3};
	for (int fips = 0; fips < 2; fips++) {
		char *value = wrapped(bytes, sizeof(bytes), fips);
		json_t *session = json_pack("{s:{s:b, s:s}, s:b}", "EncryptionKey", "encrypted", 1, "value", value,
		                            "useFipsEncryption", fips);
		struct v1_key read = {.len = 0};
		assert_int_equal(v1_key_read(session, key, &read, NULL), 0);
		assert_int_equal(read.len, 32);
		assert_memory_equal(read.bytes, bytes, 32);
		json_object_set_new(session, "useFipsEncryption", json_boolean(!fips));
		assert_int_equal(v1_key_read(session, key, &read, NULL), ERR_AUTH);
		json_decref(session);
		free(value);
	}
	struct v1_key read = {.len = 5};
	json_t *plain =
		json_pack("{s:{s:b, s:s}}", "encryptionKey", "encrypted", 0, "value", "AAAAAAAAAAAAAAAAAAAAAA==");
	assert_int_equal(v1_key_read(plain, key, &read, NULL), 0);
	assert_int_equal(read.len, 16);
	json_object_clear(plain);
	assert_int_equal(v1_key_read(plain, key, &read, NULL), 0);
	assert_int_equal(read.len, 0);
	json_object_set_new(plain, "encryptionKey", json_pack("{s:s}", "value", "QUJD"));
	assert_int_equal(v1_key_read(plain, key, &read, NULL), ERR_PROTOCOL);
	json_decref(plain);
}

static json_t *encrypted(const char *text, const struct v1_key *with)
{
	unsigned char iv[16] = {9}, room[256];
	int n = 0, rest = 0;
	struct str data = STR_INIT(1024), vector = STR_INIT(64);
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	assert_int_equal(
		EVP_EncryptInit_ex(c, with->len == 16 ? EVP_aes_128_cbc() : EVP_aes_256_cbc(), NULL, with->bytes, iv),
		1);
	assert_int_equal(EVP_EncryptUpdate(c, room, &n, (const unsigned char *)text, (int)strlen(text)), 1);
	assert_int_equal(EVP_EncryptFinal_ex(c, room + n, &rest), 1);
	EVP_CIPHER_CTX_free(c);
	base64_encode(room, (size_t)(n + rest), &data);
	base64_encode(iv, sizeof(iv), &vector);
	json_t *message = json_pack("{s:i, s:s, s:s, s:s}", "messageId", 3, "MessageType", "JobCancellation", "IV",
	                            str_peek(&vector), "Body", str_peek(&data));
	str_done(&data);
	str_done(&vector);
	return message;
}

static void a_message_is_decrypted_with_its_sessions_key_alone(void **state)
{
	(void)state;
	static const size_t lengths[] = {16, 32};
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		struct v1_key own = {.bytes = {7}, .len = lengths[i]}, other = {.bytes = {8}, .len = lengths[i]},
			      none = {.len = 0};
		json_t *message = encrypted("\xef\xbb\xbf{\"jobId\":\"j\",\"timeout\":\"00:01:00\"}", &own);
		struct str out = STR_SECRET_INIT(1 << 16);
		struct broker_message m = {0};
		assert_int_equal(v1_message_body(message, &own, &out, NULL), 0);
		assert_int_equal(broker_message_of(message, out.data, out.len, 1 << 16, &m, NULL), 0);
		assert_int_equal(m.type, BROKER_CANCEL);
		assert_string_equal(m.job_id, "j");
		assert_int_equal(m.timeout_ms, 60000);
		broker_message_done(&m);
		str_clear(&out);
		assert_int_equal(v1_message_body(message, &other, &out, NULL), ERR_AUTH);
		str_clear(&out);
		assert_int_equal(v1_message_body(message, &none, &out, NULL), 0); /* taken as it is */
		str_clear(&out);
		json_object_set_new(message, "IV", json_string("QUJD"));
		assert_int_equal(v1_message_body(message, &own, &out, NULL), ERR_PROTOCOL);
		json_object_set_new(message, "IV", json_string(""));
		json_object_set_new(message, "Body", json_string("x"));
		assert_int_equal(v1_message_body(message, &own, &out, NULL), 0);
		assert_string_equal(str_peek(&out), "x");
		str_done(&out);
		json_decref(message);
	}
}

static void an_errors_class_decides_and_not_its_status(void **state)
{
	(void)state;
	static const struct {
		int status;
		const char *text;
		enum queue_error error;
	} rows[] = {
		{500, "{\"typeKey\":\"TaskAgentSessionConflictException\"}", QUEUE_CONFLICT},
		{400,
	         "{\"typeName\":\"Microsoft.TeamFoundation.DistributedTask.WebApi.TaskAgentNotFoundException, Microsoft.X\"}",
	         QUEUE_RUNNER_GONE},
		{403, "{\"typeKey\":\"TaskAgentSessionExpiredException\"}", QUEUE_SESSION_EXPIRED},
		{404, "{\"typeKey\":\"TaskAgentPoolNotFoundException\"}", QUEUE_POOL_GONE},
		{403, "{\"typeKey\":\"TaskAgentAccessTokenExpiredException\"}", QUEUE_DEPROVISIONED},
		{403, "{\"typeKey\":\"AccessDeniedException\",\"errorCode\":1}", QUEUE_VERSION_TOO_OLD},
		{403, "{\"typeKey\":\"AccessDeniedException\"}", QUEUE_FORBIDDEN},
		{401, "{\"typeKey\":\"TaskAgentNotFoundException\"}", QUEUE_UNAUTHORIZED},
		{302, "", QUEUE_UNAUTHORIZED},
		{404, "<html>", QUEUE_UNKNOWN},
		{503, "{\"typeName\":\",\"}", QUEUE_FAILED},
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct http_response r = {.status = rows[i].status, .body = STR_INIT(1 << 16)};
		str_append(&r.body, rows[i].text);
		assert_int_equal(queue_v1.session_error(&r), rows[i].error);
		http_response_done(&r);
	}
}

static void the_brokers_word_decides_and_not_the_status(void **state)
{
	(void)state;
#define SAYS(kind) "{\"source\":\"actions-broker-listener\",\"errorKind\":\"" kind "\"}"
	static const struct {
		int status;
		const char *text;
		enum queue_error error;
	} rows[] = {
		{400, SAYS("RunnerSessionInvalid"), QUEUE_SESSION_EXPIRED},
		{500, SAYS("runnernotfound"), QUEUE_RUNNER_GONE},
		{403, SAYS("RunnerVersionTooOld"), QUEUE_VERSION_TOO_OLD},
		{403, SAYS("HostedRunnerDeprovisioned"), QUEUE_DEPROVISIONED},
		{403, SAYS("SomethingNew"), QUEUE_FAILED},
		{403, "", QUEUE_FAILED},
		{404, "<html>", QUEUE_FAILED},
		{404, "{\"source\":\"a-proxy\",\"errorKind\":\"RunnerNotFound\"}", QUEUE_FAILED},
		{401, SAYS("RunnerNotFound"), QUEUE_UNAUTHORIZED},
	};
#undef SAYS
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct http_response r = {.status = rows[i].status, .body = STR_INIT(1 << 16)};
		str_append(&r.body, rows[i].text);
		assert_int_equal(queue_broker.poll_error(NULL, &r), rows[i].error);
		http_response_done(&r);
	}
}

static void prepare(struct queue *q)
{
	char *data = data_of("C3A054F6-7A8A-49C0-944E-3A8E5D7ADFD7", "m/{poolId}/{messageId}", "1.0", "7.1", "7.1");
	struct http_response r = {.status = 200, .body = STR_INIT(1 << 16)};
	str_append(&r.body, data);
	assert_int_equal(q->type->prepared(q, &r, NULL), 0);
	http_response_done(&r);
	free(data);
}

static void read_message(struct queue *q, const char *text, struct broker_message *m)
{
	struct http_response r = {.status = 200, .body = STR_INIT(1 << 16)};
	str_append(&r.body, text);
	assert_int_equal(q->type->read(q, &r, m, NULL), 0);
	http_response_done(&r);
}

/* Whether the poll behind it names that message. */
static bool next_poll_names(struct queue *q, const char *name)
{
	struct service_request poll = {.url = NULL};
	assert_int_equal(q->type->poll(q, "s", false, &poll, NULL), 0);
	bool named = strstr(poll.url, name) != NULL;
	service_request_done(&poll);
	return named;
}

static void a_message_without_a_number_is_number_0_and_is_removed_like_any_other(void **state)
{
	(void)state;
	struct registration reg = {.server_url = (char *)(uintptr_t) "https://g", .group_id = 3};
	struct queue *q = queue_new(&reg);
	struct broker_message m = {0};
	struct service_request removal = {.url = NULL};
	prepare(q);
	assert_false(next_poll_names(q, "lastMessageId"));
	read_message(q, "{\"messageType\":\"JobCancellation\",\"body\":\"{\\\"jobId\\\":\\\"j\\\"}\"}", &m);
	assert_true(next_poll_names(q, "&lastMessageId=0&"));
	assert_true(q->type->remove(q, "s", &m, &removal));
	assert_string_equal(removal.method, "DELETE");
	assert_string_equal(removal.url, "https://g/m/3/0?sessionId=s");
	service_request_done(&removal);
	broker_message_done(&m);
	/* The service that takes a machine away wants to hear nothing more. */
	read_message(q, "{\"messageId\":7,\"messageType\":\"RunnerShutdown\"}", &m);
	assert_false(q->type->remove(q, "s", &m, &removal));
	broker_message_done(&m);
	assert_true(next_poll_names(q, "&lastMessageId=7&"));
	read_message(
		q,
		"{\"messageId\":9,\"messageType\":\"BrokerMigration\",\"body\":\"{\\\"brokerBaseUrl\\\":\\\"https://b/\\\"}\"}",
		&m);
	assert_false(q->type->remove(q, "s", &m, &removal));
	broker_message_done(&m);
	assert_true(next_poll_names(q, "&lastMessageId=7&"));
	queue_free(q);
}

/* ---- jobs ---- */

static void a_job_is_gone_by_the_class_of_the_error_alone(void **state)
{
	(void)state;
	static const struct {
		int status;
		const char *class;
		bool gone;
	} rows[] = {
		{404, "TaskAgentJobNotFoundException", true},
		{400, "TaskAgentJobTokenExpiredException", true},
		{500, "TaskOrchestrationPlanNotFoundException", true},
		{403, "TaskOrchestrationPlanSecurityException", true},
		{400, "TaskOrchestrationPlanTerminatedException", true},
		{404, "TaskAgentNotFoundException", false},
		{404, "", false},
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct http_response r = {.status = rows[i].status, .body = STR_INIT(1 << 16)};
		str_appendf(&r.body, "{\"typeKey\":\"%s\"}", rows[i].class);
		assert_int_equal(job_of_v1.is_gone(&r), rows[i].gone);
		http_response_done(&r);
	}
}

static json_t *job_message(void)
{
	json_t *message = NULL;
	static const char text[] =
		"{\"messageType\":\"pipelineagentjobrequest\",\"plan\":{\"planId\":\"p\",\"planType\":\"Build\",\"version\":12,"
		"\"scopeIdentifier\":\"s\"},\"timeline\":{\"id\":\"t\"},\"jobId\":\"j\",\"jobName\":\"__default\","
		"\"jobDisplayName\":\"build\",\"requestId\":47,\"actionsEnvironment\":{\"name\":\"prod\",\"url\":null},"
		"\"variables\":{\"system.orchestrationId\":{\"value\":\"o\"}},"
		"\"resources\":{\"endpoints\":[{\"name\":\"SystemVssConnection\",\"url\":\"https://g/j/\","
		"\"authorization\":{\"parameters\":{\"AccessToken\":\"secret\"}}}]}}";
	assert_int_equal(json_parse(text, strlen(text), 1 << 16, &message, NULL), 0);
	return message;
}

static void a_job_is_kept_for_the_next_agent_with_all_that_its_calls_need(void **state)
{
	(void)state;
	struct run_job job = {0}, again = {0};
	json_t *message = job_message(), *record = json_object();
	assert_int_equal(run_job_read(message, &job, NULL), 0);
	assert_ptr_equal(job.type, &job_of_v1);
	job.request_url = xstrdup("https://g/requests/47?x=1");
	job.request_version = xstrdup("5.1-preview.1");
	run_job_write(&job, record);
	assert_int_equal(run_job_load(record, &again, NULL), 0);
	struct service_request q = {.url = NULL};
	again.type->renew(&again, &q);
	assert_string_equal(q.url, "https://g/requests/47?x=1&lockToken=00000000-0000-0000-0000-000000000000");
	assert_string_equal(q.method, "PATCH");
	assert_string_equal(q.orchestration, "o");
	assert_int_equal(q.caller, AS_RUNNER);
	assert_int_equal(json_get_int(q.json, "requestId", 0), 47);
	service_request_done(&q);
	assert_string_equal(again.timeline, "t");
	json_object_del(record, "message_type"); /* as releases before wrote it */
	run_job_done(&again);
	assert_int_equal(run_job_load(record, &again, NULL), 0);
	assert_ptr_equal(again.type, &job_of_run_service);
	run_job_done(&again);
	json_object_del(record, "token");
	assert_int_equal(run_job_load(record, &again, NULL), ERR_PROTOCOL);
	run_job_done(&job);
	json_decref(record);
	json_decref(message);
}

/* Enums come as texts or as numbers. */
static void how_a_job_ended_is_read_in_either_form(void **state)
{
	(void)state;
	static const struct {
		int status;
		const char *text, *result;
	} rows[] = {
		{200, "{\"result\":\"Canceled\"}", "Canceled"},
		{200, "{\"Result\":0}", "succeeded"},
		{200, "{\"result\":3}", "canceled"},
		{200, "{\"result\":5}", "abandoned"},
		{200, "{\"result\":6}", NULL},
		{200, "{\"result\":-1}", NULL},
		{200, "{\"result\":null}", NULL},
		{404, "{\"result\":0}", NULL},
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct http_response r = {.status = rows[i].status, .body = STR_INIT(1 << 16)};
		str_append(&r.body, rows[i].text);
		char *result = job_of_v1.result(&r);
		if (rows[i].result == NULL)
			assert_null(result);
		else
			assert_string_equal(result, rows[i].result);
		free(result);
		http_response_done(&r);
	}
}

static void a_job_that_could_not_be_reported_is_refused(void **state)
{
	(void)state;
	struct run_job job = {0};
	json_t *message = job_message();
	json_object_set_new(json_object_get(message, "plan"), "version", json_integer(7));
	assert_int_equal(run_job_read(message, &job, NULL), ERR_UNSUPPORTED);
	json_object_set_new(json_object_get(message, "plan"), "version", json_integer(8));
	json_object_del(message, "timeline");
	assert_int_equal(run_job_read(message, &job, NULL), ERR_PROTOCOL);
	json_decref(message);
}

static void annotations_become_issues_and_are_counted(void **state)
{
	(void)state;
	json_t *record = json_object(),
	       *all = json_pack("[{s:s, s:s, s:s, s:i, s:i, s:s}, {s:s, s:s, s:i}, {s:s, s:s}]", "level", "failure",
	                        "message", "no", "path", "a.c", "startLine", 3, "endLine", 4, "title", "T", "level",
	                        "warning", "message", "hm", "startLine", 9, "level", "notice", "message", "oh");
	v1_job_set_issues(record, all);
	assert_int_equal(json_get_int(record, "errorCount", 0), 1);
	assert_int_equal(json_get_int(record, "warningCount", 0), 1);
	assert_int_equal(json_get_int(record, "noticeCount", 0), 1);
	json_t *issues = json_get_array(record, "issues"), *data = json_object_get(json_array_get(issues, 0), "data");
	assert_string_equal(json_get_string(data, "file"), "a.c");
	assert_string_equal(json_get_string(data, "line"), "3");
	assert_string_equal(json_get_string(data, "endLine"), "4");
	data = json_object_get(json_array_get(issues, 1), "data");
	assert_string_equal(json_get_string(data, "logFileLineNumber"), "9");
	assert_null(json_object_get(data, "line"));
	json_decref(all);
	json_decref(record);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_route_is_what_the_service_says_with_the_values_of_the_call),
		cmocka_unit_test(versions_are_negotiated_by_what_the_service_has),
		cmocka_unit_test(what_a_service_does_not_list_is_not_guessed),
		cmocka_unit_test(a_sessions_key_is_read_by_the_hash_that_the_answer_names),
		cmocka_unit_test(a_message_is_decrypted_with_its_sessions_key_alone),
		cmocka_unit_test(an_errors_class_decides_and_not_its_status),
		cmocka_unit_test(the_brokers_word_decides_and_not_the_status),
		cmocka_unit_test(a_message_without_a_number_is_number_0_and_is_removed_like_any_other),
		cmocka_unit_test(a_job_is_gone_by_the_class_of_the_error_alone),
		cmocka_unit_test(a_job_is_kept_for_the_next_agent_with_all_that_its_calls_need),
		cmocka_unit_test(how_a_job_ended_is_read_in_either_form),
		cmocka_unit_test(a_job_that_could_not_be_reported_is_refused),
		cmocka_unit_test(annotations_become_issues_and_are_counted),
	};
	return cmocka_run_group_tests(tests, make_key, free_key);
}
