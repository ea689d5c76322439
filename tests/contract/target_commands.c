/* What engine/target/target.h promises of commands, of their end and of what a fence leaves running, asked of every kind of target. */
#include "contract/target_world.h"

/* ---- commands ---- */

static void a_command_has_streams_status_environment_folder_and_input(void **state)
{
	struct world *w = *state;
	struct target_result r = TARGET_RESULT_INIT;
	const char *const argv[] = {
		"sh", "-c",       "cat; printf '%s|%s|%s' \"$1\" \"$SECRET\" \"$PWD\"; echo err >&2; exit 9",
		"sh", "a 'b' $c", NULL};
	const struct field_pair env[] = {{"SECRET", "it's\na $secret"}};
	struct target_command c = {
		.argv = argv, .env = env, .env_count = 1, .cwd = w->dir, .input = "in\0put", .input_len = 6};
	OK(OP(run)(w->t, &c, &r, &w->err));
	assert_int_equal(r.status, 9);
	_cleanup_free_ char *want = xasprintf("a 'b' $c|it's\na $secret|%s", w->dir);
	assert_int_equal(r.out.len, 6 + strlen(want));
	assert_memory_equal(r.out.data, "in\0put", 6);
	assert_string_equal(r.out.data + 6, want);
	assert_string_equal(str_peek(&r.err), "err\n");
	target_result_done(&r);
	struct target_result none = TARGET_RESULT_INIT;
	OK(run_script(w, "cat; false", &none));
	assert_int_equal(none.status, 1);
	assert_int_equal(none.out.len, 0);
	target_result_done(&none);
	struct target_result killed = TARGET_RESULT_INIT;
	const char *const self[] = {"sh", "-c", "kill -KILL $$", NULL};
	struct target_command k = {.argv = self};
	OK(OP(query)(V, &k, &killed, &w->err));
	assert_int_equal(killed.status, 128 + 9);
	target_result_done(&killed);
}

static void a_command_has_the_locale_of_its_user(void **state)
{
	struct world *w = *state;
	struct target_result r = TARGET_RESULT_INIT;
	if (strcmp(kind, "ssh") == 0)
		skip();
	const char *const before = getenv("LC_ALL");
	_cleanup_free_ char *saved = xstrdup(before);
	setenv("LC_ALL", "C.UTF-8", 1);
	OK(run_script(w, "printf %s \"$LC_ALL\"", &r));
	assert_string_equal(str_peek(&r.out), "C.UTF-8");
	target_result_done(&r);
	if (saved != NULL)
		setenv("LC_ALL", saved, 1);
	else
		unsetenv("LC_ALL");
}

struct seen {
	size_t len, until;
	char first, last;
};

static int see(void *context, const char *data, size_t len, struct err *err)
{
	struct seen *s = context;
	if (s->len == 0)
		s->first = data[0];
	s->len += len;
	s->last = data[len - 1];
	return s->until > 0 && s->len >= s->until ? err_set(err, ERR_FAILED, "no more of it") : 0;
}

static void a_commands_output_is_handed_on_whole_and_none_of_it_is_kept(void **state)
{
	struct world *w = *state;
	struct target_result r = TARGET_RESULT_INIT;
	struct seen seen = {0};
	struct target_command c = {.script = "printf a; head -c 5000000 /dev/zero; printf z; echo e >&2; exit 3",
	                           .on_data = see,
	                           .context = &seen};
	OK(OP(query)(V, &c, &r, &w->err));
	assert_int_equal(r.status, 3);
	assert_int_equal(seen.len, 5000002);
	assert_int_equal(seen.first, 'a');
	assert_int_equal(seen.last, 'z');
	assert_int_equal(r.out.len, 0);
	assert_string_equal(str_peek(&r.err), "e\n");
	target_result_done(&r);
}

static void a_command_ends_when_nobody_wants_more_of_its_output(void **state)
{
	struct world *w = *state;
	struct target_result r = TARGET_RESULT_INIT, after = TARGET_RESULT_INIT;
	struct seen seen = {.until = 300000};
	/* One of each kind: giving a command up takes a while. */
	if (strcmp(kind, "local") != 0 && strcmp(kind, "ssh") != 0)
		skip();
	struct target_command c = {.script = "while :; do echo more; done", .on_data = see, .context = &seen};
	assert_int_equal(OP(query)(V, &c, &r, &w->err), ERR_FAILED);
	assert_string_equal(w->err.frames[0].text, "no more of it");
	err_clear(&w->err);
	target_result_done(&r);
	OK(run_script(w, "printf there", &after));
	assert_string_equal(str_peek(&after.out), "there");
	target_result_done(&after);
}

static void a_commands_output_is_kept_up_to_its_ceiling(void **state)
{
	struct world *w = *state;
	struct target_result r = TARGET_RESULT_INIT;
	struct target_command c = {.script = "head -c 500000 /dev/zero | tr '\\0' x; echo e >&2", .max_output = 1000};
	OK(OP(query)(V, &c, &r, &w->err));
	assert_int_equal(r.status, 0);
	assert_int_equal(r.out.len, 1000);
	target_result_done(&r);
}

static void collect_line(void *context, bool is_stderr, const char *line, size_t len)
{
	struct strv *lines = context;
	strv_addf(lines, "%c%.*s", is_stderr ? '!' : ' ', (int)len, line);
}

static void lines_come_one_by_one(void **state)
{
	struct world *w = *state;
	_cleanup_(strv_done) struct strv lines = {0};
	struct target_result r = TARGET_RESULT_INIT;
	struct target_command c = {
		.script = "echo one; echo two >&2; printf 'no end'", .on_line = collect_line, .context = &lines};
	OK(OP(query)(V, &c, &r, &w->err));
	assert_int_equal(lines.count, 3);
	assert_true(strv_has(&lines, " one") && strv_has(&lines, "!two") && strv_has(&lines, " no end"));
	target_result_done(&r);
}

/* The number in a file that a command writes: it is there before its content is. */
static pid_t pid_in(struct world *w, const char *name)
{
	for (int64_t end = clock_mono_ms() + 20000; clock_mono_ms() < end; usleep(1000)) {
		_cleanup_(str_done) struct str text = STR_INIT(64);
		if (fs_read(AT_FDCWD, at(w, name), 64, &text, NULL) < 0 || strchr(str_peek(&text), '\n') == NULL)
			continue;
		pid_t pid = (pid_t)strtol(str_peek(&text), NULL, 10);
		assert_true(pid > 1);
		return pid;
	}
	fail_msg("%s: no process writes its number into %s", kind, name);
	return 0;
}

/* A zombie has ended: who collects it is another's matter. */
static bool runs(pid_t pid)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/stat", (int)pid);
	_cleanup_(str_done) struct str stat = STR_INIT(4096);
	return fs_read(AT_FDCWD, path, 4095, &stat, NULL) == 0 && strstr(stat.data, ") Z ") == NULL;
}

static void wait_until_gone(struct world *w, const char *name)
{
	pid_t pid = pid_in(w, name);
	for (int64_t end = clock_mono_ms() + 10000; clock_mono_ms() < end;)
		if (!runs(pid))
			return;
	fail_msg("%s: the command still runs", kind);
}

static void a_command_out_of_time_is_ended_with_its_children(void **state)
{
	struct world *w = *state;
	struct target_result r = TARGET_RESULT_INIT;
	_cleanup_free_ char *script = xasprintf("trap '' TERM; sleep 60 & echo $! >'%s'; wait; wait", at(w, "pid"));
	struct target_command c = {.script = script, .timeout_ms = 1500};
	OK(OP(run)(w->t, &c, &r, &w->err));
	assert_true(r.timed_out);
	wait_until_gone(w, "pid");
	target_result_done(&r);
}

static int cancel_when_there(void *context, struct err *err)
{
	struct world *w = context;
	(void)err;
	if (here(w, "pid") && !here(w, "cancelled")) {
		write_here(w, "cancelled", "", 0600);
		ssize_t n = write(w->wait.cancel_fd, "\1\0\0\0\0\0\0\0", 8);
		(void)n;
	}
	return 0;
}

static void a_cancel_ends_a_hanging_command_at_once(void **state)
{
	struct world *w = *state;
	struct target_result r = TARGET_RESULT_INIT;
	_cleanup_free_ char *script = xasprintf("echo $$ >'%s'; sleep 60", at(w, "pid"));
	_cleanup_free_ char *quoted = xasprintf("sh -c 'echo $$ >%s; exec sleep 60'", at(w, "pid"));
	struct target_command c = {.script = quoted};
	OK(target_open(V, &w->err));
	int fds[2];
	assert_int_equal(pipe(fds), 0);
	w->wait.cancel_fd = fds[0];
	/* The tick cannot write to the reading end: a small proxy. */
	struct world proxy = *w;
	proxy.wait.cancel_fd = fds[1];
	w->wait.tick = cancel_when_there;
	w->wait.tick_ms = 20;
	w->wait.context = &proxy;
	struct stat st;
	FAILS(ERR_CANCELLED, OP(run)(w->t, &c, &r, &w->err));
	assert_int_equal(stat(at(w, "cancelled"), &st), 0);
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	double took = (double)(now.tv_sec - st.st_mtim.tv_sec) + (double)(now.tv_nsec - st.st_mtim.tv_nsec) / 1e9;
	if (took > 20)
		fail_msg("%s: %.2f s from the cancel to the end", kind, took);
	wait_until_gone(w, "pid");
	w->wait.cancel_fd = -1;
	w->wait.tick = NULL;
	close(fds[0]);
	close(fds[1]);
	target_result_done(&r);
	OK(OP(put)(w->t, at(w, "after"), "x", 1, NULL, &w->err));
}

static void what_a_command_leaves_running_is_not_waited_for(void **state)
{
	struct world *w = *state;
	struct target_result r = TARGET_RESULT_INIT;
	int64_t begin = clock_mono_ms();
	_cleanup_free_ char *script = xasprintf("sleep 20 >/dev/null 2>&1 & echo $! >'%s'; echo started", at(w, "pid"));
	OK(run_script(w, script, &r));
	assert_string_equal(str_peek(&r.out), "started\n");
	assert_true(clock_mono_ms() - begin < 10000);
	pid_t pid = pid_in(w, "pid");
	assert_int_equal(kill(pid, 0), 0);
	kill(pid, SIGKILL);
	target_result_done(&r);
}

static void another_user_runs_it_where_we_are_root(void **state)
{
	struct world *w = *state;
	struct target_result r = TARGET_RESULT_INIT;
	const struct field_pair env[] = {{"SECRET", "s"}};
	struct target_command c = {.script = "cat; id -un; echo $SECRET",
	                           .user = "nobody",
	                           .env = env,
	                           .env_count = 1,
	                           .input = "in\n",
	                           .input_len = 3};
	if (geteuid() != 0)
		skip();
	OK(OP(query)(V, &c, &r, &w->err));
	assert_string_equal(str_peek(&r.out), "in\nnobody\ns\n");
	target_result_done(&r);
}

/* Notes the end of its work, which a signal tells it to come to; a second one it would note too. */
static char *patient_script(struct world *w)
{
	return xasprintf(
		"trap 'echo told >>\"%s\"' INT; echo $$ >'%s'; until [ -s '%s' ] || [ -e '%s' ]; do sleep 0.1; done; "
		"echo saved >'%s'; echo last; exit 3",
		at(w, "told"), at(w, "pid"), at(w, "told"), at(w, "enough"), at(w, "saved"));
}

static void what_may_not_be_killed_is_told_once_and_ends_by_itself(void **state)
{
	struct world *w = *state;
	struct target_result r = TARGET_RESULT_INIT;
	_cleanup_free_ char *script = patient_script(w);
	struct target_command c = {.script = script, .grace_ms = 60000};
	int fds[2];
	assert_int_equal(pipe(fds), 0);
	struct world proxy = *w;
	w->wait.cancel_fd = fds[0];
	proxy.wait.cancel_fd = fds[1];
	w->wait.tick = cancel_when_there;
	w->wait.tick_ms = 20;
	w->wait.context = &proxy;
	FAILS(ERR_CANCELLED, OP(run)(w->t, &c, &r, &w->err));
	assert_int_equal(r.status, 3);
	assert_string_equal(str_peek(&r.out), "last\n");
	assert_true(fs_exists(AT_FDCWD, at(w, "saved")));
	_cleanup_(str_done) struct str told = STR_INIT(100);
	OK(fs_read(AT_FDCWD, at(w, "told"), 100, &told, NULL));
	assert_string_equal(str_peek(&told), "told\n");
	w->wait.cancel_fd = -1;
	w->wait.tick = NULL;
	close(fds[0]);
	close(fds[1]);
	target_result_done(&r);
	/* Its own deadline tells it too. */
	struct target_result late = TARGET_RESULT_INIT;
	assert_int_equal(unlink(at(w, "told")), 0);
	c.timeout_ms = 300;
	OK(OP(query)(V, &c, &late, &w->err));
	assert_true(late.timed_out);
	assert_string_equal(str_peek(&late.out), "last\n");
	target_result_done(&late);
}

static void what_hears_nothing_is_ended_when_its_time_is_over(void **state)
{
	struct world *w = *state;
	struct target_result r = TARGET_RESULT_INIT;
	_cleanup_free_ char *script =
		xasprintf("trap '' INT TERM; echo $$ >'%s'; while :; do sleep 0.1; done", at(w, "pid"));
	struct target_command c = {.script = script, .grace_ms = 300};
	int fds[2];
	assert_int_equal(pipe(fds), 0);
	struct world proxy = *w;
	w->wait.cancel_fd = fds[0];
	proxy.wait.cancel_fd = fds[1];
	w->wait.tick = cancel_when_there;
	w->wait.tick_ms = 20;
	w->wait.context = &proxy;
	FAILS(ERR_CANCELLED, OP(run)(w->t, &c, &r, &w->err));
	wait_until_gone(w, "pid");
	w->wait.cancel_fd = -1;
	w->wait.tick = NULL;
	close(fds[0]);
	close(fds[1]);
	target_result_done(&r);
	OK(OP(put)(w->t, at(w, "after"), "x", 1, NULL, &w->err));
}

/* ---- the guard ---- */

static void the_fence_waits_for_what_may_not_be_killed(void **state)
{
	struct world *w = *state;
	struct target *former = make(w->base);
	_cleanup_free_ char *script = patient_script(w);
	former->lock_dir = xstrdup(w->lock_dir);
	former->token = xstrdup("0123456789abcdef");
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		struct target_result r = TARGET_RESULT_INIT;
		struct target_command c = {.script = script, .grace_ms = 60000, .timeout_ms = 60000};
		host_run(former, &c, &r, &w->err);
		_exit(0);
	}
	(void)pid_in(w, "pid");
	int status;
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	write_lock(w, "1111111111111111");
	free(w->t->token);
	w->t->token = xstrdup("1111111111111111");
	/* Its work comes to its end while the fence waits. */
	_cleanup_free_ char *enough = xstrdup(at(w, "enough"));
	pid_t other = fork();
	assert_true(other >= 0);
	if (other == 0) {
		usleep(300000);
		_exit(fs_write_replace(AT_FDCWD, enough, "x", 1, 0600, NULL) < 0);
	}
	OK(OP(fence)(w->t, w->lock_dir, &w->err));
	waitpid(other, &status, 0);
	assert_true(fs_exists(AT_FDCWD, at(w, "saved")));
	assert_false(fs_exists(AT_FDCWD, at(w, "told")));
	wait_until_gone(w, "pid");
	target_free(former);
}

static void the_fence_ends_what_a_former_owner_has_running(void **state)
{
	struct world *w = *state;
	struct target_result r = TARGET_RESULT_INIT;
	/* The former owner: another handle, which is left in the middle of a command. */
	struct target *former = make(w->base);
	former->lock_dir = xstrdup(w->lock_dir);
	former->token = xstrdup("0123456789abcdef");
	struct wait short_wait = WAIT_INIT;
	former->view.wait = &short_wait;
	short_wait = wait_within(&short_wait, 60000);
	_cleanup_free_ char *quoted =
		xasprintf("echo $$ >'%s'; sleep 60 & echo $! >'%s'; wait", at(w, "first"), at(w, "pid"));
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		struct target_command c = {.script = quoted};
		host_run(former, &c, &r, &w->err);
		_exit(0);
	}
	(void)pid_in(w, "pid");
	write_lock(w, "1111111111111111");
	free(w->t->token);
	w->t->token = xstrdup("1111111111111111");
	OK(OP(fence)(w->t, w->lock_dir, &w->err));
	wait_until_gone(w, "pid");
	int status;
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	/* Twice equals once; notes of processes that are long gone and of other boots are swept. */
	_cleanup_free_ char *stale = xasprintf("%s/pids/999999", w->lock_dir);
	assert_int_equal(fs_write_replace(AT_FDCWD, stale, "123 another-boot 999999\n", 24, 0600, NULL), 0);
	OK(OP(fence)(w->t, w->lock_dir, &w->err));
	assert_false(fs_exists(AT_FDCWD, stale));
	OK(OP(put)(w->t, at(w, "after"), "x", 1, NULL, &w->err));
	former->view.wait = NULL;
	target_free(former);
	target_result_done(&r);
}

/* A child of its own session, whose parent is gone: nothing but its environment tells whose it is. It says its number in `name`. */
static char *a_daemon(struct world *w, const char *name)
{
	return xasprintf(
		"setsid sh -c 'sh -c \"echo \\$\\$ >%s.new; mv %s.new %s; exec sleep 600\" >/dev/null 2>&1 &'\n",
		at(w, name), at(w, name), at(w, name));
}

/* Another davit is killed in the middle of this command, and its command's first process with it. */
static void die_in(struct world *w, const struct target_command *c, const char *first)
{
	int status;
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		struct target_result r = TARGET_RESULT_INIT;
		struct target *former = make(w->base);
		former->lock_dir = xstrdup(w->lock_dir);
		former->token = xstrdup(w->t->token);
		host_run(former, c, &r, &w->err);
		_exit(0);
	}
	pid_t leader = pid_in(w, first);
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	kill(leader, SIGKILL);
}

static void take_the_lock(struct world *w)
{
	write_lock(w, "1111111111111111");
	free(w->t->token);
	w->t->token = xstrdup("1111111111111111");
	OK(OP(fence)(w->t, w->lock_dir, &w->err));
}

static void the_fence_ends_what_left_its_session_and_its_parents(void **state)
{
	struct world *w = *state;
	_cleanup_free_ char *daemon = a_daemon(w, "daemon");
	_cleanup_free_ char *script =
		xasprintf("%swhile [ ! -e '%s' ]; do sleep 0.01; done; sleep 600 & echo $! >'%s'; echo $$ >'%s'; wait",
	                  daemon, at(w, "daemon"), at(w, "child"), at(w, "first"));
	struct target_command c = {.script = script};
	die_in(w, &c, "first");
	assert_true(runs(pid_in(w, "daemon")));
	take_the_lock(w);
	assert_false(runs(pid_in(w, "daemon")));
	assert_false(runs(pid_in(w, "child")));
}

static void the_fence_ends_what_goes_on_forking(void **state)
{
	struct world *w = *state;
	_cleanup_free_ char *script = xasprintf(
		"setsid sh -c 'while [ -d %s ]; do sh -c \"echo x >>%s\"; (sleep 0.1; echo y >>%s) & done' >/dev/null 2>&1 &\n"
		"while [ ! -e '%s' ]; do sleep 0.01; done; echo $$ >'%s'; wait",
		w->dir, at(w, "log"), at(w, "log"), at(w, "log"), at(w, "first"));
	struct target_command c = {.script = script};
	struct stat st;
	die_in(w, &c, "first");
	take_the_lock(w);
	/* Moved away: whoever still writes makes it anew. */
	assert_int_equal(rename(at(w, "log"), at(w, "log.then")), 0);
	for (int64_t end = clock_mono_ms() + 300; clock_mono_ms() < end;)
		assert_int_not_equal(stat(at(w, "log"), &st), 0);
}

static void the_fence_leaves_what_a_command_that_ended_well_left_running(void **state)
{
	struct world *w = *state;
	struct target_result r = TARGET_RESULT_INIT;
	_cleanup_free_ char *service = a_daemon(w, "service"),
			    *plain = xasprintf("echo $$ >'%s'; exec sleep 600", at(w, "first"));
	_cleanup_free_ char *background =
		xasprintf("%snohup sleep 600 >/dev/null 2>&1 & echo $! >'%s'", service, at(w, "nohup"));
	struct target_command c = {.script = plain};
	OK(run_script(w, background, &r));
	assert_int_equal(r.status, 0);
	target_result_done(&r);
	pid_t of_service = pid_in(w, "service"), of_nohup = pid_in(w, "nohup");
	die_in(w, &c, "first");
	take_the_lock(w);
	assert_true(runs(of_service));
	assert_true(runs(of_nohup));
	kill(of_service, SIGKILL);
	kill(of_nohup, SIGKILL);
}

static void the_fence_ends_what_runs_as_another_user(void **state)
{
	struct world *w = *state;
	if (geteuid() != 0)
		skip();
	assert_int_equal(chmod(w->dir, 0777), 0);
	_cleanup_free_ char *daemon = a_daemon(w, "daemon");
	_cleanup_free_ char *script = xasprintf("%swhile [ ! -e '%s' ]; do sleep 0.01; done; echo $$ >'%s'; sleep 600",
	                                        daemon, at(w, "daemon"), at(w, "first"));
	struct target_command c = {.script = script, .user = "nobody"};
	die_in(w, &c, "first");
	take_the_lock(w);
	assert_false(runs(pid_in(w, "daemon")));
}

static void a_command_out_of_time_is_ended_with_what_left_its_session(void **state)
{
	struct world *w = *state;
	struct target_result r = TARGET_RESULT_INIT;
	_cleanup_free_ char *daemon = a_daemon(w, "daemon");
	_cleanup_free_ char *script = xasprintf("%ssleep 600", daemon);
	struct target_command c = {.script = script, .timeout_ms = 1500};
	OK(OP(run)(w->t, &c, &r, &w->err));
	assert_true(r.timed_out);
	assert_false(runs(pid_in(w, "daemon")));
	target_result_done(&r);
}

static void a_note_stands_while_it_acts_and_goes_with_the_guard(void **state)
{
	struct world *w = *state;
	_cleanup_(strv_done) struct strv names = {0};
	_cleanup_free_ char *pids = fs_join(w->lock_dir, "pids");
	struct target_result r = TARGET_RESULT_INIT;
	_cleanup_free_ char *script = xasprintf("ls '%s' | wc -l", pids);
	OK(run_script(w, script, &r));
	assert_true(strtol(str_peek(&r.out), NULL, 10) >= 1);
	target_result_done(&r);
	OK(OP(put)(w->t, at(w, "f"), "x", 1, NULL, &w->err));
	free(TAKE(w->t->lock_dir));
	OK(OP(mkdir)(w->t, at(w, "base/x"), NULL, &w->err));
	for (int64_t end = clock_mono_ms() + 5000; clock_mono_ms() < end;) {
		strv_done(&names);
		OK(OP(list)(V, pids, &names, &w->err));
		if (names.count == 0)
			break;
	}
	assert_int_equal(names.count, 0);
}

/* ---- all kinds ---- */

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_command_has_streams_status_environment_folder_and_input),
		T(a_command_has_the_locale_of_its_user),
		T(a_commands_output_is_handed_on_whole_and_none_of_it_is_kept),
		T(a_command_ends_when_nobody_wants_more_of_its_output),
		T(a_commands_output_is_kept_up_to_its_ceiling),
		T(lines_come_one_by_one),
		T(a_command_out_of_time_is_ended_with_its_children),
		T(a_cancel_ends_a_hanging_command_at_once),
		T(what_a_command_leaves_running_is_not_waited_for),
		T(another_user_runs_it_where_we_are_root),
		T(what_may_not_be_killed_is_told_once_and_ends_by_itself),
		T(what_hears_nothing_is_ended_when_its_time_is_over),
		T(the_fence_waits_for_what_may_not_be_killed),
		T(the_fence_ends_what_a_former_owner_has_running),
		T(the_fence_ends_what_left_its_session_and_its_parents),
		T(the_fence_ends_what_goes_on_forking),
		T(the_fence_leaves_what_a_command_that_ended_well_left_running),
		T(the_fence_ends_what_runs_as_another_user),
		T(a_command_out_of_time_is_ended_with_what_left_its_session),
		T(a_note_stands_while_it_acts_and_goes_with_the_guard),
	};
	RUN_ALL_KINDS(tests);
}
