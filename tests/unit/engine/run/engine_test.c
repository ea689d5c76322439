/* The engine on the local target, with steps of the test's own. */
#include "unit/cmocka_all.h"
#include "base/core/cancel.h"
#include "base/secret/digest.h"
#include "base/sys/fs.h"
#include "base/data/json.h"
#include "engine/run/engine.h"
#include "engine/journal/sqlite.h"
#include "engine/lock/lock.h"
#include "steps/registry.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char *dir; /* of one test */
static char *state_dir;
static struct store *store;
static bool gate_fails, show, dies_in_clean;
static void (*in_gate)(void), (*in_baseline)(void), (*in_gate_again)(void);

static char *in_dir(const char *name)
{
	return fs_join(dir, name);
}

/* ---- steps ---- */

/* {"files": {PATH: TEXT}, "link": {PATH: TO}, "remove": [PATH], "mkdir": [PATH]} */
static int plan_files(const struct step_context *c, struct view *v, struct plan *plan, struct err *err)
{
	const char *path;
	json_t *value;
	json_object_foreach(json_object_get(c->input_json, "files"), path, value)
	{
		json_t *now = NULL;
		int r = target_look(v, path, true, &now, err);
		if (r < 0)
			return r;
		char hex[65];
		const char *text = json_string_value(value);
		bool absent = strcmp(json_get_string(now, "type"), "absent") == 0;
		struct change *change = plan_add(plan, &change_file, absent ? ACTION_CREATE : ACTION_UPDATE, path);
		digest_of(text, strlen(text), hex);
		change->before = now;
		change->after = json_pack("{s:s, s:s}", "type", "file", "digest", hex);
		str_append(&change->content, text);
	}
	json_object_foreach(json_object_get(c->input_json, "link"), path, value)
	{
		struct change *change = plan_add(plan, &change_link, ACTION_UPDATE, path);
		int r = target_look(v, path, true, &change->before, err);
		if (r < 0)
			return r;
		change->after = json_pack("{s:s, s:O}", "type", "link", "link", value);
	}
	for (size_t i = 0; i < json_array_size(json_object_get(c->input_json, "mkdir")); i++) {
		path = json_string_value(json_array_get(json_object_get(c->input_json, "mkdir"), i));
		struct change *change = plan_add(plan, &change_dir, ACTION_CREATE, path);
		int r = target_look(v, path, true, &change->before, err);
		if (r < 0)
			return r;
		change->after = json_pack("{s:s, s:s}", "type", "dir", "mode", "0750");
	}
	for (size_t i = 0; i < json_array_size(json_object_get(c->input_json, "remove")); i++) {
		path = json_string_value(json_array_get(json_object_get(c->input_json, "remove"), i));
		struct change *change = plan_add(plan, &change_remove, ACTION_DESTROY, path);
		int r = target_look(v, path, true, &change->before, err);
		if (r < 0)
			return r;
		change->after = json_pack("{s:s}", "type", "absent");
	}
	return 0;
}

static int probe_gate(const struct step_context *c, bool baseline, struct err *err)
{
	if (baseline && in_baseline)
		in_baseline();
	if (!baseline && !c->deployment->undoing && in_gate)
		in_gate();
	if (c->deployment->undoing && in_gate_again)
		in_gate_again();
	if (wait_check(c->wait, err) < 0)
		return ERR_CANCELLED;
	if (!baseline && !c->deployment->undoing && gate_fails)
		return err_set(err, ERR_FAILED, "the service does not answer");
	return 0;
}

static const struct step_info files_info = {.name = "files", .changes = true};
static const struct step_info stuck_info = {.name = "stuck", .changes = true};
static const struct step_info command_info = {.name = "command", .changes = true};
static const struct step_info gate_info = {.name = "gate"};
static const struct step_type type_files = {.info = &files_info, .plan = plan_files};
static int verify_never(const struct step_context *c, struct view *v, const struct change *change, struct err *err)
{
	(void)c;
	(void)v;
	return err_set(err, ERR_CONFLICT, "'%s' is not as it was made", change->path);
}

static int undo_never(const struct step_context *c, struct target *t, const struct change *change, struct err *err)
{
	(void)c;
	(void)t;
	return err_set(err, ERR_PERMISSION, "'%s' may not be changed any more", change->path);
}

/* Fails, and cannot be taken back. */
static const struct step_type type_stuck = {
	.info = &stuck_info, .plan = plan_files, .verify = verify_never, .undo = undo_never};
static const struct step_type type_gate = {.info = &gate_info, .probe = probe_gate};

/* One that may not have answered when the first change begins. */
static int baseline_says;
static bool old_is_sick;

static void slow_begin(const struct step_context *c)
{
	(void)c;
}

static int slow_end(const struct step_context *c, int64_t wait_ms_, struct err *err)
{
	(void)c;
	(void)wait_ms_;
	return baseline_says < 0 ? err_set(err, baseline_says, "the service says nothing good") : 0;
}

static int probe_slow(const struct step_context *c, bool baseline, struct err *err)
{
	if (c->deployment->undoing && old_is_sick)
		return err_set(err, ERR_FAILED, "the old service does not answer");
	return probe_gate(c, baseline, err);
}

static const struct step_info slow_info = {.name = "slow-gate"};
static const struct step_type type_slow = {
	.info = &slow_info, .probe = probe_slow, .baseline_begin = slow_begin, .baseline_end = slow_end};

/* A command that writes %D/ran and does not live to tell of it; its undo removes that. */
static int plan_command(const struct step_context *c, struct view *v, struct plan *plan, struct err *err)
{
	(void)c;
	(void)v;
	(void)err;
	plan_add(plan, &change_command, ACTION_RUN, "/");
	return 0;
}

static int run_and_die(const struct step_context *c, struct target *t, struct change *change, struct err *err)
{
	_cleanup_free_ char *ran = in_dir("ran");
	(void)c;
	(void)change;
	host_put(t, ran, "x", 1, NULL, err);
	_exit(9);
}

static int undo_command(const struct step_context *c, struct target *t, const struct change *change, struct err *err)
{
	_cleanup_free_ char *ran = in_dir("ran");
	(void)c;
	(void)change;
	return host_remove(t, ran, err);
}

static const struct step_type type_command = {
	.info = &command_info, .plan = plan_command, .apply = run_and_die, .undo = undo_command};

/* Dies when the deployment is decided and nothing of it is cleaned yet. */
static int clean_and_die(const struct step_context *c, struct target *t, struct err *err)
{
	(void)c;
	(void)t;
	(void)err;
	if (dies_in_clean)
		_exit(9);
	return 0;
}

/* A snapshot in its own directory. Its first undo leaves that empty, as where the connection breaks between the two. */
static int snapshot_undos;

static char *snapshots(void)
{
	return in_dir("base/snapshots/shop.production");
}

static int plan_snapshot(const struct step_context *c, struct view *v, struct plan *plan, struct err *err)
{
	(void)c;
	_cleanup_free_ char *around = snapshots(), *path = fs_join(around, "1");
	struct change *change = plan_add(plan, &change_snapshot, ACTION_CREATE, path);
	change->after = json_pack("{s:s, s:s}", "type", "dir", "mode", "0700");
	return target_look(v, path, false, &change->before, err);
}

static int make_snapshot(const struct step_context *c, struct target *t, struct change *change, struct err *err)
{
	(void)c;
	_cleanup_free_ char *above = in_dir("base/snapshots"), *around = snapshots();
	int r = host_mkdir(t, above, NULL, err);
	if (r == 0)
		r = host_mkdir(t, around, NULL, err);
	return r < 0 ? r : change_apply(t, change, err);
}

static int undo_snapshot(const struct step_context *c, struct target *t, const struct change *change, struct err *err)
{
	(void)c;
	_cleanup_free_ char *around = snapshots();
	int r = change_undo(t, change, err);
	if (r < 0 || snapshot_undos++ == 0)
		return r;
	return host_remove(t, around, err);
}

static const struct step_info snapshot_info = {.name = "snapshot", .changes = true};
static const struct step_type type_snapshot = {
	.info = &snapshot_info, .plan = plan_snapshot, .apply = make_snapshot, .undo = undo_snapshot};

static const struct step_info cleaned_info = {.name = "cleaned", .changes = true};
static const struct step_type type_cleaned = {.info = &cleaned_info, .plan = plan_files, .clean = clean_and_die};

static const struct step_type *find_step(const char *name)
{
	const struct step_type *const all[] = {&type_files,   &type_gate,    &type_stuck,   &type_slow,
	                                       &type_command, &type_cleaned, &type_snapshot};
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (strcmp(all[i]->info->name, name) == 0)
			return all[i];
	return NULL;
}

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

/* ---- set-up ---- */

static int set_up(void **state)
{
	(void)state;
	widget = change_file;
	widget.name = "widget";
	gate_fails = dies_in_clean = old_is_sick = false;
	baseline_says = 0;
	in_gate = in_baseline = in_gate_again = NULL;
	if (fs_make_temp_dir("davit-engine-test", &dir, NULL) < 0)
		return -1;
	state_dir = in_dir("state");
	return store_open(state_dir, NULL, &store, NULL);
}

static int tear_down(void **state)
{
	(void)state;
	store_close(store);
	int r = fs_remove_tree(AT_FDCWD, dir, NULL);
	free(dir);
	free(state_dir);
	return r;
}

static void report(void *context, const char *level, const char *line)
{
	(void)context;
	if (show)
		fprintf(stderr, "[%s] %s\n", level, line);
}

static struct engine_options options(void)
{
	static struct wait wait = WAIT_INIT;
	return (struct engine_options){.store = store,
	                               .wait = &wait,
	                               .seal = true,
	                               .report = report,
	                               .find_step = find_step,
	                               .target_kinds = target_kinds,
	                               .make_target = target_config_make};
}

/* %D: the directory. */
static json_t *json_here(const char *given)
{
	_cleanup_(str_done) struct str text = STR_INIT(1 << 20);
	for (const char *at = given; *at; at++) {
		if (at[0] == '%' && at[1] == 'D') {
			str_append(&text, dir);
			at++;
		} else {
			str_append_c(&text, *at);
		}
	}
	json_t *value = json_loads(str_peek(&text), 0, NULL);
	assert_non_null(value);
	return value;
}

/* steps: JSON of the array, with %D for the directory. */
static json_t *deployment(const char *on_failure, const char *steps)
{
	_cleanup_free_ char *base = in_dir("base");
	json_t *list = json_here(steps);
	return json_pack("{s:s, s:s, s:s, s:{s:{s:{}, s:s}}, s:o}", "name", "shop", "environment", "production",
	                 "on_failure", on_failure, "targets", "here", "local", "base", base, "steps", list);
}

static void write_file(const char *name, const char *text)
{
	_cleanup_free_ char *path = in_dir(name);
	assert_int_equal(fs_write_replace(AT_FDCWD, path, text, strlen(text), 0640, NULL), 0);
}

static void assert_file(const char *name, const char *text)
{
	_cleanup_free_ char *path = in_dir(name);
	_cleanup_(str_done) struct str out = STR_INIT(1000);
	assert_int_equal(fs_read(AT_FDCWD, path, 900, &out, NULL), 0);
	assert_string_equal(str_peek(&out), text);
}

static void assert_absent(const char *name)
{
	_cleanup_free_ char *path = in_dir(name);
	assert_false(fs_exists(AT_FDCWD, path));
}

static void assert_link(const char *name, const char *to)
{
	_cleanup_free_ char *path = in_dir(name);
	char text[200] = "";
	assert_true(readlink(path, text, sizeof(text) - 1) > 0);
	assert_string_equal(text, to);
}

static const char steps_text[] =
	"[{\"step\":\"files\",\"id\":\"a\",\"input\":{\"files\":{\"%D/a\":\"new a\",\"%D/b\":\"new b\"},"
	"\"link\":{\"%D/current\":\"releases/2\"},\"remove\":[\"%D/old\"],\"mkdir\":[\"%D/made\"]}},"
	"{\"step\":\"gate\"}]";

static void make_old_world(void)
{
	_cleanup_free_ char *link = in_dir("current");
	write_file("a", "old a");
	write_file("old", "old");
	assert_int_equal(symlink("releases/1", link), 0);
}

static void assert_old_world(void)
{
	assert_file("a", "old a");
	assert_file("old", "old");
	assert_absent("b");
	assert_absent("made");
	assert_link("current", "releases/1");
	assert_absent("base");
}

static void assert_new_world(void)
{
	assert_file("a", "new a");
	assert_file("b", "new b");
	assert_absent("old");
	assert_link("current", "releases/2");
	assert_absent("base");
}

static int deploy_this(const json_t *d, const struct engine_options *o, struct engine_result *ret)
{
	struct err err = ERR_INIT;
	char line[1000];
	engine_result_done(ret);
	int r = engine_deploy(DEPLOYMENT_UNREAD(d), o, ret, &err);
	if (show && err.code)
		fprintf(stderr, "%s\n", err_line(&err, line, sizeof(line)));
	assert_int_equal(r, 0);
	return ret->exit_status;
}

static int deploy(const char *on_failure, const struct engine_options *o, struct engine_result *ret)
{
	_cleanup_json_ json_t *d = deployment(on_failure, steps_text);
	return deploy_this(d, o, ret);
}

/* ---- tests ---- */

static void a_deployment_makes_the_new_world_and_leaves_nothing_of_its_own(void **state)
{
	(void)state;
	struct engine_options o = options();
	_cleanup_(engine_result_done) struct engine_result result = {0};
	make_old_world();
	assert_int_equal(deploy("rollback", &o, &result), 0);
	assert_int_equal(result.state, DEPLOYMENT_COMMITTED);
	assert_new_world();
	_cleanup_free_ char *sealed = xasprintf("%s/sealed/%s", state_dir, result.id);
	assert_false(fs_exists(AT_FDCWD, sealed));
}

static void a_failed_gate_brings_the_old_world_back(void **state)
{
	(void)state;
	struct engine_options o = options();
	_cleanup_(engine_result_done) struct engine_result result = {0};
	make_old_world();
	gate_fails = true;
	assert_int_equal(deploy("rollback", &o, &result), 1);
	assert_int_equal(result.state, DEPLOYMENT_UNDONE);
	assert_old_world();
}

static void hold_keeps_the_changes_and_the_lock_until_a_person_decides(void **state)
{
	(void)state;
	struct engine_options o = options();
	_cleanup_(engine_result_done) struct engine_result result = {0}, second = {0}, back = {0};
	make_old_world();
	gate_fails = true;
	assert_int_equal(deploy("hold", &o, &result), 4);
	assert_int_equal(result.state, DEPLOYMENT_HELD);
	assert_file("a", "new a");
	assert_int_equal(deploy("rollback", &o, &second), 5);
	assert_int_equal(engine_rollback(result.id, NULL, NULL, &o, &back, NULL), 0);
	assert_int_equal(back.exit_status, 0);
	assert_old_world();
	assert_int_equal(deploy("rollback", &o, &second), 1);
}

static void accepting_a_held_deployment_makes_it_the_version(void **state)
{
	(void)state;
	struct engine_options o = options();
	_cleanup_(engine_result_done) struct engine_result result = {0}, accepted = {0};
	make_old_world();
	gate_fails = true;
	assert_int_equal(deploy("hold", &o, &result), 4);
	assert_int_equal(engine_unlock("shop.production", false, false, &o, &accepted, NULL), 0);
	assert_int_equal(accepted.exit_status, 5);
	engine_result_done(&accepted);
	assert_int_equal(engine_unlock("production", false, true, &o, &accepted, NULL), 0);
	assert_int_equal(accepted.exit_status, 0);
	assert_new_world();
}

static void change_a_behind_our_back(void)
{
	write_file("a", "a person's");
}

static void what_a_person_changed_is_left_alone_and_named(void **state)
{
	(void)state;
	struct engine_options o = options();
	_cleanup_(engine_result_done) struct engine_result result = {0}, again = {0};
	make_old_world();
	gate_fails = true;
	in_gate = change_a_behind_our_back;
	assert_int_equal(deploy("rollback", &o, &result), 4);
	assert_int_equal(result.state, DEPLOYMENT_HELD);
	assert_file("a", "a person's");
	assert_absent("b");
	const json_t *left = json_object_get(result.report, "left_over");
	assert_int_equal(json_array_size(left), 1);
	assert_non_null(strstr(json_get_string(json_array_get(left, 0), "path"), "/a"));
	in_gate = NULL;
	o.force = true;
	assert_int_equal(engine_rollback(NULL, NULL, NULL, &o, &again, NULL), 0);
	assert_int_equal(again.exit_status, 0);
	assert_old_world();
}

static void die(void)
{
	_exit(9);
}

/* Runs a deployment in a child that dies in it. */
static void die_deploying(const json_t *d)
{
	store_close(store);
	pid_t pid = fork();
	if (pid == 0) {
		_cleanup_(engine_result_done) struct engine_result result = {0};
		if (store_open(state_dir, NULL, &store, NULL) < 0)
			_exit(8);
		struct engine_options o = options();
		deploy_this(d, &o, &result);
		_exit(7);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 9);
	assert_int_equal(store_open(state_dir, NULL, &store, NULL), 0);
}

static void deploy_and_die(const char *on_failure)
{
	_cleanup_json_ json_t *d = deployment(on_failure, steps_text);
	in_gate = die;
	die_deploying(d);
	in_gate = NULL;
}

static json_t *slowly(const char *content)
{
	_cleanup_free_ char *steps = xasprintf("[{\"step\":\"files\",\"input\":{\"files\":{\"%%D/a\":\"%s\"}}},"
	                                       "{\"step\":\"slow-gate\"}]",
	                                       content);
	return deployment("rollback", steps);
}

static int deploy_slowly(const char *content)
{
	struct engine_options o = options();
	_cleanup_json_ json_t *d = slowly(content);
	_cleanup_(engine_result_done) struct engine_result result = {0};
	return deploy_this(d, &o, &result);
}

static void a_sick_old_version_decides_only_where_it_was_well_before(void **state)
{
	(void)state;
	make_old_world();
	gate_fails = old_is_sick = true;
	baseline_says = ERR_FAILED;
	assert_int_equal(deploy_slowly("new a"), 1);
	baseline_says = 0;
	assert_int_equal(deploy_slowly("new a"), 4);
}

static void where_nobody_knows_how_it_was_the_gate_that_let_it_in_counts(void **state)
{
	(void)state;
	make_old_world();
	gate_fails = old_is_sick = true;
	baseline_says = ERR_TIMEOUT;
	assert_int_equal(deploy_slowly("new a"), 1);
	gate_fails = false;
	assert_int_equal(deploy_slowly("new a"), 0);
	gate_fails = true;
	assert_int_equal(deploy_slowly("newer a"), 4);
}

static void answer_late(void)
{
	baseline_says = 0;
}

static void a_good_answer_that_comes_behind_the_first_change_counts(void **state)
{
	(void)state;
	make_old_world();
	gate_fails = old_is_sick = true;
	baseline_says = ERR_TIMEOUT;
	in_gate = answer_late;
	assert_int_equal(deploy_slowly("new a"), 4);
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

static const char widget_steps[] =
	"[{\"step\":\"widget\",\"input\":{\"files\":{\"%D/a\":\"new a\"}}},{\"step\":\"gate\"}]";

static void a_change_of_a_kind_that_nobody_knows_is_held_and_left_alone(void **state)
{
	(void)state;
	_cleanup_(engine_result_done) struct engine_result result = {0}, back = {0};
	struct engine_options o = options();
	_cleanup_json_ json_t *d = deployment("hold", widget_steps);
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

static void interrupt(void)
{
	raise(SIGINT);
}

static void a_cancel_takes_everything_back_and_says_130(void **state)
{
	(void)state;
	static struct wait wait = WAIT_INIT;
	struct engine_options o = options();
	_cleanup_(engine_result_done) struct engine_result result = {0};
	make_old_world();
	wait.cancel_fd = cancel_install(NULL);
	o.wait = &wait;
	in_gate = interrupt;
	assert_int_equal(deploy("hold", &o, &result), 130);
	assert_int_equal(result.state, DEPLOYMENT_UNDONE);
	assert_old_world();
}

static void a_cancel_before_the_first_change_gives_the_locks_back(void **state)
{
	(void)state;
	static struct wait wait = WAIT_INIT;
	struct engine_options o = options();
	_cleanup_(engine_result_done) struct engine_result result = {0};
	make_old_world();
	wait.cancel_fd = cancel_install(NULL);
	o.wait = &wait;
	in_baseline = interrupt;
	assert_int_equal(deploy("rollback", &o, &result), 130);
	assert_int_equal(result.state, DEPLOYMENT_REFUSED);
	assert_old_world();
	in_baseline = NULL;
	cancel_reset();
	assert_int_equal(deploy("rollback", &o, &result), 0);
}

/* In a child, which has not seen a signal yet: 0 it ended as it should. */
static int cancel_behind_a_recovery(void)
{
	static struct wait wait = WAIT_INIT;
	struct engine_result result = {0};
	if (store_open(state_dir, NULL, &store, NULL) < 0)
		return 8;
	struct engine_options o = options();
	wait.cancel_fd = cancel_install(NULL);
	o.wait = &wait;
	in_baseline = interrupt;
	int status = deploy("rollback", &o, &result);
	bool right = status == 130 && result.state == DEPLOYMENT_REFUSED;
	engine_result_done(&result);
	return right ? 0 : 7;
}

static void a_first_cancel_counts_although_another_deployment_was_recovered_before(void **state)
{
	(void)state;
	int status;
	make_old_world();
	deploy_and_die("rollback");
	store_close(store);
	pid_t pid = fork();
	if (pid == 0)
		_exit(cancel_behind_a_recovery());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(store_open(state_dir, NULL, &store, NULL), 0);
	assert_old_world();
}

static void the_plan_has_a_digest_that_is_demanded_back(void **state)
{
	(void)state;
	struct engine_options o = options();
	_cleanup_(engine_result_done) struct engine_result plan = {0}, result = {0};
	make_old_world();
	_cleanup_json_ json_t *d = deployment("rollback", steps_text);
	assert_int_equal(engine_plan(DEPLOYMENT_UNREAD(d), &o, &plan, NULL), 0);
	assert_int_equal(plan.exit_status, 0);
	assert_absent("base");
	o.expect_digest = "0000";
	assert_int_equal(deploy("rollback", &o, &result), 3);
	assert_old_world();
	o.expect_digest = plan.digest;
	assert_int_equal(deploy("rollback", &o, &result), 0);
	assert_new_world();
}

static void steps_of_a_job_share_a_deployment_that_finish_decides(void **state)
{
	(void)state;
	struct engine_options o = options();
	_cleanup_(engine_result_done) struct engine_result one = {0}, two = {0}, end = {0};
	make_old_world();
	o.job_key = "job 1";
	_cleanup_json_ json_t *first =
		deployment("rollback", "[{\"step\":\"files\",\"input\":{\"files\":{\"%D/a\":\"new a\"}}}]");
	_cleanup_json_ json_t *second =
		deployment("rollback", "[{\"step\":\"files\",\"input\":{\"files\":{\"%D/b\":\"new b\"}}}]");
	assert_int_equal(engine_job_step(DEPLOYMENT_UNREAD(first), &o, &one, NULL), 0);
	assert_int_equal(one.exit_status, 0);
	assert_int_equal(engine_job_step(DEPLOYMENT_UNREAD(second), &o, &two, NULL), 0);
	assert_int_equal(two.exit_status, 0);
	assert_string_equal(one.id, two.id);
	assert_file("b", "new b");
	assert_int_equal(engine_finish("failure", NULL, &o, &end, NULL), 0);
	assert_int_equal(end.exit_status, 1);
	assert_old_world();
	engine_result_done(&end);
	assert_int_equal(engine_finish("success", NULL, &o, &end, NULL), 0);
	assert_int_equal(end.exit_status, 0);
}

static void a_step_that_fails_in_a_job_takes_back_its_own_and_the_next_ones_are_refused(void **state)
{
	(void)state;
	struct engine_options o = options();
	_cleanup_(engine_result_done) struct engine_result one = {0}, two = {0}, three = {0}, end = {0};
	make_old_world();
	o.job_key = "job 2";
	_cleanup_json_ json_t *first =
		deployment("rollback", "[{\"step\":\"files\",\"input\":{\"files\":{\"%D/a\":\"new a\"}}}]");
	/* The second file's directory does not exist: the step fails after its first change. */
	_cleanup_json_ json_t *bad = deployment(
		"rollback", "[{\"step\":\"files\",\"input\":{\"files\":{\"%D/b\":\"x\",\"%D/no/dir\":\"y\"}}}]");
	assert_int_equal(engine_job_step(DEPLOYMENT_UNREAD(first), &o, &one, NULL), 0);
	assert_int_equal(engine_job_step(DEPLOYMENT_UNREAD(bad), &o, &two, NULL), 0);
	assert_int_equal(two.exit_status, 1);
	assert_absent("b");
	assert_file("a", "new a");
	assert_int_equal(engine_job_step(DEPLOYMENT_UNREAD(first), &o, &three, NULL), 0);
	assert_int_equal(three.exit_status, 2);
	assert_int_equal(engine_finish("failure", NULL, &o, &end, NULL), 0);
	assert_old_world();
}

static void a_committed_job_is_the_new_world(void **state)
{
	(void)state;
	struct engine_options o = options();
	_cleanup_(engine_result_done) struct engine_result one = {0}, end = {0};
	make_old_world();
	o.job_key = "job 3";
	_cleanup_json_ json_t *first =
		deployment("rollback", "[{\"step\":\"files\",\"input\":{\"files\":{\"%D/a\":\"new a\"}}}]");
	assert_int_equal(engine_job_step(DEPLOYMENT_UNREAD(first), &o, &one, NULL), 0);
	assert_int_equal(engine_finish("success", NULL, &o, &end, NULL), 0);
	assert_int_equal(end.exit_status, 0);
	assert_int_equal(end.state, DEPLOYMENT_COMMITTED);
	assert_file("a", "new a");
	assert_absent("base");
}

static bool names_path(const json_t *left, const char *name)
{
	_cleanup_free_ char *path = in_dir(name);
	for (size_t i = 0; i < json_array_size(left); i++)
		if (strcmp(json_get_string(json_array_get(left, i), "path"), path) == 0)
			return true;
	return false;
}

static void what_earlier_steps_of_a_job_did_is_named_when_a_later_one_cannot_be_taken_back(void **state)
{
	(void)state;
	struct engine_options o = options();
	_cleanup_(engine_result_done) struct engine_result one = {0}, two = {0}, end = {0};
	make_old_world();
	o.job_key = "job 4";
	_cleanup_json_ json_t *first =
		deployment("rollback", "[{\"step\":\"files\",\"input\":{\"files\":{\"%D/a\":\"new a\"}}}]");
	_cleanup_json_ json_t *stuck =
		deployment("rollback", "[{\"step\":\"stuck\",\"input\":{\"files\":{\"%D/b\":\"x\"}}}]");
	assert_int_equal(engine_job_step(DEPLOYMENT_UNREAD(first), &o, &one, NULL), 0);
	assert_int_equal(engine_job_step(DEPLOYMENT_UNREAD(stuck), &o, &two, NULL), 0);
	assert_int_equal(two.exit_status, 4);
	assert_int_equal(two.state, DEPLOYMENT_HELD);
	const json_t *left = json_object_get(two.report, "left_over");
	assert_int_equal(json_array_size(left), 2);
	assert_true(names_path(left, "a"));
	assert_true(names_path(left, "b"));
	assert_int_equal(engine_finish("failure", NULL, &o, &end, NULL), 0);
	assert_int_equal(end.exit_status, 4);
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
	dies_in_clean = true;
	die_deploying(d);
	dies_in_clean = false;
	assert_int_equal(fs_remove_tree(AT_FDCWD, base, NULL), 0);
	lose_the_journal();
	take_over(d, &result, NULL);
	assert_int_equal(result.exit_status, 0);
	assert_int_equal(result.state, DEPLOYMENT_COMMITTED);
	assert_file("a", "new a");
	assert_file("b", "new b");
	assert_absent("there");
}

static void a_plan_counts_what_is_there_before(void **state)
{
	(void)state;
	struct engine_options o = options();
	_cleanup_(engine_result_done) struct engine_result plan = {0}, other = {0}, result = {0};
	make_old_world();
	_cleanup_json_ json_t *d = deployment("rollback", steps_text);
	assert_int_equal(engine_plan(DEPLOYMENT_UNREAD(d), &o, &plan, NULL), 0);
	write_file("a", "another a");
	assert_int_equal(engine_plan(DEPLOYMENT_UNREAD(d), &o, &other, NULL), 0);
	assert_string_not_equal(plan.digest, other.digest);
	o.expect_digest = plan.digest;
	assert_int_equal(deploy("rollback", &o, &result), 3);
	assert_file("a", "another a");
}

/* ---- disks that are full ---- */

static struct host_type small_type;
static int (*real_copy)(struct target *t, const char *from, const char *to, struct err *err);

/* As long as b is there the target has no room for anything else. */
static int copy_beside_b(struct target *t, const char *from, const char *to, struct err *err)
{
	_cleanup_free_ char *b = in_dir("b");
	if (fs_exists(AT_FDCWD, b))
		return err_set(err, ERR_NO_SPACE, "the disk of '%s' is full", t->view.name);
	return real_copy(t, from, to, err);
}

static int make_small_target(const struct target_config *config, struct target **ret, struct err *err)
{
	int r = target_config_make(config, ret, err);
	if (r < 0)
		return r;
	real_copy = (*ret)->view.type->copy;
	small_type = *(*ret)->view.type;
	small_type.copy = copy_beside_b;
	(*ret)->view.type = &small_type;
	return 0;
}

static void what_found_no_space_in_the_undo_is_restored_once_the_rest_is_undone(void **state)
{
	(void)state;
	struct engine_options o = options();
	_cleanup_(engine_result_done) struct engine_result result = {0};
	/* a is the last change, so its undo comes first. */
	_cleanup_json_ json_t *d = deployment(
		"rollback",
		"[{\"step\":\"files\",\"input\":{\"files\":{\"%D/b\":\"large\",\"%D/a\":\"new a\"}}},{\"step\":\"gate\"}]");
	write_file("a", "old a");
	o.make_target = make_small_target;
	gate_fails = true;
	assert_int_equal(deploy_this(d, &o, &result), 1);
	assert_int_equal(result.state, DEPLOYMENT_UNDONE);
	assert_file("a", "old a");
	assert_absent("b");
}

/* No change can be recorded as long as the reserve takes the last room of the journal's disk. */
static void fail_beside_the_reserve(sqlite3_context *context, int argc, sqlite3_value **argv)
{
	(void)argc;
	(void)argv;
	_cleanup_free_ char *reserve = in_dir("state/reserve");
	if (fs_exists(AT_FDCWD, reserve))
		sqlite3_result_error_code(context, SQLITE_FULL);
}

static void fill_the_journals_disk(void)
{
	assert_int_equal(sqlite3_create_function(sqlite_handle(store), "needs_room", 0, SQLITE_UTF8, NULL,
	                                         fail_beside_the_reserve, NULL, NULL),
	                 SQLITE_OK);
	assert_int_equal(
		sqlite3_exec(sqlite_handle(store),
	                     "CREATE TEMP TRIGGER full BEFORE UPDATE ON main.change BEGIN SELECT needs_room(); END",
	                     NULL, NULL, NULL),
		SQLITE_OK);
}

static void an_undo_is_recorded_on_a_full_disk(void **state)
{
	(void)state;
	struct engine_options o = options();
	_cleanup_(engine_result_done) struct engine_result result = {0};
	_cleanup_(plan_done) struct plan changes = {0};
	make_old_world();
	gate_fails = true;
	in_gate = fill_the_journals_disk;
	assert_int_equal(deploy("rollback", &o, &result), 1);
	assert_old_world();
	assert_int_equal(store_change_list(store, result.id, &changes, NULL), 0);
	assert_int_equal(changes.count, 5);
	for (size_t i = 0; i < changes.count; i++)
		assert_int_equal(changes.changes[i].state, CHANGE_UNDONE);
}

/* Later it would go with the lock, and a power cut in between would bring it back. */
static void look_for_the_snapshots(void)
{
	_cleanup_free_ char *around = snapshots();
	assert_false(fs_exists(AT_FDCWD, around));
}

static void the_directory_around_an_undone_snapshot_goes_with_the_undo(void **state)
{
	(void)state;
	struct engine_options o = options();
	_cleanup_(engine_result_done) struct engine_result result = {0};
	_cleanup_json_ json_t *d = deployment("rollback", "[{\"step\":\"snapshot\",\"input\":{}},{\"step\":\"gate\"}]");
	snapshot_undos = 0;
	gate_fails = true;
	in_gate_again = look_for_the_snapshots;
	assert_int_equal(deploy_this(d, &o, &result), 1);
	assert_int_equal(snapshot_undos, 2);
	assert_absent("base");
}

static void what_a_link_that_stays_names_is_not_removed(void **state)
{
	(void)state;
	struct engine_options o = options();
	_cleanup_(engine_result_done) struct engine_result result = {0};
	_cleanup_json_ json_t *d = deployment(
		"rollback",
		"[{\"step\":\"files\",\"input\":{\"mkdir\":[\"%D/made\"]}},{\"step\":\"stuck\",\"input\":{\"link\":{\"%D/current\":\"made\"}}}]");
	_cleanup_free_ char *made = in_dir("made");
	make_old_world();
	assert_int_equal(deploy_this(d, &o, &result), 4);
	assert_link("current", "made");
	assert_true(fs_exists(AT_FDCWD, made));
	const json_t *left = json_object_get(result.report, "left_over");
	assert_true(names_path(left, "made"));
	assert_true(names_path(left, "current"));
}

int main(int argc, char **argv)
{
	(void)argv;
	show = argc > 1;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_deployment_makes_the_new_world_and_leaves_nothing_of_its_own, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(a_failed_gate_brings_the_old_world_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_sick_old_version_decides_only_where_it_was_well_before, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(where_nobody_knows_how_it_was_the_gate_that_let_it_in_counts, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(a_good_answer_that_comes_behind_the_first_change_counts, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(recovery_knows_that_nobody_knew, set_up, tear_down),
		cmocka_unit_test_setup_teardown(hold_keeps_the_changes_and_the_lock_until_a_person_decides, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(accepting_a_held_deployment_makes_it_the_version, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_a_person_changed_is_left_alone_and_named, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_a_dead_process_left_is_undone_by_recover, set_up, tear_down),
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
		cmocka_unit_test_setup_teardown(a_first_cancel_counts_although_another_deployment_was_recovered_before,
	                                        set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_cancel_takes_everything_back_and_says_130, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_cancel_before_the_first_change_gives_the_locks_back, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(the_plan_has_a_digest_that_is_demanded_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_plan_counts_what_is_there_before, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_command_that_was_started_is_undone_by_another_machine, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(
			a_decision_is_known_to_another_machine_although_the_first_target_was_set_up_anew, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(what_found_no_space_in_the_undo_is_restored_once_the_rest_is_undone,
	                                        set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_undo_is_recorded_on_a_full_disk, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_directory_around_an_undone_snapshot_goes_with_the_undo, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(what_a_link_that_stays_names_is_not_removed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(steps_of_a_job_share_a_deployment_that_finish_decides, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(
			a_step_that_fails_in_a_job_takes_back_its_own_and_the_next_ones_are_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_committed_job_is_the_new_world, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			what_earlier_steps_of_a_job_did_is_named_when_a_later_one_cannot_be_taken_back, set_up,
			tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
