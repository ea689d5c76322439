/* Landlock (Linux 5.19 and later) by its three system calls: a thread gives up rights for itself and for all that it
 * starts, for good. Behind such walls no process outside is traced or read through /proc. The calls need no library, and
 * <linux/landlock.h> of the machine that builds may be older than the kernel that runs. */
#pragma once
#include "base/core/err.h"

enum {
	LANDLOCK_PROCESSES = 2, /* memory, environment and descriptors of processes outside are closed */
	LANDLOCK_FILES = 3,     /* so are files and directories that are not allowed */
	LANDLOCK_SIGNALS = 6,   /* processes outside get no signal, abstract sockets outside no connection */
};

/* What the running kernel has; 0: nothing. */
int landlock_abi(void);

struct landlock_plan {
	const char *const *closed; /* directories that are not reached, with all below; NULL: no walls for files */
	const char *const *open;   /* directories below a closed one that are; NULL: none */
	bool signals;              /* stand where the kernel has LANDLOCK_SIGNALS */
};
/* Paths are absolute and real, without links. Rights are given, never taken: everything that stands beside the way to a closed directory is allowed at
 * this moment. What is made later in a directory on that way is not reached, and such a directory is not listed. Returns a
 * descriptor. ERR_UNSUPPORTED: the kernel does not have it. */
int landlock_prepare(const struct landlock_plan *plan, struct err *err);
/* This thread goes behind them. Programs with a set-user-id bit (sudo) give no rights from now on. */
int landlock_enter(int rules, struct err *err);
