#include "unit/cmocka_all.h"
#include "base/sys/fs_usage.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/core/mem.h"
#include "base/core/str.h"
#include "base/sys/fs.h"

enum { LARGE = 1 << 20 };

static char *make_dir(void)
{
	char *dir = NULL;
	struct err err = ERR_INIT;
	assert_int_equal(fs_make_temp_dir("davit-usage", &dir, &err), 0);
	return dir;
}

static void fill(const char *dir, const char *name)
{
	_cleanup_free_ char *path = fs_join(dir, name), *content = xcalloc(LARGE, 1);
	assert_int_equal(fs_write_replace(AT_FDCWD, path, content, LARGE, 0600, NULL), 0);
}

static int64_t usage(const char *path)
{
	int64_t bytes = -1;
	struct err err = ERR_INIT;
	assert_int_equal(fs_usage(AT_FDCWD, path, &bytes, &err), 0);
	return bytes / LARGE;
}

static void a_file_of_two_names_counts_once_and_links_are_not_followed(void **state)
{
	(void)state;
	_cleanup_free_ char *dir = make_dir(), *other = make_dir();
	_cleanup_free_ char *one = fs_join(dir, "one"), *sub = fs_join(dir, "sub"), *two = fs_join(sub, "two"),
			    *link_path = fs_join(dir, "link");
	fill(other, "far");
	fill(dir, "one");
	assert_int_equal(mkdir(sub, 0700), 0);
	assert_int_equal(link(one, two), 0);
	assert_int_equal(symlink(other, link_path), 0);
	assert_int_equal(usage(dir), 1);
	assert_int_equal(unlink(one), 0);
	assert_int_equal(usage(dir), 1);
	fill(sub, "three");
	assert_int_equal(usage(dir), 2);
	int64_t bytes;
	struct err err = ERR_INIT;
	assert_true(fs_usage(AT_FDCWD, link_path, &bytes, &err) < 0);
	assert_int_equal(fs_remove_tree(AT_FDCWD, dir, &err), 0);
	assert_int_equal(fs_remove_tree(AT_FDCWD, other, &err), 0);
}

static void a_tree_that_is_deeper_than_what_is_counted_does_no_harm(void **state)
{
	(void)state;
	_cleanup_free_ char *dir = make_dir();
	struct err err = ERR_INIT;
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(mkdirat(fd, "d", 0700), 0);
		int next = openat(fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(next >= 0);
		close(fd);
		fd = next;
	}
	close(fd);
	int64_t bytes;
	assert_int_equal(fs_usage(AT_FDCWD, dir, &bytes, &err), 0);
	assert_int_equal(fs_remove_tree(AT_FDCWD, dir, &err), 0);
}

static void room_is_told_of_what_is_yet_to_be_made(void **state)
{
	(void)state;
	int64_t free_bytes = -1, size = -1, missing_free = -1, missing_size = -1;
	struct err err = ERR_INIT;
	_cleanup_free_ char *dir = make_dir(), *missing = fs_join(dir, "not/there/yet");
	assert_int_equal(fs_free_space(dir, &free_bytes, &size, &err), 0);
	assert_int_equal(fs_free_space(missing, &missing_free, &missing_size, &err), 0);
	assert_true(free_bytes >= 0 && free_bytes <= size && size == missing_size);
	assert_int_equal(fs_remove_tree(AT_FDCWD, dir, &err), 0);
	assert_int_equal(fs_free_space("/not-there-at-all/x", &missing_free, &missing_size, &err), 0);
}

static void sizes_are_read_by_powers_of_1024(void **state)
{
	(void)state;
	int64_t bytes = 0;
	assert_true(str_parse_size("20G", &bytes) && bytes == (int64_t)20 << 30);
	assert_true(str_parse_size("512", &bytes) && bytes == 512);
	assert_true(str_parse_size("2 MiB", &bytes) && bytes == 2 << 20);
	static const char *const wrong[] = {"", "-1", "G", "1X", "1Gx", "99999999999P"};
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_false(str_parse_size(wrong[i], &bytes));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_of_two_names_counts_once_and_links_are_not_followed),
		cmocka_unit_test(a_tree_that_is_deeper_than_what_is_counted_does_no_harm),
		cmocka_unit_test(room_is_told_of_what_is_yet_to_be_made),
		cmocka_unit_test(sizes_are_read_by_powers_of_1024),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
