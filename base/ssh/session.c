#include "base/ssh/session.h"
#include "base/core/log.h"
#include "base/ssh/ssh_priv.h"

#include <errno.h>
#include <pthread.h>
#include <sys/socket.h>

enum { CONNECT_TIMEOUT_MS = 30000, JUMPS_MAX = 4, HOST_KEY_TRIES = 5 };

static void init_once(void)
{
	if (libssh2_init(0) != 0)
		abort();
}

const char *ssh_user(const struct ssh *s)
{
	return s->user;
}

const char *ssh_host_key(const struct ssh *s)
{
	return s->fingerprint;
}

bool ssh_is_open(const struct ssh *s)
{
	char byte;
	if (s == NULL || s->broken || s->ended)
		return false;
	if (s->jump != NULL)
		return ssh_is_open(s->jump);
	/* A connection that broke while idle is noticed here, before anything is sent over it. */
	ssize_t n = recv(net_fd(s->conn), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR));
}

/* Ends one connection, not the jump session below it. */
static void disconnect(struct ssh *s)
{
	if (s->session != NULL) {
		if (s->established && !s->broken) {
			libssh2_session_disconnect(s->session, "done");
			ssh_flush(s, NULL);
		}
		s->closing = true;
		s->zombie_count = 0;
		libssh2_session_free(s->session);
	}
	s->session = NULL;
	if (s->via != NULL) {
		/* Its session may live on: does not wait for the peer's answer. */
		struct ssh_channel *c = xcalloc(1, sizeof(*c));
		c->s = s->jump;
		c->channel = TAKE(s->via);
		ssh_channel_free(c);
	}
	net_closep(&s->conn);
	free(TAKE(s->in));
	str_done(&s->out);
	s->in_start = s->in_end = s->out_start = s->sniffed_len = 0;
	s->ended = s->broken = s->closing = s->established = false;
}

void ssh_free(struct ssh *s)
{
	if (s == NULL)
		return;
	disconnect(s);
	ssh_free(s->jump);
	free(s->zombies);
	free(s->label);
	free(s->user);
	free(s->fingerprint);
	free(s->key_type);
	free(s);
}

void ssh_freep(struct ssh **s)
{
	ssh_free(*s);
	*s = NULL;
}

static int tunnel(struct ssh *s, const struct ssh_login *login, struct wait *w, struct err *err)
{
	struct ssh *j = s->jump;
	if (j->broken)
		return err_set(err, ERR_NETWORK, "the SSH connection to %s was lost", j->label);
	for (;;) {
		s->via = libssh2_channel_direct_tcpip_ex(j->session, login->host, login->port != 0 ? login->port : 22,
		                                         "127.0.0.1", 22);
		if (s->via != NULL)
			return 0;
		int rc = libssh2_session_last_errno(j->session);
		if (rc == LIBSSH2_ERROR_CHANNEL_FAILURE) {
			int r = err_set(err, ERR_NETWORK, "the jump host %s gives no way to %s", j->label, s->label);
			return err_hint(err, r,
			                "the jump host must reach it, and AllowTcpForwarding must not be off there");
		}
		if (rc != LIBSSH2_ERROR_EAGAIN)
			return ssh_lib_err(j, rc, "open the way to the next host", err);
		int r = ssh_block(j, w, err);
		if (r < 0)
			return r;
	}
}

/* One connection up to an accepted host key. On ERR_AUTH s->key_type is the type of the refused key. */
static int connect_once(struct ssh *s, const struct ssh_login *login, const struct ssh_pins *pins,
                        const struct strv *refused, struct wait *w, struct err *err)
{
	_cleanup_(str_done) struct str types = STR_INIT(1024);
	int r = ssh_pins_types(pins, refused, &types, err);
	if (r < 0)
		return err_wrap(err, r, "%s", s->label);
	if (s->jump != NULL)
		r = tunnel(s, login, w, err);
	else
		r = net_connect(login->host, login->port != 0 ? login->port : 22, login->connect_timeout_ms, w,
		                &s->conn, err);
	if (r < 0)
		return r;
	r = ssh_handshake(s, str_peek(&types), w, err);
	if (r < 0)
		return r;
	return ssh_pins_check(pins, s, err);
}

/* A fingerprint does not give its type, and a host shows one key of several: requests the others in turn. */
static int connect_pinned(struct ssh *s, const struct ssh_login *login, const struct ssh_pins *pins, struct wait *w,
                          struct err *err)
{
	_cleanup_(strv_done) struct strv refused = {0};
	struct err first = ERR_INIT;
	for (int i = 0; i < HOST_KEY_TRIES; i++) {
		struct err this = ERR_INIT;
		free(TAKE(s->key_type));
		int r = connect_once(s, login, pins, &refused, w, &this);
		if (r == 0)
			return 0;
		disconnect(s);
		bool wrong_key = r == ERR_AUTH && s->key_type != NULL && !s->key_revoked;
		if (i == 0 || !(wrong_key || r == ERR_UNSUPPORTED || r == ERR_AUTH))
			first = this;
		if (!wrong_key || !pins->any_type)
			break;
		strv_add(&refused, s->key_type);
	}
	if (err != NULL)
		*err = first;
	return first.code;
}

static int open_depth(const struct ssh_login *login, int depth, struct wait *w, struct ssh **ret, struct err *err)
{
	_cleanup_(ssh_freep) struct ssh *s = xcalloc(1, sizeof(*s));
	_cleanup_(ssh_pins_done) struct ssh_pins pins = {0};
	struct wait near =
		wait_within(w, login->connect_timeout_ms > 0 ? login->connect_timeout_ms : CONNECT_TIMEOUT_MS);
	s->agent_fd = -1;
	s->login = login;
	s->label = xasprintf("%s port %d", login->host, login->port != 0 ? login->port : 22);
	if (login->users == NULL || login->users[0] == NULL)
		return err_set(err, ERR_INVALID, "no user is given for %s", s->label);
	int r = ssh_pins_load(login, &pins, err);
	if (r == 0 && login->key != NULL) {
		/* Before anything is sent: an unusable key needs a person. */
		_cleanup_(str_done) struct str text = STR_SECRET_INIT(70 * 1024);
		_cleanup_(str_done) struct str notes = STR_INIT(512);
		char type[64];
		r = ssh_key_check(login->key, login->key_passphrase, &text, &notes, type, err);
		if (r == 0 && notes.len > 0)
			log_warning("ssh", "the private key for %s was fixed: %s; store it as its file has it",
			            s->label, str_peek(&notes));
	}
	if (r < 0)
		return err_wrap(err, r, "SSH to %s", s->label);
	if (login->jump != NULL) {
		if (depth >= JUMPS_MAX)
			return err_set(err, ERR_INVALID, "more than %d jump hosts on the way to %s", JUMPS_MAX,
			               s->label);
		r = open_depth(login->jump, depth + 1, w, &s->jump, err);
		if (r < 0)
			return err_wrap(err, r, "jump host");
		near = wait_within(w, login->connect_timeout_ms > 0 ? login->connect_timeout_ms : CONNECT_TIMEOUT_MS);
	}
	/* A server does not allow a change of the user name: a connection for each. */
	for (const char *const *user = login->users; *user != NULL; user++) {
		r = connect_pinned(s, login, &pins, &near, err);
		if (r < 0)
			break;
		r = ssh_authenticate(s, *user, &near, err);
		if (r == 0) {
			s->user = xstrdup(*user);
			break;
		}
		disconnect(s);
		if (r != ERR_AUTH)
			break;
	}
	if (w != NULL)
		w->next_tick_mono_ms = near.next_tick_mono_ms;
	if (r == ERR_AUTH && login->users[1] != NULL && s->user == NULL) {
		_cleanup_(str_done) struct str names = STR_INIT(300);
		for (const char *const *user = login->users; *user != NULL; user++)
			str_appendf(&names, "%s'%s'", user == login->users ? "" : ", ", *user);
		err_wrap(err, r, "none of the users %s can log in", str_peek(&names));
	}
	if (r < 0)
		return r;
	s->login = NULL;
	log_debug("ssh", "%s as %s, %s %s", s->label, s->user, s->key_type, s->fingerprint);
	*ret = TAKE(s);
	return 0;
}

int ssh_open(const struct ssh_login *login, struct wait *w, struct ssh **ret, struct err *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, init_once);
	return open_depth(login, 0, w, ret, err);
}
