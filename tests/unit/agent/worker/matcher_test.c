/* Problem matchers: what a file may say, and what they find line by line. */
#include "unit/cmocka_all.h"
#include "agent/worker/matcher.h"
#include "base/core/mem.h"
#include "base/core/str.h"
#include <malloc.h>

static json_t *document(const char *text)
{
	json_t *value = NULL;
	assert_int_equal(json_parse(text, strlen(text), 1 << 20, &value, NULL), 0);
	return value;
}

static int add(struct matchers **m, const char *text, struct err *err)
{
	_cleanup_json_ json_t *value = document(text);
	return matchers_add(m, value, err);
}

static void assert_refused(const char *text, const char *why)
{
	struct matchers *m = NULL;
	struct err err = ERR_INIT;
	char line[1024];
	assert_true(add(&m, text, &err) < 0);
	err_line(&err, line, sizeof(line));
	if (strstr(line, why) == NULL)
		fail_msg("%s: %s", text, line);
	assert_null(m);
}

/* "file:line:message|…" of what is found in these lines, which end with \n. */
static char *found_in(struct matchers *m, const char *lines)
{
	struct str out = STR_INIT(1 << 16);
	for (const char *p = lines; *p != '\0'; p += strcspn(p, "\n") + 1) {
		size_t at = 0;
		struct matcher_result r = {{NULL}};
		char *given_up = NULL;
		if (matchers_look(m, p, strcspn(p, "\n"), &at, &r, &given_up))
			str_appendf(&out, "%s:%s:%s:%s|", r.fields[MATCHER_FILE] ? r.fields[MATCHER_FILE] : "-",
			            r.fields[MATCHER_LINE] ? r.fields[MATCHER_LINE] : "-",
			            r.fields[MATCHER_SEVERITY] ? r.fields[MATCHER_SEVERITY] : "-",
			            r.fields[MATCHER_MESSAGE]);
		matcher_result_done(&r);
		free(given_up);
	}
	return str_take(&out);
}

static void assert_finds(const char *text, const char *lines, const char *expected)
{
	struct matchers *m = NULL;
	assert_int_equal(add(&m, text, NULL), 0);
	_cleanup_free_ char *found = found_in(m, lines);
	assert_string_equal(found, expected);
	matchers_free(m);
}

#define ONE(more, patterns) "{\"problemMatcher\": [{\"owner\": \"a\"" more ", \"pattern\": [" patterns "]}]}"

static void a_file_that_makes_no_sense_is_refused_with_the_reason(void **state)
{
	(void)state;
	assert_refused("{\"problemMatcher\": {}}", "problemMatcher");
	assert_refused("{\"problemMatcher\": [{\"pattern\": []}]}", "owner");
	assert_refused(ONE("", ""), "there is no pattern");
	assert_refused(ONE("", "{\"message\": 1}"), "no 'regexp'");
	assert_refused(ONE("", "{\"regexp\": \"(\", \"message\": 1}"), "regexp '('");
	assert_refused(ONE("", "{\"regexp\": \"(x)\"}"), "no pattern sets 'message'");
	assert_refused(ONE("", "{\"regexp\": \"(x)\", \"message\": 2}"), "'message' is no group");
	assert_refused(ONE("", "{\"regexp\": \"(x)\", \"message\": -1}"), "'message' is no group");
	assert_refused(ONE("", "{\"regexp\": \"(x)\", \"message\": 1, \"loop\": true}"), "'loop'");
	assert_refused(ONE("", "{\"regexp\": \"a\", \"file\": 0}, {\"regexp\": \"(x)\", \"file\": 1, \"message\": 0}"),
	               "several patterns");
	assert_refused(ONE(", \"severity\": \"fatal\"", "{\"regexp\": \"(x)\", \"message\": 1}"), "severity 'fatal'");
	assert_refused("{\"problemMatcher\": [{\"owner\": \"a\", \"pattern\": [{\"regexp\": \"x\", \"message\": 0}]},"
	               "{\"owner\": \"A\", \"pattern\": [{\"regexp\": \"x\", \"message\": 0}]}]}",
	               "two problem matchers 'A'");
}

static void one_pattern_finds_a_line(void **state)
{
	(void)state;
	static const char gcc[] =
		ONE(", \"severity\": \"warning\"",
	            "{\"regexp\": \"^(.*):(\\\\d+):\\\\s(?:(error|warning):)?\\\\s*(.*)$\", \"file\": 1, \"line\": 2, "
	            "\"severity\": 3, \"message\": 4}");
	assert_finds(gcc, "a.c:12: error: bad\nnothing\nb.c:3: loose\n", "a.c:12:error:bad|b.c:3:warning:loose|");
}

static void several_patterns_find_what_stands_in_several_lines(void **state)
{
	(void)state;
	static const char two[] =
		ONE("", "{\"regexp\": \"^File (.*)$\", \"file\": 1}, {\"regexp\": \"^ at (\\\\d+)$\", \"line\": 1}, "
	                "{\"regexp\": \"^! (.*)$\", \"message\": 1}");
	assert_finds(two, "File a\n at 5\n! one\n! two\n", "a:5:-:one|");
	assert_finds(two, "File a\nelse\n at 5\n! one\n", "");
	assert_finds(two, "File a\nFile b\n at 5\n! one\n", "b:5:-:one|");
}

static void a_loop_keeps_what_was_found_before_it(void **state)
{
	(void)state;
	static const char eslint[] = ONE(
		"",
		"{\"regexp\": \"^([^\\\\s].*)$\", \"file\": 1}, {\"regexp\": \"^\\\\s+(\\\\d+)\\\\s+(error|warning)\\\\s+(.*)$\", "
		"\"line\": 1, \"severity\": 2, \"message\": 3, \"loop\": true}");
	assert_finds(eslint, "a.js\n  1  error  one\n  2  warning  two\n\nb.js\n  3  error  three\n",
	             "a.js:1:error:one|a.js:2:warning:two|b.js:3:error:three|");
}

static void the_newest_matcher_of_an_owner_counts_and_a_result_ends_what_others_began(void **state)
{
	(void)state;
	struct matchers *m = NULL;
	assert_int_equal(
		add(&m,
	            "{\"problemMatcher\": [{\"owner\": \"two\", \"pattern\": [{\"regexp\": \"begin\", \"file\": 0}, "
	            "{\"regexp\": \"end\", \"message\": 0}]}]}",
	            NULL),
		0);
	assert_int_equal(add(&m, ONE("", "{\"regexp\": \"x(.)\", \"message\": 1}"), NULL), 0);
	_cleanup_free_ char *first = found_in(m, "begin\nxy\nend\nbegin\nend\n");
	assert_string_equal(first, "-:-:-:y|begin:-:-:end|");
	assert_int_equal(
		add(&m,
	            "{\"problemMatcher\": [{\"owner\": \"A\", \"pattern\": [{\"regexp\": \"z\", \"message\": 0}]}]}",
	            NULL),
		0);
	_cleanup_free_ char *second = found_in(m, "xy\nz\n");
	assert_string_equal(second, "-:-:-:z|");
	matchers_remove(m, "TWO");
	matchers_remove(m, "a");
	assert_false(matchers_any(m));
	matchers_free(m);
}

static void output_and_errors_are_followed_each_by_itself_and_not_beyond_their_process(void **state)
{
	(void)state;
	struct matchers *m = NULL;
	assert_int_equal(
		add(&m,
	            ONE("", "{\"regexp\": \"^file (.*)\", \"file\": 1}, {\"regexp\": \"^ (.*)\", \"message\": 1, "
	                    "\"loop\": true}"),
	            NULL),
		0);
	_cleanup_free_ char *none = found_in(m, "file a\n");
	matchers_follow(m, 1);
	_cleanup_free_ char *errors = found_in(m, " beside\nfile b\n in b\nnoise\n");
	matchers_follow(m, 0);
	_cleanup_free_ char *output = found_in(m, " in a\n");
	assert_string_equal(none, "");
	assert_string_equal(errors, "b:-:-:in b|");
	assert_string_equal(output, "a:-:-:in a|");
	matchers_forget(m, 1);
	matchers_follow(m, 0);
	_cleanup_free_ char *kept = found_in(m, " in a too\n");
	assert_string_equal(kept, "a:-:-:in a too|");
	matchers_forget(m, 0);
	_cleanup_free_ char *later = found_in(m, " of the next\n");
	assert_string_equal(later, "");
	matchers_free(m);
}

static void what_is_kept_of_long_lines_has_a_ceiling_and_the_next_match_is_found(void **state)
{
	(void)state;
	enum { MANY = 100, LONG = 60 << 10 };
	_cleanup_(str_done) struct str text = STR_INIT(1 << 20), lines = STR_INIT(1 << 20);
	struct matchers *m = NULL;
	str_append(&text, "{\"problemMatcher\": [");
	for (int i = 0; i < MANY; i++)
		str_appendf(
			&text,
			"%s{\"owner\": \"m%d\", \"pattern\": [{\"regexp\": \".*\", \"file\": 0, \"code\": 0, \"fromPath\": 0}, "
			"{\"regexp\": \"^end %d$\", \"message\": 0}]}",
			i > 0 ? ", " : "", i, i);
	str_append(&text, "]}");
	assert_int_equal(add(&m, str_peek(&text), NULL), 0);
	for (int i = 0; i < LONG; i++)
		str_append_c(&lines, 'x');
	str_append_c(&lines, '\n');
	size_t before = mallinfo2().uordblks;
	_cleanup_free_ char *none = found_in(m, str_peek(&lines));
	assert_string_equal(none, "");
	assert_true(mallinfo2().uordblks < before + (6 << 20));
	_cleanup_free_ char *last = found_in(m, "short\nend 99\n");
	assert_string_equal(last, "short:-:-:end 99|");
	matchers_free(m);
}

static void a_file_without_matchers_adds_none(void **state)
{
	(void)state;
	struct matchers *m = NULL;
	assert_int_equal(add(&m, "{}", NULL), 0);
	assert_false(matchers_any(m));
	assert_int_equal(add(&m, "{\"problemMatcher\": null}", NULL), 0);
	assert_false(matchers_any(m));
	matchers_free(m);
}

static void a_pattern_that_never_ends_is_removed_after_three_lines(void **state)
{
	(void)state;
	struct matchers *m = NULL;
	_cleanup_free_ char *line = xcalloc(5001, 1), *removed = NULL;
	memset(line, 'a', 5000);
	assert_int_equal(add(&m, ONE("", "{\"regexp\": \"^(a+)+(a+)+(a+)+b$\", \"message\": 1}"), NULL), 0);
	for (int i = 0; i < 3; i++) {
		size_t at = 0;
		struct matcher_result r = {{NULL}};
		assert_null(removed);
		assert_false(matchers_look(m, line, 5000, &at, &r, &removed));
	}
	assert_string_equal(removed, "a");
	assert_false(matchers_any(m));
	matchers_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_that_makes_no_sense_is_refused_with_the_reason),
		cmocka_unit_test(one_pattern_finds_a_line),
		cmocka_unit_test(several_patterns_find_what_stands_in_several_lines),
		cmocka_unit_test(a_loop_keeps_what_was_found_before_it),
		cmocka_unit_test(the_newest_matcher_of_an_owner_counts_and_a_result_ends_what_others_began),
		cmocka_unit_test(output_and_errors_are_followed_each_by_itself_and_not_beyond_their_process),
		cmocka_unit_test(what_is_kept_of_long_lines_has_a_ceiling_and_the_next_match_is_found),
		cmocka_unit_test(a_file_without_matchers_adds_none),
		cmocka_unit_test(a_pattern_that_never_ends_is_removed_after_three_lines),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
