#include "providers/scaleway/disk.h"

#include "base/core/mem.h"
#include "providers/scaleway/instance.h"
#include "providers/scaleway/reply.h"

#include <string.h>

void disk_done(struct disk *d)
{
	json_decref(d->volume);
	json_decref(d->server);
	*d = (struct disk){0};
}

bool disk_is_running(const struct disk *d)
{
	return d->server != NULL && strcmp(instance_state(d->server), "stopped") != 0;
}

static const char *name_of(const char *key)
{
	const char *colon = strchr(key, ':');
	return colon != NULL ? colon + 1 : key;
}

char *disk_words(const char *key)
{
	return xasprintf(str_starts(key, "instance:") ? "root volume of '%s'" : "volume '%s'", name_of(key));
}

/* ---- found ---- */

static int find_one(const struct object_call *o, const char *name, json_t **ret, struct err *err)
{
	json_t *all _cleanup_json_ = NULL;
	int r = object_find(o, name, &all, err);
	if (r < 0 || json_array_size(all) == 0)
		return r;
	if (json_array_size(all) > 1)
		return err_set(err, ERR_REFUSED, "%zu of the project's objects of the kind %s are called '%s'",
		               json_array_size(all), o->kind->word, name);
	return object_get(o, object_id(json_array_get(all, 0)), ret, err);
}

static int take_root(struct scaleway *s, struct wait *w, struct disk *d, struct err *err)
{
	const struct object_call o = {s, &scaleway_kind_volume, w};
	const json_t *root = instance_root(d->server);
	const char *type = json_get_string(root, "volume_type");
	snprintf(d->slot, sizeof(d->slot), "0");
	if (root != NULL && type != NULL && strcmp(type, "sbs_volume") == 0)
		return object_get(&o, object_id(root), &d->volume, err);
	err_set(err, ERR_REFUSED, "the root volume of '%s' is %s, which cannot be kept like this",
	        json_get_string(d->server, "name"), type != NULL ? type : "not there");
	return err_hint(err, ERR_REFUSED, "only block volumes (sbs_volume) can");
}

static int take_user(struct scaleway *s, struct wait *w, struct disk *d, struct err *err)
{
	const struct object_call o = {s, &scaleway_kind_instance, w};
	const json_t *reference = json_array_get(json_get_array(d->volume, "references"), 0);
	const char *id = json_get_string(reference, "product_resource_id"), *key;
	json_t *slot;
	if (d->volume == NULL || !reply_is_id(id))
		return 0;
	int r = object_get(&o, id, &d->server, err);
	json_object_foreach(json_object_get(d->server, "volumes"), key, slot)
	{
		const char *own = object_id(slot);
		if (own != NULL && strcmp(own, object_id(d->volume)) == 0)
			snprintf(d->slot, sizeof(d->slot), "%s", key);
	}
	return r;
}

int disk_read(struct scaleway *s, const char *key, struct wait *w, struct disk *ret, struct err *err)
{
	bool root = str_starts(key, "instance:");
	const struct object_call o = {s, root ? &scaleway_kind_instance : &scaleway_kind_volume, w};
	*ret = (struct disk){0};
	int r = find_one(&o, name_of(key), root ? &ret->server : &ret->volume, err);
	if (r == 0 && root && ret->server != NULL)
		r = take_root(s, w, ret, err);
	else if (r == 0 && !root)
		r = take_user(s, w, ret, err);
	if (r < 0)
		disk_done(ret);
	return r;
}

json_t *disk_node(const struct disk *d, const char *type, const char *key, const char *snapshot, bool running)
{
	json_t *node = json_pack("{s:s, s:s, s:s, s:s, s:b}", "type", type, "disk", key, "volume", object_id(d->volume),
	                         "snapshot", snapshot, "running", running);
	json_set_string(node, "name", json_get_string(d->volume, "name"));
	if (d->server != NULL) {
		json_set_string(node, "instance", object_id(d->server));
		json_set_string(node, "slot", d->slot);
	}
	return node;
}

/* ---- snapshots ---- */

static const char *status_of(const json_t *snapshot)
{
	const char *status = json_get_string(snapshot, "status");
	return status != NULL ? status : "";
}

static bool is_settled(const json_t *snapshot)
{
	return strcmp(status_of(snapshot), "creating") != 0 && strcmp(status_of(snapshot), "deleting") != 0;
}

bool disk_is_whole(const json_t *snapshot)
{
	return strcmp(status_of(snapshot), "available") == 0 || strcmp(status_of(snapshot), "in_use") == 0;
}

const struct scaleway_kind scaleway_kind_snapshot = {.name = "scaleway_snapshot",
                                                     .word = "snapshot",
                                                     .block = true,
                                                     .path = "snapshots",
                                                     .list = "snapshots",
                                                     .settled = is_settled};

int disk_find_snapshot(struct scaleway *s, const char *name, const char *mark, struct wait *w, json_t **ret,
                       struct err *err)
{
	const struct object_call o = {s, &scaleway_kind_snapshot, w};
	json_t *all _cleanup_json_ = NULL;
	int r = object_find(&o, name, &all, err);
	for (size_t i = 0; r == 0 && i < json_array_size(all); i++) {
		json_t *one = json_array_get(all, i);
		if (*ret == NULL && object_has_mark(one, mark))
			*ret = json_incref(one);
	}
	return r;
}
