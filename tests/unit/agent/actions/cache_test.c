#include "unit/cmocka_all.h"
#include "agent/actions/cache.h"

#include "base/core/str.h"
#include "base/sys/fs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static char *dir_path;
static int dir;

static int set_up(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	assert_true(fs_make_temp_dir("cache", &dir_path, &err) == 0);
	dir = cache_open(dir_path, &err);
	return dir < 0;
}

static int tear_down(void **state)
{
	(void)state;
	close(dir);
	fs_remove_tree(AT_FDCWD, dir_path, NULL);
	free(dir_path);
	return 0;
}

/* used_s: when it was used last. */
static void put(const char *name, size_t bytes, time_t used_s, int64_t max_bytes)
{
	_cleanup_free_ char *temporary = NULL;
	_cleanup_close_ int fd = cache_begin(dir, &temporary, NULL);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	struct timespec times[2] = {{used_s, 0}, {used_s, 0}};
	futimens(fd, times);
	assert_int_equal(cache_keep(dir, temporary, name, max_bytes, NULL), 0);
}

static bool has(const char *name)
{
	struct stat st;
	return fstatat(dir, name, &st, 0) == 0;
}

static void what_was_not_used_for_the_longest_time_goes_first(void **state)
{
	(void)state;
	put("a", 100, 1000, 250);
	put("b", 100, 2000, 250);
	_cleanup_close_ int a = cache_find(dir, "a", NULL);
	assert_true(a >= 0);
	put("c", 100, 3000, 250);
	assert_true(has("a"));
	assert_false(has("b"));
	assert_true(has("c"));
	put("larger than all", 1000, 1, 250);
	assert_true(has("larger than all"));
	assert_false(has("c"));
	struct stat st;
	assert_int_equal(fstat(a, &st), 0);
	assert_int_equal(st.st_size, 100);
}

static void what_a_dead_worker_left_behind_goes(void **state)
{
	(void)state;
	_cleanup_free_ char *temporary = NULL;
	_cleanup_close_ int fd = cache_begin(dir, &temporary, NULL);
	struct timespec times[2] = {{1000, 0}, {1000, 0}};
	put("x", 1, 4000, 1000);
	assert_true(has(temporary));
	futimens(fd, times);
	put("y", 1, 5000, 1000);
	assert_false(has(temporary));
	assert_true(has("x"));
}

static void names_tell_servers_repositories_and_commits_apart(void **state)
{
	(void)state;
	static const char *const parts[][3] = {
		{"s", "o/r", "c"}, {"t", "o/r", "c"}, {"s", "o/q", "c"}, {"s", "o/r", "d"}};
	char *names[ARRAY_SIZE(parts)];
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		names[i] = cache_name(parts[i][0], parts[i][1], parts[i][2]);
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(names[i], names[k]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		free(names[i]);
	assert_int_equal(cache_find(dir, "none", NULL), ERR_NOT_FOUND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_was_not_used_for_the_longest_time_goes_first, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_a_dead_worker_left_behind_goes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(names_tell_servers_repositories_and_commits_apart, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
