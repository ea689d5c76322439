/* A Proxmox server, or a cluster by one of its nodes, as a target: an API without files (schemas/targets/proxmox.json). */
#pragma once
#include "engine/target/target.h"
#include "providers/proxmox/client.h"

int proxmox_target_new(const struct target_config *config, struct target **ret, struct err *err);
/* The server that a target is; NULL: another kind. Borrowed. */
struct proxmox *proxmox_of_target(const struct view *v);
