/* Is a guest the machine that this process runs on? It must not be stopped, restarted, put back or destroyed: that would end the very
 * deployment that does it. */
#pragma once
#include "base/sys/self.h"
#include "providers/proxmox/guest.h"

/* By the UUID and the cards of its configuration, and by the addresses that are written there or that the guest was seen with. why: what of it
 * is this machine's. */
bool self_is(const struct self *s, const struct guest *g, struct str *why);
/* The same, which also asks for the addresses that a container got. */
int self_refuse(struct proxmox *p, const struct guest *g, const char *what, struct wait *w, struct err *err);
