#include "providers/proxmox/self.h"

#include "base/core/mem.h"
#include "providers/proxmox/properties.h"

#include <string.h>

static bool is_network(const char *key)
{
	return str_starts(key, "net") || str_starts(key, "ipconfig");
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
		if (smbios && self_has_uuid(s, json_get_string(parts, "uuid"))) {
			str_append(why, "its SMBIOS UUID");
			return true;
		}
		json_object_foreach(parts, name, value)
		{
			if (!smbios && self_has(s, json_string_value(value), why))
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
			if (value != NULL && self_has(s, value, why))
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
