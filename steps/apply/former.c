/* What a change has saved for its undo gets a second name (a hard link) before the lock's copy goes. */
#include "steps/apply/former.h"

#include "base/secret/digest.h"
#include "base/sys/fs.h"
#include "engine/change/change.h"
#include "engine/lock/lock.h"
#include "steps/machine/machine.h"

#include <inttypes.h>
#include <string.h>

enum { CONTENT_MAX = 64 << 20, ALL_MAX = 256 << 20 };

/* In front of what a kind of machines has saved (steps/machine/unit.c). */
static const char begun[] = "begun\n";

static char *former_dir(const struct step_context *c, const struct view *v)
{
	return xasprintf("%s/former/%s.%s", v->facts.base, c->deployment->name, c->deployment->environment);
}

/* ---- kept ---- */

static bool is_of_step(const struct step_context *c, const struct change *change)
{
	const json_t *of = json_object_get(change->extra, "of");
	const char *led = json_get_string(of, "step");
	if (led != NULL)
		return json_get_int(of, "place", -1) == c->place && strcmp(led, c->type->info->name) == 0;
	return change->step_index == c->index && strcmp(change->step, c->type->info->name) == 0;
}

/* The digest of a content that the change replaced; NULL: none, or it is there still. */
static const char *replaced(const struct change *change)
{
	const char *was = json_get_string(change->before, "digest"), *is = json_get_string(change->after, "digest");
	bool made = change->state != CHANGE_UNDONE && change->action != ACTION_ADOPT && !change->secret;
	if (!made || was == NULL || strlen(was) != DIGEST_HEX - 1 || (is != NULL && strcmp(is, was) == 0))
		return NULL;
	return strspn(was, "0123456789abcdef") == DIGEST_HEX - 1 ? was : NULL;
}

struct links {
	struct target_op *ops;
	size_t count, cap;
	struct strv names;
	int64_t bytes;
};

static void links_done(struct links *l)
{
	free(l->ops);
	strv_done(&l->names);
}

/* The names are the list's as long as it lives. */
static const char *keep_name(struct links *l, char *name)
{
	strv_add_take(&l->names, name);
	return l->names.items[l->names.count - 1];
}

static struct target_op *add(struct links *l, enum target_op_kind kind, char *path)
{
	l->ops = xgrow(l->ops, &l->cap, l->count + 1, sizeof(*l->ops));
	l->ops[l->count] = (struct target_op){.kind = kind, .path = keep_name(l, path)};
	return &l->ops[l->count++];
}

static void add_directories(struct links *l, const struct view *v, const char *dir, const char *own)
{
	static const struct node_attr closed = {.set_mode = true, .mode = 0700};
	char *const all[] = {xasprintf("%s/former", v->facts.base), xstrdup(dir), xstrdup(own)};
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		struct target_op *op = add(l, TARGET_MKDIR, all[i]);
		op->attr = &closed;
		op->fine = ERR_EXISTS;
	}
}

static void add_links(struct links *l, const struct step_context *c, const struct target *t, const struct plan *all,
                      const char *own)
{
	for (size_t i = 0; i < all->count; i++) {
		const struct change *change = &all->changes[i];
		const char *digest = is_of_step(c, change) ? replaced(change) : NULL;
		int64_t size = json_get_int(change->before, "size", 0);
		if (digest == NULL || strcmp(change->target, t->view.name) != 0 || size > CONTENT_MAX ||
		    l->bytes + size > ALL_MAX)
			continue;
		l->bytes += size;
		const char *from = keep_name(l, xasprintf("%s/undo/%" PRId64, t->lock_dir, change->id));
		struct target_op *op = add(l, TARGET_LINK_NEW, fs_join(own, digest));
		op->from = from;
		op->fine = ERR_EXISTS;
		op->also_fine = ERR_NOT_FOUND;
	}
}

static int add_older(struct links *l, const struct step_context *c, struct view *v, const char *dir, struct err *err)
{
	_cleanup_(strv_done) struct strv names = {0};
	int r = host_list(v, dir, &names, err);
	if (r == ERR_NOT_FOUND) {
		err_clear(err);
		return 0;
	}
	for (size_t i = 0; r == 0 && i < names.count; i++)
		if (strcmp(names.items[i], c->deployment->id) != 0)
			add(l, TARGET_REMOVE_TREE, fs_join(dir, names.items[i]));
	return r;
}

static bool has_own(const struct step_context *c, const struct plan *all)
{
	for (size_t i = 0; i < all->count; i++)
		if (is_of_step(c, &all->changes[i]))
			return true;
	return false;
}

int former_keep(const struct step_context *c, struct target *t, struct err *err)
{
	_cleanup_(plan_done) struct plan all = {0};
	_cleanup_(links_done) struct links l = {0};
	_cleanup_free_ char *dir = former_dir(c, &t->view), *own = fs_join(dir, c->deployment->id);
	int r = t->lock_dir != NULL ? lock_read_changes(&t->view, t->lock_dir, &all, err) : 0;
	if (r < 0 || !has_own(c, &all))
		return r;
	add_directories(&l, &t->view, dir, own);
	size_t directories = l.count;
	add_links(&l, c, t, &all, own);
	if (l.count == directories)
		l.count = 0;
	r = add_older(&l, c, &t->view, dir, err);
	return r < 0 || l.count == 0 ? r : target_do(t, l.ops, l.count, err);
}

/* ---- read ---- */

static bool fits(const char *data, size_t len, const char *digest)
{
	char hex[DIGEST_HEX];
	digest_of(data, len, hex);
	return strcmp(hex, digest) == 0;
}

static int take(const struct str *text, const char *digest, struct str *out, struct err *err)
{
	const char *data = str_peek(text);
	size_t len = text->len, skip = str_starts(data, begun) ? strlen(begun) : 0;
	if (fits(data, len, digest))
		str_append_n(out, data, len);
	else if (skip > 0 && fits(data + skip, len - skip, digest))
		str_append_n(out, data + skip, len - skip);
	else
		return err_set(err, ERR_NOT_FOUND, "it is not what was kept");
	return 0;
}

int former_read(const struct step_context *c, struct view *v, const char *digest, struct str *out, struct err *err)
{
	_cleanup_(strv_done) struct strv ids = {0};
	_cleanup_free_ char *dir = former_dir(c, v);
	int r = host_list(v, dir, &ids, err);
	for (size_t i = ids.count; r == 0 && i-- > 0;) {
		_cleanup_free_ char *path = xasprintf("%s/%s/%s", dir, ids.items[i], digest);
		_cleanup_(str_done) struct str text = STR_INIT(CONTENT_MAX + 1024);
		r = host_read(v, path, CONTENT_MAX, &text, err);
		if (r == 0)
			return take(&text, digest, out, err);
		if (r != ERR_NOT_FOUND)
			return r;
		err_clear(err);
		r = 0;
	}
	return r < 0 ? r : err_set(err, ERR_NOT_FOUND, "it was not kept");
}
