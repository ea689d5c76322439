#include "unit/cmocka_all.h"
#include "base/data/schema/compile.h"

static json_t *parse(const char *text)
{
	json_t *value = NULL;
	struct err err = ERR_INIT;
	if (json_parse(text, strlen(text), 1 << 20, &value, &err) < 0)
		fail_msg("%s: %s", text, err.frames[0].text);
	return value;
}

static int compile(const char *text, const char *remotes, bool strict, struct schema **ret, struct err *err)
{
	json_t *source = parse(text), *map = remotes ? parse(remotes) : NULL;
	struct schema_options options = {.strict_words = strict, .remotes = map};
	int r = schema_compile(source, &options, ret, err);
	json_decref(source);
	json_decref(map);
	return r;
}

/* The answer, and the first fault as "POINTER: TEXT" in `says`. */
static int check_with(const char *text, const char *remotes, const char *instance, char *says, size_t size)
{
	struct schema *schema = NULL;
	struct err err = ERR_INIT;
	if (compile(text, remotes, false, &schema, &err) < 0)
		fail_msg("%s: %s", text, err.frames[0].text);
	json_t *value = parse(instance);
	struct faults faults = {0};
	int r = schema_check(schema, value, NULL, &faults, &err);
	if (says != NULL)
		snprintf(says, size, "%s: %s", faults.count ? faults.items[0].pointer : "",
		         faults.count ? faults.items[0].text : "");
	faults_done(&faults);
	json_decref(value);
	schema_free(schema);
	return r;
}

static bool valid(const char *schema, const char *instance)
{
	int r = check_with(schema, NULL, instance, NULL, 0);
	assert_true(r == 0 || r == ERR_INVALID);
	return r == 0;
}

static void faulty(const char *schema, const char *instance, const char *says)
{
	char text[512];
	assert_int_equal(check_with(schema, NULL, instance, text, sizeof(text)), ERR_INVALID);
	assert_string_equal(text, says);
}

static void one_equals_one_point_zero_and_true_equals_neither(void **state)
{
	(void)state;
	assert_true(valid("{\"const\":1}", "1.0"));
	assert_true(valid("{\"enum\":[{\"a\":[1.0]}]}", "{\"a\":[1]}"));
	assert_false(valid("{\"const\":1}", "true"));
	assert_false(valid("{\"const\":[false]}", "[0]"));
	assert_false(valid("{\"uniqueItems\":true}", "[1,2,1.0]"));
	assert_true(valid("{\"uniqueItems\":true}", "[1,true,\"1\",[1],{\"a\":1},{\"a\":2}]"));
	assert_false(valid("{\"uniqueItems\":true}", "[{\"a\":1,\"b\":2},{\"b\":2.0,\"a\":1.0}]"));
	assert_true(valid("{\"type\":\"integer\"}", "1.0"));
	assert_false(valid("{\"type\":\"integer\"}", "1.5"));
}

static void a_nul_in_a_text_counts_as_a_character_and_ends_nothing(void **state)
{
	(void)state;
	assert_false(valid("{\"const\":\"a\\u0000b\"}", "\"a\\u0000c\""));
	assert_false(valid("{\"const\":\"a\"}", "\"a\\u0000\""));
	assert_true(valid("{\"enum\":[\"hello\\u0000there\"]}", "\"hello\\u0000there\""));
	assert_false(valid("{\"enum\":[\"hello\\u0000there\"]}", "\"hellothere\""));
	assert_true(valid("{\"minLength\":3,\"maxLength\":3}", "\"a\\u0000b\""));
	assert_true(valid("{\"pattern\":\"^a\\u0000b$\"}", "\"a\\u0000b\""));
	assert_false(valid("{\"uniqueItems\":true}", "[\"a\\u0000b\",\"a\\u0000b\"]"));
	assert_true(valid("{\"uniqueItems\":true}", "[\"a\\u0000b\",\"a\\u0000c\"]"));
}

static void numbers_beyond_64_bits_are_numbers(void **state)
{
	(void)state;
	assert_true(valid("{\"type\":\"integer\"}", "12345678910111213141516171819202122232425262728293031"));
	assert_true(valid("{\"maximum\":18446744073709551615}", "18446744073709551600"));
	assert_false(valid("{\"exclusiveMaximum\":972783798187987123879878123.18878137}",
	                   "972783798187987123879878123.188781371"));
	assert_true(valid("{\"minimum\":-98249283749234923498293171823948729348710298301928331}", "-1"));
	assert_true(valid("{\"const\":9007199254740993}", "9007199254740993"));
	assert_false(valid("{\"const\":9007199254740993}", "9007199254740992"));
	assert_false(valid("{\"maximum\":9007199254740992}", "9007199254740993"));
	assert_true(valid("{\"const\":1e18}", "1000000000000000000"));
}

static void multiples_are_decided_as_decimals(void **state)
{
	(void)state;
	assert_true(valid("{\"multipleOf\":0.01}", "4.35"));
	assert_true(valid("{\"multipleOf\":0.0001}", "0.0075"));
	assert_false(valid("{\"multipleOf\":0.0001}", "0.00751"));
	assert_true(valid("{\"multipleOf\":0.1}", "1e300"));
	assert_false(valid("{\"multipleOf\":0.123456789}", "1e308"));
	assert_true(valid("{\"multipleOf\":1e-8}", "12391239123"));
	assert_true(valid("{\"multipleOf\":3}", "-9223372036854775806"));
	assert_false(valid("{\"multipleOf\":7}", "9223372036854775808"));
	assert_true(valid("{\"multipleOf\":5}", "0"));
	assert_false(valid("{\"multipleOf\":1e300}", "1e299"));
}

static void an_id_inside_an_unknown_word_names_nothing(void **state)
{
	(void)state;
	const char *schema =
		"{\"definitions\":{\"a\":{\"enum\":[{\"$id\":\"http://x.test/inner.json\",\"type\":\"null\"}]},"
		"\"b\":{\"$id\":\"http://x.test/inner.json\",\"type\":\"string\"},"
		"\"c\":{\"const\":{\"$id\":\"http://x.test/inner.json\",\"type\":\"null\"}}},"
		"\"unknown\":{\"$id\":\"http://x.test/inner.json\",\"type\":\"null\"},"
		"\"anyOf\":[{\"$ref\":\"http://x.test/inner.json\"}]}";
	assert_true(valid(schema, "\"text\""));
	assert_false(valid(schema, "null"));
	assert_true(
		valid("{\"unknown\":{\"x\":{\"type\":\"string\"}},\"properties\":{\"a\":{\"$ref\":\"#/unknown/x\"}}}",
	              "{\"a\":\"t\"}"));
	assert_false(
		valid("{\"unknown\":{\"x\":{\"type\":\"string\"}},\"properties\":{\"a\":{\"$ref\":\"#/unknown/x\"}}}",
	              "{\"a\":1}"));
}

static void a_ref_beside_other_words_is_alone(void **state)
{
	(void)state;
	assert_true(valid(
		"{\"definitions\":{\"a\":{\"type\":\"array\"}},\"properties\":{\"x\":{\"$ref\":\"#/definitions/a\",\"maxItems\":1}}}",
		"{\"x\":[1,2]}"));
	const char *schema =
		"{\"$id\":\"http://x.test/base/\",\"definitions\":{\"f\":{\"$id\":\"foo.json\",\"type\":\"string\"},"
		"\"o\":{\"$id\":\"http://x.test/foo.json\",\"type\":\"number\"}},"
		"\"allOf\":[{\"$id\":\"http://x.test/\",\"$ref\":\"foo.json\"}]}";
	assert_true(valid(schema, "\"a\""));
	assert_false(valid(schema, "1"));
	assert_true(valid("{\"properties\":{\"$ref\":{\"type\":\"string\"}}}", "{\"$ref\":\"x\"}"));
}

static void remote_documents_come_from_the_map_only(void **state)
{
	(void)state;
	struct schema *schema = NULL;
	struct err err = ERR_INIT;
	assert_int_equal(compile("{\"$ref\":\"http://x.test/a.json\"}", NULL, false, &schema, &err), ERR_INVALID);
	assert_non_null(strstr(err.frames[0].text, "leads nowhere"));
	const char *map = "{\"http://x.test/d/a.json\":{\"definitions\":{\"n\":{\"$ref\":\"b.json#/definitions/n\"}}},"
			  "\"http://x.test/d/b.json\":{\"definitions\":{\"n\":{\"$id\":\"#n\",\"type\":\"null\"}}}}";
	assert_int_equal(check_with("{\"$ref\":\"http://x.test/d/a.json#/definitions/n\"}", map, "null", NULL, 0), 0);
	assert_int_equal(check_with("{\"$ref\":\"http://x.test/d/a.json#/definitions/n\"}", map, "1", NULL, 0),
	                 ERR_INVALID);
	assert_int_equal(check_with("{\"$ref\":\"http://x.test/d/b.json#n\"}", map, "1", NULL, 0), ERR_INVALID);
	assert_int_equal(check_with("{\"$id\":\"http://x.test/x/y/\",\"items\":{\"$ref\":\"../../d/./b.json#n\"}}", map,
	                            "[null]", NULL, 0),
	                 0);
	assert_int_equal(check_with("{\"$ref\":\"http://json-schema.org/draft-07/schema#\"}", NULL,
	                            "{\"minLength\":-1}", NULL, 0),
	                 ERR_INVALID);
	assert_int_equal(check_with("{\"$ref\":\"http://json-schema.org/draft-07/schema#\"}", NULL, "{\"minLength\":1}",
	                            NULL, 0),
	                 0);
}

static void references_without_end_are_found(void **state)
{
	(void)state;
	struct schema *schema = NULL;
	struct err err = ERR_INIT;
	assert_int_equal(compile("{\"$ref\":\"#\"}", NULL, false, &schema, &err), ERR_INVALID);
	assert_int_equal(
		compile("{\"definitions\":{\"a\":{\"$ref\":\"#/definitions/b\"},\"b\":{\"$ref\":\"#/definitions/a\"}}}",
	                NULL, false, &schema, &err),
		ERR_INVALID);
	assert_int_equal(check_with("{\"allOf\":[{\"$ref\":\"#\"}]}", NULL, "1", NULL, 0), ERR_UNSUPPORTED);
	assert_int_equal(check_with("{\"not\":{\"anyOf\":[{\"$ref\":\"#\"}]}}", NULL, "{}", NULL, 0), ERR_UNSUPPORTED);
	assert_int_equal(
		check_with("{\"properties\":{\"a\":{\"$ref\":\"#\"}}}", NULL, "{\"a\":{\"a\":{\"a\":1}}}", NULL, 0), 0);
}

static void depth_and_work_are_bounded(void **state)
{
	(void)state;
	json_t *source = json_pack("{s:s}", "type", "array");
	for (int i = 0; i < 5000; i++)
		source = json_pack("{s:o}", "not", source);
	struct schema *schema = NULL;
	assert_int_equal(schema_compile(source, NULL, &schema, NULL), ERR_LIMIT);
	json_decref(source);
	json_t *value = json_array();
	for (int i = 0; i < 1900; i++)
		value = json_pack("[o]", value);
	source = parse("{\"items\":{\"$ref\":\"#\"}}");
	assert_int_equal(schema_compile(source, NULL, &schema, NULL), 0);
	assert_int_equal(schema_check(schema, value, NULL, NULL, NULL), ERR_LIMIT);
	schema_free(schema);
	json_decref(source);
	json_decref(value);
	/* Each level asks twice for the next one: 2^40 steps. */
	source = json_pack("{s:{}}", "definitions");
	for (int i = 0; i < 40; i++) {
		char name[16], next[32];
		snprintf(name, sizeof(name), "d%d", i);
		snprintf(next, sizeof(next), "#/definitions/d%d", i + 1);
		json_object_set_new(json_object_get(source, "definitions"), name,
		                    json_pack("{s:[{s:s},{s:s}]}", "allOf", "$ref", next, "$ref", next));
	}
	json_object_set_new(json_object_get(source, "definitions"), "d40", json_true());
	json_object_set_new(source, "allOf", json_pack("[{s:s}]", "$ref", "#/definitions/d0"));
	assert_int_equal(schema_compile(source, NULL, &schema, NULL), 0);
	value = json_integer(1);
	assert_int_equal(schema_check(schema, value, NULL, NULL, NULL), ERR_LIMIT);
	json_decref(value);
	schema_free(schema);
	json_decref(source);
}

static void unknown_words_are_ignored_unless_they_are_ours(void **state)
{
	(void)state;
	struct schema *schema = NULL;
	struct err err = ERR_INIT;
	assert_true(valid("{\"minimun\":3,\"format\":\"email\",\"contentEncoding\":\"base64\"}", "\"%\""));
	assert_int_equal(compile("{\"properties\":{\"a\":{\"minimun\":3}}}", NULL, true, &schema, &err),
	                 ERR_UNSUPPORTED);
	assert_non_null(strstr(err.frames[0].text, "#/properties/a: the word 'minimun'"));
	assert_int_equal(compile("{\"x-secret\":true,\"default\":{\"minimun\":3}}", NULL, true, &schema, &err), 0);
	schema_free(schema);
	assert_int_equal(
		compile("{\"$schema\":\"http://json-schema.org/draft-04/schema#\"}", NULL, false, &schema, &err),
		ERR_UNSUPPORTED);
}

static void a_schema_that_is_none_is_refused_with_its_place(void **state)
{
	(void)state;
	static const char *const bad[] = {"{\"type\":\"text\"}",
	                                  "{\"type\":[]}",
	                                  "{\"minLength\":-1}",
	                                  "{\"minLength\":1.5}",
	                                  "{\"items\":3}",
	                                  "{\"properties\":[]}",
	                                  "{\"required\":\"a\"}",
	                                  "{\"pattern\":\"(\"}",
	                                  "{\"multipleOf\":0}",
	                                  "{\"allOf\":{}}",
	                                  "{\"enum\":1}",
	                                  "{\"$ref\":1}",
	                                  "{\"$ref\":\"#/nowhere\"}",
	                                  "{\"$ref\":\"#nobody\"}",
	                                  "{\"uniqueItems\":1}",
	                                  "{\"dependencies\":{\"a\":[1]}}",
	                                  "{\"maximum\":\"3\"}",
	                                  "[]",
	                                  "3"};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct schema *schema = NULL;
		struct err err = ERR_INIT;
		if (compile(bad[i], NULL, false, &schema, &err) != ERR_INVALID)
			fail_msg("%s: %d", bad[i], err.code);
	}
	struct schema *schema = NULL;
	struct err err = ERR_INIT;
	compile("{\"properties\":{\"a/b\":{\"maxItems\":\"x\"}}}", NULL, false, &schema, &err);
	assert_string_equal(err.frames[0].text,
	                    "schema, #/properties/a~1b/maxItems: must be a whole number, 0 or more");
}

static void a_fault_says_where_and_what(void **state)
{
	(void)state;
	faulty("{\"properties\":{\"a\":{\"items\":{\"type\":\"string\"}}}}", "{\"a\":[\"x\",3]}",
	       "/a/1: must be a text, not a number");
	faulty("{\"properties\":{\"path\":true},\"additionalProperties\":false}", "{\"pth\":1}",
	       "/pth: 'pth' is not known here; did you mean 'path'?");
	faulty("{\"required\":[\"a\"]}", "{}", ": 'a' is missing");
	faulty("{\"enum\":[\"on\",\"off\",3]}", "\"of\"", ": must be one of 'on', 'off', 3");
	faulty("{\"oneOf\":[{\"required\":[\"a\"]},{\"required\":[\"b\"]}]}", "{}", ": one of 'a', 'b' is needed");
	faulty("{\"oneOf\":[{\"required\":[\"a\"]},{\"required\":[\"b\"]}]}", "{\"a\":1,\"b\":1}",
	       ": only one of 'a', 'b' is possible");
	faulty("{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"array\",\"minItems\":1}]}", "[]", ": is empty");
	faulty("{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"array\"}]}", "3", ": must be a text or a list");
	faulty("{\"dependencies\":{\"a\":[\"b\"]}}", "{\"a\":1}", ": 'b' is missing; 'a' needs it");
	faulty("{\"propertyNames\":{\"maxLength\":1}}", "{\"ab\":1}", "/ab: the name 'ab' is not allowed here");
	faulty("{\"properties\":{\"a\":false}}", "{\"a\":1}", "/a: is not allowed here");
	faulty("{\"if\":{\"const\":1},\"then\":{\"const\":2},\"else\":{\"type\":\"string\"}}", "3",
	       ": must be a text, not a number");
}

static void a_pattern_that_is_given_up_is_no_verdict(void **state)
{
	(void)state;
	assert_int_equal(check_with("{\"pattern\":\"^(a+)+$\"}", NULL,
	                            "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab\"", NULL, 0),
	                 ERR_LIMIT);
	assert_int_equal(check_with("{\"not\":{\"pattern\":\"^(a+)+$\"}}", NULL,
	                            "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab\"", NULL, 0),
	                 ERR_LIMIT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_equals_one_point_zero_and_true_equals_neither),
		cmocka_unit_test(a_nul_in_a_text_counts_as_a_character_and_ends_nothing),
		cmocka_unit_test(numbers_beyond_64_bits_are_numbers),
		cmocka_unit_test(multiples_are_decided_as_decimals),
		cmocka_unit_test(an_id_inside_an_unknown_word_names_nothing),
		cmocka_unit_test(a_ref_beside_other_words_is_alone),
		cmocka_unit_test(remote_documents_come_from_the_map_only),
		cmocka_unit_test(references_without_end_are_found),
		cmocka_unit_test(depth_and_work_are_bounded),
		cmocka_unit_test(unknown_words_are_ignored_unless_they_are_ours),
		cmocka_unit_test(a_schema_that_is_none_is_refused_with_its_place),
		cmocka_unit_test(a_fault_says_where_and_what),
		cmocka_unit_test(a_pattern_that_is_given_up_is_no_verdict),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
