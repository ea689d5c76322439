#include "base/sys/host.h"

#include "base/sys/fs.h"
#include "base/sys/proc.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct host_source *current_source;

void host_set_source(const struct host_source *source)
{
	current_source = source;
}

const char *host_name(void)
{
	static char name[256];
	if (current_source)
		return current_source->hostname;
	if (*name == '\0' && (gethostname(name, sizeof(name) - 1) != 0 || *name == '\0'))
		snprintf(name, sizeof(name), "localhost");
	return name;
}

const char *host_machine_id(void)
{
	static char id[80];
	if (current_source)
		return current_source->machine_id;
	const char *const places[] = {"/etc/machine-id", "/var/lib/dbus/machine-id"};
	for (size_t i = 0; *id == '\0' && i < ARRAY_SIZE(places); i++) {
		_cleanup_(str_done) struct str text = STR_INIT(64);
		if (fs_read(AT_FDCWD, places[i], 64, &text, NULL) == 0 && text.len >= 32)
			snprintf(id, sizeof(id), "%.32s", text.data);
	}
	if (*id == '\0')
		snprintf(id, sizeof(id), "host:%.70s", host_name());
	return id;
}

const char *host_boot_id(void)
{
	return current_source ? current_source->boot_id : proc_boot_id();
}

uint64_t host_pid_namespace(void)
{
	return current_source ? current_source->pid_namespace : proc_pid_namespace();
}

int host_pid(void)
{
	return current_source ? current_source->pid : (int)getpid();
}

/* Name and parent of a process, from /proc/PID/stat: "12 (a name) S 7 ...". */
static bool read_process(int pid, char name[32], int *ret_parent)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/stat", pid);
	_cleanup_(str_done) struct str text = STR_INIT(4096);
	if (fs_read(AT_FDCWD, path, 4095, &text, NULL) < 0)
		return false;
	const char *begin = strchr(str_peek(&text), '('), *end = strrchr(str_peek(&text), ')');
	if (begin == NULL || end == NULL || end < begin)
		return false;
	snprintf(name, 32, "%.*s", (int)(end - begin - 1), begin + 1);
	return sscanf(end + 1, " %*c %d", ret_parent) == 1;
}

static bool passes_on(const char *name)
{
	const char *const names[] = {"sh",   "bash",    "dash",    "ash",  "busybox", "zsh",  "ksh",       "env",
	                             "sudo", "runuser", "setpriv", "nice", "timeout", "tini", "davit-step"};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

int host_job_process(void)
{
	char name[32];
	int pid = (int)getppid(), parent = 0;
	while (pid > 1 && read_process(pid, name, &parent) && passes_on(name) && parent > 1)
		pid = parent;
	return pid;
}

uint64_t host_start_time(int pid)
{
	return current_source ? 1 : proc_start_time((pid_t)pid);
}

bool host_process_alive(int pid, uint64_t start_time)
{
	return current_source ? current_source->process_alive(pid, start_time) : proc_alive((pid_t)pid, start_time);
}
