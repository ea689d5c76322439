/* archive_bench DIR OUT [zstd|fast|gzip|none] [EXCLUDE…]: the tree as an archive, by the code that the steps use. For tests/bench/run. */
#include "base/archive/archive.h"
#include "base/sys/fs.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static int write_out(void *context, const void *data, size_t len, struct err *err)
{
	return fs_write_all(*(int *)context, data, len, err);
}

static enum archive_compression compression_of(const char *name)
{
	if (strcmp(name, "gzip") == 0)
		return ARCHIVE_GZIP;
	if (strcmp(name, "none") == 0)
		return ARCHIVE_NONE;
	return strcmp(name, "fast") == 0 ? ARCHIVE_ZSTD_FAST : ARCHIVE_ZSTD;
}

int main(int argc, char **argv)
{
	struct err err = ERR_INIT;
	struct wait wait = WAIT_INIT;
	struct tree tree = {0};
	struct ignore *ignore = ignore_new();
	char line[1024];

	if (argc < 3) {
		fputs("usage: archive_bench DIR OUT [zstd|fast|gzip|none] [EXCLUDE…]\n", stderr);
		return 2;
	}
	for (int i = 4; i < argc; i++)
		ignore_add(ignore, argv[i]);
	int dir = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC),
	    out = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (dir < 0 || out < 0) {
		perror(dir < 0 ? argv[1] : argv[2]);
		return 1;
	}
	int r = tree_walk(dir, ignore, false, &wait, &tree, &err);
	if (r == 0)
		r = archive_pack(dir, &tree, NULL, 0, compression_of(argc > 3 ? argv[3] : "zstd"), write_out, &out,
		                 NULL, &wait, &err);
	if (r < 0)
		fprintf(stderr, "%s\n", err_line(&err, line, sizeof(line)));
	tree_done(&tree);
	ignore_free(ignore);
	close(out);
	close(dir);
	return r < 0;
}
