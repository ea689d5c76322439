#include "base/ssh/ssh_priv.h"
#include "base/core/clock.h"

#include <signal.h>

enum { NEAR_WINDOW = 512 * 1024, NEAR_PATIENCE_MS = 200, ROOM_PAUSE_MS = 10, ROOM_PAUSE_MAX_MS = 1280 };

/* Channels that their owner gave up: each is freed as soon as the peer has closed it. */
static void bury(struct ssh *s)
{
	size_t kept = 0;
	for (size_t i = 0; i < s->zombie_count; i++)
		if (libssh2_channel_free(s->zombies[i]) == LIBSSH2_ERROR_EAGAIN)
			s->zombies[kept++] = s->zombies[i];
	s->zombie_count = kept;
}

/* A server counts a session until the program behind it has ended, which may be a little after its channel was closed. */
static int wait_for_session(struct ssh *s, int *pause_ms, struct wait *w, struct err *err)
{
	int rc = libssh2_session_last_errno(s->session);
	if (*pause_ms > ROOM_PAUSE_MAX_MS) {
		int r = ssh_lib_err(s, rc, "open a session", err);
		return err_hint(err, r,
		                "the server may allow too few sessions in one connection: MaxSessions in sshd_config");
	}
	int r = wait_ms(w, *pause_ms, err);
	*pause_ms *= 2;
	bury(s);
	return r;
}

static int open_channel(struct ssh *s, struct ssh_channel *c, struct wait *w, struct err *err)
{
	int pause_ms = ROOM_PAUSE_MS;
	c->s = s;
	if (s->broken)
		return err_set(err, ERR_NETWORK, "the SSH connection to %s was lost", s->label);
	bury(s);
	while (c->channel == NULL) {
		c->channel = libssh2_channel_open_session(s->session);
		int r = 0, rc = libssh2_session_last_errno(s->session);
		if (c->channel != NULL)
			break;
		if (rc == LIBSSH2_ERROR_CHANNEL_FAILURE)
			r = wait_for_session(s, &pause_ms, w, err);
		else if (rc == LIBSSH2_ERROR_EAGAIN)
			r = ssh_block(s, w, err);
		else
			r = ssh_lib_err(s, rc, "open a session", err);
		if (r < 0)
			return r;
	}
	return 0;
}

int ssh_exec(struct ssh *s, const char *command, struct wait *w, struct ssh_channel **ret, struct err *err)
{
	return ssh_exec_with(s, command, NULL, NULL, w, ret, err);
}

int ssh_exec_with(struct ssh *s, const char *command, const char *name, const char *value, struct wait *w,
                  struct ssh_channel **ret, struct err *err)
{
	_cleanup_(ssh_channel_freep) struct ssh_channel *c = xcalloc(1, sizeof(*c));
	int rc = 0, r = open_channel(s, c, w, err);
	if (r < 0)
		return r;
	if (name != NULL)
		SSH_REPEAT(rc, s, w, err, libssh2_channel_setenv(c->channel, name, value));
	if (rc != 0 && rc != LIBSSH2_ERROR_CHANNEL_REQUEST_DENIED)
		return ssh_lib_err(s, rc, "set a variable", err);
	SSH_REPEAT(rc, s, w, err, libssh2_channel_exec(c->channel, command));
	if (rc != 0)
		return ssh_lib_err(s, rc, "start a command", err);
	*ret = TAKE(c);
	return 0;
}

int ssh_subsystem(struct ssh *s, const char *name, struct wait *w, struct ssh_channel **ret, struct err *err)
{
	_cleanup_(ssh_channel_freep) struct ssh_channel *c = xcalloc(1, sizeof(*c));
	int rc, r = open_channel(s, c, w, err);
	if (r < 0)
		return r;
	SSH_REPEAT(rc, s, w, err, libssh2_channel_subsystem(c->channel, name));
	if (rc == LIBSSH2_ERROR_CHANNEL_REQUEST_DENIED)
		return err_set(err, ERR_UNSUPPORTED, "%s has no subsystem '%s'", s->label, name);
	if (rc != 0)
		return ssh_lib_err(s, rc, "start a subsystem", err);
	*ret = TAKE(c);
	return 0;
}

static int read_stream(struct ssh_channel *c, int stream, char *buffer, size_t size, size_t *ret, struct err *err)
{
	*ret = 0;
	if (size == 0)
		return 0;
	ssize_t n = libssh2_channel_read_ex(c->channel, stream, buffer, size);
	if (n == LIBSSH2_ERROR_EAGAIN)
		return 0;
	if (n < 0)
		return ssh_lib_err(c->s, (int)n, "read", err);
	*ret = (size_t)n;
	return 0;
}

/* Bytes that may be sent now. OpenSSH's window is 2 MiB whatever the distance, and a full one costs its sshd (9.2, seen with
 * perf: copies and page faults of the buffer that grows) as much as an eighth of an upload's processor time. A near
 * server is kept busy by much less. The window is 0 until the command runs, so its width is the widest seen so far. */
static size_t room(struct ssh_channel *c)
{
	unsigned long left = libssh2_channel_window_write(c->channel);
	c->widest = MAX(c->widest, left);
	if (!c->s->near)
		return SIZE_MAX;
	unsigned long away = c->widest - left;
	return away >= NEAR_WINDOW ? 0 : NEAR_WINDOW - away;
}

/* A server may widen the window only when half of it is used, which never happens then: after a long wait, stop
 * pacing. */
static int wait_for_room(struct ssh_channel *c, struct wait *w, struct err *err)
{
	int64_t now = clock_mono_ms();
	if (c->full_since_ms == 0)
		c->full_since_ms = now;
	int64_t left = c->full_since_ms + NEAR_PATIENCE_MS - now;
	if (left <= 0) {
		c->s->near = false;
		return 0;
	}
	return ssh_block_for(c->s, left, w, err);
}

int ssh_turn(struct ssh_channel *c, const void *data, size_t len, size_t *ret_sent, char *out, size_t out_size,
             size_t *ret_out, char *errbuf, size_t err_size, size_t *ret_err, bool may_wait, struct wait *w,
             struct err *err)
{
	struct ssh *s = c->s;
	*ret_sent = *ret_out = *ret_err = 0;
	for (;;) {
		if (s->broken)
			return err_set(err, ERR_NETWORK, "the SSH connection to %s was lost", s->label);
		size_t now = MIN(len, room(c));
		if (now > 0) {
			c->full_since_ms = 0;
			ssize_t n = libssh2_channel_write(c->channel, data, now);
			if (n < 0 && n != LIBSSH2_ERROR_EAGAIN)
				return ssh_lib_err(s, (int)n, "write", err);
			*ret_sent = n > 0 ? (size_t)n : 0;
		}
		int r = read_stream(c, 0, out, out_size, ret_out, err);
		if (r == 0)
			r = read_stream(c, SSH_EXTENDED_DATA_STDERR, errbuf, err_size, ret_err, err);
		if (r == 0)
			r = ssh_flush(s, err);
		if (r < 0)
			return r;
		if (*ret_sent + *ret_out + *ret_err > 0)
			return 1;
		if (libssh2_channel_eof(c->channel))
			return 0;
		if (!may_wait)
			return 1;
		/* The bytes read may have been the peer's message that there is room again. */
		if (len > 0 && now == 0 && room(c) > 0)
			continue;
		r = len > 0 && now == 0 ? wait_for_room(c, w, err) : ssh_block(s, w, err);
		if (r < 0)
			return r;
	}
}

int ssh_write(struct ssh_channel *c, const void *data, size_t len, struct wait *w, struct err *err)
{
	const char *p = data;
	while (len > 0) {
		int rc;
		SSH_REPEAT(rc, c->s, w, err, (int)libssh2_channel_write(c->channel, p, MIN(len, (size_t)1 << 20)));
		if (rc < 0)
			return ssh_lib_err(c->s, rc, "write", err);
		if (rc == 0) {
			/* No room in the peer's window: only its answer helps. */
			int r = ssh_block(c->s, w, err);
			if (r < 0)
				return r;
		}
		p += rc;
		len -= (size_t)rc;
		int r = ssh_flush(c->s, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int ssh_write_eof(struct ssh_channel *c, struct wait *w, struct err *err)
{
	int rc;
	if (c->eof_sent)
		return 0;
	SSH_REPEAT(rc, c->s, w, err, libssh2_channel_send_eof(c->channel));
	if (rc < 0)
		return ssh_lib_err(c->s, rc, "end of input", err);
	c->eof_sent = true;
	return ssh_flush(c->s, err);
}

int ssh_read(struct ssh_channel *c, char *out, size_t out_size, size_t *ret_out, char *errbuf, size_t err_size,
             size_t *ret_err, struct wait *w, struct err *err)
{
	size_t sent;
	return ssh_turn(c, NULL, 0, &sent, out, out_size, ret_out, errbuf, err_size, ret_err, true, w, err);
}

static int signal_number(const char *name)
{
	static const struct {
		const char *name;
		int number;
	} signals[] = {
		{"ABRT", SIGABRT}, {"ALRM", SIGALRM}, {"FPE", SIGFPE},   {"HUP", SIGHUP},   {"ILL", SIGILL},
		{"INT", SIGINT},   {"KILL", SIGKILL}, {"PIPE", SIGPIPE}, {"QUIT", SIGQUIT}, {"SEGV", SIGSEGV},
		{"TERM", SIGTERM}, {"USR1", SIGUSR1}, {"USR2", SIGUSR2},
	};
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		if (strcmp(signals[i].name, name) == 0)
			return signals[i].number;
	return 0;
}

static int wait_close(struct ssh_channel *c, struct wait *w, struct err *err)
{
	int rc, r = ssh_write_eof(c, w, err);
	if (r < 0)
		return r;
	SSH_REPEAT(rc, c->s, w, err, libssh2_channel_close(c->channel));
	if (rc < 0)
		return ssh_lib_err(c->s, rc, "end of a command", err);
	return 0;
}

int ssh_finish(struct ssh_channel *c, struct wait *w, int *ret_status, struct err *err)
{
	char *name = NULL;
	int r = wait_close(c, w, err);
	if (r == ERR_NETWORK)
		return err_wrap(err, err_set(err, ERR_UNKNOWN, "the SSH connection to %s was lost", c->s->label),
		                "the command's end is not known");
	if (r < 0)
		return r;
	libssh2_channel_get_exit_signal(c->channel, &name, NULL, NULL, NULL, NULL, NULL);
	*ret_status = name != NULL ? 128 + signal_number(name) : libssh2_channel_get_exit_status(c->channel);
	if (name != NULL)
		libssh2_free(c->s->session, name);
	return 0;
}

void ssh_channel_free(struct ssh_channel *c)
{
	if (c == NULL)
		return;
	struct ssh *s = c->s;
	if (c->channel != NULL && libssh2_channel_free(c->channel) == LIBSSH2_ERROR_EAGAIN) {
		s->zombies = xgrow(s->zombies, &s->zombie_cap, s->zombie_count + 1, sizeof(LIBSSH2_CHANNEL *));
		s->zombies[s->zombie_count++] = c->channel;
	}
	if (!s->broken)
		ssh_flush(s, NULL);
	free(c);
}

void ssh_channel_freep(struct ssh_channel **c)
{
	ssh_channel_free(*c);
	*c = NULL;
}

/* Keeps at most max bytes of a command's output; more ends the call. */
static int keep(struct str *to, const char *data, size_t len, size_t max, const char *what, struct err *err)
{
	if (to == NULL || len == 0)
		return 0;
	if (to->len + len > max || !str_append_n(to, data, len))
		return err_set(err, ERR_LIMIT, "the command wrote more than %zu bytes to its %s", max, what);
	return 0;
}

int ssh_run(struct ssh *s, const char *command, const void *input, size_t input_len, size_t max, struct wait *w,
            struct str *ret_stdout, struct str *ret_stderr, int *ret_status, struct err *err)
{
	enum { CHUNK = 32 * 1024 };
	_cleanup_(ssh_channel_freep) struct ssh_channel *c = NULL;
	_cleanup_free_ char *buffer = xmalloc(2 * CHUNK);
	const char *rest = input;
	int r = ssh_exec(s, command, w, &c, err);
	if (r < 0)
		return r;
	for (;;) {
		size_t sent, out, errors;
		if (input_len == 0) {
			r = ssh_write_eof(c, w, err);
			if (r < 0)
				break;
		}
		r = ssh_turn(c, rest, input_len, &sent, buffer, CHUNK, &out, buffer + CHUNK, CHUNK, &errors, true, w,
		             err);
		if (r <= 0)
			break;
		rest += sent;
		input_len -= sent;
		r = keep(ret_stdout, buffer, out, max, "standard output", err);
		if (r == 0)
			r = keep(ret_stderr, buffer + CHUNK, errors, max, "standard error", err);
		if (r < 0)
			return r;
	}
	if (r == ERR_NETWORK)
		return err_wrap(err, err_set(err, ERR_UNKNOWN, "the SSH connection to %s was lost", s->label),
		                "the command's end is not known");
	return r < 0 ? r : ssh_finish(c, w, ret_status, err);
}

static bool runs_commands(struct ssh *s, struct wait *w)
{
	enum { NOISE_MAX = 64 * 1024 };
	_cleanup_(str_done) struct str out = STR_INIT(NOISE_MAX);
	int status;
	ssh_run(s, "echo davit-is-heard", NULL, 0, NOISE_MAX, w, &out, NULL, &status, NULL);
	return strstr(str_peek(&out), "davit-is-heard") != NULL;
}

/* A forced command answers a subsystem request too, so the first packets are exchanged: SSH_FXP_INIT with version 3, which
 * SSH_FXP_VERSION (2) answers (draft-ietf-secsh-filexfer-02, section 4). */
static bool speaks_sftp(struct ssh *s, struct wait *w)
{
	static const unsigned char init[] = {0, 0, 0, 5, 1, 0, 0, 0, 3};
	_cleanup_(ssh_channel_freep) struct ssh_channel *c = NULL;
	char reply[5], noise[256];
	size_t have = 0, got, errors;
	int r = ssh_subsystem(s, "sftp", w, &c, NULL);
	if (r == 0)
		r = ssh_write(c, init, sizeof(init), w, NULL);
	while (r >= 0 && have < sizeof(reply)) {
		r = ssh_read(c, reply + have, sizeof(reply) - have, &got, noise, sizeof(noise), &errors, w, NULL);
		if (r == 0 || got + errors == 0)
			return false;
		have += got;
	}
	return r >= 0 && reply[0] == 0 && reply[1] == 0 && reply[4] == 2;
}

bool ssh_gives_sftp_only(struct ssh *s, struct wait *w)
{
	enum { PATIENCE_MS = 10000 };
	struct wait near = wait_within(w, PATIENCE_MS);
	bool only = !runs_commands(s, &near) && speaks_sftp(s, &near);
	if (w != NULL)
		w->next_tick_mono_ms = near.next_tick_mono_ms;
	return only;
}
