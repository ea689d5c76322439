#include "unit/cmocka_all.h"
#include "base/core/mem.h"
#include "base/data/schema/pattern.h"

static bool found(const char *pattern, const char *text)
{
	struct pattern *p = NULL;
	struct err err = ERR_INIT;
	if (pattern_compile(pattern, strlen(pattern), &p, &err) < 0)
		fail_msg("%s: %s", pattern, err.frames[0].text);
	int r = pattern_match(p, text, strlen(text), &err);
	pattern_free(p);
	assert_true(r >= 0);
	return r == 1;
}

static int code(const char *pattern)
{
	struct pattern *p = NULL;
	int r = pattern_compile(pattern, strlen(pattern), &p, NULL);
	pattern_free(p);
	return r;
}

static void digits_and_words_are_ascii_and_the_end_is_the_end(void **state)
{
	(void)state;
	assert_true(found("^\\d+$", "09"));
	assert_false(found("^\\d+$", "\xe0\xa5\xa9"));
	assert_false(found("^\\w$", "\xc3\xa9"));
	assert_true(found("^\\W$", "\xc3\xa9"));
	assert_false(found("^a$", "a\n"));
	assert_true(found("a", "bab"));
	assert_false(found("^b", "a\nb"));
}

static void white_space_is_that_of_unicode(void **state)
{
	(void)state;
	assert_true(found("^\\s$", "\xc2\xa0"));
	assert_true(found("^\\s$", "\xef\xbb\xbf"));
	assert_true(found("^[\\s]$", "\xe2\x80\xa9"));
	assert_false(found("^\\S$", "\xe3\x80\x80"));
	assert_true(found("^[^\\s]$", "a"));
	assert_true(found("^[\\Sx]+$", "ab\xc3\xa9"));
	assert_false(found("^[\\S]+$", "a b"));
	assert_true(found("^[\\s-x]+$", "- x"));
	assert_true(found("^[a-\\s]+$", "a- "));
}

static void escapes_mean_what_ecma_262_says(void **state)
{
	(void)state;
	assert_true(found("^\\cC$", "\x03"));
	assert_true(found("^\\cc$", "\x03"));
	assert_true(found("^\\v$", "\x0b"));
	assert_true(found("^\\x41\\u0042\\u{43}\\ud83d\\ude00$", "ABC\xf0\x9f\x98\x80"));
	assert_true(found("^[\\b]$", "\b"));
	assert_true(found("^\\/\\-\\.$", "/-."));
	assert_true(found("^\\p{Letter}\\P{L}$", "\xc3\xa9"
	                                         "1"));
	assert_true(found("^\\p{Script=Greek}\\p{gc=Nd}$", "\xce\xb1"
	                                                   "7"));
	assert_true(found("^(a)\\1$", "aa"));
	assert_true(found("^(?<n>a)\\k<n>$", "aa"));
	assert_true(found("^.$", "\xf0\x9f\x98\x80"));
	assert_false(found("^.$", "\xe2\x80\xa8"));
	assert_true(found("^[^]$", "\n"));
	assert_false(found("[]", "a"));
	assert_true(found("^[[:a]$", "["));
	assert_true(found("^a{,2}$", "a{,2}"));
	assert_true(found("^a{2,}b{1}$", "aaab"));
	assert_true(found("^x(?=y)y(?!z)(?<=y)$", "xy"));
}

static void a_nul_is_a_character(void **state)
{
	(void)state;
	struct pattern *p = NULL;
	assert_int_equal(pattern_compile("^a\\0b$", 6, &p, NULL), 0);
	assert_int_equal(pattern_match(p, "a\0b", 3, NULL), 1);
	assert_int_equal(pattern_match(p, "a", 1, NULL), 0);
	pattern_free(p);
	assert_int_equal(pattern_compile("^a\0b$", 5, &p, NULL), 0);
	assert_int_equal(pattern_match(p, "a\0b", 3, NULL), 1);
	pattern_free(p);
}

static void what_only_pcre_knows_is_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {"(?i)a", "(?>a)",   "(?#x)a", "(?R)",    "(*ACCEPT)", "a++",  "a**",
	                                  "\\Aa",  "a\\Z",    "\\h",    "\\Q*\\E", "(?P<n>a)",  "[a",   "(a",
	                                  "a)",    "*a",      "\\",     "\\x4",    "\\u12",     "\\c1", "\\012",
	                                  "\\a",   "\\ud83d", "a{3,2}", "[b-a]"};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (code(bad[i]) != ERR_INVALID)
			fail_msg("'%s' is taken: %d", bad[i], code(bad[i]));
	assert_int_equal(code("(?<=a+)b"), ERR_UNSUPPORTED);
	assert_int_equal(code("\\p{Script=Nowhere}"), ERR_UNSUPPORTED);
}

static void a_pattern_that_would_never_end_is_given_up(void **state)
{
	(void)state;
	struct pattern *p = NULL;
	char text[64];
	memset(text, 'a', sizeof(text));
	assert_int_equal(pattern_compile("^(a+)+$", 7, &p, NULL), 0);
	text[63] = 'b';
	assert_int_equal(pattern_match(p, text, sizeof(text), NULL), ERR_LIMIT);
	pattern_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(digits_and_words_are_ascii_and_the_end_is_the_end),
		cmocka_unit_test(white_space_is_that_of_unicode),
		cmocka_unit_test(escapes_mean_what_ecma_262_says),
		cmocka_unit_test(a_nul_is_a_character),
		cmocka_unit_test(what_only_pcre_knows_is_refused),
		cmocka_unit_test(a_pattern_that_would_never_end_is_given_up),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
