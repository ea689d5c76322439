/* The service manager that started this process and wants to be told how it is (sd_notify(3)), if there is one. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct supervisor {
	int fd;              /* connected to its socket; -1: nobody wants to know */
	int64_t watchdog_ms; /* tell it WATCHDOG=1 within this time, again and again; 0: not asked for */
	char *name;          /* of that socket; NULL: as fd */
};
#define SUPERVISOR_INIT                                                                                                \
	{                                                                                                              \
		.fd = -1                                                                                               \
	}
/* Takes it out of the environment, so that no child speaks in this process's name. A socket that cannot be reached is no error:
 * the work does not depend on it. */
void supervisor_take(struct supervisor *ret);
/* "READY=1\nSTATUS=…": lines of NAME=VALUE. Never waits. */
void supervisor_tell(const struct supervisor *s, const char *state);
/* Puts it back into the environment, for a program that is executed in this process. */
void supervisor_give_back(const struct supervisor *s);
void supervisor_done(struct supervisor *s);
