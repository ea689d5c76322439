/* The service manager, asked by systemctl. */
#pragma once
#include "base/core/err.h"

/* ERR_UNSUPPORTED: systemd does not run here, or not for this user. */
int systemd_check(bool user, struct err *err);
/* The file of the agent's unit. free(); NULL with err: no home directory. */
char *systemd_unit_path(bool user, struct err *err);
/* words: NULL-terminated. `told`: what it says about a failure goes into the error. */
int systemd_call(bool user, const char *const *words, struct err *err);
/* True if `systemctl QUESTION` (is-active, is-enabled) says yes for the agent's unit. */
bool systemd_unit_is(bool user, const char *question);
