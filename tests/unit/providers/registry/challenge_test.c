#include "unit/cmocka_all.h"
#include "base/core/mem.h"
#include "providers/registry/challenge.h"

static void a_bearer_challenge_is_read_with_its_quotes_and_escapes(void **state)
{
	(void)state;
	struct registry_challenge c _cleanup_(registry_challenge_done) = {0};
	assert_int_equal(
		registry_challenge_read("Bearer realm=\"https://auth.example/token?a=b,c\",service=\"re\\\"gistry\" , "
	                                "scope=\"repository:a/b:pull,push\",error=insufficient_scope",
	                                &c, NULL),
		0);
	assert_true(c.bearer);
	assert_false(c.basic);
	assert_string_equal(c.realm, "https://auth.example/token?a=b,c");
	assert_string_equal(c.service, "re\"gistry");
	assert_string_equal(c.scope, "repository:a/b:pull,push");
	assert_string_equal(c.error, "insufficient_scope");
}

static void several_challenges_in_one_header_are_told_apart(void **state)
{
	(void)state;
	struct registry_challenge c _cleanup_(registry_challenge_done) = {0};
	assert_int_equal(
		registry_challenge_read("Basic realm=\"r, Bearer realm=evil\", Bearer realm=\"https://a/t\", Negotiate",
	                                &c, NULL),
		0);
	assert_true(c.basic);
	assert_true(c.bearer);
	assert_string_equal(c.realm, "https://a/t");
	registry_challenge_done(&c);
	assert_int_equal(registry_challenge_read("Basic", &c, NULL), 0);
	assert_true(c.basic);
	assert_false(c.bearer);
}

static void what_cannot_be_answered_is_refused(void **state)
{
	(void)state;
	const char *const bad[] = {"",
	                           "Negotiate",
	                           "Bearer",
	                           "Bearer service=x",
	                           "Bearer =x",
	                           "Bearer realm=\"open",
	                           "Bearer realm=\"a\\",
	                           "Bearer realm=\"a\nb\"",
	                           "\"quoted\"",
	                           "Bearer\x01realm=x"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct registry_challenge c = {0};
		struct err err = ERR_INIT;
		assert_int_equal(registry_challenge_read(bad[i], &c, &err), ERR_PROTOCOL);
		assert_null(c.realm);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_bearer_challenge_is_read_with_its_quotes_and_escapes),
		cmocka_unit_test(several_challenges_in_one_header_are_told_apart),
		cmocka_unit_test(what_cannot_be_answered_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
