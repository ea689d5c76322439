/* The user that jobs run as. */
#pragma once
#include "base/core/err.h"

/* A name that useradd takes: a to z, 0 to 9, _ and -, not first a digit or -. ERR_INVALID. */
int user_check_name(const char *name, struct err *err);
/* Its home directory; where it will lie for a user who does not exist yet. free() */
char *user_home(const char *name);
/* Makes it, without a password and a login shell, where it does not exist. */
int user_make(const char *name, bool *ret_made, struct err *err);
