/* "remove": removes a file, a link or an empty directory. */
#include "engine/change/change_priv.h"

static int save(struct change_call *x, const struct change *c, struct err *err)
{
	int r = change_save_file(x, c, err);
	return r < 0 ? r : change_save_directory(x, c, err);
}

static int apply(struct change_call *x, struct change *c, struct err *err)
{
	return c->action == ACTION_ADOPT ? 0 : change_absent_is_fine(host_remove(x->t, c->path, err), err);
}

/* What came back into a directory that came back itself has touched its time. */
static int settle(struct change_call *x, const struct change *c, struct err *err)
{
	const struct node_attr time = {.set_mtime = true, .mtime_ns = json_get_int(c->before, "mtime_ns", 0)};
	_cleanup_(node_done) struct node n = {0};
	if (c->action == ACTION_ADOPT || node_type_of(c->before) != NODE_DIR)
		return 0;
	int r = host_stat(&x->t->view, c->path, &n, err);
	if (r < 0 || n.type != NODE_DIR || n.mtime_ns == time.mtime_ns)
		return r;
	return host_set_attr(x->t, c->path, &time, err);
}

const struct change_type change_remove = {
	.name = "remove",
	.flags = CHANGE_FILES,
	.compare = change_compare_node,
	.explain = change_explain_node,
	.save = save,
	.apply = apply,
	.undo = change_restore,
	.settle = settle,
	.alone = change_restore_alone,
	.needs = change_needs_parent,
};
