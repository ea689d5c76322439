/* What a token may do, asked before anything is changed. */
#pragma once
#include "providers/proxmox/client.h"

/* path: "/vms/101", "/storage/local-lvm". wanted: privileges, NULL at the end. ERR_PERMISSION names all that are missing. */
int rights_check(struct proxmox *p, const char *path, const char *const *wanted, struct wait *w, struct err *err);
