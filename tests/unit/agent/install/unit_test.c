#include "unit/cmocka_all.h"
#include "agent/install/unit.h"
#include "agent/install/user.h"

#include <stdio.h>

static const char *text_of(const struct unit *u)
{
	static char text[16384];
	struct err err = ERR_INIT;
	_cleanup_(str_done) struct str out = STR_INIT(sizeof(text) - 1);
	assert_int_equal(unit_text(u, &out, &err), 0);
	snprintf(text, sizeof(text), "%s", str_peek(&out));
	return text;
}

static struct unit a_unit(void)
{
	return (struct unit){.program = "/usr/bin/davit", .worker_user = "davit", .worker_home = "/var/lib/davit-jobs"};
}

static void words_of_a_path_mean_nothing_to_systemd(void **state)
{
	(void)state;
	struct unit u = a_unit();
	u.program = "/opt/my $HOME/%h/\"davit\\";
	u.state = "/srv/$5 of 100%";
	const char *text = text_of(&u);
	assert_non_null(
		strstr(text, "\nExecStart=\"/opt/my $$HOME/%%h/\\\"davit\\\\\" agent run --worker-user davit\n"));
	assert_non_null(strstr(text, "\nEnvironment=\"DAVIT_STATE=/srv/$5 of 100%%\"\n"));
	assert_non_null(strstr(text, "\nReadWritePaths=\"/srv/$5 of 100%%\"\n"));
}

static void a_path_that_would_add_a_line_is_refused(void **state)
{
	(void)state;
	static const char *const paths[] = {"/srv/x\nExecStartPre=/bin/evil", "srv", "/srv/\xff", "/srv/\xe2\x80\xae"};
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		struct unit u = a_unit();
		struct err err = ERR_INIT;
		_cleanup_(str_done) struct str out = STR_INIT(16384);
		strv_add(&u.writable, paths[i]);
		assert_int_equal(unit_text(&u, &out, &err), ERR_INVALID);
		assert_int_equal(out.len, 0);
		strv_done(&u.writable);
	}
}

static void homes_are_closed_unless_something_that_is_needed_lies_there(void **state)
{
	(void)state;
	struct unit u = a_unit();
	assert_non_null(strstr(text_of(&u), "\nProtectHome=yes\n"));
	u.worker_home = "/home/davit";
	assert_non_null(strstr(text_of(&u), "\nProtectHome=read-only\n"));
	u.worker_home = "/homes/davit";
	assert_non_null(strstr(text_of(&u), "\nProtectHome=yes\n"));
	strv_add(&u.writable, "/root/shop");
	assert_non_null(strstr(text_of(&u), "\nProtectHome=read-only\n"));
	strv_done(&u.writable);
}

static void privileged_jobs_keep_the_means_to_become_root(void **state)
{
	(void)state;
	struct unit u = a_unit();
	assert_non_null(strstr(text_of(&u), "\nNoNewPrivileges=yes\n"));
	u.privileged_jobs = true;
	const char *text = text_of(&u);
	static const char *const taken[] = {"NoNewPrivileges", "ProtectSystem", "CapabilityBoundingSet",
	                                    "PrivateDevices"};
	for (size_t i = 0; i < ARRAY_SIZE(taken); i++)
		assert_null(strstr(text, taken[i]));
	assert_true(unit_is_own(text));
	assert_false(unit_is_own("[Unit]\n"));
}

static void a_name_that_is_an_option_or_a_path_is_no_user(void **state)
{
	(void)state;
	static const char *const wrong[] = {"",    "-r",    "1st", "a b",
	                                    "a/b", "Davit", "a%i", "abcdefghijabcdefghijabcdefghijab"};
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_int_equal(user_check_name(wrong[i], NULL), ERR_INVALID);
	assert_int_equal(user_check_name("davit-7", NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_of_a_path_mean_nothing_to_systemd),
		cmocka_unit_test(a_path_that_would_add_a_line_is_refused),
		cmocka_unit_test(homes_are_closed_unless_something_that_is_needed_lies_there),
		cmocka_unit_test(privileged_jobs_keep_the_means_to_become_root),
		cmocka_unit_test(a_name_that_is_an_option_or_a_path_is_no_user),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
