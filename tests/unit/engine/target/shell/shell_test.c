/* The shell target when things break: sshd killed, the connection cut or mute, the disk full, sudo, wrong keys. A real
 * sshd behind a proxy that cuts (tests/servers). Mounts are made in a private namespace. */
#include "unit/cmocka_all.h"
#include "base/sys/fs.h"
#include "base/data/json.h"
#include "harness/server.h"
#include "engine/target/shell/shell.h"
#include "steps/registry.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>

static struct server sshd, proxy, people;
static char *key_text;

struct world {
	struct target *t;
	char *dir, *base, *lock_dir;
	struct wait wait;
	struct err err;
	char line[4096];
};

static void expect(struct world *w, int r, int want, const char *what)
{
	if (r != want)
		fail_msg("%s: %d instead of %d: %s", what, r, want, err_line(&w->err, w->line, sizeof(w->line)));
}
#define OK(call) expect(w, (call), 0, #call)
#define FAILS(code, call) expect(w, (call), (code), #call)
#define V (&w->t->view)
#define OP(name) w->t->view.type->name

static char *read_text(const char *path)
{
	struct str text = STR_INIT(1 << 16);
	assert_int_equal(fs_read(AT_FDCWD, path, 1 << 16, &text, NULL), 0);
	return str_take(&text);
}

static struct target *make(struct world *w, struct server *at_port, struct server *host, const char *user,
                           const char *become)
{
	struct target *t = NULL;
	_cleanup_free_ char *key = read_text(server_text(host, "key"));
	_cleanup_json_ json_t *config =
		json_pack("{s:s, s:{s:s, s:i, s:s, s:s, s:s, s:s}}", "base", w->base, "ssh", "host", "127.0.0.1",
	                  "port", server_port(at_port), "user", user, "key", key, "host_key",
	                  server_text(host, "host_key"), "connect_timeout", "5s");
	if (become != NULL)
		json_object_set_new(config, "become", json_string(become));
	assert_int_equal(target_config_use(target_kinds, "web", config, target_shell_new, &t, &w->err), 0);
	t->view.wait = &w->wait;
	return t;
}

static void write_lock(struct world *w, const char *token)
{
	_cleanup_free_ char *path = fs_join(w->lock_dir, "lock"), *text = xasprintf("{\"token\":\"%s\"}\n", token);
	assert_int_equal(fs_write_replace(AT_FDCWD, path, text, strlen(text), 0600, NULL), 0);
}

static void own(struct world *w, struct target *t)
{
	t->lock_dir = xstrdup(w->lock_dir);
	t->token = xstrdup("0123456789abcdef");
}

static struct world *new_world(void)
{
	struct world *w = xcalloc(1, sizeof(*w));
	assert_int_equal(fs_make_temp_dir("davit-fault", &w->dir, NULL), 0);
	w->base = fs_join(w->dir, "base");
	w->lock_dir = xasprintf("%s/open/shop.test", w->base);
	w->wait = (struct wait)WAIT_INIT;
	w->wait = wait_within(&w->wait, 60000);
	assert_int_equal(fs_mkdirs(AT_FDCWD, w->lock_dir, 0700, NULL), 0);
	write_lock(w, "0123456789abcdef");
	return w;
}

static int setup(void **state)
{
	char answer[16];
	struct world *w = new_world();
	assert_true(server_ask(&proxy, "pass\n", answer, sizeof(answer)));
	w->t = make(w, &proxy, &sshd, server_text(&sshd, "user"), NULL);
	own(w, w->t);
	*state = w;
	OK(target_open(V, &w->err));
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	target_free(w->t);
	umount2(w->dir, MNT_DETACH);
	fs_remove_tree(AT_FDCWD, w->dir, NULL);
	free(w->dir);
	free(w->base);
	free(w->lock_dir);
	free(w);
	return 0;
}

static char *at(struct world *w, const char *name)
{
	static char paths[8][4096];
	static unsigned next;
	char *path = paths[next++ % 8];
	snprintf(path, sizeof(paths[0]), "%s/%s", w->dir, name);
	return path;
}

static bool here(struct world *w, const char *name)
{
	struct stat st;
	return lstat(at(w, name), &st) == 0;
}

static void expect_here(struct world *w, const char *name, const char *text)
{
	_cleanup_free_ char *got = read_text(at(w, name));
	assert_string_equal(got, text);
}

static void tell(const char *order)
{
	char answer[16];
	assert_true(server_ask(&proxy, order, answer, sizeof(answer)));
}

static pid_t pid_in(struct world *w, const char *name)
{
	for (int64_t end = clock_mono_ms() + 20000; clock_mono_ms() < end;) {
		_cleanup_(str_done) struct str text = STR_INIT(64);
		if (fs_read(AT_FDCWD, at(w, name), 64, &text, NULL) == 0 && text.len > 1 &&
		    text.data[text.len - 1] == '\n')
			return (pid_t)strtol(text.data, NULL, 10);
	}
	fail_msg("'%s' does not come", name);
	return 0;
}

static bool runs(pid_t pid)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/stat", (int)pid);
	_cleanup_(str_done) struct str stat = STR_INIT(4096);
	return fs_read(AT_FDCWD, path, 4096, &stat, NULL) == 0 && strstr(stat.data, ") Z ") == NULL;
}

/* ---- the connection ---- */

/* Runs in every wait's tick: as soon as the command of the test has written its pid, the order goes out. */
struct breaking {
	struct world *w;
	const char *order;
	bool done;
};

static int break_when_there(void *context, struct err *err)
{
	struct breaking *b = context;
	char answer[64];
	(void)err;
	if (!b->done && here(b->w, "pid")) {
		b->done = true;
		if (b->order != NULL)
			tell(b->order);
		else
			assert_true(server_ask(&sshd, "kill-sessions\n", answer, sizeof(answer)));
	}
	return 0;
}

static void break_in_a_command(struct world *w, const char *order)
{
	struct breaking b = {.w = w, .order = order};
	struct target_result r = TARGET_RESULT_INIT;
	_cleanup_free_ char *script = xasprintf("echo $$ >'%s'; mv '%s' '%s'; sleep 60; echo late >'%s'", at(w, "new"),
	                                        at(w, "new"), at(w, "pid"), at(w, "late"));
	const char *const argv[] = {"sh", "-c", script, NULL};
	struct target_command c = {.argv = argv};
	w->wait.tick = break_when_there;
	w->wait.tick_ms = 10;
	w->wait.context = &b;
	FAILS(ERR_UNKNOWN, OP(run)(w->t, &c, &r, &w->err));
	w->wait.tick = NULL;
	target_result_done(&r);
	pid_t pid = pid_in(w, "pid");
	/* The next operation connects again, and nothing of the lost one goes on behind its back. */
	OK(OP(put)(w->t, at(w, "after"), "x", 1, NULL, &w->err));
	assert_false(runs(pid));
	assert_false(here(w, "late"));
}

static void sshd_killed_in_a_command_leaves_it_unknown_and_the_next_call_ends_it(void **state)
{
	break_in_a_command(*state, NULL);
}

static void a_cut_in_a_command_leaves_it_unknown_and_the_next_call_ends_it(void **state)
{
	break_in_a_command(*state, "cut\n");
}

static void a_connection_that_died_while_idle_is_made_anew(void **state)
{
	struct world *w = *state;
	struct node n = {0};
	OK(OP(put)(w->t, at(w, "f"), "one", 3, NULL, &w->err));
	tell("cut\n");
	OK(OP(put)(w->t, at(w, "f"), "two", 3, NULL, &w->err));
	expect_here(w, "f", "two");
	tell("cut\n");
	OK(OP(stat)(V, at(w, "f"), &n, &w->err));
	assert_int_equal(n.size, 3);
	tell("cut\n");
	struct target_result r = TARGET_RESULT_INIT;
	struct target_command c = {.script = "echo on"};
	OK(OP(run)(w->t, &c, &r, &w->err));
	assert_string_equal(str_peek(&r.out), "on\n");
	target_result_done(&r);
}

static void a_cut_in_a_put_leaves_the_old_or_the_new_content(void **state)
{
	struct world *w = *state;
	enum { SIZE = 400000 };
	_cleanup_free_ char *data = xmalloc(SIZE);
	_cleanup_(str_done) struct str got = STR_INIT(SIZE + 1);
	memset(data, 'n', SIZE);
	OK(OP(put)(w->t, at(w, "f"), "old", 3, NULL, &w->err));
	for (int cut = 1; cut < SIZE + 3000; cut += cut < 3000 ? 400 : 90000) {
		char order[32];
		snprintf(order, sizeof(order), "cut-after %d\n", cut);
		tell(order);
		int r = OP(put)(w->t, at(w, "f"), data, SIZE, NULL, &w->err);
		tell("pass\n");
		str_clear(&got);
		assert_int_equal(fs_read(AT_FDCWD, at(w, "f"), SIZE + 1, &got, NULL), 0);
		bool old = got.len == 3 && memcmp(got.data, "old", 3) == 0,
		     new = got.len == SIZE &&got.data[SIZE - 1] == 'n';
		if (!(old || new))
			fail_msg("cut after %d bytes: %zu bytes lie there", cut, got.len);
		if (r == 0)
			assert_true(new);
		else if (r == ERR_NETWORK)
			assert_true(old);
		else
			expect(w, r, ERR_UNKNOWN, "put");
		OK(OP(put)(w->t, at(w, "f"), "old", 3, NULL, &w->err));
	}
	_cleanup_(strv_done) struct strv names = {0};
	OK(OP(list)(V, w->dir, &names, &w->err));
	assert_int_equal(names.count, 2);
}

static int produce_much(void *context, archive_write_fn write, void *write_context, struct err *err)
{
	(void)context;
	char zeros[65536] = "";
	for (int i = 0; i < 400; i++) {
		int r = write(write_context, zeros, sizeof(zeros), err);
		if (r < 0)
			return r;
	}
	return 0;
}

static void a_cut_in_an_upload_is_unknown_and_a_damaged_archive_is_an_error(void **state)
{
	struct world *w = *state;
	assert_int_equal(mkdir(at(w, "d"), 0700), 0);
	tell("cut-after 100000\n");
	FAILS(ERR_UNKNOWN, OP(unpack)(w->t, at(w, "d"), ARCHIVE_GZIP, produce_much, NULL, &w->err));
	FAILS(ERR_IO, OP(unpack)(w->t, at(w, "d"), ARCHIVE_GZIP, produce_much, NULL, &w->err));
	OK(OP(put)(w->t, at(w, "after"), "x", 1, NULL, &w->err));
}

static void a_mute_peer_ends_in_unknown_for_a_change_and_a_timeout_for_a_look(void **state)
{
	struct world *w = *state;
	struct node n;
	w->t->view.op_timeout_ms = 500;
	tell("hang\n");
	int64_t begin = clock_mono_ms();
	FAILS(ERR_UNKNOWN, OP(put)(w->t, at(w, "f"), "x", 1, NULL, &w->err));
	assert_true(clock_mono_ms() - begin < 10000);
	tell("pass\n");
	w->t->view.op_timeout_ms = 0;
	OK(OP(put)(w->t, at(w, "f"), "x", 1, NULL, &w->err));
	tell("hang\n");
	w->t->view.op_timeout_ms = 500;
	FAILS(ERR_TIMEOUT, OP(stat)(V, at(w, "f"), &n, &w->err));
	tell("pass\n");
}

static void nobody_there_is_a_network_error_that_changed_nothing(void **state)
{
	struct world *w = *state;
	struct node n;
	tell("refuse\n");
	FAILS(ERR_NETWORK, OP(put)(w->t, at(w, "f"), "x", 1, NULL, &w->err));
	FAILS(ERR_NETWORK, OP(stat)(V, at(w, "f"), &n, &w->err));
	tell("pass\n");
	assert_false(here(w, "f"));
	OK(OP(put)(w->t, at(w, "f"), "x", 1, NULL, &w->err));
}

static void a_cancel_ends_any_operation_at_once(void **state)
{
	struct world *w = *state;
	struct node n;
	int fds[2];
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(mkfifo(at(w, "pipe"), 0600), 0);
	assert_int_equal(write(fds[1], "x", 1), 1);
	w->wait.cancel_fd = fds[0];
	int64_t begin = clock_mono_ms();
	FAILS(ERR_CANCELLED, OP(put)(w->t, at(w, "f"), "x", 1, NULL, &w->err));
	FAILS(ERR_CANCELLED, OP(stat)(V, at(w, "f"), &n, &w->err));
	assert_true(clock_mono_ms() - begin < 10000);
	w->wait.cancel_fd = -1;
	OK(OP(put)(w->t, at(w, "f"), "x", 1, NULL, &w->err));
	/* While a name is looked up or a connection stands open without a word. */
	tell("hang\n");
	struct target *other = make(w, &proxy, &sshd, server_text(&sshd, "user"), NULL);
	struct wait cancelled = WAIT_INIT;
	cancelled = wait_within(&cancelled, 300);
	other->view.wait = &cancelled;
	begin = clock_mono_ms();
	FAILS(ERR_TIMEOUT, target_open(&other->view, &w->err));
	assert_true(clock_mono_ms() - begin < 10000);
	target_free(other);
	tell("pass\n");
	close(fds[0]);
	close(fds[1]);
}

/* ---- the lock's renewal ---- */

static int renew(void *context, struct err *err)
{
	struct world *w = context;
	char text[32];
	static int count;
	int len = snprintf(text, sizeof(text), "%d\n", ++count);
	return host_put(w->t, at(w, "renewed"), text, (size_t)len, NULL, err);
}

static void the_tick_may_use_the_same_target_in_the_middle_of_an_operation(void **state)
{
	struct world *w = *state;
	struct target_result r = TARGET_RESULT_INIT;
	w->wait.tick = renew;
	w->wait.tick_ms = 50;
	w->wait.context = w;
	struct target_command c = {.script = "for i in 1 2 3 4 5; do echo $i; sleep 0.1; done"};
	OK(OP(run)(w->t, &c, &r, &w->err));
	assert_string_equal(str_peek(&r.out), "1\n2\n3\n4\n5\n");
	assert_true(here(w, "renewed"));
	target_result_done(&r);
	unlink(at(w, "renewed"));
	/* And during one on the shell that works off operations. */
	enum { SIZE = 8 << 20 };
	_cleanup_free_ char *data = xcalloc(1, SIZE);
	w->wait.tick_ms = 1;
	for (int i = 0; i < 5; i++)
		OK(OP(put)(w->t, at(w, "f"), data, SIZE, NULL, &w->err));
	w->wait.tick = NULL;
	assert_true(here(w, "renewed"));
	struct stat st;
	assert_int_equal(stat(at(w, "f"), &st), 0);
	assert_int_equal(st.st_size, SIZE);
}

/* ---- the disk ---- */

static void a_full_disk_is_said_and_leaves_the_old_content(void **state)
{
	struct world *w = *state;
	enum { SIZE = 3 << 20 };
	_cleanup_free_ char *data = xmalloc(SIZE);
	memset(data, 'x', SIZE);
	assert_int_equal(mkdir(at(w, "small"), 0700), 0);
	if (mount("tmpfs", at(w, "small"), "tmpfs", 0, "size=1m") != 0)
		skip();
	OK(OP(put)(w->t, at(w, "small/f"), "old", 3, NULL, &w->err));
	FAILS(ERR_NO_SPACE, OP(put)(w->t, at(w, "small/f"), data, SIZE, NULL, &w->err));
	expect_here(w, "small/f", "old");
	FAILS(ERR_NO_SPACE, OP(append)(w->t, at(w, "small/g"), data, SIZE, &w->err));
	assert_int_equal(fs_write_replace(AT_FDCWD, at(w, "big"), data, SIZE, 0600, NULL), 0);
	FAILS(ERR_NO_SPACE, OP(copy)(w->t, at(w, "big"), at(w, "small/big"), &w->err));
	assert_false(here(w, "small/big"));
	int64_t left = 0;
	OK(OP(space)(V, at(w, "small"), &left, &w->err));
	assert_in_range(left, 0, 1 << 20);
	OK(OP(remove)(w->t, at(w, "small/f"), &w->err));
	umount2(at(w, "small"), MNT_DETACH);
}

/* ---- who we are ---- */

static void a_wrong_host_key_stops_before_anything_is_done(void **state)
{
	struct world *w = *state;
	struct target *t = NULL;
	_cleanup_json_ json_t *config =
		json_pack("{s:s, s:{s:s, s:i, s:s, s:s, s:s}}", "base", w->base, "ssh", "host", "127.0.0.1", "port",
	                  server_port(&sshd), "user", server_text(&sshd, "user"), "key", key_text, "host_key",
	                  "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
	assert_int_equal(target_config_use(target_kinds, "web", config, target_shell_new, &t, &w->err), 0);
	FAILS(ERR_AUTH, target_open(&t->view, &w->err));
	assert_non_null(strstr(err_line(&w->err, w->line, sizeof(w->line)), "target 'web'"));
	target_free(t);
	json_object_set_new(json_object_get(config, "ssh"), "key", json_string("not a key"));
	assert_int_equal(target_config_use(target_kinds, "web", config, target_shell_new, &t, &w->err), 0);
	FAILS(ERR_INVALID, target_open(&t->view, &w->err));
	target_free(t);
	json_object_del(json_object_get(config, "ssh"), "host");
	FAILS(ERR_INVALID, target_config_use(target_kinds, "web", config, target_shell_new, &t, &w->err));
}

static void sudo_makes_root_of_an_ordinary_user_and_its_refusal_is_said(void **state)
{
	struct world *w = *state;
	struct target_result r = TARGET_RESULT_INIT;
	struct stat st;
	if (people.facts == NULL || json_object_get(people.facts, "skip") != NULL) {
		print_message("sudo: %s\n", server_text(&people, "skip"));
		skip();
	}
	struct target *t = make(w, &people, &people, "deploy", "sudo");
	own(w, t);
	expect(w, target_open(&t->view, &w->err), 0, "open by sudo");
	assert_true(t->view.facts.is_root);
	assert_string_equal(t->view.facts.user, "root");
	expect(w, host_put(t, at(w, "of-root"), "x", 1, NULL, &w->err), 0, "put by sudo");
	assert_int_equal(stat(at(w, "of-root"), &st), 0);
	assert_int_equal(st.st_uid, 0);
	struct target_command c = {.script = "id -un; id -un >&2", .user = "deploy"};
	expect(w, host_run(t, &c, &r, &w->err), 0, "run by sudo as another");
	assert_string_equal(str_peek(&r.out), "deploy\n");
	target_result_done(&r);
	/* What hangs is ended although sudo stands in between. */
	_cleanup_free_ char *script = xasprintf("sleep 60 & echo $! >'%s'; wait", at(w, "pid"));
	struct target_command slow = {.script = script, .timeout_ms = 1000};
	struct target_result late = TARGET_RESULT_INIT;
	expect(w, host_run(t, &slow, &late, &w->err), 0, "run out of time by sudo");
	assert_true(late.timed_out);
	pid_t pid = pid_in(w, "pid");
	for (int64_t end = clock_mono_ms() + 5000; runs(pid) && clock_mono_ms() < end;)
		;
	assert_false(runs(pid));
	target_result_done(&late);
	target_free(t);

	struct target *no = make(w, &people, &people, "guest", "sudo");
	FAILS(ERR_AUTH, target_open(&no->view, &w->err));
	assert_non_null(strstr(err_line(&w->err, w->line, sizeof(w->line)), "sudo"));
	assert_non_null(strstr(w->err.hint, "NOPASSWD"));
	target_free(no);

	struct target *plain = make(w, &people, &people, "guest", NULL);
	own(w, plain);
	expect(w, target_open(&plain->view, &w->err), 0, "open as guest");
	assert_false(plain->view.facts.is_root);
	FAILS(ERR_FENCED, host_put(plain, at(w, "x"), "x", 1, NULL, &w->err));
	target_free(plain);
}

static int start(void **state)
{
	(void)state;
	char port[16];
	const char *const proxy_arguments[] = {port, NULL};
	static const char *const accounts[] = {"--account", "deploy:one:ALL=(ALL) NOPASSWD: ALL",
	                                       "--account", "guest:two:ALL=(ALL) ALL",
	                                       "--option",  "UsePAM yes",
	                                       NULL};
	/* What the tests mount is theirs, and their sshd's. */
	if (geteuid() == 0 && unshare(CLONE_NEWNS) == 0)
		mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
	if (!server_start(&sshd, "sshd.py", NULL))
		return -1;
	snprintf(port, sizeof(port), "%d", server_port(&sshd));
	if (!server_start(&proxy, "cut_proxy.py", proxy_arguments))
		return -1;
	server_start(&people, "sshd.py", accounts);
	key_text = read_text(server_text(&sshd, "key"));
	return 0;
}

static int stop(void **state)
{
	(void)state;
	server_stop(&proxy);
	server_stop(&sshd);
	server_stop(&people);
	free(key_text);
	return 0;
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(sshd_killed_in_a_command_leaves_it_unknown_and_the_next_call_ends_it),
		T(a_cut_in_a_command_leaves_it_unknown_and_the_next_call_ends_it),
		T(a_connection_that_died_while_idle_is_made_anew),
		T(a_cut_in_a_put_leaves_the_old_or_the_new_content),
		T(a_cut_in_an_upload_is_unknown_and_a_damaged_archive_is_an_error),
		T(a_mute_peer_ends_in_unknown_for_a_change_and_a_timeout_for_a_look),
		T(nobody_there_is_a_network_error_that_changed_nothing),
		T(a_cancel_ends_any_operation_at_once),
		T(the_tick_may_use_the_same_target_in_the_middle_of_an_operation),
		T(a_full_disk_is_said_and_leaves_the_old_content),
		T(a_wrong_host_key_stops_before_anything_is_done),
		T(sudo_makes_root_of_an_ordinary_user_and_its_refusal_is_said),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
