#include "steps/host.h"

#include "base/fs.h"
#include "base/proc.h"
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
	const char *const places[] = { "/etc/machine-id", "/var/lib/dbus/machine-id" };
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

uint64_t host_start_time(int pid)
{
	return current_source ? 1 : proc_start_time((pid_t)pid);
}

bool host_process_alive(int pid, uint64_t start_time)
{
	return current_source ? current_source->process_alive(pid, start_time) : proc_alive((pid_t)pid, start_time);
}
