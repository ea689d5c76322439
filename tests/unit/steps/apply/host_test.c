/* What a host has beside files: looked at together, whatever it is. */
#include "unit/steps/step_fixture.h"

static const struct host_type *real;
static size_t queries;

static int count_query(struct view *v, const struct target_command *command, struct target_result *ret, struct err *err)
{
	queries++;
	return real->query(v, command, ret, err);
}

static void a_plan_of_many_things_asks_once(void **state)
{
	enum { EACH = 60 };
	struct fixture *f = *state;
	_cleanup_(str_done) struct str input = STR_INIT(256 << 10);
	struct host_type counting = *f->target->view.type;
	/* apt plans an installation of what is not there: one such package takes as long as all the rest. */
	str_append(&input, "resources:\n  - package: { name: davit-nothing }\n");
	for (int i = 0; i < EACH; i++)
		str_appendf(&input,
		            "  - group: { name: davit-group-%d }\n"
		            "  - user: { name: davit-user-%d }\n"
		            "  - authorized_key: { user: davit-user-%d, key: "
		            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHWRD0f/1GfcUqZk5TDMYpsNF/iw4xphpCyRVMKaI1UB }\n",
		            i, i, i);
	fixture_input(f, "apply", str_peek(&input));
	real = f->target->view.type;
	counting.query = count_query;
	f->target->view.type = &counting;
	f->target->view.facts.is_root = true;
	if (fixture_plan(f) < 0)
		fail_msg("%s", err_line(&f->err, f->text, sizeof(f->text)));
	f->target->view.type = real;
	assert_int_equal(f->plan.count, 3 * EACH + 1);
	assert_int_equal(queries, 1);
}

static void without_root_nothing_of_it_is_asked(void **state)
{
	struct fixture *f = *state;
	fixture_input(f, "apply", "resources: [{ group: { name: davit-group } }]\n");
	f->target->view.facts.is_root = false;
	assert_int_equal(fixture_plan(f), ERR_PERMISSION);
	assert_non_null(
		strstr(err_line(&f->err, f->text, sizeof(f->text)), "resources of the kind group need root on"));
}

static void a_cron_file_is_written_as_cron_reads_it(void **state)
{
	struct fixture *f = *state;
	fixture_input(
		f, "apply",
		"resources: [{ cron: { name: davit-test, schedule: '*/5 0-6 * JAN 7', command: 'date +%F >/dev/null', "
		"env: { MAILTO: '', PATH: '/usr/bin:/bin' } } }]\n");
	assert_int_equal(fixture_validate(f), 0);
	if (fixture_plan(f) < 0)
		fail_msg("%s", err_line(&f->err, f->text, sizeof(f->text)));
	const struct change *c = &f->plan.changes[f->plan.count - 1];
	assert_string_equal(c->path, "/etc/cron.d/davit-test");
	assert_string_equal(
		str_peek(&c->content),
		"# by davit\nMAILTO=\"\"\nPATH=\"/usr/bin:/bin\"\n*/5 0-6 * JAN 7 root date +\\%F >/dev/null\n");
	assert_string_equal(json_get_string(c->after, "owner"), "root");
	assert_non_null(strstr(c->summary, "*/5 0-6 * JAN 7 as root: date +%F"));
}

static void what_cron_would_pass_over_is_refused(void **state)
{
	struct fixture *f = *state;
	fixture_input(f, "apply",
	              "resources:\n"
	              "  - cron: { name: a, schedule: '60 * * * *', command: x }\n"
	              "  - cron: { name: b, schedule: '@daily', command: \"x\\ny\" }\n"
	              "  - cron: { name: c, schedule: '@daily', command: x, env: { 'A B': x, Q: 'a\"b' } }\n"
	              "  - cron: { name: d, schedule: '@daily', command: x, ignore_changes: [schedule] }\n"
	              "  - file: { path: /etc/cron.d/d, content: x }\n");
	assert_int_equal(fixture_validate(f), 6);
	assert_true(fixture_fault(f, "/resources/3/cron/ignore_changes", "compared as a whole"));
	assert_true(fixture_fault(f, "/resources/0/cron/schedule", "is no schedule"));
	assert_true(fixture_fault(f, "/resources/1/cron/command", "one line"));
	assert_true(fixture_fault(f, "/resources/2/cron/env", "'A B' cannot be the name"));
	assert_true(fixture_fault(f, "/resources/2/cron/env", "no way to write"));
	assert_true(fixture_fault(f, NULL, "'/etc/cron.d/d' stands twice"));
}

#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_plan_of_many_things_asks_once),
		T(without_root_nothing_of_it_is_asked),
		T(a_cron_file_is_written_as_cron_reads_it),
		T(what_cron_would_pass_over_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
