/* The simulated target: the operations of steps/target.h on a tree in shared memory, each guarded, each with the faults that a target on
 * the other end of a line can have. */
#include "sim/sim.h"

#include "base/digest.h"
#include "base/mem.h"
#include <stdio.h>
#include <string.h>

#ifndef SIM_MUTANT
#define SIM_MUTANT 0
#endif

enum { KEEP_MODE = 0xffff };

struct sim_target {
	struct target t;        /* first */
	int index;
	int boots;              /* when it was last connected */
	bool opened;
};

static struct starget *of(const struct view *v)
{
	return &world->targets[((const struct sim_target *)v)->index];
}

int sim_target_index(const char *name)
{
	return name[0] == 't' ? name[1] - '0' : 0;
}

/* ---- the service ---- */

static void restart(struct starget *t)
{
	const struct snode *current = stree_find(&t->now, "/app/current");
	snprintf(t->serving, sizeof(t->serving), "%s", current && current->type == NODE_LINK ? (const char *)current->content->data : "none");
	t->restarts++;
}

void sim_target_reboot(struct starget *t)
{
	t->boots++;
	restart(t);
}

/* ---- the guard ---- */

static bool token_is(struct starget *t, const char *lock_dir, const char *token)
{
	char path[SIM_PATH * 2], wanted[120];
	snprintf(path, sizeof(path), "%s/lock", lock_dir);
	snprintf(wanted, sizeof(wanted), "\"token\":\"%s\"", token);
	const struct snode *lock = stree_find(&t->now, path);
	return lock && lock->content && strstr((const char *)lock->content->data, wanted) != NULL;
}

static int guard(struct target *t, const char *path, struct err *err)
{
	struct starget *st = of(&t->view);
	if (t->lock_dir == NULL) {
		if (is_within(t->view.facts.base, path) || is_within(path, t->view.facts.base))
			return 0;
		sim_violation("'%s' was changed without a lock", path);
		return err_set(err, ERR_INTERNAL, "no lock");
	}
	if (t->token == NULL || !token_is(st, t->lock_dir, t->token))
		return err_set(err, ERR_FENCED, "the lock on '%s' is no longer ours", t->view.name);
	/* The rule of the journal: nothing is changed before its intent is durable. */
	if (!is_within(t->view.facts.base, path) && !world->slots[1 - sim_slot].alive &&
	    !world->journal_failed && !sim_vfs_is_synced())
		sim_violation("'%s' was changed while the journal was not synced", path);
	return 0;
}

/* An operation of several parts is a process that noted itself: the fence of one who took over has ended it in between. */
static int go_on(struct target *t, const char *what, struct err *err)
{
	sim_step(what);
	if (t->lock_dir && !token_is(of(&t->view), t->lock_dir, t->token))
		return err_set(err, ERR_FENCED, "the lock on '%s' was taken over", t->view.name);
	return 0;
}

/* ---- faults ---- */

/* 0: carried out; else the error that the caller sees instead of the operation. */
static int before(struct view *v, const char *what, const char *path, bool changes, struct err *err)
{
	struct starget *t = of(v);
	sim_step(what);
	sim_late_arrivals(false);
	int r = v->wait ? wait_check(v->wait, err) : 0;
	if (r < 0)
		return r;
	struct sim_target *self = (struct sim_target *)v;
	if (self->opened && t->remote && self->boots != t->boots) {
		/* The connection broke with the target. */
		self->boots = t->boots;
		sim_trace("%s %s on %s: the connection is gone", what, path, v->name);
		return err_set(err, ERR_NETWORK, "'%s' was started again", v->name);
	}
	if (world->faults_on) {
		const struct rates *rates = &world->sc.rates;
		if (t->remote && sim_chance(rates->before)) {
			world->nets++;
			sim_trace("%s %s on %s: no connection", what, path, v->name);
			return err_set(err, ERR_NETWORK, "no connection to '%s'", v->name);
		}
		if (changes && sim_chance(rates->full))
			t->full_until_op = world->ops + 1 + (int64_t)sim_below(60);
		if (changes && sim_chance(rates->denied))
			t->denied_until_op = world->ops + 1 + (int64_t)sim_below(40);
		if (t->remote && sim_chance(rates->target_power)) {
			world->target_powers++;
			sim_trace("*** %s loses its power", v->name);
			stree_power_cut(t);
			return err_set(err, ERR_NETWORK, "no connection to '%s'", v->name);
		}
	}
	sim_trace("%s %s on %s", what, path, v->name);
	return 0;
}

static int full(struct target *t, struct err *err)
{
	if (!world->faults_on || of(&t->view)->full_until_op <= world->ops)
		return 0;
	world->fulls++;
	sim_trace("  disk full");
	return err_set(err, ERR_NO_SPACE, "the disk of '%s' is full", t->view.name);
}

static int denied(struct target *t, const char *path, struct err *err)
{
	if (!world->faults_on || of(&t->view)->denied_until_op <= world->ops || is_within(t->view.facts.base, path))
		return 0;
	sim_trace("  permission denied");
	return err_set(err, ERR_PERMISSION, "'%s' may not be changed on '%s'", path, t->view.name);
}

/* After the operation: was the reply lost, did we die with it done? */
static int after(struct view *v, int r, struct err *err)
{
	sim_step("reply");
	if (!world->faults_on || !of(v)->remote || !sim_chance(world->sc.rates.after))
		return r;
	world->nets++;
	sim_trace("  reply lost");
	return err_set(err, ERR_UNKNOWN, "the reply of '%s' was lost", v->name);
}

/* The request is on its way, the caller gives it up. */
static bool goes_late(struct target *t, enum late_kind kind, const char *path, const char *other, const struct blob *data, uint16_t mode)
{
	struct starget *st = of(&t->view);
	if (!world->faults_on || !st->remote || t->lock_dir == NULL || !sim_chance(world->sc.rates.late))
		return false;
	for (int i = 0; i < SIM_LATE; i++) {
		struct late *l = &st->late[i];
		if (l->kind != LATE_NONE)
			continue;
		*l = (struct late){ .kind = kind, .noted = sim_below(2) == 0, .due_op = world->ops + 1 + (int64_t)sim_below(80), .data = data, .mode = mode };
		snprintf(l->path, sizeof(l->path), "%s", path);
		snprintf(l->other, sizeof(l->other), "%s", other ? other : "");
		snprintf(l->lock_dir, sizeof(l->lock_dir), "%s", t->lock_dir);
		snprintf(l->token, sizeof(l->token), "%s", t->token);
		world->lates++;
		sim_trace("  is late (%s)", l->noted ? "its process runs" : "on the wire");
		return true;
	}
	return false;
}

/* ---- effects ---- */

static bool parent_ok(struct starget *t, const char *path)
{
	char parent[SIM_PATH];
	snprintf(parent, sizeof(parent), "%s", path);
	char *slash = strrchr(parent, '/');
	if (slash == NULL || slash == parent)
		return true;
	*slash = '\0';
	const struct snode *n = stree_find(&t->now, parent);
	return n && n->type == NODE_DIR;
}

static int no_parent(const char *path, struct err *err)
{
	return err_set(err, ERR_NOT_FOUND, "'%s': there is no such directory", path);
}

static bool late_acts;      /* it is nobody's turn: a request of before arrives */

/* The record says whose the lock was: nobody may take it from the living. */
static void watch_lock(struct starget *t, const char *path, const char *text)
{
	const char *name = strrchr(path, '/');
	if (name == NULL || strcmp(name, "/lock") != 0)
		return;
	const struct snode *old = stree_find(&t->now, path);
	if (old == NULL || sim_takeover || late_acts)
		return;
	const char *pid_text = strstr((const char *)old->content->data, "\"pid\":");
	const char *boot = strstr((const char *)old->content->data, "\"boot_id\":\"boot-");
	int pid = pid_text ? (int)strtol(pid_text + 6, NULL, 10) : 0;
	(void)boot;
	(void)text;
	for (int i = 0; i < SIM_SLOTS; i++)
		if (i != sim_slot && world->slots[i].alive && world->slots[i].pid == pid)
			sim_violation("the lock was taken from the process %d, which lives", pid);
}

static int do_put(struct starget *t, const char *path, const struct blob *data, const struct node_attr *attr, struct err *err)
{
	struct snode *old = stree_find(&t->now, path);
	uint16_t mode = attr && attr->set_mode ? (uint16_t)attr->mode : old && old->type == NODE_FILE ? old->mode : 0644;
	if (old && old->type == NODE_DIR)
		return err_set(err, ERR_EXISTS, "'%s' is a directory", path);
	if (!parent_ok(t, path))
		return no_parent(path, err);
	watch_lock(t, path, (const char *)data->data);
	struct snode *n = stree_set(&t->now, path, NODE_FILE, mode, data);
	n->synced = data;
	if (attr && attr->set_mtime)
		n->mtime_ns = attr->mtime_ns;
	return 0;
}

static int do_symlink(struct starget *t, const char *path, const struct blob *link, struct err *err)
{
	const struct snode *old = stree_find(&t->now, path);
	if (old && old->type != NODE_LINK)
		return err_set(err, ERR_EXISTS, "'%s' is no link", path);
	if (!parent_ok(t, path))
		return no_parent(path, err);
	stree_set(&t->now, path, NODE_LINK, 0777, link);
	return 0;
}

static int do_mkdir(struct starget *t, const char *path, uint16_t mode, struct err *err)
{
	if (stree_find(&t->now, path))
		return err_set(err, ERR_EXISTS, "'%s' is there", path);
	if (!parent_ok(t, path))
		return no_parent(path, err);
	stree_set(&t->now, path, NODE_DIR, mode, NULL);
	return 0;
}

static int do_remove(struct starget *t, const char *path, struct err *err)
{
	struct snode *n = stree_find(&t->now, path);
	if (n == NULL)
		return err_set(err, ERR_NOT_FOUND, "'%s' is not there", path);
	if (n->type == NODE_DIR && stree_has_children(&t->now, path))
		return err_set(err, ERR_EXISTS, "'%s' is not empty", path);
	stree_drop(&t->now, n);
	return 0;
}

/* Deepest first; a death in the middle leaves the rest. `by` NULL: at once. */
static int do_remove_tree(struct starget *t, const char *path, struct target *by, struct err *err)
{
	for (;;) {
		int deepest = -1;
		for (int i = 0; i < t->now.count; i++)
			if (is_within(path, t->now.nodes[i].path) &&
			    (deepest < 0 || strlen(t->now.nodes[i].path) > strlen(t->now.nodes[deepest].path)))
				deepest = i;
		if (deepest < 0)
			return 0;
		stree_drop(&t->now, &t->now.nodes[deepest]);
		int r = by ? go_on(by, "remove_tree", err) : 0;
		if (r < 0)
			return r;
	}
}

static int do_append(struct starget *t, const char *path, const struct blob *data, struct err *err)
{
	struct snode *n = stree_find(&t->now, path);
	const struct blob *old = n ? n->content : NULL, *synced = n ? n->synced : NULL;
	if (!parent_ok(t, path))
		return no_parent(path, err);
	size_t old_len = old ? old->len : 0;
	struct blob *b = sim_alloc(sizeof(*b) + old_len + data->len + 1);
	b->len = (uint32_t)(old_len + data->len);
	if (old)
		memcpy(b->data, old->data, old_len);
	memcpy(b->data + old_len, data->data, data->len);
	b->data[b->len] = '\0';
	uint16_t mode = n ? n->mode : 0600;
	n = stree_set(&t->now, path, NODE_FILE, mode, b);
	n->synced = synced;
	return 0;
}

static int do_rename(struct starget *t, const char *from, const char *to, struct err *err)
{
	struct snode *n = stree_find(&t->now, from);
	if (n == NULL)
		return err_set(err, ERR_NOT_FOUND, "'%s' is not there", from);
	if (!parent_ok(t, to))
		return no_parent(to, err);
	struct snode *old = stree_find(&t->now, to);
	if (old && old->type == NODE_DIR && (n->type != NODE_DIR || stree_has_children(&t->now, to)))
		return err_set(err, ERR_EXISTS, "'%s' is a directory", to);
	bool dir = n->type == NODE_DIR;
	if (!dir && old) {
		stree_drop(&t->now, old);
		n = stree_find(&t->now, from);
	}
	if (!dir) {
		/* As in life, the name's own durability is another matter than the content's. */
		if (t->rename_count < SIM_RENAMES) {
			struct rename_pair *pair = &t->renames[t->rename_count++];
			snprintf(pair->from, sizeof(pair->from), "%s", from);
			snprintf(pair->to, sizeof(pair->to), "%s", to);
		} else {
			stree_copy(&t->durable, &t->now);
			t->rename_count = 0;
		}
		snprintf(n->path, sizeof(n->path), "%s", to);
		return 0;
	}
	if (old)
		stree_drop(&t->now, old);
	struct stree *const trees[] = { &t->now, &t->durable };
	/* A directory moves as one: in this world at once durably, since a half-moved tree cannot be told entry by entry. */
	for (size_t k = 0; k < 2; k++)
		for (int i = 0; i < trees[k]->count; i++) {
			struct snode *e = &trees[k]->nodes[i];
			if (!is_within(from, e->path))
				continue;
			char path[SIM_PATH * 2];
			snprintf(path, sizeof(path), "%s%s", to, e->path + strlen(from));
			snprintf(e->path, sizeof(e->path), "%.*s", SIM_PATH - 1, path);
		}
	return 0;
}

static void arrive(struct starget *t, struct late *l)
{
	enum late_kind kind = l->kind;
	l->kind = LATE_NONE;
	if (!token_is(t, l->lock_dir, l->token)) {
		sim_trace("late request for %s: refused by the guard", l->path);
		return;
	}
	sim_trace("late request for %s is carried out", l->path);
	late_acts = true;
	const struct node_attr attr = { .set_mode = l->mode != KEEP_MODE, .mode = l->mode };
	switch (kind) {
	case LATE_PUT: do_put(t, l->path, l->data, &attr, NULL); break;
	case LATE_SYMLINK: do_symlink(t, l->path, l->data, NULL); break;
	case LATE_RENAME: do_rename(t, l->path, l->other, NULL); break;
	case LATE_REMOVE: do_remove(t, l->path, NULL); break;
	case LATE_REMOVE_TREE: do_remove_tree(t, l->path, NULL, NULL); break;
	case LATE_MKDIR: do_mkdir(t, l->path, l->mode, NULL); break;
	case LATE_APPEND: do_append(t, l->path, l->data, NULL); break;
	case LATE_RUN: restart(t); break;
	case LATE_NONE:
	default: break;
	}
	late_acts = false;
}

void sim_late_arrivals(bool all)
{
	for (int i = 0; i < SIM_TARGETS; i++)
		for (int k = 0; world->targets[i].used && k < SIM_LATE; k++) {
			struct late *l = &world->targets[i].late[k];
			if (l->kind != LATE_NONE && (all || l->due_op <= world->ops))
				arrive(&world->targets[i], l);
		}
}

/* ---- looking ---- */

static int sim_open(struct view *v, struct err *err)
{
	struct sim_target *s = (struct sim_target *)v;
	if (s->opened)
		return 0;
	int r = before(v, "open", "", false, err);
	if (r < 0)
		return r;
	v->facts.base = xstrdup("/var/lib/davit");
	v->facts.identity = xasprintf("SHA256:%d", s->index);
	v->facts.user = xstrdup("root");
	v->facts.machine_id = xasprintf("t%d", s->index);
	v->facts.boot_id = xasprintf("tb%d", of(v)->boots);
	v->facts.hostname = xstrdup(v->name);
	v->facts.is_root = true;
	s->boots = of(v)->boots;
	s->opened = true;
	return 0;
}

static int sim_stat(struct view *v, const char *path, struct node *ret, struct err *err)
{
	int r = before(v, "stat", path, false, err);
	if (r < 0)
		return r;
	const struct snode *n = stree_find(&of(v)->now, path);
	*ret = (struct node){ 0 };
	if (n == NULL)
		return 0;
	ret->type = (enum node_type)n->type;
	ret->mode = n->mode;
	ret->uid = n->uid;
	ret->gid = n->gid;
	snprintf(ret->owner, sizeof(ret->owner), "u%u", n->uid);
	snprintf(ret->group, sizeof(ret->group), "g%u", n->gid);
	ret->size = n->content ? n->content->len : 0;
	ret->mtime_ns = n->mtime_ns;
	if (n->type == NODE_LINK)
		ret->link = xstrdup((const char *)n->content->data);
	return 0;
}

static const struct snode *must_find(struct view *v, const char *path, enum node_type type, int *r, struct err *err)
{
	const struct snode *n = stree_find(&of(v)->now, path);
	if (n == NULL)
		*r = err_set(err, ERR_NOT_FOUND, "'%s' is not there", path);
	else if (n->type != type)
		*r = err_set(err, ERR_IO, "'%s' is something else", path);
	return *r < 0 ? NULL : n;
}

static int sim_read(struct view *v, const char *path, size_t max, struct str *out, struct err *err)
{
	int r = before(v, "read", path, false, err);
	if (r == 0 && is_within("/proc", path)) {
		str_appendf(out, "boot %d\n", of(v)->boots);
		return 0;
	}
	const struct snode *n = r < 0 ? NULL : must_find(v, path, NODE_FILE, &r, err);
	if (r < 0)
		return r;
	if (n->content->len > max)
		return err_set(err, ERR_LIMIT, "'%s' is too large", path);
	str_append_n(out, n->content->data, n->content->len);
	return 0;
}

static int sim_list(struct view *v, const char *path, struct strv *ret, struct err *err)
{
	int r = before(v, "list", path, false, err);
	if (r == 0)
		must_find(v, path, NODE_DIR, &r, err);
	if (r < 0)
		return r;
	struct strv names = { 0 };
	const struct stree *t = &of(v)->now;
	size_t len = strlen(path);
	for (int i = 0; i < t->count; i++) {
		const char *p = t->nodes[i].path;
		if (strncmp(p, path, len) == 0 && p[len] == '/' && strchr(p + len + 1, '/') == NULL)
			strv_add(&names, p + len + 1);
	}
	strv_sort(&names);
	*ret = names;
	return 0;
}

static int sim_digest(struct view *v, const char *path, char hex[65], struct err *err)
{
	int r = before(v, "digest", path, false, err);
	const struct snode *n = r < 0 ? NULL : must_find(v, path, NODE_FILE, &r, err);
	if (r < 0)
		return r;
	digest_of(n->content->data, n->content->len, hex);
	return 0;
}

static int sim_tree(struct view *v, const char *path, bool digests, struct tree *ret, struct err *err)
{
	(void)v;
	(void)path;
	(void)digests;
	(void)ret;
	return err_set(err, ERR_UNSUPPORTED, "not simulated");
}

static int sim_space(struct view *v, const char *path, int64_t *ret_free_bytes, struct err *err)
{
	(void)v;
	(void)path;
	(void)err;
	*ret_free_bytes = 1 << 30;
	return 0;
}

static int sim_query(struct view *v, const struct target_command *command, struct target_result *ret, struct err *err)
{
	(void)command;
	(void)ret;
	return before(v, "query", "", false, err);
}

/* ---- changing ---- */

static int enter(struct target *t, const char *what, const char *path, struct err *err)
{
	int r = before(&t->view, what, path, true, err);
	if (r == 0)
		r = guard(t, path, err);
	if (r == 0)
		r = denied(t, path, err);
	return r;
}

static int lost(struct err *err)
{
	return err_set(err, ERR_UNKNOWN, "the reply did not come in time");
}

static int sim_mkdir(struct target *t, const char *path, const struct node_attr *attr, struct err *err)
{
	uint16_t mode = attr && attr->set_mode ? (uint16_t)attr->mode : 0755;
	int r = enter(t, "mkdir", path, err);
	if (r == 0)
		r = full(t, err);
	if (r < 0)
		return r;
	if (goes_late(t, LATE_MKDIR, path, NULL, NULL, mode))
		return lost(err);
	return after(&t->view, do_mkdir(of(&t->view), path, mode, err), err);
}

static int sim_put(struct target *t, const char *path, const void *data, size_t len, const struct node_attr *attr, struct err *err)
{
	int r = enter(t, "put", path, err);
	if (r == 0)
		r = full(t, err);
	if (r < 0)
		return r;
	const struct blob *b = sim_blob(data, len);
	if (goes_late(t, LATE_PUT, path, NULL, b, attr && attr->set_mode ? (uint16_t)attr->mode : KEEP_MODE))
		return lost(err);
	/* A death in the middle leaves the private name. */
	if (world->faults_on && !is_within(t->view.facts.base, path) && parent_ok(of(&t->view), path)) {
		_cleanup_free_ char *private_name = target_private_name(path);
		stree_set(&of(&t->view)->now, private_name, NODE_FILE, 0600, b);
		r = go_on(t, "put: written", err);
		if (r < 0)
			return r;
		struct snode *n = stree_find(&of(&t->view)->now, private_name);
		if (n)
			stree_drop(&of(&t->view)->now, n);
	}
	return after(&t->view, do_put(of(&t->view), path, b, attr, err), err);
}

static int sim_append(struct target *t, const char *path, const void *data, size_t len, struct err *err)
{
	int r = enter(t, "append", path, err);
	if (r == 0)
		r = full(t, err);
	if (r < 0)
		return r;
	const struct blob *b = sim_blob(data, len);
	if (goes_late(t, LATE_APPEND, path, NULL, b, 0600))
		return lost(err);
	return after(&t->view, do_append(of(&t->view), path, b, err), err);
}

static int sim_symlink(struct target *t, const char *path, const char *link, struct err *err)
{
	int r = enter(t, "symlink", path, err);
	if (r < 0)
		return r;
	const struct blob *b = sim_blob(link, strlen(link));
	if (goes_late(t, LATE_SYMLINK, path, NULL, b, 0777))
		return lost(err);
	return after(&t->view, do_symlink(of(&t->view), path, b, err), err);
}

static int do_link_new(struct starget *t, const char *from, const char *to, struct err *err)
{
	const struct snode *n = stree_find(&t->now, from);
	if (n == NULL)
		return err_set(err, ERR_NOT_FOUND, "'%s' is not there", from);
	if (!parent_ok(t, to))
		return no_parent(to, err);
	if (stree_find(&t->now, to))
		return err_set(err, ERR_EXISTS, "'%s' is there", to);
	struct snode copy = *n;
	struct snode *made = stree_set(&t->now, to, (enum node_type)copy.type, copy.mode, copy.content);
	made->synced = copy.synced;
	return 0;
}

static int sim_link_new(struct target *t, const char *from, const char *to, struct err *err)
{
	int r = enter(t, "link_new", to, err);
	return r < 0 ? r : after(&t->view, do_link_new(of(&t->view), from, to, err), err);
}

static int sim_rename(struct target *t, const char *from, const char *to, struct err *err)
{
	int r = enter(t, "rename", to, err);
	if (r < 0)
		return r;
	if (goes_late(t, LATE_RENAME, from, to, NULL, 0))
		return lost(err);
	return after(&t->view, do_rename(of(&t->view), from, to, err), err);
}

static int sim_remove(struct target *t, const char *path, struct err *err)
{
	int r = enter(t, "remove", path, err);
	if (r < 0)
		return r;
	if (goes_late(t, LATE_REMOVE, path, NULL, NULL, 0))
		return lost(err);
	return after(&t->view, do_remove(of(&t->view), path, err), err);
}

static int sim_remove_tree(struct target *t, const char *path, struct err *err)
{
	int r = enter(t, "remove_tree", path, err);
	if (r < 0)
		return r;
	if (goes_late(t, LATE_REMOVE_TREE, path, NULL, NULL, 0))
		return lost(err);
	r = do_remove_tree(of(&t->view), path, t, err);
	return r < 0 ? r : after(&t->view, 0, err);
}

static uint32_t owner_number(const char *name, uint32_t otherwise)
{
	return name && (name[0] == 'u' || name[0] == 'g') ? (uint32_t)strtoul(name + 1, NULL, 10) : otherwise;
}

static int sim_set_attr(struct target *t, const char *path, const struct node_attr *attr, struct err *err)
{
	int r = enter(t, "set_attr", path, err);
	if (r < 0)
		return r;
	struct snode *n = stree_find(&of(&t->view)->now, path);
	if (n == NULL)
		return err_set(err, ERR_NOT_FOUND, "'%s' is not there", path);
	/* Owner and mode are two calls: a death may come between. */
	n->uid = owner_number(attr->owner, n->uid);
	n->gid = owner_number(attr->group, n->gid);
	r = go_on(t, "set_attr: owner set", err);
	if (r < 0)
		return r;
	n = stree_find(&of(&t->view)->now, path);
	if (n && attr->set_mode)
		n->mode = (uint16_t)attr->mode;
	if (n && attr->set_mtime)
		n->mtime_ns = attr->mtime_ns;
	return after(&t->view, 0, err);
}

static int sim_copy(struct target *t, const char *from, const char *to, struct err *err)
{
	struct starget *st = of(&t->view);
	int r = enter(t, "copy", to, err);
	if (r == 0)
		r = full(t, err);
	if (r < 0)
		return r;
	if (stree_find(&st->now, to))
		return err_set(err, ERR_EXISTS, "'%s' is there", to);
	if (stree_find(&st->now, from) == NULL)
		return err_set(err, ERR_NOT_FOUND, "'%s' is not there", from);
	if (!parent_ok(st, to))
		return no_parent(to, err);
	int count = st->now.count;
	for (int i = 0; i < count; i++) {
		struct snode *n = &st->now.nodes[i];
		if (!is_within(from, n->path))
			continue;
		char path[SIM_PATH * 2];
		snprintf(path, sizeof(path), "%s%s", to, n->path + strlen(from));
		struct snode copy = *n;
		struct snode *made = stree_set(&st->now, path, (enum node_type)copy.type, copy.mode, copy.content);
		made->uid = copy.uid;
		made->gid = copy.gid;
		made->mtime_ns = copy.mtime_ns;
		made->synced = NULL;
		r = go_on(t, "copy", err);
		if (r < 0)
			return r;
		if (count > st->now.count)
			break;      /* the target lost its power in the middle */
	}
	return after(&t->view, 0, err);
}

static int sim_clone_files(struct target *t, const char *from, const char *to, const struct strv *paths, bool hard_links, struct err *err)
{
	(void)t;
	(void)from;
	(void)to;
	(void)paths;
	(void)hard_links;
	return err_set(err, ERR_UNSUPPORTED, "not simulated");
}

static int sim_unpack(struct target *t, const char *dir, enum archive_compression compression, target_produce_fn produce, void *context,
                      struct err *err)
{
	(void)t;
	(void)dir;
	(void)compression;
	(void)produce;
	(void)context;
	return err_set(err, ERR_UNSUPPORTED, "not simulated");
}

static int sim_run(struct target *t, const struct target_command *command, struct target_result *ret, struct err *err)
{
	int r = enter(t, "run", command->argv[0], err);
	if (r < 0)
		return r;
	if (goes_late(t, LATE_RUN, "restart", NULL, NULL, 0))
		return lost(err);
	restart(of(&t->view));
	sim_trace("  serves %s", of(&t->view)->serving);
	ret->status = 0;
	return after(&t->view, 0, err);
}

static int sim_barrier(struct target *t, const char *const *paths, size_t count, struct err *err)
{
	struct starget *st = of(&t->view);
	int r = before(&t->view, "barrier", count ? paths[0] : "", false, err);
	if (r < 0)
		return r;
	for (int i = 0; i < st->now.count; i++)
		st->now.nodes[i].synced = st->now.nodes[i].content;
	stree_copy(&st->durable, &st->now);
	st->rename_count = 0;
	return after(&t->view, 0, err);
}

static int sim_fence(struct target *t, const char *lock_dir, struct err *err)
{
	struct starget *st = of(&t->view);
	int r = before(&t->view, "fence", lock_dir, false, err);
	if (r < 0)
		return r;
	for (int i = 0; i < SIM_LATE; i++)
		if (st->late[i].kind != LATE_NONE && st->late[i].noted && strcmp(st->late[i].lock_dir, lock_dir) == 0)
			st->late[i].kind = LATE_NONE;
	return after(&t->view, 0, err);
}

static void sim_free(struct target *t)
{
	target_done(t);
	free(t);
}

static const struct target_type sim_type = {
	.name = "sim",
	.open = sim_open,
	.stat = sim_stat,
	.read = sim_read,
	.list = sim_list,
	.digest = sim_digest,
	.tree = sim_tree,
	.space = sim_space,
	.query = sim_query,
	.mkdir = sim_mkdir,
	.put = sim_put,
	.append = sim_append,
	.symlink = sim_symlink,
	.link_new = sim_link_new,
	.rename = sim_rename,
	.remove = sim_remove,
	.remove_tree = sim_remove_tree,
	.set_attr = sim_set_attr,
	.copy = sim_copy,
	.clone_files = sim_clone_files,
	.unpack = sim_unpack,
	.run = sim_run,
	.barrier = sim_barrier,
	.fence = sim_fence,
	.free = sim_free,
};

int sim_target_new(const char *name, const json_t *config, struct target **ret, struct err *err)
{
	(void)config;
	(void)err;
	struct sim_target *s = xcalloc(1, sizeof(*s));
	s->t.view.type = &sim_type;
	s->t.view.name = xstrdup(name);
	s->index = sim_target_index(name);
	*ret = &s->t;
	return 0;
}
