#include "unit/cmocka_all.h"
#include "agent/worker/shell.h"

#include <string.h>

static const char *arguments(const char *shell, const char *script)
{
	static char result[1024];
	struct shell s;
	struct strv argv = {.count = 0};
	struct err err = ERR_INIT;
	result[0] = '\0';
	int r = shell_choose(shell, "/nowhere:/usr/bin:/bin", &s, &err);
	if (r == 0) {
		r = shell_arguments(&s, script, &argv, &err);
		shell_done(&s);
	}
	if (r < 0)
		err_line(&err, result, sizeof(result));
	for (size_t i = 1; i < argv.count; i++) {
		strcat(result, "[");
		strcat(result, argv.items[i]);
		strcat(result, "]");
	}
	strv_done(&argv);
	return result;
}

static void builtin_shells_have_their_arguments(void **state)
{
	(void)state;
	assert_string_equal(arguments(NULL, "/t/x.sh"), "[-e][/t/x.sh]");
	assert_string_equal(arguments("", "/t/x.sh"), "[-e][/t/x.sh]");
	assert_string_equal(arguments("bash", "/t/x.sh"), "[--noprofile][--norc][-e][-o][pipefail][/t/x.sh]");
	assert_string_equal(arguments("sh", "/t/x.sh"), "[-e][/t/x.sh]");
	assert_string_equal(arguments("bash   ", "/t/x.sh"), "[--noprofile][--norc][-e][-o][pipefail][/t/x.sh]");
}

static void a_shell_that_is_not_looked_up_is_used_by_its_name(void **state)
{
	(void)state;
	struct shell s;
	shell_choose_unseen(NULL, &s);
	assert_string_equal(s.program, "sh");
	assert_string_equal(s.format, "-e {0}");
	shell_done(&s);
	shell_choose_unseen("nowhere {0} x", &s);
	assert_string_equal(s.program, "nowhere");
	assert_string_equal(s.format, "{0} x");
	shell_done(&s);
	struct strv none = {.count = 0};
	shell_choose_unseen("nowhere", &s);
	assert_int_equal(shell_arguments(&s, "/t/x", &none, NULL), ERR_INVALID);
	assert_int_equal(none.count, 0);
	shell_done(&s);
}

static void a_format_is_split_into_words(void **state)
{
	(void)state;
	assert_string_equal(arguments("bash -x \"{0}\" 'a b'", "/t/x y.sh"), "[-x][/t/x y.sh]['a][b']");
	assert_string_equal(arguments("bash {{{0}}} a\\b \"c\\\"d\" \"\"", "x"), "[{x}][a\\b][c\"d][]");
	assert_string_equal(arguments("bash a\\\\\"b c\" {0}", "x"), "[a\\b c][x]");
	assert_string_equal(arguments("bash \"{0}\"", "a\"b"), "[a\"b]");
	assert_non_null(strstr(arguments("bash -c x", "x"), "Invalid shell option."));
	assert_non_null(strstr(arguments("bash {0} {1}", "x"), "brace"));
}

static void a_missing_shell_is_named(void **state)
{
	(void)state;
	assert_string_equal(arguments("no-such-shell {0}", "x"), "no-such-shell: command not found");
	assert_string_equal(arguments("BASH", "x"), "BASH: command not found");
}

static void scripts_of_powershell_get_their_frame(void **state)
{
	(void)state;
	struct shell s = {.command = (char *)"pwsh"};
	char *text = shell_script(&s, "x");
	assert_true(strncmp(text, "$ErrorActionPreference = 'stop'\nx\nif (", 38) == 0);
	free(text);
	s.command = (char *)"bash";
	text = shell_script(&s, "x");
	assert_string_equal(text, "x");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(builtin_shells_have_their_arguments),
		cmocka_unit_test(a_shell_that_is_not_looked_up_is_used_by_its_name),
		cmocka_unit_test(a_format_is_split_into_words),
		cmocka_unit_test(a_missing_shell_is_named),
		cmocka_unit_test(scripts_of_powershell_get_their_frame),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
