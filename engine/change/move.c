/* "move": a rename to extra.to. */
#include "engine/change/change_priv.h"
#include "engine/alone/alone.h"

static int compare(struct change_call *x, const struct change *c, enum change_match *ret, struct err *err)
{
	const char *to = json_get_string(c->extra, "to");
	_cleanup_(node_done) struct node here = {0};
	_cleanup_(node_done) struct node there = {0};
	if (to == NULL)
		return err_set(err, ERR_PROTOCOL, "a move without its goal");
	int r = host_stat(x->v, c->path, &here, err);
	if (r == 0)
		r = host_stat(x->v, to, &there, err);
	if (r < 0)
		return r;
	if (here.type != NODE_ABSENT && there.type == NODE_ABSENT)
		*ret = MATCH_BEFORE;
	else if (here.type == NODE_ABSENT && there.type != NODE_ABSENT)
		*ret = MATCH_AFTER;
	else
		*ret = MATCH_NEITHER;
	return 0;
}

/* Repeated, it finds nothing at the old place and what it moved at the new one. */
static int move(struct change_call *x, const char *from, const char *to, struct err *err)
{
	_cleanup_(node_done) struct node there = {0};
	int r = host_rename(x->t, from, to, err);
	if (r != ERR_NOT_FOUND || host_stat(x->v, to, &there, NULL) < 0 || there.type == NODE_ABSENT)
		return r;
	err_clear(err);
	return 0;
}

static int apply(struct change_call *x, struct change *c, struct err *err)
{
	return move(x, c->path, json_get_string(c->extra, "to"), err);
}

static int undo(struct change_call *x, const struct change *c, struct err *err)
{
	return move(x, json_get_string(c->extra, "to"), c->path, err);
}

static bool touches(const struct change *c, const char *path)
{
	const char *to = json_get_string(c->extra, "to");
	return to && (change_path_within(to, path) || change_path_within(path, to));
}

static void alone(const struct change *c, struct str *out)
{
	alone_line_back(c, json_get_string(c->extra, "to"), out);
}

const struct change_type change_move = {
	.name = "move",
	.flags = CHANGE_FILES,
	.compare = compare,
	.explain = change_explain_node,
	.apply = apply,
	.undo = undo,
	.touches = touches,
	.alone = alone,
};
