/* What this machine knows of itself: by that it is told from others that an interface lists. */
#pragma once
#include "base/core/str.h"

struct self {
	char *uuid;        /* of its SMBIOS; NULL: not told to this user */
	struct strv cards; /* hardware addresses of network cards */
	struct strv addresses;
};
/* root: where /sys is found; NULL: "/". */
void self_read(const char *root, struct self *ret);
void self_done(struct self *s);
bool self_has_uuid(const struct self *s, const char *uuid);
/* A card's address, or an address with or without the length of its network. why (may be NULL): which of them it is. */
bool self_has(const struct self *s, const char *value, struct str *why);
