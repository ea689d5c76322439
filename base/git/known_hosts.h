/* The host keys that a fetch over SSH knows: the user's own, those that are given, and GitHub's as GitHub publishes them. */
#pragma once
#include "base/core/err.h"
#include "base/core/str.h"

enum { GIT_KNOWN_HOSTS_MAX = 4 << 20 };
/* Lines of known_hosts. given: further ones, or NULL. */
int git_known_hosts(const char *given, struct str *out, struct err *err);
