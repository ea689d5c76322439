/* Which records of an API's resources the input of a step names. */
#include "unit/cmocka_all.h"
#include "base/data/json.h"
#include "engine/change/address.h"

static bool named(const char *address, const char *input)
{
	struct change c = {0};
	_cleanup_json_ json_t *value = json_loads(input, 0, NULL);
	assert_non_null(value);
	char *path = (char *)(uintptr_t)address;
	c.path = path;
	return address_is_named(&c, value);
}

static const char web[] = "{\"resources\": [{\"file\": {\"path\": \"/a\"}}, {\"lxc\": {\"name\": \"web\"}}],"
			  " \"allow_destroy\": [\"lxc:old=105\", 7]}";

static void a_resource_of_the_file_is_named_by_its_kind_and_name(void **state)
{
	(void)state;
	assert_true(named("lxc:web", web));
	assert_false(named("lxc:we", web));
	assert_false(named("lxc:web2", web));
	assert_false(named("qemu:web", web));
	assert_false(named("file:", web));
}

static void what_allow_destroy_lets_go_is_named_by_its_whole_address(void **state)
{
	(void)state;
	assert_true(named("lxc:old", web));
	assert_false(named("lxc:ol", web));
	assert_false(named("lxc:old=105", web));
}

static void an_input_without_resources_names_nothing(void **state)
{
	(void)state;
	assert_false(named("lxc:web", "{}"));
	assert_false(named("lxc:web", "{\"resources\": {\"lxc\": {}}, \"allow_destroy\": \"lxc:web=1\"}"));
	assert_false(named("lxc:web", "{\"resources\": [\"lxc:web\", null, {\"lxc\": null}]}"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_resource_of_the_file_is_named_by_its_kind_and_name),
		cmocka_unit_test(what_allow_destroy_lets_go_is_named_by_its_whole_address),
		cmocka_unit_test(an_input_without_resources_names_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
