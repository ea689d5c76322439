#include "unit/cmocka_all.h"
#include "base/data/json.h"

#include <stdio.h>

static json_t *parse(const char *text)
{
	json_t *value = NULL;
	struct err err = ERR_INIT;
	int r = json_parse(text, strlen(text), 1 << 20, &value, &err);
	if (r < 0) {
		char line[1024];
		fail_msg("%s", err_line(&err, line, sizeof(line)));
	}
	return value;
}

static int parse_code(const char *text)
{
	json_t *value = NULL;
	int r = json_parse(text, strlen(text), 1 << 20, &value, NULL);
	json_decref(value);
	return r;
}

static void an_integer_beyond_64_bits_is_a_real_and_its_neighbours_stay_integers(void **state)
{
	(void)state;
	json_t *v = parse(
		"[9223372036854775807, -9223372036854775808, 9223372036854775808, 1, \"9999999999999999999999\", 123456789012345678901234567890]");
	assert_true(json_is_integer(json_array_get(v, 0)));
	assert_true(json_integer_value(json_array_get(v, 0)) == INT64_MAX);
	assert_true(json_integer_value(json_array_get(v, 1)) == INT64_MIN);
	assert_true(json_is_real(json_array_get(v, 2)));
	assert_true(json_real_value(json_array_get(v, 2)) == 9223372036854775808.0);
	assert_true(json_is_integer(json_array_get(v, 3)));
	assert_string_equal(json_string_value(json_array_get(v, 4)), "9999999999999999999999");
	assert_true(json_real_value(json_array_get(v, 5)) == 123456789012345678901234567890.0);
	json_decref(v);
}

static void a_number_that_no_real_holds_is_refused(void **state)
{
	(void)state;
	assert_int_equal(parse_code("[1e999]"), ERR_LIMIT);
}

static void a_nul_in_a_text_is_kept(void **state)
{
	(void)state;
	json_t *v = parse("\"a\\u0000b\"");
	assert_int_equal(json_string_length(v), 3);
	char *text = json_text(v);
	assert_string_equal(text, "\"a\\u0000b\"");
	free(text);
	json_decref(v);
}

static void what_commands_a_terminal_is_escaped_and_keeps_its_value(void **state)
{
	(void)state;
	static const char wild[] =
		"\"a\x7f\xc2\x85 \xd8\x9c\xe2\x80\x8e\xe2\x80\xa8\xe2\x80\xae\xe2\x81\xa9 \xc2\xa0\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"";
	json_t *v = parse(wild);
	char *text = json_text(v), *pretty = json_pretty(v), *canonical = json_canonical(v);
	struct str sealed = STR_SECRET_INIT(1000);
	assert_true(json_text_secret(v, &sealed));
	assert_string_equal(
		text,
		"\"a\\u007f\\u0085 \\u061c\\u200e\\u2028\\u202e\\u2069 \xc2\xa0\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"");
	assert_string_equal(pretty, text);
	assert_string_equal(str_peek(&sealed), text);
	assert_string_equal(canonical, wild);
	json_t *again = parse(text);
	assert_true(json_equal(v, again));
	json_decref(again);
	json_decref(v);
	str_done(&sealed);
	free(text);
	free(pretty);
	free(canonical);
}

static void duplicate_keys_and_broken_texts_are_refused_with_their_place(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	json_t *value = NULL;
	const char *text = "{\"a\":1,\n \"a\":2}";
	assert_int_equal(json_parse(text, strlen(text), 100, &value, &err), ERR_INVALID);
	assert_non_null(strstr(err.frames[0].text, "line 2"));
	assert_int_equal(parse_code("{\"a\":}"), ERR_INVALID);
	assert_int_equal(parse_code(""), ERR_INVALID);
	assert_int_equal(parse_code("1 2"), ERR_INVALID);
	assert_int_equal(parse_code("\"\xff\""), ERR_INVALID);
	assert_int_equal(json_parse("[1\0]", 4, 100, &value, NULL), ERR_INVALID);
	assert_int_equal(json_parse("[99999999999999999999\0]", 24, 100, &value, NULL), ERR_INVALID);
	assert_null(value);
}

static void depth_and_size_are_bounded(void **state)
{
	(void)state;
	char deep[1000];
	memset(deep, '[', sizeof(deep));
	deep[sizeof(deep) - 1] = '\0';
	assert_int_equal(parse_code(deep), ERR_LIMIT);
	json_t *value = NULL;
	assert_int_equal(json_parse("[1,2]", 5, 4, &value, NULL), ERR_LIMIT);
	assert_int_equal(parse_code("\"[[[[\\\"[[[\""), 0);
}

static void the_canonical_form_sorts_keys_and_shortens_numbers(void **state)
{
	(void)state;
	json_t *v = parse("{\"b\": [1.0, 0.1, 1e300, 2.50], \"a\": {\"z\": null, \"y\": \"\\u00e9/\"}}");
	char *text = json_canonical(v);
	assert_string_equal(text, "{\"a\":{\"y\":\"\xc3\xa9/\",\"z\":null},\"b\":[1,0.1,1e+300,2.5]}");
	free(text);
	json_decref(v);
}

static void invalid_utf8_becomes_replacement_characters(void **state)
{
	(void)state;
	json_t *v = json_string_lossy("a\xff\xc3\xa9\xe2\x82z", 7);
	assert_string_equal(json_string_value(v), "a\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd\xef\xbf\xbdz");
	json_decref(v);
	v = json_stringf("%d%s", 3, "\xc0");
	assert_string_equal(json_string_value(v), "3\xef\xbf\xbd");
	json_decref(v);
}

static void getters_give_nothing_for_another_type(void **state)
{
	(void)state;
	json_t *v = parse("{\"s\":\"x\",\"i\":7,\"b\":true,\"o\":{},\"a\":[]}");
	assert_string_equal(json_get_string(v, "s"), "x");
	assert_null(json_get_string(v, "i"));
	assert_null(json_get_string(v, "nothing"));
	assert_true(json_get_int(v, "i", 1) == 7 && json_get_int(v, "s", 1) == 1);
	assert_true(json_get_bool(v, "b", false) && !json_get_bool(v, "i", false));
	assert_non_null(json_get_object(v, "o"));
	assert_null(json_get_object(v, "a"));
	assert_non_null(json_get_array(v, "a"));
	assert_null(json_get_array(NULL, "a"));
	struct str out = STR_SECRET_INIT(100);
	assert_true(json_text_secret(json_object_get(v, "o"), &out));
	assert_string_equal(out.data, "{}");
	str_done(&out);
	json_decref(v);
}

/* How often the heap holds these bytes. */
static size_t found_in_heap(const char *bytes, size_t len)
{
	char line[512];
	size_t count = 0;
	FILE *maps = fopen("/proc/self/maps", "re");
	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps) != NULL) {
		unsigned long from, to;
		if (strstr(line, "[heap]") == NULL || sscanf(line, "%lx-%lx", &from, &to) != 2)
			continue;
		for (const char *p = (const char *)from, *end = (const char *)to;
		     (p = memmem(p, (size_t)(end - p), bytes, len)) != NULL; p++)
			count++;
	}
	fclose(maps);
	return count;
}

static void a_value_that_is_freed_leaves_nothing_in_memory(void **state)
{
	(void)state;
#if defined(__SANITIZE_ADDRESS__)
	skip();
#endif
	/* On the stack only; longer than what malloc writes into a freed block. */
	char secret[64];
	for (size_t i = 0; i < sizeof(secret); i++)
		secret[i] = (char)('A' + (i * 7) % 26);
	json_t *plain = json_stringn(secret, sizeof(secret));
	json_decref(plain);
	assert_int_not_equal(found_in_heap(secret + 32, 32), 0);
	json_wipe_freed();
	json_t *wiped = json_stringn(secret, sizeof(secret));
	assert_int_not_equal(found_in_heap(secret + 32, 32), 0);
	json_decref(wiped);
	assert_int_equal(found_in_heap(secret + 32, 32), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_integer_beyond_64_bits_is_a_real_and_its_neighbours_stay_integers),
		cmocka_unit_test(a_number_that_no_real_holds_is_refused),
		cmocka_unit_test(a_nul_in_a_text_is_kept),
		cmocka_unit_test(what_commands_a_terminal_is_escaped_and_keeps_its_value),
		cmocka_unit_test(duplicate_keys_and_broken_texts_are_refused_with_their_place),
		cmocka_unit_test(depth_and_size_are_bounded),
		cmocka_unit_test(the_canonical_form_sorts_keys_and_shortens_numbers),
		cmocka_unit_test(invalid_utf8_becomes_replacement_characters),
		cmocka_unit_test(getters_give_nothing_for_another_type),
		cmocka_unit_test(a_value_that_is_freed_leaves_nothing_in_memory), /* last: it stays so */
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
