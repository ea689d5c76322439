#include "engine/target/target.h"

int host_stat(struct view *v, const char *path, struct node *ret, struct err *err)
{
	return v->type->stat(v, path, ret, err);
}

int host_read(struct view *v, const char *path, size_t max, struct str *out, struct err *err)
{
	return v->type->read(v, path, max, out, err);
}

int host_list(struct view *v, const char *path, struct strv *ret, struct err *err)
{
	return v->type->list(v, path, ret, err);
}

int host_digest(struct view *v, const char *path, char hex[65], struct err *err)
{
	return v->type->digest(v, path, hex, err);
}

int host_tree(struct view *v, const char *path, bool digests, struct tree *ret, struct err *err)
{
	return v->type->tree(v, path, digests, ret, err);
}

int host_space(struct view *v, const char *path, int64_t *ret_free_bytes, struct err *err)
{
	return v->type->space(v, path, ret_free_bytes, err);
}

int host_query(struct view *v, const struct target_command *command, struct target_result *ret, struct err *err)
{
	return v->type->query(v, command, ret, err);
}

int host_mkdir(struct target *t, const char *path, const struct node_attr *attr, struct err *err)
{
	return t->view.type->mkdir(t, path, attr, err);
}

int host_put(struct target *t, const char *path, const void *data, size_t len, const struct node_attr *attr,
             struct err *err)
{
	return t->view.type->put(t, path, data, len, attr, err);
}

int host_append(struct target *t, const char *path, const void *data, size_t len, struct err *err)
{
	return t->view.type->append(t, path, data, len, err);
}

int host_symlink(struct target *t, const char *path, const char *link, struct err *err)
{
	return t->view.type->symlink(t, path, link, err);
}

int host_link_new(struct target *t, const char *from, const char *to, struct err *err)
{
	return t->view.type->link_new(t, from, to, err);
}

int host_rename(struct target *t, const char *from, const char *to, struct err *err)
{
	return t->view.type->rename(t, from, to, err);
}

int host_remove(struct target *t, const char *path, struct err *err)
{
	return t->view.type->remove(t, path, err);
}

int host_remove_tree(struct target *t, const char *path, struct err *err)
{
	return t->view.type->remove_tree(t, path, err);
}

int host_set_attr(struct target *t, const char *path, const struct node_attr *attr, struct err *err)
{
	return t->view.type->set_attr(t, path, attr, err);
}

int host_dress_like(struct target *t, const char *path, const char *from, struct err *err)
{
	return t->view.type->dress_like(t, path, from, err);
}

int host_copy(struct target *t, const char *from, const char *to, struct err *err)
{
	return t->view.type->copy(t, from, to, err);
}

int host_clone_files(struct target *t, const char *from, const char *to, const struct strv *paths, bool hard_links,
                     struct err *err)
{
	return t->view.type->clone_files(t, from, to, paths, hard_links, err);
}

int host_unpack(struct target *t, const char *dir, enum archive_compression compression, target_produce_fn produce,
                void *context, struct err *err)
{
	return t->view.type->unpack(t, dir, compression, produce, context, err);
}

int host_run(struct target *t, const struct target_command *command, struct target_result *ret, struct err *err)
{
	return t->view.type->run(t, command, ret, err);
}

int host_barrier(struct target *t, const char *const *paths, size_t count, struct err *err)
{
	return t->view.type->barrier(t, paths, count, err);
}

int host_fence(struct target *t, const char *lock_dir, struct err *err)
{
	return t->view.type->fence(t, lock_dir, err);
}
