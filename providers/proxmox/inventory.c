#include "providers/proxmox/inventory.h"

#include "base/core/mem.h"
#include "providers/proxmox/upid.h"

#include <string.h>

enum { LISTED = 20, LIST_MAX = 400 };

static void add_name(struct str *out, size_t *count, const char *name)
{
	if (name == NULL || (*count)++ >= LISTED)
		return;
	str_appendf(out, "%s%.80s", out->len > 0 ? ", " : "", name);
}

static const char *or_none(const struct str *names)
{
	return names->len > 0 ? str_peek(names) : "none that this token may see";
}

int inventory_check_node(struct proxmox *p, const char *node, struct wait *w, struct err *err)
{
	json_t *rows _cleanup_json_ = NULL;
	struct str names _cleanup_(str_done) = STR_INIT(LIST_MAX);
	size_t count = 0;
	int r = proxmox_call(p, NULL, "/nodes", NULL, w, &rows, err);
	for (size_t i = 0; r == 0 && i < json_array_size(rows); i++) {
		const char *name = json_get_string(json_array_get(rows, i), "node");
		const char *status = json_get_string(json_array_get(rows, i), "status");
		add_name(&names, &count, name);
		if (name == NULL || strcmp(name, node) != 0)
			continue;
		if (status != NULL && strcmp(status, "online") == 0)
			return 0;
		return err_set(err, ERR_NOT_FOUND, "the node '%s' of %s is %s", node, proxmox_host(p),
		               status != NULL ? status : "in no known state");
	}
	if (r < 0)
		return r;
	err_set(err, ERR_NOT_FOUND, "%s has no node '%s'", proxmox_host(p), node);
	return err_hint(err, ERR_NOT_FOUND, "its nodes: %s", or_none(&names));
}

static bool takes(const json_t *row, const char *content)
{
	const char *all = json_get_string(row, "content");
	size_t len = strlen(content);
	for (const char *at = all; at != NULL && *at != '\0'; at += strcspn(at, ",") + (at[strcspn(at, ",")] == ','))
		if (strcspn(at, ",") == len && strncmp(at, content, len) == 0)
			return json_get_int(row, "enabled", 1) != 0 && json_get_int(row, "active", 1) != 0;
	return false;
}

int inventory_check_storage(struct proxmox *p, const char *node, const char *storage, const char *content,
                            struct wait *w, struct err *err)
{
	json_t *rows _cleanup_json_ = NULL;
	struct str names _cleanup_(str_done) = STR_INIT(LIST_MAX);
	_cleanup_free_ char *path = xasprintf("/nodes/%s/storage", node);
	size_t count = 0;
	bool there = false;
	int r = proxmox_call(p, NULL, path, NULL, w, &rows, err);
	for (size_t i = 0; r == 0 && i < json_array_size(rows); i++) {
		const json_t *row = json_array_get(rows, i);
		const char *name = json_get_string(row, "storage");
		bool same = name != NULL && strcmp(name, storage) == 0;
		there = there || same;
		if (!takes(row, content))
			continue;
		if (same)
			return 0;
		add_name(&names, &count, name);
	}
	if (r < 0)
		return r;
	err_set(err, ERR_NOT_FOUND,
	        there ? "the storage '%s' of the node '%s' takes no '%s'"
	              : "there is no storage '%s' on the node '%s' for '%s'",
	        storage, node, content);
	return err_hint(err, ERR_NOT_FOUND, "storages there for '%s': %s", content, or_none(&names));
}

int inventory_check_template(struct proxmox *p, const char *node, const char *volume, struct wait *w, struct err *err)
{
	json_t *rows _cleanup_json_ = NULL, *params _cleanup_json_ = json_pack("{s:s}", "content", "vztmpl");
	struct str names _cleanup_(str_done) = STR_INIT(LIST_MAX);
	const char *colon = strchr(volume, ':');
	size_t count = 0;
	if (colon == NULL || colon == volume)
		return err_set(err, ERR_INVALID, "'%s' is not a template: STORAGE:vztmpl/FILE", volume);
	_cleanup_free_ char *storage = xstrndup(volume, (size_t)(colon - volume)), *segment = proxmox_segment(storage);
	int r = inventory_check_storage(p, node, storage, "vztmpl", w, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *path = xasprintf("/nodes/%s/storage/%s/content", node, segment);
	r = proxmox_call(p, NULL, path, params, w, &rows, err);
	for (size_t i = 0; r == 0 && i < json_array_size(rows); i++) {
		const char *name = json_get_string(json_array_get(rows, i), "volid");
		if (name != NULL && strcmp(name, volume) == 0)
			return 0;
		add_name(&names, &count, name);
	}
	if (r < 0)
		return r;
	err_set(err, ERR_NOT_FOUND, "there is no template '%s' on the node '%s'", volume, node);
	return err_hint(err, ERR_NOT_FOUND, "templates there: %s", or_none(&names));
}
