/* The kinds of changes that keep and put back block volumes of Scaleway.
 *
 * "scaleway-snapshot": {"type":"absent"} → a node of a disk with "snapshot":"davit_…" and "mark":"davit=DEPLOYMENT"; extra.restore: its undo puts the volume back first.
 * "scaleway-rollback": the disk with the snapshot of what is replaced → the same with the snapshot that it goes to. "of" is the mark of a snapshot. */
#pragma once
#include "providers/scaleway/disk.h"

extern const struct change_type scaleway_snapshot, scaleway_rollback;

/* A name of davit's: this and the deployment's id. */
#define SNAPSHOT_OF_DAVIT "davit_"
