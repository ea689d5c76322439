/* The kind of changes "proxmox-guest": a guest is made, changed, replaced or destroyed. Its path is the resource's key, "lxc:web"; its nodes are those
 * of attributes.h. */
#pragma once
#include "engine/change/change_type.h"

extern const struct change_type proxmox_guest;
