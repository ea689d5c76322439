#include "engine/target/target.h"

#include "base/secret/digest.h"
#include "base/sys/fs.h"
#include "base/data/json.h"
#include "base/core/rand.h"
#include <signal.h>
#include <string.h>

bool target_was_killed(int status)
{
	return status > 128 && status <= 128 + SIGRTMAX;
}

void target_result_done(struct target_result *r)
{
	str_done(&r->out);
	str_done(&r->err);
}

int target_open(struct view *v, struct err *err)
{
	return v->kind->open(v, err);
}

bool target_is_host(const struct target *t)
{
	return t->view.kind->host != NULL;
}

void target_free(struct target *t)
{
	if (t)
		t->view.kind->free(t);
}

void target_freep(struct target **t)
{
	target_free(*t);
}

void target_done(struct target *t)
{
	struct target_facts *f = &t->view.facts;
	free(f->base);
	free(f->identity);
	free(f->user);
	free(f->machine_id);
	free(f->boot_id);
	free(f->hostname);
	free(t->view.name);
	free(t->lock_dir);
	free(t->token);
}

int target_stat_each(struct view *v, const char *const *paths, size_t count, struct node *ret, struct err *err)
{
	int r = 0;
	size_t i = 0;
	for (; i < count && r == 0; i++) {
		ret[i] = (struct node){0};
		r = host_stat(v, paths[i], &ret[i], err);
	}
	for (size_t k = 0; r < 0 && k < i; k++)
		node_done(&ret[k]);
	return r;
}

int target_stat_all(struct view *v, const char *const *paths, size_t count, struct node *ret, struct err *err)
{
	return (v->type->stat_all ? v->type->stat_all : target_stat_each)(v, paths, count, ret, err);
}

int target_digests_each(struct view *v, const char *dir, const char *const *names, size_t count, char (*hex)[65],
                        struct err *err)
{
	for (size_t i = 0; i < count; i++) {
		_cleanup_free_ char *path = fs_join(dir, names[i]);
		int r = host_digest(v, path, hex[i], err);
		if (r == ERR_NOT_FOUND) {
			err_clear(err);
			hex[i][0] = '\0';
		} else if (r < 0) {
			return r;
		}
	}
	return 0;
}

int target_digests(struct view *v, const char *dir, const char *const *names, size_t count, int64_t bytes,
                   char (*hex)[65], struct err *err)
{
	if (v->type->digests)
		return v->type->digests(v, dir, names, count, bytes, hex, err);
	return target_digests_each(v, dir, names, count, hex, err);
}

int target_barrier_read(struct target *t, const char *const *paths, size_t count, const char *path, size_t max,
                        struct str *out, struct err *err)
{
	if (t->view.type->barrier_read)
		return t->view.type->barrier_read(t, paths, count, path, max, out, err);
	int r = host_barrier(t, paths, count, err);
	return r < 0 ? r : host_read(&t->view, path, max, out, err);
}

int target_put_like(struct target *t, const char *path, const struct str *data, const struct node_attr *attr,
                    const char *from, const struct str *from_data, struct err *err)
{
	if (t->view.type->put_like)
		return t->view.type->put_like(t, path, data, attr, from, from_data, err);
	return host_put(t, path, str_peek(data), data->len, attr, err);
}

static int do_one(struct target *t, const struct target_op *op, struct err *err)
{
	switch (op->kind) {
	case TARGET_MKDIR:
		return host_mkdir(t, op->path, op->attr, err);
	case TARGET_PUT:
		return host_put(t, op->path, op->data, op->len, op->attr, err);
	case TARGET_LINK_NEW:
		return host_link_new(t, op->from, op->path, err);
	case TARGET_REMOVE:
		return host_remove(t, op->path, err);
	case TARGET_REMOVE_TREE:
		return host_remove_tree(t, op->path, err);
	}
	return err_set(err, ERR_INTERNAL, "an operation of kind %d", (int)op->kind);
}

int target_do(struct target *t, const struct target_op *ops, size_t count, struct err *err)
{
	if (t->view.type->do_all)
		return t->view.type->do_all(t, ops, count, err);
	for (size_t i = 0; i < count; i++) {
		int r = do_one(t, &ops[i], err);
		bool kept = ops[i].may_stay && (r == ERR_PERMISSION || r == ERR_IO);
		if (r < 0 && (kept || r == ops[i].fine || r == ops[i].also_fine))
			err_clear(err);
		else if (r < 0)
			return r;
	}
	return 0;
}

char *target_private_name_for(const char *path, const char *purpose)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	char hex[DIGEST_HEX];
	digest_of(name, strlen(name), hex);
	return xasprintf("%.*s.davit-%s-%.16s", (int)(name - path), path, purpose, hex);
}

char *target_private_name(const char *path)
{
	return target_private_name_for(path, "new");
}

char *target_fresh_name(const char *path, const char *purpose)
{
	char random[33];
	_cleanup_free_ char *known = target_private_name_for(path, purpose);
	rand_hex(random, 32);
	return xasprintf("%s-%s", known, random);
}

bool target_is_private_name(const char *name, const char *path)
{
	const char *const purposes[] = {"new", "undo", "link"};
	const char *slash = strrchr(path, '/');
	for (size_t i = 0; i < ARRAY_SIZE(purposes); i++) {
		_cleanup_free_ char *known = target_private_name_for(slash ? slash + 1 : path, purposes[i]);
		size_t len = strlen(known);
		if (strncmp(name, known, len) != 0)
			continue;
		if (name[len] == '\0' || (name[len] == '-' && strlen(name + len + 1) == 32 &&
		                          strspn(name + len + 1, "0123456789abcdef") == 32))
			return true;
	}
	return false;
}

int target_look(struct view *v, const char *path, bool with_digest, json_t **ret_node, struct err *err)
{
	_cleanup_(node_done) struct node n = {0};
	char hex[DIGEST_HEX] = "";
	int r = host_stat(v, path, &n, err);
	if (r < 0)
		return err_wrap(err, r, "look at '%s'", path);
	if (n.type == NODE_FILE && with_digest) {
		r = host_digest(v, path, hex, err);
		if (r < 0)
			return err_wrap(err, r, "look at '%s'", path);
	}
	*ret_node = node_to_json(&n, *hex ? hex : NULL);
	return 0;
}
