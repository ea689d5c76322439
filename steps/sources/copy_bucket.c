/* Copies in a bucket: PREFIX/copies/NAME.ENVIRONMENT/ID/FILE. One object each, in parts that fit in memory; an upload that was begun is found by
 * its key. */
#include "steps/sources/copies.h"
#include "base/sys/fs.h"
#include "engine/lock/lock.h"
#include "providers/s3/target.h"
#include <inttypes.h>

enum { PART_MIN = 8 << 20, PART_MAX = 32 << 20, KEYS_MAX = 200000 };

struct bucket_upload {
	struct s3_upload *upload; /* NULL: it fits in one request so far */
	struct str held;
	size_t part;
};

static struct s3 *bucket_of(const struct copy_place *p)
{
	return s3_of_target(&p->t->view);
}

static char *key_of(const struct copy_place *p, const char *name)
{
	return xasprintf("%scopies/%s", s3_prefix_of_target(&p->t->view), name);
}

/* Before each request that changes something: a bucket cannot tell who has the lock. */
static int guard(const struct copy_place *p, struct err *err)
{
	return lock_guard(p->own, err);
}

/* 0: it does not fit. */
static size_t part_for(const struct copy_place *p, int64_t bytes)
{
	int64_t parts = s3_parts_max(bucket_of(p)) - 10, least = (bytes + parts - 1) / parts;
	return least > PART_MAX ? 0 : (size_t)MAX((int64_t)PART_MIN, least);
}

static int check_size(const struct copy_place *p, int64_t bytes, struct err *err)
{
	if (part_for(p, bytes) > 0)
		return 0;
	return err_set(err, ERR_REFUSED, "%" PRId64 " MB are more than one object of '%s' can have", bytes / 1000000,
	               s3_host(bucket_of(p)));
}

static int ready(struct copy_place *p, int64_t bytes, struct err *err)
{
	_cleanup_free_ char *prefix = key_of(p, "");
	int r = check_size(p, bytes, err);
	return r < 0 ? r : s3_ask(bucket_of(p), prefix, p->c->wait, err);
}

static int list(struct copy_place *p, const char *dir, struct strv *ret, struct err *err)
{
	_cleanup_free_ char *root = key_of(p, dir), *prefix = xasprintf("%s/", root);
	struct strv keys _cleanup_(strv_done) = {0};
	int r = s3_list(bucket_of(p), prefix, KEYS_MAX, &keys, p->c->wait, err);
	for (size_t i = 0; r == 0 && i < keys.count; i++)
		strv_add(ret, keys.items[i] + strlen(prefix));
	return r;
}

static void forget(struct copy_place *p)
{
	struct bucket_upload *u = p->upload;
	if (u == NULL)
		return;
	s3_upload_freep(&u->upload);
	str_done(&u->held);
	free(u);
	p->upload = NULL;
}

static int begin(struct copy_place *p, const char *name, int64_t bytes, struct err *err)
{
	int r = check_size(p, bytes, err);
	if (r < 0)
		return r;
	struct bucket_upload *u = xcalloc(1, sizeof(*u));
	u->part = part_for(p, bytes);
	u->held = (struct str)STR_INIT(u->part + 1);
	p->upload = u;
	p->path = key_of(p, name);
	p->written = 0;
	return 0;
}

static int send_part(struct copy_place *p, struct err *err)
{
	struct bucket_upload *u = p->upload;
	int r = guard(p, err);
	if (r == 0 && u->upload == NULL) {
		r = s3_upload_begin(bucket_of(p), p->path, &u->upload, p->c->wait, err);
		if (r == 0)
			r = guard(p, err);
	}
	if (r == 0)
		r = s3_upload_part(u->upload, str_peek(&u->held), u->held.len, p->c->wait, err);
	str_clear(&u->held);
	return r;
}

static int write_some(struct copy_place *p, const void *data, size_t len, struct err *err)
{
	struct bucket_upload *u = p->upload;
	int r = 0;
	while (r == 0 && len > 0) {
		size_t n = MIN(len, u->part - u->held.len);
		if (!str_append_n(&u->held, data, n))
			return err_set(err, ERR_LIMIT, "a part is too large");
		data = (const char *)data + n;
		len -= n;
		p->written += (int64_t)n;
		if (u->held.len == u->part)
			r = send_part(p, err);
	}
	return r;
}

static int end(struct copy_place *p, struct err *err)
{
	struct bucket_upload *u = p->upload;
	int r = u->upload && u->held.len > 0 ? send_part(p, err) : 0;
	if (r == 0)
		r = guard(p, err);
	if (r < 0)
		return r;
	return u->upload ? s3_upload_end(u->upload, p->c->wait, err)
	                 : s3_put(bucket_of(p), p->path, str_peek(&u->held), u->held.len, p->c->wait, err);
}

static int read_some(struct copy_place *p, const char *name, int64_t first, pieces_sink sink, void *context,
                     struct err *err)
{
	_cleanup_free_ char *key = key_of(p, name);
	return s3_read(bucket_of(p), key, first, sink, context, p->c->wait, err);
}

static int remove_all(struct copy_place *p, const char *name, struct err *err)
{
	_cleanup_free_ char *key = key_of(p, name);
	struct strv keys _cleanup_(strv_done) = {0};
	/* An upload that is given up first leaves no object behind the list. */
	int r = guard(p, err);
	if (r == 0)
		r = s3_upload_give_up(bucket_of(p), key, p->c->wait, err);
	if (r == 0)
		r = s3_list(bucket_of(p), key, KEYS_MAX, &keys, p->c->wait, err);
	if (r < 0 || !strv_has(&keys, key))
		return r;
	r = guard(p, err);
	return r < 0 ? r : s3_delete(bucket_of(p), key, p->c->wait, err);
}

const struct copy_store copy_bucket = {
	.ready = ready,
	.list = list,
	.begin = begin,
	.write = write_some,
	.end = end,
	.read = read_some,
	.remove = remove_all,
	.forget = forget,
};
