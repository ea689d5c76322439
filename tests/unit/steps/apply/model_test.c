/* What resources of one desired state have to do with each other: order, references; and attributes left to others, caps. */
#include "unit/steps/step_fixture.h"

static void plan_and_apply(struct fixture *f)
{
	assert_int_equal(fixture_validate(f), 0);
	if (fixture_plan(f) < 0 || fixture_apply(f) < 0)
		fail_msg("%s", err_line(&f->err, f->text, sizeof(f->text)));
}

/* The place of a change in the plan; the plan's size if there is none. */
static size_t place_of(const struct fixture *f, const char *path_end)
{
	size_t i = 0;
	while (i < f->plan.count && !str_ends(f->plan.changes[i].path, path_end))
		i++;
	return i;
}

static void a_resource_comes_after_those_that_it_depends_on_and_goes_before_them(void **state)
{
	struct fixture *f = *state;
	fixture_input(f, "apply",
	              "resources:\n"
	              "  - file: { path: DIR/a, content: a, depends_on: [last, 'file:DIR/m/n'] }\n"
	              "  - directory: { path: DIR/m }\n"
	              "  - file: { path: DIR/m/n, content: n, depends_on: last }\n"
	              "  - file: { id: last, path: DIR/z, content: z }\n");
	plan_and_apply(f);
	assert_int_equal(f->plan.count, 4);
	assert_true(place_of(f, "/z") < place_of(f, "/m/n"));
	assert_true(place_of(f, "/m") < place_of(f, "/m/n"));
	assert_int_equal(place_of(f, "/a"), 3);
	fixture_input(f, "apply",
	              "resources: []\n"
	              "allow_destroy: ['file:DIR/a', 'directory:DIR/m', 'file:DIR/m/n', 'file:DIR/z']\n");
	plan_and_apply(f);
	assert_int_equal(place_of(f, "/a"), 0);
	assert_true(place_of(f, "/m/n") < place_of(f, "/m"));
	assert_true(place_of(f, "/m/n") < place_of(f, "/z"));
	assert_null(fixture_read(f, "z"));
	assert_int_equal(fixture_undo(f), 0);
	assert_file(f, "m/n", "n");
}

static void a_cycle_is_shown_as_a_path(void **state)
{
	struct fixture *f = *state;
	fixture_input(f, "apply",
	              "resources:\n"
	              "  - file: { id: a, path: /a, content: a, depends_on: [b] }\n"
	              "  - file: { id: b, path: /b, content: b, depends_on: [c] }\n"
	              "  - file: { id: c, path: /c, content: c, depends_on: ['file:/a'] }\n"
	              "  - file: { id: d, path: /d, content: d, depends_on: [a] }\n");
	assert_int_equal(fixture_validate(f), 1);
	assert_true(
		fixture_fault(f, "/resources/0/file/depends_on", "in a cycle: file:/a → file:/b → file:/c → file:/a"));
	fixture_input(f, "apply",
	              "resources:\n"
	              "  - directory: { path: /e, depends_on: ['file:/e/f'] }\n"
	              "  - file: { path: /e/f, content: f }\n");
	assert_int_equal(fixture_validate(f), 1);
	assert_true(fixture_fault(f, NULL, "directory:/e → file:/e/f → directory:/e"));
}

static void a_dependency_on_nothing_names_the_nearest(void **state)
{
	struct fixture *f = *state;
	fixture_input(f, "apply",
	              "resources:\n"
	              "  - file: { id: settings, path: /a, content: a }\n"
	              "  - file: { id: settings, path: /b, content: b, depends_on: [setings, 'file:/zzz/far'] }\n");
	assert_int_equal(fixture_validate(f), 3);
	assert_true(fixture_fault(f, "/resources/1/file/id", "stands twice"));
	assert_true(fixture_fault(f, "/resources/1/file/depends_on", "depends on 'setings', which is not"));
	assert_string_equal(f->faults.items[1].hint, "did you mean 'settings'?");
	fixture_input(
		f, "apply",
		"resources: [{ file: { path: /a, content: a, ignore_changes: [contnt], replace_on: [mode] } }]\n");
	assert_int_equal(fixture_validate(f), 2);
	assert_true(fixture_fault(f, "/resources/0/file/ignore_changes", "a file has no attribute 'contnt'"));
	assert_string_equal(f->faults.items[0].hint, "did you mean 'content'?");
	assert_true(fixture_fault(f, "/resources/0/file/replace_on", "never replaced"));
}

static void what_is_ignored_is_set_once_and_left_alone_afterwards(void **state)
{
	struct fixture *f = *state;
	const char *const input =
		"resources: [{ file: { path: DIR/a, content: first, mode: '0640', ignore_changes: [content, mode] } }]\n";
	fixture_input(f, "apply", input);
	plan_and_apply(f);
	assert_file(f, "a", "first");
	fixture_write(f, "a", "somebody's", 0604);
	fixture_input(f, "apply", input);
	plan_and_apply(f);
	assert_file(f, "a", "somebody's");
	assert_int_equal(fixture_mode(f, "a"), 0604);
	fixture_input(
		f, "apply",
		"resources: [{ file: { path: DIR/a, content: first, mode: '0600', ignore_changes: [content] } }]\n");
	plan_and_apply(f);
	assert_file(f, "a", "somebody's");
	assert_int_equal(fixture_mode(f, "a"), 0600);
}

static void a_link_that_is_ignored_leads_where_somebody_led_it(void **state)
{
	struct fixture *f = *state;
	const char *const input = "resources: [{ link: { path: DIR/l, to: first, ignore_changes: [to] } }]\n";
	_cleanup_free_ char *link = fs_join(f->dir, "l");
	char target[32] = "";
	fixture_input(f, "apply", input);
	plan_and_apply(f);
	assert_int_equal(unlink(link), 0);
	assert_int_equal(symlink("elsewhere", link), 0);
	fixture_input(f, "apply", input);
	plan_and_apply(f);
	assert_int_equal(readlink(link, target, sizeof(target) - 1), strlen("elsewhere"));
	assert_string_equal(target, "elsewhere");
}

static void what_cannot_be_ignored_is_refused(void **state)
{
	struct fixture *f = *state;
	fixture_input(
		f, "apply",
		"resources:\n"
		"  - file: { path: /a, content: a, ignore_changes: [mode7] }\n"
		"  - lines: { path: /b, lines: [{ line: b }], ignore_changes: [lines] }\n"
		"  - qemu: { name: q, vmid: 1000, node: pve, storage: s, disk: 8G, ignore_changes: [net0, net, ipconfig12, net0x, memory7] }\n");
	assert_int_equal(fixture_validate(f), 4);
	assert_true(fixture_fault(f, "/resources/0/file/ignore_changes", "a file has no attribute 'mode7'"));
	assert_true(fixture_fault(f, "/resources/1/lines/ignore_changes", "is left alone anyway"));
	assert_true(fixture_fault(f, "/resources/2/qemu/ignore_changes", "a qemu has no attribute 'net0x'"));
	assert_true(fixture_fault(f, "/resources/2/qemu/ignore_changes", "a qemu has no attribute 'memory7'"));
}

static void a_plan_over_a_cap_is_refused_whatever_it_may_destroy(void **state)
{
	struct fixture *f = *state;
	const char *const both = "  - file: { path: DIR/a, content: a }\n  - file: { path: DIR/b, content: b }\n";
	_cleanup_free_ char *one = xasprintf("max_changes: 1\nresources:\n%s", both),
			    *two = xasprintf("max_changes: 2\nresources:\n%s", both);
	fixture_input(f, "apply", one);
	assert_int_equal(fixture_plan(f), ERR_REFUSED);
	assert_non_null(
		strstr(err_line(&f->err, f->text, sizeof(f->text)), "2 changes would be made, and max_changes is 1"));
	fixture_input(f, "apply", two);
	plan_and_apply(f);
	fixture_input(f, "apply", "max_destroy: 1\nallow_destroy: ['file:DIR/a', 'file:DIR/b']\nresources: []\n");
	assert_int_equal(fixture_plan(f), ERR_REFUSED);
	assert_non_null(
		strstr(err_line(&f->err, f->text, sizeof(f->text)), "2 resources would be destroyed or replaced"));
	fixture_input(f, "apply", "max_destroy: 2\nallow_destroy: ['file:DIR/a', 'file:DIR/b']\nresources: []\n");
	plan_and_apply(f);
	assert_null(fixture_read(f, "a"));
}

/* ---- references ---- */

static void a_reference_is_filled_in_with_what_the_other_one_will_be(void **state)
{
	struct fixture *f = *state;
	fixture_input(
		f, "apply",
		"resources:\n"
		"  - file: { path: DIR/a, content: \"${{ resources.settings.path }} ${{ resources.settings.mode }} "
		"${{resources.settings.digest}}\\n\" }\n"
		"  - file: { id: settings, path: DIR/z, content: z, mode: '0640' }\n"
		"  - link: { path: DIR/l, to: '${{ resources.settings.path }}' }\n");
	plan_and_apply(f);
	assert_true(place_of(f, "/z") < place_of(f, "/a"));
	_cleanup_free_ char *told =
		xasprintf("%s/z 0640 594e519ae499312b29433b7dd8a97ff068defcba9755b6d5d00e84c524d67b06\n", f->dir);
	assert_file(f, "a", told);
	assert_file(f, "l", "z");
	assert_int_equal(fixture_plan(f), 0);
	assert_int_equal(f->plan.count, 0);
	f->c.outputs = json_object();
	assert_int_equal(f->c.type->outputs(&f->c, &f->target->view, &f->err), 0);
	assert_non_null(strstr(json_get_string(f->c.outputs, "resources"), "\"digest\":\"594e519a"));
	json_decref(f->c.outputs);
}

static void a_reference_to_nothing_is_found_before_a_target_is_asked(void **state)
{
	struct fixture *f = *state;
	fixture_input(f, "apply",
	              "resources:\n"
	              "  - file: { id: settings, path: /z, content: z }\n"
	              "  - file: { path: /a, content: \"${{ resources.settings.digets }}\" }\n"
	              "  - file: { id: one, path: /c, content: \"${{ resources.two.mode }}\" }\n"
	              "  - file: { id: two, path: /d, content: \"${{ resources.one.mode }}\" }\n");
	assert_int_equal(fixture_validate(f), 2);
	assert_true(fixture_fault(f, "/resources/1/file/path", "refers to 'digets' of file:/z, which is no attribute"));
	assert_string_equal(f->faults.items[0].hint, "did you mean 'digest'?");
	assert_true(fixture_fault(f, NULL, "in a cycle: file:/c → file:/d → file:/c"));
	fixture_write(f, "state.yml",
	              "resources:\n  - file: { path: /a, content: \"${{ resources.elsewhere.ip }}\" }\n", 0644);
	fixture_input(f, "apply", "file: state.yml\n");
	assert_int_equal(f->c.type->check(&f->c, &f->faults, &f->err), 0);
	assert_true(fixture_fault(f, "/file", "refers to 'elsewhere', which no resource of this file has"));
}

/* The engine fills it in before the step begins; where nobody does, it is never made as it stands. */
static void what_an_earlier_step_finds_out_is_shown_as_unknown_and_never_made_as_it_is(void **state)
{
	struct fixture *f = *state;
	fixture_input(f, "apply",
	              "resources:\n"
	              "  - file: { id: a, path: DIR/a, content: \"${{ resources.web.ip }}\" }\n"
	              "  - file: { path: DIR/b, content: \"${{ resources.a.content }}\" }\n");
	assert_int_equal(fixture_validate(f), 0);
	assert_int_equal(fixture_plan(f), 0);
	assert_int_equal(f->plan.count, 2);
	for (size_t i = 0; i < 2; i++)
		assert_string_equal(json_get_string(f->plan.changes[i].after, "content"), "known after apply");
	enum change_match match;
	assert_int_equal(change_compare(&f->target->view, NULL, &f->plan.changes[0], &match, &f->err), ERR_REFUSED);
	assert_null(fixture_read(f, "a"));
}

#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_resource_comes_after_those_that_it_depends_on_and_goes_before_them),
		T(a_cycle_is_shown_as_a_path),
		T(a_dependency_on_nothing_names_the_nearest),
		T(what_is_ignored_is_set_once_and_left_alone_afterwards),
		T(a_link_that_is_ignored_leads_where_somebody_led_it),
		T(what_cannot_be_ignored_is_refused),
		T(a_plan_over_a_cap_is_refused_whatever_it_may_destroy),
		T(a_reference_is_filled_in_with_what_the_other_one_will_be),
		T(a_reference_to_nothing_is_found_before_a_target_is_asked),
		T(what_an_earlier_step_finds_out_is_shown_as_unknown_and_never_made_as_it_is),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
