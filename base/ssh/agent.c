/* The agent's protocol over our own waits: libssh2's client blocks. An agent that asks a person first would keep
 * the whole program from noticing a cancel. */
#include "base/ssh/ssh_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	AGENT_REQUEST_IDENTITIES = 11,
	AGENT_IDENTITIES_ANSWER = 12,
	AGENT_SIGN_REQUEST = 13,
	AGENT_SIGN_RESPONSE = 14,
	AGENT_RSA_SHA2_512 = 4,
	AGENT_MAX = 256 * 1024,
	AGENT_KEYS_MAX = 6,       /* a server counts each one as a try */
	AGENT_TIMEOUT_MS = 60000, /* a person may have to confirm */
};

static void put_u32(struct str *s, size_t n)
{
	char bytes[4] = {(char)(n >> 24), (char)(n >> 16), (char)(n >> 8), (char)n};
	str_append_n(s, bytes, 4);
}

static void put_string(struct str *s, const void *data, size_t len)
{
	put_u32(s, len);
	str_append_n(s, data, len);
}

static size_t u32_at(const unsigned char *p)
{
	return (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
}

/* A string inside text at *at; false when it is incomplete. */
static bool get_string(const struct str *s, size_t *at, const unsigned char **ret, size_t *ret_len)
{
	const unsigned char *data = (const unsigned char *)str_peek(s);
	if (s->len - *at < 4)
		return false;
	size_t len = u32_at(data + *at);
	if (len > s->len - *at - 4)
		return false;
	*ret = data + *at + 4;
	*ret_len = len;
	*at += 4 + len;
	return true;
}

static int agent_connect(struct err *err)
{
	const char *path = getenv("SSH_AUTH_SOCK");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (path == NULL || *path == '\0')
		return err_hint(err, err_set(err, ERR_INVALID, "login by agent, but SSH_AUTH_SOCK is not set"),
		                "start one (eval $(ssh-agent); ssh-add KEY) or give the key itself");
	if (strlen(path) >= sizeof(address.sun_path))
		return err_set(err, ERR_INVALID, "SSH_AUTH_SOCK is too long");
	memcpy(address.sun_path, path, strlen(path) + 1);
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return err_errno(err, errno, "connect to the SSH agent at %s", path);
	return take_fd(&fd);
}

static int read_exactly(int fd, char *data, size_t len, struct wait *w, struct err *err)
{
	while (len > 0) {
		ssize_t n = read(fd, data, len);
		if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
			int r = wait_fd(w, fd, POLLIN, err);
			if (r < 0)
				return err_wrap(err, r, "SSH agent");
			continue;
		}
		if (n <= 0)
			return err_set(err, ERR_IO, "the SSH agent closed the connection");
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

/* body: type and content. So is the answer. */
static int agent_ask(int fd, const struct str *body, struct wait *w, struct str *answer, struct err *err)
{
	struct wait near = wait_within(w, AGENT_TIMEOUT_MS);
	_cleanup_(str_done) struct str request = STR_INIT(AGENT_MAX);
	put_string(&request, str_peek(body), body->len);
	for (size_t sent = 0; sent < request.len;) {
		ssize_t n = send(fd, request.data + sent, request.len - sent, MSG_NOSIGNAL);
		if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
			int r = wait_fd(&near, fd, POLLOUT, err);
			if (r < 0)
				return err_wrap(err, r, "SSH agent");
			continue;
		}
		if (n < 0)
			return err_errno(err, errno, "write to the SSH agent");
		sent += (size_t)n;
	}
	unsigned char head[4];
	int r = read_exactly(fd, (char *)head, sizeof(head), &near, err);
	if (r < 0)
		return r;
	size_t len = u32_at(head);
	str_clear(answer);
	char *room = len > 0 && len <= AGENT_MAX ? str_reserve(answer, len) : NULL;
	if (room == NULL)
		return err_set(err, ERR_PROTOCOL, "unexpected reply of %zu bytes from the SSH agent", len);
	r = read_exactly(fd, room, len, &near, err);
	if (r < 0)
		return r;
	answer->len += len;
	return 0;
}

struct signing {
	struct ssh *s;
	const unsigned char *key;
	size_t key_len;
	bool rsa;
};

/* libssh2 asks for the signature over data; the agent answers with algorithm and signature, and libssh2 wants only the
 * latter. */
static int sign(LIBSSH2_SESSION *session, unsigned char **sig, size_t *sig_len, const unsigned char *data,
                size_t data_len, void **abstract)
{
	(void)session;
	struct signing *signing = *abstract;
	struct ssh *s = signing->s;
	_cleanup_(str_done) struct str body = STR_INIT(AGENT_MAX), answer = STR_INIT(AGENT_MAX);
	str_append_c(&body, AGENT_SIGN_REQUEST);
	put_string(&body, signing->key, signing->key_len);
	put_string(&body, data, data_len);
	put_u32(&body, signing->rsa ? AGENT_RSA_SHA2_512 : 0);
	if (agent_ask(s->agent_fd, &body, s->wait, &answer, s->sign_err) < 0)
		return -1;
	size_t at = 1, inner_at = 0, len;
	const unsigned char *whole, *part;
	if (answer.data[0] != AGENT_SIGN_RESPONSE || !get_string(&answer, &at, &whole, &len)) {
		err_set(s->sign_err, ERR_AUTH, "the SSH agent does not sign with this key");
		return -1;
	}
	_cleanup_(str_done) struct str inner = STR_INIT(AGENT_MAX);
	str_append_n(&inner, whole, len);
	if (!get_string(&inner, &inner_at, &part, &len) || !get_string(&inner, &inner_at, &part, &len)) {
		err_set(s->sign_err, ERR_PROTOCOL, "unexpected signature from the SSH agent");
		return -1;
	}
	*sig = xmemdup(part, len);
	*sig_len = len;
	return 0;
}

static bool type_known(const unsigned char *blob, size_t len)
{
	static const char *const types[] = {"ssh-rsa", "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384",
	                                    "ecdsa-sha2-nistp521"};
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (len > 4 && u32_at(blob) == strlen(types[i]) && len > 4 + strlen(types[i]) &&
		    memcmp(blob + 4, types[i], strlen(types[i])) == 0)
			return true;
	return false;
}

static int try_identity(struct ssh *s, const char *user, const unsigned char *key, size_t len, struct wait *w,
                        struct str *note, struct err *err)
{
	_cleanup_(str_done) struct str renamed = STR_INIT(AGENT_MAX);
	/* libssh2 does not tell the callback which of RSA's algorithms it has agreed on; under this name there is one. */
	bool rsa = ssh_rsa_rename(key, len, &renamed);
	struct signing signing = {s, key, len, rsa};
	const unsigned char *shown = rsa ? (const unsigned char *)renamed.data : key;
	size_t shown_len = rsa ? renamed.len : len;
	struct err sign_err = ERR_INIT;
	void *abstract = &signing;
	char fingerprint[64];
	int rc;
	s->sign_err = &sign_err;
	SSH_REPEAT(rc, s, w, err, libssh2_userauth_publickey(s->session, user, shown, shown_len, sign, &abstract));
	s->sign_err = NULL;
	if (rc == 0)
		return 0;
	/* A cancel in the agent's wait ends the login; a refusal by the agent skips only this key. */
	if (sign_err.code == ERR_CANCELLED || sign_err.code == ERR_TIMEOUT) {
		if (err != NULL)
			*err = sign_err;
		return sign_err.code;
	}
	if (s->broken || rc == LIBSSH2_ERROR_SOCKET_DISCONNECT || rc == LIBSSH2_ERROR_SOCKET_RECV)
		return ssh_lib_err(s, rc, "agent", err);
	ssh_fingerprint(key, len, fingerprint);
	str_appendf(note, "%sagent key %s refused", note->len > 0 ? ", " : "", fingerprint);
	return 0;
}

int ssh_auth_agent(struct ssh *s, const char *user, struct wait *w, struct str *ret_note, struct err *err)
{
	_cleanup_close_ int fd = agent_connect(err);
	_cleanup_(str_done) struct str body = STR_INIT(16), answer = STR_INIT(AGENT_MAX);
	if (fd < 0)
		return fd;
	str_append_c(&body, AGENT_REQUEST_IDENTITIES);
	int r = agent_ask(fd, &body, w, &answer, err);
	if (r < 0)
		return r;
	if (answer.len < 5 || answer.data[0] != AGENT_IDENTITIES_ANSWER)
		return err_set(err, ERR_PROTOCOL, "the SSH agent does not list its keys");
	size_t count = u32_at((const unsigned char *)answer.data + 1), at = 5, tried = 0, skipped = 0;
	s->agent_fd = fd;
	for (size_t i = 0; i < count && tried < AGENT_KEYS_MAX && !libssh2_userauth_authenticated(s->session); i++) {
		const unsigned char *key, *comment;
		size_t len, comment_len;
		if (!get_string(&answer, &at, &key, &len) || !get_string(&answer, &at, &comment, &comment_len))
			return err_set(err, ERR_PROTOCOL, "unexpected list of keys from the SSH agent");
		if (!type_known(key, len)) {
			skipped++;
			continue;
		}
		tried++;
		r = try_identity(s, user, key, len, w, ret_note, err);
		if (r < 0)
			break;
	}
	s->agent_fd = -1;
	if (r == 0 && tried == 0)
		str_appendf(ret_note, "%sthe agent has no usable key", ret_note->len > 0 ? ", " : "");
	if (r == 0 && skipped > 0)
		str_appendf(ret_note, " (%zu of another type skipped)", skipped);
	return r;
}
