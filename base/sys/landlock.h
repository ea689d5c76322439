/* Landlock (Linux 5.19 and later) by its three system calls: a thread gives up rights for itself and for all its
 * children, for good. Behind such walls no process outside is traced or read through /proc. The calls need no library, and
 * <linux/landlock.h> of the machine that builds may be older than the kernel that runs. */
#pragma once
#include "base/core/err.h"

enum {
	LANDLOCK_PROCESSES = 2, /* memory, environment and descriptors of processes outside are closed */
	LANDLOCK_FILES = 3,     /* files and directories that are not allowed are closed too */
	LANDLOCK_SIGNALS = 6,   /* processes outside get no signal, abstract sockets outside no connection */
};

/* The Landlock version of the running kernel; 0: none. */
int landlock_abi(void);

struct landlock_plan {
	const char *const *closed; /* directories to close, with all below; NULL: no walls for files */
	const char *const *open;   /* open directories below a closed one; NULL: none */
	bool signals;              /* only if the kernel has LANDLOCK_SIGNALS */
};
/* Paths are absolute and real, without links. Rights are given, never taken: every entry beside the path to a closed directory is allowed at
 * this moment. Entries made later in a directory on that path are not reachable, and such a directory is not listed. Returns a
 * descriptor. ERR_UNSUPPORTED: the kernel does not have it. */
int landlock_prepare(const struct landlock_plan *plan, struct err *err);
/* This thread goes behind them. Programs with a set-user-id bit (sudo) give no rights from now on. */
int landlock_enter(int rules, struct err *err);
