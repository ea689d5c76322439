#include "providers/scaleway/instance.h"

#include "base/core/mem.h"
#include "base/secret/digest.h"
#include "providers/scaleway/reply.h"
#include "providers/scaleway/volume.h"

#include <inttypes.h>
#include <string.h>

enum { CLOUD_INIT_MAX = 1 << 20 };

const char *instance_state(const json_t *object)
{
	const char *state = json_get_string(object, "state");
	return state != NULL ? state : "";
}

const json_t *instance_root(const json_t *object)
{
	return json_get_object(json_object_get(object, "volumes"), "0");
}

const char *instance_address(const json_t *object)
{
	const json_t *all = json_get_array(object, "public_ips");
	const char *first = NULL;
	for (size_t i = 0; i < json_array_size(all); i++) {
		const char *address = json_get_string(json_array_get(all, i), "address");
		if (address != NULL && strchr(address, ':') == NULL)
			return address;
		first = first != NULL ? first : address;
	}
	return first;
}

char *instance_digest(const char *text, size_t len)
{
	char hex[DIGEST_HEX];
	digest_of(text, len, hex);
	return xasprintf("sha256:%s", hex);
}

static bool is_settled(const json_t *object)
{
	const char *state = instance_state(object);
	return strcmp(state, "starting") != 0 && strcmp(state, "stopping") != 0;
}

static const char *why_broken(const json_t *object)
{
	return strcmp(instance_state(object), "locked") == 0 ? "is locked by Scaleway" : NULL;
}

/* ---- looked at ---- */

/* A local volume says its size in the instance; of a block volume only the other interface knows it. */
static int add_root(struct scaleway *s, const json_t *object, struct wait *w, json_t *ret, struct err *err)
{
	const struct object_call o = {s, &scaleway_kind_volume, w};
	const json_t *root = instance_root(object);
	const char *type = json_get_string(root, "volume_type"), *id = json_get_string(root, "id");
	json_t *volume _cleanup_json_ = NULL;
	if (root == NULL || type == NULL)
		return 0;
	json_object_set_new(ret, "root_type", json_string(type));
	int r = strcmp(type, "sbs_volume") == 0 ? object_get(&o, id, &volume, err) : 0;
	int64_t gb = volume_gb(volume != NULL ? volume : root);
	if (r == 0 && gb >= 0)
		json_object_set_new(ret, "root_size", json_integer(gb));
	return r;
}

static int add_cloud_init(struct scaleway *s, const json_t *object, struct wait *w, json_t *ret, struct err *err)
{
	struct str text _cleanup_(str_done) = STR_INIT(CLOUD_INIT_MAX);
	_cleanup_free_ char *path = object_path(s, &scaleway_kind_instance, object_id(object), "/user_data/cloud-init");
	int r = scaleway_get_text(s, path, w, &text, err);
	if (r == ERR_NOT_FOUND) {
		err_clear(err);
		return 0;
	}
	if (r == 0 && text.len > 0) {
		_cleanup_free_ char *digest = instance_digest(str_peek(&text), text.len);
		json_object_set_new(ret, "cloud_init", json_string(digest));
	}
	return r;
}

static int add_links(struct scaleway *s, const json_t *object, struct wait *w, json_t *ret, struct err *err)
{
	json_t *ips _cleanup_json_ = NULL, *volumes _cleanup_json_ = NULL;
	int r = instance_ips(s, object, w, &ips, err);
	if (r == 0)
		r = instance_volumes(s, object, w, &volumes, err);
	if (r < 0)
		return r;
	json_object_set(ret, "ips", ips);
	json_object_set(ret, "volumes", volumes);
	return 0;
}

static int instance_node(struct scaleway *s, const json_t *object, struct wait *w, json_t *ret, struct err *err)
{
	json_set_string(ret, "commercial_type", json_get_string(object, "commercial_type"));
	json_set_string(ret, "security_group", json_get_string(json_object_get(object, "security_group"), "name"));
	json_object_set_new(ret, "status", json_string(instance_state(object)));
	json_object_set_new(ret, "protected", json_boolean(json_get_bool(object, "protected", false)));
	json_object_set_new(ret, "dynamic_ip", json_boolean(json_get_bool(object, "dynamic_ip_required", false)));
	json_set_string(ret, "ip", instance_address(object));
	int r = add_root(s, object, w, ret, err);
	if (r == 0)
		r = add_links(s, object, w, ret, err);
	return r == 0 ? add_cloud_init(s, object, w, ret, err) : r;
}

/* ---- made ---- */

static json_t *root_of(const json_t *to)
{
	const char *type = json_get_string(to, "root_type");
	return json_pack("{s:{s:s, s:I}}", "0", "volume_type", type != NULL ? type : "sbs_volume", "size",
	                 (json_int_t)(json_get_int(to, "root_size", 0) * VOLUME_GB));
}

static int instance_body(struct scaleway_move *m, json_t *body, struct err *err)
{
	const char *group = json_get_string(m->to, "security_group");
	_cleanup_free_ char *group_id = NULL;
	int r = group != NULL ? instance_find_group(m->s, group, m->x->v->wait, &group_id, err) : 0;
	if (r < 0)
		return r;
	json_set_string(body, "commercial_type", json_get_string(m->to, "commercial_type"));
	json_set_string(body, "image", json_get_string(m->to, "image_id"));
	json_set_string(body, "security_group", group_id);
	json_object_set_new(body, "boot_type", json_string("local"));
	json_object_set_new(body, "dynamic_ip_required", json_boolean(json_get_bool(m->to, "dynamic_ip", false)));
	json_object_set_new(body, "volumes", root_of(m->to));
	return 0;
}

/* ---- what stays behind it ---- */

static const char root_word[] = "root=";

static char *instance_names(const json_t *object)
{
	const json_t *root = instance_root(object);
	const char *id = json_get_string(root, "id"), *type = json_get_string(root, "volume_type");
	return reply_is_id(id) && type != NULL
	               ? xasprintf("%s%s:%s", root_word, strcmp(type, "sbs_volume") == 0 ? "block" : "local", id)
	               : NULL;
}

static const struct scaleway_kind local_volume = {
	.name = "local_volume", .word = "local volume", .path = "volumes", .list = "volumes", .wrap = "volume"};

/* For a moment it still says that the instance has it. */
static int wait_until_free(const struct object_call *o, const char *id, json_t **ret, struct err *err)
{
	enum { LOOKS = 20, PAUSE_MS = 500 };
	for (int i = 0;; i++) {
		int r = object_settle(o, id, ret, err);
		if (r < 0 || *ret == NULL || !volume_is_used(*ret))
			return r;
		json_decref(TAKE(*ret));
		if (i + 1 == LOOKS)
			return err_set(err, ERR_CONFLICT, "the root volume %s is used by something else by now", id);
		r = wait_aside(o->wait, PAUSE_MS, err);
		if (r < 0)
			return r;
	}
}

static int look_at_root(struct scaleway *s, const char *word, struct wait *w, char **ret, struct err *err)
{
	json_t *volume _cleanup_json_ = NULL;
	const char *id = strchr(word, ':') + 1;
	bool block = str_starts(word, "block:");
	const struct object_call o = {s, block ? &scaleway_kind_volume : &local_volume, w};
	int r = block ? wait_until_free(&o, id, &volume, err) : object_get(&o, id, &volume, err);
	if (r == 0 && volume != NULL)
		*ret = object_path(s, o.kind, id, "");
	return r;
}

/* Only roots of instances that this change made or removed stand there. */
static int instance_left(struct scaleway *s, const char *task, struct wait *w, char **ret, struct err *err)
{
	int r = 0;
	for (const char *at = strstr(task, root_word); r == 0 && *ret == NULL && at != NULL;
	     at = strstr(at + 1, root_word)) {
		const char *begin = at + strlen(root_word);
		_cleanup_free_ char *word = xstrndup(begin, strcspn(begin, " "));
		if (strchr(word, ':') != NULL && reply_is_id(strchr(word, ':') + 1))
			r = look_at_root(s, word, w, ret, err);
	}
	return r;
}

const struct scaleway_kind scaleway_kind_instance = {
	.name = "scaleway_instance",
	.word = "instance",
	.path = "servers",
	.list = "servers",
	.wrap = "server",
	.lost = "its root volume is lost for good",
	.settled = is_settled,
	.broken = why_broken,
	.node = instance_node,
	.body = instance_body,
	.next = instance_next,
	.clear = instance_clear,
	.names = instance_names,
	.left = instance_left,
};
