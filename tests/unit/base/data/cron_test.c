/* Schedules, as GitHub and as cron(8) read them. */
#include "unit/cmocka_all.h"
#include "base/core/mem.h"
#include "base/data/cron.h"

static const struct {
	const char *line;
	bool github, daemon;
} lines[] = {
	{"30 4 * * 1-5", true, true},      {"*/15 0,12 1-31/2 JAN-MAR SUN", true, true},
	{"0 0 * * 7", false, true},        {"0\t0 * * 0", false, true},
	{"@daily", false, true},           {"@dayly", false, false},
	{"60 * * * *", false, false},      {"* 24 * * *", false, false},
	{"* * 0 * *", false, false},       {"* * * 13 *", false, false},
	{"* * * * 8", false, false},       {"* * * *", false, false},
	{"* * * * * *", false, false},     {"*/0 * * * *", false, false},
	{"*/\n5 * * * *", false, false},   {"*/+5 * * * *", false, false},
	{"-5 * * * *", false, false},      {"5- * * * *", false, false},
	{"* * * * *\n", false, false},     {"", false, false},
	{"0 0 * * 5-1", false, false},     {"0 0 * * MON-FRI", true, true},
	{"0 0 * * FRI-MON", false, false}, {"0 0 * MAR-3 *", true, true},
};

static void schedules_are_taken_as_their_reader_takes_them(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		if (cron_fits(lines[i].line, CRON_GITHUB) != lines[i].github ||
		    cron_fits(lines[i].line, CRON_DAEMON) != lines[i].daemon)
			fail_msg("'%s'", lines[i].line);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(schedules_are_taken_as_their_reader_takes_them),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
