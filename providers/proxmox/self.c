#include "providers/proxmox/self.h"

#include "base/core/mem.h"
#include "providers/proxmox/properties.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static char *read_line(const char *path)
{
	char line[256] = "";
	FILE *f = fopen(path, "re");
	if (f == NULL)
		return NULL;
	bool got = fgets(line, sizeof(line), f) != NULL;
	fclose(f);
	line[strcspn(line, "\r\n")] = '\0';
	return got && line[0] != '\0' ? xstrdup(line) : NULL;
}

static void read_cards(const char *root, struct self *s)
{
	_cleanup_free_ char *dir = xasprintf("%s/sys/class/net", root);
	DIR *cards = opendir(dir);
	for (const struct dirent *e = cards != NULL ? readdir(cards) : NULL; e != NULL; e = readdir(cards)) {
		_cleanup_free_ char *path = xasprintf("%s/%s/address", dir, e->d_name), *address = NULL;
		if (e->d_name[0] != '.')
			address = read_line(path);
		if (address != NULL && strlen(address) == strlen("00:11:22:33:44:55") &&
		    strcmp(address, "00:00:00:00:00:00") != 0)
			strv_add(&s->cards, address);
	}
	if (cards != NULL)
		closedir(cards);
}

static void add_address(struct self *s, const struct ifaddrs *i)
{
	char text[INET6_ADDRSTRLEN] = "";
	if (i->ifa_addr == NULL || (i->ifa_flags & IFF_LOOPBACK) != 0)
		return;
	if (i->ifa_addr->sa_family == AF_INET)
		inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)i->ifa_addr)->sin_addr, text,
		          sizeof(text));
	else if (i->ifa_addr->sa_family == AF_INET6)
		inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)i->ifa_addr)->sin6_addr, text,
		          sizeof(text));
	/* Every machine has addresses of its own links. */
	if (text[0] != '\0' && !str_starts(text, "fe80:"))
		strv_add(&s->addresses, text);
}

void self_read(const char *root, struct self *ret)
{
	struct ifaddrs *all = NULL;
	const char *top = root != NULL ? root : "";
	_cleanup_free_ char *uuid = xasprintf("%s/sys/class/dmi/id/product_uuid", top);
	*ret = (struct self){.uuid = read_line(uuid)};
	read_cards(top, ret);
	if (getifaddrs(&all) != 0)
		return;
	for (const struct ifaddrs *i = all; i != NULL; i = i->ifa_next)
		add_address(ret, i);
	freeifaddrs(all);
}

void self_done(struct self *s)
{
	free(s->uuid);
	strv_done(&s->cards);
	strv_done(&s->addresses);
	*s = (struct self){0};
}

static bool is_among(const struct strv *all, const char *text, size_t len)
{
	for (size_t i = 0; i < all->count; i++)
		if (strlen(all->items[i]) == len && strncasecmp(all->items[i], text, len) == 0)
			return true;
	return false;
}

/* A value may be a card's, an address with the length of its network, or neither. */
static bool is_value_of(const struct self *s, const char *value, struct str *why)
{
	size_t len = strcspn(value, "/");
	if (is_among(&s->cards, value, strlen(value)))
		str_appendf(why, "its network card %s", value);
	else if (is_among(&s->addresses, value, len))
		str_appendf(why, "its address %.*s", (int)len, value);
	else
		return false;
	return true;
}

static bool is_network(const char *key)
{
	return str_starts(key, "net") || str_starts(key, "ipconfig");
}

static bool has_uuid(const struct self *s, const json_t *smbios)
{
	const char *uuid = json_get_string(smbios, "uuid");
	return uuid != NULL && s->uuid != NULL && strcasecmp(uuid, s->uuid) == 0;
}

bool self_is(const struct self *s, const struct guest *g, struct str *why)
{
	const char *key, *name;
	json_t *text, *value;
	json_object_foreach(g->config, key, text)
	{
		json_t *parts _cleanup_json_ = NULL;
		bool smbios = strcmp(key, "smbios1") == 0;
		if ((!smbios && !is_network(key)) || !json_is_string(text) ||
		    properties_read(json_string_value(text), "first", &parts, NULL) < 0)
			continue;
		if (smbios && has_uuid(s, parts)) {
			str_append(why, "its SMBIOS UUID");
			return true;
		}
		json_object_foreach(parts, name, value)
		{
			if (!smbios && is_value_of(s, json_string_value(value), why))
				return true;
		}
	}
	return false;
}

/* A container that runs tells what it got by DHCP; one that is stopped runs nothing of ours. */
static bool is_by_addresses(struct proxmox *p, const struct self *s, const struct guest *g, struct wait *w,
                            struct str *why)
{
	json_t *rows _cleanup_json_ = NULL;
	_cleanup_free_ char *path = guest_path(g, "/interfaces");
	if (strcmp(g->type, "lxc") != 0 || !g->running || proxmox_call(p, NULL, path, NULL, w, &rows, NULL) < 0)
		return false;
	for (size_t i = 0; i < json_array_size(rows); i++) {
		const char *const keys[] = {"inet", "inet6", "hwaddr", "hardware-address"};
		for (size_t k = 0; k < ARRAY_SIZE(keys); k++) {
			const char *value = json_get_string(json_array_get(rows, i), keys[k]);
			if (value != NULL && is_value_of(s, value, why))
				return true;
		}
	}
	return false;
}

int self_refuse(struct proxmox *p, const struct guest *g, const char *what, struct wait *w, struct err *err)
{
	struct str why _cleanup_(str_done) = STR_INIT(512);
	struct self s _cleanup_(self_done) = {0};
	self_read(NULL, &s);
	if (!self_is(&s, g, &why) && !is_by_addresses(p, &s, g, w, &why))
		return 0;
	err_set(err, ERR_REFUSED, "guest %lld '%s' is the machine that davit runs on (%s): it is not %s",
	        (long long)g->vmid, g->name != NULL ? g->name : "", str_peek(&why), what);
	return err_hint(err, ERR_REFUSED, "deploy to it from another machine");
}
