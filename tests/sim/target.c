/* The simulated target: the operations of engine/target/target.h on a tree in shared memory, each guarded, each with the faults that a target on
 * the other end of a line can have. */
#include "schemas/targets/local.h"
#include "sim/effects.h"

#include "base/secret/digest.h"
#include "provider/provider.h"

/* Which of the world's targets a name means: "t1". */
/* ---- looking ---- */

static int sim_open(struct view *v, struct err *err)
{
	struct sim_target *s = (struct sim_target *)v;
	if (s->opened)
		return 0;
	int r = fx_before(v, "open", "", false, err);
	if (r < 0)
		return r;
	v->facts.base = xstrdup("/var/lib/davit");
	v->facts.identity = xasprintf("SHA256:%d", s->index);
	v->facts.user = xstrdup("root");
	v->facts.machine_id = xasprintf("t%d", s->index);
	v->facts.boot_id = xasprintf("tb%d", fx_of(v)->boots);
	v->facts.hostname = xstrdup(v->name);
	v->facts.is_root = v->facts.has_tar = v->facts.has_sha256sum = v->facts.has_setfacl = true;
	s->boots = fx_of(v)->boots;
	s->opened = true;
	return 0;
}

static int sim_stat(struct view *v, const char *path, struct node *ret, struct err *err)
{
	int r = fx_before(v, "stat", path, false, err);
	if (r < 0)
		return r;
	const struct snode *n = stree_find(&fx_of(v)->now, path);
	*ret = (struct node){0};
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
	const struct snode *n = stree_find(&fx_of(v)->now, path);
	if (n == NULL)
		*r = err_set(err, ERR_NOT_FOUND, "'%s' is not there", path);
	else if (n->type != type)
		*r = err_set(err, ERR_IO, "'%s' is something else", path);
	return *r < 0 ? NULL : n;
}

static int sim_read(struct view *v, const char *path, size_t max, struct str *out, struct err *err)
{
	int r = fx_before(v, "read", path, false, err);
	if (r == 0 && is_within("/proc", path)) {
		str_appendf(out, "boot %d\n", fx_of(v)->boots);
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
	int r = fx_before(v, "list", path, false, err);
	if (r == 0)
		must_find(v, path, NODE_DIR, &r, err);
	if (r < 0)
		return r;
	struct strv names = {0};
	const struct stree *t = &fx_of(v)->now;
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
	int r = fx_before(v, "digest", path, false, err);
	const struct snode *n = r < 0 ? NULL : must_find(v, path, NODE_FILE, &r, err);
	if (r < 0)
		return r;
	digest_of(n->content->data, n->content->len, hex);
	return 0;
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
	int r = fx_before(v, "query", "", false, err);
	if (r == 0)
		ret->status = sim_question(fx_of(v), command, ret);
	return r;
}

/* ---- changing ---- */

/* A setfacl that fails, after the rest was done. */
static int acl_fails(const struct starget *st, const struct sattr *attr, const char *path, struct err *err)
{
	return st->no_acl && attr->acl ? err_set(err, ERR_UNSUPPORTED, "'%s': no access list can be set", path) : 0;
}

static int sim_mkdir(struct target *t, const char *path, const struct node_attr *given, struct err *err)
{
	const struct sattr attr = fx_attr(given);
	int r = fx_enter(t, "mkdir", path, err);
	if (r == 0)
		r = fx_full(t, err);
	if (r == 0)
		r = acl_fails(fx_of(&t->view), &attr, path, err);
	if (r < 0)
		return r;
	if (fx_goes_late(t, LATE_MKDIR, path, NULL, NULL, &attr))
		return fx_lost(t, err);
	return fx_after(&t->view, fx_mkdir(fx_of(&t->view), path, &attr, err), err);
}

/* In a directory of our own beside it; a death in the middle leaves that. */
static int write_beside(struct target *t, const char *path, const struct blob *b, struct err *err)
{
	struct starget *st = fx_of(&t->view);
	_cleanup_free_ char *own = target_fresh_name(path, "new");
	_cleanup_free_ char *made = xasprintf("%s/new", own);
	stree_set(&st->now, own, NODE_DIR, 0700, NULL);
	stree_set(&st->now, made, NODE_FILE, 0600, b);
	int r = fx_go_on(t, "put: written", false, err);
	if (r == 0 && world->sc.real)
		r = fx_breaks(t, err);
	return r < 0 ? r : fx_remove_tree(st, own, NULL, err);
}

static int sim_put(struct target *t, const char *path, const void *data, size_t len, const struct node_attr *given,
                   struct err *err)
{
	const struct sattr attr = fx_attr(given);
	int r = fx_enter(t, "put", path, err);
	if (r == 0)
		r = fx_full(t, err);
	if (r < 0)
		return r;
	const struct blob *b = sim_blob(data, len);
	if (world->mark_op == 0 && strstr((const char *)b->data, "\"mark\":\""))
		world->mark_op = world->generation_ops;
	if (fx_goes_late(t, LATE_PUT, path, NULL, b, &attr))
		return fx_lost(t, err);
	if (world->faults_on && !is_within(t->view.facts.base, path) && fx_parent_ok(fx_of(&t->view), path))
		r = write_beside(t, path, b, err);
	if (r == 0)
		r = acl_fails(fx_of(&t->view), &attr, path, err);
	return r < 0 ? r : fx_after(&t->view, fx_put(fx_of(&t->view), path, b, &attr, err), err);
}

static int sim_append(struct target *t, const char *path, const void *data, size_t len, struct err *err)
{
	int r = fx_enter(t, "append", path, err);
	if (r == 0)
		r = fx_full(t, err);
	if (r < 0)
		return r;
	const struct blob *b = sim_blob(data, len);
	if (fx_goes_late(t, LATE_APPEND, path, NULL, b, NULL))
		return fx_lost(t, err);
	return fx_after(&t->view, fx_append(fx_of(&t->view), path, b, err), err);
}

static int sim_symlink(struct target *t, const char *path, const char *link, struct err *err)
{
	int r = fx_enter(t, "symlink", path, err);
	if (r < 0)
		return r;
	const struct blob *b = sim_blob(link, strlen(link));
	if (fx_goes_late(t, LATE_SYMLINK, path, NULL, b, NULL))
		return fx_lost(t, err);
	return fx_after(&t->view, fx_symlink(fx_of(&t->view), path, b, err), err);
}

static int do_link_new(struct starget *t, const char *from, const char *to, struct err *err)
{
	const struct snode *n = stree_find(&t->now, from);
	if (n == NULL)
		return err_set(err, ERR_NOT_FOUND, "'%s' is not there", from);
	if (!fx_parent_ok(t, to))
		return fx_no_parent(to, err);
	if (stree_find(&t->now, to))
		return err_set(err, ERR_EXISTS, "'%s' is there", to);
	struct snode copy = *n;
	struct snode *made = stree_set(&t->now, to, (enum node_type)copy.type, copy.mode, copy.content);
	made->synced = copy.synced;
	return 0;
}

static int sim_link_new(struct target *t, const char *from, const char *to, struct err *err)
{
	int r = fx_enter(t, "link_new", to, err);
	return r < 0 ? r : fx_after(&t->view, do_link_new(fx_of(&t->view), from, to, err), err);
}

static int sim_rename(struct target *t, const char *from, const char *to, struct err *err)
{
	int r = fx_enter(t, "rename", to, err);
	if (r < 0)
		return r;
	if (fx_goes_late(t, LATE_RENAME, from, to, NULL, NULL))
		return fx_lost(t, err);
	return fx_after(&t->view, fx_rename(fx_of(&t->view), from, to, err), err);
}

static int sim_remove(struct target *t, const char *path, struct err *err)
{
	int r = fx_enter(t, "remove", path, err);
	if (r == 0 && sim_locks_keep(((struct sim_target *)t)->index, path))
		r = err_set(err, ERR_PERMISSION, "'%s' may not be removed", path);
	if (r < 0)
		return r;
	if (fx_goes_late(t, LATE_REMOVE, path, NULL, NULL, NULL))
		return fx_lost(t, err);
	return fx_after(&t->view, fx_remove(fx_of(&t->view), path, err), err);
}

static int sim_remove_tree(struct target *t, const char *path, struct err *err)
{
	int r = fx_enter(t, "remove_tree", path, err);
	if (r < 0)
		return r;
	if (fx_goes_late(t, LATE_REMOVE_TREE, path, NULL, NULL, NULL))
		return fx_lost(t, err);
	r = fx_remove_tree(fx_of(&t->view), path, t, err);
	return r < 0 ? r : fx_after(&t->view, 0, err);
}

static int sim_set_attr(struct target *t, const char *path, const struct node_attr *given, struct err *err)
{
	const struct sattr attr = fx_attr(given);
	int r = fx_enter(t, "set_attr", path, err);
	if (r < 0)
		return r;
	struct snode *n = stree_find(&fx_of(&t->view)->now, path);
	if (n == NULL)
		return err_set(err, ERR_NOT_FOUND, "'%s' is not there", path);
	/* Owner and the rest are two calls: a death may come between. */
	n->uid = attr.uid >= 0 ? (uint32_t)attr.uid : n->uid;
	n->gid = attr.gid >= 0 ? (uint32_t)attr.gid : n->gid;
	r = fx_go_on(t, "set_attr: owner set", false, err);
	if (r == 0)
		r = acl_fails(fx_of(&t->view), &attr, path, err);
	if (r < 0)
		return r;
	n = stree_find(&fx_of(&t->view)->now, path);
	if (n) {
		const struct snode former = *n;
		fx_dress(n, &former, &attr);
	}
	return fx_after(&t->view, 0, err);
}

static int sim_dress_like(struct target *t, const char *path, const char *from, struct err *err)
{
	struct starget *st = fx_of(&t->view);
	int r = fx_enter(t, "dress_like", path, err);
	if (r < 0)
		return r;
	const struct snode *like = stree_find(&st->now, from);
	struct snode *n = stree_find(&st->now, path);
	if (n == NULL || like == NULL || n->type != NODE_DIR || like->type != NODE_DIR)
		return err_set(err, ERR_NOT_FOUND, "'%s' or '%s' is no directory", path, from);
	const struct snode former = *like;
	n->uid = former.uid;
	n->gid = former.gid;
	r = fx_go_on(t, "dress_like: owner set", false, err);
	n = r < 0 ? NULL : stree_find(&st->now, path);
	if (n) {
		n->mode = former.mode;
		n->acl = former.acl;
		n->mtime_ns = former.mtime_ns;
	}
	return r < 0 ? r : fx_after(&t->view, 0, err);
}

static int sim_copy(struct target *t, const char *from, const char *to, struct err *err)
{
	struct starget *st = fx_of(&t->view);
	int r = fx_enter(t, "copy", to, err);
	if (r == 0)
		r = fx_full(t, err);
	if (r == 0)
		r = fx_no_room(t, to, err);
	if (r < 0)
		return r;
	if (stree_find(&st->now, to))
		return err_set(err, ERR_EXISTS, "'%s' is there", to);
	if (stree_find(&st->now, from) == NULL)
		return err_set(err, ERR_NOT_FOUND, "'%s' is not there", from);
	if (!fx_parent_ok(st, to))
		return fx_no_parent(to, err);
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
		made->acl = copy.acl;
		made->synced = NULL;
		r = fx_go_on(t, "copy", true, err);
		if (r < 0)
			return r;
		if (count > st->now.count)
			break; /* the target lost its power in the middle */
	}
	return fx_after(&t->view, 0, err);
}

/* A command is a process: it looks at the token, and then nothing but the fence stops it, whoever dies. */
static int sim_run(struct target *t, const struct target_command *command, struct target_result *ret, struct err *err)
{
	struct starget *st = fx_of(&t->view);
	const struct blob *words = sim_command_words(command);
	int r = fx_enter(t, "run", (const char *)words->data, err);
	if (r < 0)
		return r;
	if (fx_goes_late(t, LATE_RUN, (const char *)words->data, NULL, words, NULL))
		return fx_lost(t, err);
	if (world->sc.real) {
		struct late *work = fx_at_work(t, words);
		int boots = st->boots;
		sim_command_acts(st, words, false);
		sim_step("run: at work");
		if (st->boots != boots)
			return err_set(err, ERR_UNKNOWN, "'%s' was started again", t->view.name);
		/* The fence of one who took over has ended it. */
		bool ended = work && (work->kind != LATE_RUN || work->data != words);
		if (work && !ended)
			work->kind = LATE_NONE;
		if (ended && (r = fx_guard(t, (const char *)words->data, err)) < 0)
			return r;
	}
	ret->status = sim_command_acts(st, words, true);
	sim_trace("  serves %s", st->serving);
	return fx_after(&t->view, 0, err);
}

static int sim_barrier(struct target *t, const char *const *paths, size_t count, struct err *err)
{
	struct starget *st = fx_of(&t->view);
	int r = fx_before(&t->view, "barrier", count ? paths[0] : "", false, err);
	if (r < 0)
		return r;
	for (int i = 0; i < st->now.count; i++)
		st->now.nodes[i].synced = st->now.nodes[i].content;
	stree_copy(&st->durable, &st->now);
	st->rename_count = 0;
	return fx_after(&t->view, 0, err);
}

static int sim_fence(struct target *t, const char *lock_dir, struct err *err)
{
	struct starget *st = fx_of(&t->view);
	int r = fx_before(&t->view, "fence", lock_dir, false, err);
	if (r < 0)
		return r;
	for (int i = 0; i < SIM_LATE; i++)
		if (st->late[i].kind != LATE_NONE && st->late[i].noted && strcmp(st->late[i].lock_dir, lock_dir) == 0)
			st->late[i].kind = LATE_NONE;
	sim_alone_fenced(st, lock_dir);
	return fx_after(&t->view, 0, err);
}

static void sim_free(struct target *t)
{
	target_done(t);
	free(t);
}

static const struct host_type sim_host = {
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
	.dress_like = sim_dress_like,
	.copy = sim_copy,
	.clone_files = sim_clone_files,
	.unpack = sim_unpack,
	.run = sim_run,
	.barrier = sim_barrier,
	.fence = sim_fence,
};
static const struct target_type sim_type = {.name = "sim", .open = sim_open, .host = &sim_host, .free = sim_free};

int sim_target_new(const struct target_config *config, struct target **ret, struct err *err)
{
	(void)err;
	struct sim_target *s = xcalloc(1, sizeof(*s));
	s->t.view.kind = &sim_type;
	s->t.view.type = &sim_host;
	s->t.view.name = xstrdup(config->name);
	s->index = sim_target_index(config->name);
	*ret = &s->t;
	return 0;
}

/* In a shared journal a deployment with a machine's own files belongs to that machine. */
static struct target_kind sim_kind = {.choice = TARGET_LOCAL_CHOICE, .is_host = true, .make = sim_target_new};
void sim_target_is_remote(void)
{
	sim_kind.is_remote = true;
}

const struct field_choice *const sim_target_kinds[] = {&sim_kind.choice, &provider_kind.choice, NULL};
