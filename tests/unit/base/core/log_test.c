#include "unit/cmocka_all.h"
#include "base/core/log.h"
#include "base/secret/mask.h"

#include <stdlib.h>
#include <string.h>
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
		cmocka_unit_test_setup_teardown(a_traced_component_is_heard, capture, release),
		cmocka_unit_test_setup_teardown(secrets_are_covered_in_every_form, capture, release),
		cmocka_unit_test_setup_teardown(a_pipe_gets_no_colours, capture, release),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
