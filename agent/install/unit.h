/* The unit of systemd that runs the agent. */
#pragma once
#include "base/core/err.h"
#include "base/core/str.h"

#define UNIT_NAME "davit-agent.service"

struct unit {
	bool user;               /* of a user's own service manager, which can shut off less */
	bool privileged_jobs;    /* jobs may become root and change this machine */
	const char *program;     /* davit, an absolute path */
	const char *worker_user; /* NULL: jobs run as the agent's own user */
	const char *worker_home;
	const char *state;    /* $DAVIT_STATE; NULL: where it lies by default */
	struct strv writable; /* directories that jobs write to beside their own, absolute */
	int slots;            /* 0: not given */
};
/* ERR_INVALID: a path that a unit cannot hold. */
int unit_text(const struct unit *u, struct str *out, struct err *err);
/* True if davit wrote that unit. */
bool unit_is_own(const char *text);
