/* Where this host's state lives, in a file of its own: a program that only reads the journal links no step. */
#include "steps/engine.h"

#include "base/fs.h"
#include <unistd.h>

char *engine_state_dir(struct err *err)
{
	const char *given = getenv("DAVIT_STATE"), *xdg = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	if (given && *given) {
		if (given[0] == '/')
			return xstrdup(given);
		err_set(err, ERR_INVALID, "DAVIT_STATE must be an absolute path, not '%s'", given);
		return NULL;
	}
	if (geteuid() == 0)
		return xstrdup("/var/lib/davit");
	if (xdg && xdg[0] == '/')
		return fs_join(xdg, "davit");
	if (home && home[0] == '/')
		return fs_join(home, ".local/state/davit");
	err_set(err, ERR_INVALID, "there is no place for the journal: HOME is not set");
	err_hint(err, ERR_INVALID, "set DAVIT_STATE to a folder");
	return NULL;
}
