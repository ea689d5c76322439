/* What SFTP does with names: look, list, make, remove, rename, link. */
#include "base/ssh_sftp.h"
#include "base/ssh_sftp_private.h"

/* A request about one path, whose answer is of the type `want`; anything else says why it was refused. verb: for the message. */
static int ask(struct sftp *f, enum sftp_type type, const char *path, enum sftp_type want, const char *verb,
               struct wait *w, struct sftp_message *ret, struct err *err)
{
	struct sftp_verdict v;
	uint32_t id;
	int r = sftp_check(f, path, err);
	if (r < 0)
		return r;
	sftp_request_end(f, sftp_request_path(f, type, path, &id));
	r = sftp_answer(f, id, w, ret, err);
	if (r < 0 || ret->type == want)
		return r;
	r = sftp_verdict(f, ret, &v, err);
	return r < 0 ? r : sftp_refused(f, &v, verb, path, err);
}

static int look(struct sftp *f, enum sftp_type type, const char *path, struct wait *w, struct sftp_stat *ret,
                struct err *err)
{
	struct sftp_message m;
	int r = ask(f, type, path, SFTP_ATTRS, "look at", w, &m, err);
	if (r < 0)
		return r;
	struct sftp_stat st = sftp_get_attrs(&m.body);
	if (m.body.bad)
		return sftp_nonsense(f, "attributes that are cut off", err);
	*ret = st;
	return 0;
}

int sftp_stat(struct sftp *f, const char *path, struct wait *w, struct sftp_stat *ret, struct err *err)
{
	return look(f, SFTP_STAT, path, w, ret, err);
}

int sftp_lstat(struct sftp *f, const char *path, struct wait *w, struct sftp_stat *ret, struct err *err)
{
	return look(f, SFTP_LSTAT, path, w, ret, err);
}

/* ---- directories ---- */

void sftp_entries_done(struct sftp_entries *e)
{
	for (size_t i = 0; i < e->count; i++)
		free(e->items[i].name);
	free(e->items);
	*e = (struct sftp_entries){0};
}

static bool is(struct sftp_text name, const char *text)
{
	return name.len == strlen(text) && memcmp(name.data, text, name.len) == 0;
}

static int add_names(struct sftp *f, struct sftp_cursor c, const char *path, size_t max, struct sftp_entries *to,
                     struct err *err)
{
	for (uint32_t left = sftp_get_u32(&c); left > 0; left--) {
		struct sftp_text name = sftp_get_text(&c);
		sftp_get_text(&c); /* a line as ls -l writes it */
		struct sftp_stat st = sftp_get_attrs(&c);
		if (c.bad)
			return sftp_nonsense(f, "a list of names that is cut off", err);
		if (!sftp_name_is_sound(name))
			return sftp_nonsense(f, "a name that no file can have", err);
		if (is(name, ".") || is(name, ".."))
			continue;
		if (to->count == max)
			return err_set(err, ERR_LIMIT, "%s: more than %zu names in '%.300s'", f->s->label, max, path);
		to->items = xgrow(to->items, &to->cap, to->count + 1, sizeof(*to->items));
		to->items[to->count++] = (struct sftp_entry){.name = xstrndup(name.data, name.len), .stat = st};
	}
	return 0;
}

static int read_names(struct sftp *f, const struct sftp_handle *h, const char *path, size_t max, struct wait *w,
                      struct sftp_entries *to, struct err *err)
{
	struct sftp_verdict v;
	for (;;) {
		struct sftp_message m;
		uint32_t id;
		sftp_request_end(f, sftp_request_handle(f, SFTP_READDIR, h, &id));
		int r = sftp_answer(f, id, w, &m, err);
		if (r == 0 && m.type == SFTP_NAME) {
			r = add_names(f, m.body, path, max, to, err);
			if (r < 0)
				return r;
			continue;
		}
		if (r == 0)
			r = sftp_verdict(f, &m, &v, err);
		if (r < 0)
			return r;
		return v.code == SFTP_EOF ? 0 : sftp_refused(f, &v, "list", path, err);
	}
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct sftp_entry *)a)->name, ((const struct sftp_entry *)b)->name);
}

int sftp_list(struct sftp *f, const char *path, size_t max, struct wait *w, struct sftp_entries *ret, struct err *err)
{
	_cleanup_(sftp_entries_done) struct sftp_entries found = {0};
	struct sftp_handle h;
	struct sftp_verdict v;
	uint32_t id;
	int r = sftp_check(f, path, err);
	if (r < 0)
		return r;
	sftp_request_end(f, sftp_request_path(f, SFTP_OPENDIR, path, &id));
	r = sftp_handle_of(f, id, w, &h, &v, err);
	if (r < 0)
		return r;
	if (v.code != SFTP_OK)
		return sftp_refused(f, &v, "list", path, err);
	r = read_names(f, &h, path, max, w, &found, err);
	sftp_let_go(f, &h);
	if (r < 0)
		return r;
	if (found.count > 1)
		qsort(found.items, found.count, sizeof(*found.items), by_name);
	*ret = found;
	found = (struct sftp_entries){0};
	return 0;
}

/* ---- one request, one status ---- */

/* A failure that has a reason which can be seen: what is at path. */
static int refused_there(struct sftp *f, const struct sftp_verdict *v, const char *what, const char *path,
                         struct wait *w, struct err *err)
{
	struct sftp_stat st;
	struct sftp_verdict there = *v;
	if (v->code == SFTP_FAILURE && sftp_lstat(f, path, w, &st, NULL) == 0) {
		there.code = SFTP_FILE_EXISTS;
		return sftp_refused(f, &there, what, path, err);
	}
	return sftp_refused_new(f, v, what, path, 1, w, err);
}

int sftp_mkdir(struct sftp *f, const char *path, unsigned mode, struct wait *w, struct err *err)
{
	struct sftp_verdict v;
	uint32_t id;
	int r = sftp_check(f, path, err);
	if (r < 0)
		return r;
	size_t begin = sftp_request_path(f, SFTP_MKDIR, path, &id);
	sftp_put_mode(&f->out, mode);
	sftp_request_end(f, begin);
	r = sftp_ask(f, id, w, &v, err);
	if (r < 0 || v.code == SFTP_OK)
		return r;
	return refused_there(f, &v, "make the directory", path, w, err);
}

static int remove_it(struct sftp *f, enum sftp_type type, const char *path, struct wait *w, struct err *err)
{
	struct sftp_verdict v;
	uint32_t id;
	int r = sftp_check(f, path, err);
	if (r < 0)
		return r;
	sftp_request_end(f, sftp_request_path(f, type, path, &id));
	r = sftp_ask(f, id, w, &v, err);
	return r < 0 || v.code == SFTP_OK ? r : sftp_refused(f, &v, "remove", path, err);
}

int sftp_rmdir(struct sftp *f, const char *path, struct wait *w, struct err *err)
{
	return remove_it(f, SFTP_RMDIR, path, w, err);
}

int sftp_remove(struct sftp *f, const char *path, struct wait *w, struct err *err)
{
	return remove_it(f, SFTP_REMOVE, path, w, err);
}

/* The renaming is asked for; what comes of it is heard even where the caller has no more time: it would not know
 * whether the file is in its place. */
static int hear_rename(struct sftp *f, uint32_t id, struct wait *w, struct sftp_verdict *v, struct err *err)
{
	int r = sftp_ask(f, id, w, v, err);
	if (r == ERR_CANCELLED || r == ERR_TIMEOUT) {
		struct wait grace = sftp_grace(w);
		err_clear(err);
		r = sftp_ask(f, id, &grace, v, err);
		sftp_grace_end(w, &grace);
		if (r == ERR_TIMEOUT)
			return err_wrap(err, err_set(err, ERR_UNKNOWN, "the server does not answer"),
			                "whether it was done is not known");
	}
	if (r == ERR_NETWORK)
		return err_wrap(err, err_set(err, ERR_UNKNOWN, "the connection to %s was lost", f->s->label),
		                "whether it was done is not known");
	return r;
}

int sftp_rename(struct sftp *f, const char *from, const char *to, struct wait *w, struct err *err)
{
	struct sftp_verdict v;
	struct sftp_stat st;
	uint32_t id;
	size_t begin;
	int r = sftp_check(f, from, err);
	if (r == 0)
		r = sftp_check(f, to, err);
	if (r == 0)
		r = wait_ms(w, 0, err);
	if (r < 0)
		return r;
	bool replaces = f->has & SFTP_HAS_RENAME;
	if (replaces) {
		begin = sftp_request_extended(f, "posix-rename@openssh.com", &id);
		sftp_put_text(&f->out, from, strlen(from));
	} else {
		begin = sftp_request_path(f, SFTP_RENAME, from, &id);
	}
	sftp_put_text(&f->out, to, strlen(to));
	sftp_request_end(f, begin);
	r = hear_rename(f, id, w, &v, err);
	if (r < 0)
		return err_wrap(err, r, "rename '%.200s' to '%.200s'", from, to);
	if (v.code == SFTP_OK)
		return 0;
	if (!replaces && sftp_lstat(f, to, w, &st, NULL) == 0) {
		r = err_set(err, ERR_UNSUPPORTED, "%s: '%.300s' exists, and this server replaces no file in one step",
		            f->s->label, to);
		return err_hint(err, r,
		                "it lacks posix-rename@openssh.com, which OpenSSH has: remove the file first, or use "
		                "OpenSSH's internal-sftp");
	}
	return sftp_refused(f, &v, "rename to", to, err);
}

/* ---- links ---- */

int sftp_readlink(struct sftp *f, const char *path, struct wait *w, char **ret, struct err *err)
{
	struct sftp_message m;
	int r = ask(f, SFTP_READLINK, path, SFTP_NAME, "read the link", w, &m, err);
	if (r < 0)
		return r;
	uint32_t count = sftp_get_u32(&m.body);
	struct sftp_text text = sftp_get_text(&m.body);
	if (count != 1 || text.len == 0 || text.len > SFTP_PATH_MAX || memchr(text.data, '\0', text.len) != NULL)
		return sftp_nonsense(f, "a link that no link can be", err);
	*ret = xstrndup(text.data, text.len);
	return 0;
}

int sftp_symlink(struct sftp *f, const char *text, const char *path, struct wait *w, struct err *err)
{
	struct sftp_verdict v;
	uint32_t id;
	int r = sftp_check(f, text, err);
	if (r == 0)
		r = sftp_check(f, path, err);
	if (r < 0)
		return r;
	/* The draft has it the other way round; all servers follow OpenSSH. */
	size_t begin = sftp_request_path(f, SFTP_SYMLINK, text, &id);
	sftp_put_text(&f->out, path, strlen(path));
	sftp_request_end(f, begin);
	r = sftp_ask(f, id, w, &v, err);
	if (r < 0 || v.code == SFTP_OK)
		return r;
	return refused_there(f, &v, "make the link", path, w, err);
}
