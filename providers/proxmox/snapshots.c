#include "providers/proxmox/snapshots.h"

#include "base/core/mem.h"
#include "providers/proxmox/properties.h"

#include <inttypes.h>
#include <string.h>

enum { DEPTH_MAX = 1000 };

int snapshots_read(struct proxmox *p, const struct guest *g, struct wait *w, json_t **ret, struct err *err)
{
	_cleanup_free_ char *path = guest_path(g, "/snapshot");
	int r = proxmox_call(p, NULL, path, NULL, w, ret, err);
	if (r == 0 && !json_is_array(*ret)) {
		json_decref(TAKE(*ret));
		r = err_set(err, ERR_PROTOCOL, "%s: the list of snapshots is no list", path);
	}
	return r;
}

static const json_t *row_of(const json_t *rows, const char *name)
{
	for (size_t i = 0; i < json_array_size(rows); i++) {
		const char *own = json_get_string(json_array_get(rows, i), "name");
		if (own != NULL && strcmp(own, name) == 0)
			return json_array_get(rows, i);
	}
	return NULL;
}

const json_t *snapshots_find(const json_t *rows, const char *name)
{
	return strcmp(name, "current") == 0 ? NULL : row_of(rows, name);
}

const char *snapshots_parent(const json_t *rows)
{
	const char *parent = json_get_string(row_of(rows, "current"), "parent");
	return parent != NULL ? parent : "";
}

bool snapshots_is_whole(const json_t *row)
{
	const char *state = json_get_string(row, "snapstate");
	return state == NULL || state[0] == '\0';
}

bool snapshots_is_described(const json_t *row, const char *description)
{
	const char *own = json_get_string(row, "description");
	size_t len = strlen(description);
	return own != NULL && strncmp(own, description, len) == 0 && own[len + strspn(own + len, "\r\n")] == '\0';
}

/* The tree may be a loop where the server is not what it should be. */
static bool descends(const json_t *rows, const json_t *row, const char *name)
{
	for (int i = 0; row != NULL && i < DEPTH_MAX; i++) {
		const char *parent = json_get_string(row, "parent");
		if (parent == NULL)
			return false;
		if (strcmp(parent, name) == 0)
			return true;
		row = snapshots_find(rows, parent);
	}
	return false;
}

void snapshots_after(const json_t *rows, const char *name, struct str *out)
{
	int64_t taken = json_get_int(snapshots_find(rows, name), "snaptime", 0);
	for (size_t i = 0; i < json_array_size(rows); i++) {
		const json_t *row = json_array_get(rows, i);
		const char *own = json_get_string(row, "name");
		if (own == NULL || strcmp(own, "current") == 0 || strcmp(own, name) == 0)
			continue;
		if (json_get_int(row, "snaptime", 0) > taken || descends(rows, row, name))
			str_appendf(out, "%s%.*s", out->len > 0 ? ", " : "", SNAPSHOTS_NAME_MAX, own);
	}
}

/* ---- its disks ---- */

static bool is_numbered(const char *key, const char *prefix)
{
	size_t len = strlen(prefix);
	return strncmp(key, prefix, len) == 0 && key[len] != '\0' &&
	       strspn(key + len, "0123456789") == strlen(key + len);
}

static bool is_disk(const char *type, const char *key)
{
	static const char *const prefixes[] = {"scsi", "virtio", "sata", "ide", "efidisk", "tpmstate"};
	if (strcmp(type, "lxc") == 0)
		return strcmp(key, "rootfs") == 0 || is_numbered(key, "mp");
	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
		if (is_numbered(key, prefixes[i]))
			return true;
	return false;
}

/* "local-lvm:vm-101-disk-0", "/srv/data"; NULL: it is no disk, or a drive for CDs. free() */
static char *volume_of(const struct guest *g, const char *key, const json_t *value)
{
	json_t *parts _cleanup_json_ = NULL;
	if (!is_disk(g->type, key) || !json_is_string(value) ||
	    properties_read(json_string_value(value), "volume", &parts, NULL) < 0)
		return NULL;
	const char *volume = json_get_string(parts, "volume"), *media = json_get_string(parts, "media");
	if (volume == NULL)
		volume = json_get_string(parts, "file");
	return volume == NULL || (media != NULL && strcmp(media, "cdrom") == 0) ? NULL : xstrdup(volume);
}

/* name → type of those that the token may see */
static int read_storages(struct proxmox *p, const char *node, struct wait *w, json_t **ret, struct err *err)
{
	json_t *rows _cleanup_json_ = NULL;
	_cleanup_free_ char *path = xasprintf("/nodes/%s/storage", node);
	int r = proxmox_call(p, NULL, path, NULL, w, &rows, err);
	if (r < 0)
		return r;
	*ret = json_object();
	for (size_t i = 0; i < json_array_size(rows); i++) {
		const char *name = json_get_string(json_array_get(rows, i), "storage"),
			   *type = json_get_string(json_array_get(rows, i), "type");
		if (name != NULL && type != NULL)
			json_object_set_new(*ret, name, json_string(type));
	}
	return 0;
}

static bool is_among(const char *const *all, const char *name)
{
	for (size_t i = 0; name != NULL && all[i] != NULL; i++)
		if (strcmp(all[i], name) == 0)
			return true;
	return false;
}

typedef void disk_visit(const char *key, const char *volume, const char *storage, const char *type, struct str *out);
static void each_disk(const struct guest *g, const json_t *storages, disk_visit *on, struct str *out)
{
	const char *key;
	json_t *value;
	json_object_foreach(g->config, key, value)
	{
		_cleanup_free_ char *volume = volume_of(g, key, value);
		if (volume == NULL)
			continue;
		_cleanup_free_ char *storage = xstrndup(volume, strcspn(volume, ":"));
		on(key, volume, storage, json_get_string(storages, storage), out);
	}
}

/* ---- what stands in the way ---- */

static void add_without(const char *key, const char *volume, const char *storage, const char *type, struct str *out)
{
	static const char *const with[] = {"lvmthin", "zfspool", "zfs", "rbd", "btrfs", NULL};
	const char *comma = out->len > 0 ? ", " : "";
	if (volume[0] == '/')
		str_appendf(out, "%s`%s` mounts %.200s of the node", comma, key, volume);
	else if (!is_among(with, type))
		str_appendf(out, "%s`%s` lies on '%.80s'%s%.40s%s", comma, key, storage, type != NULL ? " (" : "",
		            type != NULL ? type : "", type != NULL ? ")" : "");
}

static int refuse_storages(struct proxmox *p, const struct guest *g, struct wait *w, struct err *err)
{
	json_t *storages _cleanup_json_ = NULL;
	struct str why _cleanup_(str_done) = STR_INIT(4096);
	if (read_storages(p, g->node, w, &storages, NULL) < 0)
		storages = NULL;
	each_disk(g, storages, add_without, &why);
	err_set(err, ERR_REFUSED, "guest %" PRId64 " '%s' cannot have snapshots%s%s", g->vmid,
	        g->name != NULL ? g->name : "", why.len > 0 ? ": " : "", str_peek(&why));
	return err_hint(
		err, ERR_REFUSED,
		"storages of ZFS, LVM-thin, Ceph RBD and btrfs have them, and disks in qcow2; a directory of the "
		"node that is mounted into a container has none");
}

static int check_feature(struct proxmox *p, const struct guest *g, struct wait *w, struct err *err)
{
	json_t *answer _cleanup_json_ = NULL, *params _cleanup_json_ = json_pack("{s:s}", "feature", "snapshot");
	_cleanup_free_ char *path = guest_path(g, "/feature");
	int r = proxmox_call(p, NULL, path, params, w, &answer, err);
	if (r < 0)
		return r;
	return json_get_bool(answer, "hasFeature", false) || json_get_int(answer, "hasFeature", 0) > 0
	               ? 0
	               : refuse_storages(p, g, w, err);
}

int snapshots_check(struct proxmox *p, const struct guest *g, struct wait *w, struct err *err)
{
	const char *name = g->name != NULL ? g->name : "";
	if (json_get_int(g->config, "template", 0) != 0)
		return err_set(err, ERR_REFUSED, "guest %" PRId64 " '%s' is a template, which takes no snapshots",
		               g->vmid, name);
	if (g->lock != NULL) {
		err_set(err, ERR_REFUSED, "guest %" PRId64 " '%s' is locked (%.40s)", g->vmid, name, g->lock);
		return err_hint(err, ERR_REFUSED, "another operation holds it: try again when that has ended");
	}
	return check_feature(p, g, w, err);
}

static void add_newest_only(const char *key, const char *volume, const char *storage, const char *type, struct str *out)
{
	/* LVM that is not thin has them as a chain of volumes, from Proxmox VE 9 on. */
	static const char *const types[] = {"zfspool", "zfs", "lvm", NULL};
	_cleanup_free_ char *text = xasprintf("'%.80s' (%.40s)", storage, type != NULL ? type : "");
	(void)key;
	(void)volume;
	if (is_among(types, type) && strstr(str_peek(out), text) == NULL)
		str_appendf(out, "%s%s", out->len > 0 ? ", " : "", text);
}

int snapshots_newest_only(struct proxmox *p, const struct guest *g, struct wait *w, struct str *out, struct err *err)
{
	json_t *storages _cleanup_json_ = NULL;
	int r = read_storages(p, g->node, w, &storages, err);
	if (r == 0)
		each_disk(g, storages, add_newest_only, out);
	return r;
}
