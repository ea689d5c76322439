#include "unit/cmocka_all.h"
#include "base/core/clock.h"
#include "base/core/wait.h"

#include <poll.h>
#include <unistd.h>

struct pipes {
	int data[2], cancel[2];
};

static int setup(void **state)
{
	static struct pipes p;
	if (pipe(p.data) < 0 || pipe(p.cancel) < 0)
		return -1;
	*state = &p;
	return 0;
}

static int teardown(void **state)
{
	struct pipes *p = *state;
	for (int i = 0; i < 2; i++) {
		close(p->data[i]);
		close(p->cancel[i]);
	}
	return 0;
}

static void put(int fd)
{
	assert_int_equal(write(fd, "x", 1), 1);
}

static void a_ready_descriptor_is_returned(void **state)
{
	struct pipes *p = *state;
	struct wait w = {.cancel_fd = p->cancel[0], .deadline_mono_ms = clock_mono_ms() + 5000};
	put(p->data[1]);
	assert_int_equal(wait_fd(&w, p->data[0], POLLIN, NULL), POLLIN);
}

static void a_cancel_goes_before_a_ready_descriptor_and_is_not_read(void **state)
{
	struct pipes *p = *state;
	struct wait w = {.cancel_fd = p->cancel[0], .deadline_mono_ms = clock_mono_ms() + 5000};
	put(p->data[1]);
	put(p->cancel[1]);
	assert_int_equal(wait_fd(&w, p->data[0], POLLIN, NULL), ERR_CANCELLED);
	assert_int_equal(wait_fd(&w, p->data[0], POLLIN, NULL), ERR_CANCELLED);
	assert_int_equal(wait_ms(&w, 1000, NULL), ERR_CANCELLED);
	assert_int_equal(wait_check(&w, NULL), ERR_CANCELLED);
}

static void the_deadline_ends_a_wait_even_when_data_keeps_coming(void **state)
{
	struct pipes *p = *state;
	struct wait w = {.cancel_fd = -1, .deadline_mono_ms = clock_mono_ms() + 30};
	assert_int_equal(wait_fd(&w, p->data[0], POLLIN, NULL), ERR_TIMEOUT);
	put(p->data[1]);
	assert_int_equal(wait_fd(&w, p->data[0], POLLIN, NULL), ERR_TIMEOUT);
	assert_int_equal(wait_check(&w, NULL), ERR_TIMEOUT);
}

static void a_pause_ends_with_zero(void **state)
{
	(void)state;
	struct wait w = WAIT_INIT;
	int64_t before = clock_mono_ms();
	assert_int_equal(wait_ms(&w, 20, NULL), 0);
	assert_true(clock_mono_ms() - before >= 20);
	assert_int_equal(wait_ms(NULL, 0, NULL), 0);
}

static int count_tick(void *context, struct err *err)
{
	int *count = context;
	if (++*count == 3)
		return err_set(err, ERR_FENCED, "the lock is gone");
	return 0;
}

static void ticks_come_while_waiting_and_one_that_fails_ends_the_wait(void **state)
{
	struct pipes *p = *state;
	int count = 0;
	struct wait w = {.cancel_fd = -1,
	                 .deadline_mono_ms = clock_mono_ms() + 5000,
	                 .tick_ms = 5,
	                 .tick = count_tick,
	                 .context = &count};
	assert_int_equal(wait_fd(&w, p->data[0], POLLIN, NULL), ERR_FENCED);
	assert_int_equal(count, 3);
}

static void a_nearer_deadline_is_never_later_than_the_outer_one(void **state)
{
	(void)state;
	struct wait outer = {.cancel_fd = -1, .deadline_mono_ms = clock_mono_ms() + 50};
	assert_true(wait_within(&outer, 10000).deadline_mono_ms == outer.deadline_mono_ms);
	assert_true(wait_within(&outer, 10).deadline_mono_ms < outer.deadline_mono_ms);
	struct wait none = WAIT_INIT;
	assert_int_equal(wait_left_ms(&none), -1);
	struct wait near = wait_within(&none, 1000);
	assert_in_range(wait_left_ms(&near), 1, 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_ready_descriptor_is_returned, setup, teardown),
		cmocka_unit_test_setup_teardown(a_cancel_goes_before_a_ready_descriptor_and_is_not_read, setup,
	                                        teardown),
		cmocka_unit_test_setup_teardown(the_deadline_ends_a_wait_even_when_data_keeps_coming, setup, teardown),
		cmocka_unit_test(a_pause_ends_with_zero),
		cmocka_unit_test_setup_teardown(ticks_come_while_waiting_and_one_that_fails_ends_the_wait, setup,
	                                        teardown),
		cmocka_unit_test(a_nearer_deadline_is_never_later_than_the_outer_one),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
