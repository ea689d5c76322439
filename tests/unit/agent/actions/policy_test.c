#include "unit/cmocka_all.h"
#include "agent/actions/policy.h"

#include "agent/template/uses.h"

#include <string.h>

#define COMMIT "0123456789abcdef0123456789abcdef01234567"

static bool allows(const char *policy, const char *uses)
{
	_cleanup_json_ json_t *reference = NULL;
	struct err err = ERR_INIT;
	assert_true(uses_read(uses, &reference, &err) == 0);
	bool allowed = policy_allows(policy, reference, &err) == 0;
	assert_true(allowed || (strstr(err.frames[0].text, "uses: ") != NULL && strstr(err.hint, "--actions") != NULL));
	return allowed;
}

static void a_list_names_what_may_run(void **state)
{
	(void)state;
	assert_true(allows("", "octo/a@main"));
	assert_true(allows("all", "octo/a/b@main"));
	assert_true(allows("all", "docker://alpine"));
	assert_false(allows("none", "octo/a@main"));
	assert_false(allows("none", "./a"));
	assert_false(allows(",", "octo/a@main"));
	assert_true(allows("octo/*, ./", "Octo/a/b@main"));
	assert_true(allows("octo/*, ./", "./a/b"));
	assert_false(allows("octo/*", "octopus/a@main"));
	assert_false(allows("octo/*", "./a"));
	assert_false(allows("octo/*", "docker://octo/a"));
	assert_true(allows("octo/a", "octo/a/b@v1"));
	assert_false(allows("octo/a", "octo/ab@v1"));
	assert_false(allows("octo/a/b", "octo/a@v1"));
	assert_true(allows("docker://ghcr.io/octo/*", "docker://ghcr.io/octo/x:1"));
	assert_false(allows("docker://ghcr.io/octo/*", "docker://evil.io/ghcr.io/octo/x"));
}

static void an_image_of_a_job_passes_the_same_list(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	assert_int_equal(policy_allows_image("", "alpine", NULL), 0);
	assert_int_equal(policy_allows_image("octo/*,docker://alpine", "alpine:3", NULL), 0);
	assert_int_equal(policy_allows_image("octo/*,pinned", "octo/alpine", &err), ERR_REFUSED);
	assert_non_null(strstr(err.frames[0].text, "docker://octo/alpine is not among the images"));
	assert_non_null(strstr(err.hint, "--actions octo/*,pinned"));
}

static void a_word_is_for_names_of_its_own_kind(void **state)
{
	(void)state;
	assert_true(allows("*/checkout", "octo/checkout@v4"));
	assert_false(allows("*/checkout", "docker://evil.io/x/checkout"));
	assert_false(allows("*/*", "docker://evil.io/x"));
	assert_false(allows("d*/*", "docker://evil.io/x"));
	assert_false(allows("*/*,pinned", "docker://evil.io/x:latest"));
	assert_false(allows("*/*,pinned", "./a"));
	assert_false(allows("docker://*", "octo/a@v1"));
	assert_false(allows("docker://*", "./a"));
	assert_true(allows("docker://*", "docker://ghcr.io/octo/x:1"));
}

static void an_image_is_allowed_with_all_of_its_tags_and_with_nothing_below_it(void **state)
{
	(void)state;
	static const char *const good[] = {"alpine", "alpine:3.20", "alpine@sha256:" COMMIT,
	                                   "alpine:3.20@sha256:" COMMIT};
	static const char *const bad[] = {"alpine/anything", "alpines", "alpine:5000/x", "alpine@x/y",
	                                  "evil.io/alpine"};
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		_cleanup_free_ char *uses = xasprintf("docker://%s", good[i]);
		assert_true(allows("docker://alpine", uses));
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_free_ char *uses = xasprintf("docker://%s", bad[i]);
		assert_false(allows("docker://alpine", uses));
	}
	assert_true(allows("docker://alpine:3.20", "docker://alpine:3.20@sha256:" COMMIT));
	assert_false(allows("docker://alpine:3.20", "docker://alpine:3.2"));
	assert_true(allows("docker://localhost:5000/x", "docker://localhost:5000/x:1"));
}

static void pinned_asks_for_whole_commits_of_other_repositories(void **state)
{
	(void)state;
	assert_true(allows("pinned", "octo/a@" COMMIT));
	assert_true(allows("pinned", "./a"));
	assert_false(allows("pinned", "octo/a@v1"));
	assert_false(allows("pinned", "docker://evil:latest"));
	assert_true(allows("docker://good,pinned", "docker://good:latest"));
	assert_false(allows("all,pinned", "octo/a@0123456"));
	assert_false(allows("other/*,pinned", "octo/a@" COMMIT));
	assert_true(allows("OCTO/*,pinned", "octo/a@" COMMIT));
}

static void a_word_that_names_nothing_is_refused_when_it_is_configured(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	static const char *const good[] = {"all", "none", "pinned", "octo/*,./", "octo/a , pinned", "docker://x"};
	static const char *const bad[] = {"octo",   "/a", "octo/", "octo/a@v1", "none,octo/a",
	                                  "all,..", "",   ",",     " \n, "};
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_int_equal(policy_check(good[i], &err), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_true(policy_check(bad[i], NULL) < 0);
	assert_true(policy_check("", &err) < 0);
	assert_string_equal(err.hint, "write all or none");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_list_names_what_may_run),
		cmocka_unit_test(an_image_of_a_job_passes_the_same_list),
		cmocka_unit_test(a_word_is_for_names_of_its_own_kind),
		cmocka_unit_test(an_image_is_allowed_with_all_of_its_tags_and_with_nothing_below_it),
		cmocka_unit_test(pinned_asks_for_whole_commits_of_other_repositories),
		cmocka_unit_test(a_word_that_names_nothing_is_refused_when_it_is_configured),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
