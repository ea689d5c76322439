#include "base/core/err.h"

#include "base/core/shown.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Masked as a whole, then cut: a mask does not recognise half of a secret. */
static void put_text(char *buf, size_t size, const char *fmt, va_list args)
{
	_cleanup_free_ char *shown = shown_format(size - 1, fmt, args);
	memcpy(buf, shown, strlen(shown) + 1);
}

static void add_frame(struct err *err, const char *file, int line, const char *fmt, va_list args)
{
	/* A chain that is full loses its second-innermost frame: the cause and the outer story matter most. */
	if (err->frame_count == ERR_FRAMES) {
		memmove(&err->frames[1], &err->frames[2], sizeof(err->frames[0]) * (ERR_FRAMES - 2));
		err->frame_count--;
	}
	struct err_frame *frame = &err->frames[err->frame_count++];
	frame->file = file;
	frame->line = line;
	put_text(frame->text, sizeof(frame->text), fmt, args);
}

void err_clear(struct err *err)
{
	if (err == NULL)
		return;
	err->code = 0;
	err->retryable = false;
	err->foreign = 0;
	err->frame_count = 0;
	err->hint[0] = '\0';
}

int err_set_at(struct err *err, int code, const char *file, int line, const char *fmt, ...)
{
	if (err == NULL)
		return code;
	err_clear(err);
	err->code = code;
	err->retryable = code == ERR_NETWORK || code == ERR_TIMEOUT;
	va_list args;
	va_start(args, fmt);
	add_frame(err, file, line, fmt, args);
	va_end(args);
	return code;
}

static int code_of_errno(int errnum)
{
	switch (errnum) {
	case ENOENT:
	case ENOTDIR:
		return ERR_NOT_FOUND;
	case EEXIST:
	case ENOTEMPTY:
		return ERR_EXISTS;
	case ENOSPC:
	case EDQUOT:
		return ERR_NO_SPACE;
	case EACCES:
	case EPERM:
	case EROFS:
		return ERR_PERMISSION;
	case ETIMEDOUT:
		return ERR_TIMEOUT;
	case ECONNREFUSED:
	case ECONNRESET:
	case EHOSTUNREACH:
	case ENETUNREACH:
	case EPIPE:
		return ERR_NETWORK;
	case ENAMETOOLONG:
	case EFBIG:
	case E2BIG:
		return ERR_LIMIT;
	default:
		return ERR_IO;
	}
}

int err_errno_at(struct err *err, int errnum, const char *file, int line, const char *fmt, ...)
{
	int code = code_of_errno(errnum);
	if (err == NULL)
		return code;
	err_clear(err);
	err->code = code;
	err->foreign = errnum;
	err->retryable = errnum == EAGAIN || errnum == EINTR || code == ERR_NETWORK || code == ERR_TIMEOUT;
	va_list args;
	va_start(args, fmt);
	add_frame(err, file, line, fmt, args);
	va_end(args);
	struct err_frame *frame = &err->frames[0];
	size_t used = strlen(frame->text);
	snprintf(frame->text + used, sizeof(frame->text) - used, ": %s", strerror(errnum));
	return code;
}

int err_wrap_at(struct err *err, int code, const char *file, int line, const char *fmt, ...)
{
	if (err == NULL)
		return code;
	if (err->code == 0)
		err->code = code;
	va_list args;
	va_start(args, fmt);
	add_frame(err, file, line, fmt, args);
	va_end(args);
	return code;
}

int err_hint(struct err *err, int code, const char *fmt, ...)
{
	if (err == NULL || err->hint[0] != '\0')
		return code;
	va_list args;
	va_start(args, fmt);
	put_text(err->hint, sizeof(err->hint), fmt, args);
	va_end(args);
	return code;
}

const char *err_line(const struct err *err, char *buf, size_t size)
{
	size_t used = 0;
	if (size == 0)
		return buf;
	buf[0] = '\0';
	for (int i = err->frame_count - 1; i >= 0 && used + 1 < size; i--) {
		int n = snprintf(buf + used, size - used, "%s%s", err->frames[i].text, i > 0 ? ": " : "");
		used += (size_t)n < size - used ? (size_t)n : size - used - 1;
	}
	for (char *p = buf; *p != '\0'; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = ' ';
	return buf;
}

const char *err_code_name(int code)
{
	static const char *const names[] = {
		"ok",       "invalid",   "not_found", "exists",  "io",       "no_space", "permission",
		"timeout",  "cancelled", "network",   "auth",    "protocol", "limit",    "unsupported",
		"conflict", "locked",    "fenced",    "refused", "unknown",  "failed",   "internal",
	};
	int index = -code;
	if (index < 0 || index >= (int)(sizeof(names) / sizeof(names[0])))
		return "internal";
	return names[index];
}

int err_exit_status(int code)
{
	switch (code) {
	case 0:
		return 0;
	case ERR_INVALID:
	case ERR_REFUSED:
	case ERR_UNSUPPORTED:
	case ERR_LIMIT:
		return 2;
	case ERR_LOCKED:
		return 5;
	case ERR_CANCELLED:
		return 130;
	default:
		return 1;
	}
}
