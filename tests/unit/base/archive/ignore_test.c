#include "unit/cmocka_all.h"
#include "base/archive/archive.h"
#include "base/sys/fs.h"
#include "base/core/mem.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool excluded(const char *const *patterns, const char *path, bool is_dir)
{
	struct ignore *i = ignore_new();
	for (; *patterns; patterns++)
		ignore_add(i, *patterns);
	bool r = ignore_matches(i, path, is_dir);
	ignore_free(i);
	return r;
}
#define WITH(...)                                                                                                      \
	(const char *const[])                                                                                          \
	{                                                                                                              \
		__VA_ARGS__, NULL                                                                                      \
	}

static void a_name_without_slash_matches_in_every_directory(void **state)
{
	(void)state;
	assert_true(excluded(WITH("node_modules"), "node_modules", true));
	assert_true(excluded(WITH("node_modules"), "a/b/node_modules", true));
	assert_true(excluded(WITH("*.o"), "a/b/x.o", false));
	assert_false(excluded(WITH("*.o"), "a/b/x.oo", false));
}

static void what_lies_below_an_excluded_directory_is_excluded(void **state)
{
	(void)state;
	assert_true(excluded(WITH("node_modules/"), "node_modules/x/y.js", false));
	assert_true(excluded(WITH("build/", "!build/keep"), "build/keep", false));
	assert_false(excluded(WITH("build/*", "!build/keep"), "build/keep", false));
}

static void a_leading_slash_anchors_at_the_top(void **state)
{
	(void)state;
	assert_true(excluded(WITH("/dist"), "dist", true));
	assert_false(excluded(WITH("/dist"), "a/dist", true));
	assert_true(excluded(WITH("a/dist"), "a/dist", true));
	assert_false(excluded(WITH("a/dist"), "b/a/dist", true));
}

static void a_trailing_slash_matches_directories_only(void **state)
{
	(void)state;
	assert_true(excluded(WITH("logs/"), "logs", true));
	assert_false(excluded(WITH("logs/"), "logs", false));
}

static void two_stars_cross_directories(void **state)
{
	(void)state;
	assert_true(excluded(WITH("**/cache"), "cache", true));
	assert_true(excluded(WITH("**/cache"), "a/b/cache", true));
	assert_true(excluded(WITH("a/**/z"), "a/z", false));
	assert_true(excluded(WITH("a/**/z"), "a/b/c/z", false));
	assert_false(excluded(WITH("a/**"), "a", true));
	assert_true(excluded(WITH("a/**"), "a/b/c", false));
	assert_false(excluded(WITH("a/*"), "b/a/c", false));
	assert_true(excluded(WITH("a**b/c"), "axxb/c", false));
	assert_false(excluded(WITH("a**b/c"), "a/b/c", false));
}

static void the_last_pattern_that_matches_decides(void **state)
{
	(void)state;
	assert_false(excluded(WITH("*.env", "!example.env"), "example.env", false));
	assert_true(excluded(WITH("!example.env", "*.env"), "example.env", false));
}

static void escapes_comments_and_blanks_are_read_as_git_reads_them(void **state)
{
	(void)state;
	assert_false(excluded(WITH("#a"), "#a", false));
	assert_true(excluded(WITH("\\#a"), "#a", false));
	assert_true(excluded(WITH("\\!a"), "!a", false));
	assert_true(excluded(WITH("a  "), "a", false));
	assert_true(excluded(WITH("a\\ "), "a ", false));
	assert_true(excluded(WITH("\\*"), "*", false));
	assert_false(excluded(WITH("\\*"), "x", false));
	assert_false(excluded(WITH("a\\"), "a", false));
	assert_false(excluded(WITH("", "!", "/"), "a", false));
}

static void classes_know_ranges_negation_and_names(void **state)
{
	(void)state;
	assert_true(excluded(WITH("x[0-9]"), "x7", false));
	assert_false(excluded(WITH("x[!0-9]"), "x7", false));
	assert_true(excluded(WITH("x[^0-9]"), "xa", false));
	assert_true(excluded(WITH("x[]-]"), "x]", false));
	assert_true(excluded(WITH("x[[:digit:]a]"), "x5", false));
	assert_false(excluded(WITH("x[[:digit:]a]"), "xb", false));
	assert_false(excluded(WITH("x[abc"), "xa", false));
	assert_false(excluded(WITH("x[[:nosuch:]]"), "xa", false));
	assert_false(excluded(WITH("a[/]b"), "a/b", false));
	assert_true(excluded(WITH("[a/]b"), "ab", false));
}

static void a_hostile_pattern_ends_soon(void **state)
{
	(void)state;
	char name[201];
	memset(name, 'a', 200);
	name[200] = 0;
	assert_false(excluded(WITH("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b"), name, false));
	assert_false(excluded(WITH("**/a/**/a/**/a/**/a/**/a/**/b"), "a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/c",
	                      false));
}

static void a_file_of_patterns_may_have_a_mark_and_carriage_returns(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	_cleanup_free_ char *dir = NULL;
	assert_int_equal(fs_make_temp_dir("ignore", &dir, &err), 0);
	_cleanup_free_ char *path = fs_join(dir, "excludes");
	static const char text[] = "\xef\xbb\xbf*.log\r\n\r\n# note\r\n/tmp\n";
	assert_int_equal(fs_write_replace(AT_FDCWD, path, text, sizeof(text) - 1, 0644, &err), 0);
	struct ignore *i = ignore_new();
	assert_int_equal(ignore_add_file(i, path, &err), 0);
	assert_true(ignore_matches(i, "a/x.log", false));
	assert_true(ignore_matches(i, "tmp", true));
	assert_false(ignore_matches(i, "a/tmp", true));
	assert_int_equal(ignore_add_file(i, "/nonexistent/excludes", &err), ERR_NOT_FOUND);
	assert_non_null(strstr(err.frames[0].text, "/nonexistent/excludes"));
	ignore_free(i);
	fs_remove_tree(AT_FDCWD, dir, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_without_slash_matches_in_every_directory),
		cmocka_unit_test(what_lies_below_an_excluded_directory_is_excluded),
		cmocka_unit_test(a_leading_slash_anchors_at_the_top),
		cmocka_unit_test(a_trailing_slash_matches_directories_only),
		cmocka_unit_test(two_stars_cross_directories),
		cmocka_unit_test(the_last_pattern_that_matches_decides),
		cmocka_unit_test(escapes_comments_and_blanks_are_read_as_git_reads_them),
		cmocka_unit_test(classes_know_ranges_negation_and_names),
		cmocka_unit_test(a_hostile_pattern_ends_soon),
		cmocka_unit_test(a_file_of_patterns_may_have_a_mark_and_carriage_returns),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
