#include "unit/cmocka_all.h"

#include "agent/service/broker.h"
#include "agent/service/runservice.h"

#include <curl/curl.h>

static int read_text(const char *text, struct broker_message *m, struct err *err)
{
	return broker_message_read(text, strlen(text), m, err);
}

static void a_job_is_announced_by_reference(void **state)
{
	(void)state;
	struct broker_message m = {0};
	assert_int_equal(
		read_text(
			"{\"messageId\":104,\"messageType\":\"runnerJobRequest\",\"body\":\"\xef\xbb\xbf{\\\"id\\\":\\\"x\\\","
			"\\\"runner_request_id\\\":\\\"r-1\\\",\\\"run_service_url\\\":\\\"https://run/1\\\","
			"\\\"billing_owner_id\\\":\\\"U_1\\\",\\\"should_acknowledge\\\":true,\\\"new\\\":[1]}\"}",
			&m, NULL),
		0);
	assert_int_equal(m.type, BROKER_JOB);
	assert_int_equal(m.id, 104);
	assert_string_equal(m.request_id, "r-1");
	assert_string_equal(m.run_service_url, "https://run/1");
	assert_string_equal(m.billing_owner_id, "U_1");
	assert_true(m.should_acknowledge);
	broker_message_done(&m);
}

static void the_other_types_are_known_in_any_case(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		enum broker_message_type type;
	} rows[] = {
		{"{\"messageType\":\"JobCancellation\",\"body\":\"{\\\"jobId\\\":\\\"j\\\",\\\"timeout\\\":\\\"00:01:30\\\"}\"}",
	         BROKER_CANCEL},
		{"{\"messageType\":\"BrokerMigration\",\"body\":\"{\\\"brokerBaseUrl\\\":\\\"https://b/\\\"}\"}",
	         BROKER_MIGRATION},
		{"{\"messageType\":\"FORCETOKENREFRESH\",\"body\":\"\"}", BROKER_TOKEN_REFRESH},
		{"{\"messageType\":\"ForceTokenRefresh\"}", BROKER_TOKEN_REFRESH},
		{"{\"messageType\":\"RunnerShutdown\",\"body\":\"{\\\"reason\\\":\\\"r\\\"}\"}", BROKER_SHUTDOWN},
		{"{\"messageType\":\"RunnerRefresh\",\"body\":\"{\\\"target_version\\\":\\\"3\\\"}\"}", BROKER_REFRESH},
		{"{\"messageType\":\"AgentRefresh\",\"body\":\"{\\\"targetVersion\\\":\\\"3\\\"}\"}", BROKER_REFRESH},
		{"{\"messageType\":\"RunnerRefreshConfig\",\"body\":\"{\\\"configType\\\":\\\"runner\\\"}\"}",
	         BROKER_REFRESH_CONFIG},
		{"{\"messageType\":\"PipelineAgentJobRequest\",\"iv\":\"x\",\"body\":\"QUJD\"}", BROKER_OLD_JOB},
		{"{\"messageType\":\"SomethingNew\",\"body\":\"not json\"}", BROKER_UNKNOWN},
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct broker_message m = {0};
		assert_int_equal(read_text(rows[i].text, &m, NULL), 0);
		assert_int_equal(m.type, rows[i].type);
		if (m.type == BROKER_CANCEL)
			assert_int_equal(m.timeout_ms, 90000);
		broker_message_done(&m);
	}
}

static void a_message_without_what_its_type_needs_is_refused(void **state)
{
	(void)state;
	static const struct {
		const char *text, *says;
	} rows[] = {
		{"", "read a message"},
		{"[]", "messageType"},
		{"{\"messageType\":5}", "messageType"},
		{"{\"messageType\":\"RunnerJobRequest\",\"body\":\"{}\"}", "runner_request_id is missing"},
		{"{\"messageType\":\"RunnerJobRequest\",\"body\":\"{\"}", "body"},
		{"{\"messageType\":\"RunnerJobRequest\"}", "runner_request_id"},
		{"{\"messageType\":\"JobCancellation\",\"body\":\"{}\"}", "jobId"},
		{"{\"messageType\":\"BrokerMigration\",\"body\":\"{}\"}", "brokerBaseUrl"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct broker_message m = {0};
		struct err err = ERR_INIT;
		char line[2048];
		assert_int_equal(read_text(rows[i].text, &m, &err), ERR_PROTOCOL);
		if (strstr(err_line(&err, line, sizeof(line)), rows[i].says) == NULL)
			fail_msg("'%s' does not say '%s'", line, rows[i].says);
	}
}

static void a_message_over_the_bound_is_refused_before_it_is_parsed(void **state)
{
	(void)state;
	struct broker_message m = {0};
	char *big = xmalloc(WIRE_MESSAGE_MAX + 2);
	memset(big, ' ', WIRE_MESSAGE_MAX + 2);
	assert_int_equal(broker_message_read(big, WIRE_MESSAGE_MAX + 1, &m, NULL), ERR_LIMIT);
	free(big);
}

static void durations_and_times_are_dotnets(void **state)
{
	(void)state;
	assert_int_equal(wire_duration_ms("00:05:00", -1), 300000);
	assert_int_equal(wire_duration_ms("1.02:03:04.5", -1), ((26 * 60 + 3) * 60 + 4) * 1000 + 500);
	assert_int_equal(wire_duration_ms("00:00:00.1234567", -1), 123);
	assert_int_equal(wire_duration_ms("5", -1), -1);
	assert_int_equal(wire_duration_ms("00:61:00", -1), -1);
	assert_int_equal(wire_duration_ms("00:05:00x", -1), -1);
	assert_int_equal(wire_duration_ms(NULL, 7), 7);
	assert_int_equal(wire_time("0001-01-01T00:00:00"), 0);
	assert_int_equal(wire_time("1970-01-01T00:00:01.5000000Z"), 1500);
	assert_int_equal(wire_time("soon"), 0);
}

static void urls_of_the_queue_carry_what_the_service_wants(void **state)
{
	(void)state;
	char *url = broker_poll_url("https://broker.example/x", "a b", true, true);
	assert_true(str_starts(url, "https://broker.example/x/message?sessionId=a%20b&status=Busy&runnerVersion=2."));
	assert_non_null(strstr(url, "&os=Linux&architecture="));
	assert_true(str_ends(url, "&disableUpdate=true"));
	free(url);
	url = broker_session_url("https://broker.example/x/", NULL);
	assert_string_equal(url, "https://broker.example/x/session");
	free(url);
}

static const char job_text[] =
	"{\"MessageType\":\"RunnerJobRequest\",\"plan\":{\"planId\":\"p\"},\"jobId\":\"j\",\"jobDisplayName\":\"build\","
	"\"variables\":{\"system.github.token\":{\"value\":\"ghs\"}},"
	"\"contextData\":{\"github\":{\"t\":2,\"d\":[{\"k\":\"repository\",\"v\":\"a/b\"},{\"k\":\"SHA\",\"v\":{\"t\":0,\"s\":\"abc\"}}]}},"
	"\"resources\":{\"endpoints\":[{\"name\":\"other\"},{\"name\":\"systemvssconnection\",\"url\":\"https://run/\","
	"\"authorization\":{\"parameters\":{\"AccessToken\":\"t\"}}}]}}";

static json_t *parse(const char *text)
{
	json_t *value = NULL;
	assert_int_equal(json_parse(text, strlen(text), 1 << 20, &value, NULL), 0);
	return value;
}

static void a_job_message_gives_what_its_calls_need(void **state)
{
	(void)state;
	struct run_job job = {0};
	json_t *message = parse(job_text), *report = run_job_report(message);
	assert_int_equal(run_job_read(message, &job, NULL), 0);
	assert_string_equal(job.url, "https://run/");
	assert_string_equal(job.token, "t");
	assert_string_equal(job.name, "build");
	assert_null(job.billing_owner_id);
	assert_string_equal(json_get_string(report, "token"), "ghs");
	assert_string_equal(json_get_string(report, "repository"), "a/b");
	assert_string_equal(json_get_string(report, "sha"), "abc");
	json_t *completion = runservice_completion(&job, "failed");
	runservice_annotate(completion, "failure", "died");
	assert_string_equal(json_get_string(completion, "conclusion"), "failed");
	assert_string_equal(json_get_string(json_array_get(json_get_array(completion, "annotations"), 0), "message"),
	                    "died");
	json_decref(completion);
	json_decref(report);
	json_decref(message);
	run_job_done(&job);
}

static void a_job_message_that_lacks_something_is_refused_by_name(void **state)
{
	(void)state;
	static const struct {
		const char *drop, *says;
	} rows[] = {
		{"plan", "plan's id"},
		{"jobId", "job's id"},
		{"resources", "one system connection"},
		{"MessageType", "not known"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct run_job job = {0};
		struct err err = ERR_INIT;
		char line[1024];
		json_t *message = parse(job_text);
		json_object_del(message, rows[i].drop);
		assert_true(run_job_read(message, &job, &err) < 0);
		if (strstr(err_line(&err, line, sizeof(line)), rows[i].says) == NULL)
			fail_msg("'%s' does not say '%s'", line, rows[i].says);
		json_decref(message);
	}
}

static struct http_response answer(int status, const char *body)
{
	struct http_response r = {.status = status, .body = STR_INIT(1 << 16)};
	str_append(&r.body, body);
	return r;
}

static void error_bodies_count_only_with_the_right_source(void **state)
{
	(void)state;
	struct http_response r = answer(200, "{\"source\":\"actions-run-service\",\"statusCode\":409}");
	assert_int_equal(wire_run_service_error(&r), 409);
	assert_int_equal(wire_broker_error(&r), BROKER_ERROR_NONE);
	http_response_done(&r);
	r = answer(404, "{\"source\":\"other\",\"statusCode\":404,\"errorKind\":\"RunnerNotFound\"}");
	assert_int_equal(wire_run_service_error(&r), 0);
	assert_int_equal(wire_broker_error(&r), BROKER_ERROR_NONE);
	http_response_done(&r);
	r = answer(404, "{\"source\":\"actions-broker-listener\",\"errorKind\":\"runnernotfound\"}");
	assert_int_equal(wire_broker_error(&r), BROKER_ERROR_RUNNER_NOT_FOUND);
	http_response_done(&r);
	r = answer(502, "<html>");
	assert_int_equal(wire_broker_error(&r), BROKER_ERROR_NONE);
	http_response_done(&r);
}

static void an_error_says_the_status_and_the_services_words(void **state)
{
	(void)state;
	struct http_response r = answer(503, "{\"errorMessage\":\"try later\"}");
	struct err err = ERR_INIT;
	char line[1024];
	assert_int_equal(wire_status_error(&r, "acquire the job", &err), ERR_NETWORK);
	assert_true(err.retryable);
	assert_string_equal(err_line(&err, line, sizeof(line)), "acquire the job: HTTP 503, try later");
	http_response_done(&r);
}

static void time_limits_and_retries_are_the_environments_within_bounds(void **state)
{
	(void)state;
	static const struct {
		const char *seconds, *retries, *percent;
		int64_t call_ms;
		int tries;
	} rows[] = {
		{NULL, NULL, NULL, 100000, 3},     {"300", "5", NULL, 300000, 5}, {"5", "0", NULL, 100000, 3},
		{"5000", "99", NULL, 1200000, 10}, {"soon", "", NULL, 100000, 3}, {"200", NULL, "1", 2000, 3},
	};
	static const char *const names[] = {"GITHUB_ACTIONS_RUNNER_HTTP_TIMEOUT", "GITHUB_ACTIONS_RUNNER_HTTP_RETRY",
	                                    "DAVIT_LIMIT_PERCENT"};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *const values[] = {rows[i].seconds, rows[i].retries, rows[i].percent};
		for (size_t n = 0; n < ARRAY_SIZE(names); n++)
			if (values[n] != NULL)
				setenv(names[n], values[n], 1);
			else
				unsetenv(names[n]);
		assert_int_equal(wire_call_ms(), rows[i].call_ms);
		assert_int_equal(wire_retries(), rows[i].tries);
	}
	assert_int_equal(wire_limit_ms(60000), 600);
	for (size_t n = 0; n < ARRAY_SIZE(names); n++)
		unsetenv(names[n]);
}

static void a_registration_survives_being_kept(void **state)
{
	(void)state;
	json_t *record =
		json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:i, s:[s, s], s:b, s:s}", "format", 1, "name", "n", "work",
	                  "w", "broker_url", "https://b/", "client_id", "c", "authorization_url", "https://t/", "id",
	                  21, "labels", "a", "b", "ephemeral", 1, "worker_user", "builder");
	struct registration r = {0};
	assert_int_equal(registration_from_json(record, &r, NULL), 0);
	json_t *again = registration_to_json(&r);
	assert_int_equal(json_get_int(again, "id", 0), 21);
	assert_string_equal(json_get_string(again, "worker_user"), "builder");
	assert_int_equal(json_array_size(json_get_array(again, "labels")), 2);
	assert_true(json_get_bool(again, "ephemeral", false));
	registration_done(&r);
	json_object_set_new(record, "format", json_integer(2));
	assert_int_equal(registration_from_json(record, &r, NULL), ERR_UNSUPPORTED);
	json_object_set_new(record, "format", json_integer(1));
	json_object_del(record, "client_id");
	assert_int_equal(registration_from_json(record, &r, NULL), ERR_INVALID);
	json_decref(record);
	json_decref(again);
}

static void an_answer_to_the_end_of_a_job_says_whether_it_is_tried_again(void **state)
{
	(void)state;
	static const struct {
		int status;
		const char *body;
		enum runservice_end end;
	} rows[] = {
		{204, "", RUNSERVICE_SENT},
		{200, "{}", RUNSERVICE_SENT},
		{400, "{}", RUNSERVICE_REFUSED},
		{401, "", RUNSERVICE_GONE},
		{403, "", RUNSERVICE_REFUSED},
		{404, "{\"source\":\"actions-run-service\",\"statusCode\":404}", RUNSERVICE_GONE},
		{404, "<html>", RUNSERVICE_LATER},
		{408, "", RUNSERVICE_LATER},
		{409, "", RUNSERVICE_GONE},
		{410, "", RUNSERVICE_GONE},
		{413, "", RUNSERVICE_REFUSED},
		{422, "", RUNSERVICE_REFUSED},
		{429, "", RUNSERVICE_LATER},
		{302, "", RUNSERVICE_LATER},
		{500, "", RUNSERVICE_LATER},
		{503, "", RUNSERVICE_LATER},
	};
	const struct run_job job = {.type = &job_of_run_service};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct http_response response = {.status = rows[i].status, .body = STR_INIT(1000)};
		struct err err = ERR_INIT;
		str_append(&response.body, rows[i].body);
		bool taken = false;
		assert_int_equal(runservice_completed(&job, 0, &response, NULL, &taken, &err), rows[i].end);
		assert_int_equal(taken, rows[i].status == 500);
		assert_int_equal(err.code == 0, rows[i].end == RUNSERVICE_SENT);
		/* After a try whose answer was lost, a job that is over has that end. */
		err_clear(&err);
		taken = true;
		assert_int_equal(runservice_completed(&job, 0, &response, NULL, &taken, &err),
		                 rows[i].end == RUNSERVICE_GONE ? RUNSERVICE_SENT : rows[i].end);
		assert_true(taken);
		http_response_done(&response);
	}
	static const struct {
		long how;
		bool taken;
	} lost[] = {{CURLE_COULDNT_CONNECT, false},
	            {CURLE_COULDNT_RESOLVE_HOST, false},
	            {CURLE_GOT_NOTHING, true},
	            {CURLE_RECV_ERROR, true},
	            {CURLE_OPERATION_TIMEDOUT, true}};
	for (size_t i = 0; i < ARRAY_SIZE(lost); i++) {
		struct err failure = ERR_INIT, err = ERR_INIT;
		struct http_response none = {0};
		bool taken = false;
		err_set(&failure, ERR_NETWORK, "no route");
		failure.foreign = lost[i].how;
		assert_int_equal(runservice_completed(&job, ERR_NETWORK, &none, &failure, &taken, &err),
		                 RUNSERVICE_LATER);
		assert_int_equal(err.code, ERR_NETWORK);
		assert_int_equal(taken, lost[i].taken);
	}
}

static void what_is_refused_is_told_with_less(void **state)
{
	(void)state;
	json_t *whole = json_pack("{s:s, s:s, s:s, s:{s:{s:s}}, s:[{}], s:[], s:s}", "planId", "p", "jobId", "j",
	                          "conclusion", "succeeded", "outputs", "v", "value", "1", "stepResults", "annotations",
	                          "billingOwnerId", "U_1");
	json_t *first = runservice_smaller(whole, 1, "HTTP 400"), *second = runservice_smaller(whole, 2, "HTTP 400");
	assert_string_equal(json_get_string(first, "conclusion"), "succeeded");
	assert_non_null(json_get_object(first, "outputs"));
	assert_null(json_object_get(first, "stepResults"));
	assert_string_equal(json_get_string(first, "billingOwnerId"), "U_1");
	assert_int_equal(json_array_size(json_object_get(first, "annotations")), 1);
	assert_string_equal(json_get_string(second, "conclusion"), "failed");
	assert_null(json_object_get(second, "outputs"));
	assert_null(runservice_smaller(whole, 3, "HTTP 400"));
	json_object_del(whole, "outputs");
	json_t *only = runservice_smaller(whole, 1, "HTTP 400");
	assert_string_equal(json_get_string(only, "conclusion"), "succeeded");
	assert_null(runservice_smaller(whole, 2, "HTTP 400"));
	json_decref(whole);
	json_decref(first);
	json_decref(second);
	json_decref(only);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_job_is_announced_by_reference),
		cmocka_unit_test(the_other_types_are_known_in_any_case),
		cmocka_unit_test(a_message_without_what_its_type_needs_is_refused),
		cmocka_unit_test(a_message_over_the_bound_is_refused_before_it_is_parsed),
		cmocka_unit_test(durations_and_times_are_dotnets),
		cmocka_unit_test(urls_of_the_queue_carry_what_the_service_wants),
		cmocka_unit_test(a_job_message_gives_what_its_calls_need),
		cmocka_unit_test(a_job_message_that_lacks_something_is_refused_by_name),
		cmocka_unit_test(error_bodies_count_only_with_the_right_source),
		cmocka_unit_test(an_error_says_the_status_and_the_services_words),
		cmocka_unit_test(an_answer_to_the_end_of_a_job_says_whether_it_is_tried_again),
		cmocka_unit_test(what_is_refused_is_told_with_less),
		cmocka_unit_test(time_limits_and_retries_are_the_environments_within_bounds),
		cmocka_unit_test(a_registration_survives_being_kept),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
