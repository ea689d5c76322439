#include "unit/cmocka_all.h"
#include "base/git/module_url.h"

#include <string.h>

static void addresses_are_relative_to_the_origin_as_git_has_it(void **state)
{
	static const char *const cases[][3] = {
		{"https://h/o/n.git", "../x.git", "https://h/o/x.git"},
		{"https://h/o/n.git/", "../../p/x", "https://h/p/x"},
		{"https://h/o/n", "./x", "https://h/o/n/x"},
		{"https://h/o/n", "./../x/", "https://h/o/x"},
		{"git@h:o/n.git", "../x.git", "git@h:o/x.git"},
		{"git@h:o/n.git", "../../p/x.git", "git@h:p/x.git"},
		{"git@h:n.git", "../x.git", "git@h:x.git"},
		{"https://h/o/n", "https://other/x", "https://other/x"},
		{"https://h/o/n", "git@other:x", "git@other:x"},
		{"https://h/o/n", "/etc/x", "/etc/x"},
		{"https://h/o/n", "../../../evil/x", "https://evil/x"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		_cleanup_free_ char *whole = git_module_absolute(cases[i][0], cases[i][1]);
		assert_string_equal(whole, cases[i][2]);
	}
}

static void the_token_is_for_the_server_alone(void **state)
{
	static const struct {
		const char *url, *fetched, *login;
		bool ours;
	} cases[] = {
		{"https://git.example/a/b.git/", "https://git.example/a/b.git", "", true},
		{"HTTPS://GIT.example:443/a/b", "https://GIT.example:443/a/b", "", true},
		{"git@git.example:a/b.git", "https://git.example/a/b.git", "", true},
		{"org-42@github.com:a/b", "https://git.example/a/b", "", true},
		{"ssh://git@git.example/a/b", "https://git.example/a/b", "", true},
		{"https://user:w%40rd@git.example/a/b", "https://git.example/a/b", "user:w@rd", true},
		{"http://git.example/a/b", "http://git.example/a/b", "", false},
		{"https://git.example:8443/a/b", "https://git.example:8443/a/b", "", false},
		{"https://git.example.evil/a/b", "https://git.example.evil/a/b", "", false},
		{"https://git.example@evil.example/a/b", "https://evil.example/a/b", "git.example:", false},
		{"https://evil.example/https://git.example/", "https://evil.example/https://git.example", "", false},
	};
	const struct git_module_server server = {.url = "https://git.example/o/top", .owner_id = "42"};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct git_module_source s _cleanup_(git_module_source_done) = {.url = NULL};
		struct err err = ERR_INIT;
		assert_int_equal(git_module_find(&server, cases[i].url, &s, &err), 0);
		assert_string_equal(s.url, cases[i].fetched);
		assert_string_equal(str_peek(&s.login), cases[i].login);
		assert_int_equal(s.ours, cases[i].ours);
	}
}

static void what_is_not_fetched_is_told(void **state)
{
	static const struct {
		const char *url;
		int result;
		const char *says;
	} cases[] = {
		{"file:///srv/x", ERR_REFUSED, "transport 'file' not allowed"},
		{"/srv/x", ERR_REFUSED, "transport 'file' not allowed"},
		{"srv/x", ERR_REFUSED, "transport 'file' not allowed"},
		{"ext::sh -c x", ERR_REFUSED, "transport 'ext' not allowed"},
		{"fd::17/x", ERR_REFUSED, "transport 'fd' not allowed"},
		{"git@elsewhere.example:a/b", ERR_UNSUPPORTED, "SSH"},
		{"git@git.example.evil:a/b", ERR_UNSUPPORTED, "SSH"},
		{"ssh://git@elsewhere.example/a", ERR_UNSUPPORTED, "SSH"},
		{"org-43@github.com:a/b", ERR_UNSUPPORTED, "SSH"},
		{"git://git.example/a", ERR_UNSUPPORTED, "this protocol"},
		{"https://", ERR_INVALID, "address"},
	};
	const struct git_module_server server = {.url = "https://git.example/o/top", .owner_id = "42"};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct git_module_source s _cleanup_(git_module_source_done) = {.url = NULL};
		struct err err = ERR_INIT;
		char line[1024];
		assert_int_equal(git_module_find(&server, cases[i].url, &s, &err), cases[i].result);
		assert_non_null(strstr(err_line(&err, line, sizeof(line)), cases[i].says));
	}
}

static void with_a_key_addresses_behind_ssh_stand_for_themselves(void **state)
{
	static const struct {
		const char *url, *fetched;
		bool ours, ssh;
	} cases[] = {
		{"git@git.example:a/b.git/", "git@git.example:a/b.git/", false, true},
		{"git.example:a/b", "git.example:a/b", false, true},
		{"git@[::1]:a/b", "git@[::1]:a/b", false, true},
		{"org-42@github.com:a/b", "org-42@github.com:a/b", false, true},
		{"ssh://git@git.example/a/b", "ssh://git@git.example/a/b", false, true},
		{"git+ssh://h/a/b", "git+ssh://h/a/b", false, true},
		{"ssh+git://h/a/b", "ssh+git://h/a/b", false, true},
		{"https://git.example/a/b", "https://git.example/a/b", true, false},
		{"https://other.example/a/b", "https://other.example/a/b", false, false},
	};
	const struct git_module_server server = {.url = "https://git.example/o/top", .owner_id = "42", .by_ssh = true};
	static const char *const refused[] = {"/srv/x", "./a:b", "ext::sh -c x", "git::x", "SSH://h/x", "git://h/x"};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct git_module_source s _cleanup_(git_module_source_done) = {.url = NULL};
		struct err err = ERR_INIT;
		assert_int_equal(git_module_find(&server, cases[i].url, &s, &err), 0);
		assert_string_equal(s.url, cases[i].fetched);
		assert_int_equal(s.ours, cases[i].ours);
		assert_int_equal(s.ssh, cases[i].ssh);
	}
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		struct git_module_source s _cleanup_(git_module_source_done) = {.url = NULL};
		struct err err = ERR_INIT;
		assert_true(git_module_find(&server, refused[i], &s, &err) < 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_are_relative_to_the_origin_as_git_has_it),
		cmocka_unit_test(the_token_is_for_the_server_alone),
		cmocka_unit_test(what_is_not_fetched_is_told),
		cmocka_unit_test(with_a_key_addresses_behind_ssh_stand_for_themselves),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
