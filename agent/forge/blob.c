/* What a blob holds lies in a file without a name: a job that prints much costs disk and no memory. */
#include "agent/forge/forge_priv.h"
#include "base/sys/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int open_nameless(void)
{
	const char *dir = getenv("TMPDIR");
	if (dir == NULL || dir[0] != '/')
		dir = "/tmp";
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0)
		return fd;
	/* A file system without such files: a name for a moment. */
	_cleanup_free_ char *path = xasprintf("%s/davit-forge-XXXXXX", dir);
	fd = mkostemp(path, O_CLOEXEC);
	if (fd >= 0)
		unlink(path);
	return fd;
}

bool blob_clear(struct forge_blob *b)
{
	b->len = 0;
	b->lines = 0;
	if (b->fd < 0)
		b->fd = open_nameless();
	return b->fd >= 0 && ftruncate(b->fd, 0) == 0;
}

bool blob_append(struct forge_blob *b, const char *data, size_t len)
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

bool blob_read(const struct forge_blob *b, struct str *out)
{
	char piece[64 << 10];
	for (size_t at = 0; at < b->len;) {
		ssize_t n = pread(b->fd, piece, sizeof(piece), (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || !str_append_n(out, piece, (size_t)n))
			return false;
		at += (size_t)n;
	}
	return true;
}

void blob_free(struct forge_blob *b)
{
	if (b->fd >= 0)
		close(b->fd);
	free(b->path);
	free(b);
}
