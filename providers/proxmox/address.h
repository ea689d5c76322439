/* The address by which a guest is reached: a container's is known to its node, a virtual machine's to its cloud-init or to the agent in it. */
#pragma once
#include "providers/proxmox/guest.h"

/* Waits until one that runs and takes its address from elsewhere has one: a container half a minute, a virtual machine, which starts first, three
 * minutes, and none longer than one task may take. NULL: none, and `why`. free() */
int address_wait(struct proxmox *p, const struct guest *g, struct wait *w, char **ret, struct str *why,
                 struct err *err);
/* Of a virtual machine whose configuration is that, or will be: can its address become known at all? */
bool address_is_told(const json_t *config);
