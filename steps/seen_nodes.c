#include "steps/seen_nodes.h"

void seen_done(struct seen_nodes *s)
{
	for (size_t i = 0; i < s->paths.count; i++)
		node_done(&s->nodes[i]);
	free(s->nodes);
	strv_done(&s->paths);
	*s = (struct seen_nodes) { 0 };
}

static const struct node *find(const struct seen_nodes *s, const char *path)
{
	for (size_t i = 0; i < s->paths.count; i++) {
		if (strcmp(s->paths.items[i], path) == 0)
			return &s->nodes[i];
	}
	return NULL;
}

int seen_fetch(struct seen_nodes *s, struct view *v, const struct strv *paths, struct err *err)
{
	_cleanup_(strv_done) struct strv missing = { 0 };

	for (size_t i = 0; i < paths->count; i++) {
		if (!find(s, paths->items[i]) && !strv_has(&missing, paths->items[i]))
			strv_add(&missing, paths->items[i]);
	}
	if (missing.count == 0)
		return 0;
	s->nodes = xgrow(s->nodes, &s->cap, s->paths.count + missing.count, sizeof(*s->nodes));
	int r = target_stat_all(v, (const char *const *) missing.items, missing.count, s->nodes + s->paths.count, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < missing.count; i++)
		strv_add(&s->paths, missing.items[i]);
	return 0;
}

int seen_stat(struct seen_nodes *s, struct view *v, const char *path, const struct node **ret, struct err *err)
{
	_cleanup_(strv_done) struct strv one = { 0 };

	strv_add(&one, path);
	int r = seen_fetch(s, v, &one, err);
	if (r == 0)
		*ret = find(s, path);
	return r;
}

int seen_is_directory(struct seen_nodes *s, struct view *v, const char *path, bool *ret, struct err *err)
{
	const struct node *n;
	int r = seen_stat(s, v, path, &n, err);

	if (r < 0)
		return r;
	*ret = n->type == NODE_DIR;
	if (n->type != NODE_LINK)
		return 0;
	_cleanup_free_ char *through = xasprintf("%s/.", path);
	r = seen_stat(s, v, through, &n, err);
	if (r == 0)
		*ret = n->type == NODE_DIR;
	return r;
}

void seen_add_way(struct strv *paths, const char *path)
{
	for (const char *slash = path; slash; ) {
		slash = strchr(slash + 1, '/');
		_cleanup_free_ char *part = slash ? xstrndup(path, (size_t) (slash - path)) : xstrdup(path);
		if (!strv_has(paths, part))
			strv_add(paths, part);
	}
}
