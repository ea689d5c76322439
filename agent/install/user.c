#include "agent/install/user.h"

#include <pwd.h>
#include <string.h>

#include "base/core/clock.h"
#include "base/core/str.h"
#include "base/sys/proc.h"

enum { NAME_MAX_LEN = 31, CALL_MS = 60000, OUTPUT_MAX = 64 << 10 };

int user_check_name(const char *name, struct err *err)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz_",
			  further[] = "abcdefghijklmnopqrstuvwxyz_0123456789-";
	size_t len = strlen(name);
	if (len == 0 || len > NAME_MAX_LEN || strchr(letters, name[0]) == NULL || strspn(name, further) != len)
		return err_set(err, ERR_INVALID,
		               "'%.60s' is not a name for a user: a to z, 0 to 9, _ and -, at most %d", name,
		               NAME_MAX_LEN);
	return 0;
}

char *user_home(const char *name)
{
	const struct passwd *entry = getpwnam(name);
	/* Not below /home, which the unit closes; not /var/lib/davit, which is the agent's. */
	return entry != NULL ? xstrdup(entry->pw_dir) : xasprintf("/var/lib/%s-jobs", name);
}

int user_make(const char *name, bool *ret_made, struct err *err)
{
	*ret_made = false;
	if (getpwnam(name) != NULL)
		return 0;
	_cleanup_free_ char *home = user_home(name);
	const char *argv[] = {"useradd", "--system",          "--create-home", "--home-dir", home,
	                      "--shell", "/usr/sbin/nologin", "--user-group",  name,         NULL};
	const struct proc_options options = {.argv = argv, .stdin_fd = -1};
	_cleanup_(str_done) struct str errors = STR_INIT(OUTPUT_MAX);
	struct wait w = WAIT_INIT;
	w.deadline_mono_ms = clock_mono_ms() + CALL_MS;
	int status = -1;
	int r = proc_run(&options, NULL, 0, OUTPUT_MAX, &w, NULL, &errors, &status, err);
	if (r >= 0 && status != 0)
		r = err_set(err, ERR_FAILED, "useradd: %.*s", (int)strcspn(str_peek(&errors), "\r\n"),
		            str_peek(&errors));
	if (r < 0)
		return err_wrap(err, r, "make the user '%s' for jobs", name);
	*ret_made = true;
	return 0;
}
