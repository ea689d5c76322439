/* The identity of this machine and boot, as in a lock's record of its owner. Behind an interface, since a simulated power cut is a new boot. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct host_source {
	const char *machine_id, *boot_id, *hostname;
	uint64_t pid_namespace;
	int pid; /* of this process, and how to ask for others */
	bool (*process_alive)(int pid, uint64_t start_time);
};
void host_set_source(const struct host_source *source); /* NULL: the system's */
const char *host_machine_id(void); /* /etc/machine-id, else D-Bus's, else the host's name; never empty */
const char *host_boot_id(void);
const char *host_name(void);
uint64_t host_pid_namespace(void);
int host_pid(void); /* of this process */
/* The process that runs the steps of the job that this process belongs to: the nearest ancestor that is neither a shell nor a program that only
 * starts another one. Under the official runner Runner.Worker, under davit's the worker. */
int host_job_process(void);
uint64_t host_start_time(int pid);
bool host_process_alive(int pid, uint64_t start_time);
