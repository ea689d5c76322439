/* Is an instance the machine that this process runs on? Its interfaces have its public addresses, its card has the address that the service tells. */
#include "base/core/mem.h"
#include "providers/scaleway/instance.h"

#include <string.h>

static bool has_any(const struct self *self, const json_t *list, const char *member, struct str *why)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *value = json_get_string(json_array_get(list, i), member);
		if (value != NULL && self_has(self, value, why))
			return true;
	}
	return false;
}

bool instance_is_self(const struct self *self, const json_t *object, struct str *why)
{
	static const char *const members[] = {"mac_address", "private_ip"};
	if (self_has_uuid(self, object_id(object))) {
		str_append(why, "its SMBIOS UUID");
		return true;
	}
	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		const char *value = json_get_string(object, members[i]);
		if (value != NULL && self_has(self, value, why))
			return true;
	}
	return has_any(self, json_get_array(object, "public_ips"), "address", why) ||
	       has_any(self, json_get_array(object, "private_nics"), "mac_address", why);
}

int instance_refuse_self(const json_t *object, const char *what, struct err *err)
{
	struct str why _cleanup_(str_done) = STR_INIT(512);
	struct self self _cleanup_(self_done) = {0};
	const char *name = json_get_string(object, "name");
	self_read(NULL, &self);
	if (!instance_is_self(&self, object, &why))
		return 0;
	err_set(err, ERR_REFUSED, "the instance '%s' is the machine that davit runs on (%s): it is not %s",
	        name != NULL ? name : object_id(object), str_peek(&why), what);
	return err_hint(err, ERR_REFUSED, "deploy to it from another machine");
}
