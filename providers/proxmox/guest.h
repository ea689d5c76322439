/* A guest as the server has it now. */
#pragma once
#include "providers/proxmox/client.h"
#include "providers/proxmox/upid.h"

struct guest {
	bool there;
	char type[8]; /* "lxc", "qemu" */
	int64_t vmid;
	char node[PROXMOX_NODE_MAX];
	char *name;
	bool running;
	char *lock;      /* what holds it; NULL: nothing */
	json_t *config;  /* as it was set last */
	json_t *waiting; /* names of what waits for a restart */
};
void guest_done(struct guest *g);

/* A row of the cluster's list; not there is no error. hidden (may be NULL): it exists, but this token may not see it. */
int guest_find(struct proxmox *p, int64_t vmid, struct wait *w, struct guest *ret, bool *ret_hidden, struct err *err);
/* The same, with its configuration and state. */
int guest_read(struct proxmox *p, int64_t vmid, struct wait *w, struct guest *ret, struct err *err);
/* By its id, or by a name that no other guest has. ERR_NOT_FOUND: there is none that the token may see; with those that it may. */
int guest_read_named(struct proxmox *p, const char *id_or_name, struct wait *w, struct guest *ret, struct err *err);
/* The ids of the guests that have that name, but for one: "105, 107"; "" none. */
int guest_namesakes(struct proxmox *p, const char *name, int64_t but, struct wait *w, struct str *out, struct err *err);
/* "/nodes/pve/lxc/101" and what comes behind it. free() */
char *guest_path(const struct guest *g, const char *behind);
