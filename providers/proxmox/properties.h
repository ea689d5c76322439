/* The values of a guest's configuration that are lists of their own: "name=eth0,bridge=vmbr0,ip=dhcp", "local-lvm:vm-101-disk-0,size=8G". */
#pragma once
#include "base/core/str.h"
#include "base/data/json.h"

enum { PROPERTIES_MAX = 16384 };

/* An object in the order of the text; a value without a name has the name `first` ("volume", "model"). ERR_INVALID: a part says nothing, or a name
 * stands twice. */
int properties_read(const char *text, const char *first, json_t **ret, struct err *err);
void properties_write(const json_t *properties, const char *first, struct str *out);
/* A bare value may be a name of what is there: "virtio" is what "virtio=BC:24:11:00:00:01" is, whose address was made up for it.
 * Is all that `wanted` says so in `there`, which may say more (the address of a card that was made up for it)? */
bool properties_include(const char *there, const char *wanted, const char *first);
/* `wanted`, and what `there` says that `wanted` leaves to the server: the names in `keep`, NULL at the end. free() */
char *properties_merge(const char *there, const char *wanted, const char *first, const char *const *keep);
/* "8G", "512M", "32768K" or a number of bytes; -1: not a size. */
int64_t properties_size(const char *text);
