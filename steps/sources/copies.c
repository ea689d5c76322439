/* Copies of a snapshot: made, read back, removed with it, dropped by number and age. */
#include "steps/sources/copies.h"
#include "base/core/shown.h"
#include "base/secret/digest.h"
#include "base/sys/fs.h"
#include "providers/s3/target.h"
#include "steps/common/retention.h"
#include <inttypes.h>

enum { PACK_MS = 6 * 3600 * 1000, PER_FILE = 3 * 512, SUBJECT_HEX = COPY_SUBJECT - 1 };

static const json_t *inputs_of(const struct source_call *s)
{
	return json_object_get(s->all, "copies");
}

static const char *nth(const json_t *in, size_t i)
{
	return json_string_value(json_array_get(json_object_get(in, "to"), i));
}

static size_t count_of(const json_t *in)
{
	return json_array_size(json_object_get(in, "to"));
}

/* ---- names ---- */

/* Files are found by their place: other steps keep other paths. */
void copy_subject(const struct source_call *s, char hex[COPY_SUBJECT])
{
	_cleanup_(str_done) struct str text = STR_INIT(SUBJECT_MAX);
	char digest[DIGEST_HEX];

	if (s->source->subject)
		source_subject(s, &text);
	else
		str_appendf(&text, "%s %d", s->source->name, s->c->place);
	digest_of(str_peek(&text), text.len, digest);
	snprintf(hex, COPY_SUBJECT, "%.16s", digest);
}

static char *dir_of(const struct source_call *s)
{
	return xasprintf("%s.%s", s->c->deployment->name, s->c->deployment->environment);
}

static char *own_name(const struct source_call *s, const struct view *v)
{
	_cleanup_free_ char *dir = dir_of(s);
	char subject[SUBJECT_HEX + 1];

	copy_subject(s, subject);
	return xasprintf("%s/%s/%d-%s-%s", dir, s->c->deployment->id, s->c->place, v->name, subject);
}

/* A place of the world that others may write to says what it likes. */
bool copy_name_read(const char *name, struct copy_name *ret)
{
	const char *slash = strchr(name, '/'), *file = slash ? slash + 1 : "", *first = strchr(file, '-'),
		   *last = strrchr(file, '-');
	size_t id = slash ? (size_t)(slash - name) : 0;

	*ret = (struct copy_name){0};
	if (id == 0 || id >= sizeof(ret->id) || first == NULL || first == last || strchr(file, '/') ||
	    (size_t)(last - first) > sizeof(ret->target) || strlen(last + 1) != SUBJECT_HEX)
		return false;
	snprintf(ret->id, sizeof(ret->id), "%.*s", (int)id, name);
	snprintf(ret->target, sizeof(ret->target), "%.*s", (int)(last - first - 1), first + 1);
	snprintf(ret->subject, sizeof(ret->subject), "%s", last + 1);
	_cleanup_free_ char *place = xstrndup(file, (size_t)(first - file));
	return str_parse_i64(place, 0, 100000, &ret->place) &&
	       strspn(ret->id, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-") == id &&
	       strspn(ret->target, "abcdefghijklmnopqrstuvwxyz0123456789._-") == strlen(ret->target) &&
	       strspn(ret->subject, "0123456789abcdef") == SUBJECT_HEX;
}

/* ---- places and keys ---- */

int copy_place_open(const struct source_call *s, const char *name, struct target *own, struct copy_place *ret,
                    struct err *err)
{
	struct target *t = NULL;

	*ret = (struct copy_place){0};
	int r = s->c->other(s->c->engine, name, &t, err);
	if (r == 0 && t == NULL)
		r = err_set(err, ERR_NETWORK, "target '%s' does not answer", name);
	if (r < 0)
		return r;
	ret->c = s->c;
	ret->t = t;
	ret->own = own;
	ret->store = target_is_host(t) ? &copy_host : s3_of_target(&t->view) ? &copy_bucket : NULL;
	return ret->store ? 0
	                  : err_hint(err, err_set(err, ERR_INVALID, "the target '%s' keeps no files", name),
	                             "copies lie on a host, or in a bucket (`s3`)");
}

bool copy_may_lie_on(const struct source_call *s, const char *name)
{
	struct copy_place p _cleanup_(copy_place_done) = {0};
	struct err ignored = ERR_INIT;

	return copy_place_open(s, name, NULL, &p, &ignored) == 0 || p.t == NULL;
}

static void forget_upload(struct copy_place *p)
{
	if (p->store && p->store->forget)
		p->store->forget(p);
	free(p->path);
	free(p->part);
	p->path = p->part = NULL;
	p->written = 0;
}

void copy_place_done(struct copy_place *p)
{
	forget_upload(p);
}

const char *copy_given_key(const struct source_call *s)
{
	const json_t *made = inputs_of(s);
	return json_get_string(made ? made : json_object_get(s->all, "from"), "key");
}

int copy_key(const struct step_context *c, const char *given, bool make, struct pieces_key *ret, struct err *err)
{
	_cleanup_(str_done) struct str own = STR_SECRET_INIT(256);

	if (given)
		return pieces_key_read(given, ret, err);
	if (c->deployment->state_dir == NULL)
		return err_hint(err, err_set(err, ERR_NOT_FOUND, "this machine has no key for copies"),
		                "give the `key` that the copies were made with");
	int r = pieces_key_of_host(c->deployment->state_dir, make, &own, err);
	if (r == ERR_NOT_FOUND)
		return err_hint(err, r, "give the `key` that the copies were made with");
	return r < 0 ? r : pieces_key_read(str_peek(&own), ret, err);
}

/* ---- before ---- */

/* Which targets there are is known to whoever plans. */
void copies_validate(const struct source_call *s, struct faults *faults)
{
	const json_t *in = inputs_of(s);

	for (size_t i = 0; i < count_of(in); i++) {
		_cleanup_free_ char *pointer = xasprintf("/copies/to/%zu", i);
		for (size_t k = 0; k < i; k++)
			if (strcmp(nth(in, k), nth(in, i)) == 0)
				faults_add(faults, NULL, pointer, "'%s' is named twice", nth(in, i));
	}
}

/* The key is the only thing that reads them. A new one lies on this machine alone. */
static int plan_key(const struct source_call *s, struct plan *plan, char id[17], struct err *err)
{
	const char *given = json_get_string(inputs_of(s), "key");
	struct pieces_key key = {0};

	*id = 0;
	int r = copy_key(s->c, given, false, &key, err);
	if (r == 0)
		pieces_key_id(&key, id);
	pieces_key_done(&key);
	if (r != ERR_NOT_FOUND)
		return r;
	err_clear(err);
	strv_addf(&plan->warnings, "the key of the copies is made now and lies on this machine only: keep what `davit "
	                           "copy key` prints, since without it nothing reads them");
	return 0;
}

static int plan_one(const struct source_call *s, struct view *v, const char *to, int64_t bytes, struct err *err)
{
	struct copy_place p _cleanup_(copy_place_done) = {0};

	if (strcmp(to, v->name) == 0)
		return err_set(err, ERR_INVALID, "'%s' is the target itself: a copy there would be lost with it", to);
	int r = copy_place_open(s, to, NULL, &p, err);
	if (r == ERR_NETWORK && p.t == NULL) { /* as was found before */
		err_clear(err);
		return 0;
	}
	if (r == 0)
		r = p.store->ready(&p, bytes, err);
	return r < 0 ? err_wrap(err, r, "a copy on '%s'", to) : 0;
}

int copies_plan(const struct source_call *s, struct view *v, struct plan *plan, struct change *change, struct err *err)
{
	const json_t *in = inputs_of(s);
	int64_t bytes = json_get_int(plan->shown, "bytes", 0) + json_get_int(plan->shown, "files", 1) * PER_FILE;
	_cleanup_(str_done) struct str where = STR_INIT(4096);
	char id[17];

	if (count_of(in) == 0)
		return 0;
	if (!v->facts.has_tar)
		return err_set(err, ERR_REFUSED, "'%s' has no tar, which copies are made by", v->name);
	int r = plan_key(s, plan, id, err);
	for (size_t i = 0; r == 0 && i < count_of(in); i++) {
		r = plan_one(s, v, nth(in, i), bytes, err);
		str_appendf(&where, "%s%s", i ? ", " : "", nth(in, i));
	}
	if (r < 0)
		return r;
	_cleanup_free_ char *former = TAKE(change->summary);
	change->summary = xasprintf("%s, copied encrypted to %s", former, str_peek(&where));
	json_object_set(change->extra, "copies", json_object_get(in, "to"));
	json_object_set(json_object_get(change->extra, "plan"), "copies", json_object_get(in, "to"));
	json_object_set(plan->shown, "copies", json_object_get(in, "to"));
	if (*id)
		json_object_set_new(plan->shown, "copies_key", json_string(id));
	return 0;
}

/* ---- made ---- */

/* From the tar on the snapshot's target into the sealed stream. */
struct packing {
	struct pieces_writer *writer;
	struct digest *digest;
	struct copy_place *place;
	const struct step_context *c;
	int64_t bytes, told;
	int result;
	struct err err;
};

static int put_sealed(void *context, const void *data, size_t len, struct err *err)
{
	struct copy_place *p = context;
	return p->store->write(p, data, len, err);
}

/* An error of the copy's place is not one of the target that is read. */
static int put_packed(void *context, const char *data, size_t len, struct err *err)
{
	struct packing *p = context;

	digest_update(p->digest, data, len);
	p->result = pieces_write(p->writer, data, len, &p->err);
	if (p->result < 0)
		return err_set(err, ERR_FAILED, "the copy cannot be written");
	p->bytes += (int64_t)len;
	if (p->c->live && p->bytes - p->told >= PIECES_SIZE) {
		p->c->live(p->c->engine, "copied %.1f MB to %s", (double)p->bytes / 1e6, p->place->t->view.name);
		p->told = p->bytes;
	}
	return 0;
}

/* The manifest first; nothing but the snapshot itself. */
static int content_of(struct view *v, const char *path, struct strv *ret, struct err *err)
{
	_cleanup_(strv_done) struct strv names = {0};

	strv_add(ret, "./manifest");
	int r = host_list(v, path, &names, err);
	for (size_t i = 0; r == 0 && i < names.count; i++)
		if (strcmp(names.items[i], "manifest") != 0)
			strv_addf(ret, "./%s", names.items[i]);
	return r;
}

static const char pack_script[] =
	"cd -- \"$1\" || exit 1; shift; x=\n"
	"case $(tar --version 2>/dev/null) in *GNU*) x='--format=posix --xattrs --acls';; esac\n"
	"exec tar $x -cf - \"$@\"";

static int pack(struct packing *p, struct view *v, const char *path, struct err *err)
{
	_cleanup_(strv_done) struct strv argv = {0};
	_cleanup_(target_result_done) struct target_result result = TARGET_RESULT_INIT;
	const char *const first[] = {"sh", "-c", pack_script, "sh", path};

	for (size_t i = 0; i < ARRAY_SIZE(first); i++)
		strv_add(&argv, first[i]);
	int r = content_of(v, path, &argv, err);
	if (r < 0)
		return r;
	const struct target_command command = {.argv = (const char *const *)strv_null_terminated(&argv),
	                                       .timeout_ms = PACK_MS,
	                                       .on_data = put_packed,
	                                       .context = p};
	r = host_query(v, &command, &result, err);
	if (p->result < 0) {
		if (err)
			*err = p->err;
		return p->result;
	}
	if (r == 0 && result.timed_out)
		return err_set(err, ERR_TIMEOUT, "tar did not end on '%s'", v->name);
	if (r == 0 && result.status != 0) {
		_cleanup_free_ char *shown = shown_text(str_peek(&result.err), MIN(result.err.len, (size_t)300), 300);
		r = err_set(err, ERR_FAILED, "tar on '%s': exit status %d: %s", v->name, result.status, shown);
	}
	return r;
}

static int put_head(const struct source_call *s, struct view *v, struct pieces_writer *w, const json_t *manifest,
                    struct err *err)
{
	_cleanup_(str_done) struct str subject = STR_INIT(SUBJECT_MAX);

	if (s->source->subject)
		source_subject(s, &subject);
	_cleanup_json_ json_t *head = json_pack("{s:i,s:s,s:s,s:O}", "format", COPY_FORMAT, "target", v->name,
	                                        "subject", str_peek(&subject), "manifest", manifest);
	_cleanup_free_ char *text = json_text(head);
	if (strlen(text) > COPY_HEAD_MAX)
		return err_set(err, ERR_LIMIT, "the snapshot's head is too large for a copy");
	int r = pieces_write(w, text, strlen(text), err);
	return r < 0 ? r : pieces_write_cut(w, err);
}

/* At most as large: what it holds, and what tar and sealing add. */
static int64_t size_of(const json_t *manifest, size_t files)
{
	int64_t bytes = json_get_int(manifest, "bytes", 0) + ((int64_t)files + 16) * PER_FILE;
	return bytes + bytes / PIECES_SIZE * PIECES_OVERHEAD + COPY_HEAD_MAX + PIECES_SIZE;
}

static int write_one(const struct source_call *s, struct view *v, const char *path, struct copy_place *p,
                     const char *name, const struct pieces_key *key, char digest[DIGEST_HEX], struct err *err)
{
	struct pieces_writer *w _cleanup_(pieces_writer_freep) = NULL;
	struct digest *running _cleanup_(digest_freep) = digest_new();
	_cleanup_json_ json_t *manifest = NULL;
	size_t files = 0;

	int r = source_read_manifest(v, path, &manifest, &files, err);
	if (r == 0)
		r = p->store->begin(p, name, size_of(manifest, files), err);
	if (r == 0)
		r = pieces_writer_new(key, name, put_sealed, p, &w, err);
	if (r == 0)
		r = put_head(s, v, w, manifest, err);
	struct packing packing = {.writer = w, .digest = running, .place = p, .c = s->c};
	if (r == 0)
		r = pack(&packing, v, path, err);
	if (r == 0)
		r = pieces_write_end(w, err);
	digest_hex(running, digest);
	if (r == 0)
		r = p->store->end(p, err);
	return r;
}

static int make_one(const struct source_call *s, struct target *t, const char *path, const char *to,
                    const struct pieces_key *key, struct err *err)
{
	struct copy_place p _cleanup_(copy_place_done) = {0};
	_cleanup_free_ char *name = own_name(s, &t->view);
	char digest[DIGEST_HEX];

	int r = copy_place_open(s, to, t, &p, err);
	/* of a try that broke */
	if (r == 0)
		r = p.store->remove(&p, name, err);
	if (r == 0)
		r = write_one(s, &t->view, path, &p, name, key, digest, err);
	if (r == 0)
		r = copy_check(&p, name, key, digest, err);
	if (r == 0)
		s->c->report(s->c->engine, "copied to %s, %.1f MB, and read back", to, (double)p.written / 1e6);
	/* The snapshot's own target answers: to try that again would not help. */
	if ((r == ERR_NETWORK || r == ERR_UNKNOWN || r == ERR_TIMEOUT) && wait_check(s->c->wait, NULL) == 0) {
		r = ERR_FAILED;
		if (err)
			err->code = r;
	}
	return r < 0 ? err_wrap(err, r, "copy the snapshot to '%s'", to) : 0;
}

/* A snapshot that a rollback takes of what it replaces has the same inputs, and no copies. */
static bool has_copies(const struct change *change)
{
	return json_array_size(json_object_get(change->extra, "copies")) > 0;
}

int copies_make(const struct source_call *s, struct target *t, const struct change *change, struct err *err)
{
	const json_t *in = inputs_of(s);
	struct pieces_key key = {0};

	if (!has_copies(change))
		return 0;
	int r = copy_key(s->c, json_get_string(in, "key"), true, &key, err);
	for (size_t i = 0; r == 0 && i < count_of(in); i++)
		r = make_one(s, t, change->path, nth(in, i), &key, err);
	pieces_key_done(&key);
	if (r == 0)
		json_object_set_new(s->c->outputs, "copies", json_stringf("%zu", count_of(in)));
	return r;
}

/* ---- gone ---- */

int copies_undo(const struct source_call *s, struct target *t, const struct change *change, struct err *err)
{
	const json_t *in = inputs_of(s);
	_cleanup_free_ char *name = own_name(s, &t->view);
	int r = 0;

	for (size_t i = 0; r == 0 && has_copies(change) && i < count_of(in); i++) {
		struct copy_place p _cleanup_(copy_place_done) = {0};
		r = copy_place_open(s, nth(in, i), t, &p, err);
		if (r == 0)
			r = p.store->remove(&p, name, err);
		if (r < 0)
			err_wrap(err, r, "remove the copy on '%s'", nth(in, i));
	}
	return r;
}

/* ---- retention ---- */

/* Those of this source and target, oldest first. What was never finished is dropped: its deployment is over. */
static int list_kept(const struct source_call *s, struct view *v, struct copy_place *p, const char *dir,
                     struct strv *ret, struct err *err)
{
	_cleanup_(strv_done) struct strv all = {0};
	char subject[SUBJECT_HEX + 1];
	struct copy_name name;

	copy_subject(s, subject);
	int r = p->store->list(p, dir, &all, err);
	strv_sort(&all);
	for (size_t i = 0; r == 0 && i < all.count; i++) {
		const char *part = strstr(all.items[i], ".part-");
		_cleanup_free_ char *whole = part ? xstrndup(all.items[i], (size_t)(part - all.items[i])) : NULL;
		if (!copy_name_read(whole ? whole : all.items[i], &name) || strcmp(name.target, v->name) != 0 ||
		    strcmp(name.subject, subject) != 0)
			continue;
		if (part == NULL) {
			strv_add(ret, all.items[i]);
			continue;
		}
		_cleanup_free_ char *dead = fs_join(dir, all.items[i]);
		r = p->store->remove(p, dead, err);
	}
	return r;
}

/* The newest one that is whole: this deployment's own was read back when it was made. */
static int find_good(const struct source_call *s, struct copy_place *p, const char *dir, const struct strv *kept,
                     size_t *ret, struct err *err)
{
	struct pieces_key key = {0};

	int r = copy_key(s->c, json_get_string(inputs_of(s), "key"), false, &key, err);
	for (*ret = kept->count; r == 0 && (*ret)-- > 0;) {
		_cleanup_free_ char *name = fs_join(dir, kept->items[*ret]);
		if (str_starts(kept->items[*ret], s->c->deployment->id))
			break;
		r = copy_check(p, name, &key, NULL, err);
		if (r == 0)
			break;
		if (r == ERR_AUTH || r == ERR_CONFLICT || r == ERR_INVALID || r == ERR_UNSUPPORTED) {
			err_clear(err);
			r = *ret > 0 ? 0 : err_set(err, ERR_NOT_FOUND, "no copy is whole: none is removed");
		}
	}
	pieces_key_done(&key);
	return r;
}

static int clean_one(const struct source_call *s, struct target *t, const char *to, struct err *err)
{
	const json_t *in = inputs_of(s);
	int64_t keep = json_get_int(in, "keep", 5), age_ms = source_duration_ms(in, "keep_for");
	struct copy_place p _cleanup_(copy_place_done) = {0};
	_cleanup_free_ char *dir = dir_of(s);
	_cleanup_(strv_done) struct strv kept = {0};
	size_t good = SIZE_MAX;

	int r = copy_place_open(s, to, t, &p, err);
	if (r == 0)
		r = list_kept(s, &t->view, &p, dir, &kept, err);
	for (size_t i = 0; r == 0 && i < kept.count; i++) {
		if (i + (size_t)keep >= kept.count && !retention_is_older(kept.items[i], age_ms))
			continue;
		if (good == SIZE_MAX)
			r = find_good(s, &p, dir, &kept, &good, err);
		if (r < 0 || i == good)
			continue;
		_cleanup_free_ char *name = fs_join(dir, kept.items[i]);
		r = p.store->remove(&p, name, err);
		if (r == 0)
			s->c->report(s->c->engine, "removed copy %s on %s", kept.items[i], to);
	}
	return r < 0 ? err_wrap(err, r, "the copies on '%s'", to) : 0;
}

int copies_clean(const struct source_call *s, struct target *t, struct err *err)
{
	const json_t *in = inputs_of(s);
	int r = 0;

	for (size_t i = 0; r == 0 && i < count_of(in); i++)
		r = clean_one(s, t, nth(in, i), err);
	return r;
}
