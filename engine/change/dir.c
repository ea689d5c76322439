/* "dir": a directory that is made, or gets other attributes. */
#include "engine/change/change_priv.h"

/* Each attribute is as before or as after: an interrupted change of a directory's attributes, or a new directory that has not yet
 * got its own. */
static bool is_between(const struct change *c, const struct node *n)
{
	if (n->type != NODE_DIR)
		return false;
	if (node_type_of(c->before) != NODE_DIR)
		return true;
	const char *const keys[] = {"mode", "owner", "group"};
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		_cleanup_json_ json_t *only_before = json_object(), *only_after = json_object();
		json_t *b = json_object_get(c->before, keys[i]), *a = json_object_get(c->after, keys[i]);
		if (b)
			json_object_set(only_before, keys[i], b);
		if (a)
			json_object_set(only_after, keys[i], a);
		if (!change_same_attributes(only_before, n) && !(a && change_same_attributes(only_after, n)))
			return false;
	}
	return true;
}

static int compare(struct change_call *x, const struct change *c, enum change_match *ret, struct err *err)
{
	_cleanup_(node_done) struct node n = {0};
	int r = change_compare_digests(x, c, NULL, NULL, &n, ret, err);
	if (r == 0 && *ret == MATCH_NEITHER && is_between(c, &n))
		*ret = MATCH_PART;
	return r;
}

static int apply(struct change_call *x, struct change *c, struct err *err)
{
	_cleanup_(str_done) struct str readers = STR_INIT(64 << 10);
	_cleanup_(node_done) struct node n = {0};
	struct target *t = x->t;
	struct node_attr attr;
	if (c->action == ACTION_ADOPT)
		return 0;
	change_attr_of(c, "rx", &attr, &readers);
	if (node_type_of(c->before) == NODE_DIR)
		return host_set_attr(t, c->path, &attr, err);
	int r = host_mkdir(t, c->path, &attr, err);
	if (r != ERR_EXISTS)
		return r;
	r = host_stat(&t->view, c->path, &n, err);
	if (r < 0)
		return r;
	/* Made by a previous try whose reply was lost. */
	if (n.type == NODE_DIR)
		return host_set_attr(t, c->path, &attr, err);
	return err_set(err, ERR_CONFLICT, "'%s' exists but is not a directory", c->path);
}

static int undo(struct change_call *x, const struct change *c, struct err *err)
{
	if (node_type_of(c->before) == NODE_DIR && c->action != ACTION_ADOPT)
		return change_restore_directory(x->t, c, err);
	return change_restore(x, c, err);
}

static void needs(const struct change *c, struct strv *ret)
{
	change_needs_owners(c, ret);
	if (node_type_of(c->before) != NODE_DIR)
		change_needs_parent(c, ret);
}

const struct change_type change_dir = {
	.name = "dir",
	.flags = CHANGE_FILES | CHANGE_EMPTY,
	.compare = compare,
	.explain = change_explain_node,
	.save = change_save_directory,
	.apply = apply,
	.undo = undo,
	.alone = change_restore_alone,
	.needs = needs,
};
