/* Davit's records of the snapshots of Scaleway's volumes: rows of the store, by disk and name. Nothing but what they name is put back or removed.
 *   "scaleway-snapshot:volume:data/davit_…" → {"type":"scaleway-snapshot","disk":"volume:data","snapshot":"davit_…","mark":"davit=ID","deployment":ID,"running":true} */
#pragma once
#include "steps/sources/sources.h"

char *disk_record_key(const char *disk, const char *snapshot); /* free() */
json_t *disk_record_row(const json_t *node, const char *deployment);
/* Of that disk, oldest first: an array of rows. */
int disk_records_list(const struct source_call *s, struct view *v, const char *disk, json_t **ret, struct err *err);
/* Does the service still have what the record says, whole? */
int disk_record_holds(struct view *v, const json_t *record, bool *ret, struct err *err);
/* Retention of one disk: beyond `keep`, older than `keep_for`; never the newest good one. */
int disk_records_clean(const struct source_call *s, struct target *t, const char *disk, struct err *err);
