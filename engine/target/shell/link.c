#include "engine/target/shell/link.h"
#include "base/data/json.h"
#include "base/sys/proc.h"
#include "base/sys/walls.h"
#include "engine/target/shell/login.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

struct shell_link {
	bool is_ssh;
	/* ssh: the login points into these. */
	struct arena arena;
	struct ssh_login *login;
	struct ssh *session;
	/* local */
	const char *const *shell; /* NULL: /bin/sh */
};

struct shell_stream {
	struct shell_link *link;
	struct ssh_channel *channel; /* ssh, else: */
	struct proc proc;
	int epoll;
	bool out_ended, err_ended, watches_input;
};

/* ---- settings ---- */

int link_new_ssh(const struct target_ssh *config, struct shell_link **ret, struct err *err)
{
	struct shell_link *l = xcalloc(1, sizeof(*l));
	l->arena.wipe = true;
	l->is_ssh = true;
	int r = shell_login_read(&l->arena, config, &l->login, err);
	if (r < 0) {
		link_free(l);
		return r;
	}
	*ret = l;
	return 0;
}

struct shell_link *link_new_local(const char *const *argv)
{
	struct shell_link *l = xcalloc(1, sizeof(*l));
	l->shell = argv;
	return l;
}

void link_free(struct shell_link *l)
{
	if (l == NULL)
		return;
	link_close(l);
	arena_done(&l->arena);
	free(l);
}

int link_connect(struct shell_link *l, struct wait *w, struct err *err)
{
	if (!l->is_ssh || ssh_is_open(l->session))
		return 0;
	link_close(l);
	return ssh_open(l->login, w, &l->session, err);
}

bool link_is_open(const struct shell_link *l)
{
	return !l->is_ssh || ssh_is_open(l->session);
}

void link_close(struct shell_link *l)
{
	ssh_freep(&l->session);
}

bool link_is_ssh(const struct shell_link *l)
{
	return l->is_ssh;
}

const char *link_user(const struct shell_link *l)
{
	return l->session != NULL ? ssh_user(l->session) : NULL;
}

const char *link_host_key(const struct shell_link *l)
{
	return l->session != NULL ? ssh_host_key(l->session) : NULL;
}

bool link_is_sftp_only(struct shell_link *l, struct wait *w)
{
	return l->is_ssh && ssh_is_open(l->session) && ssh_gives_sftp_only(l->session, w);
}

/* ---- here ---- */

static int start_local(struct shell_stream *s, bool become, const char *boot, struct err *err)
{
	const char *argv[16];
	size_t n = 0;
	_cleanup_(strv_done) struct strv env = {0};
	static const char *const inherited[] = {"PATH",
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
		if (getenv(inherited[i]) != NULL)
			strv_addf(&env, "%s=%s", inherited[i], getenv(inherited[i]));
	if (become && geteuid() != 0) {
		argv[n++] = "sudo";
		argv[n++] = "-n";
		argv[n++] = "--";
	}
	for (const char *const *a = s->link->shell; a != NULL && *a != NULL && n < 12; a++)
		argv[n++] = *a;
	if (s->link->shell == NULL)
		argv[n++] = "/bin/sh";
	argv[n++] = "-c";
	argv[n++] = boot;
	argv[n] = NULL;
	struct proc_options o = {
		.argv = argv,
		.env = (const char *const *)strv_null_terminated(&env),
		.cwd = "/",
		.stdin_fd = PROC_PIPE,
		.stdout_fd = PROC_PIPE,
		.stderr_fd = PROC_PIPE,
	};
	int r = walls_spawn(&o, &s->proc, err);
	if (r < 0)
		return r;
	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event out = {.events = EPOLLIN};
	if (s->epoll < 0 || epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->proc.stdout_fd, &out) < 0 ||
	    epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->proc.stderr_fd, &out) < 0)
		return err_errno(err, errno, "watch the shell");
	return 0;
}

/* 1 bytes came, 0 none now, and *ended at the end. */
static int read_pipe(int fd, char *buffer, size_t size, size_t *ret, bool *ended, struct err *err)
{
	*ret = 0;
	if (*ended || size == 0)
		return 0;
	ssize_t n = read(fd, buffer, size);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0)
		return err_errno(err, errno, "read from the shell");
	*ended = n == 0;
	*ret = (size_t)n;
	return n > 0;
}

/* Watches the input only while there is something to write, else it would always be ready. */
static void watch_input(struct shell_stream *s, bool on)
{
	struct epoll_event event = {.events = EPOLLOUT};
	if (s->proc.stdin_fd < 0 || on == s->watches_input)
		return;
	epoll_ctl(s->epoll, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, s->proc.stdin_fd, &event);
	s->watches_input = on;
}

static int turn_local(struct shell_stream *s, struct shell_turn *t, bool may_wait, struct wait *w, struct err *err)
{
	for (;;) {
		bool input_gone = false;
		if (t->in_len > 0 && s->proc.stdin_fd >= 0) {
			ssize_t n = write(s->proc.stdin_fd, t->in, t->in_len);
			input_gone = n < 0 && errno == EPIPE;
			if (n < 0 && errno != EAGAIN && errno != EINTR && !input_gone)
				return err_errno(err, errno, "write to the shell");
			t->sent = n > 0 ? (size_t)n : 0;
		}
		int r = read_pipe(s->proc.stdout_fd, t->out, t->out_size, &t->out_len, &s->out_ended, err);
		if (r >= 0)
			r = read_pipe(s->proc.stderr_fd, t->err, t->err_size, &t->err_len, &s->err_ended, err);
		if (r < 0)
			return r;
		/* A stream at its end stays readable: closed here, so that it no longer wakes the wait. */
		if (s->out_ended)
			closep(&s->proc.stdout_fd);
		if (s->err_ended)
			closep(&s->proc.stderr_fd);
		if (t->sent + t->out_len + t->err_len > 0)
			return 1;
		if (s->out_ended && s->err_ended)
			return 0;
		if (!may_wait)
			return 1;
		watch_input(s, t->in_len > 0 && !input_gone);
		r = wait_fd(w, s->epoll, POLLIN, err);
		if (r < 0)
			return r;
	}
}

/* ---- both ---- */

static int start_ssh(struct shell_stream *s, bool become, const char *boot, struct wait *w, struct err *err)
{
	_cleanup_(str_done) struct str command = STR_INIT(64 * 1024);
	str_append(&command, become && strcmp(ssh_user(s->link->session), "root") != 0 ? "exec sudo -n -- /bin/sh -c "
	                                                                               : "exec /bin/sh -c ");
	str_append_shell(&command, boot);
	return ssh_exec(s->link->session, str_peek(&command), w, &s->channel, err);
}

int link_start(struct shell_link *l, bool become, const char *boot, struct wait *w, struct shell_stream **ret,
               struct err *err)
{
	_cleanup_(stream_freep) struct shell_stream *s = xcalloc(1, sizeof(*s));
	s->link = l;
	s->proc = (struct proc)PROC_INIT;
	s->epoll = -1;
	int r = l->is_ssh ? start_ssh(s, become, boot, w, err) : start_local(s, become, boot, err);
	if (r < 0)
		return r;
	*ret = TAKE(s);
	return 0;
}

int stream_turn(struct shell_stream *s, struct shell_turn *t, bool may_wait, struct wait *w, struct err *err)
{
	t->sent = t->out_len = t->err_len = 0;
	if (s->channel != NULL)
		return ssh_turn(s->channel, t->in, t->in_len, &t->sent, t->out, t->out_size, &t->out_len, t->err,
		                t->err_size, &t->err_len, may_wait, w, err);
	return turn_local(s, t, may_wait, w, err);
}

int stream_close_input(struct shell_stream *s, struct wait *w, struct err *err)
{
	if (s->channel != NULL)
		return ssh_write_eof(s->channel, w, err);
	watch_input(s, false);
	closep(&s->proc.stdin_fd);
	return 0;
}

void stream_free(struct shell_stream *s)
{
	if (s == NULL)
		return;
	ssh_channel_free(s->channel);
	if (s->proc.pid != 0) {
		/* Our shell ends when its input does; whoever gave up a hanging command kills it. */
		struct wait brief = WAIT_INIT;
		int status;
		watch_input(s, false);
		closep(&s->proc.stdin_fd);
		closep(&s->proc.stdout_fd);
		closep(&s->proc.stderr_fd);
		brief = wait_within(&brief, 500);
		proc_wait(&s->proc, &brief, &status, NULL);
	}
	proc_done(&s->proc);
	closep(&s->epoll);
	free(s);
}

void stream_freep(struct shell_stream **s)
{
	stream_free(*s);
	*s = NULL;
}
