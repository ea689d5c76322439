#include "unit/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "agent/service/urls.h"

struct row {
	const char *url, *api, *entity;
	bool hosted;
};

static void each_form_of_url_has_its_api_and_entity(void **state)
{
	(void)state;
	static const struct row rows[] = {
		{"https://github.com/acme/widgets", "https://api.github.com", "repos/acme/widgets", true},
		{"https://github.com/acme/widgets/", "https://api.github.com", "repos/acme/widgets", true},
		{"https://GitHub.com/acme", "https://api.github.com", "orgs/acme", true},
		{"https://github.com/enterprises/big", "https://api.github.com", "enterprises/big", true},
		{"https://github.com/Enterprises/big", "https://api.github.com", "enterprises/big", true},
		{"https://acme.ghe.com/a/b", "https://api.acme.ghe.com", "repos/a/b", true},
		{"https://git.example/a/b", "https://git.example/api/v3", "repos/a/b", false},
		{"http://127.0.0.1:8080/a/b", "http://127.0.0.1:8080/api/v3", "repos/a/b", false},
		{"https://git.example:8443//a//b", "https://git.example:8443/api/v3", "repos/a/b", false},
		{"http://[::1]:9/a/b", "http://[::1]:9/api/v3", "repos/a/b", false},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct github_url u = {0};
		assert_int_equal(github_url_parse(rows[i].url, &u, NULL), 0);
		assert_string_equal(u.api, rows[i].api);
		assert_string_equal(u.entity, rows[i].entity);
		assert_int_equal(u.hosted, rows[i].hosted);
		github_url_done(&u);
	}
}

static void what_is_no_such_url_is_refused_with_the_forms(void **state)
{
	(void)state;
	static const char *const bad[] = {"",
	                                  "github.com/a/b",
	                                  "https://github.com",
	                                  "https://github.com/",
	                                  "https://github.com/a/b/c",
	                                  "ftp://github.com/a/b",
	                                  "https://github.com/a/b?x=1",
	                                  "https://u:p@github.com/a/b",
	                                  "https://github.com/a/..",
	                                  "https://github.com/a b/c",
	                                  "https://github.com/a%2fb/c",
	                                  "://"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct github_url u = {0};
		struct err err = ERR_INIT;
		if (github_url_parse(bad[i], &u, &err) != ERR_INVALID)
			fail_msg("'%s' was taken", bad[i]);
		assert_non_null(strstr(err.hint, "OWNER/REPO"));
	}
}

static void a_server_is_forced_to_be_ones_own_by_the_environment(void **state)
{
	(void)state;
	struct github_url u = {0};
	setenv("GITHUB_ACTIONS_RUNNER_FORCE_GHES", "true", 1);
	assert_int_equal(github_url_parse("https://github.com/a/b", &u, NULL), 0);
	unsetenv("GITHUB_ACTIONS_RUNNER_FORCE_GHES");
	assert_string_equal(u.api, "https://github.com/api/v3");
	github_url_done(&u);
}

static void the_same_site_is_the_host_with_its_port_or_below_it(void **state)
{
	(void)state;
	struct github_url u = {0};
	assert_int_equal(github_url_parse("https://git.example/a/b", &u, NULL), 0);
	assert_true(github_url_same_site(&u, "https://git.example/_services/x/"));
	assert_true(github_url_same_site(&u, "https://pipelines.git.example/x"));
	assert_false(github_url_same_site(&u, "https://evilgit.example/x"));
	assert_false(github_url_same_site(&u, "https://git.example.evil/x"));
	assert_false(github_url_same_site(&u, "https://git.example:99/x"));
	assert_false(github_url_same_site(&u, "nonsense"));
	github_url_done(&u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_form_of_url_has_its_api_and_entity),
		cmocka_unit_test(what_is_no_such_url_is_refused_with_the_forms),
		cmocka_unit_test(a_server_is_forced_to_be_ones_own_by_the_environment),
		cmocka_unit_test(the_same_site_is_the_host_with_its_port_or_below_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
