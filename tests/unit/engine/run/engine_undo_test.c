/* Undos that meet a full disk, a person, or what stays. */
#include "engine_world.h"
#include "base/sys/fs.h"
#include "base/data/json.h"
#include "engine/journal/sqlite.h"

#include <fcntl.h>

static void what_a_person_changed_is_left_alone_and_named(void **state)
{
	(void)state;
	struct engine_options o = options();
	_cleanup_(engine_result_done) struct engine_result result = {0}, again = {0};
	make_old_world();
	gate_fails = true;
	in_gate = change_a_behind_our_back;
	assert_int_equal(deploy("rollback", &o, &result), 4);
	assert_int_equal(result.state, DEPLOYMENT_HELD);
	assert_file("a", "a person's");
	assert_absent("b");
	const json_t *left = json_object_get(result.report, "left_over");
	assert_int_equal(json_array_size(left), 1);
	assert_non_null(strstr(json_get_string(json_array_get(left, 0), "path"), "/a"));
	in_gate = NULL;
	o.force = true;
	assert_int_equal(engine_rollback(NULL, NULL, NULL, &o, &again, NULL), 0);
	assert_int_equal(again.exit_status, 0);
	assert_old_world();
}

static struct host_type small_type;
static int (*real_copy)(struct target *t, const char *from, const char *to, struct err *err);

/* As long as b is there the target has no room for anything else. */
static int copy_beside_b(struct target *t, const char *from, const char *to, struct err *err)
{
	_cleanup_free_ char *b = in_dir("b");
	if (fs_exists(AT_FDCWD, b))
		return err_set(err, ERR_NO_SPACE, "the disk of '%s' is full", t->view.name);
	return real_copy(t, from, to, err);
}

static int make_small_target(const struct target_config *config, struct target **ret, struct err *err)
{
	int r = target_config_make(config, ret, err);
	if (r < 0)
		return r;
	real_copy = (*ret)->view.type->copy;
	small_type = *(*ret)->view.type;
	small_type.copy = copy_beside_b;
	(*ret)->view.type = &small_type;
	return 0;
}

static void what_found_no_space_in_the_undo_is_restored_once_the_rest_is_undone(void **state)
{
	(void)state;
	struct engine_options o = options();
	_cleanup_(engine_result_done) struct engine_result result = {0};
	/* a is the last change, so its undo comes first. */
	_cleanup_json_ json_t *d = deployment(
		"rollback",
		"[{\"step\":\"files\",\"input\":{\"files\":{\"%D/b\":\"large\",\"%D/a\":\"new a\"}}},{\"step\":\"gate\"}]");
	write_file("a", "old a");
	o.make_target = make_small_target;
	gate_fails = true;
	assert_int_equal(deploy_this(d, &o, &result), 1);
	assert_int_equal(result.state, DEPLOYMENT_UNDONE);
	assert_file("a", "old a");
	assert_absent("b");
}

/* No change can be recorded as long as the reserve takes the last room of the journal's disk. */
static void fail_beside_the_reserve(sqlite3_context *context, int argc, sqlite3_value **argv)
{
	(void)argc;
	(void)argv;
	_cleanup_free_ char *reserve = in_dir("state/reserve");
	if (fs_exists(AT_FDCWD, reserve))
		sqlite3_result_error_code(context, SQLITE_FULL);
}

static void fill_the_journals_disk(void)
{
	assert_int_equal(sqlite3_create_function(sqlite_handle(store), "needs_room", 0, SQLITE_UTF8, NULL,
	                                         fail_beside_the_reserve, NULL, NULL),
	                 SQLITE_OK);
	assert_int_equal(
		sqlite3_exec(sqlite_handle(store),
	                     "CREATE TEMP TRIGGER full BEFORE UPDATE ON main.change BEGIN SELECT needs_room(); END",
	                     NULL, NULL, NULL),
		SQLITE_OK);
}

static void an_undo_is_recorded_on_a_full_disk(void **state)
{
	(void)state;
	struct engine_options o = options();
	_cleanup_(engine_result_done) struct engine_result result = {0};
	_cleanup_(plan_done) struct plan changes = {0};
	make_old_world();
	gate_fails = true;
	in_gate = fill_the_journals_disk;
	assert_int_equal(deploy("rollback", &o, &result), 1);
	assert_old_world();
	assert_int_equal(store_change_list(store, result.id, &changes, NULL), 0);
	assert_int_equal(changes.count, 5);
	for (size_t i = 0; i < changes.count; i++)
		assert_int_equal(changes.changes[i].state, CHANGE_UNDONE);
}

/* Later it would go with the lock, and a power cut in between would bring it back. */
static void look_for_the_snapshots(void)
{
	_cleanup_free_ char *around = snapshots();
	assert_false(fs_exists(AT_FDCWD, around));
}

static void the_directory_around_an_undone_snapshot_goes_with_the_undo(void **state)
{
	(void)state;
	struct engine_options o = options();
	_cleanup_(engine_result_done) struct engine_result result = {0};
	_cleanup_json_ json_t *d = deployment("rollback", "[{\"step\":\"snapshot\",\"input\":{}},{\"step\":\"gate\"}]");
	snapshot_undos = 0;
	gate_fails = true;
	in_gate_again = look_for_the_snapshots;
	assert_int_equal(deploy_this(d, &o, &result), 1);
	assert_int_equal(snapshot_undos, 2);
	assert_absent("base");
}

static void what_a_link_that_stays_names_is_not_removed(void **state)
{
	(void)state;
	struct engine_options o = options();
	_cleanup_(engine_result_done) struct engine_result result = {0};
	_cleanup_json_ json_t *d = deployment(
		"rollback",
		"[{\"step\":\"files\",\"input\":{\"mkdir\":[\"%D/made\"]}},{\"step\":\"stuck\",\"input\":{\"link\":{\"%D/current\":\"made\"}}}]");
	_cleanup_free_ char *made = in_dir("made");
	make_old_world();
	assert_int_equal(deploy_this(d, &o, &result), 4);
	assert_link("current", "made");
	assert_true(fs_exists(AT_FDCWD, made));
	const json_t *left = json_object_get(result.report, "left_over");
	assert_true(names_path(left, "made"));
	assert_true(names_path(left, "current"));
}

int main(int argc, char **argv)
{
	(void)argv;
	show = argc > 1;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_a_person_changed_is_left_alone_and_named, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_found_no_space_in_the_undo_is_restored_once_the_rest_is_undone,
	                                        set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_undo_is_recorded_on_a_full_disk, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_directory_around_an_undone_snapshot_goes_with_the_undo, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(what_a_link_that_stays_names_is_not_removed, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
