#include "unit/cmocka_all.h"
#include "base/core/log.h"
#include "base/secret/mask.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int saved = -1, ends[2];

static int capture(void **state)
{
	(void)state;
	assert_int_equal(pipe(ends), 0);
	saved = dup(STDERR_FILENO);
	dup2(ends[1], STDERR_FILENO);
	return 0;
}

static int release(void **state)
{
	(void)state;
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(ends[0]);
	close(ends[1]);
	log_setup(LOG_INFO, LOG_TEXT, "");
	return 0;
}

/* What was said so far. A line is one write, and smaller than the pipe. */
static const char *said(void)
{
	static char text[8192];
	assert_int_equal(write(ends[1], "", 1), 1);
	ssize_t n = read(ends[0], text, sizeof(text) - 1);
	assert_true(n > 0);
	text[n] = '\0';
	return text;
}

static void an_event_is_one_line(void **state)
{
	(void)state;
	log_setup(LOG_INFO, LOG_TEXT, "");
	log_info("listen", "session %s", "a\nb");
	log_debug("listen", "hidden");
	assert_string_equal(said(), "info listen: session a\\x0ab\n");
}

static void the_journal_gets_the_level_in_front_of_each_line(void **state)
{
	(void)state;
	struct stat st;
	char stream[64];
	struct err err = ERR_INIT;
	assert_int_equal(fstat(STDERR_FILENO, &st), 0);
	snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	log_setup(LOG_INFO, LOG_TEXT, "");
	log_warning("listen", "late");
	err_set(&err, ERR_INVALID, "wrong");
	err_hint(&err, ERR_INVALID, "say it right");
	log_err(&err);
	assert_string_equal(said(), "<4>warning listen: late\n<3>davit: wrong\n<3>  say it right\n");
	setenv("JOURNAL_STREAM", "0:0", 1);
	log_setup(LOG_INFO, LOG_TEXT, "");
	log_warning("listen", "elsewhere");
	assert_string_equal(said(), "warning listen: elsewhere\n");
	unsetenv("JOURNAL_STREAM");
}

static void a_traced_component_is_heard(void **state)
{
	(void)state;
	log_setup(LOG_WARNING, LOG_TEXT, "net,journal");
	log_debug("net", "shown");
	log_debug("ne", "hidden");
	log_info("listen", "hidden");
	assert_string_equal(said(), "debug net: shown\n");
}

static void secrets_are_covered_in_every_form(void **state)
{
	(void)state;
	static const char secret[] = "s3cr3t-of-the-log";
	mask_add(mask_process(), secret, strlen(secret));
	log_setup(LOG_INFO, LOG_JSON, "");
	log_error("x", "a \"%s\"", secret);
	const char *line = said();
	assert_null(strstr(line, secret));
	assert_non_null(strstr(line, "\"level\":\"error\",\"component\":\"x\",\"text\":\"a \\\"***\\\"\"}\n"));
	log_setup(LOG_INFO, LOG_TEXT, "");
	struct err err = ERR_INIT;
	err_set(&err, ERR_INVALID, "it is %s", secret);
	err_hint(&err, ERR_INVALID, "not %s", secret);
	log_err(&err);
	assert_string_equal(said(), "davit: it is ***\n  not ***\n");
}

static void a_pipe_gets_no_colours(void **state)
{
	(void)state;
	assert_false(log_colours(ends[1]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_event_is_one_line, capture, release),
		cmocka_unit_test_setup_teardown(the_journal_gets_the_level_in_front_of_each_line, capture, release),
		cmocka_unit_test_setup_teardown(a_traced_component_is_heard, capture, release),
		cmocka_unit_test_setup_teardown(secrets_are_covered_in_every_form, capture, release),
		cmocka_unit_test_setup_teardown(a_pipe_gets_no_colours, capture, release),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
