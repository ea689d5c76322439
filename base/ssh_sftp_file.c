/* Whole files by SFTP: many requests are on the way at once, else each 32 KiB would cost a round trip. */
#include "base/rand.h"
#include "base/ssh_sftp.h"
#include "base/ssh_sftp_private.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- reading ---- */

/* A piece that was asked for; what came is put at its place, the rest is asked for again. */
struct piece {
	uint32_t id;
	uint64_t offset;
	uint32_t left; /* 0: free */
};

struct reading {
	struct sftp *f;
	const struct sftp_handle *handle;
	const char *path;
	char *into; /* `size` bytes */
	uint64_t size, asked, got;
	struct piece pieces[SFTP_FLYING];
	uint32_t first;
};

static uint32_t ask_piece(struct sftp *f, const struct sftp_handle *h, uint64_t offset, uint32_t len)
{
	uint32_t id;
	size_t begin = sftp_request_handle(f, SFTP_READ, h, &id);
	sftp_put_u64(&f->out, offset);
	sftp_put_u32(&f->out, len);
	sftp_request_end(f, begin);
	return id;
}

static void ask_more(struct reading *r)
{
	for (size_t i = 0; i < SFTP_FLYING && r->asked < r->size; i++) {
		struct piece *p = &r->pieces[i];
		if (p->left > 0)
			continue;
		p->offset = r->asked;
		p->left = (uint32_t)MIN((uint64_t)SFTP_PIECE, r->size - r->asked);
		p->id = ask_piece(r->f, r->handle, p->offset, p->left);
		r->asked += p->left;
	}
}

/* One answer to a reading: its bytes, or none at the end of the file. */
static int data_of(struct sftp *f, struct sftp_message *m, const char *path, uint32_t max, struct sftp_text *ret,
                   struct err *err)
{
	struct sftp_verdict v;
	*ret = (struct sftp_text){0};
	if (m->type == SFTP_DATA) {
		*ret = sftp_get_text(&m->body);
		return ret->len > 0 && ret->len <= max ? 0 : sftp_nonsense(f, "data of the wrong size", err);
	}
	int r = sftp_verdict(f, m, &v, err);
	if (r < 0)
		return r;
	return v.code == SFTP_EOF ? 0 : sftp_refused(f, &v, "read", path, err);
}

static int take_piece(struct reading *r, struct sftp_message *m, struct err *err)
{
	struct sftp_text data;
	struct piece *p = NULL;
	for (size_t i = 0; i < SFTP_FLYING && p == NULL; i++)
		if (r->pieces[i].left > 0 && r->pieces[i].id == m->id)
			p = &r->pieces[i];
	if (p == NULL)
		return sftp_nonsense(r->f, "the same answer twice", err);
	int e = data_of(r->f, m, r->path, p->left, &data, err);
	if (e < 0)
		return e;
	if (data.len == 0)
		return err_set(err, ERR_CONFLICT, "%s: '%.300s' became shorter while it was read", r->f->s->label,
		               r->path);
	memcpy(r->into + p->offset, data.data, data.len);
	r->got += data.len;
	p->offset += data.len;
	p->left -= (uint32_t)data.len;
	if (p->left > 0)
		p->id = ask_piece(r->f, r->handle, p->offset, p->left);
	return 0;
}

static int read_known(struct reading *r, struct wait *w, struct err *err)
{
	r->first = r->f->next_id;
	while (r->got < r->size) {
		struct sftp_message m;
		ask_more(r);
		int e = sftp_step(r->f, r->first, w, &m, err);
		if (e > 0)
			e = take_piece(r, &m, err);
		if (e < 0)
			return e;
	}
	return 0;
}

/* What lies behind the size that was told: nothing as a rule, all of it in /proc. */
static int read_rest(struct sftp *f, const struct sftp_handle *h, const char *path, uint64_t offset, size_t max,
                     struct wait *w, struct str *out, struct err *err)
{
	for (;;) {
		struct sftp_message m;
		struct sftp_text data;
		uint32_t id = ask_piece(f, h, offset, SFTP_PIECE);
		int r = sftp_answer(f, id, w, &m, err);
		if (r == 0)
			r = data_of(f, &m, path, SFTP_PIECE, &data, err);
		if (r < 0 || data.len == 0)
			return r;
		offset += data.len;
		if (offset > max || !str_append_n(out, data.data, data.len))
			return err_set(err, ERR_LIMIT, "%s: '%.300s' is larger than %zu bytes", f->s->label, path, max);
	}
}

static int told_size(struct sftp *f, const struct sftp_handle *h, const char *path, struct wait *w, uint64_t *ret,
                     struct err *err)
{
	struct sftp_message m;
	struct sftp_verdict v;
	uint32_t id;
	sftp_request_end(f, sftp_request_handle(f, SFTP_FSTAT, h, &id));
	int r = sftp_answer(f, id, w, &m, err);
	if (r < 0)
		return r;
	if (m.type != SFTP_ATTRS) {
		r = sftp_verdict(f, &m, &v, err);
		return r < 0 ? r : sftp_refused(f, &v, "read", path, err);
	}
	struct sftp_stat st = sftp_get_attrs(&m.body);
	if (m.body.bad)
		return sftp_nonsense(f, "attributes that are cut off", err);
	if (st.type == 'd')
		return err_set(err, ERR_INVALID, "%s: '%.300s' is a directory", f->s->label, path);
	*ret = st.size;
	return 0;
}

static int read_all(struct sftp *f, const struct sftp_handle *h, const char *path, size_t max, struct wait *w,
                    struct str *out, struct err *err)
{
	struct reading all = {.f = f, .handle = h, .path = path};
	max = MIN(max, out->max - out->len);
	int r = told_size(f, h, path, w, &all.size, err);
	if (r < 0)
		return r;
	all.into = all.size <= max ? str_reserve(out, (size_t)all.size) : NULL;
	if (all.into == NULL)
		return err_set(err, ERR_LIMIT, "%s: '%.300s' has %" PRIu64 " bytes; at most %zu are read", f->s->label,
		               path, all.size, max);
	r = read_known(&all, w, err);
	if (r < 0)
		return r;
	out->len += (size_t)all.size;
	out->data[out->len] = '\0';
	return read_rest(f, h, path, all.size, max, w, out, err);
}

int sftp_read(struct sftp *f, const char *path, size_t max, struct wait *w, struct str *out, struct err *err)
{
	struct sftp_handle h;
	struct sftp_verdict v;
	uint32_t id;
	size_t before = out->len;
	int r = sftp_check(f, path, err);
	if (r < 0)
		return r;
	size_t begin = sftp_request_path(f, SFTP_OPEN, path, &id);
	sftp_put_u32(&f->out, SFTP_OPEN_READ);
	sftp_put_u32(&f->out, 0);
	sftp_request_end(f, begin);
	r = sftp_handle_of(f, id, w, &h, &v, err);
	if (r < 0)
		return r;
	if (v.code != SFTP_OK)
		return sftp_refused(f, &v, "read", path, err);
	r = read_all(f, &h, path, max, w, out, err);
	sftp_let_go(f, &h);
	if (r < 0)
		str_truncate(out, before);
	return r;
}

/* ---- writing ---- */

struct writing {
	struct sftp *f;
	struct sftp_handle handle;
	bool made, closed; /* the private file is there (or may be); its handle is given back */
	const char *path;  /* for messages */
	char *private_path;
	const char *data;
	size_t len;
	unsigned mode;
};

/* ".NAME.davit-" and 16 digits, in the same directory; a name too long for that is cut. */
static int private_path(struct writing *t, struct err *err)
{
	enum { KEEP = 200, DIGITS = 16 };
	char random[DIGITS + 1];
	const char *slash = strrchr(t->path, '/'), *name = slash != NULL ? slash + 1 : t->path;
	if (*name == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return err_set(err, ERR_INVALID, "%s: '%.300s' names no file", t->f->s->label, t->path);
	rand_hex(random, DIGITS);
	t->private_path = xasprintf("%.*s.%.*s.davit-%s", (int)(name - t->path), t->path, KEEP, name, random);
	return sftp_check(t->f, t->private_path, err);
}

static int make_private(struct writing *t, struct wait *w, struct err *err)
{
	struct sftp_verdict v;
	uint32_t id;
	size_t begin = sftp_request_path(t->f, SFTP_OPEN, t->private_path, &id);
	sftp_put_u32(&t->f->out, SFTP_OPEN_WRITE | SFTP_OPEN_CREATE | SFTP_OPEN_EXCLUSIVE);
	sftp_put_mode(&t->f->out, 0600);
	sftp_request_end(t->f, begin);
	/* Given up before its answer, it is made all the same. */
	t->made = true;
	int r = sftp_handle_of(t->f, id, w, &t->handle, &v, err);
	if (r < 0)
		return r;
	if (v.code == SFTP_OK)
		return 0;
	t->made = false;
	return sftp_refused_new(t->f, &v, "write", t->path, 1, w, err);
}

static int send_data(struct writing *t, struct wait *w, struct err *err)
{
	struct sftp *f = t->f;
	uint32_t id, first = f->next_id;
	size_t sent = 0, acknowledged = 0, flying = 0;
	while (sent < t->len || flying > 0) {
		struct sftp_message m;
		struct sftp_verdict v;
		while (sent < t->len && flying < SFTP_FLYING && sftp_unsent(f) < SFTP_OUT_HIGH) {
			size_t n = MIN(t->len - sent, (size_t)SFTP_PIECE);
			size_t begin = sftp_request_handle(f, SFTP_WRITE, &t->handle, &id);
			sftp_put_u64(&f->out, sent);
			sftp_put_text(&f->out, t->data + sent, n);
			sftp_request_end(f, begin);
			sent += n;
			flying++;
		}
		int r = sftp_step(f, first, w, &m, err);
		if (r > 0) {
			r = flying > 0 ? sftp_verdict(f, &m, &v, err) : sftp_nonsense(f, "the same answer twice", err);
			flying--;
			if (r == 0 && v.code != SFTP_OK)
				return sftp_refused_new(f, &v, "write", t->path, t->len - acknowledged, w, err);
			acknowledged += MIN((size_t)SFTP_PIECE, t->len - acknowledged);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

/* The answers may come in any order; of two refusals the first request's is told. */
static int hear_settled(struct writing *t, uint32_t first, size_t count, struct wait *w, struct err *err)
{
	struct sftp *f = t->f;
	struct sftp_verdict worst = {.code = SFTP_OK};
	uint32_t worst_at = 0;
	for (size_t left = count; left > 0; left--) {
		struct sftp_message m;
		struct sftp_verdict v;
		int r = sftp_answer(f, first, w, &m, err);
		if (r == 0)
			r = sftp_verdict(f, &m, &v, err);
		if (r < 0)
			return r;
		if (v.code != SFTP_OK && (worst.code == SFTP_OK || m.id - first < worst_at)) {
			worst = v;
			worst_at = m.id - first;
		}
	}
	if (worst.code == SFTP_OK)
		return 0;
	return sftp_refused_new(f, &worst, worst_at == 0 ? "set the mode of" : "write", t->path, t->len, w, err);
}

/* Mode, contents on the disk, closed: three questions, one round trip. */
static int settle(struct writing *t, struct wait *w, struct err *err)
{
	struct sftp *f = t->f;
	uint32_t ids[3];
	size_t count = 0;
	size_t begin = sftp_request_handle(f, SFTP_FSETSTAT, &t->handle, &ids[count++]);
	sftp_put_mode(&f->out, t->mode);
	sftp_request_end(f, begin);
	if (f->has & SFTP_HAS_FSYNC) {
		begin = sftp_request_extended(f, "fsync@openssh.com", &ids[count++]);
		sftp_put_text(&f->out, t->handle.data, t->handle.len);
		sftp_request_end(f, begin);
	}
	sftp_request_end(f, sftp_request_handle(f, SFTP_CLOSE, &t->handle, &ids[count++]));
	t->closed = true;
	return hear_settled(t, ids[0], count, w, err);
}

/* The requests are worked off in their order, so that this finds the file also where its making was given up. */
static void remove_private(struct writing *t, int code, struct wait *w, struct err *err)
{
	struct err ignored = ERR_INIT;
	int r = ERR_NETWORK;
	/* The lock is somebody else's now: nothing is touched any more. */
	if (code != ERR_FENCED && !t->f->over) {
		struct wait grace = sftp_grace(w);
		if (t->handle.len > 0 && !t->closed)
			sftp_let_go(t->f, &t->handle);
		r = sftp_remove(t->f, t->private_path, &grace, &ignored);
		sftp_grace_end(w, &grace);
	}
	if (r < 0 && r != ERR_NOT_FOUND)
		err_hint(err, code, "what was written so far may lie at %s as '%.350s': remove it", t->f->s->label,
		         t->private_path);
}

int sftp_write(struct sftp *f, const char *path, const void *data, size_t len, unsigned mode, struct wait *w,
               struct err *err)
{
	struct writing t = {.f = f, .path = path, .data = data, .len = len, .mode = mode};
	int r = sftp_check(f, path, err);
	if (r < 0)
		return r;
	r = private_path(&t, err);
	if (r == 0)
		r = make_private(&t, w, err);
	if (r == 0)
		r = send_data(&t, w, err);
	if (r == 0)
		r = settle(&t, w, err);
	if (r == 0)
		r = sftp_rename(f, t.private_path, path, w, err);
	if (r < 0 && t.made)
		remove_private(&t, r, w, err);
	free(t.private_path);
	return r;
}
