/* Copies on a host: BASE/copies/NAME.ENVIRONMENT/ID/FILE. Written under a name of its own try, so that what arrives late of a try that broke is
 * no part of the next one, and renamed once it is whole. */
#include "steps/sources/copies.h"
#include "base/core/rand.h"
#include "base/sys/fs.h"
#include <inttypes.h>

enum { APPEND_TRIES = 4, PAUSE_MS = 500, READ_MS = 6 * 3600 * 1000, MARGIN = 16 << 20, BLOCK = 64 << 10 };
static const char part_infix[] = ".part-";

static char *root_of(const struct copy_place *p, const char *name)
{
	return xasprintf("%s/copies%s%s", p->t->view.facts.base, *name ? "/" : "", name);
}

static int ready(struct copy_place *p, int64_t bytes, struct err *err)
{
	int64_t room = 0;

	int r = source_space_below_base(&p->t->view, &room, err);
	if (r == 0 && room < bytes + MARGIN) {
		r = err_set(err, ERR_REFUSED, "'%s' has %" PRId64 " MB free, the copy may need %" PRId64 " MB",
		            p->t->view.name, room / 1000000, (bytes + MARGIN) / 1000000 + 1);
		err_hint(err, r, "make room, or set the target's `base:` to a larger file system");
	}
	return r;
}

static int list(struct copy_place *p, const char *dir, struct strv *ret, struct err *err)
{
	_cleanup_free_ char *root = root_of(p, dir);
	_cleanup_(strv_done) struct strv ids = {0};

	int r = host_list(&p->t->view, root, &ids, err);
	if (r == ERR_NOT_FOUND) {
		err_clear(err);
		return 0;
	}
	for (size_t i = 0; i < ids.count && r == 0; i++) {
		_cleanup_(strv_done) struct strv files = {0};
		_cleanup_free_ char *one = fs_join(root, ids.items[i]);
		r = host_list(&p->t->view, one, &files, err);
		for (size_t k = 0; r == 0 && k < files.count; k++)
			strv_addf(ret, "%s/%s", ids.items[i], files.items[k]);
	}
	return r;
}

static int make_dirs(struct target *t, const char *file, struct err *err)
{
	const struct node_attr attr = {.set_mode = true, .mode = 0700};
	_cleanup_free_ char *dir = xstrdup(file);
	int r = 0;

	for (char *slash = strchr(dir + strlen(t->view.facts.base) + 1, '/'); slash && r == 0;
	     slash = strchr(slash + 1, '/')) {
		*slash = 0;
		r = host_mkdir(t, dir, &attr, err);
		if (r == ERR_EXISTS) {
			err_clear(err);
			r = 0;
		}
		*slash = '/';
	}
	return r;
}

static int begin(struct copy_place *p, const char *name, int64_t bytes, struct err *err)
{
	char suffix[9];
	(void)bytes;

	rand_hex(suffix, 8);
	p->path = root_of(p, name);
	p->part = xasprintf("%s%s%s", p->path, part_infix, suffix);
	p->written = 0;
	return make_dirs(p->t, p->part, err);
}

/* After a lost reply the file's size says whether it was appended. */
static int settle(struct copy_place *p, size_t len, bool *ret_done, struct err *err)
{
	_cleanup_(node_done) struct node n = {0};

	int r = host_stat(&p->t->view, p->part, &n, err);
	int64_t size = n.type == NODE_FILE ? n.size : 0;
	*ret_done = size == p->written + (int64_t)len;
	if (r == 0 && !*ret_done && size != p->written)
		r = err_set(err, ERR_CONFLICT, "'%s' has %" PRId64 " bytes after %" PRId64 " were written", p->part,
		            size, p->written);
	return r;
}

static int append(struct copy_place *p, const void *data, size_t len, struct err *err)
{
	bool done = false;
	int r = 0;

	for (int i = 0; i < APPEND_TRIES; i++) {
		if (i > 0) {
			r = wait_ms(p->c->wait, PAUSE_MS << i, err);
			if (r == 0)
				r = settle(p, len, &done, err);
			if (r == 0 && done)
				return 0;
			if (r < 0 && r != ERR_NETWORK && r != ERR_TIMEOUT)
				return r;
		}
		r = host_append(p->t, p->part, data, len, err);
		if (r != ERR_NETWORK && r != ERR_UNKNOWN && r != ERR_TIMEOUT)
			return r;
		if (wait_check(p->c->wait, NULL) < 0)
			return r;
	}
	return r;
}

static int write_some(struct copy_place *p, const void *data, size_t len, struct err *err)
{
	int r = append(p, data, len, err);
	p->written += r == 0 ? (int64_t)len : 0;
	return r;
}

static int end(struct copy_place *p, struct err *err)
{
	const char *const part[] = {p->part}, *const whole[] = {p->path};

	int r = host_barrier(p->t, part, 1, err);
	if (r == 0)
		r = host_rename(p->t, p->part, p->path, err);
	return r < 0 ? r : host_barrier(p->t, whole, 1, err);
}

/* ---- reading ---- */

struct reading {
	pieces_sink sink;
	void *context;
	int result;
	struct err err;
};

/* What the sink says is no matter of this target: it only ends the command. */
static int hand_on(void *context, const char *data, size_t len, struct err *err)
{
	struct reading *r = context;
	r->result = r->sink(r->context, data, len, &r->err);
	return r->result < 0 ? err_set(err, ERR_FAILED, "%s", r->err.frame_count ? r->err.frames[0].text : "") : 0;
}

static int read_some(struct copy_place *p, const char *name, int64_t first, pieces_sink sink, void *context,
                     struct err *err)
{
	_cleanup_free_ char *path = root_of(p, name), *count = xasprintf("count=%" PRId64, (first + BLOCK - 1) / BLOCK),
			    *from = xasprintf("if=%s", path);
	const char *const all[] = {"cat", "--", path, NULL}, *const some[] = {"dd", from, "bs=65536", count, NULL};
	_cleanup_(target_result_done) struct target_result result = TARGET_RESULT_INIT;
	struct reading reading = {.sink = sink, .context = context};
	const struct target_command command = {
		.argv = first > 0 ? some : all, .timeout_ms = READ_MS, .on_data = hand_on, .context = &reading};

	int r = host_query(&p->t->view, &command, &result, err);
	if (reading.result < 0) {
		if (err)
			*err = reading.err;
		return reading.result;
	}
	if (r == 0 && (result.status != 0 || result.timed_out))
		r = err_set(err, ERR_IO, "read '%s' on '%s': exit status %d", path, p->t->view.name, result.status);
	return r;
}

/* ---- gone ---- */

static int remove_empty(struct copy_place *p, const char *file, struct err *err)
{
	_cleanup_free_ char *dir = xstrdup(file);

	for (int i = 0; i < 3; i++) {
		*strrchr(dir, '/') = 0;
		int r = host_remove(p->t, dir, err);
		if (r < 0 && r != ERR_EXISTS && r != ERR_NOT_FOUND)
			return r;
		err_clear(err);
		if (r == ERR_EXISTS)
			return 0;
	}
	return 0;
}

/* The file itself, or what a try of it left. */
static bool is_of(const char *file, const char *whole)
{
	const char *rest = str_starts(file, whole) ? file + strlen(whole) : NULL;
	return rest && (*rest == '\0' || str_starts(rest, part_infix));
}

static int remove_all(struct copy_place *p, const char *name, struct err *err)
{
	_cleanup_free_ char *path = root_of(p, name), *dir = xstrdup(path);
	_cleanup_(strv_done) struct strv names = {0};
	char *base = strrchr(dir, '/');

	*base++ = 0;
	int r = host_list(&p->t->view, dir, &names, err);
	if (r == ERR_NOT_FOUND) {
		err_clear(err);
		r = 0;
	}
	for (size_t i = 0; i < names.count && r == 0; i++) {
		_cleanup_free_ char *file = fs_join(dir, names.items[i]);
		if (is_of(names.items[i], base))
			r = host_remove(p->t, file, err);
		if (r == ERR_NOT_FOUND) {
			err_clear(err);
			r = 0;
		}
	}
	return r < 0 ? r : remove_empty(p, path, err);
}

const struct copy_store copy_host = {
	.ready = ready,
	.list = list,
	.begin = begin,
	.write = write_some,
	.end = end,
	.read = read_some,
	.remove = remove_all,
};
