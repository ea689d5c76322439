/* The kinds of changes that keep and put back guests.
 *
 * A snapshot: {"type":"absent"} → {"type":"snapshot","guest":"lxc","vmid":101,"name":"web","node":"pve","snapshot":"davit_…",
 * "description":"…","running":true,"vmstate":false}; extra.restore: its undo puts the guest back first.
 * A way back: {"type":"state","guest":"lxc","vmid":101,"name":"web","node":"pve","snapshot":FROM,"running":true} → the same with the snapshot
 * that it goes to; extra.former: FROM is what was there right before, and the undo goes back to it.
 * extra.seen of both: the newest rollback of the guest before. */
#pragma once
#include "engine/change/change_type.h"
#include "providers/proxmox/snapshot_move.h"

extern const struct change_type proxmox_snapshot, proxmox_rollback;

/* snapshot: a name of davit's, SNAPSHOT_PREFIX and the deployment's id. */
#define SNAPSHOT_PREFIX "davit_"
json_t *snapshot_node(const struct guest *g, const char *type, const char *snapshot, bool running);
/* Does a list of ids and names name the guest of a record? */
bool snapshot_is_named(const struct change *c, const json_t *guests);
