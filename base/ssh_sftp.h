/* Files on another machine by SFTP (version 3, as OpenSSH and nearly all others speak it), over an SSH session. For
 * accounts and servers that give files but no shell; what runs commands anyway moves large contents faster by them.
 *
 * One session is used by one thread, one call at a time; the SSH session must outlive it. A call that was cancelled or
 * timed out leaves the session usable: answers that come late are dropped. Once the peer is gone, or talks nonsense,
 * all further calls fail.
 *
 * Paths are the server's: relative ones start where it puts the account. At most SFTP_PATH_MAX bytes, else ERR_LIMIT.
 * Errors: ERR_NOT_FOUND, ERR_PERMISSION, ERR_EXISTS, ERR_NO_SPACE, ERR_UNSUPPORTED, ERR_NETWORK, ERR_PROTOCOL, ERR_IO
 * for whatever the server calls just a failure; err.foreign is the SFTP status. */
#pragma once
#include "base/err.h"
#include "base/ssh.h"
#include "base/str.h"
#include "base/wait.h"

enum { SFTP_PATH_MAX = 4096 };

struct sftp;
/* ERR_UNSUPPORTED: the server has no SFTP. */
int sftp_open(struct ssh *s, struct wait *w, struct sftp **ret, struct err *err);
void sftp_free(struct sftp *f);
void sftp_freep(struct sftp **f);
/* Whether this account gives SFTP but runs no command: ForceCommand, a login shell that refuses, a server without any.
 * Both are tried. False also when that cannot be found out within some seconds. */
bool sftp_is_all(struct ssh *s, struct wait *w);

struct sftp_stat {
	char type;     /* 'f' file, 'd' directory, 'l' link, 'o' something else, '?' not told */
	unsigned mode; /* 07777 */
	uint64_t size;
	uint32_t uid, gid;
	int64_t mtime_s;
};
int sftp_stat(struct sftp *f, const char *path, struct wait *w, struct sftp_stat *ret, struct err *err);
int sftp_lstat(struct sftp *f, const char *path, struct wait *w, struct sftp_stat *ret, struct err *err);

/* A directory without "." and "..", sorted by name; stat is that of a link itself. More than max: ERR_LIMIT. */
struct sftp_entry {
	char *name;
	struct sftp_stat stat;
};
struct sftp_entries {
	struct sftp_entry *items;
	size_t count, cap;
};
int sftp_list(struct sftp *f, const char *path, size_t max, struct wait *w, struct sftp_entries *ret, struct err *err);
void sftp_entries_done(struct sftp_entries *e);

/* The whole file, appended to out; more than max bytes: ERR_LIMIT, as a rule before the first is read. ERR_CONFLICT: it
 * became shorter meanwhile. On failure out is as it was. */
int sftp_read(struct sftp *f, const char *path, size_t max, struct wait *w, struct str *out, struct err *err);

/* Whole or not at all: a new file of a private name beside it (mode 0600 from the start), written, given its mode,
 * synced where the server can, renamed over path (a link there is replaced, not followed). The name itself is durable
 * only as the server's file system makes it so: SFTP syncs no directory.
 * After any failure the private file is removed. Where that is impossible (the connection is gone) the hint names it;
 * after ERR_FENCED nothing is touched any more. ERR_UNKNOWN: the answer to the renaming was lost. */
int sftp_write(struct sftp *f, const char *path, const void *data, size_t len, unsigned mode, struct wait *w,
               struct err *err);

int sftp_mkdir(struct sftp *f, const char *path, unsigned mode, struct wait *w, struct err *err);
int sftp_rmdir(struct sftp *f, const char *path, struct wait *w, struct err *err);
int sftp_remove(struct sftp *f, const char *path, struct wait *w, struct err *err); /* a file or a link */
/* Replaces what is at `to` in one step; ERR_UNSUPPORTED where the server cannot and something is there. */
int sftp_rename(struct sftp *f, const char *from, const char *to, struct wait *w, struct err *err);
/* The link's text, as it stands; the caller's: free(). */
int sftp_readlink(struct sftp *f, const char *path, struct wait *w, char **ret, struct err *err);
/* The link at path shall say `text`. */
int sftp_symlink(struct sftp *f, const char *text, const char *path, struct wait *w, struct err *err);
