/* "remove": a file, a link or an empty directory goes. */
#include "engine/change/change_priv.h"

#include <string.h>

static int save(struct change_call *x, const struct change *c, struct err *err)
{
	int r = change_save_file(x, c, err);
	return r < 0 ? r : change_save_directory(x, c, err);
}

static int apply(struct change_call *x, struct change *c, struct err *err)
{
	return c->action == ACTION_ADOPT ? 0 : change_absent_is_fine(host_remove(x->t, c->path, err), err);
}

/* What was removed comes back into its directory, whose time is not to be that of the undo: it may be one that came back before. */
static int undo(struct change_call *x, const struct change *c, struct err *err)
{
	struct target *t = x->t;
	if (c->action == ACTION_ADOPT)
		return 0;
	const char *slash = strrchr(c->path, '/');
	_cleanup_free_ char *directory = slash == c->path ? xstrdup("/") : xstrndup(c->path, (size_t)(slash - c->path));
	_cleanup_(node_done) struct node n = {0};
	int r = host_stat(&t->view, directory, &n, err);
	if (r == 0)
		r = change_restore(x, c, err);
	if (r < 0 || n.type != NODE_DIR)
		return r;
	/* Somebody else's directory keeps the time that it has. */
	const struct node_attr time = {.set_mtime = true, .mtime_ns = n.mtime_ns};
	if (host_set_attr(t, directory, &time, err) == ERR_PERMISSION)
		err_clear(err);
	return 0;
}

const struct change_type change_remove = {
	.name = "remove",
	.flags = CHANGE_FILES,
	.compare = change_compare_node,
	.explain = change_explain_node,
	.save = save,
	.apply = apply,
	.undo = undo,
	.needs = change_needs_parent,
};
