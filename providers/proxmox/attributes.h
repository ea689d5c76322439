/* A guest as a node of a change: {"type":"lxc","vmid":101,"name":"web","node":"pve","status":"running","disk":"8G","storage":"local-lvm",
 * "cores":2,"net0":"…", …}, or {"type":"absent"}. What only the making of a guest knows stands beside it, and is not compared with the
 * server: "template", "clone", "ssh_public_keys" of containers. */
#pragma once
#include "providers/proxmox/guest.h"

enum attribute_form {
	FORM_TEXT,
	FORM_NUMBER,
	FORM_FLAG,
	FORM_TAGS,
	FORM_PROPERTIES,
	FORM_DISK, /* only grows */
	FORM_FIXED /* whoever wants it otherwise wants another guest */
};
/* An attribute: its name here and in the server's configuration. */
struct attribute {
	const char *name;
	enum attribute_form form;
	bool lxc, qemu, restarts; /* restarts: a running guest takes it over when it is restarted */
	const char *first;        /* of properties: the name of a value without one */
	const char *privilege;    /* needed to change it */
};
/* "net3" is an attribute as "net0" is. NULL: none of that kind of guest. */
const struct attribute *attribute_find(const char *type, const char *name);
bool attribute_is_compared(const char *name); /* false: only the making knows it */

json_t *guest_node(const struct guest *g);
/* Does what is there do for what is wanted? */
bool attribute_fits(const char *type, const char *name, const json_t *there, const json_t *wanted);
/* The size of a disk as Proxmox writes it: "8G". free() */
char *attribute_size(int64_t bytes);
/* The key of the disk that the guest starts from: "rootfs", "scsi0"; NULL: none. */
const char *attribute_root_disk(const char *type, const json_t *config);
