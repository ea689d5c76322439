/* The host keys that a fetch over SSH knows: the user's own, those that are given, GitHub's as GitHub publishes them, and the machine's. */
#pragma once
#include "base/core/err.h"
#include "base/core/str.h"

enum { GIT_KNOWN_HOSTS_MAX = 4 << 20 };
/* Lines of known_hosts. given: further ones, or NULL. machine: with those of /etc/ssh, which ssh looks at by itself. */
int git_known_hosts(const char *given, bool machine, struct str *out, struct err *err);
