/* What base/ssh_sftp*.c share: one SFTP session, its requests and their answers.
 *
 * The protocol is spoken here, over a channel of libssh2's, and not by libssh2_sftp_*, because of version 1.10:
 *  - it has no posix-rename@openssh.com, without which a file cannot be replaced in one step;
 *  - refused the subsystem, libssh2_sftp_init calls itself for ever without waiting on anything (nobody hands it the
 *    bytes that it waits for), and where the server's program has ended each call says "again" for ever;
 *  - a call that is given up in the middle leaves its state behind, and the next one of its kind goes on with it. */
#pragma once
#include "base/ssh_private.h"
#include "base/ssh_sftp_wire.h"

enum {
	/* As OpenSSH's client: 2 MiB on the way, which is the window of a channel too. Larger pieces than 32 KiB a
	 * server need not take. */
	SFTP_PIECE = 32 * 1024,
	SFTP_FLYING = 64,
	SFTP_OUT_HIGH = 8 * SFTP_PIECE, /* encoded ahead of what was sent */
	SFTP_GRACE_MS = 10000,          /* for what must not be given up in the middle, or must be tidied up */
};

enum { SFTP_HAS_RENAME = 1, SFTP_HAS_FSYNC = 2, SFTP_HAS_STATVFS = 4 };

struct sftp {
	struct ssh *s;
	struct ssh_channel *channel;
	struct str out; /* encoded, from out_start on not yet sent */
	size_t out_start;
	char *in; /* received: in[in_start..in_end) */
	size_t in_start, in_end;
	uint32_t next_id;
	unsigned has; /* SFTP_HAS_… */
	bool over;    /* the peer is gone, or not to be understood */
};

struct sftp_handle {
	char data[SFTP_HANDLE_MAX];
	size_t len;
};

/* The server's answer to something: OK, or why not. */
struct sftp_verdict {
	uint32_t code;
	char text[100]; /* its own words, printable */
};

/* One request. Text that is too long for a message never comes here: paths are checked first. */
size_t sftp_request(struct sftp *f, enum sftp_type type, uint32_t *ret_id);
size_t sftp_request_path(struct sftp *f, enum sftp_type type, const char *path, uint32_t *ret_id);
size_t sftp_request_handle(struct sftp *f, enum sftp_type type, const struct sftp_handle *h, uint32_t *ret_id);
size_t sftp_request_extended(struct sftp *f, const char *name, uint32_t *ret_id);
void sftp_request_end(struct sftp *f, size_t begin);
static inline size_t sftp_unsent(const struct sftp *f)
{
	return f->out.len - f->out_start;
}

/* One turn of both directions. 1: an answer to a request from `first` on, borrowed until the next turn; 0: something
 * moved. Answers to older requests, which were given up, are dropped. */
int sftp_step(struct sftp *f, uint32_t first, struct wait *w, struct sftp_message *ret, struct err *err);
/* The answer to the only request since `id`. */
int sftp_answer(struct sftp *f, uint32_t id, struct wait *w, struct sftp_message *ret, struct err *err);
/* The same where it is a status. */
int sftp_ask(struct sftp *f, uint32_t id, struct wait *w, struct sftp_verdict *ret, struct err *err);
/* Of an answer that is a status; another one is nonsense. */
int sftp_verdict(struct sftp *f, const struct sftp_message *m, struct sftp_verdict *ret, struct err *err);
int sftp_nonsense(struct sftp *f, const char *what, struct err *err);

/* Length within bounds, and the session still usable. */
int sftp_check(struct sftp *f, const char *path, struct err *err);
/* "HOST: WHAT 'PATH': no such file or directory" */
int sftp_refused(struct sftp *f, const struct sftp_verdict *v, const char *what, const char *path, struct err *err);
/* The same, for something new in the directory of path that takes `need` bytes: "Failure" is all that a server says of
 * a full disk, so the disk is looked at. */
int sftp_refused_new(struct sftp *f, const struct sftp_verdict *v, const char *what, const char *path, uint64_t need,
                     struct wait *w, struct err *err);
/* w without its cancel, with a deadline of its own. What the tick left in it goes back by sftp_grace_end. */
struct wait sftp_grace(const struct wait *w);
void sftp_grace_end(struct wait *w, const struct wait *grace);

/* Opens a file or a directory (what begins with `begin`). *v says why not. */
int sftp_handle_of(struct sftp *f, uint32_t id, struct wait *w, struct sftp_handle *ret, struct sftp_verdict *v,
                   struct err *err);
/* Closes without waiting; the answer is dropped when it comes. */
void sftp_let_go(struct sftp *f, const struct sftp_handle *h);
