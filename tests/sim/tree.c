/* A target's files: what was written, and what of it is durable. A power cut decides entry by entry. */
#include "sim/sim.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

bool is_within(const char *dir, const char *path)
{
	size_t len = strlen(dir);
	return strncmp(dir, path, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

struct snode *stree_find(struct stree *t, const char *path)
{
	for (int i = 0; i < t->count; i++)
		if (strcmp(t->nodes[i].path, path) == 0)
			return &t->nodes[i];
	return NULL;
}

struct snode *stree_set(struct stree *t, const char *path, enum node_type type, uint16_t mode,
                        const struct blob *content)
{
	struct snode *n = stree_find(t, path);
	if (n == NULL) {
		if (t->count == SIM_NODES) {
			sim_violation("a target holds more than %d names", SIM_NODES);
			return &t->nodes[0];
		}
		n = &t->nodes[t->count++];
		memset(n, 0, sizeof(*n));
		snprintf(n->path, sizeof(n->path), "%s", path);
	}
	n->type = (uint8_t)type;
	n->mode = mode;
	n->content = content;
	n->synced = n->acl = NULL;
	n->mtime_ns = (world->mono_ms + world->wall_offset_ms) * 1000000;
	return n;
}

void stree_drop(struct stree *t, struct snode *n)
{
	*n = t->nodes[--t->count];
}

bool stree_has_children(struct stree *t, const char *path)
{
	for (int i = 0; i < t->count; i++)
		if (is_within(path, t->nodes[i].path) && strcmp(t->nodes[i].path, path) != 0)
			return true;
	return false;
}

void stree_copy(struct stree *to, const struct stree *from)
{
	to->count = from->count;
	memcpy(to->nodes, from->nodes, sizeof(from->nodes[0]) * (size_t)from->count);
}

static bool same(const struct snode *a, const struct snode *b)
{
	return a->type == b->type && a->mode == b->mode && a->uid == b->uid && a->gid == b->gid &&
	       a->content == b->content && a->acl == b->acl;
}

/* Content that was not synced: all of it, a part of what came last, or nothing. */
static void tear(struct snode *n)
{
	if (n->type != NODE_FILE || n->content == n->synced || n->content == NULL)
		return;
	uint32_t from = n->synced && n->synced->len <= n->content->len ? n->synced->len : 0;
	switch (sim_below(3)) {
	case 0:
		break;
	case 1:
		n->content = sim_blob(n->content->data, from + (uint32_t)sim_below(n->content->len - from + 1));
		break;
	default:
		n->content = n->synced ? n->synced : sim_blob("", 0);
		break;
	}
	n->synced = n->content;
}

static bool parent_is_dir(struct stree *t, const char *path)
{
	char parent[SIM_PATH];
	snprintf(parent, sizeof(parent), "%s", path);
	char *slash = strrchr(parent, '/');
	if (slash == parent || slash == NULL)
		return true;
	*slash = '\0';
	const struct snode *n = stree_find(t, parent);
	return n && n->type == NODE_DIR;
}

static void drop_orphans(struct stree *t)
{
	for (bool again = true; again;) {
		again = false;
		for (int i = t->count - 1; i >= 0; i--)
			if (!parent_is_dir(t, t->nodes[i].path)) {
				stree_drop(t, &t->nodes[i]);
				again = true;
			}
	}
}

static void back_to_durable(struct starget *t, const char *path)
{
	const struct snode *d = stree_find(&t->durable, path);
	struct snode *n = stree_find(&t->now, path);
	if (d && n)
		*n = *d;
	else if (d && t->now.count < SIM_NODES)
		t->now.nodes[t->now.count++] = *d;
	else if (n)
		stree_drop(&t->now, n);
}

static void make_durable(struct starget *t, const char *path)
{
	struct snode *d = stree_find(&t->durable, path);
	struct snode *n = stree_find(&t->now, path);
	if (n)
		tear(n);
	if (d && n)
		*d = *n;
	else if (n && t->durable.count < SIM_NODES)
		t->durable.nodes[t->durable.count++] = *n;
	else if (d)
		stree_drop(&t->durable, d);
}

void stree_make_durable(struct starget *t, const struct snode *n)
{
	struct snode *d = stree_find(&t->durable, n->path);
	if (d)
		*d = *n;
	else if (t->durable.count < SIM_NODES)
		t->durable.nodes[t->durable.count++] = *n;
}

/* As a file system's journal keeps its order: a name that is durable lies in a directory that is. */
void stree_parents_durable(struct starget *t, const char *path)
{
	char dir[SIM_PATH];
	snprintf(dir, sizeof(dir), "%s", path);
	for (char *slash = strchr(dir + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		const struct snode *n = stree_find(&t->now, dir);
		if (n && stree_find(&t->durable, dir) == NULL && t->durable.count < SIM_NODES)
			t->durable.nodes[t->durable.count++] = *n;
		*slash = '/';
	}
}

/* A rename happened or it did not: both names tell the same. Once one is lost, those after it are too, as in a journal. */
static void cut_renames(struct starget *t)
{
	bool kept = true;
	for (int i = 0; i < t->rename_count; i++) {
		kept = kept && sim_below(2) == 0;
		if (kept) {
			make_durable(t, t->renames[i].from);
			make_durable(t, t->renames[i].to);
		} else {
			back_to_durable(t, t->renames[i].from);
			back_to_durable(t, t->renames[i].to);
		}
	}
	t->rename_count = 0;
}

void stree_power_cut(struct starget *t)
{
	struct stree *now = &t->now;
	cut_renames(t);
	/* Names that are new or changed: kept or lost, each by itself. */
	for (int i = now->count - 1; i >= 0; i--) {
		struct snode *n = &now->nodes[i];
		const struct snode *d = stree_find(&t->durable, n->path);
		if (d && same(n, d))
			continue;
		if (sim_below(2) == 0) {
			tear(n);
		} else if (d) {
			*n = *d;
		} else {
			stree_drop(now, n);
		}
	}
	/* Names that were removed: they may come back. */
	for (int i = 0; i < t->durable.count && now->count < SIM_NODES; i++) {
		const struct snode *d = &t->durable.nodes[i];
		if (stree_find(now, d->path) == NULL && sim_below(2) == 0)
			now->nodes[now->count++] = *d;
	}
	drop_orphans(now);
	stree_copy(&t->durable, now);
	memset(t->late, 0, sizeof(t->late));
	sim_target_reboot(t);
}

void sim_without_ids(const char *text, size_t len, char *out, size_t size)
{
	static const char pattern[] = "ddddddddTdddddd-xxxxxx";
	size_t n = 0;
	for (size_t i = 0; i < len && n + 3 < size;) {
		size_t k = 0;
		while (pattern[k] && i + k < len) {
			unsigned char c = (unsigned char)text[i + k];
			if (!(pattern[k] == 'd'   ? isdigit(c)
			      : pattern[k] == 'x' ? isxdigit(c)
			                          : c == (unsigned char)pattern[k]))
				break;
			k++;
		}
		if (pattern[k] == '\0') {
			out[n++] = 'I';
			out[n++] = 'D';
			i += k;
		} else {
			out[n++] = text[i++];
		}
	}
	out[n] = '\0';
}
