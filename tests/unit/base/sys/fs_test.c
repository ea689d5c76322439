#include "unit/cmocka_all.h"
#include "base/sys/fs.h"
#include "base/sys/fs_beneath.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

static char *dir;

static int make_dir(void **state)
{
	(void)state;
	return fs_make_temp_dir("davit-fs-test", &dir, NULL);
}

static int drop_dir(void **state)
{
	(void)state;
	int r = fs_remove_tree(AT_FDCWD, dir, NULL);
	free(dir);
	return r;
}

static char *in_dir(const char *name)
{
	return fs_join(dir, name);
}

static void what_was_written_atomically_is_read_back_with_its_mode(void **state)
{
	(void)state;
	_cleanup_free_ char *path = in_dir("file");
	_cleanup_(str_done) struct str text = STR_INIT(1000);
	struct stat st;
	assert_int_equal(fs_write_atomic(AT_FDCWD, path, "one", 3, 0640, NULL), 0);
	assert_int_equal(fs_write_atomic(AT_FDCWD, path, "two\0!", 5, 0640, NULL), 0);
	assert_int_equal(fs_read(AT_FDCWD, path, 100, &text, NULL), 0);
	assert_int_equal(text.len, 5);
	assert_memory_equal(text.data, "two\0!", 5);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
}

static void a_file_larger_than_the_bound_is_refused_and_exactly_the_bound_is_taken(void **state)
{
	(void)state;
	_cleanup_free_ char *path = in_dir("file");
	_cleanup_(str_done) struct str text = STR_INIT(1000);
	assert_int_equal(fs_write_replace(AT_FDCWD, path, "12345", 5, 0600, NULL), 0);
	assert_int_equal(fs_read(AT_FDCWD, path, 4, &text, NULL), ERR_LIMIT);
	assert_int_equal(text.len, 0);
	assert_int_equal(fs_read(AT_FDCWD, path, 5, &text, NULL), 0);
	assert_int_equal(text.len, 5);
	_cleanup_(str_done) struct str tight = STR_INIT(6);
	assert_int_equal(fs_read(AT_FDCWD, path, 5, &tight, NULL), 0);
}

static void a_failed_write_leaves_nothing_behind(void **state)
{
	(void)state;
	_cleanup_free_ char *path = in_dir("busy");
	assert_int_equal(mkdir(path, 0700), 0);
	assert_true(fs_write_atomic(AT_FDCWD, path, "x", 1, 0600, NULL) < 0);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(rmdir(dir), 0);
	assert_int_equal(mkdir(dir, 0700), 0);
}

static void a_tree_is_removed_without_following_its_links(void **state)
{
	(void)state;
	_cleanup_free_ char *kept = in_dir("kept");
	_cleanup_free_ char *deep = in_dir("tree/a/b/c");
	_cleanup_free_ char *tree = in_dir("tree");
	_cleanup_free_ char *link = in_dir("tree/a/link");
	_cleanup_free_ char *locked = in_dir("tree/a/b");
	_cleanup_free_ char *inside = in_dir("kept/file");
	assert_int_equal(fs_mkdirs(AT_FDCWD, deep, 0700, NULL), 0);
	assert_int_equal(mkdir(kept, 0700), 0);
	assert_int_equal(fs_write_replace(AT_FDCWD, inside, "x", 1, 0600, NULL), 0);
	assert_int_equal(symlink(kept, link), 0);
	assert_int_equal(fs_remove_tree(AT_FDCWD, tree, NULL), 0);
	assert_false(fs_exists(AT_FDCWD, tree));
	assert_true(fs_exists(AT_FDCWD, inside));
	assert_int_equal(fs_remove_tree(AT_FDCWD, tree, NULL), 0);
}

static void a_tree_deeper_than_there_are_descriptors_is_removed(void **state)
{
	(void)state;
	struct rlimit few = {0}, former;
	_cleanup_free_ char *tree = in_dir("tree");
	assert_int_equal(mkdir(tree, 0700), 0);
	int at = open(tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < 2500; i++) {
		assert_int_equal(mkdirat(at, "d", 0700), 0);
		assert_int_equal(mkdirat(at, "e", 0700), 0);
		int next = openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		close(at);
		at = next;
		assert_true(at >= 0);
	}
	close(at);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &former), 0);
	few = former;
	few.rlim_cur = 256;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	assert_int_equal(fs_remove_tree(AT_FDCWD, tree, NULL), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &former), 0);
	assert_false(fs_exists(AT_FDCWD, tree));
}

static void a_path_is_normalized_without_leaving_its_root(void **state)
{
	(void)state;
	const char *const pairs[][2] = {
		{"/a//b/./c/", "/a/b/c"}, {"a/../b", "b"}, {"/", "/"}, {"a/..", "."}, {"./x", "x"}, {"/a/b/../..", "/"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		_cleanup_free_ char *out = NULL;
		assert_int_equal(fs_normalize(pairs[i][0], &out, NULL), 0);
		assert_string_equal(out, pairs[i][1]);
	}
	char *none = NULL;
	assert_int_equal(fs_normalize("/..", &none, NULL), ERR_INVALID);
	assert_int_equal(fs_normalize("a/../..", &none, NULL), ERR_INVALID);
	assert_int_equal(fs_normalize("", &none, NULL), ERR_INVALID);
}

static void below_means_the_directory_or_inside_it(void **state)
{
	(void)state;
	assert_true(fs_below("/a", "/a"));
	assert_true(fs_below("/a", "/a/b"));
	assert_false(fs_below("/a", "/ab"));
	assert_true(fs_below("/", "/x"));
	assert_false(fs_below("/a/b", "/a"));
}

static void a_link_on_the_way_is_not_followed(void **state)
{
	(void)state;
	_cleanup_free_ char *link = in_dir("link");
	_cleanup_free_ char *sub = in_dir("sub");
	_cleanup_free_ char *file = in_dir("sub/file");
	assert_int_equal(mkdir(sub, 0700), 0);
	assert_int_equal(fs_write_replace(AT_FDCWD, file, "x", 1, 0600, NULL), 0);
	assert_int_equal(symlink("sub", link), 0);
	_cleanup_close_ int at = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int good = fs_open_beneath(at, "sub/file", O_RDONLY, 0, NULL);
	assert_true(good >= 0);
	assert_true(fs_open_beneath(at, "link/file", O_RDONLY, 0, NULL) < 0);
	assert_true(fs_open_beneath(at, "../etc", O_RDONLY, 0, NULL) < 0);
}

static void joining_knows_slashes(void **state)
{
	(void)state;
	_cleanup_free_ char *a = fs_join("/", "x");
	_cleanup_free_ char *b = fs_join("/a/", "x");
	_cleanup_free_ char *c = fs_join("/a", "x");
	assert_string_equal(a, "/x");
	assert_string_equal(b, "/a/x");
	assert_string_equal(c, "/a/x");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_was_written_atomically_is_read_back_with_its_mode, make_dir,
	                                        drop_dir),
		cmocka_unit_test_setup_teardown(a_file_larger_than_the_bound_is_refused_and_exactly_the_bound_is_taken,
	                                        make_dir, drop_dir),
		cmocka_unit_test_setup_teardown(a_failed_write_leaves_nothing_behind, make_dir, drop_dir),
		cmocka_unit_test_setup_teardown(a_tree_is_removed_without_following_its_links, make_dir, drop_dir),
		cmocka_unit_test_setup_teardown(a_tree_deeper_than_there_are_descriptors_is_removed, make_dir,
	                                        drop_dir),
		cmocka_unit_test(a_path_is_normalized_without_leaving_its_root),
		cmocka_unit_test(below_means_the_directory_or_inside_it),
		cmocka_unit_test_setup_teardown(a_link_on_the_way_is_not_followed, make_dir, drop_dir),
		cmocka_unit_test(joining_knows_slashes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
