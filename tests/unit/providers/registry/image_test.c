#include "unit/cmocka_all.h"
#include "base/core/mem.h"
#include "providers/registry/image.h"

#include <string.h>

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void names_are_taken_apart(void **state)
{
	(void)state;
	struct registry_image i _cleanup_(registry_image_done) = {0};
	assert_int_equal(registry_image_read("a/b-c/d__e.f:v1.2_3", &i, NULL), 0);
	assert_string_equal(i.repository, "a/b-c/d__e.f");
	assert_string_equal(i.tag, "v1.2_3");
	assert_string_equal(registry_image_reference(&i), "v1.2_3");
	registry_image_done(&i);
	assert_int_equal(registry_image_read("shop:live@sha256:" HEX64, &i, NULL), 0);
	assert_string_equal(i.repository, "shop");
	assert_string_equal(i.tag, "live");
	assert_string_equal(registry_image_reference(&i), "sha256:" HEX64);
}

static void what_no_registry_takes_is_refused_before_it_is_asked(void **state)
{
	(void)state;
	char long_name[300];
	memset(long_name, 'a', sizeof(long_name));
	memcpy(long_name + 290, ":t", 3);
	const char *const bad[] = {
		"",       "shop",     "Shop:1",  "shop:",           "shop:-a",        "a//b:1",
		"/a:1",   "a/:1",     "a..b:1",  "a___b:1",         "a-:1",           "-a:1",
		"../x:1", "a/../b:1", "a b:1",   "a:b c",           "shop@sha256:ab", "shop@sha512:" HEX64,
		"a?b:1",  "a%2f:1",   "a:1?x=1", "ghcr.io:443/a:1", "a:b/c",          long_name};
	for (size_t k = 0; k < sizeof(bad) / sizeof(bad[0]); k++) {
		struct registry_image i = {0};
		struct err err = ERR_INIT;
		if (registry_image_read(bad[k], &i, &err) != ERR_INVALID)
			fail_msg("'%s' was taken", bad[k]);
		assert_null(i.repository);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_taken_apart),
		cmocka_unit_test(what_no_registry_takes_is_refused_before_it_is_asked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
