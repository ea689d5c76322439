/* "link": a symbolic link, replaced atomically. One to releases/NAME is the switch to that release. */
#include "engine/change/change_priv.h"

#include <string.h>

static const char releases[] = "releases/";

static int apply(struct change_call *x, struct change *c, struct err *err)
{
	if (c->action == ACTION_ADOPT)
		return 0;
	return change_put_link(x->t, c->path, json_get_string(c->after, "link"), node_type_of(c->before) == NODE_FILE,
	                       err);
}

/* Relative links start at their own directory. */
static bool names(const struct change *c, const char *path)
{
	const char *to = json_get_string(c->after, "link");
	if (to == NULL)
		return false;
	if (to[0] == '/')
		return change_path_within(path, to);
	const char *slash = strrchr(c->path, '/');
	_cleanup_free_ char *full = xasprintf("%.*s/%s", slash ? (int)(slash - c->path) : 0, c->path, to);
	return change_path_within(path, full);
}

static const char *release_of(const struct change *c)
{
	const char *to = json_get_string(c->after, "link");
	return to && str_starts(to, releases) ? to + strlen(releases) : NULL;
}

const struct change_type change_link = {
	.name = "link",
	.flags = CHANGE_FILES | CHANGE_SWITCH,
	.compare = change_compare_node,
	.explain = change_explain_node,
	.save = change_save_file,
	.apply = apply,
	.undo = change_restore,
	.names = names,
	.release_of = release_of,
	.alone = change_restore_alone,
	.needs = change_needs_parent,
};
