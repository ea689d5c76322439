#include "providers/proxmox/upid.h"

#include <stdlib.h>
#include <string.h>

bool upid_is_node(const char *name)
{
	size_t len = strlen(name);
	return len > 0 && len < PROXMOX_NODE_MAX && name[0] != '-' &&
	       strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

/* The field up to the next colon; false: there is none, or it is too long. */
static bool take_field(const char **at, char *ret, size_t size)
{
	size_t len = strcspn(*at, ":");
	if ((*at)[len] != ':' || len >= size)
		return false;
	memcpy(ret, *at, len);
	ret[len] = '\0';
	*at += len + 1;
	return true;
}

static bool is_hex(const char *text, size_t least, size_t most)
{
	size_t len = strlen(text);
	return len >= least && len <= most && strspn(text, "0123456789ABCDEF") == len;
}

static bool is_plain(const char *text)
{
	for (const char *p = text; *p != '\0'; p++)
		if (*p <= ' ' || *p == '/' || *p == 0x7f)
			return false;
	return true;
}

int upid_read(const char *text, struct upid *ret, struct err *err)
{
	const char *at = text;
	char head[8], pid[16], pstart[16], start[16];
	struct upid u = {0};
	bool good = strlen(text) < UPID_MAX && take_field(&at, head, sizeof(head)) && strcmp(head, "UPID") == 0 &&
	            take_field(&at, u.node, sizeof(u.node)) && upid_is_node(u.node) &&
	            take_field(&at, pid, sizeof(pid)) && is_hex(pid, 8, 8) && take_field(&at, pstart, sizeof(pstart)) &&
	            is_hex(pstart, 8, 9) && take_field(&at, start, sizeof(start)) && is_hex(start, 8, 8) &&
	            take_field(&at, u.type, sizeof(u.type)) && u.type[0] != '\0' && is_plain(u.type) &&
	            take_field(&at, u.id, sizeof(u.id)) && is_plain(u.id) && take_field(&at, u.user, sizeof(u.user)) &&
	            u.user[0] != '\0' && is_plain(u.user) && *at == '\0';
	if (!good)
		return err_set(err, ERR_PROTOCOL, "'%.100s' is not the name of a task", text);
	u.started_s = strtoll(start, NULL, 16);
	*ret = u;
	return 0;
}
