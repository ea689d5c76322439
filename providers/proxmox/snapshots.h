/* The snapshots of a guest, as its server lists them, and what stands in the way of another one. A row that is called "current" is the present
 * state: its parent is the snapshot that it comes from. */
#pragma once
#include "providers/proxmox/guest.h"

enum { SNAPSHOTS_NAME_MAX = 40 };

int snapshots_read(struct proxmox *p, const struct guest *g, struct wait *w, json_t **ret, struct err *err);
/* NULL: there is none of that name. */
const json_t *snapshots_find(const json_t *rows, const char *name);
/* What the present state comes from; "": from none. */
const char *snapshots_parent(const json_t *rows);
/* False: it is being made or removed, or a task died while it was. */
bool snapshots_is_whole(const json_t *row);
/* Is its description that one? The server ends each line of it. */
bool snapshots_is_described(const json_t *row, const char *description);
/* Those that were taken after it: "a, b"; "" none. */
void snapshots_after(const json_t *rows, const char *name, struct str *out);

/* ERR_REFUSED: a template, a lock, a storage or a mount point that has no snapshots, each by its name. */
int snapshots_check(struct proxmox *p, const struct guest *g, struct wait *w, struct err *err);
/* The storages of its disks of which only the newest snapshot can be put back: "local-zfs (zfspool)"; "" none that the token may see. */
int snapshots_newest_only(struct proxmox *p, const struct guest *g, struct wait *w, struct str *out, struct err *err);
