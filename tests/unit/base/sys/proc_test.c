#include "unit/cmocka_all.h"
#include "base/core/clock.h"
#include "base/sys/proc.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct wait within(int64_t ms)
{
	struct wait w = WAIT_INIT;
	w.deadline_mono_ms = clock_mono_ms() + ms;
	return w;
}

static int run_sh(const char *script, const char *input, struct str *out, struct str *errors, int *status)
{
	const char *argv[] = {"sh", "-c", script, NULL};
	struct proc_options o = {.argv = argv};
	struct wait w = within(20000);
	struct err err = ERR_INIT;
	return proc_run(&o, input, input != NULL ? strlen(input) : 0, 1 << 20, &w, out, errors, status, &err);
}

static void a_child_is_fed_and_collected(void **state)
{
	(void)state;
	_cleanup_(str_done) struct str out = STR_INIT(1 << 20), errors = STR_INIT(1 << 20);
	int status = -1;
	assert_int_equal(run_sh("cat; echo bad >&2; exit 3", "hello", &out, &errors, &status), 0);
	assert_string_equal(str_peek(&out), "hello");
	assert_string_equal(str_peek(&errors), "bad\n");
	assert_int_equal(status, 3);
}

static void much_input_and_output_do_not_block_each_other(void **state)
{
	(void)state;
	size_t size = 900000;
	char *input = malloc(size + 1);
	memset(input, 'x', size);
	input[size] = '\0';
	_cleanup_(str_done) struct str out = STR_INIT(1 << 20);
	int status = -1;
	assert_int_equal(run_sh("cat", input, &out, NULL, &status), 0);
	assert_int_equal(out.len, size);
	assert_int_equal(run_sh("exit 0", input, &out, NULL, &status), 0);
	assert_int_equal(status, 0);
	free(input);
}

static void more_output_than_allowed_stops_the_child(void **state)
{
	(void)state;
	_cleanup_(str_done) struct str out = STR_INIT(1 << 20);
	const char *argv[] = {"sh", "-c", "while :; do echo 0123456789; done", NULL};
	struct proc_options o = {.argv = argv};
	struct wait w = within(20000);
	struct err err = ERR_INIT;
	int status;
	assert_int_equal(proc_run(&o, NULL, 0, 1000, &w, &out, NULL, &status, &err), ERR_LIMIT);
}

static void a_deadline_stops_the_whole_group(void **state)
{
	(void)state;
	_cleanup_(str_done) struct str out = STR_INIT(4096);
	const char *argv[] = {"sh", "-c", "sleep 1000 & echo $!; wait", NULL};
	struct proc_options o = {.argv = argv};
	struct wait w = within(300);
	struct err err = ERR_INIT;
	int status;
	int64_t before = clock_mono_ms();
	assert_int_equal(proc_run(&o, NULL, 0, 4096, &w, &out, NULL, &status, &err), ERR_TIMEOUT);
	assert_true(clock_mono_ms() - before < 5000);
	pid_t grandchild = (pid_t)strtol(str_peek(&out), NULL, 10);
	assert_true(grandchild > 0);
	struct wait gone = within(5000);
	while (proc_alive(grandchild, proc_start_time(grandchild)))
		assert_int_equal(wait_ms(&gone, 5, &err), 0);
}

static void a_signal_shows_in_the_status(void **state)
{
	(void)state;
	int status = 0;
	assert_int_equal(run_sh("kill -TERM $$", NULL, NULL, NULL, &status), 0);
	assert_int_equal(status, 128 + SIGTERM);
}

static void a_child_that_ignores_sigint_is_terminated_then_killed(void **state)
{
	(void)state;
	const char *argv[] = {"sh", "-c", "trap '' INT TERM; echo ready; while :; do sleep 1; done", NULL};
	struct proc_options o = {.argv = argv, .stdin_fd = -1, .stdout_fd = PROC_PIPE, .stderr_fd = -1};
	struct proc p = PROC_INIT;
	struct err err = ERR_INIT;
	assert_int_equal(proc_spawn(&o, &p, &err), 0);
	struct wait w = within(5000);
	assert_true(wait_fd(&w, p.stdout_fd, POLLIN, &err) > 0);
	int status = 0;
	assert_int_equal(proc_stop(&p, 50, 50, &status, &err), 0);
	assert_int_equal(status, 128 + SIGKILL);
	assert_int_equal(p.pid, 0);
	proc_done(&p);
}

static void a_signal_ignored_by_us_is_not_ignored_by_the_child(void **state)
{
	(void)state;
	signal(SIGINT, SIG_IGN);
	int status = 0;
	assert_int_equal(run_sh("kill -INT $$; exit 9", NULL, NULL, NULL, &status), 0);
	assert_int_equal(status, 128 + SIGINT);
	signal(SIGINT, SIG_DFL);
}

static int status_of_a_broken_pipe(bool ignored)
{
	const char *argv[] = {"bash", "-c", "yes 2> /dev/null | head -n 1 > /dev/null; exit ${PIPESTATUS[0]}", NULL};
	struct proc_options o = {
		.argv = argv, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1, .ignore_sigpipe = ignored};
	struct wait w = within(5000);
	struct err err = ERR_INIT;
	int status = -1;
	assert_int_equal(proc_run(&o, NULL, 0, 0, &w, NULL, NULL, &status, &err), 0);
	return status;
}

static void a_broken_pipe_ends_a_child_unless_it_inherits_that_it_does_not(void **state)
{
	(void)state;
	assert_int_equal(status_of_a_broken_pipe(false), 128 + SIGPIPE);
	assert_int_equal(status_of_a_broken_pipe(true), 1);
}

static void a_missing_program_or_directory_is_named(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	char line[512];
	const char *argv[] = {"no-such-program-here", NULL};
	struct proc_options o = {.argv = argv, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1};
	struct proc p = PROC_INIT;
	assert_int_equal(proc_spawn(&o, &p, &err), ERR_NOT_FOUND);
	assert_non_null(strstr(err_line(&err, line, sizeof(line)), "no-such-program-here"));
	const char *sh[] = {"sh", NULL};
	o = (struct proc_options){.argv = sh, .cwd = "/no/such/dir", .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1};
	assert_int_equal(proc_spawn(&o, &p, &err), ERR_NOT_FOUND);
	assert_non_null(strstr(err_line(&err, line, sizeof(line)), "/no/such/dir"));
}

static void given_descriptors_and_no_others_reach_the_child(void **state)
{
	(void)state;
	int secret[2], kept[2];
	assert_int_equal(pipe2(secret, O_CLOEXEC), 0);
	assert_int_equal(pipe2(kept, O_CLOEXEC), 0);
	int keep[] = {kept[1], -1};
	char script[128];
	snprintf(script, sizeof(script), "test -e /proc/self/fd/%d && test ! -e /proc/self/fd/%d", kept[1], secret[1]);
	const char *argv[] = {"sh", "-c", script, NULL};
	struct proc_options o = {.argv = argv, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1, .keep_fds = keep};
	struct proc p = PROC_INIT;
	struct err err = ERR_INIT;
	assert_int_equal(proc_spawn(&o, &p, &err), 0);
	struct wait w = within(5000);
	int status = -1;
	assert_int_equal(proc_wait(&p, &w, &status, &err), 0);
	assert_int_equal(status, 0);
}

static void what_a_library_left_open_does_not_reach_the_child(void **state)
{
	(void)state;
	_cleanup_(str_done) struct str out = STR_INIT(1 << 20);
	int status = -1, left_open = open("/dev/null", O_RDONLY);
	assert_true(left_open >= 0);
	char *script = xasprintf("test ! -e /proc/self/fd/%d && echo closed", left_open);
	assert_int_equal(run_sh(script, NULL, &out, NULL, &status), 0);
	assert_string_equal(str_peek(&out), "closed\n");
	free(script);
	close(left_open);
}

static void a_process_is_known_by_its_start_time(void **state)
{
	(void)state;
	uint64_t start = proc_start_time(getpid());
	assert_true(start > 0);
	assert_true(proc_alive(getpid(), start));
	assert_false(proc_alive(getpid(), start + 1));
	assert_int_equal(proc_start_time(0), 0);
	assert_true(strlen(proc_boot_id()) == 36);
	assert_true(proc_pid_namespace() != 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_child_is_fed_and_collected),
		cmocka_unit_test(much_input_and_output_do_not_block_each_other),
		cmocka_unit_test(more_output_than_allowed_stops_the_child),
		cmocka_unit_test(a_deadline_stops_the_whole_group),
		cmocka_unit_test(a_signal_shows_in_the_status),
		cmocka_unit_test(a_child_that_ignores_sigint_is_terminated_then_killed),
		cmocka_unit_test(a_signal_ignored_by_us_is_not_ignored_by_the_child),
		cmocka_unit_test(a_broken_pipe_ends_a_child_unless_it_inherits_that_it_does_not),
		cmocka_unit_test(a_missing_program_or_directory_is_named),
		cmocka_unit_test(given_descriptors_and_no_others_reach_the_child),
		cmocka_unit_test(what_a_library_left_open_does_not_reach_the_child),
		cmocka_unit_test(a_process_is_known_by_its_start_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
