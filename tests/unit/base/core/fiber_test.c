#include "unit/cmocka_all.h"
#include "base/core/fiber.h"
#include "base/core/str.h"

struct said {
	struct str text;
	char name;
	int turns;
};

static void count(struct fiber *f, void *context)
{
	struct said *s = context;
	for (int i = 0; i < s->turns; i++) {
		str_appendf(&s->text, "%c%d ", s->name, i);
		fiber_yield(f);
	}
	str_appendf(&s->text, "%c! ", s->name);
}

static void each_runs_only_in_its_turn_and_goes_on_where_it_was(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	struct said a = {.text = STR_INIT(1024), .name = 'a', .turns = 2};
	struct fiber *f = fiber_new(count, &a);
	assert_false(fiber_is_over(f));
	assert_string_equal(str_peek(&a.text), "");
	assert_int_equal(fiber_resume(f, &err), 0);
	assert_string_equal(str_peek(&a.text), "a0 ");
	str_append(&a.text, "main ");
	assert_int_equal(fiber_resume(f, &err), 0);
	assert_false(fiber_is_over(f));
	assert_int_equal(fiber_resume(f, &err), 0);
	assert_true(fiber_is_over(f));
	assert_string_equal(str_peek(&a.text), "a0 main a1 a! ");
	fiber_free(f);
	str_done(&a.text);
}

static void many_share_what_they_work_on_without_locks(void **state)
{
	(void)state;
	enum { FIBERS = 50, TURNS = 20 };
	struct said all[FIBERS];
	struct fiber *fibers[FIBERS];
	for (int i = 0; i < FIBERS; i++) {
		all[i] = (struct said){.text = STR_INIT(1024), .name = 'x', .turns = TURNS};
		fibers[i] = fiber_new(count, &all[i]);
	}
	for (int turn = 0; turn <= TURNS; turn++)
		for (int i = 0; i < FIBERS; i++)
			assert_int_equal(fiber_resume(fibers[i], NULL), 0);
	for (int i = 0; i < FIBERS; i++) {
		assert_true(fiber_is_over(fibers[i]));
		fiber_free(fibers[i]);
		assert_non_null(strstr(str_peek(&all[i].text), "x19 x! "));
		str_done(&all[i].text);
	}
}

static void one_that_never_began_is_freed(void **state)
{
	(void)state;
	struct said a = {.text = STR_INIT(1024), .name = 'a'};
	fiber_free(fiber_new(count, &a));
	assert_string_equal(str_peek(&a.text), "");
	str_done(&a.text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_runs_only_in_its_turn_and_goes_on_where_it_was),
		cmocka_unit_test(many_share_what_they_work_on_without_locks),
		cmocka_unit_test(one_that_never_began_is_freed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
