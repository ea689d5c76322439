#include "unit/cmocka_all.h"
#include "agent/worker/message.h"
#include "agent/template/context_data.h"
#include "agent/template/eval.h"

#include <string.h>

static json_t *load(const char *text)
{
	json_error_t error;
	json_t *value = json_loads(text, JSON_DECODE_ANY, &error);
	if (value == NULL)
		fail_msg("%s: %s", text, error.text);
	return value;
}

static const char *dump(const json_t *value)
{
	static char text[4096];
	size_t n = json_dumpb(value, text, sizeof(text) - 1, JSON_ENCODE_ANY | JSON_COMPACT);
	text[n] = '\0';
	return text;
}

static const char *decoded(const char *text)
{
	static char line[512];
	_cleanup_json_ json_t *data = load(text), *value = NULL;
	struct err err = ERR_INIT;
	if (context_data_decode(data, &value, &err) < 0)
		return err_line(&err, line, sizeof(line));
	return dump(value);
}

static void context_data_becomes_plain(void **state)
{
	(void)state;
	assert_string_equal(
		decoded("{\"t\":2,\"d\":[{\"k\":\"a\",\"v\":{\"t\":1,\"a\":[\"x\",{\"t\":4,\"n\":2},{\"t\":4}]}},"
	                "{\"k\":\"b\",\"v\":{\"t\":3,\"b\":true}},{\"k\":\"c\",\"v\":{\"s\":\"t\"}},{\"k\":\"d\",\"v\":"
	                "null}]}"),
		"{\"a\":[\"x\",2,0],\"b\":true,\"c\":\"t\",\"d\":null}");
	assert_string_equal(decoded("{\"t\":2,\"d\":[{\"k\":\"Key\",\"v\":\"1\"},{\"k\":\"KEY\",\"v\":\"2\"}]}"),
	                    "{\"Key\":\"2\"}");
	assert_string_equal(decoded("{\"t\":5,\"d\":[{\"k\":\"Key\",\"v\":\"1\"},{\"k\":\"KEY\",\"v\":\"2\"}]}"),
	                    "{\"Key\":\"1\",\"KEY\":\"2\"}");
	assert_string_equal(decoded("{\"t\":2}"), "{}");
	assert_non_null(strstr(decoded("{\"t\":9}"), "unknown type"));
	assert_non_null(strstr(decoded("[1]"), "bare list"));
	assert_non_null(strstr(decoded("{\"t\":2,\"d\":[{\"v\":1}]}"), "no name"));
}

static const char *evaluated(const char *text)
{
	static char line[512];
	_cleanup_json_ json_t *token = load(text), *value = NULL, *files = load("[\"ci.yml\"]"),
			      *contexts = load("{\"matrix\":{\"os\":\"linux\",\"list\":[1,2],\"map\":{\"K\":\"v\"}}}");
	struct template_scope scope = {.expr = {.contexts = contexts}, .file_table = files};
	struct err err = ERR_INIT;
	if (template_eval(token, &scope, &value, &err) < 0)
		return err_line(&err, line, sizeof(line));
	return dump(value);
}

static void tokens_are_evaluated(void **state)
{
	(void)state;
	assert_string_equal(evaluated("\"x\""), "\"x\"");
	assert_string_equal(evaluated("{\"type\":0,\"lit\":\"x\"}"), "\"x\"");
	assert_string_equal(evaluated("{\"type\":3,\"expr\":\"matrix.os\"}"), "\"linux\"");
	assert_string_equal(evaluated("{\"type\":5,\"bool\":true}"), "true");
	assert_string_equal(evaluated("{\"type\":6,\"num\":10}"), "10");
	assert_string_equal(evaluated("{\"type\":7}"), "null");
	assert_string_equal(evaluated("{\"type\":1,\"seq\":[\"a\",{\"type\":3,\"expr\":\"matrix.list\"}]}"),
	                    "[\"a\",1,2]");
	assert_string_equal(evaluated("{\"type\":2,\"map\":[{\"Key\":\"a\",\"Value\":\"1\"},{\"key\":{\"type\":4,"
	                              "\"directive\":\"insert\"},"
	                              "\"value\":{\"type\":3,\"expr\":\"matrix.map\"}}]}"),
	                    "{\"a\":\"1\",\"K\":\"v\"}");
	assert_string_equal(
		evaluated("{\"type\":2,\"map\":[{\"key\":\"a\",\"value\":\"1\"},{\"key\":\"A\",\"value\":\"2\"}]}"),
		"The template is not valid. 'A' is already defined");
	assert_string_equal(
		evaluated("{\"type\":3,\"expr\":\"nope.x\",\"file\":1,\"line\":3,\"col\":7}"),
		"The template is not valid. ci.yml (Line: 3, Col: 7): Unrecognized named-value: 'nope'. Located at position 1 within "
		"expression: nope.x");
	assert_string_equal(evaluated("{\"type\":12}"), "a template token of an unknown type");
}

static void texts_of_a_map_are_converted_and_lists_refused(void **state)
{
	(void)state;
	_cleanup_json_ json_t *contexts = load("{}"), *into = json_object();
	_cleanup_json_ json_t *token =
		load("{\"type\":2,\"map\":[{\"key\":\"a\",\"value\":true},{\"key\":\"b\",\"value\":1.5},"
	             "{\"key\":\"c\",\"value\":null},{\"key\":\"d\",\"value\":\"x\"}]}");
	_cleanup_json_ json_t *list = load("{\"type\":2,\"map\":[{\"key\":\"a\",\"value\":{\"type\":1}}]}");
	struct template_scope scope = {.expr = {.contexts = contexts}};
	struct err err = ERR_INIT;
	char line[200];
	assert_int_equal(template_eval_strings(token, &scope, into, &err), 0);
	assert_string_equal(dump(into), "{\"a\":\"true\",\"b\":\"1.5\",\"c\":\"\",\"d\":\"x\"}");
	assert_int_equal(template_eval_strings(list, &scope, into, &err), ERR_INVALID);
	assert_string_equal(err_line(&err, line, sizeof(line)), "A sequence was not expected");
}

static void all_that_is_wrong_is_told_as_the_official_runner_does(void **state)
{
	(void)state;
	_cleanup_json_ json_t *contexts = load("{}"), *into = json_object(), *files = load("[\"ci.yml\"]");
	_cleanup_json_ json_t *token =
		load("{\"type\":2,\"map\":["
	             "{\"key\":\"a\",\"value\":{\"type\":3,\"expr\":\"a.x\",\"file\":1,\"line\":3,\"col\":7}},"
	             "{\"key\":\"b\",\"value\":\"x\"},"
	             "{\"key\":\"c\",\"value\":{\"type\":1,\"file\":1,\"line\":5,\"col\":7}}]}");
	struct template_scope scope = {.expr = {.contexts = contexts}, .file_table = files};
	struct err err = ERR_INIT;
	char line[600];
	assert_int_equal(template_eval_strings(token, &scope, into, &err), ERR_INVALID);
	assert_string_equal(err_line(&err, line, sizeof(line)),
	                    "The template is not valid. ci.yml (Line: 3, Col: 7): Unrecognized named-value: 'a'. "
	                    "Located at position 1 within expression: a.x,ci.yml (Line: 5, Col: 7): A sequence was not "
	                    "expected");
	assert_int_equal(json_object_size(into), 0);
}

static void scalars_are_not_converted(void **state)
{
	(void)state;
	_cleanup_json_ json_t *contexts = load("{}"), *files = load("[\"ci.yml\"]"), *ten = load("\"10\"");
	_cleanup_json_ json_t *yes = load("{\"type\":3,\"expr\":\"'yes'\",\"file\":1,\"line\":3,\"col\":7}"),
			      *one = load("{\"type\":3,\"expr\":\"1.5\"}"), *no = load("false");
	struct template_scope scope = {.expr = {.contexts = contexts}, .file_table = files};
	struct err err = ERR_INIT;
	char line[600];
	double number = 0;
	bool holds = true;
	assert_int_equal(template_eval_number(one, &scope, &number, &err), 0);
	assert_true(number == 1.5);
	assert_int_equal(template_eval_boolean(no, &scope, &holds, &err), 0);
	assert_false(holds);
	assert_int_equal(template_eval_number(ten, &scope, &number, &err), ERR_INVALID);
	assert_string_equal(err_line(&err, line, sizeof(line)), "The template is not valid. Unexpected value '10'");
	assert_int_equal(template_eval_boolean(yes, &scope, &holds, &err), ERR_INVALID);
	assert_string_equal(err_line(&err, line, sizeof(line)),
	                    "The template is not valid. ci.yml (Line: 3, Col: 7): Unexpected value 'yes'");
}

static const char *readable(const char *text)
{
	static char result[512];
	_cleanup_json_ json_t *token = load(text);
	_cleanup_free_ char *shown = template_readable(token);
	strncpy(result, shown, sizeof(result) - 1);
	return result;
}

static void names_are_readable_before_they_can_be_evaluated(void **state)
{
	(void)state;
	assert_string_equal(
		readable("{\"type\":3,\"expr\":\"format('Build on {0} and {1}!', matrix.os, join(x, ', '))\"}"),
		"Build on ${{ matrix.os }} and ${{ join(x, ', ') }}!");
	assert_string_equal(readable("{\"type\":3,\"expr\":\"steps.a.outputs.b\"}"), "${{ steps.a.outputs.b }}");
	assert_string_equal(readable("{\"type\":3,\"expr\":\"format('it''s {{0}}')\"}"), "it's {0}");
	assert_string_equal(readable("{\"type\":3,\"expr\":\"format('{9}', a)\"}"), "${{ format('{9}', a) }}");
	assert_string_equal(readable("\"plain\""), "plain");
}

static void what_a_message_calls_secret_is_masked(void **state)
{
	(void)state;
	_cleanup_json_ json_t *message =
		load("{\"variables\":{\"KEY\":{\"value\":\"s3cr3t-value\",\"isSecret\":true},\"OPEN\":{\"value\":"
	             "\"open-value\"},"
	             "\"ACTIONS_STEP_DEBUG\":{\"value\":\"true\",\"isSecret\":true},\"github_token\":{\"value\":\"ghs_"
	             "tok\",\"isSecret\":true},"
	             "\"system.github.token\":{\"value\":\"ghs_tok\",\"isSecret\":true}},"
	             "\"mask\":[{\"type\":\"regex\",\"value\":\"lit\\\\.eral\\\\-x\"},{\"type\":2,\"value\":\"\\\\bpat_"
	             "[a-z]{4}\\\\b\"},"
	             "{\"type\":\"variable\",\"value\":\"ignored\"},{\"type\":\"regex\",\"value\":\"(\"}],"
	             "\"resources\":{\"endpoints\":[{\"name\":\"SystemVssConnection\",\"authorization\":{"
	             "\"parameters\":{\"AccessToken\":\"job-token\"}}}]}}");
	_cleanup_(mask_freep) struct mask *mask = mask_new();
	_cleanup_(str_done) struct str out = STR_INIT(1000);
	static const char text[] = "s3cr3t-value open-value true lit.eral-x litXeral-x pat_abcd ignored job-token "
				   "eC1hY2Nlc3MtdG9rZW46Z2hzX3Rvaw==";
	message_mask(message, mask);
	mask_apply(mask, text, strlen(text), &out);
	assert_string_equal(str_peek(&out), "*** open-value true *** litXeral-x *** ignored *** ***");
	_cleanup_json_ json_t *secrets = message_secrets(message);
	assert_string_equal(json_get_string(secrets, "GITHUB_TOKEN"), "ghs_tok");
	assert_null(json_object_get(secrets, "system.github.token"));
	assert_true(message_flag(message, "ACTIONS_STEP_DEBUG", false));
	assert_false(message_flag(message, "OPEN", false));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(context_data_becomes_plain),
		cmocka_unit_test(tokens_are_evaluated),
		cmocka_unit_test(texts_of_a_map_are_converted_and_lists_refused),
		cmocka_unit_test(all_that_is_wrong_is_told_as_the_official_runner_does),
		cmocka_unit_test(scalars_are_not_converted),
		cmocka_unit_test(names_are_readable_before_they_can_be_evaluated),
		cmocka_unit_test(what_a_message_calls_secret_is_masked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
