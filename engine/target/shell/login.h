/* The settings of an SSH target as people write them: strings from secrets with a trailing line feed, a port as a string, an
 * address in brackets, paths below the home directory. */
#pragma once
#include "base/ssh/session.h"

#include "schemas/targets/ssh.h"

struct arena;
int shell_login_read(struct arena *a, const struct target_ssh *config, struct ssh_login **ret, struct err *err);
