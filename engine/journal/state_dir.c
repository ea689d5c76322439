/* Finds this host's state directory. A file of its own, so that a program that only reads the journal links no step. */
#include "engine/journal/state_dir.h"

#include "base/sys/fs.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { STAT_MAX = 4096, ENVIRON_MAX = 4 << 20, ANCESTORS_MAX = 64 };

/* The parent of a process, and whether it is the official runner's worker; 0 when that cannot be told. */
static int parent_of(int pid, bool *ret_runner)
{
	_cleanup_(str_done) struct str text = STR_INIT(STAT_MAX);
	char path[64];
	int parent = 0;
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (fs_read(AT_FDCWD, path, text.max, &text, NULL) < 0)
		return 0;
	const char *open = strchr(str_peek(&text), '('), *close = strrchr(str_peek(&text), ')');
	if (open == NULL || close == NULL || sscanf(close + 1, " %*c %d", &parent) != 1)
		return 0;
	*ret_runner = (size_t)(close - open - 1) == strlen("Runner.Worker") &&
	              strncmp(open + 1, "Runner.Worker", strlen("Runner.Worker")) == 0;
	return parent;
}

static char *variable_of(int pid, const char *name)
{
	_cleanup_(str_done) struct str text = STR_SECRET_INIT(ENVIRON_MAX);
	_cleanup_free_ char *prefix = xasprintf("%s=", name);
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/environ", pid);
	if (fs_read(AT_FDCWD, path, text.max, &text, NULL) < 0)
		return NULL;
	for (size_t at = 0; at < text.len; at += strlen(str_peek(&text) + at) + 1)
		if (str_starts(str_peek(&text) + at, prefix))
			return xstrdup(str_peek(&text) + at + strlen(prefix));
	return NULL;
}

/* Under the official runner a job can set any variable for its later steps (GITHUB_ENV). The location of the journal is a matter of the
 * machine, so the runner's own value of the variable counts there. */
static char *state_variable(void)
{
	const char *actions = getenv("GITHUB_ACTIONS"), *given = getenv("DAVIT_STATE");
	int pid = getpid();
	for (int i = 0; given && actions && strcmp(actions, "true") == 0 && i < ANCESTORS_MAX && pid > 1; i++) {
		bool runner = false;
		int parent = parent_of(pid, &runner);
		if (runner)
			return variable_of(pid, "DAVIT_STATE");
		pid = parent;
	}
	return given ? xstrdup(given) : NULL;
}

int state_dir_hint(struct err *err, int code)
{
	if (code == ERR_PERMISSION)
		return err_hint(err, code,
		                "run it as the user that deploys from here, or name another directory by DAVIT_STATE");
	if (code == ERR_NO_SPACE)
		return err_hint(err, code, "free some space there, or name another directory by DAVIT_STATE");
	return err_hint(
		err, code,
		"name another directory by DAVIT_STATE, or move what is broken away: `davit recover FILE --takeover` reads the targets");
}

char *state_dir(struct err *err)
{
	_cleanup_free_ char *given = state_variable();
	const char *xdg = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	if (given && *given) {
		if (given[0] == '/')
			return TAKE(given);
		err_set(err, ERR_INVALID, "DAVIT_STATE must be an absolute path, not '%s'", given);
		err_hint(err, ERR_INVALID, "as in DAVIT_STATE=/var/lib/davit");
		return NULL;
	}
	if (geteuid() == 0)
		return xstrdup("/var/lib/davit");
	if (xdg && xdg[0] == '/')
		return fs_join(xdg, "davit");
	if (home && home[0] == '/')
		return fs_join(home, ".local/state/davit");
	err_set(err, ERR_INVALID, "there is no place for the journal: HOME is not set");
	err_hint(err, ERR_INVALID, "set DAVIT_STATE to a directory");
	return NULL;
}
