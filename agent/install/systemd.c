#include "agent/install/systemd.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/install/unit.h"
#include "base/core/clock.h"
#include "base/sys/fs.h"
#include "base/sys/proc.h"

/* A stop waits for running deployments: as long as the unit's own TimeoutStopSec, and some more. */
enum { WORDS_MAX = 8, CALL_MS = 21 * 60 * 1000, OUTPUT_MAX = 64 << 10 };

static int run(bool user, const char *const *words, struct str *errors, int *ret_status, struct err *err)
{
	const char *argv[WORDS_MAX + 3] = {"systemctl"};
	size_t count = 1;
	if (user)
		argv[count++] = "--user";
	for (size_t i = 0; words[i] != NULL && i < WORDS_MAX; i++)
		argv[count++] = words[i];
	const struct proc_options options = {.argv = argv, .stdin_fd = -1};
	struct wait w = WAIT_INIT;
	w.deadline_mono_ms = clock_mono_ms() + CALL_MS;
	return proc_run(&options, NULL, 0, OUTPUT_MAX, &w, NULL, errors, ret_status, err);
}

int systemd_check(bool user, struct err *err)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	_cleanup_free_ char *own = runtime != NULL ? fs_join(runtime, "systemd") : NULL;
	bool there = user ? own != NULL && access(own, F_OK) == 0 : access("/run/systemd/system", F_OK) == 0;
	if (there)
		return 0;
	err_set(err, ERR_UNSUPPORTED,
	        user ? "this user has no systemd of its own here" : "systemd does not run on this machine");
	return err_hint(
		err, ERR_UNSUPPORTED,
		user ? "log in as that user, not by su or sudo; --print shows the unit"
		     : "--print shows the unit; elsewhere start `davit agent run` by what starts services there");
}

char *systemd_unit_path(bool user, struct err *err)
{
	if (!user)
		return xstrdup("/etc/systemd/system/" UNIT_NAME);
	const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
	if (config != NULL && config[0] == '/')
		return fs_join(config, "systemd/user/" UNIT_NAME);
	if (home != NULL && home[0] == '/')
		return fs_join(home, ".config/systemd/user/" UNIT_NAME);
	err_set(err, ERR_INVALID, "HOME names no directory for the units of this user");
	return NULL;
}

int systemd_call(bool user, const char *const *words, struct err *err)
{
	_cleanup_(str_done) struct str errors = STR_INIT(OUTPUT_MAX);
	int status = -1;
	int r = run(user, words, &errors, &status, err);
	if (r < 0)
		return err_wrap(err, r, "systemctl %s", words[0]);
	if (status == 0)
		return 0;
	err_set(err, ERR_FAILED, "systemctl %s failed: %.*s", words[0], (int)strcspn(str_peek(&errors), "\r\n"),
	        str_peek(&errors));
	return err_hint(err, ERR_FAILED, "journalctl %s-u davit-agent shows what the agent said",
	                user ? "--user " : "");
}

bool systemd_unit_is(bool user, const char *question)
{
	const char *words[] = {question, "--quiet", UNIT_NAME, NULL};
	int status = -1;
	return run(user, words, NULL, &status, NULL) >= 0 && status == 0;
}
