#include "unit/cmocka_all.h"
#include "agent/actions/checkout.h"

#include <string.h>

static const struct checkout_job push = {"octo/demo", "push", "https://github.com", "/w/demo/demo"};
static const struct checkout_job target = {"octo/demo", "pull_request_target", "https://github.com", "/w/demo/demo"};

/* The member of what our step gets, or why it does not. */
static char *member(const struct checkout_job *job, int major, json_t *given, const char *name)
{
	struct checkout_inputs in;
	char *why = NULL;
	bool honours = checkout_honours(job, major, given, &in, &why);
	char *text = honours ? xstrdup(json_get_string(in.step, name)) : why;
	checkout_inputs_done(&in);
	json_decref(given);
	return text;
}

#define GIVES(job, major, given, name, wanted)                                                                         \
	do {                                                                                                           \
		_cleanup_free_ char *text = member(job, major, given, name);                                           \
		assert_string_equal(text != NULL ? text : "(none)", wanted);                                           \
	} while (0)

static void tags_of_four_versions_are_known(void **state)
{
	(void)state;
	static const struct {
		const char *ref;
		int major;
	} cases[] = {
		{"v4", 4},      {"v4.2.2", 4}, {"v7", 7},   {"v5.0", 5},
		{"v3", 0},      {"v8", 0},     {"v40", 0},  {"4", 0},
		{"v", 0},       {"v4.", 0},    {"v4.x", 0}, {"v4.1.2.3", 0},
		{"v4-beta", 0}, {"main", 0},   {NULL, 0},   {"11bd71901bbe5b1630ceea73d27597364c9af683", 0},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(checkout_major(cases[i].ref), cases[i].major);
}

static void texts_are_taken_as_the_action_does(void **state)
{
	(void)state;
	GIVES(&push, 4, json_object(), "path", ".");
	GIVES(&push, 4, json_pack("{s:s}", "Path", "/w/demo/demo/sub/../x"), "path", "x");
	GIVES(&push, 4, json_pack("{s:s}", "path", "/w/demo/demo"), "path", ".");
	GIVES(&push, 4, json_pack("{s:s}", "path", "/w/demo/demolition"), "path", "/w/demo/demolition");
	GIVES(&push, 4, json_pack("{s:s}", "path", "../x"), "path", "../x");
	GIVES(&push, 4, json_pack("{s:s}", "clean", "FALSE"), "clean", "false");
	GIVES(&push, 4, json_pack("{s:s}", "clean", ""), "clean", "true");
	GIVES(&push, 4, json_pack("{s:s}", "fetch-depth", "0"), "fetch-depth", "0");
	GIVES(&push, 4, json_pack("{s:s,s:s}", "fetch-depth", "0", "fetch-tags", "True"), "fetch-tags", "true");
	GIVES(&push, 4, json_pack("{s:s}", "fetch-tags", "yes"), "fetch-tags", "false");
	GIVES(&push, 4, json_pack("{s:s}", "sparse-checkout", " a/b \r\n\n  c d\n"), "sparse-checkout", "a/b\nc d");
	GIVES(&push, 4, json_pack("{s:s}", "sparse-checkout", "a"), "sparse-checkout-cone-mode", "true");
	GIVES(&push, 4, json_pack("{s:s,s:s}", "sparse-checkout", "/*\n!*.c", "sparse-checkout-cone-mode", "no"),
	      "sparse-checkout", "/*\n!*.c");
	GIVES(&push, 4, json_pack("{s:s,s:s}", "sparse-checkout", "a", "submodules", "true"), "submodules", "true");
	GIVES(&push, 4, json_pack("{s:s}", "filter", "blob:limit=10M"), "filter", "blob:limit=10M");
	GIVES(&push, 4, json_pack("{s:s}", "github-server-url", "https://GitHub.com/"), "server", "(none)");
	GIVES(&push, 4, json_pack("{s:s,s:s,s:s}", "lfs", "no", "submodules", "no", "sparse-checkout", " \n"), "lfs",
	      "false");
	GIVES(&push, 4, json_pack("{s:s}", "lfs", "TRUE"), "lfs", "true");
	GIVES(&push, 4, json_pack("{s:s}", "submodules", "True"), "submodules", "true");
	GIVES(&push, 4, json_pack("{s:s}", "submodules", "RECURSIVE"), "submodules", "recursive");
	GIVES(&push, 4, json_pack("{s:s}", "submodules", "all"), "submodules", "(none)");
	GIVES(&push, 4, json_pack("{s:s,s:s}", "ssh-key", "k", "ssh-user", "me"), "ssh-user", "me");
	GIVES(&push, 4, json_pack("{s:s,s:s,s:s}", "ssh-key", "k", "ssh-strict", "TRUE", "ssh-known-hosts", "h"),
	      "ssh-known-hosts", "h");
	GIVES(&push, 4, json_pack("{s:s,s:s}", "ssh-key", " \n", "ssh-known-hosts", "h"), "ssh-known-hosts", "(none)");
	GIVES(&push, 4, json_pack("{s:s,s:s}", "ssh-key", "k", "ssh-strict", "false"), "ssh-key", "k");
	GIVES(&push, 4, json_pack("{s:s,s:s}", "ssh-key", "k", "ssh-user", "-oX"), "ssh-key",
	      "`ssh-user` has an unusual form");
	GIVES(&push, 4, json_pack("{s:s,s:s}", "ssh-key", "k", "lfs", "true"), "lfs", "true");
	GIVES(&push, 4, json_pack("{s:s,s:s}", "ssh-key", "k", "submodules", "true"), "submodules", "true");
}

static void what_is_not_carried_out_is_named(void **state)
{
	(void)state;
	static const char *const asks[][2] = {
		{"sparse-checkout", "/docs"},
		{"sparse-checkout", "a\n!b"},
		{"sparse-checkout", "../a"},
		{"sparse-checkout", "*.c"},
		{"sparse-checkout", "--no-cone\n/*"},
		{"filter", "sparse:oid=x"},
		{"filter", "tree:1k"},
		{"filter", "blob:limit=1kk"},
		{"token", ""},
		{"clean", "yes"},
		{"fetch-depth", "-1"},
		{"fetch-depth", "1.5"},
		{"ref", "refs/heads/*"},
		{"ref", "REFS/heads/main"},
		{"ref", "main~1"},
		{"repository", "octo"},
		{"repository", "a/b/c"},
		{"github-server-url", "https://github.com.example"},
		{"depth", "1"},
		{"allow-unsafe-pr-checkout", "true"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(asks); i++) {
		_cleanup_free_ char *why = member(&push, 4, json_pack("{s:s}", asks[i][0], asks[i][1]), "-");
		assert_non_null(why);
		_cleanup_free_ char *name = xasprintf("`%s`", asks[i][0]);
		assert_non_null(strstr(why, name));
	}
}

static void the_action_judges_forks_where_the_job_has_the_repository_s_rights(void **state)
{
	(void)state;
	GIVES(&target, 7, json_object(), "path", ".");
	GIVES(&target, 7, json_pack("{s:s}", "repository", "Octo/Demo"), "path", ".");
	GIVES(&target, 7, json_pack("{s:s}", "ref", "refs/pull/1/merge"), "ref",
	      "`ref` may bring in the code of a fork, which the action judges");
	GIVES(&target, 4, json_pack("{s:s}", "repository", "evil/demo"), "repository",
	      "`repository` may bring in the code of a fork, which the action judges");
	GIVES(&target, 7, json_pack("{s:s,s:s}", "ref", "abc", "allow-unsafe-pr-checkout", "true"), "ref", "abc");
}

static void hosts_that_nothing_names_are_left_to_ssh_where_the_step_says_so(void **state)
{
	(void)state;
	static const struct {
		const char *strict;
		bool lax;
	} cases[] = {{"true", false}, {"TRUE", false}, {" ", false}, {"false", true}, {"no", true}};
	struct checkout_inputs in;
	char *why = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_json_ json_t *given = json_pack("{s:s,s:s}", "ssh-strict", cases[i].strict, "ssh-key", "k"),
				      *keyless = json_pack("{s:s}", "ssh-strict", cases[i].strict);
		assert_true(checkout_honours(&push, 6, given, &in, &why));
		assert_int_equal(in.lax, cases[i].lax);
		checkout_inputs_done(&in);
		assert_true(checkout_honours(&push, 6, keyless, &in, &why));
		assert_false(in.lax);
		checkout_inputs_done(&in);
	}
}

static void the_token_stays_unless_that_is_refused(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		bool keeps;
	} cases[] = {{"true", true}, {"True", true}, {"false", false}, {"", false}, {"yes", false}};
	struct checkout_inputs in;
	char *why = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_json_ json_t *given =
			json_pack("{s:s,s:s}", "persist-credentials", cases[i].text, "token", "t");
		assert_true(checkout_honours(&push, 6, given, &in, &why));
		assert_int_equal(in.keeps, cases[i].keeps);
		assert_string_equal(in.token, "t");
		checkout_inputs_done(&in);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tags_of_four_versions_are_known),
		cmocka_unit_test(texts_are_taken_as_the_action_does),
		cmocka_unit_test(what_is_not_carried_out_is_named),
		cmocka_unit_test(the_action_judges_forks_where_the_job_has_the_repository_s_rights),
		cmocka_unit_test(hosts_that_nothing_names_are_left_to_ssh_where_the_step_says_so),
		cmocka_unit_test(the_token_stays_unless_that_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
