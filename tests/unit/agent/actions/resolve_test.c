#include "unit/cmocka_all.h"
#include "agent/actions/resolve.h"

#include <stdio.h>
#include <string.h>

static const char *resolved(const char *reference)
{
	static char result[1024];
	_cleanup_json_ json_t *json = json_loads(reference, 0, NULL);
	struct uses uses = {.step = NULL};
	struct err err = ERR_INIT;
	char line[512];
	if (uses_resolve(json, "octo/Davit", &uses, &err) < 0)
		snprintf(result, sizeof(result), "! %s / %s", err_line(&err, line, sizeof(line)), err.hint);
	else
		snprintf(result, sizeof(result), "%s %s", uses.kind == USES_DEPLOY ? "deploy" : uses.step, uses.shown);
	uses_done(&uses);
	return result;
}

static void our_own_actions_of_our_major_run_here(void **state)
{
	(void)state;
	assert_string_equal(
		resolved(
			"{\"type\":\"repository\",\"name\":\"octo/davit\",\"ref\":\"v1\",\"repositoryType\":\"GitHub\","
			"\"path\":\"actions/archive-upload\"}"),
		"archive-upload octo/davit/actions/archive-upload@v1");
	assert_string_equal(resolved("{\"type\":1,\"name\":\"octo/davit\",\"ref\":\"v1\",\"path\":null}"),
	                    "deploy octo/davit@v1");
	assert_string_equal(resolved("{\"type\":1,\"name\":\"octo/davit\",\"ref\":\"v1\",\"path\":\"actions/setup\"}"),
	                    "setup octo/davit/actions/setup@v1");
}

static void other_versions_are_refused_with_both_named(void **state)
{
	(void)state;
	const char *text =
		resolved("{\"type\":\"repository\",\"name\":\"octo/davit\",\"ref\":\"v2\",\"path\":\"actions/run\"}");
	assert_non_null(strstr(text, "major version 2"));
	assert_non_null(strstr(text, DAVIT_VERSION));
	assert_non_null(strstr(text, "octo/davit/actions/run@v1"));
	text = resolved(
		"{\"type\":\"repository\",\"name\":\"octo/davit\",\"ref\":\"v1.2.3\",\"path\":\"actions/run\"}");
	assert_non_null(strstr(text, "! uses:"));
	text = resolved("{\"type\":\"repository\",\"name\":\"octo/davit\",\"ref\":\"main\",\"path\":\"actions/run\"}");
	assert_non_null(strstr(text, "'main', which names no version"));
}

static void other_actions_are_not_ours(void **state)
{
	(void)state;
	assert_non_null(strstr(resolved("{\"type\":\"repository\",\"name\":\"actions/checkout\",\"ref\":\"v4\"}"),
	                       "actions/checkout is not an action of octo/Davit"));
	assert_non_null(strstr(
		resolved("{\"type\":\"repository\",\"name\":\"octo/davit\",\"ref\":\"v1\",\"path\":\"actions/a/b\"}"),
		"not an action"));
}

static void a_step_gets_its_job_and_the_secrets_it_names_but_no_empty_inputs(void **state)
{
	(void)state;
	_cleanup_json_ json_t *github =
		json_loads("{\"server_url\":\"https://g\",\"repository\":\"o/r\",\"run_id\":\"7\",\"sha\":\"c\","
	                   "\"token\":\"t\",\"run_attempt\":1}",
	                   0, NULL);
	_cleanup_json_ json_t *matrix = json_loads("{\"os\":\"x\"}", 0, NULL),
			      *secrets = json_loads(
				      "{\"A\":\"s3cr3t-a\",\"B\":\"\",\"C\":\"s3cr3t-c\",\"D\":\"line\\none\"}", 0,
				      NULL);
	_cleanup_json_ json_t *inputs = json_loads(
		"{\"path\":\"/srv\",\"keep\":\"\",\"env\":\"A: s3cr3t-a\",\"values\":\"{\\\"D\\\": \\\"line\\\\none\\\"}\"}",
		0, NULL);
	struct uses_job source = {.github = github,
	                          .matrix = matrix,
	                          .secrets = secrets,
	                          .inputs = inputs,
	                          .tracking_id = "id",
	                          .workspace = "/w"};
	_cleanup_json_ json_t *job = uses_job(&source);
	assert_string_equal(json_get_string(job, "run_url"), "https://g/o/r/actions/runs/7");
	assert_string_equal(json_get_string(job, "attempt"), "1");
	assert_string_equal(json_get_string(job, "commit"), "c");
	/* Those that stand in the inputs, one of them as JSON: not C, which nobody named. */
	assert_int_equal(json_array_size(json_object_get(job, "masks")), 2);
	struct uses uses = {.kind = USES_TYPED, .step = (char *)"run"};
	_cleanup_(str_done) struct str text = STR_SECRET_INIT(4096);
	assert_true(uses_document(&uses, inputs, job, &text));
	_cleanup_json_ json_t *document = json_loads(str_peek(&text), 0, NULL);
	assert_int_equal(json_object_size(document), 2);
	assert_int_equal(json_object_size(json_object_get(document, "input")), 3);
	const char *argv[6];
	uses_arguments(&uses, "/x/davit-step", argv);
	assert_string_equal(argv[1], "step");
	assert_string_equal(argv[2], "run");
	assert_string_equal(argv[4], "-");
	assert_null(argv[5]);
	assert_false(uses_only_looks(&uses));
}

/* Of the event itself, which no step before it can change. */
static void a_step_gets_the_pull_request_that_began_its_job(void **state)
{
	(void)state;
	static const char *const events[] = {"pull_request", "pull_request_target", "push"};
	for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
		_cleanup_json_ json_t *github =
			json_pack("{s:s, s:{s:{s:i}}}", "event_name", events[i], "event", "pull_request", "number", 7);
		const struct uses_job source = {.github = github};
		_cleanup_json_ json_t *job = uses_job(&source);
		assert_int_equal(json_get_int(json_object_get(job, "pull_request"), "number", 0), i < 2 ? 7 : 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(our_own_actions_of_our_major_run_here),
		cmocka_unit_test(other_versions_are_refused_with_both_named),
		cmocka_unit_test(other_actions_are_not_ours),
		cmocka_unit_test(a_step_gets_the_pull_request_that_began_its_job),
		cmocka_unit_test(a_step_gets_its_job_and_the_secrets_it_names_but_no_empty_inputs),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
