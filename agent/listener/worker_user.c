#include "agent/listener/worker_user.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/listener/trust.h"
#include "base/core/clock.h"
#include "base/sys/fs.h"
#include "base/sys/proc.h"
#include "engine/journal/state_dir.h"

enum { CLOSED = 3, ANSWER_MAX = 8192, LOOK_MS = 30000 };

/* The first part of the path that this process may not pass or execute; NULL: none. free() */
static char *closed_part(const char *path)
{
	for (const char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		_cleanup_free_ char *directory = xstrndup(path, (size_t)(slash - path));
		if (access(directory, X_OK) < 0)
			return TAKE(directory);
	}
	return access(path, X_OK) < 0 ? xstrdup(path) : NULL;
}

int worker_user_may_execute(const char *const *paths)
{
	for (; *paths != NULL; paths++) {
		_cleanup_free_ char *closed = closed_part(*paths);
		if (closed != NULL) {
			printf("%s\n%s", *paths, closed);
			return CLOSED;
		}
	}
	return 0;
}

/* answer: two lines, the program and the closed path. */
static int refuse(const char *user, char *answer, struct err *err)
{
	char *closed = strchr(answer, '\n');
	if (closed == NULL)
		return err_set(err, ERR_INTERNAL, "whether '%.60s' may execute davit could not be told", user);
	*closed++ = '\0';
	err_set(err, ERR_PERMISSION, "jobs cannot run as '%.60s': that user may not execute %s%s%s%s", user, answer,
	        strcmp(answer, closed) == 0 ? "" : " (", strcmp(answer, closed) == 0 ? "" : closed,
	        strcmp(answer, closed) == 0 ? "" : " is closed to it)");
	return err_hint(err, ERR_PERMISSION,
	                "chmod o+x %s, or install davit where every user may execute it (/usr/local)", closed);
}

static int ask(const char *user, const char *program, const char *step, struct err *err)
{
	const char *argv[] = {program, "agent", "as-user", user, "--may-execute", program, step, NULL};
	const struct proc_options options = {.argv = argv, .stdin_fd = -1};
	_cleanup_(str_done) struct str answer = STR_INIT(ANSWER_MAX), errors = STR_INIT(ANSWER_MAX);
	struct wait w = WAIT_INIT;
	int status = -1;
	w.deadline_mono_ms = clock_mono_ms() + LOOK_MS;
	int r = proc_run(&options, NULL, 0, ANSWER_MAX, &w, &answer, &errors, &status, err);
	if (r < 0)
		return err_wrap(err, r, "look whether '%.60s' may execute davit", user);
	if (status == 0)
		return 0;
	if (status != CLOSED)
		return err_set(err, ERR_FAILED, "jobs cannot run as '%.60s': %.*s", user,
		               (int)strcspn(str_peek(&errors), "\r\n"), str_peek(&errors));
	return refuse(user, answer.data, err);
}

int worker_user_check(const char *user, const char *program, struct err *err)
{
	if (user == NULL)
		return 0;
	const struct passwd *entry = getpwnam(user);
	if (entry == NULL) {
		err_set(err, ERR_NOT_FOUND, "there is no user '%.60s' on this machine for jobs to run as", user);
		return err_hint(err, ERR_NOT_FOUND,
		                "create it (useradd --system --create-home %.60s), or name another by --worker-user",
		                user);
	}
	if (geteuid() != 0 && entry->pw_uid != geteuid()) {
		err_set(err, ERR_PERMISSION, "jobs cannot run as '%.60s': this agent is not root", user);
		return err_hint(err, ERR_PERMISSION, "leave --worker-user out, or configure and run the agent as root");
	}
	if (geteuid() != 0)
		return 0;
	_cleanup_free_ char *own = program != NULL ? xstrdup(program) : fs_real_path("/proc/self/exe", err);
	_cleanup_free_ char *step = own == NULL ? NULL : fs_helper_program("davit-step", err);
	if (step == NULL)
		return err != NULL ? err->code : ERR_IO;
	return ask(user, own, step, err);
}

/* $DAVIT_STATE, where a root agent gives jobs to that other user; else NULL. */
static const char *shared_state(const struct passwd *entry)
{
	const char *dir = getenv("DAVIT_STATE");
	return geteuid() == 0 && entry->pw_uid != 0 && dir != NULL && *dir != '\0' ? dir : NULL;
}

char *worker_user_state_dir(const char *user, struct err *err)
{
	const struct passwd *entry = getpwnam(user);
	if (entry == NULL) {
		err_set(err, ERR_NOT_FOUND, "there is no user '%.60s' for workers", user);
		return NULL;
	}
	const char *shared = shared_state(entry);
	if (shared != NULL)
		return xasprintf("%s/users/%s", shared, entry->pw_name);
	if (entry->pw_uid == geteuid())
		return state_dir(err);
	return entry->pw_uid == 0 ? xstrdup("/var/lib/davit") : fs_join(entry->pw_dir, ".local/state/davit");
}

/* Everybody may pass it, only root may change or list it. */
static int open_passage(const char *dir, struct err *err)
{
	struct stat st;
	if (stat(dir, &st) < 0)
		return err_errno(err, errno, "look at %s", dir);
	if ((st.st_mode & S_IXOTH) == 0 && chmod(dir, (st.st_mode & 07777) | S_IXGRP | S_IXOTH) < 0)
		return err_errno(err, errno, "let the workers' user pass %s", dir);
	return 0;
}

int worker_user_make_state_dir(const char *user, struct err *err)
{
	const struct passwd *entry = user == NULL ? NULL : getpwnam(user);
	const char *shared = entry == NULL ? NULL : shared_state(entry);
	if (shared == NULL)
		return 0;
	_cleanup_free_ char *users = fs_join(shared, "users"), *dir = fs_join(users, entry->pw_name);
	int r = trust_check(users, err);
	if (r >= 0)
		r = fs_mkdirs(AT_FDCWD, users, 0711, err);
	if (r >= 0)
		r = open_passage(shared, err);
	if (r >= 0)
		r = open_passage(users, err);
	if (r < 0)
		return r;
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return err_errno(err, errno, "make %s", dir);
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(err, errno, "look at %s", dir);
	if (st.st_uid == 0 && fchown(fd, entry->pw_uid, entry->pw_gid) < 0)
		return err_errno(err, errno, "give %s to %s", dir, user);
	if (st.st_uid != 0 && st.st_uid != entry->pw_uid)
		return err_set(err, ERR_PERMISSION, "%s does not belong to %s", dir, user);
	return 0;
}
