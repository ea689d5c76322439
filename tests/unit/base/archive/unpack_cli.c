/* unpack_cli DIR [MAX-BYTES]: an archive from standard input into DIR, as the local target does it. Exit 0, or 1 and one line. */
#include "base/archive/archive.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static int take(void *context, const void **data, size_t *len, struct err *err)
{
	static char buffer[65536];
	ssize_t n = read(0, buffer, sizeof(buffer));

	(void)context;
	if (n < 0)
		return err_errno(err, errno, "read standard input");
	*data = buffer;
	*len = (size_t)n;
	return 0;
}

int main(int argc, char **argv)
{
	struct archive_limits limits = {0};
	struct err err = ERR_INIT;
	char line[1024];
	long long max = 0;

	if (argc < 2 || (argc > 2 && !str_parse_i64(argv[2], 1, INT64_MAX, &max))) {
		fputs("usage: unpack_cli DIR [MAX-BYTES] < ARCHIVE\n", stderr);
		return 2;
	}
	limits.max_bytes = max;
	int dir = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0) {
		perror(argv[1]);
		return 2;
	}
	int r = archive_unpack(take, NULL, dir, &limits, NULL, &err);
	if (r < 0)
		fprintf(stderr, "%s\n", err_line(&err, line, sizeof(line)));
	close(dir);
	return r < 0;
}
