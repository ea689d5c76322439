/* What a server has: nodes, storages, templates. Names that are wrong are told with those that exist. */
#pragma once
#include "providers/proxmox/client.h"

/* ERR_NOT_FOUND: no such node, or it is not online; with the nodes there are. */
int inventory_check_node(struct proxmox *p, const char *node, struct wait *w, struct err *err);
/* content: "rootdir", "images". ERR_NOT_FOUND: no such storage on the node, or it takes no such content; with those that do. */
int inventory_check_storage(struct proxmox *p, const char *node, const char *storage, const char *content,
                            struct wait *w, struct err *err);
/* volume: "local:vztmpl/debian-12.tar.zst". ERR_NOT_FOUND with those that are there. */
int inventory_check_template(struct proxmox *p, const char *node, const char *volume, struct wait *w, struct err *err);
