/* What every program says of itself: of this file it needs no library. */
#include "agent/cmd/cli.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

bool cli_output_failed(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return false;
	fprintf(stderr, "davit: what it printed could not be written: %s\n  make room, or send it elsewhere\n",
	        strerror(errno != 0 ? errno : EIO));
	return true;
}

bool cli_wants_words(int argc, char **argv)
{
	return argc == 2 && strcmp(argv[1], "--complete") == 0;
}
