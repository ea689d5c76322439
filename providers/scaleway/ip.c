/* Flexible IPs. They have no name: a tag has it. */
#include "base/core/mem.h"
#include "providers/scaleway/resource_move.h"

#include <string.h>

static int ip_node(struct scaleway *s, const json_t *object, struct wait *w, json_t *ret, struct err *err)
{
	const char *type = json_get_string(object, "type"), *address = json_get_string(object, "address");
	(void)s;
	(void)w;
	(void)err;
	json_object_set_new(ret, "family",
	                    json_string(type != NULL && strcmp(type, "routed_ipv6") == 0 ? "ipv6" : "ipv4"));
	json_set_string(ret, "address", address != NULL ? address : json_get_string(object, "prefix"));
	json_set_string(ret, "reverse", json_get_string(object, "reverse"));
	return 0;
}

static int ip_body(struct scaleway_move *m, json_t *body, struct err *err)
{
	const char *family = json_get_string(m->to, "family");
	(void)err;
	json_object_set_new(body, "type", json_stringf("routed_%s", family != NULL ? family : "ipv4"));
	return 0;
}

static int ip_next(struct scaleway_move *m, const json_t *object, const json_t *now, struct err *err)
{
	json_t *body _cleanup_json_ = json_object(), *reverse = json_object_get(m->to, "reverse");
	_cleanup_free_ char *path = object_path(m->s, m->kind, object_id(object), "");
	move_add_tags(m, object, now, body);
	if (move_wants(m, now, "reverse"))
		json_object_set(body, "reverse", reverse != NULL ? reverse : json_null());
	if (json_object_size(body) == 0)
		return MOVE_DONE;
	int r = move_ask(m, "PATCH", path, body, NULL, err);
	return r < 0 ? r : MOVE_MORE;
}

const struct scaleway_kind scaleway_kind_ip = {
	.name = "scaleway_ip",
	.word = "IP",
	.tagged_name = true,
	.path = "ips",
	.list = "ips",
	.wrap = "ip",
	.lost = "its address is given back, and may be somebody else's at once",
	.node = ip_node,
	.body = ip_body,
	.next = ip_next,
};
