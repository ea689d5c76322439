#include "unit/cmocka_all.h"
#include "base/core/clock.h"
#include "base/sys/fs.h"
#include "base/sys/walls.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { OUTPUT_MAX = 4096, PATIENCE_MS = 30000 };

static char *place;
static const char socket_name[] = "davit-walls-test";
static int listener = -1;

/* Root's capabilities open more than an ordinary user's: CAP_PERFMON reads the environment of any process. */
static void become_an_ordinary_user(void)
{
	enum { NOBODY = 65534 };
	setenv("PATH", "/usr/bin:/bin", 1);
	if (geteuid() != 0)
		return;
	assert_int_equal(setgroups(0, NULL), 0);
	assert_int_equal(setresgid(NOBODY, NOBODY, NOBODY), 0);
	assert_int_equal(setresuid(NOBODY, NOBODY, NOBODY), 0);
	assert_int_equal(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), 0);
}

/* PLACE/state/{secret, work/{mine,theirs}/file}, PLACE/beside/file */
static int make_place(void **state)
{
	(void)state;
	become_an_ordinary_user();
	if (fs_make_temp_dir("davit-walls-test", &place, NULL) < 0)
		return -1;
	static const char *const dirs[] = {"state/work/mine", "state/work/theirs", "beside"};
	static const char *const files[] = {"state/secret", "state/work/mine/file", "state/work/theirs/file",
	                                    "beside/file"};
	_cleanup_close_ int top = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		assert_int_equal(fs_mkdirs(top, dirs[i], 0700, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		assert_int_equal(fs_write_replace(top, files[i], "text", 4, 0600, NULL), 0);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "%s-%d", socket_name, (int)getpid());
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 1), 0);
	return 0;
}

static int drop_place(void **state)
{
	(void)state;
	closep(&listener);
	int r = fs_remove_tree(AT_FDCWD, place, NULL);
	free(place);
	return r;
}

static bool raised(void)
{
	static bool stand;
	_cleanup_free_ char *real = fs_real_path(place, NULL), *closed = fs_join(real, "state"),
			    *mine = fs_join(closed, "work/mine");
	const char *const closed_list[] = {closed, NULL}, *const open_list[] = {mine, NULL};
	const struct landlock_plan plan = {.closed = closed_list, .open = open_list, .signals = true};
	struct err err = ERR_INIT;
	if (stand)
		return true;
	if (landlock_abi() < LANDLOCK_FILES) {
		assert_int_equal(walls_raise(&plan, &err), ERR_UNSUPPORTED);
		return false;
	}
	if (walls_raise(&plan, &err) < 0)
		fail_msg("%s", err.frames[0].text);
	stand = true;
	return true;
}

typedef int (*spawn_fn)(const struct proc_options *options, struct proc *ret, struct err *err);

/* Exit status of `sh -c script`. */
static int run_by(spawn_fn spawn, const char *script)
{
	_cleanup_(proc_done) struct proc p = PROC_INIT;
	struct wait w = WAIT_INIT;
	struct err err = ERR_INIT;
	const char *argv[] = {"sh", "-c", script, NULL};
	const struct proc_options o = {.argv = argv, .cwd = place, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1};
	int status = -1;
	w.deadline_mono_ms = clock_mono_ms() + PATIENCE_MS;
	if (spawn(&o, &p, &err) < 0 || proc_wait(&p, &w, &status, &err) < 0)
		fail_msg("%s", err.frames[0].text);
	return status;
}

static int behind(const char *script)
{
	return run_by(walls_spawn, script);
}

static int before(const char *script)
{
	return run_by(proc_spawn, script);
}

static void what_is_closed_is_not_reached_and_what_is_open_in_it_is(void **state)
{
	(void)state;
	if (!raised())
		skip();
	static const char *const closed[] = {"cat state/secret",
	                                     "cat state/work/theirs/file",
	                                     "echo x > state/new",
	                                     "echo x > state/work/theirs/file",
	                                     "rm state/secret",
	                                     "mkdir state/work/x",
	                                     "mv state/work/theirs state/work/mine/x",
	                                     "ls state",
	                                     "ln state/secret beside/x",
	                                     "mv state/secret beside/x",
	                                     "cd state/work/theirs && cat file"};
	static const char *const open[] = {
		"cat state/work/mine/file",
		"echo x > state/work/mine/new",
		"cat beside/file",
		"mkdir beside/x && mv beside/file beside/x/y && mv beside/x/y beside/file",
		"mv beside/file state/work/mine/moved && mv state/work/mine/moved beside/file",
		"ls beside",
		"cat /etc/passwd",
		"echo x > /dev/null",
		"test -e state/secret"};
	for (size_t i = 0; i < ARRAY_SIZE(closed); i++)
		if (behind(closed[i]) == 0)
			fail_msg("reached: %s", closed[i]);
	for (size_t i = 0; i < ARRAY_SIZE(open); i++)
		if (behind(open[i]) != 0)
			fail_msg("not reached: %s", open[i]);
}

static void a_link_into_what_is_closed_leads_nowhere(void **state)
{
	(void)state;
	if (!raised())
		skip();
	assert_int_equal(behind("ln -s ../state/secret beside/link"), 0);
	assert_int_not_equal(behind("cat beside/link"), 0);
}

static void a_process_before_the_walls_is_neither_read_nor_signalled(void **state)
{
	(void)state;
	if (!raised())
		skip();
	/* What may be reached before the walls is what they take away; ptrace_scope of Yama may close mem to all. */
	static const struct {
		const char *script;
		bool maybe;
	} parts[] = {{": <environ", false},    {": <maps", false}, {": <mem", true},
	             {"readlink fd/1", false}, {"ls cwd/", false}, {"ls root/etc", false}};
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		_cleanup_free_ char *script = xasprintf("cd /proc/%d && %s", (int)getpid(), parts[i].script);
		if (!parts[i].maybe && before(script) != 0)
			fail_msg("not reached before the walls: %s", parts[i].script);
		if (behind(script) == 0)
			fail_msg("reached: %s", parts[i].script);
	}
	if (landlock_abi() < LANDLOCK_SIGNALS)
		return;
	_cleanup_free_ char *script = xasprintf("kill -0 %d", (int)getpid());
	assert_int_not_equal(behind(script), 0);
}

static void an_abstract_socket_before_the_walls_is_not_connected_to(void **state)
{
	(void)state;
	if (!raised() || landlock_abi() < LANDLOCK_SIGNALS || before("python3 -c pass") != 0)
		skip();
	_cleanup_free_ char *connects = xasprintf("python3 -c 'import socket; s = socket.socket(socket.AF_UNIX); "
	                                          "s.connect(b\"\\0%s-%d\".ljust(108, b\"\\0\"))'",
	                                          socket_name, (int)getpid());
	assert_int_equal(before(connects), 0);
	assert_int_not_equal(behind(connects), 0);
}

static void what_is_started_behind_them_reaches_each_other(void **state)
{
	(void)state;
	if (!raised())
		skip();
	_cleanup_(proc_done) struct proc sleeper = PROC_INIT;
	const char *argv[] = {"sleep", "600", NULL};
	const struct proc_options o = {.argv = argv, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1};
	assert_int_equal(walls_spawn(&o, &sleeper, NULL), 0);
	_cleanup_free_ char *script =
		xasprintf("head -c1 /proc/%d/environ && kill %d", (int)sleeper.pid, (int)sleeper.pid);
	assert_int_equal(behind(script), 0);
	struct wait w = WAIT_INIT;
	int status;
	w.deadline_mono_ms = clock_mono_ms() + PATIENCE_MS;
	assert_int_equal(proc_wait(&sleeper, &w, &status, NULL), 0);
	assert_int_equal(status, 128 + SIGTERM);
}

static void this_process_keeps_its_rights(void **state)
{
	(void)state;
	if (!raised())
		skip();
	_cleanup_free_ char *path = fs_join(place, "state/secret");
	_cleanup_(str_done) struct str text = STR_INIT(OUTPUT_MAX);
	assert_int_equal(fs_read(AT_FDCWD, path, OUTPUT_MAX, &text, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_closed_is_not_reached_and_what_is_open_in_it_is),
		cmocka_unit_test(a_link_into_what_is_closed_leads_nowhere),
		cmocka_unit_test(a_process_before_the_walls_is_neither_read_nor_signalled),
		cmocka_unit_test(an_abstract_socket_before_the_walls_is_not_connected_to),
		cmocka_unit_test(what_is_started_behind_them_reaches_each_other),
		cmocka_unit_test(this_process_keeps_its_rights),
	};
	return cmocka_run_group_tests_name("walls", tests, make_place, drop_place);
}
