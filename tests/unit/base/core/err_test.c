#include "unit/cmocka_all.h"
#include "base/core/err.h"
#include "base/secret/mask.h"

#include <errno.h>
#include <string.h>

static void a_line_joins_the_frames_from_the_outermost_in(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	char line[512];
	int r = err_errno(&err, ENOSPC, "write '%s'", "a");
	r = err_wrap(&err, r, "save the release");
	r = err_hint(&err, r, "free some space");
	assert_int_equal(r, ERR_NO_SPACE);
	assert_string_equal(err_line(&err, line, sizeof(line)), "save the release: write 'a': No space left on device");
	assert_string_equal(err.hint, "free some space");
}

static void a_full_chain_keeps_the_cause_and_the_outermost_frame(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	char line[8192];
	err_set(&err, ERR_INVALID, "cause");
	for (int i = 0; i < 30; i++)
		err_wrap(&err, ERR_INVALID, "frame %d", i);
	err_line(&err, line, sizeof(line));
	assert_true(strncmp(line, "frame 29: ", 10) == 0);
	assert_non_null(strstr(line, ": cause"));
}

static void control_characters_do_not_reach_the_terminal(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	char line[64];
	err_set(&err, ERR_INVALID, "a\x1b[31mb\nc");
	assert_string_equal(err_line(&err, line, sizeof(line)), "a [31mb c");
}

static void characters_that_turn_the_direction_are_shown_by_their_number(void **state)
{
	(void)state;
	static const char text[] = "a\u202eb\u2066c\u061cd\u200fe \u2026 \u00e4\u4e16";
	struct str out _cleanup_(str_done) = STR_INIT(256);
	assert_true(str_append_safe(&out, text, strlen(text)));
	assert_string_equal(str_peek(&out), "a\\u202eb\\u2066c\\u061cd\\u200fe \u2026 \u00e4\u4e16");
}

static void nobody_has_to_want_the_text(void **state)
{
	(void)state;
	assert_int_equal(err_wrap(NULL, err_set(NULL, ERR_LOCKED, "x"), "y"), ERR_LOCKED);
	assert_int_equal(err_exit_status(ERR_LOCKED), 5);
}

static void a_secret_longer_than_a_frame_is_not_told_in_part(void **state)
{
	(void)state;
	char secret[2 * ERR_FRAME_SIZE], line[8192];
	for (size_t i = 0; i < sizeof(secret) - 1; i++)
		secret[i] = (char)('a' + (i * i + i / 7) % 26);
	secret[sizeof(secret) - 1] = '\0';
	mask_add(mask_process(), secret, strlen(secret));
	struct err err = ERR_INIT;
	err_set(&err, ERR_INVALID, "the key '%s' cannot be read", secret);
	err_wrap(&err, ERR_INVALID, "read %s", secret);
	err_hint(&err, ERR_INVALID, "replace %s", secret);
	assert_string_equal(err_line(&err, line, sizeof(line)), "read ***: the key '***' cannot be read");
	assert_string_equal(err.hint, "replace ***");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_line_joins_the_frames_from_the_outermost_in),
		cmocka_unit_test(a_full_chain_keeps_the_cause_and_the_outermost_frame),
		cmocka_unit_test(control_characters_do_not_reach_the_terminal),
		cmocka_unit_test(characters_that_turn_the_direction_are_shown_by_their_number),
		cmocka_unit_test(nobody_has_to_want_the_text),
		cmocka_unit_test(a_secret_longer_than_a_frame_is_not_told_in_part),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
