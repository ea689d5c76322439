/* A deployment that the steps of a job share. */
#include "engine_world.h"
#include "base/data/json.h"

static void steps_of_a_job_share_a_deployment_that_finish_decides(void **state)
{
	(void)state;
	struct engine_options o = options();
	_cleanup_(engine_result_done) struct engine_result one = {0}, two = {0}, end = {0};
	make_old_world();
	o.job_key = "job 1";
	_cleanup_json_ json_t *first =
		deployment("rollback", "[{\"step\":\"files\",\"input\":{\"files\":{\"%D/a\":\"new a\"}}}]");
	_cleanup_json_ json_t *second =
		deployment("rollback", "[{\"step\":\"files\",\"input\":{\"files\":{\"%D/b\":\"new b\"}}}]");
	assert_int_equal(engine_job_step(DEPLOYMENT_UNREAD(first), &o, &one, NULL), 0);
	assert_int_equal(one.exit_status, 0);
	assert_int_equal(engine_job_step(DEPLOYMENT_UNREAD(second), &o, &two, NULL), 0);
	assert_int_equal(two.exit_status, 0);
	assert_string_equal(one.id, two.id);
	assert_file("b", "new b");
	assert_int_equal(engine_finish("failure", NULL, &o, &end, NULL), 0);
	assert_int_equal(end.exit_status, 1);
	assert_old_world();
	engine_result_done(&end);
	assert_int_equal(engine_finish("success", NULL, &o, &end, NULL), 0);
	assert_int_equal(end.exit_status, 0);
}

static void a_step_that_fails_in_a_job_takes_back_its_own_and_the_next_ones_are_refused(void **state)
{
	(void)state;
	struct engine_options o = options();
	_cleanup_(engine_result_done) struct engine_result one = {0}, two = {0}, three = {0}, end = {0};
	make_old_world();
	o.job_key = "job 2";
	_cleanup_json_ json_t *first =
		deployment("rollback", "[{\"step\":\"files\",\"input\":{\"files\":{\"%D/a\":\"new a\"}}}]");
	/* The second file's directory does not exist: the step fails after its first change. */
	_cleanup_json_ json_t *bad = deployment(
		"rollback", "[{\"step\":\"files\",\"input\":{\"files\":{\"%D/b\":\"x\",\"%D/no/dir\":\"y\"}}}]");
	assert_int_equal(engine_job_step(DEPLOYMENT_UNREAD(first), &o, &one, NULL), 0);
	assert_int_equal(engine_job_step(DEPLOYMENT_UNREAD(bad), &o, &two, NULL), 0);
	assert_int_equal(two.exit_status, 1);
	assert_absent("b");
	assert_file("a", "new a");
	assert_int_equal(engine_job_step(DEPLOYMENT_UNREAD(first), &o, &three, NULL), 0);
	assert_int_equal(three.exit_status, 2);
	assert_int_equal(engine_finish("failure", NULL, &o, &end, NULL), 0);
	assert_old_world();
}

static void a_committed_job_is_the_new_world(void **state)
{
	(void)state;
	struct engine_options o = options();
	_cleanup_(engine_result_done) struct engine_result one = {0}, end = {0};
	make_old_world();
	o.job_key = "job 3";
	_cleanup_json_ json_t *first =
		deployment("rollback", "[{\"step\":\"files\",\"input\":{\"files\":{\"%D/a\":\"new a\"}}}]");
	assert_int_equal(engine_job_step(DEPLOYMENT_UNREAD(first), &o, &one, NULL), 0);
	assert_int_equal(engine_finish("success", NULL, &o, &end, NULL), 0);
	assert_int_equal(end.exit_status, 0);
	assert_int_equal(end.state, DEPLOYMENT_COMMITTED);
	assert_file("a", "new a");
	assert_absent("base");
}

static void what_earlier_steps_of_a_job_did_is_named_when_a_later_one_cannot_be_taken_back(void **state)
{
	(void)state;
	struct engine_options o = options();
	_cleanup_(engine_result_done) struct engine_result one = {0}, two = {0}, end = {0};
	make_old_world();
	o.job_key = "job 4";
	_cleanup_json_ json_t *first =
		deployment("rollback", "[{\"step\":\"files\",\"input\":{\"files\":{\"%D/a\":\"new a\"}}}]");
	_cleanup_json_ json_t *stuck =
		deployment("rollback", "[{\"step\":\"stuck\",\"input\":{\"files\":{\"%D/b\":\"x\"}}}]");
	assert_int_equal(engine_job_step(DEPLOYMENT_UNREAD(first), &o, &one, NULL), 0);
	assert_int_equal(engine_job_step(DEPLOYMENT_UNREAD(stuck), &o, &two, NULL), 0);
	assert_int_equal(two.exit_status, 4);
	assert_int_equal(two.state, DEPLOYMENT_HELD);
	const json_t *left = json_object_get(two.report, "left_over");
	assert_int_equal(json_array_size(left), 2);
	assert_true(names_path(left, "a"));
	assert_true(names_path(left, "b"));
	assert_int_equal(engine_finish("failure", NULL, &o, &end, NULL), 0);
	assert_int_equal(end.exit_status, 4);
}

int main(int argc, char **argv)
{
	(void)argv;
	show = argc > 1;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(steps_of_a_job_share_a_deployment_that_finish_decides, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(
			a_step_that_fails_in_a_job_takes_back_its_own_and_the_next_ones_are_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_committed_job_is_the_new_world, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			what_earlier_steps_of_a_job_did_is_named_when_a_later_one_cannot_be_taken_back, set_up,
			tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
