/* Disks that are kept by snapshots: a block volume by its name, "volume:data", or the root volume of an instance, "instance:web". A way back makes a
 * new volume from a snapshot, lets it take the old one's place while the instance is off, and removes the old one: the service puts nothing back in place. */
#pragma once
#include "providers/scaleway/resource_move.h"

struct disk {
	json_t *volume; /* NULL: it does not exist */
	json_t *server; /* that it is attached to; NULL: none */
	char slot[8];   /* of that: "0" */
};
void disk_done(struct disk *d);
/* ERR_REFUSED: it is no block volume, or its name is not the only one; not there is no error. */
int disk_read(struct scaleway *s, const char *key, struct wait *w, struct disk *ret, struct err *err);
/* For people: "volume 'data'", "root volume of 'web'". free() */
char *disk_words(const char *key);
/* A node of a change: {"type":TYPE,"disk":KEY,"volume":ID,"name":…,"instance":ID,"slot":"0","running":true,"snapshot":…}. The caller's. */
json_t *disk_node(const struct disk *d, const char *type, const char *key, const char *snapshot, bool running);
bool disk_is_running(const struct disk *d);

/* ---- snapshots of the service's own ---- */

extern const struct scaleway_kind scaleway_kind_snapshot;
/* By its name and the mark of the deployment that took it; NULL in *ret: none. */
int disk_find_snapshot(struct scaleway *s, const char *name, const char *mark, struct wait *w, json_t **ret,
                       struct err *err);
bool disk_is_whole(const json_t *snapshot);

/* ---- disk_move.c: a snapshot takes a volume's place ---- */

/* before and after: nodes of one disk; of each the snapshot, its mark ("of") and the power state; after.mark: of what is made. */
struct disk_way {
	struct change_call *x;
	struct scaleway *s;
	const json_t *before, *after;
	bool back; /* to what is before: to the former volume, or where that is gone to its snapshot */
};
enum disk_place { DISK_BEFORE, DISK_AFTER, DISK_BETWEEN, DISK_LOST };
int disk_look(const struct disk_way *way, enum disk_place *ret, struct err *err);
int disk_go(const struct disk_way *way, struct err *err);
