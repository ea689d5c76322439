#include "unit/steps/step_fixture.h"

#define PLACE "base/snapshots/shop.test/20260131T102030-3fa94c/0"

static void make_dir(struct fixture *f, const char *name)
{
	_cleanup_free_ char *path = fs_join(f->dir, name);
	assert_int_equal(fs_mkdirs(AT_FDCWD, path, 0755, NULL), 0);
}

static bool there(struct fixture *f, const char *name)
{
	_cleanup_free_ char *path = fs_join(f->dir, name);
	struct stat st;
	return lstat(path, &st) == 0;
}

static void must(struct fixture *f, int r)
{
	if (r < 0)
		fail_msg("%s", err_line(&f->err, f->text, sizeof(f->text)));
}

static void make_data(struct fixture *f)
{
	make_dir(f, "data/uploads/cache");
	fixture_write(f, "data/uploads/photo", "jpeg", 0640);
	fixture_write(f, "data/uploads/cache/x", "cached", 0644);
	fixture_write(f, "data/app.conf", "a=1\n", 0600);
}

static void take(struct fixture *f, const char *yaml)
{
	fixture_input(f, "snapshot", yaml);
	assert_int_equal(fixture_validate(f), 0);
	must(f, fixture_plan(f));
	assert_int_equal(f->plan.count, 1);
	must(f, fixture_apply(f));
}

static void a_snapshot_is_a_copy_and_no_link(void **state)
{
	struct fixture *f = *state;
	make_data(f);
	take(f, "{files: {paths: [DIR/data/uploads, DIR/data/app.conf, DIR/data/absent]}}");
	assert_file(f, PLACE "/0/photo", "jpeg");
	assert_int_equal(fixture_mode(f, PLACE "/0/photo"), 0640);
	assert_file(f, PLACE "/1", "a=1\n");
	assert_false(there(f, PLACE "/2"));
	_cleanup_free_ char *copy = fs_join(f->dir, PLACE "/0/photo");
	struct stat st;
	assert_int_equal(stat(copy, &st), 0);
	assert_int_equal(st.st_nlink, 1);
	/* Written in place afterwards: the snapshot keeps what was. */
	_cleanup_free_ char *live = fs_join(f->dir, "data/uploads/photo");
	int fd = open(live, O_WRONLY | O_TRUNC | O_CLOEXEC);
	assert_int_equal(write(fd, "new", 3), 3);
	close(fd);
	assert_file(f, PLACE "/0/photo", "jpeg");
	must(f, fixture_undo(f));
	assert_false(there(f, "base/snapshots"));
	assert_file(f, "data/uploads/photo", "new");
	must(f, fixture_undo(f));
}

static void a_rollback_puts_the_content_back_where_it_was_asked_for(void **state)
{
	struct fixture *f = *state;
	make_data(f);
	take(f,
	     "{files: {paths: [DIR/data/uploads, DIR/data/app.conf, DIR/data/absent], restore_on_rollback: true, exclude: [cache/]}}");
	assert_false(there(f, PLACE "/0/cache"));
	fixture_write(f, "data/uploads/photo", "overwritten", 0644);
	fixture_write(f, "data/uploads/later", "x", 0644);
	fixture_write(f, "data/uploads/cache/x", "newer cache", 0644);
	fixture_write(f, "data/app.conf", "a=2\n", 0644);
	make_dir(f, "data/absent");
	must(f, fixture_undo(f));
	assert_file(f, "data/uploads/photo", "jpeg");
	assert_int_equal(fixture_mode(f, "data/uploads/photo"), 0640);
	assert_false(there(f, "data/uploads/later"));
	assert_file(f, "data/uploads/cache/x", "newer cache");
	assert_file(f, "data/app.conf", "a=1\n");
	assert_int_equal(fixture_mode(f, "data/app.conf"), 0600);
	assert_false(there(f, "data/absent"));
	assert_false(there(f, "base/snapshots"));
	must(f, fixture_undo(f));
	assert_file(f, "data/uploads/photo", "jpeg");
}

static void an_interrupted_restore_goes_on(void **state)
{
	struct fixture *f = *state;
	make_data(f);
	take(f, "{files: {paths: [DIR/data/uploads], restore_on_rollback: true}}");
	/* As a crash between the two renames leaves it. */
	_cleanup_free_ char *path = fs_join(f->dir, "data/uploads"),
			    *aside = fs_join(f->dir, "data/uploads.davit-former");
	assert_int_equal(rename(path, aside), 0);
	make_dir(f, "data/uploads.davit-restored");
	must(f, fixture_undo(f));
	assert_file(f, "data/uploads/photo", "jpeg");
	assert_false(there(f, "data/uploads.davit-former"));
	assert_false(there(f, "data/uploads.davit-restored"));
}

/* ---- a target that dies: from its n-th change on nothing is done any more ---- */

static const struct host_type *living;
static int changes_left;

static int one_more(struct err *err)
{
	return changes_left-- > 0 ? 0 : err_set(err, ERR_FAILED, "dead");
}

static int dying_mkdir(struct target *t, const char *path, const struct node_attr *attr, struct err *err)
{
	int r = one_more(err);
	return r < 0 ? r : living->mkdir(t, path, attr, err);
}

static int dying_rename(struct target *t, const char *from, const char *to, struct err *err)
{
	int r = one_more(err);
	return r < 0 ? r : living->rename(t, from, to, err);
}

static int dying_remove(struct target *t, const char *path, struct err *err)
{
	int r = one_more(err);
	return r < 0 ? r : living->remove(t, path, err);
}

static int dying_copy(struct target *t, const char *from, const char *to, struct err *err)
{
	int r = one_more(err);
	return r < 0 ? r : living->copy(t, from, to, err);
}

static int dying_set_attr(struct target *t, const char *path, const struct node_attr *attr, struct err *err)
{
	int r = one_more(err);
	return r < 0 ? r : living->set_attr(t, path, attr, err);
}

/* Entry by entry, the last name first: what is removed when it dies is half of the tree. */
static int dying_remove_tree(struct target *t, const char *path, struct err *err)
{
	_cleanup_(tree_done) struct tree tree = {0};
	_cleanup_(node_done) struct node n = {0};
	int r = living->stat(&t->view, path, &n, err);
	if (r < 0 || n.type == NODE_ABSENT)
		return r;
	if (n.type == NODE_DIR)
		r = living->tree(&t->view, path, false, &tree, err);
	for (size_t i = tree.count; r == 0 && i-- > 0;) {
		_cleanup_free_ char *one = fs_join(path, tree.entries[i].path);
		r = dying_remove(t, one, err);
	}
	return r < 0 ? r : dying_remove(t, path, err);
}

static int undo_that_dies(struct fixture *f, int after)
{
	struct host_type dying = *f->target->view.type;
	living = f->target->view.type;
	changes_left = after;
	dying.mkdir = dying_mkdir;
	dying.rename = dying_rename;
	dying.remove = dying_remove;
	dying.remove_tree = dying_remove_tree;
	dying.copy = dying_copy;
	dying.set_attr = dying_set_attr;
	f->target->view.type = &dying;
	int r = fixture_undo(f);
	f->target->view.type = living;
	return r;
}

static void use_in_the_meantime(struct fixture *f)
{
	fixture_write(f, "data/uploads/photo", "overwritten", 0644);
	fixture_write(f, "data/uploads/later", "x", 0644);
	fixture_write(f, "data/uploads/cache/x", "newer cache", 0644);
	make_dir(f, "data/uploads/gone/cache");
	fixture_write(f, "data/uploads/gone/cache/y", "of a directory that came later", 0644);
	fixture_write(f, "data/uploads/gone/z", "x", 0644);
	make_dir(f, "data/uploads/whole");
	fixture_write(f, "data/uploads/whole/one", "another", 0644);
	make_dir(f, "data/absent/cache");
	fixture_write(f, "data/absent/cache/z", "of what was not there", 0644);
	fixture_write(f, "data/absent/other", "x", 0644);
}

static void assert_back(struct fixture *f)
{
	assert_file(f, "data/uploads/photo", "jpeg");
	assert_file(f, "data/uploads/whole/one", "1");
	assert_file(f, "data/uploads/cache/x", "newer cache");
	assert_file(f, "data/uploads/gone/cache/y", "of a directory that came later");
	assert_file(f, "data/absent/cache/z", "of what was not there");
	assert_false(there(f, "data/uploads/later"));
	assert_false(there(f, "data/uploads/gone/z"));
	assert_false(there(f, "data/absent/other"));
	assert_false(there(f, "data/uploads.davit-former"));
	assert_false(there(f, "data/uploads.davit-restored"));
	assert_false(there(f, "data/absent.davit-former"));
	assert_false(there(f, "base/snapshots"));
}

/* It dies after each of its changes, and once more after each of those of whoever goes on; what the snapshot left out is there throughout. */
static void what_a_snapshot_left_out_outlives_an_undo_that_dies_anywhere(void **state)
{
	(void)state;
	bool whole = false;
	for (int after = 0; !whole && after < 200; after++) {
		struct fixture *f;
		assert_int_equal(fixture_setup((void **)&f), 0);
		make_data(f);
		make_dir(f, "data/uploads/whole");
		fixture_write(f, "data/uploads/whole/one", "1", 0644);
		take(f,
		     "{files: {paths: [DIR/data/uploads, DIR/data/absent], restore_on_rollback: true, exclude: [cache/]}}");
		use_in_the_meantime(f);
		whole = undo_that_dies(f, after) == 0;
		for (int again = 0; again < 2; again++) {
			assert_file(f, "data/uploads/cache/x", "newer cache");
			assert_file(f, "data/uploads/gone/cache/y", "of a directory that came later");
			err_clear(&f->err);
			undo_that_dies(f, again ? after : after / 2);
		}
		err_clear(&f->err);
		must(f, fixture_undo(f));
		assert_back(f);
		fixture_teardown((void **)&f);
	}
	assert_true(whole);
}

/* The folder of a snapshot whose undo died before it was removed. */
static void an_empty_folder_is_no_snapshot(void **state)
{
	struct fixture *f = *state;
	make_data(f);
	take(f, "{files: {paths: [DIR/data/uploads], keep: 1}}");
	make_dir(f, "base/snapshots/shop.test/20260115T000000-000009");
	make_dir(f, "base/snapshots/shop.test/20260201T000000-000009");
	_cleanup_(plan_done) struct plan back = {0};
	must(f, f->c.type->back_to(&f->c, &f->target->view, "20260101T000000-000001", &back, &f->err));
	assert_int_equal(back.count, 2);
	assert_non_null(strstr(json_get_string(back.changes[1].extra, "from"), "/20260131T102030-3fa94c/0"));
	must(f, f->c.type->clean(&f->c, f->target, &f->err));
	assert_true(there(f, PLACE));
	assert_false(there(f, "base/snapshots/shop.test/20260201T000000-000009"));
}

static void a_damaged_snapshot_is_not_put_back(void **state)
{
	struct fixture *f = *state;
	make_data(f);
	take(f, "{files: {paths: [DIR/data/uploads], restore_on_rollback: true}}");
	fixture_write(f, PLACE "/0/photo", "rot!", 0640);
	fixture_write(f, "data/uploads/photo", "live", 0640);
	assert_int_equal(fixture_undo(f), ERR_CONFLICT);
	assert_file(f, "data/uploads/photo", "live");
	assert_true(there(f, PLACE "/0/photo"));
}

static void only_the_newest_snapshots_stay(void **state)
{
	struct fixture *f = *state;
	make_data(f);
	make_dir(f, "base/snapshots/shop.test/20250101T000000-000001/0");
	make_dir(f, "base/snapshots/shop.test/20250102T000000-000002/0");
	make_dir(f, "base/snapshots/blog.test/20250101T000000-000001/0");
	take(f, "{files: {paths: [DIR/data/uploads], keep: 2}}");
	must(f, f->c.type->clean(&f->c, f->target, &f->err));
	assert_false(there(f, "base/snapshots/shop.test/20250101T000000-000001"));
	assert_true(there(f, "base/snapshots/shop.test/20250102T000000-000002"));
	assert_true(there(f, PLACE));
	assert_true(there(f, "base/snapshots/blog.test/20250101T000000-000001"));
}

static void paths_that_overlap_or_hold_davits_own_files_are_refused(void **state)
{
	struct fixture *f = *state;
	make_data(f);
	fixture_input(f, "snapshot", "{files: {paths: [DIR/data, DIR/data/uploads, /]}}");
	fixture_validate(f);
	assert_true(fixture_fault(f, "/files/paths/1", "hold the same files"));
	assert_true(fixture_fault(f, "/files/paths/2", "cannot be kept"));
	fixture_input(f, "snapshot", "{files: {paths: [DIR]}}");
	assert_int_equal(fixture_plan(f), ERR_REFUSED);
	assert_non_null(strstr(err_line(&f->err, f->text, sizeof(f->text)), "davit's own files"));
}

/* ---- by commands of one's own ---- */

static void a_command_keeps_what_it_writes_and_another_one_reads_it_back(void **state)
{
	struct fixture *f = *state;
	make_data(f);
	take(f,
	     "{command: {name: conf, dump: [cat, DIR/data/app.conf], check: 'grep -q a=1', restore: 'cat >DIR/data/app.conf', restore_on_rollback: true}}");
	assert_file(f, PLACE "/dump", "a=1\n");
	assert_int_equal(fixture_mode(f, PLACE "/dump"), 0600);
	assert_file(f, PLACE "/subject", "command conf");
	fixture_write(f, "data/app.conf", "a=2\n", 0600);
	must(f, fixture_undo(f));
	assert_file(f, "data/app.conf", "a=1\n");
	assert_false(there(f, "base/snapshots"));
	must(f, fixture_undo(f));
}

static void a_dump_that_is_empty_refused_or_broken_is_none(void **state)
{
	static const char *const inputs[][2] = {
		{"{command: {name: conf, dump: 'true'}}", "is empty"},
		{"{command: {name: conf, dump: 'echo half; exit 3'}}", "exit status 3"},
		{"{command: {name: conf, dump: 'echo half', check: 'grep -q whole'}}", "the check command of 'conf'"},
	};
	struct fixture *f = *state;
	for (size_t i = 0; i < ARRAY_SIZE(inputs); i++) {
		fixture_input(f, "snapshot", inputs[i][0]);
		must(f, fixture_plan(f));
		assert_true(fixture_apply(f) < 0);
		assert_non_null(strstr(err_line(&f->err, f->text, sizeof(f->text)), inputs[i][1]));
		assert_false(there(f, PLACE "/manifest"));
		err_clear(&f->err);
		must(f, fixture_undo(f));
		assert_false(there(f, "base/snapshots"));
	}
}

static void a_restore_without_a_command_for_it_is_refused(void **state)
{
	struct fixture *f = *state;
	fixture_input(f, "snapshot", "{command: {name: conf, dump: 'echo x', restore_on_rollback: true}}");
	fixture_validate(f);
	assert_true(fixture_fault(f, "/command/restore_on_rollback", "give `restore`, too"));
}

static void variables_are_for_programs(void **state)
{
	struct fixture *f = *state;
	make_data(f);
	fixture_input(f, "snapshot", "{files: {paths: [DIR/data]}, env: {A: b}}");
	fixture_validate(f);
	assert_true(fixture_fault(f, "/env", "runs no programs"));
}

static void what_another_source_kept_is_not_dropped_with_old_files(void **state)
{
	struct fixture *f = *state;
	make_data(f);
	make_dir(f, "base/snapshots/shop.test/20250101T000000-000001/0");
	make_dir(f, "base/snapshots/shop.test/20250101T000000-000001/1");
	fixture_write(f, "base/snapshots/shop.test/20250101T000000-000001/1/subject", "command conf", 0600);
	take(f, "{files: {paths: [DIR/data/uploads], keep: 1}}");
	must(f, f->c.type->clean(&f->c, f->target, &f->err));
	assert_false(there(f, "base/snapshots/shop.test/20250101T000000-000001/0"));
	assert_true(there(f, "base/snapshots/shop.test/20250101T000000-000001/1/subject"));
}

#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_snapshot_is_a_copy_and_no_link),
		T(a_rollback_puts_the_content_back_where_it_was_asked_for),
		T(an_interrupted_restore_goes_on),
		cmocka_unit_test(what_a_snapshot_left_out_outlives_an_undo_that_dies_anywhere),
		T(an_empty_folder_is_no_snapshot),
		T(a_damaged_snapshot_is_not_put_back),
		T(only_the_newest_snapshots_stay),
		T(paths_that_overlap_or_hold_davits_own_files_are_refused),
		T(a_command_keeps_what_it_writes_and_another_one_reads_it_back),
		T(a_dump_that_is_empty_refused_or_broken_is_none),
		T(a_restore_without_a_command_for_it_is_refused),
		T(variables_are_for_programs),
		T(what_another_source_kept_is_not_dropped_with_old_files),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
