/* davit-step unpack-action FD: unpacks the archive of an action's repository from standard input into the directory that the descriptor is of, in a
 * process that holds no secret. The worker executes it. */
#include "agent/cmd/commands.h"
#include "base/archive/archive.h"
#include "base/core/log.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

enum { BLOCK = 1 << 16, UNPACK_MS = 10 * 60 * 1000 };

struct input {
	char block[BLOCK];
};

static int read_input(void *context, const void **data, size_t *len, struct err *err)
{
	struct input *input = context;
	ssize_t n;
	do
		n = read(STDIN_FILENO, input->block, sizeof(input->block));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_errno(err, errno, "read the archive");
	*data = input->block;
	*len = (size_t)n;
	return 0;
}

int cmd_unpack_action(int argc, char **argv)
{
	static const struct archive_limits limits = {.max_bytes = (int64_t)2 << 30, .max_entries = 200000};
	struct err err = ERR_INIT;
	char line[2048];
	long long dir;
	if (argc != 2 || !str_parse_i64(argv[1], 3, INT16_MAX, &dir)) {
		fputs("usage: davit-step unpack-action FD < ARCHIVE\n", stderr);
		return 2;
	}
	_cleanup_free_ struct input *input = xmalloc(sizeof(*input));
	struct wait all = WAIT_INIT, w = wait_within(&all, UNPACK_MS);
	int r = archive_unpack(read_input, input, (int)dir, &limits, &w, &err);
	if (r < 0)
		fprintf(stderr, "%s\n", err_line(&err, line, sizeof(line)));
	return r < 0 ? 1 : 0;
}
