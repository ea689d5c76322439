/* Deployments on the local target: to the new version, back, held, cancelled. */
#include "engine_world.h"
#include "base/core/cancel.h"
#include "base/secret/digest.h"
#include "base/sys/fs.h"
#include "base/data/json.h"
#include "engine/lock/lock.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static void a_deployment_makes_the_new_world_and_leaves_nothing_of_its_own(void **state)
{
	(void)state;
	struct engine_options o = options();
	_cleanup_(engine_result_done) struct engine_result result = {0};
	make_old_world();
	assert_int_equal(deploy("rollback", &o, &result), 0);
	assert_int_equal(result.state, DEPLOYMENT_COMMITTED);
	assert_new_world();
	_cleanup_free_ char *sealed = xasprintf("%s/sealed/%s", state_dir, result.id);
	assert_false(fs_exists(AT_FDCWD, sealed));
}

static void a_failed_gate_brings_the_old_world_back(void **state)
{
	(void)state;
	struct engine_options o = options();
	_cleanup_(engine_result_done) struct engine_result result = {0};
	make_old_world();
	gate_fails = true;
	assert_int_equal(deploy("rollback", &o, &result), 1);
	assert_int_equal(result.state, DEPLOYMENT_UNDONE);
	assert_old_world();
}

static void hold_keeps_the_changes_and_the_lock_until_a_person_decides(void **state)
{
	(void)state;
	struct engine_options o = options();
	_cleanup_(engine_result_done) struct engine_result result = {0}, second = {0}, back = {0};
	make_old_world();
	gate_fails = true;
	assert_int_equal(deploy("hold", &o, &result), 4);
	assert_int_equal(result.state, DEPLOYMENT_HELD);
	assert_file("a", "new a");
	assert_int_equal(deploy("rollback", &o, &second), 5);
	assert_int_equal(engine_rollback(result.id, NULL, NULL, &o, &back, NULL), 0);
	assert_int_equal(back.exit_status, 0);
	assert_old_world();
	assert_int_equal(deploy("rollback", &o, &second), 1);
}

static void accepting_a_held_deployment_makes_it_the_version(void **state)
{
	(void)state;
	struct engine_options o = options();
	_cleanup_(engine_result_done) struct engine_result result = {0}, accepted = {0};
	make_old_world();
	gate_fails = true;
	assert_int_equal(deploy("hold", &o, &result), 4);
	assert_int_equal(engine_unlock("shop.production", false, false, &o, &accepted, NULL), 0);
	assert_int_equal(accepted.exit_status, 5);
	engine_result_done(&accepted);
	assert_int_equal(engine_unlock("production", false, true, &o, &accepted, NULL), 0);
	assert_int_equal(accepted.exit_status, 0);
	assert_new_world();
}

static void a_sick_old_version_decides_only_where_it_was_well_before(void **state)
{
	(void)state;
	make_old_world();
	gate_fails = old_is_sick = true;
	baseline_says = ERR_FAILED;
	assert_int_equal(deploy_slowly("new a"), 1);
	baseline_says = 0;
	assert_int_equal(deploy_slowly("new a"), 4);
}

static void where_nobody_knows_how_it_was_the_gate_that_let_it_in_counts(void **state)
{
	(void)state;
	make_old_world();
	gate_fails = old_is_sick = true;
	baseline_says = ERR_TIMEOUT;
	assert_int_equal(deploy_slowly("new a"), 1);
	gate_fails = false;
	assert_int_equal(deploy_slowly("new a"), 0);
	gate_fails = true;
	assert_int_equal(deploy_slowly("newer a"), 4);
}

static void answer_late(void)
{
	baseline_says = 0;
}

static void a_good_answer_that_comes_behind_the_first_change_counts(void **state)
{
	(void)state;
	make_old_world();
	gate_fails = old_is_sick = true;
	baseline_says = ERR_TIMEOUT;
	in_gate = answer_late;
	assert_int_equal(deploy_slowly("new a"), 4);
}

static void interrupt(void)
{
	raise(SIGINT);
}

static void a_cancel_takes_everything_back_and_says_130(void **state)
{
	(void)state;
	static struct wait wait = WAIT_INIT;
	struct engine_options o = options();
	_cleanup_(engine_result_done) struct engine_result result = {0};
	make_old_world();
	wait.cancel_fd = cancel_install(NULL);
	o.wait = &wait;
	in_gate = interrupt;
	assert_int_equal(deploy("hold", &o, &result), 130);
	assert_int_equal(result.state, DEPLOYMENT_UNDONE);
	assert_old_world();
}

static void a_cancel_before_the_first_change_gives_the_locks_back(void **state)
{
	(void)state;
	static struct wait wait = WAIT_INIT;
	struct engine_options o = options();
	_cleanup_(engine_result_done) struct engine_result result = {0};
	make_old_world();
	wait.cancel_fd = cancel_install(NULL);
	o.wait = &wait;
	in_baseline = interrupt;
	assert_int_equal(deploy("rollback", &o, &result), 130);
	assert_int_equal(result.state, DEPLOYMENT_REFUSED);
	assert_old_world();
	in_baseline = NULL;
	cancel_reset();
	assert_int_equal(deploy("rollback", &o, &result), 0);
}

/* In a child, which has not seen a signal yet: 0 it ended as it should. */
static int cancel_behind_a_recovery(void)
{
	static struct wait wait = WAIT_INIT;
	struct engine_result result = {0};
	if (store_open(state_dir, NULL, &store, NULL) < 0)
		return 8;
	struct engine_options o = options();
	wait.cancel_fd = cancel_install(NULL);
	o.wait = &wait;
	in_baseline = interrupt;
	int status = deploy("rollback", &o, &result);
	bool right = status == 130 && result.state == DEPLOYMENT_REFUSED;
	engine_result_done(&result);
	return right ? 0 : 7;
}

static void a_first_cancel_counts_although_another_deployment_was_recovered_before(void **state)
{
	(void)state;
	int status;
	make_old_world();
	deploy_and_die("rollback");
	store_close(store);
	pid_t pid = fork();
	if (pid == 0)
		_exit(cancel_behind_a_recovery());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(store_open(state_dir, NULL, &store, NULL), 0);
	assert_old_world();
}

static void the_plan_has_a_digest_that_is_demanded_back(void **state)
{
	(void)state;
	struct engine_options o = options();
	_cleanup_(engine_result_done) struct engine_result plan = {0}, result = {0};
	make_old_world();
	_cleanup_json_ json_t *d = deployment("rollback", steps_text);
	assert_int_equal(engine_plan(DEPLOYMENT_UNREAD(d), &o, &plan, NULL), 0);
	assert_int_equal(plan.exit_status, 0);
	assert_absent("base");
	o.expect_digest = "0000";
	assert_int_equal(deploy("rollback", &o, &result), 3);
	assert_old_world();
	o.expect_digest = plan.digest;
	assert_int_equal(deploy("rollback", &o, &result), 0);
	assert_new_world();
}

static void a_plan_counts_what_is_there_before(void **state)
{
	(void)state;
	struct engine_options o = options();
	_cleanup_(engine_result_done) struct engine_result plan = {0}, other = {0}, result = {0};
	make_old_world();
	_cleanup_json_ json_t *d = deployment("rollback", steps_text);
	assert_int_equal(engine_plan(DEPLOYMENT_UNREAD(d), &o, &plan, NULL), 0);
	write_file("a", "another a");
	assert_int_equal(engine_plan(DEPLOYMENT_UNREAD(d), &o, &other, NULL), 0);
	assert_string_not_equal(plan.digest, other.digest);
	o.expect_digest = plan.digest;
	assert_int_equal(deploy("rollback", &o, &result), 3);
	assert_file("a", "another a");
}

int main(int argc, char **argv)
{
	(void)argv;
	show = argc > 1;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_deployment_makes_the_new_world_and_leaves_nothing_of_its_own, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(a_failed_gate_brings_the_old_world_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_sick_old_version_decides_only_where_it_was_well_before, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(where_nobody_knows_how_it_was_the_gate_that_let_it_in_counts, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(a_good_answer_that_comes_behind_the_first_change_counts, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(hold_keeps_the_changes_and_the_lock_until_a_person_decides, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(accepting_a_held_deployment_makes_it_the_version, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_first_cancel_counts_although_another_deployment_was_recovered_before,
	                                        set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_cancel_takes_everything_back_and_says_130, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_cancel_before_the_first_change_gives_the_locks_back, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(the_plan_has_a_digest_that_is_demanded_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_plan_counts_what_is_there_before, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
