#include "unit/cmocka_all.h"
#include "base/sys/fs.h"
#include "base/secret/seal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static char *dir;

static int make_dir(void **state)
{
	(void)state;
	return fs_make_temp_dir("davit-seal-test", &dir, NULL);
}

static int drop_dir(void **state)
{
	(void)state;
	int r = fs_remove_tree(AT_FDCWD, dir, NULL);
	free(dir);
	return r;
}

static void what_was_sealed_is_read_back_and_then_erased(void **state)
{
	(void)state;
	_cleanup_(str_done) struct str out = STR_SECRET_INIT(1000);
	assert_int_equal(seal_write(dir, "d-1", "geheim", 6, NULL), 0);
	assert_int_equal(seal_read(dir, "d-1", &out, NULL), 0);
	assert_string_equal(out.data, "geheim");
	assert_int_equal(seal_erase(dir, "d-1", NULL), 0);
	assert_int_equal(seal_erase(dir, "d-1", NULL), 0);
	assert_int_equal(seal_read(dir, "d-1", &out, NULL), ERR_NOT_FOUND);
}

static void the_secret_does_not_stand_in_the_file_and_nobody_else_may_read_it(void **state)
{
	(void)state;
	_cleanup_(str_done) struct str out = STR_INIT(1000);
	_cleanup_free_ char *file = fs_join(dir, "sealed/d-1");
	_cleanup_free_ char *key = fs_join(dir, "seal.key");
	struct stat st;
	assert_int_equal(seal_write(dir, "d-1", "geheimnis", 9, NULL), 0);
	assert_int_equal(fs_read(AT_FDCWD, file, 900, &out, NULL), 0);
	assert_null(memmem(out.data, out.len, "geheim", 6));
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(stat(key, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(st.st_size, 32);
}

static void a_changed_byte_or_another_deployments_name_is_noticed(void **state)
{
	(void)state;
	_cleanup_(str_done) struct str in = STR_INIT(1000);
	_cleanup_(str_done) struct str out = STR_SECRET_INIT(1000);
	_cleanup_free_ char *file = fs_join(dir, "sealed/d-1");
	_cleanup_free_ char *other = fs_join(dir, "sealed/d-2");
	assert_int_equal(seal_write(dir, "d-1", "geheim", 6, NULL), 0);
	assert_int_equal(fs_read(AT_FDCWD, file, 900, &in, NULL), 0);
	assert_int_equal(fs_write_replace(AT_FDCWD, other, in.data, in.len, 0600, NULL), 0);
	assert_int_equal(seal_read(dir, "d-2", &out, NULL), ERR_AUTH);
	in.data[25] ^= 1;
	assert_int_equal(fs_write_replace(AT_FDCWD, file, in.data, in.len, 0600, NULL), 0);
	assert_int_equal(seal_read(dir, "d-1", &out, NULL), ERR_AUTH);
	assert_int_equal(out.len, 0);
	assert_int_equal(fs_write_replace(AT_FDCWD, file, "short", 5, 0600, NULL), 0);
	assert_int_equal(seal_read(dir, "d-1", &out, NULL), ERR_AUTH);
}

static void what_a_dead_writer_left_is_swept_unless_one_writes(void **state)
{
	(void)state;
	_cleanup_free_ char *folder = fs_join(dir, "sealed");
	_cleanup_free_ char *left = fs_join(folder, ".davit-0123456789ab"), *key = fs_join(folder, ".davit-key-0123");
	assert_int_equal(seal_sweep(dir, NULL), 0);
	assert_int_equal(seal_write(dir, "a", "text", 4, NULL), 0);
	assert_int_equal(fs_write_replace(AT_FDCWD, left, "x", 1, 0600, NULL), 0);
	assert_int_equal(fs_write_replace(AT_FDCWD, key, "x", 1, 0600, NULL), 0);
	int writer = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(flock(writer, LOCK_SH), 0);
	assert_int_equal(seal_sweep(dir, NULL), 0);
	assert_true(fs_exists(AT_FDCWD, left));
	close(writer);
	assert_int_equal(seal_sweep(dir, NULL), 0);
	assert_false(fs_exists(AT_FDCWD, left));
	assert_false(fs_exists(AT_FDCWD, key));
	_cleanup_(str_done) struct str text = STR_INIT(100);
	assert_int_equal(seal_read(dir, "a", &text, NULL), 0);
}

static void a_name_cannot_leave_the_folder(void **state)
{
	(void)state;
	assert_int_equal(seal_write(dir, "../x", "a", 1, NULL), ERR_INVALID);
	assert_int_equal(seal_erase(dir, "", NULL), ERR_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_was_sealed_is_read_back_and_then_erased, make_dir, drop_dir),
		cmocka_unit_test_setup_teardown(the_secret_does_not_stand_in_the_file_and_nobody_else_may_read_it,
	                                        make_dir, drop_dir),
		cmocka_unit_test_setup_teardown(a_changed_byte_or_another_deployments_name_is_noticed, make_dir,
	                                        drop_dir),
		cmocka_unit_test_setup_teardown(what_a_dead_writer_left_is_swept_unless_one_writes, make_dir, drop_dir),
		cmocka_unit_test_setup_teardown(a_name_cannot_leave_the_folder, make_dir, drop_dir),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
