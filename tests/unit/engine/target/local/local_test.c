/* The local target, its lock, and the primitives of changes on it. */
#include "unit/cmocka_all.h"
#include "base/core/clock.h"
#include "base/sys/fs.h"
#include "base/data/json.h"
#include "base/sys/proc.h"
#include "engine/change/change.h"
#include "engine/lock/lock.h"
#include "steps/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char *dir, *base, *lock_dir;
static struct target *target;
static struct store *store;

static struct target *make_target(void)
{
	struct target *t = NULL;
	_cleanup_json_ json_t *config = json_pack("{s:{}, s:s}", "local", "base", base);
	assert_int_equal(target_config_use(target_kinds, "here", config, target_config_make, &t, NULL), 0);
	assert_int_equal(target_open(&t->view, NULL), 0);
	return t;
}

static int set_up(void **state)
{
	(void)state;
	if (fs_make_temp_dir("davit-local-test", &dir, NULL) < 0)
		return -1;
	base = fs_join(dir, "base");
	_cleanup_free_ char *state_dir = fs_join(dir, "state");
	target = make_target();
	lock_dir = lock_dir_of(&target->view, "shop", "production");
	return store_open(state_dir, NULL, &store, NULL);
}

static int tear_down(void **state)
{
	(void)state;
	target_free(target);
	store_close(store);
	int r = fs_remove_tree(AT_FDCWD, dir, NULL);
	free(dir);
	free(base);
	free(lock_dir);
	return r;
}

static json_t *record_for(const char *id)
{
	_cleanup_json_ json_t *doc =
		json_pack("{s:s, s:s, s:s}", "id", id, "name", "shop", "environment", "production");
	return lock_record(store, doc, NULL);
}

static void take(struct target *t, const char *id)
{
	_cleanup_json_ json_t *record = record_for(id);
	struct err err = ERR_INIT;
	char line[500];
	int r = lock_take(t, lock_dir, record, NULL, &err);
	if (r < 0)
		fail_msg("%s", err_line(&err, line, sizeof(line)));
}

static char *in_dir(const char *name)
{
	return fs_join(dir, name);
}

static void a_lock_is_held_by_one_and_leaves_nothing(void **state)
{
	(void)state;
	struct target *other = make_target();
	_cleanup_json_ json_t *record = record_for("d-2"), *holder = NULL;
	take(target, "d-1");
	assert_int_equal(lock_take(other, lock_dir, record, &holder, NULL), ERR_LOCKED);
	assert_string_equal(json_get_string(holder, "deployment"), "d-1");
	assert_int_equal(lock_release(target, NULL), 0);
	assert_false(fs_exists(AT_FDCWD, base));
	assert_int_equal(lock_take(other, lock_dir, record, NULL, NULL), 0);
	assert_int_equal(lock_release(other, NULL), 0);
	assert_false(fs_exists(AT_FDCWD, base));
	target_free(other);
}

static void nothing_is_changed_without_a_lock_or_with_a_lost_one(void **state)
{
	(void)state;
	_cleanup_free_ char *path = in_dir("file");
	struct target *other = make_target();
	_cleanup_json_ json_t *former = NULL, *record = NULL;
	assert_int_equal(host_put(target, path, "x", 1, NULL, NULL), ERR_INTERNAL);
	take(target, "d-1");
	assert_int_equal(host_put(target, path, "x", 1, NULL, NULL), 0);
	assert_int_equal(lock_read(&other->view, lock_dir, &former, NULL), 0);
	record = lock_record(store, NULL, former);
	assert_int_equal(lock_take_over(other, lock_dir, former, record, NULL), 0);
	assert_int_equal(host_put(target, path, "y", 1, NULL, NULL), ERR_FENCED);
	const char *const argv[] = {"rm", path, NULL};
	const struct target_command command = {.argv = argv};
	_cleanup_(target_result_done) struct target_result result = TARGET_RESULT_INIT;
	assert_int_equal(host_run(target, &command, &result, NULL), ERR_FENCED);
	assert_true(fs_exists(AT_FDCWD, path));
	assert_int_equal(lock_release(other, NULL), 0);
	target_free(other);
}

/* The owner of the lock decides after the other one has read the record and before it writes its own. */
static void a_mark_made_while_the_lock_is_taken_over_counts(void **state)
{
	(void)state;
	static const char *const marks[] = {"committed", "undone"};
	for (size_t i = 0; i < ARRAY_SIZE(marks); i++) {
		struct target *other = make_target();
		_cleanup_json_ json_t *former = NULL, *record = NULL, *now = NULL;
		take(target, "d-1");
		assert_int_equal(lock_read(&other->view, lock_dir, &former, NULL), 0);
		record = lock_record(store, NULL, former);
		assert_int_equal(lock_mark(target, marks[i], NULL), 0);
		assert_int_equal(lock_take_over(other, lock_dir, former, record, NULL), 0);
		assert_int_equal(lock_read(&other->view, lock_dir, &now, NULL), 0);
		assert_string_equal(json_get_string(now, "mark"), marks[i]);
		assert_string_equal(json_get_string(now, "token"), json_get_string(record, "token"));
		assert_string_equal(json_get_string(record, "mark"), marks[i]);
		assert_int_equal(lock_mark(target, "undone", NULL), ERR_FENCED);
		assert_int_equal(lock_release(other, NULL), 0);
		target_free(other);
	}
}

/* A power cut may bring a file back that was removed with the lock of an earlier deployment. */
static void the_mark_of_another_deployment_decides_nothing(void **state)
{
	(void)state;
	_cleanup_free_ char *path = fs_join(lock_dir, "mark"), *mark = NULL;
	_cleanup_json_ json_t *former = NULL, *record = NULL;
	struct target *other = make_target();
	take(target, "d-2");
	assert_int_equal(host_put(target, path, "committed d-1\n", 14, NULL, NULL), 0);
	assert_int_equal(lock_read(&other->view, lock_dir, &former, NULL), 0);
	record = lock_record(store, NULL, former);
	assert_int_equal(lock_take_over(other, lock_dir, former, record, NULL), 0);
	assert_null(json_get_string(record, "mark"));
	assert_int_equal(lock_read_mark(&other->view, lock_dir, record, &mark, NULL), 0);
	assert_null(mark);
	assert_int_equal(lock_release(other, NULL), 0);
	target_free(other);
}

/* Waits for a file; the commands of tests make one when they run. */
static void wait_for(const char *path)
{
	int64_t until = clock_mono_ms() + 10000;
	while (!fs_exists(AT_FDCWD, path)) {
		assert_true(clock_mono_ms() < until);
		clock_pause_ms(5);
	}
}

static void the_fence_ends_what_a_former_owner_left_running(void **state)
{
	(void)state;
	_cleanup_free_ char *sign = in_dir("sign"), *late = in_dir("late");
	_cleanup_free_ char *script =
		xasprintf("echo $$ >%s.new; mv %s.new %s; sleep 30; : >%s", sign, sign, sign, late);
	struct target *other = make_target();
	_cleanup_json_ json_t *former = NULL, *record = NULL;
	take(target, "d-1");
	pid_t owner = fork();
	if (owner == 0) {
		const struct target_command command = {.script = script, .timeout_ms = 60000};
		struct target_result result = TARGET_RESULT_INIT;
		host_run(target, &command, &result, NULL);
		_exit(0);
	}
	wait_for(sign);
	kill(owner, SIGKILL);
	waitpid(owner, NULL, 0);
	assert_int_equal(lock_read(&other->view, lock_dir, &former, NULL), 0);
	record = lock_record(store, NULL, former);
	assert_int_equal(lock_take_over(other, lock_dir, former, record, NULL), 0);
	_cleanup_(str_done) struct str text = STR_INIT(100);
	assert_int_equal(fs_read(AT_FDCWD, sign, 90, &text, NULL), 0);
	pid_t left = (pid_t)strtol(text.data, NULL, 10);
	assert_false(proc_alive(left, proc_start_time(left)));
	assert_false(fs_exists(AT_FDCWD, late));
	assert_int_equal(lock_release(other, NULL), 0);
	target_free(other);
}

static void a_command_gives_its_lines_its_status_and_its_time_out(void **state)
{
	(void)state;
	take(target, "d-1");
	const struct field_pair env[] = {{"GREETING", "hello"}};
	const struct target_command command = {.script = "echo $GREETING; cat; echo oops >&2; exit 3",
	                                       .env = env,
	                                       .env_count = 1,
	                                       .input = "in",
	                                       .input_len = 2};
	_cleanup_(target_result_done) struct target_result result = TARGET_RESULT_INIT;
	assert_int_equal(host_run(target, &command, &result, NULL), 0);
	assert_int_equal(result.status, 3);
	assert_string_equal(str_peek(&result.out), "hello\nin");
	assert_string_equal(str_peek(&result.err), "oops\n");
	const struct target_command slow = {.script = "sleep 20", .timeout_ms = 100};
	_cleanup_(target_result_done) struct target_result timed = TARGET_RESULT_INIT;
	assert_int_equal(host_run(target, &slow, &timed, NULL), 0);
	assert_true(timed.timed_out);
	assert_int_equal(lock_release(target, NULL), 0);
}

static void assert_text(const char *path, const char *text)
{
	_cleanup_(str_done) struct str out = STR_INIT(1000);
	assert_int_equal(fs_read(AT_FDCWD, path, 900, &out, NULL), 0);
	assert_string_equal(str_peek(&out), text);
}

static void a_file_goes_there_and_back_with_its_mode_and_time(void **state)
{
	(void)state;
	_cleanup_free_ char *path = in_dir("file");
	struct stat before, after;
	enum change_match match;
	assert_int_equal(fs_write_replace(AT_FDCWD, path, "old", 3, 0601, NULL), 0);
	const struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 2000, .tv_nsec = 123456789}};
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
	assert_int_equal(stat(path, &before), 0);
	take(target, "d-1");
	_cleanup_(plan_done) struct plan plan = {0};
	struct change *c = plan_add(&plan, &change_file, ACTION_UPDATE, path);
	c->id = 1;
	c->secret = true;
	assert_int_equal(target_look(&target->view, path, false, &c->before, NULL), 0);
	c->after = json_pack("{s:s, s:s}", "type", "file", "mode", "0600");
	str_append(&c->content, "new");
	assert_int_equal(change_save_former(target, c, NULL), 0);
	assert_int_equal(change_compare(&target->view, lock_dir, c, &match, NULL), 0);
	assert_int_equal(match, MATCH_BEFORE);
	assert_int_equal(change_apply(target, c, NULL), 0);
	assert_text(path, "new");
	assert_int_equal(change_compare(&target->view, lock_dir, c, &match, NULL), 0);
	assert_int_equal(match, MATCH_AFTER);
	for (int i = 0; i < 2; i++)
		assert_int_equal(change_undo(target, c, NULL), 0);
	assert_text(path, "old");
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(after.st_mode, before.st_mode);
	assert_int_equal(after.st_mtim.tv_sec, 2000);
	assert_int_equal(after.st_mtim.tv_nsec, 123456789);
	assert_int_equal(fs_write_replace(AT_FDCWD, path, "else", 4, 0601, NULL), 0);
	assert_int_equal(change_compare(&target->view, lock_dir, c, &match, NULL), 0);
	assert_int_equal(match, MATCH_NEITHER);
	assert_int_equal(lock_release(target, NULL), 0);
}

/* ---- the same target, with a fault ---- */

static struct host_type faulty;
static const struct host_type *sound;

static void make_faulty(void)
{
	sound = target->view.type;
	faulty = *sound;
	faulty.barrier_read = NULL;
	target->view.type = &faulty;
}

static struct str lock_before = STR_INIT(64 << 10); /* what lay there durably when the power went */

/* The target starts anew just before: what was written since is gone, and the barrier itself succeeds. */
static int barrier_behind_a_power_cut(struct target *t, const char *const *paths, size_t count, struct err *err)
{
	_cleanup_free_ char *lock = fs_join(lock_dir, "lock"), *mark = fs_join(lock_dir, "mark");
	faulty.barrier = sound->barrier;
	assert_int_equal(fs_write_replace(AT_FDCWD, lock, str_peek(&lock_before), lock_before.len, 0600, NULL), 0);
	unlink(mark);
	return sound->barrier(t, paths, count, err);
}

static void a_mark_that_a_power_cut_takes_away_is_not_believed(void **state)
{
	(void)state;
	_cleanup_free_ char *lock = fs_join(lock_dir, "lock");
	take(target, "d-1");
	str_clear(&lock_before);
	assert_int_equal(fs_read(AT_FDCWD, lock, 32 << 10, &lock_before, NULL), 0);
	make_faulty();
	faulty.barrier = barrier_behind_a_power_cut;
	assert_int_equal(lock_mark(target, "committed", NULL), ERR_UNKNOWN);
	assert_int_equal(lock_mark(target, "committed", NULL), 0);
	assert_int_equal(lock_release(target, NULL), 0);
	str_done(&lock_before);
}

static struct change *change_of_file(struct plan *plan, const char *path)
{
	assert_int_equal(fs_write_replace(AT_FDCWD, path, "old", 3, 0600, NULL), 0);
	struct change *c = plan_add(plan, &change_file, ACTION_UPDATE, path);
	c->id = 1;
	assert_int_equal(target_look(&target->view, path, true, &c->before, NULL), 0);
	c->after = json_pack("{s:s}", "type", "file");
	str_append(&c->content, "new");
	return c;
}

static int copy_that_breaks(struct target *t, const char *from, const char *to, struct err *err)
{
	(void)t;
	(void)from;
	assert_int_equal(fs_write_replace(AT_FDCWD, to, "ol", 2, 0600, NULL), 0);
	return err_set(err, ERR_UNKNOWN, "the connection broke");
}

static void a_former_content_is_saved_as_a_whole_or_not_at_all(void **state)
{
	(void)state;
	_cleanup_free_ char *path = in_dir("file"), *saved = fs_join(lock_dir, "undo/1");
	_cleanup_(plan_done) struct plan plan = {0};
	take(target, "d-1");
	const struct change *c = change_of_file(&plan, path);
	make_faulty();
	faulty.copy = copy_that_breaks;
	assert_int_equal(change_save_former(target, c, NULL), ERR_UNKNOWN);
	assert_false(fs_exists(AT_FDCWD, saved));
	faulty.copy = sound->copy;
	assert_int_equal(change_save_former(target, c, NULL), 0);
	assert_text(saved, "old");
	assert_int_equal(lock_release(target, NULL), 0);
}

static bool copy_is_durable;

static int copy_into_memory(struct target *t, const char *from, const char *to, struct err *err)
{
	copy_is_durable = false;
	return sound->copy(t, from, to, err);
}

static int barrier_for_all(struct target *t, const char *const *paths, size_t count, struct err *err)
{
	copy_is_durable = true;
	return sound->barrier(t, paths, count, err);
}

static int rename_over_the_path(struct target *t, const char *from, const char *to, struct err *err)
{
	/* Were the power to go now, the name could be durable without its content. */
	assert_true(copy_is_durable);
	return sound->rename(t, from, to, err);
}

static void a_restored_file_is_durable_before_it_has_its_name(void **state)
{
	(void)state;
	_cleanup_free_ char *path = in_dir("file");
	_cleanup_(plan_done) struct plan plan = {0};
	take(target, "d-1");
	struct change *c = change_of_file(&plan, path);
	assert_int_equal(change_save_former(target, c, NULL), 0);
	assert_int_equal(change_apply(target, c, NULL), 0);
	make_faulty();
	faulty.copy = copy_into_memory;
	faulty.barrier = barrier_for_all;
	faulty.rename = rename_over_the_path;
	assert_int_equal(change_undo(target, c, NULL), 0);
	assert_text(path, "old");
	assert_int_equal(lock_release(target, NULL), 0);
}

static void a_record_goes_into_json_and_back_and_a_newer_one_is_refused(void **state)
{
	(void)state;
	_cleanup_(plan_done) struct plan plan = {0};
	_cleanup_(change_done) struct change back = {0};
	struct change *c = plan_add(&plan, &change_move, ACTION_ADOPT, "/a");
	c->id = 12;
	c->target = xstrdup("web");
	c->step = xstrdup("archive-upload");
	c->state = CHANGE_CONFLICT;
	c->note = xstrdup("why");
	c->extra = json_pack("{s:s}", "to", "/b");
	_cleanup_json_ json_t *record = change_record(c);
	assert_int_equal(change_from_record(record, &back, NULL), 0);
	_cleanup_json_ json_t *again = change_record(&back);
	assert_true(json_equal(record, again));
	json_object_set_new(record, "format", json_integer(2));
	struct change none;
	assert_int_equal(change_from_record(record, &none, NULL), ERR_UNSUPPORTED);
}

static void the_copy_of_the_changes_survives_a_torn_line(void **state)
{
	(void)state;
	_cleanup_(plan_done) struct plan plan = {0}, back = {0};
	struct change *c = plan_add(&plan, &change_remove, ACTION_DESTROY, "/a");
	c->id = 1;
	c->target = xstrdup("here");
	take(target, "d-1");
	assert_int_equal(lock_append_changes(target, c, 1, NULL), 0);
	_cleanup_free_ char *path = fs_join(lock_dir, "changes.jsonl");
	assert_int_equal(host_append(target, path, "{\"format\":1,\"id\":2,\"ki", 22, NULL), 0);
	assert_int_equal(lock_append_state(target, c, CHANGE_DONE, NULL), 0);
	assert_int_equal(lock_read_changes(&target->view, lock_dir, &back, NULL), 0);
	assert_int_equal(back.count, 1);
	assert_int_equal(back.changes[0].state, CHANGE_DONE);
	assert_int_equal(lock_release(target, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_lock_is_held_by_one_and_leaves_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(nothing_is_changed_without_a_lock_or_with_a_lost_one, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(a_mark_made_while_the_lock_is_taken_over_counts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_mark_of_another_deployment_decides_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_fence_ends_what_a_former_owner_left_running, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_command_gives_its_lines_its_status_and_its_time_out, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(a_file_goes_there_and_back_with_its_mode_and_time, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_mark_that_a_power_cut_takes_away_is_not_believed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_former_content_is_saved_as_a_whole_or_not_at_all, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_restored_file_is_durable_before_it_has_its_name, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_record_goes_into_json_and_back_and_a_newer_one_is_refused, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(the_copy_of_the_changes_survives_a_torn_line, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
