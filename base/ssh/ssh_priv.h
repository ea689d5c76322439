/* Shared by base/ssh. libssh2 never touches the socket: it reads from and writes to two buffers of ours by its
 * callbacks, and ssh_block moves bytes between them and the socket (or the channel of a jump host). So no packet is
 * ever half sent in libssh2's view: a call may be given up in the middle and the session stays usable. It also turns
 * many small system calls into few large ones. */
#pragma once
#include "base/net/net.h"
#include "base/ssh/session.h"
#include <libssh2.h>

enum { SSH_SNIFF = 4096 };

struct ssh {
	LIBSSH2_SESSION *session;
	struct net_conn *conn; /* direct, or … */
	struct ssh *jump;      /* … through this session, owned, … */
	LIBSSH2_CHANNEL *via;  /* … by this channel of it */
	char *label;           /* "shop.example port 22" */
	char *user, *fingerprint, *key_type;
	bool key_revoked;

	char *in; /* received, not yet taken by libssh2: in[in_start..in_end) */
	size_t in_start, in_end;
	struct str out; /* given by libssh2, not yet sent */
	size_t out_start;
	bool ended;                           /* nothing more will come */
	bool broken;                          /* unusable */
	bool closing;                         /* being freed: libssh2 must not wait */
	bool established;                     /* handshake done */
	bool near;                            /* the round trip takes less than a millisecond */
	int64_t heard_mono_ms, alive_mono_ms; /* last byte from the peer; last keepalive sent */

	char sniffed[SSH_SNIFF]; /* the peer's first bytes: what it offers, for one message */
	size_t sniffed_len;

	LIBSSH2_CHANNEL **zombies; /* freed by their owner, not yet closed by the peer */
	size_t zombie_count, zombie_cap;

	/* While logging in. */
	const struct ssh_login *login;
	struct wait *wait;
	struct err *sign_err;
	int agent_fd;
	int prompts_answered;
};

struct ssh_channel {
	struct ssh *s;
	LIBSSH2_CHANNEL *channel;
	bool eof_sent;
	unsigned long widest;  /* the peer's window at its widest so far */
	int64_t full_since_ms; /* time since which there is no room; 0: there is */
};

/* Sends, then waits until something came (or a keepalive was due). 0; ERR_NETWORK marks the session broken. */
int ssh_block(struct ssh *s, struct wait *w, struct err *err);
/* The same for at most ms. w's deadline stays as it is, since a tick in it waits by it too. */
int ssh_block_for(struct ssh *s, int64_t ms, struct wait *w, struct err *err);
/* Sends what can be sent now. */
int ssh_flush(struct ssh *s, struct err *err);
/* From libssh2's last error: ERR_NETWORK for a lost connection (marks it broken), else ERR_PROTOCOL. */
int ssh_lib_err(struct ssh *s, int rc, const char *what, struct err *err);

/* Repeats a libssh2 call until it is no longer "again". A failed wait returns from the calling function. */
#define SSH_REPEAT(rc, s, w, err, call)                                                                                \
	for (;;) {                                                                                                     \
		(rc) = (call);                                                                                         \
		if ((rc) != LIBSSH2_ERROR_EAGAIN)                                                                      \
			break;                                                                                         \
		int blocked_ = ssh_block(s, w, err);                                                                   \
		if (blocked_ < 0)                                                                                      \
			return blocked_;                                                                               \
	}

/* channel.c: a subsystem in place of a command; ERR_UNSUPPORTED: the server has none of that name. */
int ssh_subsystem(struct ssh *s, const char *name, struct wait *w, struct ssh_channel **ret, struct err *err);

/* transport.c: makes libssh2's session over s->conn or s->via and exchanges keys. */
int ssh_handshake(struct ssh *s, const char *host_key_types, struct wait *w, struct err *err);
bool ssh_rsa_is_sha1(void); /* this libssh2 knows RSA with SHA-1 only */

/* hostkey.c: the keys that are accepted for one host. */
struct ssh_pin {
	char *type;
	char fingerprint[64];
	bool revoked;
}; /* type NULL: given as a fingerprint */
struct ssh_pins {
	struct ssh_pin *items;
	size_t count, cap;
	bool any_type;
	char *source;
};
int ssh_pins_load(const struct ssh_login *login, struct ssh_pins *ret, struct err *err);
void ssh_pins_done(struct ssh_pins *p);
/* The host key algorithms to ask for, without the types in `refused`; ERR_UNSUPPORTED when only RSA is pinned. */
int ssh_pins_types(const struct ssh_pins *p, const struct strv *refused, struct str *out, struct err *err);
/* Compares the key that the host showed; fills s->fingerprint and s->key_type. */
int ssh_pins_check(const struct ssh_pins *p, struct ssh *s, struct err *err);
/* "SHA256:…" of a public key in wire form. */
void ssh_fingerprint(const void *blob, size_t len, char out[64]);

/* key_text.c: rebuilds the text of a key that came through forms and stores; the notes say what was fixed. */
int ssh_key_mend(const char *text, struct str *ret_text, struct str *ret_notes, struct err *err);
/* key.c: the private key's type ("ssh-ed25519", …) and its fixed text. */
int ssh_key_check(const char *text, const char *passphrase, struct str *ret_text, struct str *ret_notes,
                  char ret_type[64], struct err *err);

/* rsa.c: RSA login keys signed with SHA-512 where libssh2 knows SHA-1 only. */
struct evp_pkey_st *ssh_rsa_load(const char *text, const char *passphrase); /* NULL: not to be read */
int ssh_auth_rsa(struct ssh *s, const char *user, const char *text, struct wait *w, int *ret_rc, struct err *err);
/* A public key "ssh-rsa" in wire form under the name rsa-sha2-512; false: it is of another type. */
bool ssh_rsa_rename(const void *blob, size_t len, struct str *out);

/* auth.c, agent.c */
int ssh_authenticate(struct ssh *s, const char *user, struct wait *w, struct err *err);
/* Tries the agent's keys. 0: none was accepted, or logged in (libssh2 knows); *ret_note lists the tried keys. */
int ssh_auth_agent(struct ssh *s, const char *user, struct wait *w, struct str *ret_note, struct err *err);
