#include "providers/proxmox/attributes.h"

#include "base/core/mem.h"
#include "providers/proxmox/properties.h"

#include <inttypes.h>
#include <string.h>

/* A name that ends in 0 stands for all numbers. */
static const struct attribute attributes[] = {
	{"cores", FORM_NUMBER, true, false, false, NULL, "VM.Config.CPU"},
	{"cores", FORM_NUMBER, false, true, true, NULL, "VM.Config.CPU"},
	{"sockets", FORM_NUMBER, false, true, true, NULL, "VM.Config.CPU"},
	{"cpu", FORM_TEXT, false, true, true, NULL, "VM.Config.CPU"},
	{"memory", FORM_NUMBER, true, false, false, NULL, "VM.Config.Memory"},
	{"memory", FORM_NUMBER, false, true, true, NULL, "VM.Config.Memory"},
	{"swap", FORM_NUMBER, true, false, false, NULL, "VM.Config.Memory"},
	{"net0", FORM_PROPERTIES, true, true, false, "model", "VM.Config.Network"},
	{"ipconfig0", FORM_PROPERTIES, false, true, true, NULL, "VM.Config.Cloudinit"},
	{"nameserver", FORM_TEXT, true, false, false, NULL, "VM.Config.Network"},
	{"nameserver", FORM_TEXT, false, true, true, NULL, "VM.Config.Network"},
	{"searchdomain", FORM_TEXT, true, false, false, NULL, "VM.Config.Network"},
	{"searchdomain", FORM_TEXT, false, true, true, NULL, "VM.Config.Network"},
	{"features", FORM_PROPERTIES, true, false, true, NULL, "VM.Allocate"},
	{"agent", FORM_PROPERTIES, false, true, true, "enabled", "VM.Config.Options"},
	{"ciuser", FORM_TEXT, false, true, true, NULL, "VM.Config.Cloudinit"},
	{"ostype", FORM_TEXT, false, true, true, NULL, "VM.Config.Options"},
	{"scsihw", FORM_TEXT, false, true, true, NULL, "VM.Config.HWType"},
	{"onboot", FORM_FLAG, true, true, false, NULL, "VM.Config.Options"},
	{"protection", FORM_FLAG, true, true, false, NULL, "VM.Config.Options"},
	{"description", FORM_TEXT, true, true, false, NULL, "VM.Config.Options"},
	{"tags", FORM_TAGS, true, true, false, NULL, "VM.Config.Options"},
	{"disk", FORM_DISK, true, true, false, NULL, "VM.Config.Disk"},
	{"unprivileged", FORM_FIXED, true, false, false, NULL, "VM.Allocate"},
	{"storage", FORM_FIXED, true, true, false, NULL, "VM.Allocate"},
	{"node", FORM_FIXED, true, true, false, NULL, "VM.Allocate"},
};
static const char *const only_made[] = {"template", "clone", "ssh_public_keys"};

static bool same_name(const struct attribute *a, const char *name)
{
	size_t len = strlen(a->name) - 1;
	if (strcmp(a->name, name) == 0)
		return true;
	return a->name[len] == '0' && strncmp(a->name, name, len) == 0 && name[len] != '\0' &&
	       strlen(name) <= len + 2 && strspn(name + len, "0123456789") == strlen(name + len);
}

const struct attribute *attribute_find(const char *type, const char *name)
{
	bool lxc = strcmp(type, "lxc") == 0;
	for (size_t i = 0; i < ARRAY_SIZE(attributes); i++)
		if ((lxc ? attributes[i].lxc : attributes[i].qemu) && same_name(&attributes[i], name))
			return &attributes[i];
	return NULL;
}

bool attribute_is_compared(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(only_made); i++)
		if (strcmp(only_made[i], name) == 0)
			return false;
	return true;
}

char *attribute_size(int64_t bytes)
{
	static const char units[] = "TGMK";
	for (size_t i = 0; units[i] != '\0'; i++) {
		int64_t unit = INT64_C(1) << (10 * (strlen(units) - i));
		if (bytes >= unit && bytes % unit == 0)
			return xasprintf("%" PRId64 "%c", bytes / unit, units[i]);
	}
	return xasprintf("%" PRId64, bytes);
}

const char *attribute_root_disk(const char *type, const json_t *config)
{
	static const char *const disks[] = {"scsi0", "virtio0", "sata0", "ide0"};
	if (strcmp(type, "lxc") == 0)
		return "rootfs";
	for (size_t i = 0; i < ARRAY_SIZE(disks); i++) {
		const char *disk = json_get_string(config, disks[i]);
		if (disk != NULL && strstr(disk, "media=cdrom") == NULL)
			return disks[i];
	}
	return NULL;
}

static void add_disk(const struct guest *g, json_t *node)
{
	const char *key = attribute_root_disk(g->type, g->config),
		   *text = key != NULL ? json_get_string(g->config, key) : NULL;
	json_t *disk _cleanup_json_ = NULL;
	if (text == NULL || properties_read(text, "volume", &disk, NULL) < 0)
		return;
	const char *volume = json_get_string(disk, "volume"), *size = json_get_string(disk, "size");
	int64_t bytes = size != NULL ? properties_size(size) : -1;
	if (volume != NULL && strchr(volume, ':') != NULL && volume[0] != '/')
		json_object_set_new(node, "storage", json_string_lossy(volume, strcspn(volume, ":")));
	_cleanup_free_ char *shown = bytes > 0 ? attribute_size(bytes) : NULL;
	if (shown != NULL)
		json_object_set_new(node, "disk", json_string(shown));
}

/* In one form: the server gives numbers and flags as numbers or as texts. */
static json_t *value_of(const struct attribute *a, const json_t *value)
{
	const char *text = json_string_value(value);
	long long number = json_integer_value(value);
	if (a->form != FORM_NUMBER && a->form != FORM_FLAG && a->form != FORM_FIXED)
		return text != NULL ? json_string(text) : json_is_integer(value) ? json_stringf("%lld", number) : NULL;
	/* "current=2048" of newer servers. */
	if (text != NULL && str_starts(text, "current="))
		text += strlen("current=");
	if (text != NULL && !str_parse_i64(text, 0, INT32_MAX, &number))
		return NULL;
	return a->form == FORM_NUMBER ? json_integer(number) : json_boolean(number != 0);
}

json_t *guest_node(const struct guest *g)
{
	const char *key;
	json_t *value;
	if (!g->there)
		return json_pack("{s:s}", "type", "absent");
	json_t *node = json_pack("{s:s, s:I, s:s, s:s}", "type", g->type, "vmid", (json_int_t)g->vmid, "node", g->node,
	                         "status", g->running ? "running" : "stopped");
	json_set_string(node, "name", g->name);
	json_object_foreach(g->config, key, value)
	{
		const struct attribute *a = attribute_find(g->type, key);
		json_t *own =
			a != NULL && a->form != FORM_DISK && strcmp(key, "node") != 0 && strcmp(key, "storage") != 0
				? value_of(a, value)
				: NULL;
		if (own != NULL)
			json_object_set_new(node, key, own);
	}
	add_disk(g, node);
	return node;
}

static bool has_tag(const char *tags, const char *tag, size_t len)
{
	for (const char *at = tags; *at != '\0'; at += strspn(at, ";, ")) {
		size_t own = strcspn(at, ";, ");
		if (own == len && strncmp(at, tag, len) == 0)
			return true;
		at += own;
	}
	return false;
}

static bool tags_within(const char *a, const char *b)
{
	for (const char *at = a + strspn(a, ";, "); *at != '\0'; at += strspn(at, ";, ")) {
		size_t len = strcspn(at, ";, ");
		if (!has_tag(b, at, len))
			return false;
		at += len;
	}
	return true;
}

static const char *text_in(const json_t *value)
{
	return json_is_string(value) ? json_string_value(value) : "";
}

/* The server ends a description with a line feed. */
static bool same_lines(const char *a, const char *b)
{
	size_t x = strlen(a), y = strlen(b);
	while (x > 0 && a[x - 1] == '\n')
		x--;
	while (y > 0 && b[y - 1] == '\n')
		y--;
	return x == y && strncmp(a, b, x) == 0;
}

bool attribute_fits(const char *type, const char *name, const json_t *there, const json_t *wanted)
{
	const struct attribute *a = attribute_find(type, name);
	if (a == NULL || there == NULL || wanted == NULL)
		return there == wanted || json_equal(there, wanted) ||
		       (a != NULL && a->form == FORM_FLAG && !json_is_true(there) && !json_is_true(wanted));
	switch (a->form) {
	case FORM_TAGS:
		return tags_within(text_in(there), text_in(wanted)) && tags_within(text_in(wanted), text_in(there));
	case FORM_PROPERTIES:
		return properties_include(text_in(there), text_in(wanted), a->first);
	case FORM_DISK:
		return properties_size(text_in(there)) == properties_size(text_in(wanted));
	case FORM_TEXT:
		return same_lines(text_in(there), text_in(wanted));
	default:
		return json_equal(there, wanted);
	}
}
