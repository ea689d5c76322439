/* Davit's records of the snapshots of guests: rows of the store, by guest and name. Nothing but what they name is put back or removed.
 *   "guest-snapshot:101/davit_…" → {"type":"guest-snapshot","vmid":101,"name":"web","guest":"lxc","snapshot":"davit_…","deployment":ID,
 *   "description":"…","running":true} */
#pragma once
#include "providers/proxmox/guest.h"
#include "steps/sources/sources.h"

char *guest_record_key(int64_t vmid, const char *snapshot); /* free() */
json_t *guest_record_row(const json_t *node, const char *deployment);

/* Of that guest, oldest first: an array of rows. A guest of another name or kind has none of them. */
int guest_records_list(const struct source_call *s, struct view *v, const struct guest *g, json_t **ret,
                       struct err *err);
/* The one of that deployment, its first; NULL: there is none. */
const json_t *guest_records_of(const json_t *records, const char *deployment);
/* Does the server still have what the record says, as it says? */
bool guest_record_holds(const json_t *record, const json_t *rows);
/* Retention of one guest: beyond `keep`, older than `keep_for`; never the newest good one. */
int guest_records_clean(const struct source_call *s, struct target *t, const struct guest *g, struct err *err);
