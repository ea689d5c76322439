#include "unit/cmocka_all.h"
#include "base/core/shown.h"

#include <string.h>

static void a_string_of_others_is_code_of_one_line(void **state)
{
	(void)state;
	static const struct {
		const char *given, *shown;
	} cases[] = {
		{"@octocat closes #7", "`@octocat closes #7`"},
		{"<img src=x> [a](https://evil.example) `x` `` y", "`<img src=x> [a](https://evil.example) 'x' '' y`"},
		{"a | b", "`a \\| b`"},
		{"a\\| b", "`a\\ \\| b`"},
		{"two\nlines\x1b[31m", "`two\\x0alines\\x1b[31m`"},
		{"\xE2\x80\xAEtxt", "`\\u202etxt`"},
		{"", ""},
		{NULL, ""},
		{"0123456789012345678901234567890123456789012345678901234567890123456789",
	         "`012345678901234567890123456789012345678901234567890123456…`"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(str_done) struct str out = STR_INIT(4096);
		shown_code(&out, cases[i].given, 60);
		assert_string_equal(str_peek(&out), cases[i].shown);
	}
}

static void a_link_is_made_of_a_plain_address_of_the_web_alone(void **state)
{
	(void)state;
	char long_one[600] = "https://x.example/";
	memset(long_one + strlen(long_one), 'a', 550);
	static const char plain[] = "https://x.example/a/b?c=d&e=%20";
	const char *const bad[] = {NULL,
	                           "",
	                           "javascript:alert(1)",
	                           "https://x.example/a)b",
	                           "https://x.example/ a",
	                           "http://x.example/\"",
	                           "https://x.example/[a]",
	                           long_one};
	_cleanup_(str_done) struct str out = STR_INIT(4096);
	shown_link(&out, "the run", plain);
	assert_string_equal(str_peek(&out), "[the run](https://x.example/a/b?c=d&e=%20)");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		str_clear(&out);
		shown_link(&out, "the run", bad[i]);
		assert_string_equal(str_peek(&out), "the run");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_string_of_others_is_code_of_one_line),
		cmocka_unit_test(a_link_is_made_of_a_plain_address_of_the_web_alone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
