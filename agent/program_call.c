#include "agent/program.h"

#include "base/core/log.h"
#include "base/core/mem.h"
#include "base/sys/fs.h"

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} parts[] = {{"davit-agent", main_agent}, {"davit-step", main_step}};

int program_run(const char *program, char **argv)
{
	int argc = 0;
	while (argv[argc] != NULL)
		argc++;
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if (strcmp(program, parts[i].name) == 0) {
			/* The agent tells steps from other processes by that name. */
			prctl(PR_SET_NAME, program);
			return parts[i].run(argc, argv);
		}
	struct err err = ERR_INIT;
	_cleanup_free_ char *path = fs_helper_program(program, &err);
	if (path != NULL) {
		execv(path, argv);
		err_errno(&err, errno, "execute %s", path);
	}
	log_err(&err);
	return 1;
}

const char *program_called(const char *argv0)
{
	const char *slash = strrchr(argv0, '/'), *name = slash != NULL ? slash + 1 : argv0;
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if (strcmp(name, parts[i].name) == 0)
			return parts[i].name;
	return NULL;
}
