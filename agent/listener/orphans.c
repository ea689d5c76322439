#include "agent/listener/orphans.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/sys/fs.h"
#include "base/core/str.h"

enum { ENVIRON_MAX = 4 << 20, NAME_MAX_BYTES = 64 };

static void closedirp(DIR **dir)
{
	if (*dir != NULL)
		closedir(*dir);
}

static bool carries(const char *pid, const char *entry)
{
	_cleanup_free_ char *path = xasprintf("/proc/%s/environ", pid);
	_cleanup_(str_done) struct str text = STR_SECRET_INIT(ENVIRON_MAX);
	if (fs_read(AT_FDCWD, path, ENVIRON_MAX, &text, NULL) < 0)
		return false;
	size_t len = strlen(entry);
	for (const char *p = str_peek(&text), *end = p + text.len; p < end; p += strlen(p) + 1)
		if (strncmp(p, entry, len) == 0 && p[len] == '\0')
			return true;
	return false;
}

static bool is_step(const char *pid)
{
	_cleanup_free_ char *path = xasprintf("/proc/%s/comm", pid);
	_cleanup_(str_done) struct str name = STR_INIT(NAME_MAX_BYTES);
	return fs_read(AT_FDCWD, path, NAME_MAX_BYTES, &name, NULL) == 0 && str_starts(str_peek(&name), "davit-step");
}

/* The descriptor is taken before the process is looked at, so that the signal cannot hit another process with its pid.
 */
static void look_at(const char *name, const char *entry, int number, struct orphans *found)
{
	long long pid;
	if (!str_parse_i64(name, 2, INT32_MAX, &pid))
		return;
	_cleanup_close_ int fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
	if (fd < 0 || !carries(name, entry))
		return;
	bool step = is_step(name);
	found->count++;
	found->steps += step;
	if (number != 0 && (!step || number == SIGINT))
		(void)syscall(SYS_pidfd_send_signal, fd, number, NULL, 0);
}

struct orphans orphans_find(const char *tracking_id, int number)
{
	struct orphans found = {0};
	_cleanup_free_ char *entry = xasprintf("RUNNER_TRACKING_ID=%s", tracking_id);
	_cleanup_(closedirp) DIR *dir = opendir("/proc");
	for (struct dirent *e; *tracking_id != '\0' && dir != NULL && (e = readdir(dir)) != NULL;)
		if (isdigit((unsigned char)e->d_name[0]))
			look_at(e->d_name, entry, number, &found);
	return found;
}
