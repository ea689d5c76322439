/* The address by which a container is reached. */
#pragma once
#include "providers/proxmox/guest.h"

/* Waits until one that runs and takes its address from elsewhere has one, and no longer than half a minute. NULL: none. free() */
int address_wait(struct proxmox *p, const struct guest *g, struct wait *w, char **ret, struct err *err);
