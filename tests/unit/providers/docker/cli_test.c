/* What is told of a docker command that failed. */
#include "unit/cmocka_all.h"
#include "base/core/mem.h"
#include "providers/docker/docker.h"

static void expect_reason(const char *said, const char *wanted)
{
	_cleanup_(str_done) struct str text = STR_INIT(4096);
	str_append(&text, said);
	_cleanup_free_ char *reason = docker_reason(&text);
	assert_string_equal(reason, wanted);
}

static void the_engine_s_reason_is_told_and_not_what_the_command_sums_up(void **state)
{
	(void)state;
	expect_reason(
		"Error response from daemon: driver failed: no space left\nError: failed to start containers: a1\n",
		"Error response from daemon: driver failed: no space left");
	expect_reason(" Container shop-web-1  Starting\nError response from daemon: no such image\n",
	              "Error response from daemon: no such image");
	expect_reason("Error response from daemon: ", "Error response from daemon:");
}

static void where_it_says_nothing_the_last_line_is_told(void **state)
{
	(void)state;
	expect_reason("unknown flag: --x\nSee 'docker --help'.\n\n", "See 'docker --help'.");
	expect_reason("", "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_engine_s_reason_is_told_and_not_what_the_command_sums_up),
		cmocka_unit_test(where_it_says_nothing_the_last_line_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
