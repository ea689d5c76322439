#include "base/ssh_sftp.h"
#include "base/ssh_sftp_private.h"

#include <stdio.h>

enum {
	IN_SIZE = SFTP_MESSAGE_MAX + 128 * 1024, /* a whole message, and room behind it */
	IN_ROOM = 64 * 1024,
	OUT_MAX = 4 * SFTP_OUT_HIGH,
	IS_ALL_MS = 10000,
};

/* ---- requests ---- */

size_t sftp_request(struct sftp *f, enum sftp_type type, uint32_t *ret_id)
{
	*ret_id = f->next_id++;
	return sftp_begin(&f->out, type, *ret_id);
}

size_t sftp_request_path(struct sftp *f, enum sftp_type type, const char *path, uint32_t *ret_id)
{
	size_t begin = sftp_request(f, type, ret_id);
	sftp_put_text(&f->out, path, strlen(path));
	return begin;
}

size_t sftp_request_handle(struct sftp *f, enum sftp_type type, const struct sftp_handle *h, uint32_t *ret_id)
{
	size_t begin = sftp_request(f, type, ret_id);
	sftp_put_text(&f->out, h->data, h->len);
	return begin;
}

size_t sftp_request_extended(struct sftp *f, const char *name, uint32_t *ret_id)
{
	return sftp_request_path(f, SFTP_EXTENDED, name, ret_id);
}

void sftp_request_end(struct sftp *f, size_t begin)
{
	sftp_end(&f->out, begin);
}

/* ---- answers ---- */

static int over(struct sftp *f, struct err *err)
{
	f->over = true;
	return err_set(err, ERR_NETWORK, "%s: the server's SFTP has ended", f->s->label);
}

int sftp_nonsense(struct sftp *f, const char *what, struct err *err)
{
	f->over = true;
	return err_set(err, ERR_PROTOCOL, "%s: the server's SFTP sends %s", f->s->label, what);
}

/* Sends what waits, takes what came; waits until there was some of either. */
static int turn(struct sftp *f, struct wait *w, struct err *err)
{
	char words[512]; /* sshd keeps what a subsystem says on its standard error; others' is of no use either */
	size_t sent, got, said;
	if (f->over)
		return over(f, err);
	/* A peer that always has something to say must not lead past the deadline. */
	int r = wait_ms(w, 0, err);
	if (r < 0)
		return r;
	if (f->in_start == f->in_end)
		f->in_start = f->in_end = 0;
	if (IN_SIZE - f->in_end < IN_ROOM) {
		memmove(f->in, f->in + f->in_start, f->in_end - f->in_start);
		f->in_end -= f->in_start;
		f->in_start = 0;
	}
	r = ssh_turn(f->channel, str_peek(&f->out) + f->out_start, sftp_unsent(f), &sent, f->in + f->in_end,
	             IN_SIZE - f->in_end, &got, words, sizeof(words), &said, true, w, err);
	f->out_start += sent;
	if (f->out_start == f->out.len) {
		str_clear(&f->out);
		f->out_start = 0;
	} else if (f->out_start > SFTP_OUT_HIGH) {
		str_remove_front(&f->out, f->out_start);
		f->out_start = 0;
	}
	f->in_end += got;
	if (r == ERR_NETWORK || r == ERR_PROTOCOL)
		f->over = true;
	return r != 0 ? MIN(r, 0) : over(f, err);
}

/* A file that was opened for somebody who has gone is closed: the server holds but so many. */
static void drop_late(struct sftp *f, struct sftp_message *m)
{
	struct sftp_text handle = m->type == SFTP_HANDLE ? sftp_get_text(&m->body) : (struct sftp_text){0};
	struct sftp_handle h = {.len = handle.len};
	if (handle.len == 0 || handle.len > sizeof(h.data) || sftp_unsent(f) > SFTP_OUT_HIGH)
		return;
	memcpy(h.data, handle.data, handle.len);
	sftp_let_go(f, &h);
}

/* What begins with text is the work of a start file of the login shell, which stands before all that is said. */
static int no_message(struct sftp *f, struct err *err)
{
	_cleanup_(str_done) struct str text = STR_INIT(400);
	str_append_safe(&text, f->in + f->in_start, MIN(f->in_end - f->in_start, (size_t)60));
	f->over = true;
	int r = err_set(err, ERR_PROTOCOL, "%s: the server's SFTP says what is not SFTP: '%s'", f->s->label,
	                str_peek(&text));
	return err_hint(err, r,
	                "if that is a greeting: a start file of the login shell (.bashrc, .profile) prints it, "
	                "which it must not do without a terminal");
}

/* 1: a message that was received already. */
static int take_message(struct sftp *f, uint32_t first, struct sftp_message *ret, struct err *err)
{
	for (;;) {
		int size = sftp_frame(f->in + f->in_start, f->in_end - f->in_start, ret);
		if (size < 0)
			return no_message(f, err);
		if (size == 0)
			return 0;
		f->in_start += (size_t)size;
		if (ret->type == SFTP_VERSION_REPLY)
			return 1;
		if ((int32_t)(ret->id - f->next_id) >= 0)
			return sftp_nonsense(f, "an answer that nobody asked for", err);
		if ((int32_t)(ret->id - first) >= 0)
			return 1;
		drop_late(f, ret);
	}
}

int sftp_step(struct sftp *f, uint32_t first, struct wait *w, struct sftp_message *ret, struct err *err)
{
	if (f->over)
		return over(f, err);
	int r = take_message(f, first, ret, err);
	if (r != 0)
		return r;
	return turn(f, w, err);
}

int sftp_answer(struct sftp *f, uint32_t id, struct wait *w, struct sftp_message *ret, struct err *err)
{
	for (;;) {
		int r = sftp_step(f, id, w, ret, err);
		if (r != 0)
			return MIN(r, 0);
	}
}

int sftp_verdict(struct sftp *f, const struct sftp_message *m, struct sftp_verdict *ret, struct err *err)
{
	struct sftp_cursor c = m->body;
	_cleanup_(str_done) struct str text = STR_INIT(4 * sizeof(ret->text));
	if (m->type != SFTP_STATUS)
		return sftp_nonsense(f, "an answer of the wrong kind", err);
	ret->code = sftp_get_u32(&c);
	if (c.bad)
		return sftp_nonsense(f, "a status that is cut off", err);
	/* Old servers leave the text out. */
	struct sftp_text said = sftp_get_text(&c);
	str_append_safe(&text, said.data, MIN(said.len, sizeof(ret->text) - 1));
	snprintf(ret->text, sizeof(ret->text), "%s", str_peek(&text));
	return 0;
}

int sftp_ask(struct sftp *f, uint32_t id, struct wait *w, struct sftp_verdict *ret, struct err *err)
{
	struct sftp_message m;
	int r = sftp_answer(f, id, w, &m, err);
	return r < 0 ? r : sftp_verdict(f, &m, ret, err);
}

int sftp_handle_of(struct sftp *f, uint32_t id, struct wait *w, struct sftp_handle *ret, struct sftp_verdict *v,
                   struct err *err)
{
	struct sftp_message m;
	int r = sftp_answer(f, id, w, &m, err);
	if (r < 0)
		return r;
	if (m.type != SFTP_HANDLE)
		return sftp_verdict(f, &m, v, err);
	struct sftp_text handle = sftp_get_text(&m.body);
	if (handle.len == 0 || handle.len > sizeof(ret->data))
		return sftp_nonsense(f, "a handle that is none", err);
	memcpy(ret->data, handle.data, handle.len);
	ret->len = handle.len;
	v->code = SFTP_OK;
	return 0;
}

void sftp_let_go(struct sftp *f, const struct sftp_handle *h)
{
	uint32_t id;
	if (!f->over)
		sftp_request_end(f, sftp_request_handle(f, SFTP_CLOSE, h, &id));
}

/* ---- errors ---- */

int sftp_check(struct sftp *f, const char *path, struct err *err)
{
	if (f->over)
		return over(f, err);
	if (*path == '\0')
		return err_set(err, ERR_INVALID, "%s: an empty path", f->s->label);
	if (strlen(path) > SFTP_PATH_MAX)
		return err_set(err, ERR_LIMIT, "%s: the path '%.60s…' is longer than %d bytes", f->s->label, path,
		               SFTP_PATH_MAX);
	return 0;
}

static int code_of(uint32_t status)
{
	switch (status) {
	case SFTP_NO_SUCH_FILE:
	case SFTP_NO_SUCH_PATH:
		return ERR_NOT_FOUND;
	case SFTP_PERMISSION_DENIED:
	case SFTP_WRITE_PROTECT:
		return ERR_PERMISSION;
	case SFTP_FILE_EXISTS:
		return ERR_EXISTS;
	case SFTP_NO_SPACE:
	case SFTP_QUOTA_EXCEEDED:
		return ERR_NO_SPACE;
	case SFTP_OP_UNSUPPORTED:
		return ERR_UNSUPPORTED;
	case SFTP_BAD_MESSAGE:
		return ERR_INVALID;
	default:
		return ERR_IO;
	}
}

static const char *reason_of(int code, const struct sftp_verdict *v)
{
	switch (code) {
	case ERR_NOT_FOUND:
		return "no such file or directory";
	case ERR_PERMISSION:
		return "permission denied";
	case ERR_EXISTS:
		return "it exists already";
	case ERR_NO_SPACE:
		return "no space left";
	case ERR_UNSUPPORTED:
		return "the server cannot do that";
	case ERR_INVALID:
		return "not possible with what is there, or a name that is too long";
	default:
		return v->text[0] != '\0' ? v->text : "failure";
	}
}

static int refused(struct sftp *f, int code, const char *reason, uint32_t status, const char *what, const char *path,
                   struct err *err)
{
	int r = err_set(err, code, "%s: %s '%.300s': %s", f->s->label, what, path, reason);
	if (err != NULL)
		err->foreign = (long)status;
	return r;
}

int sftp_refused(struct sftp *f, const struct sftp_verdict *v, const char *what, const char *path, struct err *err)
{
	int code = code_of(v->code);
	refused(f, code, reason_of(code, v), v->code, what, path, err);
	if (v->code == SFTP_FAILURE)
		err_hint(err, code,
		         "SFTP gives no reason here; the server's log does: Subsystem sftp internal-sftp -l INFO");
	return code;
}

/* Answers of statvfs@openssh.com in the order in which they come. */
struct room {
	uint64_t block, unit, blocks, free, available, files, files_free, files_available, id, flags, name_max;
};

static int ask_room(struct sftp *f, const char *directory, struct wait *w, struct room *ret)
{
	struct sftp_message m;
	uint32_t id;
	size_t begin = sftp_request_extended(f, "statvfs@openssh.com", &id);
	sftp_put_text(&f->out, directory, strlen(directory));
	sftp_request_end(f, begin);
	int r = sftp_answer(f, id, w, &m, NULL);
	if (r < 0)
		return r;
	if (m.type != SFTP_EXTENDED_REPLY)
		return ERR_UNSUPPORTED;
	uint64_t *const fields[] = {&ret->block,     &ret->unit,  &ret->blocks,     &ret->free,
	                            &ret->available, &ret->files, &ret->files_free, &ret->files_available,
	                            &ret->id,        &ret->flags, &ret->name_max};
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		*fields[i] = sftp_get_u64(&m.body);
	return m.body.bad ? ERR_PROTOCOL : 0;
}

int sftp_refused_new(struct sftp *f, const struct sftp_verdict *v, const char *what, const char *path, uint64_t need,
                     struct wait *w, struct err *err)
{
	enum { READ_ONLY = 1 };
	struct room room;
	if (v->code != SFTP_FAILURE || !(f->has & SFTP_HAS_STATVFS))
		return sftp_refused(f, v, what, path, err);
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *directory = slash == NULL   ? xstrdup(".")
	                                 : slash == path ? xstrdup("/")
	                                                 : xstrndup(path, (size_t)(slash - path));
	struct wait grace = sftp_grace(w);
	int r = ask_room(f, directory, &grace, &room);
	sftp_grace_end(w, &grace);
	if (r < 0)
		return sftp_refused(f, v, what, path, err);
	if (room.flags & READ_ONLY)
		return refused(f, ERR_PERMISSION, "the file system is read-only", v->code, what, path, err);
	/* In units of the file system, so that nothing overflows. */
	uint64_t unit = room.unit > 0 ? room.unit : 1, units = need / unit + (need % unit != 0);
	if (room.blocks > 0 && room.available < MAX(units, (uint64_t)1))
		return refused(f, ERR_NO_SPACE, "no space left on the file system", v->code, what, path, err);
	if (room.files > 0 && room.files_available == 0)
		return refused(f, ERR_NO_SPACE, "the file system has no room for another file (inodes)", v->code, what,
		               path, err);
	return sftp_refused(f, v, what, path, err);
}

struct wait sftp_grace(const struct wait *w)
{
	struct wait grace = w != NULL ? *w : (struct wait)WAIT_INIT;
	grace.cancel_fd = -1;
	grace.deadline_mono_ms = 0;
	return wait_within(&grace, SFTP_GRACE_MS);
}

void sftp_grace_end(struct wait *w, const struct wait *grace)
{
	if (w != NULL)
		w->next_tick_mono_ms = grace->next_tick_mono_ms;
}

/* ---- the session ---- */

static void learn_extensions(struct sftp *f, struct sftp_cursor c)
{
	static const struct {
		const char *name;
		unsigned bit;
	} known[] = {{"posix-rename@openssh.com", SFTP_HAS_RENAME},
	             {"fsync@openssh.com", SFTP_HAS_FSYNC},
	             {"statvfs@openssh.com", SFTP_HAS_STATVFS}};
	while (!c.bad && c.p < c.end) {
		struct sftp_text name = sftp_get_text(&c);
		sftp_get_text(&c);
		for (size_t i = 0; i < ARRAY_SIZE(known) && !c.bad; i++)
			if (name.len == strlen(known[i].name) && memcmp(name.data, known[i].name, name.len) == 0)
				f->has |= known[i].bit;
	}
}

static int greet(struct sftp *f, struct wait *w, struct err *err)
{
	struct sftp_message m;
	sftp_request_end(f, sftp_begin(&f->out, SFTP_INIT, SFTP_VERSION));
	int r = sftp_answer(f, 0, w, &m, err);
	if (r < 0)
		return r;
	if (m.type != SFTP_VERSION_REPLY)
		return sftp_nonsense(f, "something else than its version first", err);
	uint32_t version = sftp_get_u32(&m.body);
	if (version != SFTP_VERSION)
		return err_set(err, ERR_UNSUPPORTED, "%s: the server answers version %d of SFTP by version %u",
		               f->s->label, SFTP_VERSION, version);
	learn_extensions(f, m.body);
	return 0;
}

static struct sftp *over_channel(struct ssh *s, struct ssh_channel *channel)
{
	struct sftp *f = xcalloc(1, sizeof(*f));
	f->s = s;
	f->channel = channel;
	/* What goes through here may be a secret. */
	f->out = (struct str)STR_SECRET_INIT(OUT_MAX);
	f->in = xmalloc(IN_SIZE);
	return f;
}

int sftp_open(struct ssh *s, struct wait *w, struct sftp **ret, struct err *err)
{
	static const char hint[] = "sshd_config on the server needs: Subsystem sftp internal-sftp";
	struct ssh_channel *channel;
	int r = ssh_subsystem(s, "sftp", w, &channel, err);
	if (r == ERR_UNSUPPORTED)
		return err_hint(err, r, hint);
	if (r < 0)
		return r;
	_cleanup_(sftp_freep) struct sftp *f = over_channel(s, channel);
	r = greet(f, w, err);
	if (r == ERR_NETWORK && !s->broken) {
		r = err_set(err, ERR_UNSUPPORTED, "%s: the server's SFTP ended before it began", s->label);
		err_hint(err, r, hint);
	}
	if (r < 0)
		return r;
	*ret = TAKE(f);
	return 0;
}

static bool runs_commands(struct ssh *s, struct wait *w)
{
	enum { NOISE_MAX = 64 * 1024 };
	static const char word[] = "davit-is-heard";
	_cleanup_(str_done) struct str out = STR_INIT(NOISE_MAX);
	int status;
	ssh_run(s, "echo davit-is-heard", NULL, 0, NOISE_MAX, w, &out, NULL, &status, NULL);
	return strstr(str_peek(&out), word) != NULL;
}

bool sftp_is_all(struct ssh *s, struct wait *w)
{
	struct wait near = wait_within(w, IS_ALL_MS);
	_cleanup_(sftp_freep) struct sftp *f = NULL;
	bool all = !runs_commands(s, &near) && sftp_open(s, &near, &f, NULL) == 0;
	sftp_grace_end(w, &near);
	return all;
}

void sftp_free(struct sftp *f)
{
	if (f == NULL)
		return;
	ssh_channel_free(f->channel);
	str_done(&f->out);
	explicit_bzero(f->in, IN_SIZE);
	free(f->in);
	free(f);
}

void sftp_freep(struct sftp **f)
{
	sftp_free(*f);
	*f = NULL;
}
