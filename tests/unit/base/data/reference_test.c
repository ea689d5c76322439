#include "unit/cmocka_all.h"
#include "base/core/mem.h"
#include "base/core/str.h"
#include "base/data/reference.h"

static void a_reference_is_found_wherever_it_stands(void **state)
{
	const char *const text = "ip=${{ resources.web.ip }}, ${{resources.db-1.vmid}}";
	struct reference r;
	(void)state;
	assert_true(reference_find(text, 0, &r));
	assert_string_equal(r.name, "web");
	assert_string_equal(r.attribute, "ip");
	assert_int_equal(r.at, 3);
	assert_true(reference_find(text, r.at + r.len, &r));
	assert_string_equal(r.name, "db-1");
	assert_string_equal(r.attribute, "vmid");
	assert_int_equal(r.at + r.len, strlen(text));
	assert_false(reference_find(text, r.at + r.len, &r));
}

static void other_expressions_are_no_references(void **state)
{
	static const char *const others[] = {"",
	                                     "${{",
	                                     "${{ resources.web }}",
	                                     "${{ resources.web.ip",
	                                     "${{ resources.web.ip || 'x' }}",
	                                     "${{ steps.web.ip }}",
	                                     "${{ resources..ip }}",
	                                     "$ {{ resources.web.ip }}"};
	char name[201] = "";
	struct reference r;
	(void)state;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_false(reference_find(others[i], 0, &r));
	memset(name, 'x', sizeof(name) - 1);
	_cleanup_free_ char *long_name = xasprintf("${{ resources.%s.ip }}", name);
	assert_false(reference_find(long_name, 0, &r));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_reference_is_found_wherever_it_stands),
		cmocka_unit_test(other_expressions_are_no_references),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
