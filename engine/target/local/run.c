/* The local target: commands, and the end of those that a former owner left running. */
#include "engine/target/local/local.h"

#include "base/core/clock.h"
#include "base/sys/fs.h"
#include "base/sys/proc.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
	DEFAULT_TIMEOUT_MS = 60000,
	DEFAULT_OUTPUT = 256 << 10,
	MAX_LINE = 64 << 10,
	FENCED_STATUS = 197,
	FENCE_MS = 10000
};
/* The file is there before the check, and so is the check before the command: see engine/target/target.h. The shell becomes the command. */
static const char guard_script[] =
	"umask 077; read -r s </proc/$$/stat || exit 197; s=${s##*) }; set -f; n=0\n"
	"for w in $s; do n=$((n+1)); if [ $n = 20 ]; then printf '%s %s\\n' \"$w\" \"$DAVIT_BOOT\" >\"$DAVIT_LOCK/pids/$$\" || exit 197; break; fi; done\n"
	"t=$(cat \"$DAVIT_LOCK/lock\" 2>/dev/null) || t=\n"
	"case $t in *\"\\\"$DAVIT_TOKEN\\\"\"*) ;; *) rm -f \"$DAVIT_LOCK/pids/$$\"; exit 197;; esac\n"
	"set +f; umask \"$DAVIT_UMASK\"; unset DAVIT_LOCK DAVIT_TOKEN DAVIT_BOOT DAVIT_UMASK s n w t\n"
	"exec \"$@\"\n";

/* One stream of the command: what is kept, and the line that is not yet whole. */
struct stream {
	int *fd;
	bool is_stderr;
	struct str *kept;
	size_t max;
	struct str line;
};

static void give_lines(const struct target_command *c, struct stream *s, bool end)
{
	if (c->on_line == NULL)
		return;
	size_t start = 0;
	for (size_t i = 0; i < s->line.len; i++) {
		if (s->line.data[i] != '\n')
			continue;
		c->on_line(c->context, s->is_stderr, s->line.data + start, i - start);
		start = i + 1;
	}
	str_remove_front(&s->line, start);
	if (s->line.len > 0 && (end || s->line.len >= MAX_LINE)) {
		c->on_line(c->context, s->is_stderr, s->line.data, s->line.len);
		str_clear(&s->line);
	}
}

static void take_output(const struct target_command *c, struct stream *s)
{
	char buf[16 << 10];
	ssize_t n = read(*s->fd, buf, sizeof(buf));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		closep(s->fd);
		*s->fd = -1;
		give_lines(c, s, true);
		return;
	}
	size_t room = s->max > s->kept->len ? s->max - s->kept->len : 0;
	str_append_n(s->kept, buf, MIN(room, (size_t)n));
	if (c->on_line) {
		str_append_n(&s->line, buf, (size_t)n);
		give_lines(c, s, false);
	}
}

static int feed_input(struct proc *p, const struct target_command *c, size_t *done, struct err *err)
{
	if (*done < c->input_len) {
		ssize_t n = write(p->stdin_fd, (const char *)c->input + *done, c->input_len - *done);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return 0;
		if (n < 0 && errno != EPIPE)
			return err_errno(err, errno, "write to the command");
		*done = n < 0 ? c->input_len : *done + (size_t)n;
	}
	if (*done >= c->input_len)
		closep(&p->stdin_fd);
	return 0;
}

/* wait_fd watches one descriptor: an epoll set stands for the command's streams and its end. */
static int gather(struct proc *p, const struct target_command *c, struct wait *w, struct target_result *ret,
                  struct err *err)
{
	size_t max = c->max_output ? c->max_output : DEFAULT_OUTPUT;
	struct stream out = {
		.fd = &p->stdout_fd, .kept = &ret->out, .max = max, .line = STR_INIT(MAX_LINE + (16 << 10))};
	struct stream error = {.fd = &p->stderr_fd,
	                       .is_stderr = true,
	                       .kept = &ret->err,
	                       .max = max,
	                       .line = STR_INIT(MAX_LINE + (16 << 10))};
	_cleanup_close_ int pidfd = proc_pidfd(p, err);
	size_t fed = 0;
	int r = pidfd < 0 ? pidfd : 0;
	bool ended = false;
	while (r == 0 && !ended) {
		struct pollfd fds[4] = {
			{.fd = p->stdout_fd, .events = POLLIN},
			{.fd = p->stderr_fd, .events = POLLIN},
			{.fd = p->stdin_fd, .events = POLLOUT},
			{.fd = pidfd, .events = POLLIN},
		};
		int n = poll(fds, 4, 50);
		if (n < 0 && errno != EINTR)
			r = err_errno(err, errno, "wait for the command");
		if (n <= 0) {
			/* Cancel, deadline and the lock's renewal are looked at here. */
			struct wait moment = *w;
			int done = wait_ms(&moment, 1, err);
			w->next_tick_mono_ms = moment.next_tick_mono_ms;
			r = r < 0 ? r : done < 0 ? done : 0;
			continue;
		}
		if (fds[0].revents)
			take_output(c, &out);
		if (fds[1].revents)
			take_output(c, &error);
		if (fds[2].revents)
			r = feed_input(p, c, &fed, err);
		/* What the command itself wrote is in the pipes by now; what its descendants write later is not waited for. */
		ended = fds[3].revents != 0 && fds[0].revents == 0 && fds[1].revents == 0;
		if (r == 0)
			r = wait_check(w, err);
	}
	give_lines(c, &out, true);
	give_lines(c, &error, true);
	str_done(&out.line);
	str_done(&error.line);
	return r;
}

static char *const *build_env(const struct target_command *c, const struct target *t, struct strv *env)
{
	const char *const inherited[] = {"PATH",
	                                 "HOME",
	                                 "USER",
	                                 "LOGNAME",
	                                 "SHELL",
	                                 "LANG",
	                                 "LC_ALL",
	                                 "TZ",
	                                 "TMPDIR",
	                                 "XDG_RUNTIME_DIR",
	                                 "DBUS_SESSION_BUS_ADDRESS"};
	for (size_t i = 0; i < ARRAY_SIZE(inherited); i++)
		if (getenv(inherited[i]))
			strv_addf(env, "%s=%s", inherited[i], getenv(inherited[i]));
	for (size_t i = 0; i < c->env_count; i++)
		strv_addf(env, "%s=%s", c->env[i].key, c->env[i].value);
	if (t && t->lock_dir) {
		mode_t mask = umask(0);
		umask(mask);
		strv_addf(env, "DAVIT_LOCK=%s", t->lock_dir);
		strv_addf(env, "DAVIT_TOKEN=%s", t->token);
		strv_addf(env, "DAVIT_BOOT=%s", t->view.facts.boot_id);
		strv_addf(env, "DAVIT_UMASK=%04o", (unsigned int)mask);
	}
	return strv_null_terminated(env);
}

static void build_argv(const struct target_command *c, const struct target *t, struct strv *argv)
{
	if (t && t->lock_dir) {
		strv_add(argv, "/bin/sh");
		strv_add(argv, "-c");
		strv_add(argv, guard_script);
		strv_add(argv, "davit");
	}
	if (c->user) {
		const char *const switch_user[] = {"runuser", "-u", c->user, "--"};
		for (size_t i = 0; i < ARRAY_SIZE(switch_user); i++)
			strv_add(argv, switch_user[i]);
	}
	if (c->script) {
		strv_add(argv, "/bin/sh");
		strv_add(argv, "-c");
		strv_add(argv, c->script);
		strv_add(argv, "sh");
	}
	for (size_t i = 0; c->argv && c->argv[i]; i++)
		strv_add(argv, c->argv[i]);
}

static int run_command(struct view *v, const struct target *t, const struct target_command *c,
                       struct target_result *ret, struct err *err)
{
	struct wait none = WAIT_INIT;
	_cleanup_(strv_done) struct strv env = {0};
	_cleanup_(strv_done) struct strv argv = {0};
	_cleanup_(proc_done) struct proc p = PROC_INIT;
	struct wait w = wait_within(v->wait ? v->wait : &none, c->timeout_ms > 0 ? c->timeout_ms : DEFAULT_TIMEOUT_MS);
	build_argv(c, t, &argv);
	const struct proc_options options = {
		.argv = (const char *const *)strv_null_terminated(&argv),
		.env = (const char *const *)build_env(c, t, &env),
		.cwd = c->cwd ? c->cwd : "/",
		.stdin_fd = c->input_len > 0 ? PROC_PIPE : -1,
		.stdout_fd = PROC_PIPE,
		.stderr_fd = PROC_PIPE,
	};
	int r = proc_spawn(&options, &p, err);
	if (r < 0)
		return r;
	pid_t pid = p.pid;
	r = gather(&p, c, &w, ret, err);
	if (v->wait)
		v->wait->next_tick_mono_ms = w.next_tick_mono_ms;
	if (r < 0) {
		/* Out of time: that is a result of the command. Cancelled: the caller's reason. */
		bool timed_out = r == ERR_TIMEOUT && (!v->wait || wait_check(v->wait, NULL) == 0);
		proc_stop(&p, 2000, 1000, &ret->status, NULL);
		ret->timed_out = timed_out;
		if (timed_out)
			r = 0;
	} else {
		struct wait brief = wait_within(&none, 5000);
		r = proc_wait(&p, &brief, &ret->status, err);
	}
	if (t && t->lock_dir) {
		_cleanup_free_ char *note = xasprintf("%s/pids/%d", t->lock_dir, (int)pid);
		unlink(note);
	}
	return r;
}

int local_query(struct view *v, const struct target_command *command, struct target_result *ret, struct err *err)
{
	return run_command(v, NULL, command, ret, err);
}

int local_run(struct target *t, const struct target_command *command, struct target_result *ret, struct err *err)
{
	/* Looked at here first: a command that answers 197 by itself must not pass for a lost lock. */
	if (t->lock_dir == NULL)
		return err_set(err, ERR_INTERNAL, "a command was to be run on '%s' without a lock", t->view.name);
	int r = local_enter(t, t->lock_dir, err);
	if (r < 0)
		return r;
	local_leave(t, 0);
	_cleanup_free_ char *pids = fs_join(t->lock_dir, "pids");
	r = fs_mkdirs(AT_FDCWD, pids, 0700, err);
	if (r == 0)
		r = run_command(&t->view, t, command, ret, err);
	if (r == 0 && ret->status == FENCED_STATUS) {
		r = local_enter(t, t->lock_dir, err);
		if (r == 0)
			local_leave(t, 0);
	}
	return r;
}

/* ---- the fence ---- */

static bool end_process(pid_t pid, uint64_t start_time, struct wait *w, struct err *err)
{
	/* A command leads its own process group; the process that noted itself for an operation may not, and is ended alone. */
	if (getpgid(pid) == pid)
		kill(-pid, SIGKILL);
	else
		kill(pid, SIGKILL);
	while (proc_alive(pid, start_time))
		if (wait_ms(w, 10, err) < 0)
			return false;
	return true;
}

static int fence_one(const char *pids, const char *name, struct wait *w, struct err *err)
{
	_cleanup_free_ char *path = fs_join(pids, name);
	_cleanup_(str_done) struct str text = STR_INIT(200);
	long long pid;
	if (!str_parse_i64(name, 2, INT32_MAX, &pid) || pid == getpid())
		return 0;
	int r = fs_read(AT_FDCWD, path, 200, &text, NULL);
	if (r < 0)
		return r == ERR_NOT_FOUND ? 0 : err_set(err, r, "read '%s'", path);
	uint64_t start_time = strtoull(str_peek(&text), NULL, 10);
	/* An empty note is of a process that died while it wrote it, before it acted. */
	if (start_time != 0 && proc_alive((pid_t)pid, start_time) && !end_process((pid_t)pid, start_time, w, err))
		return err_wrap(err, ERR_TIMEOUT, "the process %lld of the former owner does not end", pid);
	unlink(path);
	return 0;
}

int local_fence(struct target *t, const char *lock_dir, struct err *err)
{
	struct wait none = WAIT_INIT;
	struct wait w = wait_within(t->view.wait ? t->view.wait : &none, FENCE_MS);
	_cleanup_free_ char *pids = fs_join(lock_dir, "pids");
	_cleanup_(strv_done) struct strv names = {0};
	int r = t->view.type->list(&t->view, pids, &names, err);
	if (r == ERR_NOT_FOUND) {
		err_clear(err);
		return 0;
	}
	for (size_t i = 0; r == 0 && i < names.count; i++)
		r = fence_one(pids, names.items[i], &w, err);
	return r;
}
