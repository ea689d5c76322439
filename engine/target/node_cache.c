#include "engine/target/node_cache.h"

void node_cache_done(struct node_cache *s)
{
	for (size_t i = 0; i < s->paths.count; i++)
		node_done(&s->nodes[i]);
	free(s->nodes);
	free(s->digests);
	free(s->slots);
	strv_done(&s->paths);
	*s = (struct node_cache){0};
}

/* ---- by path ---- */

enum { FIRST_SLOTS = 64, NOT_SEEN = -1 };

static size_t hash_of(const char *path)
{
	uint64_t hash = 14695981039346656037u;

	for (; *path; path++)
		hash = (hash ^ (unsigned char)*path) * 1099511628211u;
	return (size_t)(hash ^ hash >> 32);
}

/* The slot of the path's index, or the free slot for it. There is always a free slot. */
static size_t slot_of(const struct node_cache *s, const char *path)
{
	size_t slot = hash_of(path) & (s->slot_count - 1);

	while (s->slots[slot] != 0 && strcmp(s->paths.items[s->slots[slot] - 1], path) != 0)
		slot = (slot + 1) & (s->slot_count - 1);
	return slot;
}

static void fill_slots(struct node_cache *s)
{
	memset(s->slots, 0, s->slot_count * sizeof(*s->slots));
	for (size_t i = 0; i < s->paths.count; i++)
		s->slots[slot_of(s, s->paths.items[i])] = i + 1;
}

static ssize_t find(const struct node_cache *s, const char *path)
{
	size_t slot = s->slot_count > 0 ? slot_of(s, path) : 0;
	return s->slot_count > 0 && s->slots[slot] != 0 ? (ssize_t)(s->slots[slot] - 1) : NOT_SEEN;
}

static void add_path(struct node_cache *s, const char *path)
{
	if (2 * (s->paths.count + 1) > s->slot_count) {
		s->slot_count = s->slot_count > 0 ? 2 * s->slot_count : FIRST_SLOTS;
		free(s->slots);
		s->slots = xcalloc(s->slot_count, sizeof(*s->slots));
		fill_slots(s);
	}
	size_t slot = slot_of(s, path);
	if (s->slots[slot] != 0)
		return;
	strv_add(&s->paths, path);
	s->slots[slot] = s->paths.count;
}

/* ---- looking ---- */

int node_cache_fetch(struct node_cache *s, struct view *v, const struct strv *paths, struct err *err)
{
	size_t before = s->paths.count;

	for (size_t i = 0; i < paths->count; i++)
		add_path(s, paths->items[i]);
	size_t count = s->paths.count - before;
	if (count == 0)
		return 0;
	s->nodes = xgrow(s->nodes, &s->cap, s->paths.count, sizeof(*s->nodes));
	s->digests = xgrow(s->digests, &s->digest_cap, s->paths.count, sizeof(*s->digests));
	for (size_t i = before; i < s->paths.count; i++)
		s->digests[i][0] = '\0';
	int r = target_stat_all(v, (const char *const *)s->paths.items + before, count, s->nodes + before, err);
	if (r == 0)
		return 0;
	while (s->paths.count > before)
		free(s->paths.items[--s->paths.count]);
	fill_slots(s);
	return r;
}

int node_cache_fetch_contents(struct node_cache *s, struct view *v, const struct strv *paths, struct err *err)
{
	size_t count = 0;
	int64_t bytes = 0;
	struct err why = ERR_INIT;
	int r = node_cache_fetch(s, v, paths, err);

	if (r < 0)
		return r;
	const char **names = xcalloc(paths->count + 1, sizeof(*names));
	size_t *which = xcalloc(paths->count + 1, sizeof(*which));
	char(*hex)[65] = xcalloc(paths->count + 1, sizeof(*hex));
	for (size_t i = 0; i < paths->count; i++) {
		ssize_t at = find(s, paths->items[i]);
		if (s->nodes[at].type != NODE_FILE || *paths->items[i] != '/')
			continue;
		names[count] = paths->items[i] + 1;
		which[count++] = (size_t)at;
		bytes += s->nodes[at].size;
	}
	if (count > 1)
		r = target_digests(v, "/", names, count, bytes, hex, &why);
	for (size_t i = 0; r == 0 && i < count; i++)
		memcpy(s->digests[which[i]], hex[i], 65);
	free(names);
	free(which);
	free(hex);
	/* An unreadable one: a request for it by name gets the error. */
	if (r == ERR_CANCELLED || r == ERR_NETWORK || r == ERR_TIMEOUT) {
		if (err)
			*err = why;
		return r;
	}
	return 0;
}

int node_cache_stat(struct node_cache *s, struct view *v, const char *path, const struct node **ret, struct err *err)
{
	_cleanup_(strv_done) struct strv one = {0};

	strv_add(&one, path);
	int r = node_cache_fetch(s, v, &one, err);
	if (r == 0)
		*ret = &s->nodes[find(s, path)];
	return r;
}

int node_cache_look(struct node_cache *s, struct view *v, const char *path, json_t **ret_node, struct err *err)
{
	const struct node *n;
	int r = node_cache_stat(s, v, path, &n, err);

	if (r < 0)
		return err_wrap(err, r, "look at '%s'", path);
	char *digest = s->digests[find(s, path)];
	if (n->type == NODE_FILE && *digest == '\0')
		return target_look(v, path, true, ret_node, err);
	*ret_node = node_to_json(n, *digest ? digest : NULL);
	return 0;
}

int node_cache_is_directory(struct node_cache *s, struct view *v, const char *path, bool *ret, struct err *err)
{
	const struct node *n;
	int r = node_cache_stat(s, v, path, &n, err);

	if (r < 0)
		return r;
	*ret = n->type == NODE_DIR;
	if (n->type != NODE_LINK)
		return 0;
	_cleanup_free_ char *through = xasprintf("%s/.", path);
	r = node_cache_stat(s, v, through, &n, err);
	if (r == 0)
		*ret = n->type == NODE_DIR;
	return r;
}

/* ---- parents ---- */

void node_cache_add_way(struct strv *paths, const char *path)
{
	for (const char *slash = path; slash;) {
		slash = strchr(slash + 1, '/');
		_cleanup_free_ char *part = slash ? xstrndup(path, (size_t)(slash - path)) : xstrdup(path);
		if (!strv_has(paths, part))
			strv_add(paths, part);
	}
}

/* Sorted paths share parents with the previous one: the common ones were added then. */
void node_cache_add_ways(struct strv *paths, const char *const *sorted, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const char *path = sorted[i], *former = i > 0 ? sorted[i - 1] : "";
		size_t same = 0;
		while (path[same] != '\0' && path[same] == former[same])
			same++;
		for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
			/* The previous path has it when it continues with "/" there, or ends. */
			size_t len = (size_t)(slash - path);
			if (len < same || (len == same && (former[len] == '/' || (former[len] == '\0' && len > 0))))
				continue;
			strv_add_take(paths, xstrndup(path, len));
		}
		strv_add(paths, path);
	}
}
