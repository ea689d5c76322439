/* `davit agent as-user USER PROGRAM ARGUMENT…`: gives up root for good and executes the program. Its own small program
 * start, since posix_spawn cannot change the user. The keys of the agent stay behind: its directory is root's. */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/cmd/agent.h"
#include "agent/listener/listener.h"
#include "agent/listener/worker_user.h"
#include "base/core/log.h"

static int become(const struct passwd *entry, struct err *err)
{
	if (entry->pw_uid == geteuid())
		return 0;
	if (initgroups(entry->pw_name, entry->pw_gid) < 0 ||
	    setresgid(entry->pw_gid, entry->pw_gid, entry->pw_gid) < 0 ||
	    setresuid(entry->pw_uid, entry->pw_uid, entry->pw_uid) < 0)
		return err_errno(err, errno, "become %s", entry->pw_name);
	if (entry->pw_uid != 0 && (setuid(0) == 0 || geteuid() == 0))
		return err_set(err, ERR_INTERNAL, "root's rights came back after they were given up");
	return 0;
}

static void set_environment(const struct passwd *entry, const char *state)
{
	static const char *const dropped[] = {"XDG_STATE_HOME",
	                                      "XDG_CONFIG_HOME",
	                                      "XDG_CACHE_HOME",
	                                      "XDG_DATA_HOME",
	                                      "XDG_RUNTIME_DIR",
	                                      "SSH_AUTH_SOCK",
	                                      "SUDO_USER",
	                                      "SUDO_UID",
	                                      "SUDO_GID",
	                                      "SUDO_COMMAND",
	                                      "MAIL"};
	for (size_t i = 0; i < ARRAY_SIZE(dropped); i++)
		unsetenv(dropped[i]);
	const char *given = getenv("DAVIT_STATE");
	if (given != NULL && *given != '\0')
		setenv("DAVIT_STATE", state, 1);
	setenv("HOME", entry->pw_dir, 1);
	setenv("USER", entry->pw_name, 1);
	setenv("LOGNAME", entry->pw_name, 1);
	setenv("SHELL", entry->pw_shell != NULL && *entry->pw_shell != '\0' ? entry->pw_shell : "/bin/sh", 1);
}

int agent_as_user(int argc, char **argv)
{
	struct err err = ERR_INIT;
	if (argc < 3) {
		fputs("usage: davit agent as-user USER PROGRAM [ARGUMENT…] | --may-execute PATH…\n", stderr);
		return LISTEN_TERMINATED;
	}
	const struct passwd *entry = getpwnam(argv[1]);
	int r = entry == NULL ? err_set(&err, ERR_NOT_FOUND, "there is no user '%.60s'", argv[1]) : 0;
	/* Determined as root: the location of the journal depends on the user. */
	_cleanup_free_ char *state = r < 0 ? NULL : worker_user_state_dir(argv[1], &err);
	if (r >= 0)
		r = state == NULL ? err.code : become(entry, &err);
	if (r >= 0 && strcmp(argv[2], "--may-execute") == 0)
		return worker_user_may_execute((const char *const *)argv + 3);
	if (r >= 0) {
		set_environment(entry, state);
		/* The agent's own directory may be closed to this user. */
		if (access(".", X_OK) < 0 && chdir(entry->pw_dir) < 0 && chdir("/") < 0)
			err_errno(&err, errno, "leave the agent's directory");
		execv(argv[2], argv + 2);
		err_errno(&err, errno, "execute %s", argv[2]);
	}
	log_err(&err);
	return LISTEN_TERMINATED;
}
