/* Instances. Their node: {"type":"scaleway_instance", …, "commercial_type":"DEV1-S", "root_type":"sbs_volume", "root_size":20, "status":"running",
 * "ips":["web-ip"], "volumes":["data"], "security_group":"web", "protected":false, "dynamic_ip":false, "cloud_init":"sha256:…", "ip":"51.15.0.1"}. */
#pragma once
#include "base/sys/self.h"
#include "providers/scaleway/resource_move.h"

/* "running", "stopped", "stopped in place", "starting", "stopping", "locked" and what comes later. Never NULL. */
const char *instance_state(const json_t *object);
/* The volume that it starts from; NULL: none. */
const json_t *instance_root(const json_t *object);
/* The first public IPv4, or else the first public address; NULL: none. */
const char *instance_address(const json_t *object);
/* "sha256:…" of a cloud-init document. free() */
char *instance_digest(const char *text, size_t len);

/* ---- instance_next.c ---- */

/* Is it switched off, or may it be, on the way from one to the other, whatever it is before and behind that? */
bool instance_may_stop(const json_t *before, const json_t *after);
int instance_next(struct scaleway_move *m, const json_t *object, const json_t *now, struct err *err);
/* Switched off, so that it can be removed. */
int instance_clear(struct scaleway_move *m, const json_t *object, struct err *err);

/* ---- instance_links.c: what is attached to it, by its names ---- */

int instance_ips(struct scaleway *s, const json_t *object, struct wait *w, json_t **ret, struct err *err);
int instance_volumes(struct scaleway *s, const json_t *object, struct wait *w, json_t **ret, struct err *err);
int instance_link_ips(struct scaleway_move *m, const json_t *object, const json_t *now, struct err *err);
int instance_link_volumes(struct scaleway_move *m, const json_t *object, const json_t *now, struct err *err);
/* The id of the security group of that name in the project; free() */
int instance_find_group(struct scaleway *s, const char *name, struct wait *w, char **ret, struct err *err);

/* ---- instance_self.c ---- */

/* By its id, its cards and its addresses. why: what of it is this machine's. */
bool instance_is_self(const struct self *self, const json_t *object, struct str *why);
/* ERR_REFUSED: it is the machine that this process runs on. what: "stopped". */
int instance_refuse_self(const json_t *object, const char *what, struct err *err);
