/* steps/target.h over a simulated machine. Every operation is a turn of the scheduler, may lose its connection before or after it
 * was carried out, or have a reply that never comes while the request arrives later. The guard is checked when the request
 * arrives, on the machine, as a real target does it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/digest.h"
#include "sim/world.h"
#include "steps/target.h"

struct starget {
	struct target base;
	int machine;
};

static struct sim_machine *machine_of(const struct view *v)
{
	return &sim->machines[((const struct starget *)(const void *)v)->machine];
}

/* ---- a request on its way ---- */

/* Before the request leaves: ERR_NETWORK means surely not carried out. */
static int leave_for(struct view *v, const char *what, const char *path, struct err *err)
{
	char text[256];
	int r = v->wait != NULL ? wait_ms(v->wait, 0, err) : 0;
	if (r < 0)
		return r;
	snprintf(text, sizeof(text), "%s: %s %s", machine_of(v)->name, what, path);
	sim_step(text);
	if (v->wait != NULL && (r = wait_check(v->wait, err)) < 0)
		return r;
	if (machine_of(v)->down || sim_chance(sim->faults.lose_before)) {
		sim->losses++;
		sim_trace("  no connection");
		return err_set(err, ERR_NETWORK, "%s: no connection", v->name);
	}
	return 0;
}

static int reply(struct view *v, struct err *err)
{
	if (!sim_chance(sim->faults.lose_after))
		return 0;
	sim->losses++;
	sim_trace("  reply lost");
	return err_set(err, ERR_UNKNOWN, "%s: the connection broke before the reply came", v->name);
}

static bool guard_holds(const struct sim_machine *m, const char *lock_dir, const char *token)
{
	char path[2 * SIM_PATH], want[128];
	snprintf(path, sizeof(path), "%s/lock", lock_dir);
	const struct sim_node *lock = simfs_find((struct simfs *)&m->now, path);
	if (lock == NULL || lock->type != SIM_FILE)
		return false;
	snprintf(want, sizeof(want), "\"%s\"", token);
	return memmem(sim_blob_data(lock->content), lock->content.len, want, strlen(want)) != NULL;
}

static int guard(struct target *t, struct err *err)
{
	if (t->lock_dir == NULL || guard_holds(machine_of(&t->view), t->lock_dir, t->token))
		return 0;
	sim_trace("  fenced");
	return err_set(err, ERR_FENCED, "%s: the lock is not ours any more", t->view.name);
}

static bool needs_room(enum sim_op_kind kind)
{
	return kind == OP_WRITE || kind == OP_APPEND || kind == OP_COPY || kind == OP_MKDIR;
}

static int of_errno(int e, const char *what, const char *path, struct err *err)
{
	return e == 0 ? 0 : err_errno(err, e, "%s '%s'", what, path);
}

void sim_late_arrive(bool all)
{
	for (int i = 0; i < 8; i++) {
		struct sim_late *late = &sim->late[i];
		if (!late->used || (!all && sim_below(12) != 0))
			continue;
		struct sim_machine *m = &sim->machines[late->machine];
		late->used = false;
		if (late->lock_dir[0] != '\0' && !guard_holds(m, late->lock_dir, late->token)) {
			sim_trace("  a late request to %s is refused by the guard: %s", m->name, late->op.path);
			continue;
		}
		sim_trace("  a late request arrives at %s: op %d %s", m->name, late->op.kind, late->op.path);
		sim_machine_do(m, &late->op);
	}
}

/* True: the request is under way and its reply will not come in time. */
static bool delayed(struct target *t, const struct sim_op *op)
{
	if (!sim_chance(sim->faults.delay))
		return false;
	for (int i = 0; i < 8; i++) {
		struct sim_late *late = &sim->late[i];
		if (late->used)
			continue;
		*late = (struct sim_late){ .used = true, .machine = ((struct starget *)t)->machine, .op = *op };
		if (t->lock_dir != NULL) {
			snprintf(late->lock_dir, sizeof(late->lock_dir), "%s", t->lock_dir);
			snprintf(late->token, sizeof(late->token), "%s", t->token);
		}
		sim->delays++;
		sim_trace("  reply delayed past the deadline");
		return true;
	}
	return false;
}

static int change(struct target *t, struct sim_op *op, const char *what, struct err *err)
{
	struct sim_machine *m = machine_of(&t->view);
	int r = leave_for(&t->view, what, op->path, err);
	if (r < 0)
		return r;
	op->mtime_ns = op->mtime_ns ? op->mtime_ns : sim->wall_ms * 1000000;
	if (delayed(t, op))
		return err_set(err, ERR_UNKNOWN, "%s: no reply in time", t->view.name);
	r = guard(t, err);
	if (r < 0)
		return r;
	if (needs_room(op->kind)) {
		if (sim_chance(sim->faults.target_full)) {
			sim->fulls++;
			m->full_until_ops = (int64_t)sim->ops + 1 + (int64_t)sim_below(40);
		}
		if (sim->faults_on && (int64_t)sim->ops < m->full_until_ops) {
			sim_trace("  disk full");
			return err_errno(err, ENOSPC, "%s '%s'", what, op->path);
		}
	}
	r = of_errno(sim_machine_do(m, op), what, op->path, err);
	return r < 0 ? r : reply(&t->view, err);
}

static int set_path(struct sim_op *op, const char *path, const char *other, struct err *err)
{
	if (strlen(path) >= SIM_PATH || (other != NULL && strlen(other) >= SIM_PATH))
		return err_set(err, ERR_LIMIT, "'%s' is too long for the simulated disk", path);
	snprintf(op->path, sizeof(op->path), "%s", path);
	snprintf(op->other, sizeof(op->other), "%s", other ? other : "");
	return 0;
}

static uint32_t id_of(const char *name, uint32_t otherwise)
{
	long long number;
	if (name == NULL)
		return otherwise;
	if (strcmp(name, "root") == 0)
		return 0;
	return str_parse_i64(name, 0, 65535, &number) ? (uint32_t)number : 1000;
}

static void attributes(struct sim_op *op, const struct node_attr *attr, const struct sim_node *there, uint32_t mode)
{
	op->mode = attr != NULL && attr->set_mode ? attr->mode : there != NULL ? there->mode : mode;
	op->owner = id_of(attr ? attr->owner : NULL, there ? there->owner : 0);
	op->group = id_of(attr ? attr->group : NULL, there ? there->group : 0);
	op->mtime_ns = attr != NULL && attr->set_mtime ? attr->mtime_ns : 0;
}

/* ---- looking ---- */

static int s_open(struct view *v, struct err *err)
{
	const struct sim_machine *m = machine_of(v);
	int r = leave_for(v, "open", "", err);
	if (r < 0)
		return r;
	struct target_facts *f = &v->facts;
	free(f->boot_id);
	f->boot_id = xstrdup(m->boot_id);
	if (f->base != NULL)
		return 0;
	f->base = xstrdup("/base");
	f->identity = xasprintf("sim:%s", m->name);
	f->user = xstrdup("root");
	f->machine_id = xstrdup(m->machine_id);
	f->hostname = xstrdup(m->name);
	f->is_root = f->has_tar = f->has_zstd = f->has_gzip = f->has_sha256sum = f->has_sync_f = true;
	return 0;
}

static int s_stat(struct view *v, const char *path, struct node *ret, struct err *err)
{
	int r = leave_for(v, "stat", path, err);
	if (r < 0)
		return r;
	const struct sim_node *n = simfs_find(&machine_of(v)->now, path);
	*ret = (struct node){ 0 };
	if (n == NULL)
		return reply(v, err);
	ret->type = n->type == SIM_FILE ? NODE_FILE : n->type == SIM_DIR ? NODE_DIR : NODE_LINK;
	ret->mode = n->mode;
	ret->uid = n->owner;
	ret->gid = n->group;
	snprintf(ret->owner, sizeof(ret->owner), n->owner ? "%u" : "root", n->owner);
	snprintf(ret->group, sizeof(ret->group), n->group ? "%u" : "root", n->group);
	ret->size = n->content.len;
	ret->mtime_ns = n->mtime_ns;
	if (n->type == SIM_LINK)
		ret->link = xstrndup((const char *)sim_blob_data(n->content), n->content.len);
	return 0;
}

static int s_read(struct view *v, const char *path, size_t max, struct str *out, struct err *err)
{
	int r = leave_for(v, "read", path, err);
	if (r < 0)
		return r;
	const struct sim_node *n = simfs_find(&machine_of(v)->now, path);
	if (n == NULL || n->type != SIM_FILE)
		return err_errno(err, n == NULL ? ENOENT : EISDIR, "read '%s'", path);
	if (n->content.len > max || !str_append_n(out, sim_blob_data(n->content), n->content.len))
		return err_set(err, ERR_LIMIT, "'%s' is larger than %zu bytes", path, max);
	return 0;
}

static int s_list(struct view *v, const char *path, struct strv *ret, struct err *err)
{
	int r = leave_for(v, "list", path, err);
	if (r < 0)
		return r;
	struct simfs *fs = &machine_of(v)->now;
	const struct sim_node *dir = simfs_find(fs, path);
	if (dir == NULL || dir->type != SIM_DIR)
		return err_errno(err, dir == NULL ? ENOENT : ENOTDIR, "list '%s'", path);
	size_t len = strlen(path);
	for (uint32_t i = 0; i < fs->count; i++) {
		const char *p = fs->nodes[i].path;
		if (strncmp(p, path, len) == 0 && p[len] == '/' && strchr(p + len + 1, '/') == NULL)
			strv_add(ret, p + len + 1);
	}
	strv_sort(ret);
	return 0;
}

static int s_digest(struct view *v, const char *path, char hex[65], struct err *err)
{
	struct str text _cleanup_(str_done) = STR_INIT(1 << 20);
	int r = s_read(v, path, 1 << 20, &text, err);
	if (r >= 0)
		digest_of(str_peek(&text), text.len, hex);
	return r;
}

static int s_tree(struct view *v, const char *path, bool digests, struct tree *ret, struct err *err)
{
	(void)digests;
	(void)ret;
	return err_set(err, ERR_UNSUPPORTED, "%s: '%s' cannot be walked in the simulation", v->name, path);
}

static int s_space(struct view *v, const char *path, int64_t *ret_free_bytes, struct err *err)
{
	int r = leave_for(v, "space", path, err);
	*ret_free_bytes = 1 << 30;
	return r;
}

/* ---- commands ---- */

static void restart_service(struct sim_machine *m, const char *current)
{
	char path[3 * SIM_PATH], parent[SIM_PATH];
	const struct sim_node *link = simfs_find(&m->now, current);
	m->service_runs = true;
	m->service_version[0] = '\0';
	snprintf(m->service_release, sizeof(m->service_release), "%s", current);
	if (link == NULL || link->type != SIM_LINK)
		return;
	snprintf(parent, sizeof(parent), "%s", current);
	*strrchr(parent, '/') = '\0';
	snprintf(path, sizeof(path), "%s/%.*s/VERSION", parent, (int)link->content.len, (const char *)sim_blob_data(link->content));
	const struct sim_node *version = simfs_find(&m->now, path);
	if (version != NULL)
		snprintf(m->service_version, sizeof(m->service_version), "%.*s", (int)version->content.len, (const char *)sim_blob_data(version->content));
}

static int execute(struct sim_machine *m, const struct target_command *c, struct target_result *ret)
{
	const char *const *argv = c->argv;
	struct sim_op op = { .kind = OP_WRITE, .mode = 0644, .mtime_ns = sim->wall_ms * 1000000 };
	ret->status = 0;
	if (argv == NULL || strcmp(argv[0], "true") == 0)
		return 0;
	if (strcmp(argv[0], "sim-write") == 0) {
		snprintf(op.path, sizeof(op.path), "%s", argv[1]);
		op.content = sim_blob_put(argv[2], strlen(argv[2]));
		ret->status = sim_machine_do(m, &op) == 0 ? 0 : 1;
	} else if (strcmp(argv[0], "sim-restart") == 0) {
		restart_service(m, argv[1]);
	} else if (strcmp(argv[0], "sim-healthy") == 0) {
		/* A service that lost its machine starts again at boot. */
		if (!m->service_runs && m->service_release[0] != '\0')
			restart_service(m, m->service_release);
		ret->status = m->service_runs && m->service_version[0] != '\0' && strncmp(m->service_version, "bad", 3) != 0 ? 0 : 1;
	} else {
		ret->status = strcmp(argv[0], "false") == 0 ? 1 : 127;
	}
	return 0;
}

static int s_query(struct view *v, const struct target_command *c, struct target_result *ret, struct err *err)
{
	int r = leave_for(v, "query", c->argv ? c->argv[0] : "script", err);
	if (r < 0)
		return r;
	execute(machine_of(v), c, ret);
	return reply(v, err);
}

static int s_run(struct target *t, const struct target_command *c, struct target_result *ret, struct err *err)
{
	int r = leave_for(&t->view, "run", c->argv ? c->argv[0] : "script", err);
	if (r >= 0)
		r = guard(t, err);
	if (r < 0)
		return r;
	execute(machine_of(&t->view), c, ret);
	return reply(&t->view, err);
}

/* ---- changing ---- */

static int s_mkdir(struct target *t, const char *path, const struct node_attr *attr, struct err *err)
{
	struct sim_op op = { .kind = OP_MKDIR };
	attributes(&op, attr, NULL, 0755);
	int r = set_path(&op, path, NULL, err);
	return r < 0 ? r : change(t, &op, "mkdir", err);
}

/* As the real ones: a private name is written and synced, then renamed over; both may be seen. */
static int s_put(struct target *t, const char *path, const void *data, size_t len, const struct node_attr *attr, struct err *err)
{
	const struct sim_node *there = simfs_find(&machine_of(&t->view)->now, path);
	_cleanup_free_ char *private = target_private_name(path);
	struct sim_op op = { .kind = OP_WRITE, .content = sim_blob_put(data, len), .synced = true };
	attributes(&op, attr, there && there->type == SIM_FILE ? there : NULL, 0644);
	int r = set_path(&op, private, NULL, err);
	if (r < 0)
		return r;
	int64_t mtime = op.mtime_ns;
	r = change(t, &op, "put (private)", err);
	if (r < 0)
		return r;
	struct sim_op attr_op = op;
	attr_op.kind = OP_ATTR;
	attr_op.mtime_ns = mtime ? mtime : sim->wall_ms * 1000000;
	sim_machine_do(machine_of(&t->view), &attr_op);
	struct sim_op over = { .kind = OP_RENAME };
	set_path(&over, private, path, err);
	return change(t, &over, "put (rename)", err);
}

static int s_append(struct target *t, const char *path, const void *data, size_t len, struct err *err)
{
	struct sim_op op = { .kind = OP_APPEND, .content = sim_blob_put(data, len), .mode = 0600 };
	int r = set_path(&op, path, NULL, err);
	return r < 0 ? r : change(t, &op, "append", err);
}

static int s_symlink(struct target *t, const char *path, const char *link, struct err *err)
{
	struct sim_op op = { .kind = OP_LINK, .content = sim_blob_put(link, strlen(link)), .mode = 0777, .synced = true };
	int r = set_path(&op, path, NULL, err);
	return r < 0 ? r : change(t, &op, "symlink", err);
}

static int s_link_new(struct target *t, const char *from, const char *to, struct err *err)
{
	struct sim_op op = { .kind = OP_HARD_LINK };
	int r = set_path(&op, to, from, err);
	return r < 0 ? r : change(t, &op, "link", err);
}

static int s_rename(struct target *t, const char *from, const char *to, struct err *err)
{
	struct sim_op op = { .kind = OP_RENAME };
	int r = set_path(&op, from, to, err);
	return r < 0 ? r : change(t, &op, "rename", err);
}

static int s_remove(struct target *t, const char *path, struct err *err)
{
	struct sim_op op = { .kind = OP_REMOVE };
	int r = set_path(&op, path, NULL, err);
	return r < 0 ? r : change(t, &op, "remove", err);
}

static int s_remove_tree(struct target *t, const char *path, struct err *err)
{
	struct sim_op op = { .kind = OP_REMOVE_TREE };
	int r = set_path(&op, path, NULL, err);
	return r < 0 ? r : change(t, &op, "remove tree", err);
}

static int s_set_attr(struct target *t, const char *path, const struct node_attr *attr, struct err *err)
{
	const struct sim_node *there = simfs_find(&machine_of(&t->view)->now, path);
	struct sim_op op = { .kind = OP_ATTR };
	attributes(&op, attr, there, 0644);
	if (op.mtime_ns == 0 && there != NULL)
		op.mtime_ns = there->mtime_ns;
	int r = set_path(&op, path, NULL, err);
	return r < 0 ? r : change(t, &op, "attributes", err);
}

static int s_copy(struct target *t, const char *from, const char *to, struct err *err)
{
	struct sim_op op = { .kind = OP_COPY };
	int r = set_path(&op, from, to, err);
	return r < 0 ? r : change(t, &op, "copy", err);
}

static int s_clone_files(struct target *t, const char *from, const char *to, const struct strv *paths, bool hard_links, struct err *err)
{
	int r = 0;
	for (size_t i = 0; r >= 0 && i < paths->count; i++) {
		_cleanup_free_ char *a = xasprintf("%s/%s", from, paths->items[i]);
		_cleanup_free_ char *b = xasprintf("%s/%s", to, paths->items[i]);
		r = hard_links ? s_link_new(t, a, b, err) : s_copy(t, a, b, err);
		if (r == ERR_EXISTS)
			r = 0;
	}
	return r;
}

static int s_unpack(struct target *t, const char *dir, enum archive_compression compression, target_produce_fn produce, void *context, struct err *err)
{
	(void)compression;
	(void)produce;
	(void)context;
	return err_set(err, ERR_UNSUPPORTED, "%s: nothing is unpacked into '%s' in the simulation", t->view.name, dir);
}

static int s_barrier(struct target *t, const char *const *paths, size_t count, struct err *err)
{
	int r = leave_for(&t->view, "barrier", count > 0 ? paths[0] : "", err);
	if (r >= 0)
		r = guard(t, err);
	if (r < 0)
		return r;
	sim_machine_barrier(machine_of(&t->view));
	return reply(&t->view, err);
}

static int s_fence(struct target *t, const char *lock_dir, struct err *err)
{
	int r = leave_for(&t->view, "fence", lock_dir, err);
	if (r < 0)
		return r;
	for (int i = 0; i < 8; i++) {
		struct sim_late *late = &sim->late[i];
		if (late->used && late->machine == ((struct starget *)t)->machine && strcmp(late->lock_dir, lock_dir) == 0) {
			sim_trace("  a late request is ended: %s", late->op.path);
			late->used = false;
		}
	}
	return reply(&t->view, err);
}

static void s_free(struct target *t)
{
	target_done(t);
	free(t);
}

static const struct target_type sim_target = {
	.name = "sim", .open = s_open, .stat = s_stat, .read = s_read, .list = s_list, .digest = s_digest, .tree = s_tree,
	.space = s_space, .query = s_query, .mkdir = s_mkdir, .put = s_put, .append = s_append, .symlink = s_symlink,
	.link_new = s_link_new, .rename = s_rename, .remove = s_remove, .remove_tree = s_remove_tree, .set_attr = s_set_attr,
	.copy = s_copy, .clone_files = s_clone_files, .unpack = s_unpack, .run = s_run, .barrier = s_barrier, .fence = s_fence,
	.free = s_free,
};

int sim_target_new(const char *name, const void *json_config, struct target **ret, struct err *err)
{
	const json_t *config = json_config;
	struct starget *t = xcalloc(1, sizeof(*t));
	(void)err;
	t->machine = (int)json_get_int(config, "sim", 0);
	t->base.view.type = &sim_target;
	t->base.view.name = xstrdup(name);
	*ret = &t->base;
	return 0;
}
