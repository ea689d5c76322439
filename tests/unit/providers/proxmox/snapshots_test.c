/* What a server says of a guest's snapshots, read. */
#include "unit/cmocka_all.h"
#include "base/core/mem.h"
#include "providers/proxmox/snapshots.h"

static json_t *rows_of(const char *text)
{
	json_t *rows = json_loads(text, 0, NULL);
	assert_non_null(rows);
	return rows;
}

static void a_snapshot_is_found_by_its_name_and_the_present_state_is_none(void **state)
{
	(void)state;
	_cleanup_json_ json_t *rows =
		rows_of("[{\"name\":\"a\",\"snaptime\":1},{\"name\":\"current\",\"parent\":\"a\"},7,{}]");
	assert_non_null(snapshots_find(rows, "a"));
	assert_null(snapshots_find(rows, "current"));
	assert_null(snapshots_find(rows, "b"));
	assert_string_equal(snapshots_parent(rows), "a");
	_cleanup_json_ json_t *none = rows_of("[{\"name\":\"current\"}]");
	assert_string_equal(snapshots_parent(none), "");
}

static void one_that_is_being_made_or_removed_is_not_whole(void **state)
{
	(void)state;
	_cleanup_json_ json_t *rows = rows_of("[{\"name\":\"a\",\"snapstate\":\"prepare\"},{\"name\":\"b\"}]");
	assert_false(snapshots_is_whole(snapshots_find(rows, "a")));
	assert_true(snapshots_is_whole(snapshots_find(rows, "b")));
}

static void a_description_counts_without_the_end_of_its_line(void **state)
{
	(void)state;
	_cleanup_json_ json_t *rows = rows_of("[{\"name\":\"a\",\"description\":\"davit x\\n\"},{\"name\":\"b\"}]");
	assert_true(snapshots_is_described(snapshots_find(rows, "a"), "davit x"));
	assert_false(snapshots_is_described(snapshots_find(rows, "a"), "davit"));
	assert_false(snapshots_is_described(snapshots_find(rows, "a"), "davit x y"));
	assert_false(snapshots_is_described(snapshots_find(rows, "b"), "davit x"));
}

static void expect_after(const char *text, const char *name, const char *wanted)
{
	_cleanup_json_ json_t *rows = rows_of(text);
	_cleanup_(str_done) struct str out = STR_INIT(1000);
	snapshots_after(rows, name, &out);
	assert_string_equal(str_peek(&out), wanted);
}

static void later_ones_are_known_by_time_and_within_a_second_by_descent(void **state)
{
	(void)state;
	expect_after("[{\"name\":\"a\",\"snaptime\":5},{\"name\":\"b\",\"snaptime\":6},{\"name\":\"c\",\"snaptime\":4},"
	             "{\"name\":\"current\",\"parent\":\"b\"}]",
	             "a", "b");
	expect_after("[{\"name\":\"a\",\"snaptime\":5},{\"name\":\"b\",\"snaptime\":5,\"parent\":\"a\"},"
	             "{\"name\":\"c\",\"snaptime\":5,\"parent\":\"b\"},{\"name\":\"d\",\"snaptime\":5}]",
	             "a", "b, c");
}

static void a_tree_that_is_a_loop_ends(void **state)
{
	(void)state;
	expect_after("[{\"name\":\"a\",\"snaptime\":5},{\"name\":\"b\",\"snaptime\":5,\"parent\":\"c\"},"
	             "{\"name\":\"c\",\"snaptime\":5,\"parent\":\"b\"}]",
	             "a", "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_snapshot_is_found_by_its_name_and_the_present_state_is_none),
		cmocka_unit_test(one_that_is_being_made_or_removed_is_not_whole),
		cmocka_unit_test(a_description_counts_without_the_end_of_its_line),
		cmocka_unit_test(later_ones_are_known_by_time_and_within_a_second_by_descent),
		cmocka_unit_test(a_tree_that_is_a_loop_ends),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
