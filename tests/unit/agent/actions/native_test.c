#include "unit/cmocka_all.h"
#include "agent/actions/native.h"

#include <string.h>

static void a_list_is_none_or_names_what_there_is(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	assert_int_equal(native_check("none", NULL), 0);
	assert_int_equal(native_check("own", NULL), 0);
	assert_int_equal(native_check("Actions/Checkout, own", NULL), 0);
	assert_int_equal(native_check(NATIVE_DEFAULT, NULL), 0);
	assert_true(native_has(NATIVE_DEFAULT, "actions/checkout"));
	assert_int_equal(native_check("none,own", NULL), ERR_INVALID);
	assert_int_equal(native_check(" ,", NULL), ERR_INVALID);
	assert_int_equal(native_check("own,actions/cache", &err), ERR_INVALID);
	assert_non_null(strstr(err.frames[0].text, "'actions/cache'"));
	assert_non_null(strstr(err.hint, "actions/checkout"));
}

static void names_are_found_as_whole_words(void **state)
{
	(void)state;
	assert_true(native_has("own, ACTIONS/checkout", "actions/checkout"));
	assert_false(native_has("own", "actions/checkout"));
	assert_false(native_has("actions/checkout", "actions/check"));
	assert_false(native_has("", "own"));
}

static void only_none_leaves_our_own_out(void **state)
{
	(void)state;
	assert_string_equal(native_repository(NULL, "a/b"), "a/b");
	assert_string_equal(native_repository(NULL, NULL), DAVIT_ACTIONS_REPOSITORY);
	assert_string_equal(native_repository("actions/checkout", "a/b"), "a/b");
	assert_string_equal(native_repository("none", "a/b"), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_list_is_none_or_names_what_there_is),
		cmocka_unit_test(names_are_found_as_whole_words),
		cmocka_unit_test(only_none_leaves_our_own_out),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
