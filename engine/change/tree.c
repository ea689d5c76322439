/* "release" and "snapshot": a directory that its step fills. A release has a manifest beside it (extra.manifest) and
 * directories above it that were made for it (extra.made). */
#include "engine/change/change_priv.h"

#include <string.h>

/* Its manifest beside it belongs to it. */
static int compare(struct change_call *x, const struct change *c, enum change_match *ret, struct err *err)
{
	const char *manifest = json_get_string(c->extra, "manifest");
	const char *const paths[] = {c->path, manifest};
	struct node n[2] = {0};
	int r = target_stat_all(x->v, paths, manifest ? 2 : 1, n, err);
	if (r < 0)
		return r;
	*ret = n[0].type == NODE_ABSENT ? MATCH_BEFORE : n[0].type == NODE_DIR ? MATCH_AFTER : MATCH_NEITHER;
	if (*ret == MATCH_BEFORE && manifest && n[1].type != NODE_ABSENT)
		*ret = MATCH_PART;
	node_done(&n[0]);
	node_done(&n[1]);
	return 0;
}

static int apply(struct change_call *x, struct change *c, struct err *err)
{
	struct node_attr attr;
	change_attr_from(c->after, false, &attr);
	int r = host_mkdir(x->t, c->path, &attr, err);
	if (r != ERR_EXISTS)
		return r;
	err_clear(err);
	return 0;
}

static int undo(struct change_call *x, const struct change *c, struct err *err)
{
	struct target *t = x->t;
	const char *manifest = json_get_string(c->extra, "manifest");
	int r = host_remove_tree(t, c->path, err);
	if (r == 0 && manifest)
		r = change_absent_is_fine(host_remove(t, manifest, err), err);
	return r;
}

static void release_made(const struct change *c, struct strv *ret)
{
	const json_t *made = json_get_array(c->extra, "made");
	for (size_t i = 0; i < json_array_size(made); i++)
		if (json_is_string(json_array_get(made, i)))
			strv_add(ret, json_string_value(json_array_get(made, i)));
}

static void snapshot_made(const struct change *c, struct strv *ret)
{
	const char *slash = strrchr(c->path, '/');
	_cleanup_free_ char *parent =
		slash && slash != c->path ? xstrndup(c->path, (size_t)(slash - c->path)) : xstrdup("/");
	strv_add(ret, parent);
}

static void leftovers(const struct change *c, struct strv *ret)
{
	if (json_get_string(c->extra, "manifest"))
		strv_add(ret, json_get_string(c->extra, "manifest"));
}

const struct change_type change_release = {
	.name = "release",
	.flags = CHANGE_FILES | CHANGE_TREE,
	.compare = compare,
	.explain = change_explain_node,
	.apply = apply,
	.undo = undo,
	.made = release_made,
	.leftovers = leftovers,
	.needs = change_needs_parent,
};

const struct change_type change_snapshot = {
	.name = "snapshot",
	.flags = CHANGE_FILES | CHANGE_TREE | CHANGE_ASIDE,
	.compare = compare,
	.explain = change_explain_node,
	.apply = apply,
	.undo = undo,
	.made = snapshot_made,
	.leftovers = leftovers,
};
