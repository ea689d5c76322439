#include "unit/cmocka_all.h"
#include "base/core/mem.h"
#include "providers/terraform/event.h"

static bool read(const char *line, struct terraform_event *ret)
{
	return terraform_event_read(line, strlen(line), ret);
}

static void an_event_about_a_resource_names_it(void **state)
{
	struct terraform_event e;
	(void)state;
	assert_true(read(
		"{\"@level\":\"info\",\"@message\":\"x.a: Creating...\",\"hook\":{\"resource\":{\"addr\":\"x.a\"},\"action\":\"create\"},"
		"\"type\":\"apply_start\"}",
		&e));
	assert_int_equal(e.type, TERRAFORM_APPLY_START);
	assert_string_equal(e.address, "x.a");
	assert_string_equal(e.action, "create");
	terraform_event_done(&e);
	assert_true(read(
		"{\"@level\":\"info\",\"@message\":\"\",\"changes\":{\"add\":1,\"remove\":2,\"operation\":\"apply\"},\"type\":\"change_summary\"}",
		&e));
	assert_int_equal(e.type, TERRAFORM_SUMMARY);
	assert_int_equal(e.remove, 2);
	terraform_event_done(&e);
	assert_true(read("{\"@level\":\"info\",\"type\":\"of_tomorrow\"}", &e));
	assert_int_equal(e.type, TERRAFORM_OTHER);
	terraform_event_done(&e);
}

static void what_is_no_event_is_none(void **state)
{
	struct terraform_event e;
	(void)state;
	assert_false(read("", &e));
	assert_false(read("panic: runtime error", &e));
	assert_false(read("{\"type\":\"apply_start\"}", &e));
	assert_false(read("{\"@level\":1,\"type\":[]}", &e));
	assert_false(read("{\"@level\":\"info\",\"type\":\"apply_start\"", &e));
}

static void the_holder_of_a_lock_is_found_as_each_backend_tells_it(void **state)
{
	struct terraform_lock l;
	(void)state;
	assert_true(terraform_lock_read(
		"Error message: resource temporarily unavailable\nLock Info:\n  ID:        95f6d3bf\n  Path:      t\n"
		"  Operation: OperationTypeApply\n  Who:       root@vm\n  Created:   2026",
		&l));
	assert_string_equal(l.id, "95f6d3bf");
	assert_string_equal(l.who, "root@vm");
	terraform_lock_done(&l);
	/* The block is then of the one that asks. */
	assert_true(terraform_lock_read(
		"Error message: HTTP remote state already locked: ID=d931afc9\nLock Info:\n  ID:        c635aea9\n"
		"  Who:       root@vm\n",
		&l));
	assert_string_equal(l.id, "d931afc9");
	assert_null(l.who);
	terraform_lock_done(&l);
	assert_false(terraform_lock_read("No such resource instance", &l));
	/* It would be an argument. */
	assert_true(terraform_lock_read("Lock Info:\n  ID:   -force\n", &l));
	assert_null(l.id);
	terraform_lock_done(&l);
	assert_true(terraform_lock_read("Lock Info:\n  ID:   a'b; c\n", &l));
	assert_null(l.id);
	terraform_lock_done(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_event_about_a_resource_names_it),
		cmocka_unit_test(what_is_no_event_is_none),
		cmocka_unit_test(the_holder_of_a_lock_is_found_as_each_backend_tells_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
