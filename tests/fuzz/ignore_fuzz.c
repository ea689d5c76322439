/* The first line is a path, the rest are patterns. */
#include "base/archive/archive.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = xstrndup((const char *)data, MIN(size, (size_t)4096));
	struct ignore *i = ignore_new();
	char *path = text, *line = strchr(text, '\n');

	if (line)
		*line++ = 0;
	while (line) {
		char *next = strchr(line, '\n');
		if (next)
			*next++ = 0;
		ignore_add(i, line);
		line = next;
	}
	bool file = ignore_matches(i, path, false), dir = ignore_matches(i, path, true);
	/* A pattern for directories only can exclude or take back the directory alone; without any "/" at an end both agree. */
	if (file != dir && !memmem(data, size, "/", 1))
		abort();
	ignore_free(i);
	return 0;
}
