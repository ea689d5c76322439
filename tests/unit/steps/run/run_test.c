#include "unit/steps/step_fixture.h"
#include "base/secret/mask.h"

static void a_secret_inside_a_command_is_refused_wherever_it_stands(void **state)
{
	struct fixture *f = *state;
	mask_add(mask_process(), "tops3cret-value", 15);
	fixture_input(f, "run",
	              "command: [curl, -u, 'me:tops3cret-value', http://x]\nundo: echo tops3cret-value\nafter_undo: "
	              "[echo, tops3cret-value]\n");
	assert_int_equal(fixture_validate(f), 3);
	assert_true(fixture_fault(f, "/command/2", "a secret is part of the command"));
	assert_true(fixture_fault(f, "/undo", "a secret"));
	assert_true(fixture_fault(f, "/after_undo/1", "a secret"));
	fixture_input(f, "run", "script: 'echo tops3cret-value'\n");
	assert_int_equal(fixture_validate(f), 1);
	assert_true(fixture_fault(f, "/script", "a secret"));
}

static void a_secret_reaches_the_command_by_its_environment(void **state)
{
	struct fixture *f = *state;
	fixture_input(f, "run",
	              "script: printf %s \"$TOKEN\" > DIR/out\nenv: { TOKEN: 'it''s $HOME \"x\"' }\nundo: none\n");
	assert_int_equal(fixture_validate(f), 0);
	assert_int_equal(fixture_plan(f), 0);
	assert_int_equal(f->plan.count, 1);
	assert_not_told(f, "it's");
	assert_int_equal(fixture_apply(f), 0);
	assert_file(f, "out", "it's $HOME \"x\"");
}

static void the_lines_of_a_command_are_told_as_they_come(void **state)
{
	struct fixture *f = *state;
	fixture_input(f, "run", "command: [printf, 'one\\ntwo\\n']\nundo: none\n");
	assert_int_equal(fixture_plan(f), 0);
	assert_int_equal(fixture_apply(f), 0);
	assert_int_equal(f->lines.count, 2);
	assert_string_equal(f->lines.items[1], "two");
}

static void a_failed_command_says_its_status_and_its_last_line(void **state)
{
	struct fixture *f = *state;
	fixture_input(f, "run", "script: |\n  echo all is well\n  echo broken pipe organ >&2\n  exit 3\nundo: none\n");
	assert_int_equal(fixture_plan(f), 0);
	assert_int_equal(fixture_apply(f), ERR_FAILED);
	err_line(&f->err, f->text, sizeof(f->text));
	assert_non_null(strstr(f->text, "exit status 3: broken pipe organ"));
	assert_non_null(strstr(f->text, "on 'local'"));
}

static void a_script_stops_at_its_first_failing_line(void **state)
{
	struct fixture *f = *state;
	fixture_input(f, "run", "script: |\n  false\n  touch DIR/reached\nundo: none\n");
	assert_int_equal(fixture_plan(f), 0);
	assert_int_equal(fixture_apply(f), ERR_FAILED);
	assert_null(fixture_read(f, "reached"));
}

static void other_exit_codes_can_be_a_success(void **state)
{
	struct fixture *f = *state;
	fixture_input(f, "run", "script: exit 4\nexit: [0, 4]\nundo: none\n");
	assert_int_equal(fixture_plan(f), 0);
	assert_int_equal(fixture_apply(f), 0);
}

static void a_command_that_does_not_end_is_stopped(void **state)
{
	struct fixture *f = *state;
	fixture_input(f, "run", "command: [sleep, '60']\ntimeout: 200ms\nundo: none\n");
	assert_int_equal(fixture_plan(f), 0);
	assert_int_equal(fixture_apply(f), ERR_TIMEOUT);
	assert_non_null(strstr(err_line(&f->err, f->text, sizeof(f->text)), "did not end within 200ms"));
}

static void the_undo_runs_with_the_same_environment(void **state)
{
	struct fixture *f = *state;
	fixture_input(f, "run", "script: touch DIR/made\nenv: { F: DIR/made }\nundo: rm -f \"$F\"\n");
	assert_int_equal(fixture_plan(f), 0);
	assert_int_equal(fixture_apply(f), 0);
	assert_non_null(strstr(f->plan.changes[0].summary, "undo: rm"));
	assert_int_equal(fixture_undo(f), 0);
	assert_int_equal(fixture_undo(f), 0);
	assert_null(fixture_read(f, "made"));
}

static void without_an_undo_the_plan_warns_and_the_undo_says_so(void **state)
{
	struct fixture *f = *state;
	fixture_input(f, "run", "command: ['true']\n");
	assert_int_equal(fixture_plan(f), 0);
	assert_int_equal(f->plan.warnings.count, 1);
	assert_int_equal(fixture_apply(f), 0);
	assert_int_equal(fixture_undo(f), ERR_UNSUPPORTED);
	fixture_input(f, "run", "command: ['true']\nafter_undo: [ls, /]\n");
	assert_int_equal(fixture_plan(f), 0);
	assert_int_equal(f->plan.warnings.count, 0);
	assert_int_equal(fixture_undo(f), 0);
}

static void after_undo_gets_the_former_release_or_is_left_out(void **state)
{
	struct fixture *f = *state;
	fixture_input(f, "run", "command: ['true']\nafter_undo: printf '<%s>' \"$DAVIT_FORMER_RELEASE\" > DIR/after\n");
	assert_int_equal(f->c.type->restore(&f->c, f->target, NULL, &f->err), 0);
	assert_null(fixture_read(f, "after"));
	assert_int_equal(f->c.type->restore(&f->c, f->target, "20260131T102030-3fa94c", &f->err), 0);
	assert_file(f, "after", "<20260131T102030-3fa94c>");
	/* It had something, only no release: a change of settings alone. */
	assert_int_equal(f->c.type->restore(&f->c, f->target, "", &f->err), 0);
	assert_file(f, "after", "<>");
	fixture_input(
		f, "run",
		"command: ['true']\nwhen_none: run\nafter_undo: printf '<%s>' \"$DAVIT_FORMER_RELEASE\" > DIR/after\n");
	assert_int_equal(f->c.type->restore(&f->c, f->target, NULL, &f->err), 0);
	assert_file(f, "after", "<>");
}

static void a_variable_that_sh_cannot_carry_is_refused(void **state)
{
	struct fixture *f = *state;
	fixture_input(f, "run", "command: ['true']\nenv: { 'A-B': x, 1X: y, OK_1: z }\n");
	assert_int_equal(fixture_validate(f), 2);
	assert_true(fixture_fault(f, "/env/A-B", "cannot be the name"));
}

#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_secret_inside_a_command_is_refused_wherever_it_stands),
		T(a_secret_reaches_the_command_by_its_environment),
		T(the_lines_of_a_command_are_told_as_they_come),
		T(a_failed_command_says_its_status_and_its_last_line),
		T(a_script_stops_at_its_first_failing_line),
		T(other_exit_codes_can_be_a_success),
		T(a_command_that_does_not_end_is_stopped),
		T(the_undo_runs_with_the_same_environment),
		T(without_an_undo_the_plan_warns_and_the_undo_says_so),
		T(after_undo_gets_the_former_release_or_is_left_out),
		T(a_variable_that_sh_cannot_carry_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
