/* The local target: runs commands, and ends those that a previous owner left running. */
#include "engine/target/local/local.h"

#include "base/core/clock.h"
#include "base/sys/fs.h"
#include "base/sys/proc.h"
#include "base/sys/host.h"
#include "engine/target/command_end.h"
#include "engine/target/grace.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
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
	FENCE_MS = 10000,
	GIVEN_UP_MS = 5000,
	MAX_NOTE = 400
};
/* The file exists before the check, and the check comes before the command: see engine/target/target.h. The shell becomes the command. */
static const char guard_script[] =
	"umask 077; read -r s </proc/$$/stat || exit 197; s=${s##*) }; set -f; n=0\n"
	"for w in $s; do n=$((n+1)); if [ $n = 20 ]; then printf '%s %s %s\\n%s\\n' \"$w\" \"$DAVIT_BOOT\" $$ \"$DAVIT_NOTE\" >\"$DAVIT_LOCK/pids/$$\" || exit 197; break; fi; done\n"
	"t=$(cat \"$DAVIT_LOCK/lock\" 2>/dev/null) || t=\n"
	"case $t in *\"\\\"$DAVIT_TOKEN\\\"\"*) ;; *) rm -f \"$DAVIT_LOCK/pids/$$\"; exit 197;; esac\n"
	"set +f; umask \"$DAVIT_UMASK\"; unset DAVIT_LOCK DAVIT_TOKEN DAVIT_BOOT DAVIT_NOTE DAVIT_UMASK s n w t\n"
	"exec \"$@\"\n";

/* One stream of the command: the kept output, and the incomplete line. */
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

static int take_output(const struct target_command *c, struct stream *s, struct err *err)
{
	char buf[16 << 10];
	ssize_t n = read(*s->fd, buf, sizeof(buf));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		closep(s->fd);
		*s->fd = -1;
		give_lines(c, s, true);
		return 0;
	}
	if (c->on_data && !s->is_stderr)
		return c->on_data(c->context, buf, (size_t)n, err);
	size_t room = s->max > s->kept->len ? s->max - s->kept->len : 0;
	str_append_n(s->kept, buf, MIN(room, (size_t)n));
	if (c->on_line) {
		str_append_n(&s->line, buf, (size_t)n);
		give_lines(c, s, false);
	}
	return 0;
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
			r = take_output(c, &out, err);
		if (fds[1].revents && r == 0)
			r = take_output(c, &error, err);
		if (fds[2].revents && r == 0)
			r = feed_input(p, c, &fed, err);
		/* The command's own output is in the pipes by now; does not wait for later output of its descendants. */
		ended = fds[3].revents != 0 && fds[0].revents == 0 && fds[1].revents == 0;
		/* Busy streams leave no other time for the tick. */
		if (r == 0)
			r = wait_ms(w, 0, err);
	}
	give_lines(c, &out, true);
	give_lines(c, &error, true);
	str_done(&out.line);
	str_done(&error.line);
	return r;
}

static char *const *build_env(const struct target_command *c, const struct target *t, const char *mark,
                              struct strv *env)
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
		strv_addf(env, "DAVIT_BOOT=%s", host_boot_id());
		strv_addf(env, "DAVIT_NOTE=%s %s - %lld", mark, c->user ? c->user : "-", (long long)c->grace_ms / 1000);
		strv_addf(env, COMMAND_MARK_NAME "=%s", mark);
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

/* The content of a command's note. */
struct noted {
	long long pid;
	uint64_t start_time;
	long long group; /* 0: not given */
	char boot[64], mark[64], user[256];
	long long grace_s;
};

static bool is_said(const char *word)
{
	return *word != '\0' && *word != '-';
}

/* One run of the script that ends a command; as its user first, whose processes may be inaccessible to us. */
static int end_as(const struct noted *n, const char *user, const char *whose, struct wait *w, struct err *err)
{
	_cleanup_(strv_done) struct strv argv = {0};
	_cleanup_(str_done) struct str out = STR_INIT(4096), words = STR_INIT(4096);
	int status = 0;
	if (user) {
		const char *const switch_user[] = {"runuser", "-u", user, "--"};
		for (size_t i = 0; i < ARRAY_SIZE(switch_user); i++)
			strv_add(&argv, switch_user[i]);
	}
	const char *const script[] = {"/bin/sh", "-c", command_end_script, "sh"};
	for (size_t i = 0; i < ARRAY_SIZE(script); i++)
		strv_add(&argv, script[i]);
	strv_addf(&argv, "%lld", n->pid);
	strv_addf(&argv, "%" PRIu64, n->start_time);
	strv_addf(&argv, "%lld", n->group);
	const char *const rest[] = {is_said(n->mark) ? n->mark : "-", "-", "0", whose};
	for (size_t i = 0; i < ARRAY_SIZE(rest); i++)
		strv_add(&argv, rest[i]);
	strv_addf(&argv, "%lld", user ? 0 : n->grace_s);
	const struct proc_options options = {.argv = (const char *const *)strv_null_terminated(&argv),
	                                     .cwd = "/",
	                                     .stdin_fd = -1,
	                                     .stdout_fd = PROC_PIPE,
	                                     .stderr_fd = PROC_PIPE};
	int r = proc_run(&options, NULL, 0, 4000, w, &out, &words, &status, err);
	if (r == 0 && status != 0)
		r = err_set(err, ERR_TIMEOUT, "%s", str_peek(&words));
	return r;
}

static int end_command(const struct noted *n, struct wait *w, struct err *err)
{
	if (is_said(n->user) && geteuid() == 0)
		end_as(n, n->user, "mine", w, NULL);
	return end_as(n, NULL, "all", w, err);
}

/* It was killed, perhaps with its group: ends the rest of it. */
static void end_given_up(const struct proc *p, const struct target_command *c, const char *mark)
{
	struct wait none = WAIT_INIT;
	struct wait w = wait_within(&none, GIVEN_UP_MS);
	struct noted n = {.pid = p->pid, .start_time = p->start_time, .group = p->pid};
	snprintf(n.mark, sizeof(n.mark), "%s", mark);
	snprintf(n.user, sizeof(n.user), "%s", c->user ? c->user : "-");
	end_command(&n, &w, NULL);
}

static void ask_to_end(void *context)
{
	proc_signal(context, SIGINT);
}

/* Gathers until it ends; where it has time to end by itself, until that is over. */
static int attend(struct view *v, struct proc *p, const struct target_command *c, struct wait *w,
                  struct target_result *ret, struct err *err)
{
	struct wait none = WAIT_INIT;
	struct grace g;
	if (c->grace_ms <= 0)
		return gather(p, c, w, ret, err);
	struct wait *caller = v->wait ? v->wait : &none;
	struct wait *own = grace_begin(&g, caller, c->timeout_ms > 0 ? c->timeout_ms : DEFAULT_TIMEOUT_MS, c->grace_ms,
	                               ask_to_end, p);
	int r = grace_end(&g, gather(p, c, own, ret, err), err);
	w->next_tick_mono_ms = caller->next_tick_mono_ms;
	return r;
}

static int run_command(struct view *v, const struct target *t, const struct target_command *c,
                       struct target_result *ret, struct err *err)
{
	char mark[COMMAND_MARK_DIGITS + 1];
	struct wait none = WAIT_INIT;
	_cleanup_(strv_done) struct strv env = {0};
	_cleanup_(strv_done) struct strv argv = {0};
	_cleanup_(proc_done) struct proc p = PROC_INIT;
	struct wait w = wait_within(v->wait ? v->wait : &none, c->timeout_ms > 0 ? c->timeout_ms : DEFAULT_TIMEOUT_MS);
	command_mark(mark);
	build_argv(c, t, &argv);
	const struct proc_options options = {
		.argv = (const char *const *)strv_null_terminated(&argv),
		.env = (const char *const *)build_env(c, t, mark, &env),
		.cwd = c->cwd ? c->cwd : "/",
		.stdin_fd = c->input_len > 0 ? PROC_PIPE : -1,
		.stdout_fd = PROC_PIPE,
		.stderr_fd = PROC_PIPE,
	};
	int r = proc_spawn(&options, &p, err);
	if (r < 0)
		return r;
	const struct proc begun = p;
	r = attend(v, &p, c, &w, ret, err);
	if (v->wait)
		v->wait->next_tick_mono_ms = w.next_tick_mono_ms;
	if (r < 0) {
		/* Timeout: that is a result of the command. Cancelled: the caller's reason. */
		bool timed_out = r == ERR_TIMEOUT && (!v->wait || wait_check(v->wait, NULL) == 0);
		proc_stop(&p, 2000, 1000, &ret->status, NULL);
		if (t && t->lock_dir)
			end_given_up(&begun, c, mark);
		ret->timed_out = timed_out;
		if (timed_out)
			r = 0;
	} else {
		struct wait brief = wait_within(&none, 5000);
		r = proc_wait(&p, &brief, &ret->status, err);
		if (r == 0 && t && t->lock_dir && target_was_killed(ret->status))
			end_given_up(&begun, c, mark);
	}
	if (t && t->lock_dir) {
		_cleanup_free_ char *note = xasprintf("%s/pids/%d", t->lock_dir, (int)begun.pid);
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
	/* Checked here first: a command that exits with 197 by itself must not look like a lost lock. */
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

/* "START BOOT GROUP", then "MARK USER TIME". An empty note is of a process that died while it wrote it, before it acted. */
static bool read_note(const char *text, struct noted *ret)
{
	unsigned long long start = 0;
	int used = 0;
	*ret = (struct noted){.pid = ret->pid};
	if (sscanf(text, "%llu%n", &start, &used) != 1 || start == 0)
		return false;
	ret->start_time = start;
	const char *second = strchr(text, '\n');
	_cleanup_free_ char *first = xstrndup(text, second ? (size_t)(second - text) : strlen(text));
	if (sscanf(first + used, " %63s %lld", ret->boot, &ret->group) < 2 || ret->group <= 1)
		ret->group = 0;
	if (second && sscanf(second, " %63s %255s %*s %lld", ret->mark, ret->user, &ret->grace_s) < 2)
		*ret->user = '\0';
	ret->grace_s = MIN(MAX(ret->grace_s, 0), GRACE_MAX_MS / 1000);
	return true;
}

static int fence_one(const char *pids, const char *name, struct wait *w, struct err *err)
{
	_cleanup_free_ char *path = fs_join(pids, name);
	_cleanup_(str_done) struct str text = STR_INIT(MAX_NOTE);
	struct noted n = {0};
	if (!str_parse_i64(name, 2, INT32_MAX, &n.pid) || n.pid == getpid())
		return 0;
	int r = fs_read(AT_FDCWD, path, MAX_NOTE, &text, NULL);
	if (r < 0)
		return r == ERR_NOT_FOUND ? 0 : err_set(err, r, "read '%s'", path);
	/* A process from before this boot has ended, and its pid may be reused. */
	bool lived = read_note(str_peek(&text), &n) && (*n.boot == '\0' || strcmp(n.boot, host_boot_id()) == 0);
	r = lived ? end_command(&n, w, err) : 0;
	if (r < 0)
		return err_wrap(err, ERR_TIMEOUT, "the command %lld of the previous owner does not end", n.pid);
	unlink(path);
	return 0;
}

int local_fence(struct target *t, const char *lock_dir, struct err *err)
{
	struct wait none = WAIT_INIT;
	struct wait w = wait_within(t->view.wait ? t->view.wait : &none, FENCE_MS + 2 * GRACE_MAX_MS);
	_cleanup_free_ char *pids = fs_join(lock_dir, "pids");
	_cleanup_(strv_done) struct strv names = {0};
	int r = host_list(&t->view, pids, &names, err);
	if (r == ERR_NOT_FOUND) {
		err_clear(err);
		return 0;
	}
	for (size_t i = 0; r == 0 && i < names.count; i++)
		r = fence_one(pids, names.items[i], &w, err);
	return r;
}
