#include "base/ssh/ssh_priv.h"
#include "base/core/clock.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <poll.h>
#include <sys/socket.h>

enum {
	IN_SIZE = 256 * 1024,
	OUT_MAX = 64 * 1024 * 1024,
	KEEPALIVE_MS = 15000,
	NEAR_US = 1000,
	SILENCE_MS = 60000, /* this long without a byte, keepalives included: the peer is gone */
};

static ssize_t take_in(libssh2_socket_t fd, void *buffer, size_t size, int flags, void **abstract)
{
	(void)fd;
	(void)flags;
	struct ssh *s = *abstract;
	size_t n = MIN(size, s->in_end - s->in_start);
	if (s->closing)
		return -ECONNRESET;
	if (n == 0)
		return s->ended ? 0 : -EAGAIN;
	memcpy(buffer, s->in + s->in_start, n);
	s->in_start += n;
	return (ssize_t)n;
}

static ssize_t put_out(libssh2_socket_t fd, const void *data, size_t len, int flags, void **abstract)
{
	(void)fd;
	(void)flags;
	struct ssh *s = *abstract;
	if (s->closing)
		return (ssize_t)len;
	if (!str_append_n(&s->out, data, len))
		return -ENOBUFS;
	return (ssize_t)len;
}

static int lost(struct ssh *s, const char *why, struct err *err)
{
	s->broken = true;
	return err_set(err, ERR_NETWORK, "the SSH connection to %s was lost: %s", s->label, why);
}

int ssh_lib_err(struct ssh *s, int rc, const char *what, struct err *err)
{
	char *text = NULL;
	libssh2_session_last_error(s->session, &text, NULL, 0);
	switch (rc) {
	case LIBSSH2_ERROR_SOCKET_SEND:
	case LIBSSH2_ERROR_SOCKET_RECV:
	case LIBSSH2_ERROR_SOCKET_DISCONNECT:
	case LIBSSH2_ERROR_SOCKET_TIMEOUT:
	case LIBSSH2_ERROR_BANNER_RECV:
	case LIBSSH2_ERROR_BANNER_SEND:
	/* Data was altered on the way: nothing after it can be read. */
	case LIBSSH2_ERROR_DECRYPT:
	case LIBSSH2_ERROR_INVALID_MAC:
		return lost(s, text != NULL && *text != '\0' ? text : "closed", err);
	default:
		break;
	}
	int r = err_set(err, ERR_PROTOCOL, "%s: %s: %s (libssh2 %d)", s->label, what, text != NULL ? text : "", rc);
	if (err != NULL)
		err->foreign = rc;
	return r;
}

static struct ssh *bottom(struct ssh *s)
{
	while (s->jump != NULL)
		s = s->jump;
	return s;
}

int ssh_flush(struct ssh *s, struct err *err)
{
	while (s->out_start < s->out.len) {
		const char *data = s->out.data + s->out_start;
		size_t len = s->out.len - s->out_start;
		ssize_t n;
		if (s->jump == NULL) {
			n = send(net_fd(s->conn), data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
			if (n < 0 && errno == EINTR)
				continue;
			if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
				return 0;
			if (n < 0)
				return lost(s, strerror(errno), err);
		} else {
			n = libssh2_channel_write(s->via, data, len);
			int r = ssh_flush(s->jump, err);
			if (r < 0)
				return lost(s, "the jump host is gone", err);
			if (n == LIBSSH2_ERROR_EAGAIN || n == 0)
				return 0;
			if (n < 0)
				return lost(s, "the jump host closed the way", err);
		}
		s->out_start += (size_t)n;
	}
	str_clear(&s->out);
	s->out_start = 0;
	return 0;
}

static void sniff(struct ssh *s, const char *data, size_t len)
{
	size_t n = MIN(len, SSH_SNIFF - s->sniffed_len);
	if (s->established || n == 0)
		return;
	memcpy(s->sniffed + s->sniffed_len, data, n);
	s->sniffed_len += n;
}

/* Reads available bytes without waiting. 1: something new for libssh2, 0: nothing. */
static int fill(struct ssh *s, struct err *err)
{
	bool moved = false;
	if (s->in_start == s->in_end)
		s->in_start = s->in_end = 0;
	if (s->jump != NULL && fill(s->jump, err) < 0)
		return lost(s, "the jump host is gone", err);
	while (s->in_end < IN_SIZE && !s->ended) {
		ssize_t n;
		if (s->jump == NULL) {
			n = recv(net_fd(s->conn), s->in + s->in_end, IN_SIZE - s->in_end, MSG_DONTWAIT);
			if (n < 0 && errno == EINTR)
				continue;
			if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
				break;
			if (n < 0 && errno != ECONNRESET)
				return lost(s, strerror(errno), err);
		} else {
			n = libssh2_channel_read(s->via, s->in + s->in_end, IN_SIZE - s->in_end);
			if (n == LIBSSH2_ERROR_EAGAIN || (n == 0 && !libssh2_channel_eof(s->via)))
				break;
		}
		if (n <= 0) {
			s->ended = true;
			moved = true;
			break;
		}
		sniff(s, s->in + s->in_end, (size_t)n);
		s->in_end += (size_t)n;
		s->heard_mono_ms = clock_mono_ms();
		moved = true;
		/* A short read means that the socket is empty: saves another call. */
		if (s->jump == NULL && s->in_end < IN_SIZE)
			break;
	}
	return moved;
}

static int keep_alive(struct ssh *s, struct err *err)
{
	int64_t now = clock_mono_ms();
	if (now - s->heard_mono_ms >= SILENCE_MS)
		return lost(s, "no answer for a minute", err);
	if (s->established && now - s->alive_mono_ms >= KEEPALIVE_MS) {
		int next;
		libssh2_keepalive_send(s->session, &next);
		s->alive_mono_ms = now;
		return ssh_flush(s, err);
	}
	return 0;
}

int ssh_block(struct ssh *s, struct wait *w, struct err *err)
{
	return ssh_block_for(s, KEEPALIVE_MS, w, err);
}

int ssh_block_for(struct ssh *s, int64_t ms, struct wait *w, struct err *err)
{
	if (s->broken)
		return lost(s, "closed before", err);
	int64_t tick = w != NULL ? w->next_tick_mono_ms : 0;
	int r = wait_ms(w, 0, err);
	if (r < 0)
		return r;
	/* The tick may have used this session itself and read the awaited bytes: the caller asks libssh2 again.
	 */
	if (w != NULL && w->next_tick_mono_ms != tick)
		return 0;
	r = ssh_flush(s, err);
	if (r < 0)
		return r;
	r = fill(s, err);
	if (r != 0)
		return MIN(r, 0);
	struct ssh *b = bottom(s);
	short events = (short)(POLLIN | (b->out_start < b->out.len ? POLLOUT : 0));
	int64_t left = wait_left_ms(w);
	ms = MIN(ms, (int64_t)KEEPALIVE_MS);
	struct wait slice = wait_within(w, left < 0 ? ms : MIN(left, ms));
	slice.tick = NULL;
	r = wait_fd(&slice, net_fd(b->conn), events, err);
	if (r == ERR_TIMEOUT) {
		err_clear(err);
		return keep_alive(s, err);
	}
	if (r < 0)
		return r;
	r = ssh_flush(s, err);
	if (r < 0)
		return r;
	r = fill(s, err);
	return MIN(r, 0);
}

bool ssh_rsa_is_sha1(void)
{
	return libssh2_version(0x010b00) == NULL;
}

/* The n-th name-list of the peer's KEXINIT, which it sends in clear right after its banner. */
static bool offered(const struct ssh *s, int index, struct str *out)
{
	const char *end = s->sniffed + s->sniffed_len, *p = s->sniffed;
	while (p < end && (size_t)(end - p) > 4 && memcmp(p, "SSH-", 4) != 0) {
		p = memchr(p, '\n', (size_t)(end - p));
		if (p == NULL)
			return false;
		p++;
	}
	p = p < end ? memchr(p, '\n', (size_t)(end - p)) : NULL;
	if (p == NULL || end - p < 1 + 4 + 1 + 1 + 16 || p[6] != 20)
		return false;
	p += 1 + 4 + 1 + 1 + 16;
	for (int i = 0;; i++) {
		if (end - p < 4)
			return false;
		size_t len = (size_t)(unsigned char)p[0] << 24 | (size_t)(unsigned char)p[1] << 16 |
		             (size_t)(unsigned char)p[2] << 8 | (unsigned char)p[3];
		p += 4;
		if (len > (size_t)(end - p))
			return false;
		if (i == index)
			return str_append_safe(out, p, len);
		p += len;
	}
}

static bool has_name(const char *list, const char *name, size_t len)
{
	for (const char *p = list; *p != '\0';) {
		size_t n = strcspn(p, ",");
		if (n == len && memcmp(p, name, n) == 0)
			return true;
		p += n + (p[n] == ',');
	}
	return false;
}

static bool have_common(const char *ours, const char *theirs)
{
	for (const char *p = ours; *p != '\0';) {
		size_t n = strcspn(p, ",");
		if (has_name(theirs, p, n))
			return true;
		p += n + (p[n] == ',');
	}
	return false;
}

/* Do not suggest allowing these again. */
static bool is_weak(const char *name)
{
	static const char *const weak[] = {"md5", "ripemd",  "sha1",     "-96", "3des",
	                                   "cbc", "arcfour", "blowfish", "cast"};
	for (size_t i = 0; i < ARRAY_SIZE(weak); i++)
		if (strstr(name, weak[i]) != NULL)
			return true;
	return false;
}

/* The methods of a kind that this libssh2 knows, as a list of names. */
static void known_methods(struct ssh *s, int method, bool weak_too, struct str *out)
{
	const char **known = NULL;
	int count = libssh2_session_supported_algs(s->session, method, &known);
	for (int i = 0; i < count; i++)
		if (weak_too || !is_weak(known[i]))
			str_appendf(out, "%s%s", out->len > 0 ? "," : "", known[i]);
	if (known != NULL)
		libssh2_free(s->session, known);
}

static int no_common_host_key(struct ssh *s, const char *wanted, const char *theirs, struct err *err)
{
	if (strstr(theirs, "ssh-ed25519") == NULL && strstr(theirs, "ecdsa-sha2-nistp") == NULL && ssh_rsa_is_sha1()) {
		int r = err_set(err, ERR_UNSUPPORTED,
		                "%s shows only RSA host keys (%s): libssh2 %s knows RSA with SHA-1 only, "
		                "which is refused",
		                s->label, theirs, libssh2_version(0));
		return err_hint(
			err, r,
			"give the host an Ed25519 key: ssh-keygen -A (or: ssh-keygen -t ed25519 -N '' -f "
			"/etc/ssh/ssh_host_ed25519_key), HostKey in sshd_config, reload sshd; then pin that key");
	}
	int r = err_set(err, ERR_AUTH, "%s has no host key of the pinned type: pinned %s, the host has %s", s->label,
	                wanted, theirs);
	return err_hint(err, r, "pin a key of a type that the host has (ssh-keyscan, compared with the host itself)");
}

/* The first kind of method without a common name: the lists of KEXINIT, in its order. */
static int no_common_method(struct ssh *s, const char *host_key_types, int rc, struct err *err)
{
	static const struct {
		int method;
		const char *what, *option;
	} kinds[] = {
		{LIBSSH2_METHOD_KEX, "key exchange method", "KexAlgorithms"},
		{LIBSSH2_METHOD_HOSTKEY, "type of host key", "HostKeyAlgorithms"},
		{LIBSSH2_METHOD_CRYPT_CS, "cipher", "Ciphers"},
		{LIBSSH2_METHOD_CRYPT_SC, "cipher", "Ciphers"},
		{LIBSSH2_METHOD_MAC_CS, "MAC (message authentication code)", "MACs"},
		{LIBSSH2_METHOD_MAC_SC, "MAC (message authentication code)", "MACs"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		_cleanup_(str_done) struct str theirs = STR_INIT(SSH_SNIFF), ours = STR_INIT(4096);
		if (!offered(s, (int)i, &theirs))
			break;
		bool host_key = kinds[i].method == LIBSSH2_METHOD_HOSTKEY;
		if (host_key)
			str_append(&ours, host_key_types);
		else
			known_methods(s, kinds[i].method, true, &ours);
		if (have_common(str_peek(&ours), str_peek(&theirs)))
			continue;
		if (host_key)
			return no_common_host_key(s, host_key_types, str_peek(&theirs), err);
		str_clear(&ours);
		known_methods(s, kinds[i].method, false, &ours);
		_cleanup_free_ char *hint = xasprintf("add one of these to %s in the host's sshd_config: %s",
		                                      kinds[i].option, str_peek(&ours));
		return err_hint(err,
		                err_set(err, ERR_UNSUPPORTED,
		                        "%s and libssh2 %s have no %s in common: the host takes %s", s->label,
		                        libssh2_version(0), kinds[i].what, str_peek(&theirs)),
		                "%s", hint);
	}
	return ssh_lib_err(s, rc, "agree on algorithms", err);
}

/* Passes only names that this libssh2 knows: 1.10 removes unknown ones from the list by an overlapping memcpy.
 */
static void prefer(struct ssh *s, int method, const char *wanted)
{
	const char **known = NULL;
	_cleanup_(str_done) struct str some = STR_INIT(2048);
	int count = libssh2_session_supported_algs(s->session, method, &known);
	for (const char *p = wanted; *p != '\0';) {
		size_t len = strcspn(p, ",");
		for (int i = 0; i < count; i++) {
			if (strlen(known[i]) != len || memcmp(known[i], p, len) != 0)
				continue;
			str_append(&some, some.len > 0 ? "," : "");
			str_append_n(&some, p, len);
			break;
		}
		p += len + (p[len] == ',');
	}
	if (known != NULL)
		libssh2_free(s->session, known);
	libssh2_session_method_pref(s->session, method, some.len > 0 ? some.data : wanted);
}

static bool has_aes_instructions(void)
{
#if defined(__x86_64__)
	unsigned a, b, c = 0, d;
	return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_AES) != 0;
#else
	return true;
#endif
}

static bool has_sha_instructions(void)
{
#if defined(__x86_64__)
	unsigned a, b = 0, c, d;
	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA) != 0;
#else
	return true;
#endif
}

/* The cheapest sound one comes first. AES with GCM needs no hash of its own; with CTR (all that 1.10 has) the hash is what
 * bounds a transfer, and without instructions for SHA-256 the longer one is the faster one on a 64-bit machine. */
static void prefer_ciphers_and_macs(struct ssh *s)
{
	static const char chacha[] = "chacha20-poly1305@openssh.com";
	static const char aes[] = "aes128-gcm@openssh.com,aes256-gcm@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr";
	static const char shorter[] = "hmac-sha2-256,hmac-sha2-512,hmac-sha1,hmac-sha2-256-etm@openssh.com,"
				      "hmac-sha2-512-etm@openssh.com";
	static const char longer[] = "hmac-sha2-512,hmac-sha2-256,hmac-sha1,hmac-sha2-512-etm@openssh.com,"
				     "hmac-sha2-256-etm@openssh.com";
	const char *macs = has_sha_instructions() ? shorter : longer;
	bool aes_first = has_aes_instructions();
	_cleanup_free_ char *ciphers = xasprintf("%s,%s", aes_first ? aes : chacha, aes_first ? chacha : aes);
	prefer(s, LIBSSH2_METHOD_CRYPT_CS, ciphers);
	prefer(s, LIBSSH2_METHOD_CRYPT_SC, ciphers);
	prefer(s, LIBSSH2_METHOD_MAC_CS, macs);
	prefer(s, LIBSSH2_METHOD_MAC_SC, macs);
}

static void set_callbacks(struct ssh *s)
{
#if LIBSSH2_VERSION_NUM >= 0x010b01
	libssh2_session_callback_set2(s->session, LIBSSH2_CALLBACK_SEND, (libssh2_cb_generic *)put_out);
	libssh2_session_callback_set2(s->session, LIBSSH2_CALLBACK_RECV, (libssh2_cb_generic *)take_in);
#else
	libssh2_session_callback_set(s->session, LIBSSH2_CALLBACK_SEND, (void *)put_out);
	libssh2_session_callback_set(s->session, LIBSSH2_CALLBACK_RECV, (void *)take_in);
#endif
}

/* The shortest round trip so far; the smoothed one counts the peer's delays too. */
static bool is_near(int fd)
{
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);
	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
	       len >= offsetof(struct tcp_info, tcpi_min_rtt) + sizeof(info.tcpi_min_rtt) &&
	       info.tcpi_min_rtt < NEAR_US;
}

static bool says_ssh(const struct ssh *s)
{
	return (s->sniffed_len >= 4 && memcmp(s->sniffed, "SSH-", 4) == 0) ||
	       memmem(s->sniffed, s->sniffed_len, "\nSSH-", 5) != NULL;
}

/* The other side did not get as far as SSH's first line. */
static int no_ssh_there(struct ssh *s, int code, struct err *err)
{
	_cleanup_(str_done) struct str said = STR_INIT(400);
	const char *line_end = memchr(s->sniffed, '\n', s->sniffed_len);
	size_t len = line_end != NULL ? (size_t)(line_end - s->sniffed) : s->sniffed_len;
	while (len > 0 && s->sniffed[len - 1] == '\r')
		len--;
	if ((code != ERR_NETWORK && code != ERR_TIMEOUT && code != ERR_PROTOCOL) ||
	    (s->jump != NULL && s->jump->broken))
		return code;
	if (s->sniffed_len == 0 && code == ERR_TIMEOUT)
		return err_hint(
			err, err_set(err, code, "%s accepts the connection and says nothing", s->label),
			"the port may belong to another service, or something stands in between (a proxy, a firewall)");
	if (s->sniffed_len == 0)
		return err_hint(err,
		                err_set(err, ERR_NETWORK, "%s closes the connection before it says anything", s->label),
		                "the host may refuse this address or have too many logins open (fail2ban, MaxStartups, "
		                "hosts.deny); its log says which");
	str_append_safe(&said, s->sniffed, MIN(len, (size_t)200));
	return err_hint(
		err,
		err_set(err, ERR_NETWORK, "what answers at %s is not an SSH server: '%s'", s->label, str_peek(&said)),
		"check host and port: another service listens there, or a proxy stands in between");
}

static int exchange_keys(struct ssh *s, const char *host_key_types, struct wait *w, struct err *err)
{
	int rc;
	SSH_REPEAT(rc, s, w, err, libssh2_session_handshake(s->session, net_fd(bottom(s)->conn)));
	/* -5 and -8 both: which one depends on the message that fails. */
	if (rc == LIBSSH2_ERROR_KEX_FAILURE || rc == LIBSSH2_ERROR_KEY_EXCHANGE_FAILURE ||
	    rc == LIBSSH2_ERROR_METHOD_NONE)
		return no_common_method(s, host_key_types, rc, err);
	return rc != 0 ? ssh_lib_err(s, rc, "SSH handshake", err) : 0;
}

int ssh_handshake(struct ssh *s, const char *host_key_types, struct wait *w, struct err *err)
{
	s->session = libssh2_session_init_ex(NULL, NULL, NULL, s);
	if (s->session == NULL)
		return err_set(err, ERR_INTERNAL, "libssh2 gives no session");
	s->in = xmalloc(IN_SIZE);
	s->out = (struct str)STR_INIT(OUT_MAX);
	s->heard_mono_ms = s->alive_mono_ms = clock_mono_ms();
	set_callbacks(s);
	libssh2_session_set_blocking(s->session, 0);
	prefer(s, LIBSSH2_METHOD_HOSTKEY, host_key_types);
	prefer_ciphers_and_macs(s);
	int r = exchange_keys(s, host_key_types, w, err);
	if (r < 0)
		return !says_ssh(s) ? no_ssh_there(s, r, err) : r;
	s->established = true;
	s->near = s->jump == NULL && is_near(net_fd(s->conn));
	libssh2_keepalive_config(s->session, 1, KEEPALIVE_MS / 1000 / 2);
	return 0;
}
