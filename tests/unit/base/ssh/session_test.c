/* The SSH client against a real sshd (tests/servers/sshd.py). */
#include "unit/cmocka_all.h"
#include "base/sys/fs.h"
#include "base/ssh/ssh_priv.h"
#include "harness/server.h"

#include <fcntl.h>
#include <stdlib.h>

/* A libssh2 1.10 of the system's loses some bytes of a login that was refused and of a key exchange that failed. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libssh2.so\n";
}

/* Its frames are found only so: it is built without frame pointers. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "fast_unwind_on_malloc=0";
}

static struct server sshd, rsa_only, accounts;
static char *key; /* the login key's text */

static char *read_text(const char *path)
{
	struct str text = STR_INIT(1 << 20);
	assert_int_equal(fs_read(AT_FDCWD, path, 1 << 20, &text, NULL), 0);
	return str_take(&text);
}

static int start(void **state)
{
	(void)state;
	static const char *const plain[] = {"--host-keys", "ed25519,ecdsa", NULL};
	static const char *const rsa[] = {"--host-keys", "rsa", NULL};
	static const char *const people[] = {
		"--account", "deploy:open sesame",
		"--option",  "PasswordAuthentication yes",
		"--option",  "KbdInteractiveAuthentication no",
		"--option",  "UsePAM yes",
		"--option",  "MaxAuthTries 20",
		NULL,
	};
	if (!server_start(&sshd, "sshd.py", plain) || !server_start(&rsa_only, "sshd.py", rsa))
		return -1;
	server_start(&accounts, "sshd.py", people);
	key = read_text(server_text(&sshd, "key"));
	return 0;
}

static int stop(void **state)
{
	(void)state;
	server_stop(&sshd);
	server_stop(&rsa_only);
	server_stop(&accounts);
	free(key);
	return 0;
}

struct attempt {
	struct ssh_login login;
	const char *users[4], *host_keys[4];
	struct ssh *s;
	struct wait w;
	struct err err;
	char line[4096];
	int ticks;
	int64_t least_left_ms;
};

static void attempt_done(struct attempt *t)
{
	ssh_free(t->s);
}
#define TRY(name)                                                                                                      \
	_cleanup_(attempt_done) struct attempt name;                                                                   \
	attempt_init(&name, &sshd)

static void attempt_init(struct attempt *t, struct server *server)
{
	memset(t, 0, sizeof(*t));
	t->users[0] = server_text(server, "user");
	t->host_keys[0] = server_text(server, "host_key");
	t->login = (struct ssh_login){.host = "127.0.0.1",
	                              .port = server_port(server),
	                              .users = t->users,
	                              .key = key,
	                              .host_keys = t->host_keys};
	t->w = (struct wait)WAIT_INIT;
	t->w = wait_within(&t->w, 30000);
}

static int go(struct attempt *t)
{
	int r = ssh_open(&t->login, &t->w, &t->s, &t->err);
	err_line(&t->err, t->line, sizeof(t->line));
	return r;
}

static void expect_in(const struct attempt *t, const char *text)
{
	if (strstr(t->line, text) == NULL)
		fail_msg("'%s' is not in: %s", text, t->line);
}

static int run(struct attempt *t, const char *command, const char *input, char *out, size_t size)
{
	_cleanup_(str_done) struct str o = STR_INIT(1 << 20), e = STR_INIT(1 << 20);
	int status = -1, r = ssh_run(t->s, command, input, strlen(input), 1 << 20, &t->w, &o, &e, &status, &t->err);
	err_line(&t->err, t->line, sizeof(t->line));
	if (r < 0)
		return r;
	snprintf(out, size, "%s|%s", str_peek(&o), str_peek(&e));
	return status;
}

static void a_command_runs_with_its_streams_and_status(void **state)
{
	(void)state;
	char out[4096];
	TRY(t);
	assert_int_equal(go(&t), 0);
	assert_string_equal(ssh_host_key(t.s), t.host_keys[0]);
	assert_string_equal(ssh_user(t.s), t.users[0]);
	assert_int_equal(run(&t, "cat; echo bad >&2; exit 7", "hello", out, sizeof(out)), 7);
	assert_string_equal(out, "hello|bad\n");
	assert_int_equal(run(&t, "exec kill -TERM $$", "", out, sizeof(out)), 128 + 15);
	assert_int_equal(run(&t, "true", "", out, sizeof(out)), 0);
}

static char *pattern(size_t size)
{
	char *data = xmalloc(size);
	for (size_t i = 0; i < size; i++)
		data[i] = (char)(i * 2654435761u >> 13);
	return data;
}

/* Through cat and back. */
static void expect_echo(struct attempt *t, const char *data, size_t size)
{
	_cleanup_(str_done) struct str o = STR_INIT(size + 1);
	int status = -1;
	if (ssh_run(t->s, "cat", data, size, size, &t->w, &o, NULL, &status, &t->err) < 0)
		fail_msg("%zu bytes: %s", size, err_line(&t->err, t->line, sizeof(t->line)));
	assert_int_equal(status, 0);
	assert_int_equal(o.len, size);
	assert_memory_equal(str_peek(&o), data, size);
}

static void megabytes_go_both_ways_at_once(void **state)
{
	(void)state;
	enum { SIZE = 20 << 20 };
	TRY(t);
	assert_int_equal(go(&t), 0);
	_cleanup_free_ char *data = pattern(SIZE);
	expect_echo(&t, data, SIZE);
}

static void a_command_that_begins_late_gets_all_of_its_input(void **state)
{
	(void)state;
	enum { SIZE = 5 << 20 };
	TRY(t);
	assert_int_equal(go(&t), 0);
	_cleanup_free_ char *data = xcalloc(1, SIZE);
	_cleanup_(str_done) struct str o = STR_INIT(1024), e = STR_INIT(1024);
	int status = -1;
	/* The slow command is what is tested: longer than a sender keeps to a part of the window. */
	assert_int_equal(ssh_run(t.s, "sleep 0.7; wc -c", data, SIZE, 1000, &t.w, &o, &e, &status, &t.err), 0);
	assert_int_equal(status, 0);
	assert_int_equal(strtoll(str_peek(&o), NULL, 10), SIZE);
}

static void every_cipher_and_mac_carries_any_length_and_outlives_new_keys(void **state)
{
	(void)state;
	enum { SIZE = 6 << 20, ODD = 70 };
	static const struct {
		const char *cipher, *mac;
		bool newer; /* than libssh2 1.10 */
	} ways[] = {
		{"Ciphers aes128-gcm@openssh.com", "MACs hmac-sha2-256", true},
		{"Ciphers aes256-gcm@openssh.com", "MACs hmac-sha2-256", true},
		{"Ciphers chacha20-poly1305@openssh.com", "MACs hmac-sha2-256", true},
		{"Ciphers aes128-ctr", "MACs hmac-sha2-256-etm@openssh.com", true},
		{"Ciphers aes256-ctr", "MACs hmac-sha2-512-etm@openssh.com", true},
		{"Ciphers aes128-ctr", "MACs hmac-sha2-256", false},
		{"Ciphers aes256-ctr", "MACs hmac-sha2-512", false},
	};
	_cleanup_free_ char *data = pattern(SIZE);
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		const char *const options[] = {"--option", ways[i].cipher,  "--option", ways[i].mac,
		                               "--option", "RekeyLimit 1M", NULL};
		struct server server;
		if (ways[i].newer && ssh_rsa_is_sha1())
			continue;
		assert_true(server_start(&server, "sshd.py", options));
		{
			_cleanup_(attempt_done) struct attempt t;
			_cleanup_free_ char *own_key = read_text(server_text(&server, "key"));
			attempt_init(&t, &server);
			t.login.key = own_key;
			if (go(&t) < 0)
				fail_msg("%s, %s: %s", ways[i].cipher, ways[i].mac, t.line);
			for (size_t len = 0; len < ODD; len++)
				expect_echo(&t, data + len, len);
			expect_echo(&t, data, SIZE);
		}
		server_stop(&server);
	}
}

/* The connection leads through a proxy that changes one bit of what is encrypted. */
static void expect_refused(const char *cipher, const char *order, const char *command)
{
	enum { SIZE = 1 << 20 };
	const char *const options[] = {"--option", cipher, NULL};
	char port[16], answer[64];
	struct server server, proxy;
	assert_true(server_start(&server, "sshd.py", options));
	snprintf(port, sizeof(port), "%d", server_port(&server));
	const char *const proxy_options[] = {port, NULL};
	assert_true(server_start(&proxy, "cut_proxy.py", proxy_options));
	{
		_cleanup_(attempt_done) struct attempt t;
		_cleanup_free_ char *own_key = read_text(server_text(&server, "key")), *data = pattern(SIZE);
		int status = -1;
		attempt_init(&t, &server);
		t.login.port = server_port(&proxy);
		t.login.key = own_key;
		assert_int_equal(go(&t), 0);
		expect_echo(&t, data, 1000);
		assert_true(server_ask(&proxy, order, answer, sizeof(answer)));
		int r = ssh_run(t.s, command, data, SIZE, SIZE, &t.w, NULL, NULL, &status, &t.err);
		if (r != ERR_NETWORK && r != ERR_UNKNOWN)
			fail_msg("%s, %s: %d, status %d", cipher, order, r, status);
		assert_false(ssh_is_open(t.s));
	}
	server_stop(&proxy);
	server_stop(&server);
}

static void a_bit_that_is_changed_on_the_way_ends_the_session(void **state)
{
	(void)state;
	static const char *const ciphers[] = {"Ciphers aes128-ctr", "Ciphers aes256-gcm@openssh.com",
	                                      "Ciphers chacha20-poly1305@openssh.com"};
	for (size_t i = 0; i < (ssh_rsa_is_sha1() ? 1 : ARRAY_SIZE(ciphers)); i++) {
		expect_refused(ciphers[i], "garble-to 5000\n", "wc -c");
		expect_refused(ciphers[i], "garble-from 50000\n", "cat >/dev/null; head -c 1000000 /dev/zero");
	}
}

static void output_beyond_the_ceiling_is_an_error_and_the_session_stays(void **state)
{
	(void)state;
	char out[4096];
	TRY(t);
	assert_int_equal(go(&t), 0);
	_cleanup_(str_done) struct str o = STR_INIT(1 << 20);
	int status;
	assert_int_equal(ssh_run(t.s, "head -c 100000 /dev/zero", NULL, 0, 1000, &t.w, &o, NULL, &status, &t.err),
	                 ERR_LIMIT);
	assert_true(ssh_is_open(t.s));
	assert_int_equal(run(&t, "echo on", "", out, sizeof(out)), 0);
	assert_string_equal(out, "on\n|");
}

static void a_wrong_host_key_is_refused_with_both_fingerprints(void **state)
{
	(void)state;
	TRY(t);
	t.host_keys[0] = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
	assert_int_equal(go(&t), ERR_AUTH);
	expect_in(&t, "SHA256:AAAA");
	expect_in(&t, server_text(&sshd, "host_key"));
	assert_true(t.err.hint[0] != '\0');
}

static void a_key_line_and_a_fingerprint_of_any_type_are_accepted(void **state)
{
	(void)state;
	_cleanup_free_ char *path = xasprintf("%s/host_ecdsa.pub", server_text(&sshd, "folder"));
	_cleanup_free_ char *ecdsa = read_text(path);
	TRY(line);
	line.host_keys[0] = ecdsa;
	assert_int_equal(go(&line), 0);
	_cleanup_free_ char *ecdsa_print = xstrdup(ssh_host_key(line.s));
	assert_string_not_equal(ecdsa_print, server_text(&sshd, "host_key"));
	TRY(print);
	print.host_keys[0] = ecdsa_print;
	assert_int_equal(go(&print), 0);
	assert_string_equal(ssh_host_key(print.s), ecdsa_print);
	TRY(two);
	two.host_keys[0] = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
	two.host_keys[1] = server_text(&sshd, "host_key_line");
	assert_int_equal(go(&two), 0);
}

static void a_host_without_pin_or_with_a_senseless_one_is_refused(void **state)
{
	(void)state;
	TRY(none);
	none.host_keys[0] = NULL;
	assert_int_equal(go(&none), ERR_INVALID);
	expect_in(&none, "no host key is pinned");
	TRY(bad);
	bad.host_keys[0] = "MD5:00:11";
	assert_int_equal(go(&bad), ERR_INVALID);
	TRY(cut);
	cut.host_keys[0] = "SHA256:abc";
	assert_int_equal(go(&cut), ERR_INVALID);
}

static char *known_hosts(const char *fmt, const char *first)
{
	_cleanup_free_ char *path = xasprintf("%s/known", server_text(&sshd, "folder"));
	_cleanup_free_ char *text = xasprintf(fmt, first, server_text(&sshd, "host_key_line"));
	assert_int_equal(fs_write_replace(AT_FDCWD, path, text, strlen(text), 0600, NULL), 0);
	return TAKE(path);
}

static int go_known(struct attempt *t, const char *fmt, const char *first)
{
	_cleanup_free_ char *path = known_hosts(fmt, first);
	t->host_keys[0] = NULL;
	t->login.known_hosts = path;
	int r = go(t);
	t->login.known_hosts = NULL;
	return r;
}

static void known_hosts_is_read_as_openssh_reads_it(void **state)
{
	(void)state;
	_cleanup_free_ char *name = xasprintf("[127.0.0.1]:%d", server_port(&sshd));
	TRY(port);
	assert_int_equal(go_known(&port, "# c\n\n%s %s comment\n", name), 0);
	TRY(bare);
	assert_int_equal(go_known(&bare, "%s %s\n", "other,127.0.0.1"), 0);
	TRY(glob);
	assert_int_equal(go_known(&glob, "@cert-authority * ssh-ed25519 AAAA\n%s %s\n", "[127.0.*]:*"), 0);
	TRY(negated);
	assert_int_equal(go_known(&negated, "%s %s\n", "[127.0.*]:*,![127.0.0.1]:*"), ERR_AUTH);
	expect_in(&negated, "is not in");
	TRY(unknown);
	assert_int_equal(go_known(&unknown, "%s %s\n", "shop.example"), ERR_AUTH);
	TRY(revoked);
	assert_int_equal(go_known(&revoked, "%s %s\n", name), 0);
	_cleanup_free_ char *both = xasprintf("%s %s\n@revoked *", name, server_text(&sshd, "host_key_line"));
	TRY(revoked_too);
	assert_int_equal(go_known(&revoked_too, "%s %s\n", both), ERR_AUTH);
	expect_in(&revoked_too, "revoked");
	TRY(missing);
	missing.host_keys[0] = NULL;
	missing.login.known_hosts = "/nonexistent/known";
	assert_int_equal(go(&missing), ERR_NOT_FOUND);
}

static void a_hashed_known_host_is_found(void **state)
{
	(void)state;
	_cleanup_free_ char *name = xasprintf("[127.0.0.1]:%d", server_port(&sshd));
	_cleanup_free_ char *path = known_hosts("%s %s\n", name);
	const char *const argv[] = {"ssh-keygen", "-q", "-H", "-f", path, NULL};
	struct proc_options o = {.argv = argv, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1};
	TRY(t);
	int status = -1;
	assert_int_equal(proc_run(&o, NULL, 0, 1024, &t.w, NULL, NULL, &status, NULL), 0);
	assert_int_equal(status, 0);
	_cleanup_free_ char *text = read_text(path);
	assert_true(str_starts(text, "|1|"));
	t.host_keys[0] = NULL;
	t.login.known_hosts = path;
	assert_int_equal(go(&t), 0);
}

static void keygen(const char *kind, const char *passphrase, const char *path, const char *format)
{
	const char *const argv[] = {"ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", path, "-m", format, NULL};
	struct proc_options o = {.argv = argv, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1};
	struct wait w = WAIT_INIT;
	w = wait_within(&w, 60000);
	int status = -1;
	unlink(path);
	assert_int_equal(proc_run(&o, NULL, 0, 1024, &w, NULL, NULL, &status, NULL), 0);
	assert_int_equal(status, 0);
}

static void a_host_with_only_rsa_keys_is_reached_or_refused_with_the_way_out(void **state)
{
	(void)state;
	_cleanup_free_ char *own_key = read_text(server_text(&rsa_only, "key"));
	const char *const pins[] = {server_text(&rsa_only, "host_key"), server_text(&rsa_only, "host_key_line")};
	for (size_t i = 0; i < ARRAY_SIZE(pins); i++) {
		TRY(t);
		attempt_init(&t, &rsa_only);
		t.login.key = own_key;
		t.host_keys[0] = pins[i];
		int r = go(&t);
		if (!ssh_rsa_is_sha1()) {
			assert_int_equal(r, 0);
			assert_string_equal(ssh_host_key(t.s), pins[0]);
			continue;
		}
		assert_int_equal(r, ERR_UNSUPPORTED);
		expect_in(&t, i == 0 ? "only RSA host keys" : "only an RSA host key is pinned");
		assert_non_null(strstr(t.err.hint, "Ed25519"));
	}
}

static void another_rsa_key_of_the_host_is_refused(void **state)
{
	(void)state;
	if (ssh_rsa_is_sha1())
		skip();
	_cleanup_free_ char *path = xasprintf("%s/other_rsa", server_text(&rsa_only, "folder")),
			    *pub = xasprintf("%s.pub", path);
	keygen("rsa", "", path, "RFC4716");
	_cleanup_free_ char *line = read_text(pub);
	TRY(t);
	attempt_init(&t, &rsa_only);
	t.host_keys[0] = line;
	assert_int_equal(go(&t), ERR_AUTH);
	expect_in(&t, "is not the pinned one");
}

static void an_rsa_key_is_read_in_every_form_and_offered(void **state)
{
	(void)state;
	const char *const formats[] = {"RFC4716", "PEM", "PKCS8"};
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		_cleanup_free_ char *path = xasprintf("%s/rsa", server_text(&sshd, "folder"));
		keygen("rsa", "", path, formats[i]);
		_cleanup_free_ char *text = read_text(path);
		TRY(t);
		t.login.key = text;
		/* The server does not know it: it was sent all the same. */
		assert_int_equal(go(&t), ERR_AUTH);
		expect_in(&t, "key refused");
	}
}

static void a_key_that_cannot_be_read_is_said_before_anything_is_sent(void **state)
{
	(void)state;
	const struct {
		const char *text, *why;
	} bad[] = {
		{"", "empty"},
		{"ssh-ed25519 AAAA x", "public key"},
		{"nonsense", "-----BEGIN"},
		{"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----", "damaged"},
		{"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n", "damaged"},
		{"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "damaged"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		TRY(t);
		t.login.key = bad[i].text;
		assert_int_equal(go(&t), ERR_INVALID);
		expect_in(&t, bad[i].why);
	}
}

static void an_encrypted_key_without_its_passphrase_names_the_input(void **state)
{
	(void)state;
	const char *const formats[] = {"RFC4716", "PEM", "PKCS8"}, *const kinds[] = {"ed25519", "ecdsa", "ecdsa"};
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		_cleanup_free_ char *path = xasprintf("%s/locked", server_text(&sshd, "folder"));
		keygen(kinds[i], "swordfish", path, formats[i]);
		_cleanup_free_ char *text = read_text(path);
		TRY(locked);
		locked.login.key = text;
		assert_int_equal(go(&locked), ERR_INVALID);
		expect_in(&locked, "it is encrypted and no passphrase is given");
		assert_non_null(strstr(locked.err.hint, "key_passphrase"));
		TRY(wrong);
		wrong.login.key = text;
		wrong.login.key_passphrase = "goldfish";
		assert_int_equal(go(&wrong), ERR_INVALID);
		expect_in(&wrong, "passphrase");
		assert_non_null(strstr(wrong.err.hint, "key_passphrase"));
	}
}

static void authorize(const char *public_key)
{
	_cleanup_free_ char *path = xasprintf("%s/authorized_keys", server_text(&sshd, "folder"));
	int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(fs_write_all(fd, public_key, strlen(public_key), NULL), 0);
	close(fd);
}

static void a_key_with_passphrase_and_one_with_foreign_line_ends_log_in(void **state)
{
	(void)state;
	_cleanup_free_ char *path = xasprintf("%s/phrase", server_text(&sshd, "folder")),
			    *pub = xasprintf("%s.pub", path);
	keygen("ed25519", "swordfish", path, "RFC4716");
	_cleanup_free_ char *text = read_text(path), *pub_text = read_text(pub);
	authorize(pub_text);
	TRY(t);
	t.login.key = text;
	t.login.key_passphrase = "swordfish";
	assert_int_equal(go(&t), 0);
	_cleanup_(str_done) struct str crlf = STR_INIT(1 << 16);
	str_append(&crlf, "\r\n");
	for (const char *c = key; *c != '\0'; c++)
		str_append(&crlf, *c == '\n' ? "\r\n" : (char[]){*c, '\0'});
	while (crlf.data[crlf.len - 1] == '\n' || crlf.data[crlf.len - 1] == '\r')
		str_truncate(&crlf, crlf.len - 1);
	TRY(windows);
	windows.login.key = crlf.data;
	assert_int_equal(go(&windows), 0);
}

static void an_ecdsa_key_logs_in(void **state)
{
	(void)state;
	const char *const formats[] = {"RFC4716", "PEM"};
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		_cleanup_free_ char *path = xasprintf("%s/ecdsa", server_text(&sshd, "folder")),
				    *pub = xasprintf("%s.pub", path);
		keygen("ecdsa", "", path, formats[i]);
		_cleanup_free_ char *text = read_text(path), *pub_text = read_text(pub);
		authorize(pub_text);
		TRY(t);
		t.login.key = text;
		assert_int_equal(go(&t), 0);
	}
}

static void a_refused_login_names_user_ways_and_what_the_server_takes(void **state)
{
	(void)state;
	_cleanup_free_ char *path = xasprintf("%s/stranger", server_text(&sshd, "folder"));
	keygen("ed25519", "", path, "RFC4716");
	_cleanup_free_ char *text = read_text(path);
	TRY(t);
	t.login.key = text;
	assert_int_equal(go(&t), ERR_AUTH);
	expect_in(&t, "key refused");
	expect_in(&t, "the server takes publickey");
	TRY(nothing);
	nothing.login.key = NULL;
	assert_int_equal(go(&nothing), ERR_AUTH);
	expect_in(&nothing, "no key, agent or password given");
}

static void the_first_user_that_is_let_in_is_kept(void **state)
{
	(void)state;
	TRY(t);
	t.users[0] = "nobody-like-this";
	t.users[1] = "another-one";
	t.users[2] = server_text(&sshd, "user");
	assert_int_equal(go(&t), 0);
	assert_string_equal(ssh_user(t.s), server_text(&sshd, "user"));
}

static void the_agents_key_logs_in(void **state)
{
	(void)state;
	_cleanup_free_ char *socket = xasprintf("%s/agent", server_text(&sshd, "folder"));
	_cleanup_free_ char *rsa = xasprintf("%s/agent_rsa", server_text(&sshd, "folder"));
	keygen("rsa", "", rsa, "RFC4716");
	const char *const agent_argv[] = {"ssh-agent", "-D", "-a", socket, NULL};
	struct proc_options o = {.argv = agent_argv, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1};
	_cleanup_(proc_done) struct proc agent = PROC_INIT;
	assert_int_equal(proc_spawn(&o, &agent, NULL), 0);
	setenv("SSH_AUTH_SOCK", socket, 1);
	const char *const add_argv[] = {"ssh-add", "-q", rsa, server_text(&sshd, "key"), NULL};
	struct proc_options add = {.argv = add_argv, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1};
	TRY(t);
	int status = -1;
	for (int64_t end = clock_mono_ms() + 10000; status != 0 && clock_mono_ms() < end;)
		assert_int_equal(proc_run(&add, NULL, 0, 1024, &t.w, NULL, NULL, &status, NULL), 0);
	t.login.key = NULL;
	t.login.agent = true;
	assert_int_equal(go(&t), 0);
	unsetenv("SSH_AUTH_SOCK");
	TRY(none);
	none.login.key = NULL;
	none.login.agent = true;
	assert_int_equal(go(&none), ERR_INVALID);
	expect_in(&none, "SSH_AUTH_SOCK");
}

static void an_agent_that_does_not_answer_can_be_cancelled(void **state)
{
	(void)state;
	_cleanup_free_ char *socket = xasprintf("%s/mute", server_text(&sshd, "folder"));
	static const char code[] =
		"import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.bind(sys.argv[1])\ns.listen()\n"
		"print(1,flush=True)\nc=s.accept()\nsys.stdin.read()\n";
	const char *const argv[] = {"python3", "-c", code, socket, NULL};
	struct proc_options o = {.argv = argv, .stdin_fd = PROC_PIPE, .stdout_fd = PROC_PIPE, .stderr_fd = -1};
	struct server mute = {.proc = PROC_INIT};
	char line[16];
	assert_int_equal(proc_spawn(&o, &mute.proc, NULL), 0);
	assert_true(server_read_line(&mute, line, sizeof(line)));
	setenv("SSH_AUTH_SOCK", socket, 1);
	TRY(t);
	t.login.key = NULL;
	t.login.agent = true;
	t.w = wait_within(&t.w, 300);
	int64_t begin = clock_mono_ms();
	assert_int_equal(go(&t), ERR_TIMEOUT);
	assert_true(clock_mono_ms() - begin < 10000);
	unsetenv("SSH_AUTH_SOCK");
	proc_done(&mute.proc);
}

static void a_password_and_prompts_log_in_where_pam_asks(void **state)
{
	(void)state;
	if (accounts.facts == NULL || json_object_get(accounts.facts, "skip") != NULL) {
		print_message("accounts with passwords: %s\n", server_text(&accounts, "skip"));
		skip();
	}
	char out[256];
	_cleanup_(attempt_done) struct attempt t, wrong;
	attempt_init(&t, &accounts);
	t.users[0] = "deploy";
	t.login.key = NULL;
	t.login.password = "open sesame";
	assert_int_equal(go(&t), 0);
	assert_int_equal(run(&t, "id -un", "", out, sizeof(out)), 0);
	assert_string_equal(out, "deploy\n|");
	attempt_init(&wrong, &accounts);
	wrong.users[0] = "deploy";
	wrong.login.key = NULL;
	wrong.login.password = "guess";
	assert_int_equal(go(&wrong), ERR_AUTH);
	expect_in(&wrong, "password refused");

	static const char *const prompts_only[] = {
		"--account", "deploy:open sesame",
		"--option",  "PasswordAuthentication no",
		"--option",  "KbdInteractiveAuthentication yes",
		"--option",  "UsePAM yes",
		NULL,
	};
	struct server prompting;
	assert_true(server_start(&prompting, "sshd.py", prompts_only));
	{
		_cleanup_(attempt_done) struct attempt p;
		attempt_init(&p, &prompting);
		p.users[0] = "deploy";
		p.login.key = NULL;
		p.login.password = "open sesame";
		assert_int_equal(go(&p), 0);
	}
	server_stop(&prompting);

	static const char *const both[] = {
		"--account", "deploy:open sesame", "--option", "PasswordAuthentication yes",
		"--option",  "UsePAM yes",         "--option", "AuthenticationMethods publickey,password",
		NULL,
	};
	struct server strict;
	assert_true(server_start(&strict, "sshd.py", both));
	{
		_cleanup_(attempt_done) struct attempt p, half;
		_cleanup_free_ char *text = read_text(server_text(&strict, "key"));
		attempt_init(&p, &strict);
		p.users[0] = "deploy";
		p.login.key = text;
		p.login.password = "open sesame";
		assert_int_equal(go(&p), 0);
		attempt_init(&half, &strict);
		half.users[0] = "deploy";
		half.login.key = text;
		assert_int_equal(go(&half), ERR_AUTH);
	}
	server_stop(&strict);
}

static void a_jump_host_leads_on_and_the_far_host_is_still_pinned(void **state)
{
	(void)state;
	char out[256];
	TRY(near);
	TRY(far);
	far.login.jump = &near.login;
	assert_int_equal(go(&far), 0);
	assert_int_equal(run(&far, "cat; exit 3", "through", out, sizeof(out)), 3);
	assert_string_equal(out, "through|");
	enum { SIZE = 5 << 20 };
	_cleanup_free_ char *data = xcalloc(1, SIZE);
	_cleanup_(str_done) struct str o = STR_INIT(SIZE + 1);
	int status;
	assert_int_equal(ssh_run(far.s, "cat", data, SIZE, SIZE, &far.w, &o, NULL, &status, &far.err), 0);
	assert_int_equal(o.len, SIZE);

	TRY(wrong);
	wrong.login.jump = &near.login;
	wrong.host_keys[0] = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
	assert_int_equal(go(&wrong), ERR_AUTH);
	TRY(wrong_jump);
	wrong_jump.login.jump = &wrong.login;
	assert_int_equal(go(&wrong_jump), ERR_AUTH);
	expect_in(&wrong_jump, "jump host");
	TRY(closed);
	closed.login.jump = &near.login;
	closed.login.port = 1;
	assert_int_equal(go(&closed), ERR_NETWORK);
}

static void nobody_at_the_port_or_no_ssh_there_is_a_network_error(void **state)
{
	(void)state;
	TRY(refused);
	refused.login.port = 1;
	assert_int_equal(go(&refused), ERR_NETWORK);
	expect_in(&refused, "127.0.0.1 port 1");
	TRY(no_name);
	no_name.login.host = "no.such.host.invalid";
	assert_int_equal(go(&no_name), ERR_NETWORK);
	TRY(bad_name);
	bad_name.login.host = "a/b";
	assert_int_equal(go(&bad_name), ERR_INVALID);
}

static void an_account_that_gives_sftp_only_is_told_from_others(void **state)
{
	(void)state;
	static const struct {
		const char *option;
		bool only;
	} servers[] = {
		{"ForceCommand internal-sftp", true},           {"ForceCommand /usr/lib/openssh/sftp-server", true},
		{"ForceCommand echo only backups here", false}, {"Subsystem other internal-sftp", false},
		{"Subsystem sftp /bin/false", false},
	};
	for (size_t i = 0; i < ARRAY_SIZE(servers); i++) {
		const char *const options[] = {"--option", servers[i].option, NULL};
		struct server server;
		assert_true(server_start(&server, "sshd.py", options));
		{
			_cleanup_(attempt_done) struct attempt t;
			_cleanup_free_ char *own_key = read_text(server_text(&server, "key"));
			attempt_init(&t, &server);
			t.login.key = own_key;
			assert_int_equal(go(&t), 0);
			assert_int_equal(ssh_gives_sftp_only(t.s, &t.w), servers[i].only);
		}
		server_stop(&server);
	}
}

static void a_connection_killed_in_a_command_leaves_its_end_unknown(void **state)
{
	(void)state;
	char answer[64], out[64], errors[64];
	size_t n, m;
	TRY(t);
	_cleanup_(ssh_channel_freep) struct ssh_channel *c = NULL;
	assert_int_equal(go(&t), 0);
	assert_int_equal(ssh_exec(t.s, "echo started; sleep 30", &t.w, &c, &t.err), 0);
	assert_int_equal(ssh_read(c, out, sizeof(out), &n, errors, sizeof(errors), &m, &t.w, &t.err), 1);
	assert_true(server_ask(&sshd, "kill-sessions\n", answer, sizeof(answer)));
	int r = ssh_read(c, out, sizeof(out), &n, errors, sizeof(errors), &m, &t.w, &t.err);
	int status = -1;
	if (r >= 0)
		r = ssh_finish(c, &t.w, &status, &t.err);
	assert_true(r == ERR_NETWORK || r == ERR_UNKNOWN);
	assert_false(ssh_is_open(t.s));
	assert_int_equal(ssh_run(t.s, "true", NULL, 0, 10, &t.w, NULL, NULL, &status, &t.err), ERR_NETWORK);
}

static void a_cancelled_command_ends_at_once_and_the_session_goes_on(void **state)
{
	(void)state;
	char out[256];
	TRY(t);
	assert_int_equal(go(&t), 0);
	struct wait near = wait_within(&t.w, 100);
	int status;
	int64_t begin = clock_mono_ms();
	assert_int_equal(ssh_run(t.s, "sleep 20", NULL, 0, 10, &near, NULL, NULL, &status, &t.err), ERR_TIMEOUT);
	assert_true(clock_mono_ms() - begin < 10000);
	assert_int_equal(run(&t, "echo on", "", out, sizeof(out)), 0);
	assert_string_equal(out, "on\n|");
	/* In the middle of an upload that nobody reads. */
	_cleanup_free_ char *data = xcalloc(1, 16 << 20);
	near = wait_within(&t.w, 200);
	assert_int_equal(ssh_run(t.s, "sleep 20", data, 16 << 20, 10, &near, NULL, NULL, &status, &t.err), ERR_TIMEOUT);
	assert_int_equal(run(&t, "echo on", "", out, sizeof(out)), 0);
}

/* The command reads once enough ticks have been. */
static int note_time_left(void *context, struct err *err)
{
	struct attempt *t = context;
	int64_t left = t->w.deadline_mono_ms - clock_mono_ms();
	t->least_left_ms = t->ticks++ == 0 ? left : MIN(t->least_left_ms, left);
	return t->ticks == 5 ? fs_write_replace(AT_FDCWD, t->line, "", 0, 0644, err) : 0;
}

static void a_tick_in_an_upload_that_nobody_reads_has_the_time_of_the_whole(void **state)
{
	(void)state;
	TRY(t);
	assert_int_equal(go(&t), 0);
	enum { SIZE = 4 << 20, WHOLE_MS = 120000 };
	_cleanup_free_ char *data = xcalloc(1, SIZE);
	_cleanup_(str_done) struct str out = STR_INIT(100);
	int status = -1;
	t.w.tick = note_time_left;
	t.w.tick_ms = 10;
	t.w.context = &t;
	t.w.deadline_mono_ms = clock_mono_ms() + WHOLE_MS;
	snprintf(t.line, sizeof(t.line), "%s/enough", server_text(&sshd, "folder"));
	_cleanup_free_ char *command = xasprintf("until test -e '%s'; do sleep 0.01; done; wc -c", t.line);
	assert_int_equal(ssh_run(t.s, command, data, SIZE, 100, &t.w, &out, NULL, &status, &t.err), 0);
	assert_string_equal(str_peek(&out), "4194304\n");
	assert_true(t.ticks >= 5);
	assert_true(t.least_left_ms > WHOLE_MS / 2);
}

static void a_server_that_allows_one_session_is_asked_again_when_the_last_one_is_ending(void **state)
{
	(void)state;
	static const char *const options[] = {"--option", "MaxSessions 1", NULL};
	char out[256];
	struct server server;
	assert_true(server_start(&server, "sshd.py", options));
	{
		_cleanup_(attempt_done) struct attempt t;
		_cleanup_free_ char *own_key = read_text(server_text(&server, "key"));
		struct ssh_channel *ending = NULL, *stays = NULL;
		attempt_init(&t, &server);
		t.login.key = own_key;
		assert_int_equal(go(&t), 0);
		assert_int_equal(ssh_exec(t.s, "read nothing; sleep 0.3", &t.w, &ending, &t.err), 0);
		ssh_channel_free(ending);
		assert_int_equal(run(&t, "echo on", "", out, sizeof(out)), 0);
		assert_string_equal(out, "on\n|");
		assert_int_equal(ssh_exec(t.s, "exec sleep 60", &t.w, &stays, &t.err), 0);
		assert_true(run(&t, "true", "", out, sizeof(out)) < 0);
		assert_non_null(strstr(t.err.hint, "MaxSessions"));
		ssh_channel_free(stays);
	}
	server_stop(&server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_command_runs_with_its_streams_and_status),
		cmocka_unit_test(megabytes_go_both_ways_at_once),
		cmocka_unit_test(a_command_that_begins_late_gets_all_of_its_input),
		cmocka_unit_test(every_cipher_and_mac_carries_any_length_and_outlives_new_keys),
		cmocka_unit_test(a_bit_that_is_changed_on_the_way_ends_the_session),
		cmocka_unit_test(output_beyond_the_ceiling_is_an_error_and_the_session_stays),
		cmocka_unit_test(a_wrong_host_key_is_refused_with_both_fingerprints),
		cmocka_unit_test(a_key_line_and_a_fingerprint_of_any_type_are_accepted),
		cmocka_unit_test(a_host_without_pin_or_with_a_senseless_one_is_refused),
		cmocka_unit_test(known_hosts_is_read_as_openssh_reads_it),
		cmocka_unit_test(a_hashed_known_host_is_found),
		cmocka_unit_test(a_host_with_only_rsa_keys_is_reached_or_refused_with_the_way_out),
		cmocka_unit_test(another_rsa_key_of_the_host_is_refused),
		cmocka_unit_test(an_rsa_key_is_read_in_every_form_and_offered),
		cmocka_unit_test(a_key_that_cannot_be_read_is_said_before_anything_is_sent),
		cmocka_unit_test(an_encrypted_key_without_its_passphrase_names_the_input),
		cmocka_unit_test(a_key_with_passphrase_and_one_with_foreign_line_ends_log_in),
		cmocka_unit_test(an_ecdsa_key_logs_in),
		cmocka_unit_test(a_refused_login_names_user_ways_and_what_the_server_takes),
		cmocka_unit_test(the_first_user_that_is_let_in_is_kept),
		cmocka_unit_test(the_agents_key_logs_in),
		cmocka_unit_test(an_agent_that_does_not_answer_can_be_cancelled),
		cmocka_unit_test(a_password_and_prompts_log_in_where_pam_asks),
		cmocka_unit_test(a_jump_host_leads_on_and_the_far_host_is_still_pinned),
		cmocka_unit_test(nobody_at_the_port_or_no_ssh_there_is_a_network_error),
		cmocka_unit_test(an_account_that_gives_sftp_only_is_told_from_others),
		cmocka_unit_test(a_connection_killed_in_a_command_leaves_its_end_unknown),
		cmocka_unit_test(a_cancelled_command_ends_at_once_and_the_session_goes_on),
		cmocka_unit_test(a_tick_in_an_upload_that_nobody_reads_has_the_time_of_the_whole),
		cmocka_unit_test(a_server_that_allows_one_session_is_asked_again_when_the_last_one_is_ending),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
