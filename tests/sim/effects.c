/* What operations do to a simulated target: the guard, the faults, the effects, and the requests that arrive late. */
#include "sim/effects.h"

struct starget *fx_of(const struct view *v)
{
	return &world->targets[((const struct sim_target *)v)->index];
}

int sim_target_index(const char *name)
{
	return name[0] == 't' ? name[1] - '0' : 0;
}

/* ---- the service ---- */

void sim_target_reboot(struct starget *t)
{
	t->boots++;
	t->watch = (struct swatch){0};
	fx_restart(t);
}

static void arrive(struct starget *t, struct late *l);

/* ---- the guard ---- */

static bool token_is(struct starget *t, const char *lock_dir, const char *token)
{
	char path[SIM_PATH * 2], wanted[120];
	snprintf(path, sizeof(path), "%s/lock", lock_dir);
	snprintf(wanted, sizeof(wanted), "\"token\":\"%s\"", token);
	const struct snode *lock = stree_find(&t->now, path);
	return lock && lock->content && strstr((const char *)lock->content->data, wanted) != NULL;
}

int fx_guard(struct target *t, const char *path, struct err *err)
{
	struct starget *st = fx_of(&t->view);
	if (t->lock_dir == NULL) {
		if (is_within(t->view.facts.base, path) || is_within(path, t->view.facts.base))
			return 0;
		sim_violation("'%s' was changed without a lock", path);
		return err_set(err, ERR_INTERNAL, "no lock");
	}
	if (t->token == NULL || !token_is(st, t->lock_dir, t->token))
		return err_set(err, ERR_FENCED, "the lock on '%s' is no longer ours", t->view.name);
	/* The rule of the journal: nothing is changed before its intent is durable. */
	if (!is_within(t->view.facts.base, path) && !world->slots[1 - sim_slot].alive && !world->journal_failed &&
	    !sim_journal_is_synced())
		sim_violation("'%s' was changed while the journal was not synced", path);
	return 0;
}

static bool is_cancelled(const struct view *v)
{
	return v->wait && v->wait->cancel_fd >= 0 && wait_check(v->wait, NULL) == ERR_CANCELLED;
}

/* What a cancel gave up, or a stream that broke: the session that comes after it ends it, unless it was quicker. */
static void end_strays(const struct view *v)
{
	struct starget *t = fx_of(v);
	for (int i = 0; i < SIM_LATE; i++) {
		struct late *l = &t->late[i];
		if (l->kind == LATE_NONE || l->given_up_by == 0 || l->given_up_by != world->slots[sim_slot].pid ||
		    l->handle != v || is_cancelled(v))
			continue;
		if (sim_below(2) == 0)
			arrive(t, l);
		l->kind = LATE_NONE;
	}
}

/* An operation of several parts is a process that noted itself: the fence of one who took over has ended it in between. */
int fx_go_on(struct target *t, const char *what, bool stops, struct err *err)
{
	sim_step(what);
	sim_alone_moves();
	if ((stops || fx_of(&t->view)->remote) && is_cancelled(&t->view))
		return err_set(err, ERR_CANCELLED, "cancelled");
	if (t->lock_dir && !token_is(fx_of(&t->view), t->lock_dir, t->token))
		return err_set(err, ERR_FENCED, "the lock on '%s' was taken over", t->view.name);
	return 0;
}

/* ---- faults ---- */

/* 0: carried out; else the error that the caller sees instead of the operation. */
int fx_before(struct view *v, const char *what, const char *path, bool changes, struct err *err)
{
	struct starget *t = fx_of(v);
	sim_step(what);
	sim_late_arrivals(false);
	sim_alone_moves();
	int r = v->wait ? wait_check(v->wait, err) : 0;
	/* As a remote target's: whoever waits for it renews its locks meanwhile. */
	if (r == 0 && v->wait && sim_store_only == STORE_CONTENDED)
		r = wait_ms(v->wait, 0, err);
	/* A request may be on its way before anybody looks whether it is still wanted. */
	if (r < 0 && !(r == ERR_CANCELLED && changes && sim_below(2) == 0))
		return r;
	if (err && r < 0)
		err_clear(err);
	end_strays(v);
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

int fx_full(struct target *t, struct err *err)
{
	if (!world->faults_on || fx_of(&t->view)->full_until_op <= world->ops)
		return 0;
	world->fulls++;
	sim_trace("  disk full");
	return err_set(err, ERR_NO_SPACE, "the disk of '%s' is full", t->view.name);
}

int fx_no_room(struct target *t, const char *path, struct err *err)
{
	const struct scenario *sc = &world->sc;
	if (!sc->no_room || !world->faults_on || !world->gate_came || is_within(t->view.facts.base, path) ||
	    stree_find(&fx_of(&t->view)->now, sc->room_path) == NULL)
		return 0;
	sim_trace("  no room beside %s", sc->room_path);
	return err_set(err, ERR_NO_SPACE, "the disk of '%s' is full", t->view.name);
}

int fx_denied(struct target *t, const char *path, struct err *err)
{
	if (!world->faults_on || fx_of(&t->view)->denied_until_op <= world->ops || is_within(t->view.facts.base, path))
		return 0;
	sim_trace("  permission denied");
	return err_set(err, ERR_PERMISSION, "'%s' may not be changed on '%s'", path, t->view.name);
}

int fx_enter(struct target *t, const char *what, const char *path, struct err *err)
{
	sim_alone_races(path);
	int r = fx_before(&t->view, what, path, true, err);
	if (r == 0)
		r = fx_guard(t, path, err);
	if (r == 0)
		r = fx_denied(t, path, err);
	return r;
}

/* After the operation: was the reply lost, did we die with it done? */
int fx_after(struct view *v, int r, struct err *err)
{
	if (world->sc.real)
		sim_watch_secrets(fx_of(v));
	sim_step("reply");
	sim_alone_moves();
	if (fx_of(v)->remote && is_cancelled(v)) {
		sim_trace("  cancelled while the reply was awaited");
		return err_set(err, ERR_CANCELLED, "cancelled");
	}
	if (!world->faults_on || !fx_of(v)->remote || !sim_chance(world->sc.rates.after))
		return r;
	world->nets++;
	sim_trace("  reply lost");
	return err_set(err, ERR_UNKNOWN, "the reply of '%s' was lost", v->name);
}

/* The request is on its way, the caller gives it up. */
bool fx_goes_late(struct target *t, enum late_kind kind, const char *path, const char *other, const struct blob *data,
                  const struct sattr *attr)
{
	struct starget *st = fx_of(&t->view);
	if (!world->faults_on || !st->remote || t->lock_dir == NULL)
		return false;
	bool cancelled = is_cancelled(&t->view);
	if (cancelled ? sim_below(2) == 0 : !sim_chance(world->sc.rates.late))
		return false;
	for (int i = 0; i < SIM_LATE; i++) {
		struct late *l = &st->late[i];
		if (l->kind != LATE_NONE)
			continue;
		uint64_t most = world->sc.late_ops > 0 ? (uint64_t)world->sc.late_ops : 80;
		*l = (struct late){.kind = kind,
		                   .noted = sim_below(2) == 0,
		                   .due_op = world->ops + 1 + (int64_t)sim_below(most),
		                   .data = data,
		                   .attr = attr ? *attr : fx_attr(NULL)};
		if (cancelled) {
			l->noted = true;
			l->given_up_by = world->slots[sim_slot].pid;
			l->handle = &t->view;
		}
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

void fx_late(struct target *t, enum late_kind kind, const char *path, const struct blob *data)
{
	struct starget *st = fx_of(&t->view);
	for (int i = 0; i < SIM_LATE; i++) {
		struct late *l = &st->late[i];
		if (l->kind != LATE_NONE)
			continue;
		*l = (struct late){.kind = kind,
		                   .noted = true,
		                   .given_up_by = world->slots[sim_slot].pid,
		                   .handle = &t->view,
		                   .due_op = world->ops + 1 + (int64_t)sim_below(80),
		                   .data = data};
		snprintf(l->path, sizeof(l->path), "%s", path);
		snprintf(l->lock_dir, sizeof(l->lock_dir), "%s", t->lock_dir);
		snprintf(l->token, sizeof(l->token), "%s", t->token);
		world->lates++;
		return;
	}
}

struct late *fx_at_work(struct target *t, const struct blob *words)
{
	struct starget *st = fx_of(&t->view);
	for (int i = 0; world->sc.real && world->faults_on && t->lock_dir && i < SIM_LATE; i++) {
		struct late *l = &st->late[i];
		if (l->kind != LATE_NONE)
			continue;
		*l = (struct late){.kind = LATE_RUN,
		                   .noted = true,
		                   .passed = true,
		                   .due_op = world->ops + 1 + (int64_t)sim_below(200),
		                   .data = words};
		snprintf(l->path, sizeof(l->path), "%s", (const char *)words->data);
		snprintf(l->lock_dir, sizeof(l->lock_dir), "%s", t->lock_dir);
		snprintf(l->token, sizeof(l->token), "%s", t->token);
		return l;
	}
	return NULL;
}

int fx_breaks(struct target *t, struct err *err)
{
	if (!world->faults_on || !fx_of(&t->view)->remote || !sim_chance(world->sc.rates.after))
		return 0;
	world->nets++;
	sim_trace("  the connection breaks in the middle");
	return err_set(err, ERR_UNKNOWN, "the connection to '%s' broke", t->view.name);
}

int fx_lost(struct target *t, struct err *err)
{
	return is_cancelled(&t->view) ? err_set(err, ERR_CANCELLED, "cancelled")
	                              : err_set(err, ERR_UNKNOWN, "the reply did not come in time");
}

/* ---- effects ---- */

bool fx_parent_ok(struct starget *t, const char *path)
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

int fx_no_parent(const char *path, struct err *err)
{
	return err_set(err, ERR_NOT_FOUND, "'%s': there is no such directory", path);
}

static bool late_acts; /* it is nobody's turn: a request of before arrives */

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
		if (i != sim_slot && world->slots[i].alive && world->slots[i].pid == pid && !sim_store_is_cut_off(i))
			sim_violation("the lock was taken from the process %d, which lives", pid);
}

/* Names are "u7", "g7", or the number alone. */
static int64_t number_of(const char *name)
{
	if (name == NULL)
		return -1;
	if (strcmp(name, "root") == 0)
		return 0;
	return strtol(name[0] == 'u' || name[0] == 'g' ? name + 1 : name, NULL, 10);
}

/* "u:7:r,u:8:r" as the entries that a list shows. */
static const struct blob *acl_of(const char *readers)
{
	char text[SIM_TEXT] = "";
	for (const char *at = readers; at && *at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
		unsigned uid = 0;
		char perms[4] = "";
		size_t len = strlen(text);
		if (sscanf(at, "u:%u:%3[rwx]", &uid, perms) != 2)
			sim_violation("'%s' is no access list", readers);
		snprintf(text + len, sizeof(text) - len, "user:%u:%s\n", uid, strchr(perms, 'x') ? "r-x" : "r--");
	}
	return readers ? sim_blob(text, strlen(text)) : NULL;
}

struct sattr fx_attr(const struct node_attr *attr)
{
	if (attr == NULL)
		return (struct sattr){.uid = -1, .gid = -1};
	return (struct sattr){.set_mode = attr->set_mode,
	                      .mode = (uint16_t)attr->mode,
	                      .set_mtime = attr->set_mtime,
	                      .mtime_ns = attr->mtime_ns,
	                      .fresh = attr->fresh,
	                      .alone = attr->alone,
	                      .uid = number_of(attr->owner),
	                      .gid = number_of(attr->group),
	                      .acl = acl_of(attr->acl)};
}

/* The mask of an access list shows as the group's bits. */
void fx_dress(struct snode *n, const struct snode *former, const struct sattr *attr)
{
	uint16_t otherwise = former ? former->mode : n->type == NODE_DIR ? 0755 : 0644;
	n->mode = attr->set_mode ? attr->mode : otherwise;
	n->uid = attr->uid >= 0 ? (uint32_t)attr->uid : former ? former->uid : 0;
	n->gid = attr->gid >= 0 ? (uint32_t)attr->gid : former ? former->gid : 0;
	n->acl = attr->acl ? attr->acl : former && !attr->alone ? former->acl : NULL;
	if (attr->acl)
		n->mode |= strstr((const char *)attr->acl->data, "r-x") ? 0050 : 0040;
	if (attr->set_mtime)
		n->mtime_ns = attr->mtime_ns;
}

/* A name came or went in it. */
void fx_touch_parent(struct starget *t, const char *path)
{
	char parent[SIM_PATH];
	snprintf(parent, sizeof(parent), "%s", path);
	char *slash = strrchr(parent, '/');
	if (slash == NULL || slash == parent)
		return;
	*slash = '\0';
	struct snode *n = stree_find(&t->now, parent);
	if (n)
		n->mtime_ns = (world->mono_ms + world->wall_offset_ms) * 1000000;
}

int fx_put(struct starget *t, const char *path, const struct blob *data, const struct sattr *attr, struct err *err)
{
	struct snode *old = stree_find(&t->now, path);
	if (old && old->type == NODE_DIR)
		return err_set(err, ERR_EXISTS, "'%s' is a directory", path);
	if (!fx_parent_ok(t, path))
		return fx_no_parent(path, err);
	watch_lock(t, path, (const char *)data->data);
	const struct snode former = old ? *old : (struct snode){0};
	struct snode *n = stree_set(&t->now, path, NODE_FILE, 0600, data);
	n->synced = data;
	fx_dress(n, former.type == NODE_FILE && !attr->fresh ? &former : NULL, attr);
	fx_touch_parent(t, path);
	return 0;
}

int fx_symlink(struct starget *t, const char *path, const struct blob *link, struct err *err)
{
	const struct snode *old = stree_find(&t->now, path);
	if (old && old->type != NODE_LINK)
		return err_set(err, ERR_EXISTS, "'%s' is no link", path);
	if (!fx_parent_ok(t, path))
		return fx_no_parent(path, err);
	stree_set(&t->now, path, NODE_LINK, 0777, link);
	fx_touch_parent(t, path);
	return 0;
}

int fx_mkdir(struct starget *t, const char *path, const struct sattr *attr, struct err *err)
{
	if (stree_find(&t->now, path))
		return err_set(err, ERR_EXISTS, "'%s' is there", path);
	if (!fx_parent_ok(t, path))
		return fx_no_parent(path, err);
	fx_dress(stree_set(&t->now, path, NODE_DIR, 0700, NULL), NULL, attr);
	fx_touch_parent(t, path);
	return 0;
}

int fx_remove(struct starget *t, const char *path, struct err *err)
{
	struct snode *n = stree_find(&t->now, path);
	if (n == NULL)
		return err_set(err, ERR_NOT_FOUND, "'%s' is not there", path);
	if (n->type == NODE_DIR && stree_has_children(&t->now, path))
		return err_set(err, ERR_EXISTS, "'%s' is not empty", path);
	stree_drop(&t->now, n);
	fx_touch_parent(t, path);
	return 0;
}

/* Deepest first; a death in the middle leaves the rest. `by` NULL: at once. */
int fx_remove_tree(struct starget *t, const char *path, struct target *by, struct err *err)
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
		int r = by ? fx_go_on(by, "remove_tree", true, err) : 0;
		if (r < 0)
			return r;
	}
}

int fx_append(struct starget *t, const char *path, const struct blob *data, struct err *err)
{
	struct snode *n = stree_find(&t->now, path);
	const struct blob *old = n ? n->content : NULL, *synced = n ? n->synced : NULL;
	if (!fx_parent_ok(t, path))
		return fx_no_parent(path, err);
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

int fx_rename(struct starget *t, const char *from, const char *to, struct err *err)
{
	struct snode *n = stree_find(&t->now, from);
	if (n == NULL)
		return err_set(err, ERR_NOT_FOUND, "'%s' is not there", from);
	if (!fx_parent_ok(t, to))
		return fx_no_parent(to, err);
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
		fx_touch_parent(t, from);
		fx_touch_parent(t, to);
		return 0;
	}
	if (old)
		stree_drop(&t->now, old);
	stree_parents_durable(t, to);
	struct stree *const trees[] = {&t->now, &t->durable};
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
	fx_touch_parent(t, from);
	fx_touch_parent(t, to);
	return 0;
}

static void arrive(struct starget *t, struct late *l)
{
	enum late_kind kind = l->kind;
	l->kind = LATE_NONE;
	if (!l->passed && !token_is(t, l->lock_dir, l->token)) {
		sim_trace("late request for %s: refused by the guard", l->path);
		return;
	}
	sim_trace("late request for %s is carried out", l->path);
	late_acts = true;
	switch (kind) {
	case LATE_PUT:
		fx_put(t, l->path, l->data, &l->attr, NULL);
		break;
	case LATE_SYMLINK:
		fx_symlink(t, l->path, l->data, NULL);
		break;
	case LATE_RENAME:
		fx_rename(t, l->path, l->other, NULL);
		break;
	case LATE_REMOVE:
		fx_remove(t, l->path, NULL);
		break;
	case LATE_REMOVE_TREE:
		fx_remove_tree(t, l->path, NULL, NULL);
		break;
	case LATE_MKDIR:
		fx_mkdir(t, l->path, &l->attr, NULL);
		break;
	case LATE_APPEND:
		fx_append(t, l->path, l->data, NULL);
		break;
	case LATE_RUN:
		sim_command_acts(t, l->data, true);
		break;
	case LATE_UNPACK:
		sim_unpack_late(t, l->path, l->data);
		break;
	case LATE_NONE:
	default:
		break;
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
