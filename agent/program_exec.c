#include "agent/program.h"

#include "base/core/log.h"
#include "base/core/mem.h"
#include "base/sys/fs.h"

#include <errno.h>
#include <unistd.h>

int program_run(const char *program, char **argv)
{
	struct err err = ERR_INIT;
	_cleanup_free_ char *path = fs_helper_program(program, &err);
	if (path == NULL) {
		log_err(&err);
		return 1;
	}
	execv(path, argv);
	err_errno(&err, errno, "execute %s", path);
	log_err(&err);
	return 1;
}

const char *program_called(const char *argv0)
{
	(void)argv0;
	return NULL;
}
