#include "unit/cmocka_all.h"
#include "base/git/gitmodules.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int parse(const char *text, struct git_modules *ret)
{
	struct err err = ERR_INIT;
	*ret = (struct git_modules){.count = 0};
	return git_modules_parse(text, strlen(text), ret, &err);
}

static void submodules_are_read_as_git_reads_them(void **state)
{
	struct git_modules m;
	(void)state;
	assert_int_equal(
		parse("[submodule \"a.b/c\"]\n\tpath = x y\n\turl = \"../q\"\n\tshallow = true\n\tupdate = none\n"
	              "[Submodule \"B\"]\n\tPATH = z ; words\n\turl = one\n\turl = two\n[other \"x\"]\n\tpath = p\n",
	              &m),
		0);
	assert_int_equal(m.count, 2);
	const struct git_module *one = git_modules_at(&m, "x y"), *two = git_modules_at(&m, "z");
	assert_string_equal(one->name, "a.b/c");
	assert_string_equal(one->url, "../q");
	assert_true(one->shallow);
	assert_int_equal(one->update, MODULE_UPDATE_NONE);
	assert_string_equal(two->name, "B");
	assert_string_equal(two->url, "two");
	assert_null(git_modules_at(&m, "p"));
	git_modules_done(&m);
}

static void names_and_values_that_would_lead_elsewhere_are_left_out(void **state)
{
	static const char *const names[] = {"..", ".",  "../x",    "a/..", "a/../../x",   "a//b",
	                                    "/a", "a/", "..\\\\x", "",     "a\\\\..\\\\b"};
	struct git_modules m;
	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		_cleanup_free_ char *text = xasprintf("[submodule \"%s\"]\n\tpath = x\n\turl = u\n", names[i]);
		assert_int_equal(parse(text, &m), 0);
		assert_int_equal(m.count, 0);
		git_modules_done(&m);
	}
	assert_int_equal(
		parse("[submodule \"a\"]\n\tpath = -x\n\turl = -u./evil\n[submodule \"b\"]\n\tpath = \"x\\n\"\n\turl\n",
	              &m),
		0);
	assert_int_equal(m.count, 2);
	for (size_t i = 0; i < m.count; i++) {
		assert_null(m.items[i].path);
		assert_null(m.items[i].url);
	}
	git_modules_done(&m);
}

static void what_git_dies_of_is_refused(void **state)
{
	static const char *const texts[] = {"[submodule \"a\"]\n\tupdate = !touch x\n",
	                                    "[submodule \"a\"]\n\tupdate = sometimes\n", "[submodule \"a\"\n",
	                                    "[submodule \"a\"]\n\tupdate\n"};
	struct git_modules m;
	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_int_equal(parse(texts[i], &m), ERR_INVALID);
}

/* libgit2 follows them in each configuration that it opens. */
static void other_files_are_not_included(void **state)
{
	static const char *const heads[] = {"[include]", "[ Include]", "[INCLUDE ]", "[includeIf \"gitdir:/\"]"};
	char path[] = "/tmp/davit-gitmodules-XXXXXX";
	struct git_modules m;
	(void)state;
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_true(dprintf(fd, "[submodule \"secret\"]\n\tpath = s\n\turl = u\n") > 0);
	close(fd);
	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		_cleanup_free_ char *text = xasprintf("%s\n\tpath = %s\n", heads[i], path);
		if (parse(text, &m) < 0)
			continue;
		assert_int_equal(m.count, 0);
		git_modules_done(&m);
	}
	unlink(path);
}

static void git_directories_do_not_lie_in_each_other(void **state)
{
	static const struct {
		const char *names[3];
		int result;
	} cases[] = {{{"a", "b"}, 0},
	             {{"a/b", "a/c"}, 0},
	             {{"a", "a-b", "a.b"}, 0},
	             {{"a", "a-b", "a/b"}, ERR_REFUSED},
	             {{"a/modules/b", "x", "a"}, ERR_REFUSED},
	             {{"a", "a"}, ERR_REFUSED}};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct strv names _cleanup_(strv_done) = {0};
		struct err err = ERR_INIT;
		for (size_t k = 0; k < 3 && cases[i].names[k] != NULL; k++)
			strv_add(&names, cases[i].names[k]);
		assert_int_equal(git_modules_check_nesting(&names, &err), cases[i].result);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(submodules_are_read_as_git_reads_them),
		cmocka_unit_test(names_and_values_that_would_lead_elsewhere_are_left_out),
		cmocka_unit_test(what_git_dies_of_is_refused),
		cmocka_unit_test(other_files_are_not_included),
		cmocka_unit_test(git_directories_do_not_lie_in_each_other),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
