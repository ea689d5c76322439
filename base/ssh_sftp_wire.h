/* SFTP version 3 on the wire (draft-ietf-secsh-filexfer-02; OpenSSH's PROTOCOL, section 4, for what it adds). No I/O:
 * numbers are big-endian, a text is its length and its bytes, a message is its length, its type and the rest. What
 * comes from a server is read within its bounds: past them the cursor is `bad`, and everything read is 0. */
#pragma once
#include "base/ssh_sftp.h"

enum {
	SFTP_VERSION = 3,
	SFTP_MESSAGE_MAX = 256 * 1024, /* what OpenSSH takes and sends at most */
	SFTP_HANDLE_MAX = 256,
};

enum sftp_type {
	SFTP_INIT = 1,
	SFTP_VERSION_REPLY = 2,
	SFTP_OPEN = 3,
	SFTP_CLOSE = 4,
	SFTP_READ = 5,
	SFTP_WRITE = 6,
	SFTP_LSTAT = 7,
	SFTP_FSTAT = 8,
	SFTP_FSETSTAT = 10,
	SFTP_OPENDIR = 11,
	SFTP_READDIR = 12,
	SFTP_REMOVE = 13,
	SFTP_MKDIR = 14,
	SFTP_RMDIR = 15,
	SFTP_STAT = 17,
	SFTP_RENAME = 18,
	SFTP_READLINK = 19,
	SFTP_SYMLINK = 20,
	SFTP_STATUS = 101,
	SFTP_HANDLE = 102,
	SFTP_DATA = 103,
	SFTP_NAME = 104,
	SFTP_ATTRS = 105,
	SFTP_EXTENDED = 200,
	SFTP_EXTENDED_REPLY = 201,
};

/* From 9 on: of later versions, which some servers send all the same. */
enum sftp_status {
	SFTP_OK = 0,
	SFTP_EOF = 1,
	SFTP_NO_SUCH_FILE = 2,
	SFTP_PERMISSION_DENIED = 3,
	SFTP_FAILURE = 4,
	SFTP_BAD_MESSAGE = 5,
	SFTP_OP_UNSUPPORTED = 8,
	SFTP_NO_SUCH_PATH = 10,
	SFTP_FILE_EXISTS = 11,
	SFTP_WRITE_PROTECT = 12,
	SFTP_NO_SPACE = 14,
	SFTP_QUOTA_EXCEEDED = 15,
};

enum { SFTP_OPEN_READ = 1, SFTP_OPEN_WRITE = 2, SFTP_OPEN_CREATE = 8, SFTP_OPEN_EXCLUSIVE = 32 };

struct sftp_cursor {
	const unsigned char *p, *end;
	bool bad;
};
struct sftp_text {
	const char *data; /* not terminated; borrowed */
	size_t len;
};
uint32_t sftp_get_u32(struct sftp_cursor *c);
uint64_t sftp_get_u64(struct sftp_cursor *c);
struct sftp_text sftp_get_text(struct sftp_cursor *c);
struct sftp_stat sftp_get_attrs(struct sftp_cursor *c);

struct sftp_message {
	enum sftp_type type;
	uint32_t id; /* 0 for the version, which has none: its number is the first of the body */
	struct sftp_cursor body;
};
/* The message at the start of data. Its size with the length in front, 0: not all of it is there yet, ERR_PROTOCOL:
 * this is none (larger than SFTP_MESSAGE_MAX, or too short to be one). */
int sftp_frame(const void *data, size_t len, struct sftp_message *ret);
/* A name of a directory's entry: not empty, no NUL, no slash, at most SFTP_PATH_MAX. "." and ".." are fine. */
bool sftp_name_is_sound(struct sftp_text name);

/* A message to send: begin, put, end. */
size_t sftp_begin(struct str *out, enum sftp_type type, uint32_t id);
void sftp_put_u32(struct str *out, uint32_t value);
void sftp_put_u64(struct str *out, uint64_t value);
void sftp_put_text(struct str *out, const void *data, size_t len);
void sftp_put_mode(struct str *out, unsigned mode); /* attributes with nothing but a mode */
void sftp_end(struct str *out, size_t begin);
