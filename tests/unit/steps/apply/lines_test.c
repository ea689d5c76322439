/* Lines in a file of which the rest belongs to others. */
#include "unit/steps/step_fixture.h"

static void plan_and_apply(struct fixture *f)
{
	assert_int_equal(fixture_validate(f), 0);
	if (fixture_plan(f) < 0 || fixture_apply(f) < 0)
		fail_msg("%s", err_line(&f->err, f->text, sizeof(f->text)));
}

static const char *const sshd = "resources:\n"
				"  - lines:\n"
				"      path: DIR/sshd_config\n"
				"      lines:\n"
				"        - { line: PermitRootLogin no, match: '^#?PermitRootLogin\\b' }\n"
				"        - { line: MaxAuthTries 3 }\n"
				"      absent: [PasswordAuthentication yes]\n";

static void lines_are_changed_added_and_removed_and_the_rest_stays(void **state)
{
	struct fixture *f = *state;
	fixture_write(
		f, "sshd_config",
		"# by hand\n#PermitRootLogin yes\nPort 22\nPermitRootLogin yes\nPasswordAuthentication yes\nUsePAM yes",
		0604);
	fixture_input(f, "apply", sshd);
	plan_and_apply(f);
	assert_file(f, "sshd_config",
	            "# by hand\n#PermitRootLogin yes\nPort 22\nPermitRootLogin no\nUsePAM yes\nMaxAuthTries 3\n");
	assert_int_equal(fixture_mode(f, "sshd_config"), 0604);
	assert_int_equal(fixture_plan(f), 0);
	assert_int_equal(f->plan.count, 0);
}

static void an_undo_brings_every_byte_back(void **state)
{
	struct fixture *f = *state;
	fixture_write(f, "sshd_config", "PermitRootLogin yes\r\nno end", 0600);
	fixture_input(f, "apply", sshd);
	plan_and_apply(f);
	assert_file(f, "sshd_config", "PermitRootLogin no\r\nno end\r\nMaxAuthTries 3\r\n");
	assert_int_equal(fixture_undo(f), 0);
	assert_file(f, "sshd_config", "PermitRootLogin yes\r\nno end");
}

static int refuse_to_read(struct view *v, const char *path, size_t max, struct str *out, struct err *err)
{
	(void)v;
	(void)max;
	(void)out;
	return err_set(err, ERR_INTERNAL, "'%s' is read", path);
}

static void a_file_that_is_as_it_was_left_is_not_read_again(void **state)
{
	struct fixture *f = *state;
	const struct host_type *real = f->target->view.type;
	struct host_type blind = *real;
	blind.read = refuse_to_read;
	fixture_write(f, "sshd_config", "Port 22\n", 0600);
	fixture_input(f, "apply", sshd);
	plan_and_apply(f);
	f->target->view.type = &blind;
	assert_int_equal(fixture_plan(f), 0);
	assert_int_equal(f->plan.count, 0);
	f->target->view.type = real;
	fixture_write(f, "sshd_config", "PermitRootLogin no\nMaxAuthTries 3\nPasswordAuthentication yes\n", 0600);
	plan_and_apply(f);
	assert_file(f, "sshd_config", "PermitRootLogin no\nMaxAuthTries 3\n");
}

static void a_missing_file_is_made_and_nothing_is_destroyed_when_the_lines_leave(void **state)
{
	struct fixture *f = *state;
	fixture_input(f, "apply", sshd);
	plan_and_apply(f);
	assert_file(f, "sshd_config", "PermitRootLogin no\nMaxAuthTries 3\n");
	fixture_input(f, "apply", "resources: []\n");
	plan_and_apply(f);
	assert_int_equal(f->plan.count, 1);
	assert_non_null(strstr(f->plan.changes[0].summary, "what was changed in it stays"));
	assert_file(f, "sshd_config", "PermitRootLogin no\nMaxAuthTries 3\n");
	assert_int_equal(json_object_size(f->rows), 0);
}

static void what_could_never_settle_is_refused_before_a_target_is_asked(void **state)
{
	struct fixture *f = *state;
	fixture_input(
		f, "apply",
		"resources:\n"
		"  - lines: { path: /a, lines: [{ line: b, match: '^a' }, { line: c, match: '(' }, { line: d }], absent: [d] }\n"
		"  - file: { path: /a, content: x }\n");
	assert_int_equal(fixture_validate(f), 4);
	assert_true(fixture_fault(f, "/resources/0/lines/lines", "`match` does not fit its own line 'b'"));
	assert_true(fixture_fault(f, "/resources/0/lines/lines", "`match` of 'c'"));
	assert_true(fixture_fault(f, "/resources/0/lines/absent", "'d' shall be in '/a' and shall not"));
	assert_true(fixture_fault(f, NULL, "'/a' stands twice"));
}

static void a_file_that_is_no_text_is_left_alone(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *path = fs_join(f->dir, "sshd_config");
	assert_int_equal(fs_write_replace(AT_FDCWD, path, "a\0b", 3, 0600, NULL), 0);
	fixture_input(f, "apply", sshd);
	assert_int_equal(fixture_plan(f), ERR_INVALID);
	assert_non_null(strstr(err_line(&f->err, f->text, sizeof(f->text)), "no file of lines"));
}

#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(lines_are_changed_added_and_removed_and_the_rest_stays),
		T(an_undo_brings_every_byte_back),
		T(a_file_that_is_as_it_was_left_is_not_read_again),
		T(a_missing_file_is_made_and_nothing_is_destroyed_when_the_lines_leave),
		T(what_could_never_settle_is_refused_before_a_target_is_asked),
		T(a_file_that_is_no_text_is_left_alone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
