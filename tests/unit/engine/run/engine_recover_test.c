/* What the dead left, on the local target: undone by their machine, or by another one from what lies on the target. */
#include "engine_world.h"
#include "base/sys/fs.h"
#include "base/data/json.h"
#include "engine/lock/lock.h"

#include <fcntl.h>
#include <stdio.h>

/* A kind that this test brings along: a file by another name. */
static struct change_type widget;

static const struct change_type *find_widget(const char *kind)
{
	return strcmp(kind, widget.name) == 0 ? &widget : NULL;
}

static int plan_widget(const struct step_context *c, struct view *v, struct plan *plan, struct err *err)
{
	int r = plan_files(c, v, plan, err);
	for (size_t i = 0; i < plan->count; i++) {
		plan->changes[i].type = &widget;
		snprintf(plan->changes[i].kind, sizeof(plan->changes[i].kind), "%s", widget.name);
	}
	return r;
}

static const struct change_type *const widget_kinds[] = {&widget, NULL};
static const struct step_info widget_info = {.name = "widget", .changes = true};
static const struct step_type type_widget = {.info = &widget_info, .kinds = widget_kinds, .plan = plan_widget};

static const struct step_type *find_step_and_widget(const char *name)
{
	return strcmp(name, "widget") == 0 ? &type_widget : find_step(name);
}

static void recovery_knows_that_nobody_knew(void **state)
{
	(void)state;
	_cleanup_(engine_result_done) struct engine_result first = {0}, second = {0};
	const struct engine_recover_options r = {0};
	make_old_world();
	baseline_says = ERR_TIMEOUT;
	old_is_sick = true;
	for (int i = 0; i < 2; i++) {
		_cleanup_json_ json_t *d = slowly(i == 0 ? "new a" : "newer a");
		in_gate = die;
		die_deploying(d);
		in_gate = NULL;
		struct engine_options o = options(); /* with the store that is open now */
		assert_int_equal(engine_recover(&r, &o, i == 0 ? &first : &second, NULL), 0);
		if (i == 0)
			assert_int_equal(deploy_slowly("new a"), 0);
	}
	assert_int_equal(first.state, DEPLOYMENT_UNDONE);
	assert_int_equal(second.state, DEPLOYMENT_HELD);
}

static void lose_the_journal(void)
{
	store_close(store);
	assert_int_equal(fs_remove_tree(AT_FDCWD, state_dir, NULL), 0);
	assert_int_equal(store_open(state_dir, NULL, &store, NULL), 0);
}

static void take_over(const json_t *d, struct engine_result *result, struct err *err)
{
	struct engine_options o = options();
	const struct engine_recover_options r = {
		.deployment = DEPLOYMENT_UNREAD(d), .takeover = true, .takeover_after_ms = 50};
	assert_int_equal(engine_recover(&r, &o, result, err), 0);
}

static void what_a_dead_process_left_is_undone_by_recover(void **state)
{
	(void)state;
	_cleanup_(engine_result_done) struct engine_result result = {0}, again = {0};
	make_old_world();
	deploy_and_die("rollback");
	struct engine_options o = options();
	assert_file("a", "new a");
	const struct engine_recover_options r = {0};
	assert_int_equal(engine_recover(&r, &o, &result, NULL), 0);
	assert_int_equal(result.exit_status, 0);
	assert_old_world();
	assert_int_equal(engine_recover(&r, &o, &again, NULL), 0);
	assert_int_equal(again.exit_status, 0);
}

/* Killed between the record of its end and the erasing of what it had sealed, which is that late where the journal may have said `open`. */
static void what_is_refused_and_still_sealed_is_closed(void **state)
{
	(void)state;
	_cleanup_(engine_result_done) struct engine_result result = {0};
	const struct engine_recover_options r = {0};
	const struct store_filter undecided = {.undecided = true};
	_cleanup_json_ json_t *list = NULL, *none = NULL;
	_cleanup_json_ json_t *refused = json_pack("{s:s, s:i}", "state", "refused", "exit_status", 2);
	_cleanup_json_ json_t *d = deployment("rollback", steps_text);
	make_old_world();
	in_baseline = die;
	die_deploying(d);
	in_baseline = NULL;
	assert_int_equal(store_deployment_list(store, &undecided, &list, NULL), 0);
	const char *id = json_get_string(json_array_get(list, 0), "id");
	assert_int_equal(store_deployment_set(store, id, refused, NULL), 0);
	struct engine_options o = options();
	assert_int_equal(engine_recover(&r, &o, &result, NULL), 0);
	assert_int_equal(result.exit_status, 0);
	assert_int_equal(store_deployment_list(store, &undecided, &none, NULL), 0);
	assert_int_equal(json_array_size(none), 0);
	assert_int_equal(deploy("rollback", &o, &result), 0);
	assert_new_world();
}

static const char widget_steps[] =
	"[{\"step\":\"widget\",\"input\":{\"files\":{\"%D/a\":\"new a\"}}},{\"step\":\"gate\"}]";

static void a_change_of_a_kind_that_nobody_knows_is_held_and_left_alone(void **state)
{
	(void)state;
	_cleanup_(engine_result_done) struct engine_result result = {0}, back = {0};
	struct engine_options o = options();
	_cleanup_json_ json_t *d = deployment("hold", widget_steps);
	widget = change_file;
	widget.name = "widget";
	o.find_step = find_step_and_widget;
	write_file("a", "old a");
	gate_fails = true;
	assert_int_equal(engine_deploy(DEPLOYMENT_UNREAD(d), &o, &result, NULL), 0);
	assert_int_equal(result.exit_status, 4);
	assert_int_equal(engine_rollback(result.id, NULL, NULL, &o, &back, NULL), 0);
	assert_int_equal(back.exit_status, 4);
	assert_file("a", "new a");
	const json_t *left = json_array_get(json_object_get(back.report, "left_over"), 0);
	assert_non_null(strstr(json_get_string(left, "reason"), "knows no changes of the kind 'widget'"));
	/* The davit that has its driver takes it back. */
	engine_result_done(&back);
	o.find_change = find_widget;
	assert_int_equal(engine_rollback(result.id, NULL, NULL, &o, &back, NULL), 0);
	assert_int_equal(back.exit_status, 0);
	assert_file("a", "old a");
}

static void the_next_deployment_first_undoes_what_a_dead_one_left(void **state)
{
	(void)state;
	_cleanup_(engine_result_done) struct engine_result result = {0};
	make_old_world();
	deploy_and_die("rollback");
	struct engine_options o = options();
	assert_int_equal(deploy("rollback", &o, &result), 0);
	assert_new_world();
}

static void another_machine_recovers_from_the_targets_alone(void **state)
{
	(void)state;
	_cleanup_(engine_result_done) struct engine_result result = {0}, refused = {0};
	make_old_world();
	deploy_and_die("rollback");
	lose_the_journal();
	struct engine_options o = options();
	_cleanup_json_ json_t *d = deployment("rollback", steps_text);
	struct engine_recover_options r = {.deployment = DEPLOYMENT_UNREAD(d)};
	assert_int_equal(engine_recover(&r, &o, &refused, NULL), 0);
	assert_int_equal(refused.exit_status, 5);
	r.takeover = true;
	r.takeover_after_ms = 50;
	assert_int_equal(engine_recover(&r, &o, &result, NULL), 0);
	assert_int_equal(result.exit_status, 0);
	assert_old_world();
}

/* As if a machine that has died since had taken the deployment over: its lock, and nothing that renews it. */
static void lock_from_another_machine(void)
{
	_cleanup_free_ char *path = in_dir("base/open/shop.production/lock");
	_cleanup_(str_done) struct str text = STR_INIT(1 << 16);
	_cleanup_json_ json_t *lock = NULL;
	assert_int_equal(fs_read(AT_FDCWD, path, 1 << 15, &text, NULL), 0);
	assert_int_equal(json_parse(str_peek(&text), text.len, 1 << 15, &lock, NULL), 0);
	json_object_set_new(lock, "token", json_string("0123456789abcdef0123456789abcdef"));
	json_object_set_new(lock, "store_id", json_string("fedcba9876543210fedcba9876543210"));
	json_object_set_new(lock, "machine_id", json_string("00000000000000000000000000000001"));
	json_object_set_new(lock, "host", json_string("other"));
	_cleanup_free_ char *changed = json_text(lock);
	assert_int_equal(fs_write_atomic(AT_FDCWD, path, changed, strlen(changed), 0600, NULL), 0);
}

static void a_held_deployment_is_taken_back_from_a_machine_that_died_with_its_lock(void **state)
{
	(void)state;
	struct engine_options o = options();
	_cleanup_(engine_result_done) struct engine_result held = {0}, back = {0};
	make_old_world();
	gate_fails = true;
	in_gate = change_a_behind_our_back;
	assert_int_equal(deploy("rollback", &o, &held), 4);
	in_gate = NULL;
	gate_fails = false;
	write_file("a", "new a");
	lock_from_another_machine();
	_cleanup_json_ json_t *d = deployment("rollback", steps_text);
	take_over(d, &back, NULL);
	assert_int_equal(back.exit_status, 0);
	assert_old_world();
}

/* The journal is lost; what `meddle` made of the copy's first record is all that another machine has. */
static void take_over_from(void (*meddle)(json_t *record), const char *steps, struct engine_result *result,
                           struct err *err)
{
	_cleanup_free_ char *copy = xasprintf("%s/base/open/shop.production/changes.jsonl", dir);
	_cleanup_(str_done) struct str text = STR_INIT(1 << 20), changed = STR_INIT(1 << 20);
	deploy_and_die("rollback");
	lose_the_journal();
	assert_int_equal(fs_read(AT_FDCWD, copy, 1 << 19, &text, NULL), 0);
	bool met = false;
	for (const char *at = str_peek(&text), *end; *at; at = *end ? end + 1 : end) {
		end = strchrnul(at, '\n');
		_cleanup_json_ json_t *record = NULL;
		if (json_parse(at, (size_t)(end - at), 1 << 19, &record, NULL) == 0 && !met &&
		    json_get_string(record, "kind")) {
			if (meddle)
				meddle(record);
			met = true;
		}
		_cleanup_free_ char *line = record ? json_text(record) : xstrdup("");
		str_appendf(&changed, "%s\n", line);
	}
	assert_true(met);
	assert_int_equal(fs_write_atomic(AT_FDCWD, copy, str_peek(&changed), changed.len, 0600, NULL), 0);
	_cleanup_json_ json_t *d = deployment("rollback", steps);
	take_over(d, result, err);
}

static void of_another_target(json_t *record)
{
	json_object_set_new(record, "target", json_string("other"));
}

static void of_another_path(json_t *record)
{
	json_object_set_new(record, "path", json_string("/etc/davit-victim"));
}

static void of_a_path_around_a_corner(json_t *record)
{
	_cleanup_free_ char *path = xasprintf("%s/../../../etc/davit-victim", json_get_string(record, "path"));
	json_object_set_new(record, "path", json_string(path));
}

static void of_a_further_path(json_t *record)
{
	json_object_set_new(record, "extra", json_pack("{s:s}", "manifest", "/etc/davit-victim"));
}

static void of_another_step(json_t *record)
{
	json_object_set_new(record, "step_name", json_string("stuck"));
}

static void of_no_step(json_t *record)
{
	json_object_set_new(record, "step", json_integer(77));
}

static void of_other_inputs(json_t *record)
{
	json_object_set_new(record, "step_inputs", json_string("0123"));
}

static void of_a_number_twice(json_t *record)
{
	json_object_set_new(record, "id", json_integer(0));
}

static void a_copy_speaks_for_its_own_target_steps_and_paths_only(void **state)
{
	(void)state;
	static const struct {
		void (*meddle)(json_t *record);
		const char *said;
	} cases[] = {
		{of_another_target, "another target"}, {of_another_path, "path"},
		{of_a_path_around_a_corner, "path"},   {of_a_further_path, "further path"},
		{of_another_step, "not of the step"},  {of_no_step, "the file does not have"},
		{of_other_inputs, "other inputs"},     {of_a_number_twice, "no number"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(engine_result_done) struct engine_result result = {0}, accepted = {0};
		struct err err = ERR_INIT;
		char line[ERR_FRAME_SIZE];
		tear_down(state);
		assert_int_equal(set_up(state), 0);
		make_old_world();
		take_over_from(cases[i].meddle, steps_text, &result, &err);
		assert_int_equal(result.exit_status, 4);
		assert_int_equal(result.state, DEPLOYMENT_HELD);
		assert_non_null(strstr(err_line(&err, line, sizeof(line)), cases[i].said));
		assert_file("a", "new a");
		/* The way out that is printed. */
		struct engine_options o = options();
		_cleanup_json_ json_t *d = deployment("rollback", steps_text);
		o.deployment = DEPLOYMENT_UNREAD(d);
		assert_int_equal(engine_unlock("shop.production", false, true, &o, &accepted, NULL), 0);
		assert_int_equal(accepted.exit_status, 0);
	}
}

static void the_undo_of_a_step_that_never_ran_is_not_run(void **state)
{
	(void)state;
	_cleanup_(engine_result_done) struct engine_result result = {0};
	_cleanup_free_ char *moved_on = xstrdup(steps_text);
	char *text = strstr(moved_on, "new a");
	assert_non_null(text);
	text[0] = 'N';
	struct err err = ERR_INIT;
	make_old_world();
	take_over_from(NULL, moved_on, &result, &err);
	assert_int_equal(result.exit_status, 4);
	assert_int_equal(result.state, DEPLOYMENT_HELD);
	assert_file("a", "new a");
}

static void a_command_that_was_started_is_undone_by_another_machine(void **state)
{
	(void)state;
	_cleanup_(engine_result_done) struct engine_result result = {0};
	_cleanup_json_ json_t *d = deployment("rollback", "[{\"step\":\"command\",\"input\":{}}]");
	die_deploying(d);
	assert_file("ran", "x");
	lose_the_journal();
	take_over(d, &result, NULL);
	assert_int_equal(result.exit_status, 0);
	assert_absent("ran");
}

/* The first target's lock, which was marked before the others', is gone with all that lay there. */
static void a_decision_is_known_to_another_machine_although_the_first_target_was_set_up_anew(void **state)
{
	(void)state;
	_cleanup_(engine_result_done) struct engine_result result = {0};
	_cleanup_json_ json_t *d = deployment(
		"rollback", "[{\"step\":\"files\",\"target\":\"here\",\"input\":{\"files\":{\"%D/a\":\"new a\"}}},"
			    "{\"step\":\"cleaned\",\"target\":\"there\",\"input\":{\"files\":{\"%D/b\":\"new b\"}}}]");
	json_object_set_new(json_object_get(d, "targets"), "there", json_here("{\"local\":{},\"base\":\"%D/there\"}"));
	_cleanup_free_ char *base = in_dir("base");
	write_file("a", "old a");
	in_clean = die;
	die_deploying(d);
	in_clean = NULL;
	assert_int_equal(fs_remove_tree(AT_FDCWD, base, NULL), 0);
	lose_the_journal();
	take_over(d, &result, NULL);
	assert_int_equal(result.exit_status, 0);
	assert_int_equal(result.state, DEPLOYMENT_COMMITTED);
	assert_file("a", "new a");
	assert_file("b", "new b");
	assert_absent("there");
}

int main(int argc, char **argv)
{
	(void)argv;
	show = argc > 1;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(recovery_knows_that_nobody_knew, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_a_dead_process_left_is_undone_by_recover, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_refused_and_still_sealed_is_closed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_change_of_a_kind_that_nobody_knows_is_held_and_left_alone, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(the_next_deployment_first_undoes_what_a_dead_one_left, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(another_machine_recovers_from_the_targets_alone, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_held_deployment_is_taken_back_from_a_machine_that_died_with_its_lock,
	                                        set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_copy_speaks_for_its_own_target_steps_and_paths_only, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(the_undo_of_a_step_that_never_ran_is_not_run, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_command_that_was_started_is_undone_by_another_machine, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(
			a_decision_is_known_to_another_machine_although_the_first_target_was_set_up_anew, set_up,
			tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
