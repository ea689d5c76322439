/* Keeps the content of a blob in a file without a name: a job that prints much costs disk, not memory. */
#include "agent/forge/forge_priv.h"
#include "base/sys/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PIECE = 64 << 10 };

int forge_blob_file(void)
{
	const char *dir = getenv("TMPDIR");
	if (dir == NULL || dir[0] != '/')
		dir = "/tmp";
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0)
		return fd;
	/* On a file system without such files it has a name for a moment. */
	_cleanup_free_ char *path = xasprintf("%s/davit-forge-XXXXXX", dir);
	fd = mkostemp(path, O_CLOEXEC);
	if (fd >= 0)
		unlink(path);
	return fd;
}

bool forge_blob_clear(struct forge_blob *b)
{
	b->len = 0;
	b->lines = 0;
	if (b->fd < 0)
		b->fd = forge_blob_file();
	return b->fd >= 0 && ftruncate(b->fd, 0) == 0;
}

bool forge_blob_append(struct forge_blob *b, const char *data, size_t len)
{
	if (b->fd < 0 || b->len + len > FORGE_LOG_MAX)
		return false;
	for (size_t done = 0; done < len;) {
		ssize_t n = pwrite(b->fd, data + done, len - done, (off_t)(b->len + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		done += (size_t)n;
	}
	for (const char *p = data; (p = memchr(p, '\n', (size_t)(data + len - p))) != NULL; p++)
		b->lines++;
	b->len += len;
	return true;
}

/* Reads a piece of it: 0 at the end, < 0 if it cannot be read. */
static ssize_t read_piece(const struct forge_blob *b, size_t at, char *piece, size_t size)
{
	ssize_t n;
	do {
		n = pread(b->fd, piece, MIN(size, b->len - at), (off_t)at);
	} while (n < 0 && errno == EINTR);
	return n;
}

bool forge_blob_read(const struct forge_blob *b, struct str *out)
{
	char piece[PIECE];
	for (size_t at = 0; at < b->len;) {
		ssize_t n = read_piece(b, at, piece, sizeof(piece));
		if (n <= 0 || !str_append_n(out, piece, (size_t)n))
			return false;
		at += (size_t)n;
	}
	return true;
}

/* The number of bytes before a character that is cut at the end. */
static size_t whole_characters(const char *text, size_t len)
{
	for (size_t back = 1; back <= 3 && back < len; back++) {
		unsigned char c = (unsigned char)text[len - back];
		if (c >= 0xc0)
			return len - back;
		if (c < 0x80)
			break;
	}
	return len;
}

bool forge_blob_is_utf8(const struct forge_blob *b)
{
	char piece[PIECE];
	for (size_t at = 0; at < b->len;) {
		ssize_t n = read_piece(b, at, piece, sizeof(piece));
		if (n <= 0)
			return false;
		bool last = at + (size_t)n == b->len;
		size_t whole = last ? (size_t)n : whole_characters(piece, (size_t)n);
		if (!str_is_utf8(piece, whole))
			return false;
		at += whole;
	}
	return true;
}

void forge_blob_free(struct forge_blob *b)
{
	if (b->fd >= 0)
		close(b->fd);
	free(b->path);
	free(b);
}
