/* Checks that nobody else can replace a directory under us. Its content is trusted only when nobody but root and this
 * process's user can rename or replace it or any directory on the way. */
#pragma once
#include "base/core/err.h"

/* Each part of the path that exists, links on the way included: owned by root or by this user, and not writable by
 * others unless it is sticky (and then its entry is ours). The root user's directories may not be writable by a group
 * either. ERR_PERMISSION names the part, and whose it is. A missing part is not an error. */
int trust_check(const char *path, struct err *err);
