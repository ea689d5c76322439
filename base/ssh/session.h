/* SSH by libssh2 in non-blocking mode: pinned host keys, login by agent, key, password, keyboard-interactive, jump
 * hosts, keepalive, exec with streams. All waits go through base/core/wait.h. One session is used by one thread.
 * libssh2 before 1.11 knows RSA with SHA-1 only: then rsa.c signs for RSA login keys, and a host with only RSA keys is
 * refused with the reason and a hint. */
#pragma once
#include "base/core/err.h"
#include "base/core/str.h"
#include "base/core/wait.h"

struct ssh_login {
	const char *host;
	int port;                 /* 0: 22 */
	const char *const *users; /* NULL-terminated, tried in order; the one found is kept */
	const char *key;          /* private key text (PEM or OpenSSH), not a path; NULL */
	const char *key_passphrase;
	const char *password;         /* password and keyboard-interactive; NULL */
	bool agent;                   /* SSH_AUTH_SOCK */
	const char *const *host_keys; /* "SHA256:…" fingerprints or "ssh-ed25519 AAAA…" lines; NULL-terminated */
	const char *known_hosts;      /* path, or NULL */
	const char *known_hosts_text; /* its lines, in place of a file; NULL */
	const struct ssh_login *jump; /* NULL: direct */
	int64_t connect_timeout_ms;   /* 0: 30 s */
};

struct ssh;
int ssh_open(const struct ssh_login *login, struct wait *w, struct ssh **ret, struct err *err);
const char *ssh_user(const struct ssh *s);     /* the user that logged in */
const char *ssh_host_key(const struct ssh *s); /* "SHA256:…" of the key that the host showed */
bool ssh_is_open(const struct ssh *s);
void ssh_free(struct ssh *s);
void ssh_freep(struct ssh **s);

/* This account gives SFTP but runs no command: ForceCommand internal-sftp, a login shell that refuses. Also false when that
 * cannot be found out within some seconds. */
bool ssh_gives_sftp_only(struct ssh *s, struct wait *w);

/* One remote command. The command line is the caller's, quoted (str_append_shell). */
struct ssh_channel;
int ssh_exec(struct ssh *s, const char *command, struct wait *w, struct ssh_channel **ret, struct err *err);
/* The same with a variable in its environment, which the server may refuse; name NULL: none. */
int ssh_exec_with(struct ssh *s, const char *command, const char *name, const char *value, struct wait *w,
                  struct ssh_channel **ret, struct err *err);
/* Writes all. */
int ssh_write(struct ssh_channel *c, const void *data, size_t len, struct wait *w, struct err *err);
int ssh_write_eof(struct ssh_channel *c, struct wait *w, struct err *err);
/* Reads available bytes, at least one byte of either stream, else 0 at the end of both. */
int ssh_read(struct ssh_channel *c, char *out, size_t out_size, size_t *ret_out, char *errbuf, size_t err_size,
             size_t *ret_err, struct wait *w, struct err *err);
/* One turn of both directions: sends as much of data as there is room for, reads available bytes. 1: something moved (or nothing, and
 * may_wait is false: then it does not wait), 0: both streams ended. */
int ssh_turn(struct ssh_channel *c, const void *data, size_t len, size_t *ret_sent, char *out, size_t out_size,
             size_t *ret_out, char *errbuf, size_t err_size, size_t *ret_err, bool may_wait, struct wait *w,
             struct err *err);
/* After the end: exit status, or 128+signal. ERR_UNKNOWN when the connection was lost before a status came. */
int ssh_finish(struct ssh_channel *c, struct wait *w, int *ret_status, struct err *err);
void ssh_channel_free(struct ssh_channel *c);
void ssh_channel_freep(struct ssh_channel **c);
/* exec, feed, collect (each stream at most max), finish. */
int ssh_run(struct ssh *s, const char *command, const void *input, size_t input_len, size_t max, struct wait *w,
            struct str *ret_stdout, struct str *ret_stderr, int *ret_status, struct err *err);
