/* The program of a target that goes back alone, run as it is by the shells that targets have, and held up where another process may come
 * between two of its moves: a program in front of PATH does then what that process would. */
#include "unit/cmocka_all.h"
#include "base/core/clock.h"
#include "base/data/json.h"
#include "base/sys/fs.h"
#include "base/sys/proc.h"
#include "engine/alone/alone.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LIMIT_MS = 60000 };
static const char token[] = "0123456789abcdef0123456789abcdef", odd[] = "a\nb 'c' -d \\ $(x)";
static const char record[] =
	"{\"format\":1,\"token\":\"ffffffffffffffffffffffffffffffff\",\"deployment\":\"D1\",\"host\":\"h\"}";
static const char *const dash[] = {"/bin/sh", NULL}, *const busybox[] = {"busybox", "sh", NULL};

struct place {
	char *dir, *lock_dir, *path;
};

static char *in(const char *dir, const char *name)
{
	return fs_join(dir, name);
}

static void put(const char *dir, const char *name, const char *text)
{
	_cleanup_free_ char *path = in(dir, name);
	assert_int_equal(fs_write_replace(AT_FDCWD, path, text, strlen(text), 0600, NULL), 0);
}

static char *get(const char *dir, const char *name)
{
	_cleanup_free_ char *path = in(dir, name);
	_cleanup_(str_done) struct str text = STR_INIT(1 << 20);
	return fs_read(AT_FDCWD, path, (1 << 20) - 1, &text, NULL) < 0 ? NULL : xstrdup(str_peek(&text));
}

static bool is_there(const char *dir, const char *name)
{
	struct stat s;
	_cleanup_free_ char *path = in(dir, name);
	return lstat(path, &s) == 0;
}

/* A lock that nobody renews, with its watch, and a file `f` of which `old` was replaced by `new`. */
static void begin(struct place *p)
{
	_cleanup_(str_done) struct str program = STR_INIT(ALONE_MAX), lines = STR_INIT(ALONE_MAX);
	static const char *const dirs[] = {"lock", "lock/alone", "lock/undo", "lock/pids", "bin"};
	*p = (struct place){0};
	assert_int_equal(fs_make_temp_dir("davit-alone-test", &p->dir, NULL), 0);
	p->lock_dir = in(p->dir, "lock");
	p->path = in(p->dir, odd);
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		_cleanup_free_ char *path = in(p->dir, dirs[i]);
		assert_int_equal(mkdir(path, 0700), 0);
	}
	alone_program_text(&(struct alone_program){p->lock_dir, "D1", token, 1000}, &program);
	put(p->lock_dir, "alone/watch", str_peek(&program));
	put(p->lock_dir, "lock", record);
	put(p->lock_dir, "renewed", "0 ffffffff\n");
	put(p->lock_dir, "armed", token);
	put(p->lock_dir, "undo/1", "old");
	put(p->dir, odd, "new");
	struct change c = {.id = 1, .path = p->path};
	c.before = json_pack("{s:s, s:s, s:s}", "type", "file", "mode", "0600", "digest",
	                     "cba06b5736faf67e54b07b561eae94395e774c517a7d910a54369e1263ccfbd4");
	c.after = json_pack("{s:s, s:s, s:s}", "type", "file", "mode", "0600", "digest",
	                    "11507a0e2f5e69d5dfa40a62a1bd7b6ee57e6bcd85c67c9b8431b36fff21c437");
	alone_line_restore(&c, false, &lines);
	put(p->lock_dir, "alone/c-000000000001", str_peek(&lines));
	json_decref(c.before);
	json_decref(c.after);
}

static void done(struct place *p)
{
	assert_int_equal(fs_remove_tree(AT_FDCWD, p->dir, NULL), 0);
	free(p->dir);
	free(p->lock_dir);
	free(p->path);
}

/* In front of PATH: a program that does `script` first. */
static void hold_up(const struct place *p, const char *name, const char *script)
{
	_cleanup_free_ char *text =
		xasprintf("#!/bin/sh\ncd '%s'\n%s\ncd /; PATH=${PATH#*:}; exec %s \"$@\"\n", p->lock_dir, script, name);
	_cleanup_free_ char *tool = xasprintf("bin/%s", name), *path = in(p->dir, tool);
	put(p->dir, tool, text);
	assert_int_equal(chmod(path, 0700), 0);
}

/* To its end. */
static void run(const struct place *p, const char *const *shell)
{
	_cleanup_free_ char *watch = in(p->lock_dir, "alone/watch"),
			    *path = xasprintf("PATH=%s/bin:%s", p->dir, getenv("PATH"));
	const char *argv[] = {shell[0], shell[1] ? shell[1] : watch, shell[1] ? watch : NULL, NULL};
	const char *const env[] = {path, "DAVIT_COMMAND=x", NULL};
	struct wait w = WAIT_INIT;
	int status = -1;
	w = wait_within(&w, LIMIT_MS);
	const struct proc_options o = {
		.argv = argv, .env = env, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1, .new_session = true};
	assert_int_equal(proc_run(&o, NULL, 0, 4096, &w, NULL, NULL, &status, NULL), 0);
	assert_int_equal(status, 0);
}

static void assert_holds(const struct place *p, const char *content)
{
	_cleanup_free_ char *now = get(p->dir, odd);
	assert_string_equal(now, content);
}

static void goes_back(const char *const *shell)
{
	struct place p;
	begin(&p);
	run(&p, shell);
	assert_holds(&p, "old");
	_cleanup_free_ char *lock = get(p.lock_dir, "lock"), *said = get(p.lock_dir, "alone/said"),
			    *copy = get(p.lock_dir, "changes.jsonl");
	struct alone_said read;
	alone_said_read(said, &read);
	assert_true(read.went && read.ended && read.left == 0 && read.at_ms > 0);
	assert_non_null(strstr(lock, token));
	assert_non_null(strstr(lock, "\"deployment\":\"D1\""));
	assert_non_null(strstr(copy, "{\"format\":1,\"id\":1,\"state\":\"undone\"}"));
	done(&p);
}

static void a_target_that_nobody_renews_goes_back(void **state)
{
	(void)state;
	goes_back(dash);
}

static void it_does_so_by_busybox(void **state)
{
	(void)state;
	if (access("/bin/busybox", X_OK) != 0 && access("/usr/bin/busybox", X_OK) != 0)
		skip();
	goes_back(busybox);
}

/* Between its look at the lock and its token. */
static void a_target_disarmed_right_before_its_token_stays(void **state)
{
	(void)state;
	struct place p;
	begin(&p);
	hold_up(&p, "sed", "rm armed");
	run(&p, dash);
	assert_holds(&p, "new");
	assert_false(is_there(p.lock_dir, "alone/said"));
	done(&p);
}

static void a_decision_right_before_its_token_counts(void **state)
{
	(void)state;
	struct place p;
	begin(&p);
	hold_up(&p, "sed", "echo 'committed D1' >mark");
	run(&p, dash);
	assert_holds(&p, "new");
	done(&p);
}

static void a_lock_taken_over_right_behind_its_token_is_the_others(void **state)
{
	(void)state;
	struct place p;
	begin(&p);
	hold_up(&p, "sync",
	        "cp lock seen; case $(cat lock) in *0123456789abcdef0123456789abcdef*) echo '{\"token\":\"x\",\"deployment\":\"D1\"}' >lock;; esac");
	run(&p, dash);
	assert_holds(&p, "new");
	done(&p);
}

static void what_the_owner_left_running_is_ended_before(void **state)
{
	(void)state;
	struct place p;
	_cleanup_(proc_done) struct proc left = PROC_INIT;
	const char *const argv[] = {"sleep", "1000", NULL};
	const struct proc_options o = {.argv = argv, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1};
	begin(&p);
	assert_int_equal(proc_spawn(&o, &left, NULL), 0);
	_cleanup_free_ char *note = xasprintf("%llu %s %d\n- - -\n", (unsigned long long)left.start_time,
	                                      proc_boot_id(), (int)left.pid),
			    *name = xasprintf("pids/%d", (int)left.pid);
	put(p.lock_dir, name, note);
	run(&p, dash);
	assert_holds(&p, "old");
	struct wait w = WAIT_INIT;
	int status = 0;
	w = wait_within(&w, LIMIT_MS);
	assert_int_equal(proc_wait(&left, &w, &status, NULL), 0);
	assert_int_equal(status, 128 + 9);
	assert_false(is_there(p.lock_dir, name));
	done(&p);
}

static void what_a_target_says_is_read_with_care(void **state)
{
	(void)state;
	struct alone_said said;
	static const char *const nothing[] = {
		"", "\n", "went", "went x", "went -1", "went 99999999999999999999", " went 1", "wents 5\nend"};
	for (size_t i = 0; i < ARRAY_SIZE(nothing); i++) {
		alone_said_read(nothing[i], &said);
		assert_false(said.went || said.ended);
	}
	alone_said_read("went 12\nleft 3\nleft 4\nended\n", &said);
	assert_true(said.went && said.ended);
	assert_int_equal(said.left, 2);
	assert_int_equal(said.at_ms, 12000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(a_target_that_nobody_renews_goes_back),
	                                   cmocka_unit_test(it_does_so_by_busybox),
	                                   cmocka_unit_test(a_target_disarmed_right_before_its_token_stays),
	                                   cmocka_unit_test(a_decision_right_before_its_token_counts),
	                                   cmocka_unit_test(a_lock_taken_over_right_behind_its_token_is_the_others),
	                                   cmocka_unit_test(what_the_owner_left_running_is_ended_before),
	                                   cmocka_unit_test(what_a_target_says_is_read_with_care)};
	return cmocka_run_group_tests_name("targets that go back alone", tests, NULL, NULL);
}
