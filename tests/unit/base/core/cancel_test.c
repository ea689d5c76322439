#include "unit/cmocka_all.h"
#include "base/core/cancel.h"
#include "base/core/wait.h"

#include <signal.h>

static void the_first_signal_cancels_and_only_a_second_sigint_stops_the_undo(void **state)
{
	(void)state;
	int fd = cancel_install(NULL);
	assert_true(fd >= 0);
	struct wait w = {.cancel_fd = fd};
	assert_false(cancel_requested());
	raise(SIGINT);
	assert_true(cancel_requested());
	assert_int_equal(wait_check(&w, NULL), ERR_CANCELLED);
	cancel_reset();
	assert_int_equal(wait_check(&w, NULL), 0);
	raise(SIGTERM);
	assert_false(cancel_requested());
	assert_int_equal(wait_check(&w, NULL), 0);
	assert_int_equal(cancel_sigint_count(), 1);
	raise(SIGINT);
	assert_int_equal(cancel_sigint_count(), 2);
	assert_int_equal(wait_ms(&w, 1000, NULL), ERR_CANCELLED);
}

static void a_signal_that_woke_nobody_is_heard_afterwards(void **state)
{
	(void)state;
	struct wait w = {.cancel_fd = cancel_install(NULL)};
	cancel_reset();
	raise(SIGTERM);
	assert_int_equal(wait_check(&w, NULL), 0);
	cancel_again();
	assert_int_equal(wait_check(&w, NULL), ERR_CANCELLED);
	cancel_reset();
	cancel_again();
	assert_int_equal(wait_check(&w, NULL), 0);
	raise(SIGTERM);
	assert_int_equal(wait_check(&w, NULL), ERR_CANCELLED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_signal_cancels_and_only_a_second_sigint_stops_the_undo),
		cmocka_unit_test(a_signal_that_woke_nobody_is_heard_afterwards),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
