#include "agent/install/hook.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sys/fs.h"

enum { FILE_MAX = 1 << 20, TEXT_MAX = FILE_MAX + (64 << 10) };
static const char variable[] = "ACTIONS_RUNNER_HOOK_JOB_STARTED=";
static const char script_name[] = "davit-job-started.sh";
static const char script_mark[] = "# Written by `davit agent install --hook`.";

char *hook_script(const char *program)
{
	_cleanup_(str_done) struct str s = STR_INIT(TEXT_MAX);
	str_appendf(
		&s,
		"#!/bin/sh\n%s\n# What a job before this one left undecided is finished or undone before this one begins.\n"
		"exec ",
		script_mark);
	str_append_shell(&s, program);
	str_append(&s, " recover\n");
	return str_take(&s);
}

/* A runner's directory; it may be another user's, so that nothing in it is followed. */
static int open_runner(const char *dir, struct stat *ret_st, struct err *err)
{
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, ret_st) < 0)
		return err_errno(err, errno, "open the runner's directory %s", dir);
	if (!fs_exists(fd, ".runner")) {
		err_set(err, ERR_NOT_FOUND, "%s is not the directory of a configured runner: it has no file .runner",
		        dir);
		return err_hint(err, ERR_NOT_FOUND, "name the directory that config.sh was called in");
	}
	return take_fd(&fd);
}

/* 0: read, or nothing there. Root copies no file of others into one of the runner's user. */
static int read_file(int dirfd, const char *name, const struct stat *owner, struct str *out, struct err *err)
{
	struct err why = ERR_INIT;
	_cleanup_close_ int fd = fs_open_plain(dirfd, name, O_RDONLY, &why);
	if (fd < 0 && why.code == ERR_NOT_FOUND)
		return 0;
	struct stat st;
	if (fd >= 0 && fstat(fd, &st) < 0)
		err_errno(&why, errno, "look at %s", name);
	else if (fd >= 0 && st.st_uid != owner->st_uid && st.st_uid != geteuid())
		err_set(&why, ERR_PERMISSION, "%s belongs to another user than the directory", name);
	else if (fd >= 0)
		return fs_read_fd(fd, name, FILE_MAX, out, err);
	if (err != NULL)
		*err = why;
	return why.code;
}

static int write_file(int dirfd, const char *name, const char *text, mode_t mode, const struct stat *owner,
                      struct err *err)
{
	int r = fs_write_atomic(dirfd, name, text, strlen(text), mode, err);
	if (r >= 0 && fchownat(dirfd, name, owner->st_uid, owner->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		r = err_errno(err, errno, "give %s to the runner's user", name);
	return r;
}

/* The value of the last line that sets the hook, as the runner takes it; NULL: none. */
static const char *hook_of(const char *env, size_t *ret_len)
{
	const char *found = NULL;
	for (const char *line = env; line != NULL && *line != '\0';) {
		size_t len = strcspn(line, "\n");
		if (str_starts(line, variable)) {
			found = line + sizeof(variable) - 1;
			*ret_len = len - (sizeof(variable) - 1);
		}
		line += len + (line[len] == '\n');
	}
	return found;
}

static int add_line(int dirfd, const char *script, const struct stat *owner, bool *ret_changed, struct err *err)
{
	_cleanup_(str_done) struct str env = STR_SECRET_INIT(TEXT_MAX);
	int r = read_file(dirfd, ".env", owner, &env, err);
	if (r < 0)
		return err_wrap(err, r, "read .env");
	size_t len = 0;
	const char *now = hook_of(str_peek(&env), &len);
	if (now != NULL && len == strlen(script) && memcmp(now, script, len) == 0)
		return 0;
	if (now != NULL && len > 0) {
		err_set(err, ERR_REFUSED, "this runner has a hook of its own: %.*s", (int)MIN(len, (size_t)200), now);
		return err_hint(err, ERR_REFUSED, "call `davit recover` from it; nothing was changed");
	}
	struct stat st;
	mode_t mode = fstatat(dirfd, ".env", &st, AT_SYMLINK_NOFOLLOW) == 0 ? st.st_mode & 0777 : 0644;
	if (env.len > 0 && env.data[env.len - 1] != '\n')
		str_append_c(&env, '\n');
	str_appendf(&env, "%s%s\n", variable, script);
	*ret_changed = true;
	return write_file(dirfd, ".env", str_peek(&env), mode, owner, err);
}

int hook_install(const char *dir, const char *program, bool *ret_changed, struct err *err)
{
	struct stat owner;
	*ret_changed = false;
	_cleanup_close_ int fd = open_runner(dir, &owner, err);
	_cleanup_free_ char *real = fd < 0 ? NULL : fs_real_path(dir, err);
	if (real == NULL)
		return err != NULL ? err->code : ERR_IO;
	_cleanup_free_ char *script = fs_join(real, script_name), *text = hook_script(program);
	_cleanup_(str_done) struct str now = STR_INIT(TEXT_MAX);
	int r = read_file(fd, script_name, &owner, &now, err);
	/* The line first: a hook of the runner's own is found before anything is written. */
	if (r >= 0)
		r = add_line(fd, script, &owner, ret_changed, err);
	if (r >= 0 && strcmp(str_peek(&now), text) != 0) {
		*ret_changed = true;
		r = write_file(fd, script_name, text, 0755, &owner, err);
	}
	return r < 0 ? err_wrap(err, r, "write the hook of the runner in %s", dir) : 0;
}

/* Without the lines that name the script. */
static int drop_line(int dirfd, const char *script, const struct stat *owner, bool *ret_changed, struct err *err)
{
	_cleanup_(str_done) struct str env = STR_SECRET_INIT(TEXT_MAX), left = STR_SECRET_INIT(TEXT_MAX);
	int r = read_file(dirfd, ".env", owner, &env, err);
	_cleanup_free_ char *ours = xasprintf("%s%s", variable, script);
	for (const char *line = str_peek(&env); r >= 0 && *line != '\0';) {
		size_t len = strcspn(line, "\n"), whole = len + (line[len] == '\n');
		if (len != strlen(ours) || memcmp(line, ours, len) != 0)
			str_append_n(&left, line, whole);
		line += whole;
	}
	struct stat st;
	if (r < 0 || left.len == env.len || fstatat(dirfd, ".env", &st, AT_SYMLINK_NOFOLLOW) < 0)
		return r;
	*ret_changed = true;
	return write_file(dirfd, ".env", str_peek(&left), st.st_mode & 0777, owner, err);
}

int hook_remove(const char *dir, bool *ret_changed, struct err *err)
{
	struct stat owner;
	*ret_changed = false;
	_cleanup_close_ int fd = open_runner(dir, &owner, err);
	_cleanup_free_ char *real = fd < 0 ? NULL : fs_real_path(dir, err);
	if (real == NULL)
		return err != NULL ? err->code : ERR_IO;
	_cleanup_free_ char *script = fs_join(real, script_name);
	_cleanup_(str_done) struct str now = STR_INIT(TEXT_MAX);
	int r = read_file(fd, script_name, &owner, &now, err);
	if (r >= 0)
		r = drop_line(fd, script, &owner, ret_changed, err);
	if (r >= 0 && strstr(str_peek(&now), script_mark) != NULL) {
		*ret_changed = true;
		r = unlinkat(fd, script_name, 0) < 0 ? err_errno(err, errno, "remove %s", script) : 0;
	}
	return r < 0 ? err_wrap(err, r, "remove the hook of the runner in %s", dir) : 0;
}
