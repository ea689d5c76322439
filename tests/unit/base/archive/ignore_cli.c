/* Answers as `git check-ignore --no-index --stdin` does: ignore_cli PATTERNS-FILE, one path a line on standard input (a directory ends
 * in a slash); prints those that are excluded. */
#include "base/archive/archive.h"
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
	struct err err = ERR_INIT;
	struct ignore *i = ignore_new();
	char line[4096];

	if (argc != 2 || ignore_add_file(i, argv[1], &err) < 0) {
		fprintf(stderr, "%s\n", err_line(&err, line, sizeof(line)));
		return 2;
	}
	while (fgets(line, sizeof(line), stdin)) {
		size_t len = strcspn(line, "\n");
		bool dir = len > 0 && line[len - 1] == '/';
		line[dir ? len - 1 : len] = 0;
		if (ignore_matches(i, line, dir))
			printf("%s%s\n", line, dir ? "/" : "");
	}
	ignore_free(i);
	return 0;
}
