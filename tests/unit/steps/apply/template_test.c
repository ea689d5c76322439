/* Files made from a template of the source tree. */
#include "unit/steps/step_fixture.h"
#include "base/secret/mask.h"

static void plan_and_apply(struct fixture *f)
{
	assert_int_equal(fixture_validate(f), 0);
	if (fixture_plan(f) < 0 || fixture_apply(f) < 0)
		fail_msg("%s", err_line(&f->err, f->text, sizeof(f->text)));
}

static void expect_refused(struct fixture *f, const char *template, const char *values, const char *words)
{
	_cleanup_free_ char *input =
		xasprintf("resources: [{ file: { path: DIR/shop.conf, source: shop.tmpl, values: %s } }]\n", values);
	fixture_write(f, "shop.tmpl", template, 0644);
	fixture_input(f, "apply", input);
	assert_int_equal(fixture_validate(f), 0);
	assert_true(fixture_plan(f) < 0);
	err_line(&f->err, f->text, sizeof(f->text));
	if (strstr(f->text, words) == NULL && strstr(f->err.hint, words) == NULL)
		fail_msg("'%s' is not in '%s' (%s)", words, f->text, f->err.hint);
	err_clear(&f->err);
}

static const char *const both =
	"resources:\n"
	"  - file: { id: limits, path: DIR/limits, content: '16', mode: '0640' }\n"
	"  - file:\n"
	"      path: DIR/shop.conf\n"
	"      source: shop.tmpl\n"
	"      values: { host: shop.example, limits: '${{ resources.limits.path }}', empty: '' }\n";

static void places_are_filled_with_values_and_references(void **state)
{
	struct fixture *f = *state;
	fixture_write(
		f, "shop.tmpl",
		"host ${{ values.host }}\nagain ${{values.host}}, ${{ values.empty }}.\nlimits ${{ values.limits }}\n"
		"$HOME ${HOME} {{ x }} }}",
		0644);
	fixture_input(f, "apply", both);
	plan_and_apply(f);
	_cleanup_free_ char *wanted = xasprintf(
		"host shop.example\nagain shop.example, .\nlimits %s/limits\n$HOME ${HOME} {{ x }} }}", f->dir);
	assert_file(f, "shop.conf", wanted);
	assert_int_equal(fixture_plan(f), 0);
	assert_int_equal(f->plan.count, 0);
	assert_int_equal(fixture_undo(f), 0);
}

static void a_value_is_not_filled_in_itself(void **state)
{
	struct fixture *f = *state;
	fixture_write(f, "shop.tmpl", "${{ values.a }}", 0644);
	fixture_input(
		f, "apply",
		"resources: [{ file: { path: DIR/shop.conf, source: shop.tmpl, values: { a: '${{ values.a }}' } } }]\n");
	plan_and_apply(f);
	assert_file(f, "shop.conf", "${{ values.a }}");
}

static void what_does_not_fit_together_is_refused_with_its_line(void **state)
{
	struct fixture *f = *state;
	expect_refused(f, "a\nb ${{ values.hst }}\n", "{ host: x }", "shop.tmpl:2: there is no value 'hst'");
	expect_refused(f, "a\nb ${{ values.hst }}\n", "{ host: x }", "did you mean 'host'?");
	expect_refused(f, "${{ values.host }}\n${{ vars.x }}", "{ host: x }", "shop.tmpl:2: '${{ vars.x ' is no place");
	expect_refused(f, "${{ values.host", "{ host: x }", "is no place");
	expect_refused(f, "${{ values.host || 1 }}", "{ host: x }", "is no place");
	expect_refused(f, "nothing", "{ host: x }", "has no place for the value 'host'");
}

static void values_need_a_source_and_names(void **state)
{
	struct fixture *f = *state;
	fixture_input(f, "apply",
	              "resources:\n"
	              "  - file: { path: /a, content: x, values: { a: b } }\n"
	              "  - file: { path: /b, source: x, values: { 'a b': c } }\n");
	assert_int_equal(fixture_validate(f), 2);
	assert_true(fixture_fault(f, "/resources/0/file/values", "only a `source` has places"));
	assert_true(fixture_fault(f, "/resources/1/file/values", "'a b' cannot be the name of a value"));
}

static void a_secret_never_gets_into_a_plan(void **state)
{
	struct fixture *f = *state;
	mask_add(mask_process(), "hunter2-hunter2", strlen("hunter2-hunter2"));
	fixture_input(f, "apply",
	              "resources: [{ file: { path: /a, source: x, values: { a: 'is hunter2-hunter2' } } }]\n");
	assert_int_equal(fixture_validate(f), 1);
	assert_true(fixture_fault(f, "/resources/0/file/values", "holds a secret"));
	/* Nor where it comes about only in the file. */
	expect_refused(f, "${{ values.a }}hunter2", "{ a: 'hunter2-' }", "would hold a secret");
	assert_int_equal(f->plan.count, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(places_are_filled_with_values_and_references),
		T(a_value_is_not_filled_in_itself),
		T(what_does_not_fit_together_is_refused_with_its_line),
		T(values_need_a_source_and_names),
		T(a_secret_never_gets_into_a_plan),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
