/* Errors: a negative code, and a struct err that the caller owns.
 *
 * A function that can fail returns int: 0 (or a count), else a negative `enum err_code`, and takes `struct err *err` as
 * its last argument (NULL: nobody wants the text). The struct holds its text inside, so reporting never allocates and
 * nothing is global. The first frame says what failed; each caller that knows something new for the reader
 * adds one frame in front ("apply resource 'web'"). The user sees one line, the frames joined from the outermost in by
 * ": ", and a second line, the hint, that says what to do.
 *
 *     r = fs_write_atomic(dir, "state.json", text, 0600, err);
 *     if (r < 0) return err_wrap(err, r, "save the state of '%s'", name);
 *
 * On failure outputs (ret_...) are untouched. Codes are few: one is added only where a caller acts differently on it.
 */
#pragma once
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

enum err_code {
	ERR_INVALID = -1,      /* bad input: a person must change something */
	ERR_NOT_FOUND = -2,    /* a named thing does not exist */
	ERR_EXISTS = -3,       /* a thing that must be new exists already */
	ERR_IO = -4,           /* the operating system refused or failed */
	ERR_NO_SPACE = -5,     /* disk or quota full */
	ERR_PERMISSION = -6,   /* not allowed here */
	ERR_TIMEOUT = -7,      /* a deadline passed */
	ERR_CANCELLED = -8,    /* asked to stop */
	ERR_NETWORK = -9,      /* no connection, or it broke: the effect may be unknown */
	ERR_AUTH = -10,        /* the peer does not accept us, or we do not accept the peer */
	ERR_PROTOCOL = -11,    /* unexpected reply from the peer */
	ERR_LIMIT = -12,       /* larger, deeper or longer than we accept */
	ERR_UNSUPPORTED = -13, /* known, but not supported by this program */
	ERR_CONFLICT = -14,    /* the world is not as we left it: somebody changed it */
	ERR_LOCKED = -15,      /* somebody else holds the lock */
	ERR_FENCED = -16,      /* we have lost the lock: stop at once, touch nothing */
	ERR_REFUSED = -17,     /* policy or preflight says no; nothing was changed */
	ERR_UNKNOWN = -18,     /* the reply was lost: look at the world before continuing */
	ERR_FAILED = -19,      /* it ran and failed: exit status, failed gate */
	ERR_INTERNAL = -20,    /* a fault of davit */
};

enum { ERR_FRAMES = 10, ERR_FRAME_SIZE = 512, ERR_HINT_SIZE = 512 };

struct err_frame {
	const char *file;
	int line;
	char text[ERR_FRAME_SIZE];
};

struct err {
	int code;        /* 0: no error */
	bool retryable;  /* the same call may succeed later */
	long foreign;    /* errno, HTTP status, libssh2/libgit2/SQLite code; 0: none */
	int frame_count; /* frames[0] is the innermost */
	struct err_frame frames[ERR_FRAMES];
	char hint[ERR_HINT_SIZE];
};

#define ERR_INIT                                                                                                       \
	{                                                                                                              \
		0                                                                                                      \
	}

/* Set: forgets the previous error. All return the code, so that a failing call is one line. A string that is too long is cut,
 * after the mask of this process was applied to it. */
#define err_set(err, code, ...) err_set_at(err, code, __FILE__, __LINE__, __VA_ARGS__)
/* From errno: picks the code (ENOENT → ERR_NOT_FOUND, ENOSPC → ERR_NO_SPACE, …) and appends ": strerror". */
#define err_errno(err, errnum, ...) err_errno_at(err, errnum, __FILE__, __LINE__, __VA_ARGS__)
/* Add a frame in front; keeps and returns the code. */
#define err_wrap(err, code, ...) err_wrap_at(err, code, __FILE__, __LINE__, __VA_ARGS__)
/* Say what to do; the innermost hint stays. Returns the code. */
int err_hint(struct err *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

int err_set_at(struct err *err, int code, const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
int err_errno_at(struct err *err, int errnum, const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
int err_wrap_at(struct err *err, int code, const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

void err_clear(struct err *err);
/* One line, outermost frame first, control characters replaced; always terminated. Returns buf. */
const char *err_line(const struct err *err, char *buf, size_t size);
/* "invalid", "not_found", …: for --json. */
const char *err_code_name(int code);
/* The exit status of the table in docs/semantics.md for an error before any change: 2, 5, 130, 1. */
int err_exit_status(int code);
