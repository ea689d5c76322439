/* The name of a task: "UPID:NODE:PID:PSTART:STARTTIME:TYPE:ID:USER:". */
#pragma once
#include "base/core/err.h"
#include <stdbool.h>
#include <stdint.h>

enum { UPID_MAX = 512, UPID_FIELD = 128, PROXMOX_NODE_MAX = 64 };

struct upid {
	char node[PROXMOX_NODE_MAX];
	int64_t started_s;
	char type[UPID_FIELD]; /* "vzcreate" */
	char id[UPID_FIELD];   /* "101"; "" of tasks of a node */
	char user[UPID_FIELD]; /* "deploy@pve!davit" */
};
/* ERR_PROTOCOL: it is none. */
int upid_read(const char *text, struct upid *ret, struct err *err);
/* What may stand in a path as a node's name: letters, digits and dashes. */
bool upid_is_node(const char *name);
