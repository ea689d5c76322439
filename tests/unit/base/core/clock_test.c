#include "unit/cmocka_all.h"
#include "base/core/clock.h"

static void times_go_there_and_back(void **state)
{
	(void)state;
	char buf[CLOCK_TEXT_SIZE];
	int64_t ms = 0;
	assert_string_equal(clock_rfc3339(1769854830123, buf), "2026-01-31T10:20:30.123Z");
	assert_string_equal(clock_rfc3339_ticks(1769854830123, buf), "2026-01-31T10:20:30.1230000Z");
	assert_int_equal(clock_parse_rfc3339("2026-01-31T10:20:30.123Z", &ms), 0);
	assert_int_equal(ms, 1769854830123);
	assert_int_equal(clock_parse_rfc3339("2026-01-31T11:20:30.1234567+01:00", &ms), 0);
	assert_int_equal(ms, 1769854830123);
	assert_string_equal(clock_rfc3339(-1, buf), "1969-12-31T23:59:59.999Z");
}

static void what_is_no_time_is_refused(void **state)
{
	(void)state;
	const char *const bad[] = {"",
	                           "2026-02-30T00:00:00Z",
	                           "2026-01-31",
	                           "2026-01-31T10:20:30",
	                           "2026-01-31T25:00:00Z",
	                           "2026-01-31T10:20:30.Z",
	                           "2026-01-31T10:20:30Zx",
	                           "20x6-01-31T10:20:30Z"};
	int64_t ms = 7;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(clock_parse_rfc3339(bad[i], &ms), ERR_INVALID);
	assert_int_equal(ms, 7);
}

static void durations_are_told_as_people_say_them(void **state)
{
	(void)state;
	char buf[CLOCK_TEXT_SIZE];
	assert_string_equal(clock_duration(350, buf), "350ms");
	assert_string_equal(clock_duration(80000, buf), "1m 20s");
	assert_string_equal(clock_duration(2500, buf), "2.5s");
	assert_string_equal(clock_duration(7260000, buf), "2h 1m");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(times_go_there_and_back),
		cmocka_unit_test(what_is_no_time_is_refused),
		cmocka_unit_test(durations_are_told_as_people_say_them),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
