#include "base/sys/self.h"

#include "base/core/mem.h"

#include <arpa/inet.h>
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

bool self_has(const struct self *s, const char *value, struct str *why)
{
	struct str unheard _cleanup_(str_done) = STR_INIT(256), *out = why != NULL ? why : &unheard;
	size_t len = strcspn(value, "/");
	if (is_among(&s->cards, value, strlen(value)))
		str_appendf(out, "its network card %s", value);
	else if (is_among(&s->addresses, value, len))
		str_appendf(out, "its address %.*s", (int)len, value);
	else
		return false;
	return true;
}

bool self_has_uuid(const struct self *s, const char *uuid)
{
	return uuid != NULL && s->uuid != NULL && strcasecmp(uuid, s->uuid) == 0;
}
