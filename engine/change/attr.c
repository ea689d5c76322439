/* The attributes that a change sets beside the content, and what they need on the target. */
#include "engine/change/change_priv.h"

#include <string.h>

void change_attr_from(const json_t *node, bool with_mtime, struct node_attr *ret)
{
	const char *mode = json_get_string(node, "mode");
	memset(ret, 0, sizeof(*ret));
	if (mode) {
		ret->set_mode = true;
		ret->mode = (mode_t)strtoul(mode, NULL, 8);
	}
	ret->owner = json_get_string(node, "owner");
	ret->group = json_get_string(node, "group");
	if (with_mtime && json_object_get(node, "mtime_ns")) {
		ret->set_mtime = true;
		ret->mtime_ns = json_get_int(node, "mtime_ns", 0);
	}
}

/* A secret is readable only by its named readers: neither an existing file nor its directory adds anybody. With an
 * access list the group bits of `after` are its mask; base_mode is without it. */
void change_attr_of(const struct change *c, const char *rights, struct node_attr *ret, struct str *readers)
{
	const json_t *uids = json_object_get(json_object_get(c->extra, "plan"), "acl");
	const char *base_mode = json_get_string(c->extra, "base_mode");
	change_attr_from(c->after, true, ret);
	ret->fresh = node_type_of(c->before) != NODE_FILE;
	ret->alone = c->secret || base_mode;
	if (json_array_size(uids) == 0 || base_mode == NULL)
		return;
	for (size_t i = 0; i < json_array_size(uids); i++)
		str_appendf(readers, "%su:%s:%s", i == 0 ? "" : ",", json_string_value(json_array_get(uids, i)),
		            rights);
	ret->set_mode = true;
	ret->mode = (mode_t)strtoul(base_mode, NULL, 8);
	ret->acl = str_peek(readers);
}

static void need(struct strv *needs, char kind, const char *what)
{
	_cleanup_free_ char *line = xasprintf("%c %s", kind, what);
	if (what[0] != '\0' && strchr(what, '\n') == NULL && !strv_has(needs, line))
		strv_add(needs, line);
}

void change_needs_owners(const struct change *c, struct strv *ret)
{
	const char *owner = json_get_string(c->after, "owner"), *group = json_get_string(c->after, "group");
	if (owner)
		need(ret, 'u', owner);
	if (group)
		need(ret, 'g', group);
}

void change_needs_parent(const struct change *c, struct strv *ret)
{
	const char *slash = strrchr(c->path, '/');
	if (slash == NULL)
		return;
	_cleanup_free_ char *parent = slash == c->path ? xstrdup("/") : xstrndup(c->path, (size_t)(slash - c->path));
	need(ret, 'p', parent);
}
