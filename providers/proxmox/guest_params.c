#include "providers/proxmox/guest_params.h"

#include "base/core/mem.h"
#include "providers/proxmox/attributes.h"
#include "providers/proxmox/properties.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <string.h>

static bool is_lxc(const json_t *node)
{
	const char *type = json_get_string(node, "type");
	return type != NULL && strcmp(type, "lxc") == 0;
}

static bool is_set_by_config(const struct attribute *a)
{
	return a != NULL && a->form != FORM_DISK && a->form != FORM_FIXED;
}

/* "local-lvm:8": so many GiB are made there. */
static void add_disk(const json_t *to, json_t *params)
{
	const char *storage = json_get_string(to, "storage"), *disk = json_get_string(to, "disk");
	int64_t bytes = disk != NULL ? properties_size(disk) : -1;
	if (storage == NULL || bytes <= 0)
		return;
	json_object_set_new(params, is_lxc(to) ? "rootfs" : "scsi0", json_stringf("%s:%" PRId64, storage, bytes >> 30));
}

static bool wants_cloud_init(const json_t *to)
{
	return json_object_get(to, "ciuser") != NULL || json_object_get(to, "ipconfig0") != NULL ||
	       json_object_get(to, "ssh_public_keys") != NULL;
}

/* Of a virtual machine they are escaped once more inside of the value. */
static void add_keys(const json_t *to, json_t *params)
{
	const char *keys = json_get_string(to, "ssh_public_keys");
	if (keys == NULL)
		return;
	if (is_lxc(to)) {
		json_object_set_new(params, "ssh-public-keys", json_string(keys));
		return;
	}
	char *escaped = curl_easy_escape(NULL, keys, 0);
	json_object_set_new(params, "sshkeys", json_string(escaped != NULL ? escaped : ""));
	curl_free(escaped);
}

static void add_attributes(const json_t *to, json_t *params)
{
	const char *type = json_get_string(to, "type"), *name;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)to, name, value)
	{
		if (is_set_by_config(attribute_find(type, name)))
			json_object_set(params, name, value);
	}
}

json_t *guest_params_create(const json_t *to)
{
	json_t *params = json_pack("{s:O, s:O}", "vmid", json_object_get(to, "vmid"), is_lxc(to) ? "hostname" : "name",
	                           json_object_get(to, "name"));
	const char *status = json_get_string(to, "status"), *storage = json_get_string(to, "storage");
	add_attributes(to, params);
	add_disk(to, params);
	add_keys(to, params);
	if (is_lxc(to)) {
		json_object_set(params, "ostemplate", json_object_get(to, "template"));
		if (json_object_get(to, "unprivileged") != NULL)
			json_object_set(params, "unprivileged", json_object_get(to, "unprivileged"));
	} else if (wants_cloud_init(to) && storage != NULL) {
		json_object_set_new(params, "ide2", json_stringf("%s:cloudinit", storage));
	}
	if (status != NULL && strcmp(status, "running") == 0)
		json_object_set_new(params, "start", json_true());
	return params;
}

json_t *guest_params_clone(const json_t *to, int64_t vmid, const char *source)
{
	const json_t *clone = json_get_object(to, "clone");
	const char *node = json_get_string(to, "node");
	bool full = json_get_bool(clone, "full", true);
	json_t *params = json_pack("{s:I, s:O, s:b}", "newid", (json_int_t)vmid, is_lxc(to) ? "hostname" : "name",
	                           json_object_get(to, "name"), "full", full);
	if (full)
		json_set_string(params, "storage", json_get_string(to, "storage"));
	if (node != NULL && strcmp(node, source) != 0)
		json_set_string(params, "target", node);
	json_set_string(params, "snapname", json_get_string(clone, "snapshot"));
	return params;
}

static void compare_one(const json_t *now, const json_t *to, const char *name, json_t *params, struct str *gone)
{
	const char *type = json_get_string(to, "type");
	json_t *there = json_object_get(now, name), *wanted = json_object_get(to, name);
	if (!is_set_by_config(attribute_find(type, name)) || attribute_fits(type, name, there, wanted))
		return;
	if (wanted != NULL)
		json_object_set(params, name, wanted);
	else
		str_appendf(gone, "%s%s", gone->len > 0 ? "," : "", name);
}

json_t *guest_params_config(const json_t *now, const json_t *from, const json_t *to)
{
	json_t *params = json_object();
	struct str gone _cleanup_(str_done) = STR_INIT(1024);
	const char *name;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)to, name, value) compare_one(now, to, name, params, &gone);
	json_object_foreach((json_t *)(uintptr_t)from, name, value)
	{
		if (json_object_get(to, name) == NULL)
			compare_one(now, to, name, params, &gone);
	}
	if (gone.len > 0)
		json_object_set_new(params, "delete", json_string(str_peek(&gone)));
	if (json_object_size(params) > 0)
		return params;
	json_decref(params);
	return NULL;
}
