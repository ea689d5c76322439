#include "unit/cmocka_all.h"
#include "base/sys/fs.h"
#include "base/data/json.h"
#include "engine/run/step.h"
#include "engine/journal/store.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>

static char *dir;
static struct store *store;

static int set_up(void **state)
{
	(void)state;
	if (fs_make_temp_dir("davit-store-test", &dir, NULL) < 0)
		return -1;
	return store_open(dir, NULL, &store, NULL);
}

static int tear_down(void **state)
{
	(void)state;
	store_close(store);
	int r = fs_remove_tree(AT_FDCWD, dir, NULL);
	free(dir);
	return r;
}

static void add(const char *id, const char *environment, const char *state_name)
{
	_cleanup_json_ json_t *doc = json_pack("{s:s, s:s, s:s, s:s}", "id", id, "name", "shop", "environment",
	                                       environment, "state", state_name);
	assert_int_equal(store_deployment_add(store, doc, NULL), 0);
}

static void one_environment_is_locked_by_one_deployment(void **state)
{
	(void)state;
	char *holder = NULL;
	add("a", "production", "preparing");
	add("b", "production", "preparing");
	add("c", "staging", "preparing");
	assert_int_equal(store_lock(store, "shop", "production", "a", NULL, NULL), 0);
	assert_int_equal(store_lock(store, "shop", "production", "a", NULL, NULL), 0);
	assert_int_equal(store_lock(store, "shop", "production", "b", &holder, NULL), ERR_LOCKED);
	assert_string_equal(holder, "a");
	free(holder);
	assert_int_equal(store_lock(store, "shop", "staging", "c", NULL, NULL), 0);
	assert_int_equal(store_unlock(store, "a", NULL), 0);
	assert_int_equal(store_lock(store, "shop", "production", "b", NULL, NULL), 0);
}

static void add_change(const char *id, const char *target)
{
	_cleanup_(plan_done) struct plan plan = {0};
	struct change *c = plan_add_kind(&plan, "node", ACTION_CREATE, "/x");
	c->target = xstrdup(target);
	assert_int_equal(store_changes_add(store, id, plan.changes, plan.count, NULL), 0);
}

static bool is_changed(const char *environment, const char *target)
{
	bool changed = true;
	assert_int_equal(store_target_changed(store, "shop", environment, target, &changed, NULL), 0);
	return changed;
}

static void a_target_is_changed_by_a_committed_deployment_of_its_environment_only(void **state)
{
	(void)state;
	assert_false(is_changed("production", "web"));
	add("a", "production", "committed");
	add_change("a", "web");
	add("b", "production", "undone");
	add_change("b", "db");
	add("c", "staging", "committed");
	add_change("c", "cache");
	add("d", "production", "committed");
	assert_true(is_changed("production", "web"));
	assert_false(is_changed("production", "db"));
	assert_false(is_changed("production", "cache"));
	assert_true(is_changed("staging", "cache"));
}

static size_t undecided(void)
{
	const struct store_filter filter = {.undecided = true};
	_cleanup_json_ json_t *list = NULL;
	assert_int_equal(store_deployment_list(store, &filter, &list, NULL), 0);
	return json_array_size(list);
}

static void undecided_is_what_recovery_must_look_at(void **state)
{
	(void)state;
	_cleanup_json_ json_t *cleaned = json_pack("{s:b}", "cleaned", 1);
	add("a", "p", "refused");
	assert_int_equal(undecided(), 0);
	add("b", "p", "open");
	add("c", "p", "held");
	add("d", "p", "committed");
	assert_int_equal(undecided(), 3);
	assert_int_equal(store_deployment_set(store, "d", cleaned, NULL), 0);
	assert_int_equal(undecided(), 2);
	/* A lock that was not given back yet counts, whatever the state. */
	assert_int_equal(store_lock(store, "shop", "p", "a", NULL, NULL), 0);
	assert_int_equal(undecided(), 3);
}

static struct change make_change(const char *path)
{
	return (struct change){.kind = "file",
	                       .action = ACTION_CREATE,
	                       .step = xstrdup("apply"),
	                       .target = xstrdup("web"),
	                       .path = xstrdup(path),
	                       .before = json_pack("{s:s}", "type", "absent"),
	                       .after = json_pack("{s:s, s:s}", "type", "file", "digest", "d")};
}

static void changes_get_ids_in_the_order_of_making_and_come_back_whole(void **state)
{
	(void)state;
	struct change changes[2] = {make_change("/a"), make_change("/b")};
	struct change third = make_change("/c");
	_cleanup_(plan_done) struct plan list = {0};
	add("d", "p", "open");
	assert_int_equal(store_changes_add(store, "d", changes, 2, NULL), 0);
	assert_int_equal(store_changes_add(store, "d", &third, 1, NULL), 0);
	assert_int_equal(third.id, 3);
	assert_int_equal(store_change_set(store, "d", &changes[1], CHANGE_UNKNOWN, "lost", NULL), 0);
	assert_int_equal(store_change_list(store, "d", &list, NULL), 0);
	assert_int_equal(list.count, 3);
	assert_string_equal(list.changes[1].path, "/b");
	assert_int_equal(list.changes[1].state, CHANGE_UNKNOWN);
	assert_string_equal(list.changes[1].note, "lost");
	assert_string_equal(json_get_string(list.changes[0].after, "digest"), "d");
	for (size_t i = 0; i < 2; i++)
		change_done(&changes[i]);
	change_done(&third);
}

static void a_state_row_comes_with_done_and_goes_with_undone(void **state)
{
	(void)state;
	_cleanup_(change_done) struct change c = make_change("/a");
	_cleanup_json_ json_t *row = json_pack("{s:i}", "v", 2), *former = json_pack("{s:i}", "v", 1), *found = NULL,
			      *back = NULL;
	add("d", "p", "open");
	change_set_state_row(&c, "key", row, former);
	assert_int_equal(store_changes_add(store, "d", &c, 1, NULL), 0);
	assert_int_equal(store_state_get(store, "shop.p", "web", "key", &found, NULL), ERR_NOT_FOUND);
	assert_int_equal(store_change_set(store, "d", &c, CHANGE_STARTED, NULL, NULL), 0);
	assert_int_equal(store_change_set(store, "d", &c, CHANGE_DONE, NULL, NULL), 0);
	assert_int_equal(store_state_get(store, "shop.p", "web", "key", &found, NULL), 0);
	assert_int_equal(json_get_int(found, "v", 0), 2);
	assert_int_equal(store_change_set(store, "d", &c, CHANGE_UNDONE, NULL, NULL), 0);
	assert_int_equal(store_state_get(store, "shop.p", "web", "key", &back, NULL), 0);
	assert_int_equal(json_get_int(back, "v", 0), 1);
}

static void a_newer_format_is_refused_with_both_numbers(void **state)
{
	(void)state;
	struct store *other = NULL;
	struct err err = ERR_INIT;
	char line[1000];
	sqlite3 *db = NULL;
	_cleanup_free_ char *path = fs_join(dir, "journal.db");
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "PRAGMA user_version=7", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	assert_int_equal(store_open(dir, NULL, &other, &err), ERR_UNSUPPORTED);
	err_line(&err, line, sizeof(line));
	assert_non_null(strstr(line, "format 7"));
	assert_non_null(strstr(line, "up to 1"));
}

static void the_folder_is_closed_to_others_and_keeps_its_id(void **state)
{
	(void)state;
	struct stat st;
	struct store *again = NULL;
	_cleanup_free_ char *id = xstrdup(store_id(store));
	assert_int_equal(stat(dir, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	assert_int_equal(strlen(id), 32);
	assert_int_equal(store_open(dir, NULL, &again, NULL), 0);
	assert_string_equal(store_id(again), id);
	store_close(again);
}

static void where_there_is_no_journal_reading_says_so(void **state)
{
	(void)state;
	struct store *none = NULL;
	_cleanup_free_ char *empty = fs_join(dir, "empty");
	assert_int_equal(mkdir(empty, 0700), 0);
	assert_int_equal(store_open_readonly(empty, &none, NULL), ERR_NOT_FOUND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_environment_is_locked_by_one_deployment, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_target_is_changed_by_a_committed_deployment_of_its_environment_only,
	                                        set_up, tear_down),
		cmocka_unit_test_setup_teardown(undecided_is_what_recovery_must_look_at, set_up, tear_down),
		cmocka_unit_test_setup_teardown(changes_get_ids_in_the_order_of_making_and_come_back_whole, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(a_state_row_comes_with_done_and_goes_with_undone, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_newer_format_is_refused_with_both_numbers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_folder_is_closed_to_others_and_keeps_its_id, set_up, tear_down),
		cmocka_unit_test_setup_teardown(where_there_is_no_journal_reading_says_so, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
