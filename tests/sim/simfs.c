/* A file system as a sorted table of paths, and a log of what is not durable yet. At a power cut each logged operation is kept or
 * lost for itself, in order; one that no longer fits is lost too. A write that was not synced may be torn. */
#include <errno.h>
#include <string.h>

#include "sim/world.h"

struct sim_node *simfs_find(struct simfs *fs, const char *path)
{
	uint32_t low = 0, high = fs->count;
	while (low < high) {
		uint32_t middle = (low + high) / 2;
		int order = strcmp(fs->nodes[middle].path, path);
		if (order == 0)
			return &fs->nodes[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

static bool parent_is_dir(struct simfs *fs, const char *path)
{
	const char *slash = strrchr(path, '/');
	if (slash == NULL || slash == path)
		return true;
	char parent[SIM_PATH];
	memcpy(parent, path, (size_t)(slash - path));
	parent[slash - path] = '\0';
	const struct sim_node *node = simfs_find(fs, parent);
	return node != NULL && node->type == SIM_DIR;
}

static uint32_t next_inode = 1;

static int insert(struct simfs *fs, const struct sim_node *node)
{
	if (fs->count == SIM_NODES)
		return ENOSPC;
	uint32_t at = fs->count;
	while (at > 0 && strcmp(fs->nodes[at - 1].path, node->path) > 0)
		at--;
	memmove(&fs->nodes[at + 1], &fs->nodes[at], sizeof(*node) * (fs->count - at));
	fs->nodes[at] = *node;
	fs->count++;
	return 0;
}

static void erase(struct simfs *fs, uint32_t at)
{
	memmove(&fs->nodes[at], &fs->nodes[at + 1], sizeof(fs->nodes[0]) * (fs->count - at - 1));
	fs->count--;
}

static bool is_below(const char *dir, const char *path)
{
	size_t len = strlen(dir);
	return strncmp(dir, path, len) == 0 && path[len] == '/';
}

static bool has_children(const struct simfs *fs, const char *dir)
{
	for (uint32_t i = 0; i < fs->count; i++)
		if (is_below(dir, fs->nodes[i].path))
			return true;
	return false;
}

static void remove_tree(struct simfs *fs, const char *path)
{
	for (uint32_t i = fs->count; i-- > 0;)
		if (strcmp(fs->nodes[i].path, path) == 0 || is_below(path, fs->nodes[i].path))
			erase(fs, i);
}

static int make(struct simfs *fs, const struct sim_op *op, enum sim_node_type type)
{
	struct sim_node node = { .type = type, .mode = op->mode, .owner = op->owner, .group = op->group, .inode = next_inode++,
		.mtime_ns = op->mtime_ns, .content = op->content };
	memcpy(node.path, op->path, sizeof(node.path));
	return insert(fs, &node);
}

static int write_file(struct simfs *fs, const struct sim_op *op)
{
	struct sim_node *node = simfs_find(fs, op->path);
	if (node == NULL)
		return make(fs, op, SIM_FILE);
	if (node->type != SIM_FILE)
		return EISDIR;
	node->content = op->content;
	node->mtime_ns = op->mtime_ns;
	return 0;
}

static int append(struct simfs *fs, const struct sim_op *op)
{
	struct sim_node *node = simfs_find(fs, op->path);
	if (node == NULL)
		return make(fs, op, SIM_FILE);
	if (node->type != SIM_FILE)
		return EISDIR;
	uint8_t joined[1 << 16];
	size_t len = node->content.len + op->content.len;
	if (len > sizeof(joined))
		return ENOSPC;
	memcpy(joined, sim_blob_data(node->content), node->content.len);
	memcpy(joined + node->content.len, sim_blob_data(op->content), op->content.len);
	node->content = sim_blob_put(joined, len);
	node->mtime_ns = op->mtime_ns;
	return 0;
}

static int rename_node(struct simfs *fs, const char *from, const char *to)
{
	struct sim_node *source = simfs_find(fs, from), *there = simfs_find(fs, to);
	if (source == NULL)
		return ENOENT;
	if (there != NULL) {
		if (there->type == SIM_DIR && (source->type != SIM_DIR || has_children(fs, to)))
			return source->type == SIM_DIR ? ENOTEMPTY : EISDIR;
		if (there->type != SIM_DIR && source->type == SIM_DIR)
			return ENOTDIR;
		remove_tree(fs, to);
	}
	/* Taken out and put in again under the new name, parents first. */
	struct sim_node moved[SIM_NODES];
	uint32_t count = 0;
	for (uint32_t i = 0; i < fs->count;) {
		struct sim_node *node = &fs->nodes[i];
		if (strcmp(node->path, from) != 0 && !is_below(from, node->path)) {
			i++;
			continue;
		}
		moved[count] = *node;
		char path[2 * SIM_PATH];
		snprintf(path, sizeof(path), "%s%s", to, node->path + strlen(from));
		if (strlen(path) >= SIM_PATH)
			return ENAMETOOLONG;
		memcpy(moved[count++].path, path, SIM_PATH);
		erase(fs, i);
	}
	for (uint32_t i = 0; i < count; i++)
		insert(fs, &moved[i]);
	return 0;
}

static int copy_node(struct simfs *fs, const char *from, const char *to)
{
	struct sim_node copies[SIM_NODES];
	uint32_t count = 0;
	if (simfs_find(fs, from) == NULL)
		return ENOENT;
	if (simfs_find(fs, to) != NULL)
		return EEXIST;
	for (uint32_t i = 0; i < fs->count; i++) {
		const struct sim_node *node = &fs->nodes[i];
		if (strcmp(node->path, from) != 0 && !is_below(from, node->path))
			continue;
		copies[count] = *node;
		char path[2 * SIM_PATH];
		snprintf(path, sizeof(path), "%s%s", to, node->path + strlen(from));
		if (strlen(path) >= SIM_PATH)
			return ENAMETOOLONG;
		memcpy(copies[count].path, path, SIM_PATH);
		copies[count++].inode = next_inode++;
	}
	for (uint32_t i = 0; i < count; i++) {
		int r = insert(fs, &copies[i]);
		if (r != 0)
			return r;
	}
	return 0;
}

int simfs_apply(struct simfs *fs, const struct sim_op *op)
{
	struct sim_node *node = simfs_find(fs, op->path);
	if (op->kind != OP_REMOVE && op->kind != OP_REMOVE_TREE && !parent_is_dir(fs, op->path))
		return ENOENT;
	switch (op->kind) {
	case OP_MKDIR:
		return node != NULL ? EEXIST : make(fs, op, SIM_DIR);
	case OP_WRITE:
		return write_file(fs, op);
	case OP_APPEND:
		return append(fs, op);
	case OP_LINK:
		if (node != NULL && node->type == SIM_DIR)
			return EISDIR;
		if (node != NULL)
			remove_tree(fs, op->path);
		return make(fs, op, SIM_LINK);
	case OP_HARD_LINK: {
		struct sim_node *from = simfs_find(fs, op->other);
		if (node != NULL)
			return EEXIST;
		if (from == NULL)
			return ENOENT;
		struct sim_node link = *from;
		memcpy(link.path, op->path, sizeof(link.path));
		return insert(fs, &link);
	}
	case OP_RENAME:
		if (!parent_is_dir(fs, op->other))
			return ENOENT;
		return rename_node(fs, op->path, op->other);
	case OP_REMOVE:
		if (node == NULL)
			return ENOENT;
		if (node->type == SIM_DIR && has_children(fs, op->path))
			return ENOTEMPTY;
		erase(fs, (uint32_t)(node - fs->nodes));
		return 0;
	case OP_REMOVE_TREE:
		remove_tree(fs, op->path);
		return 0;
	case OP_ATTR:
		if (node == NULL)
			return ENOENT;
		node->mode = op->mode;
		node->owner = op->owner;
		node->group = op->group;
		node->mtime_ns = op->mtime_ns;
		return 0;
	case OP_COPY:
		return copy_node(fs, op->path, op->other);
	}
	return EINVAL;
}

int sim_machine_do(struct sim_machine *m, const struct sim_op *op)
{
	int r = simfs_apply(&m->now, op);
	if (r != 0)
		return r;
	if (m->op_count == SIM_OPS)
		sim_machine_barrier(m);          /* the disk writes back by itself some time */
	m->ops[m->op_count++] = *op;
	return 0;
}

void sim_machine_barrier(struct sim_machine *m)
{
	m->durable.count = m->now.count;
	memcpy(m->durable.nodes, m->now.nodes, sizeof(m->now.nodes[0]) * m->now.count);
	m->op_count = 0;
}

void sim_machine_power_cut(struct sim_machine *m)
{
	for (uint32_t i = 0; i < m->op_count; i++) {
		struct sim_op op = m->ops[i];
		uint64_t fate = sim_below(3);
		if (fate == 0)
			continue;
		if (fate == 1 && !op.synced && (op.kind == OP_WRITE || op.kind == OP_APPEND) && op.content.len > 0)
			op.content.len = (uint32_t)sim_below(op.content.len);
		if (simfs_apply(&m->durable, &op) == 0)
			sim_trace("  disk of %s: kept%s op %d %s", m->name, op.content.len != m->ops[i].content.len ? " torn" : "", op.kind, op.path);
	}
	m->now.count = m->durable.count;
	memcpy(m->now.nodes, m->durable.nodes, sizeof(m->durable.nodes[0]) * m->durable.count);
	m->op_count = 0;
}

void simfs_print(const struct simfs *fs, FILE *out)
{
	static const char *const types[] = { "absent", "file", "dir", "link" };
	for (uint32_t i = 0; i < fs->count; i++) {
		const struct sim_node *n = &fs->nodes[i];
		fprintf(out, "  %-5s %04o %u:%u %s", types[n->type], n->mode, n->owner, n->group, n->path);
		if (n->type != SIM_DIR)
			fprintf(out, " = %.*s", (int)(n->content.len > 60 ? 60 : n->content.len), (const char *)sim_blob_data(n->content));
		fputc('\n', out);
	}
}
