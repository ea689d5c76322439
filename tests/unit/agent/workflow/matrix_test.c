#include "unit/cmocka_all.h"
#include "agent/workflow/matrix.h"

#include <string.h>

static void gives(const char *matrix, const char *wanted)
{
	_cleanup_json_ json_t *read = json_loads(matrix, 0, NULL), *legs = NULL;
	struct err err = ERR_INIT;
	assert_non_null(read);
	if (matrix_expand(read, &legs, &err) < 0)
		fail_msg("%s", err.frames[0].text);
	_cleanup_free_ char *text = json_text(legs);
	assert_string_equal(text, wanted);
}

static void refuses(const char *matrix, const char *said)
{
	_cleanup_json_ json_t *read = json_loads(matrix, JSON_DECODE_ANY, NULL), *legs = NULL;
	struct err err = ERR_INIT;
	assert_true(matrix_expand(read, &legs, &err) < 0);
	if (strstr(err.frames[0].text, said) == NULL)
		fail_msg("%s", err.frames[0].text);
}

static void the_first_vector_changes_slowest(void **state)
{
	(void)state;
	gives("{\"os\":[\"a\",\"b\"],\"v\":[1,2]}",
	      "[{\"os\":\"a\",\"v\":1},{\"os\":\"a\",\"v\":2},{\"os\":\"b\",\"v\":1},{\"os\":\"b\",\"v\":2}]");
}

static void exclude_takes_out_what_matches_in_all_that_it_names(void **state)
{
	(void)state;
	gives("{\"os\":[\"a\",\"b\"],\"v\":[1,2],\"exclude\":[{\"os\":\"a\",\"v\":2.0},{\"os\":\"c\"}]}",
	      "[{\"os\":\"a\",\"v\":1},{\"os\":\"b\",\"v\":1},{\"os\":\"b\",\"v\":2}]");
	gives("{\"os\":[\"a\",\"b\"],\"v\":[1,2],\"exclude\":[{\"v\":1}]}",
	      "[{\"os\":\"a\",\"v\":2},{\"os\":\"b\",\"v\":2}]");
	gives("{\"os\":[\"a\"],\"exclude\":[{\"os\":\"a\"}]}", "[]");
	gives("{\"os\":[\"a\"],\"exclude\":[{\"os\":\"a\"}],\"include\":[{\"os\":\"z\"}]}", "[{\"os\":\"z\"}]");
	refuses("{\"os\":[\"a\"],\"exclude\":[{\"so\":\"a\"}]}", "'so' does not match any key");
}

/* The example of GitHub's documentation. */
static void include_adds_to_what_it_fits_or_makes_a_combination(void **state)
{
	(void)state;
	gives("{\"fruit\":[\"apple\",\"pear\"],\"animal\":[\"cat\",\"dog\"],\"include\":[{\"color\":\"green\"},"
	      "{\"color\":\"pink\",\"animal\":\"cat\"},{\"fruit\":\"apple\",\"shape\":\"circle\"},{\"fruit\":\"banana\"},"
	      "{\"fruit\":\"banana\",\"animal\":\"cat\"}]}",
	      "[{\"fruit\":\"apple\",\"animal\":\"cat\",\"color\":\"pink\",\"shape\":\"circle\"},"
	      "{\"fruit\":\"apple\",\"animal\":\"dog\",\"color\":\"green\",\"shape\":\"circle\"},"
	      "{\"fruit\":\"pear\",\"animal\":\"cat\",\"color\":\"pink\"},{\"fruit\":\"pear\",\"animal\":\"dog\",\"color\":\"green\"},"
	      "{\"fruit\":\"banana\"},{\"fruit\":\"banana\",\"animal\":\"cat\"}]");
	gives("{\"include\":[{\"a\":1},{\"b\":2}]}", "[{\"a\":1},{\"b\":2}]");
}

static void what_is_no_matrix_is_refused(void **state)
{
	(void)state;
	refuses("[]", "must be a map");
	refuses("{\"a\":[]}", "does not contain any values");
	refuses("{\"a\":\"x\"}", "does not contain any values");
	refuses("{\"a\":[1],\"include\":{}}", "must be a list");
	refuses("{\"a\":[1],\"exclude\":[1]}", "must be a map");
	_cleanup_(str_done) struct str many = STR_INIT(1 << 20);
	str_append(&many, "[0");
	for (int i = 1; i <= MATRIX_MAX; i++)
		str_appendf(&many, ",%d", i);
	str_append(&many, "]");
	_cleanup_free_ char *one = xasprintf("{\"a\":%s}", str_peek(&many)),
			    *three = xasprintf("{\"a\":%s,\"b\":%s,\"c\":%s}", str_peek(&many), str_peek(&many),
	                                       str_peek(&many));
	refuses(one, "257 combinations");
	refuses(three, "combinations");
}

static void a_legs_name_has_its_values(void **state)
{
	(void)state;
	_cleanup_json_ json_t *leg =
		json_loads("{\"os\":\"a\",\"v\":18.0,\"o\":{\"x\":[true,\"y\"]},\"n\":null}", 0, NULL);
	_cleanup_free_ char *suffix = matrix_suffix(leg);
	assert_string_equal(suffix, "a, 18, true, y");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_vector_changes_slowest),
		cmocka_unit_test(exclude_takes_out_what_matches_in_all_that_it_names),
		cmocka_unit_test(include_adds_to_what_it_fits_or_makes_a_combination),
		cmocka_unit_test(what_is_no_matrix_is_refused),
		cmocka_unit_test(a_legs_name_has_its_values),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
