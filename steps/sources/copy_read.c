/* Copies read: whole, to prove them; their first piece, to find the one that is meant; unpacked, to put back what they hold. */
#include "steps/sources/copies.h"
#include "base/core/shown.h"
#include "base/secret/digest.h"
#include "base/sys/fs.h"

enum { FIRST_LOOK = 16 << 10, UNPACK_MS = 6 * 3600 * 1000, CANDIDATES_MAX = 1000 };

void copy_found_done(struct copy_found *f)
{
	free(f->target);
	free(f->name);
	json_decref(f->head);
	*f = (struct copy_found){0};
}

static int feed(void *context, const void *data, size_t len, struct err *err)
{
	return pieces_read(context, data, len, err);
}

/* ---- whole ---- */

/* The pieces of the tar go there; the head is a JSON object. */
struct whole {
	struct digest *digest;
	json_t *head;
	int (*put)(void *context, const void *data, size_t len, struct err *err); /* NULL: nothing */
	void *context;
	int64_t bytes;
};

static int take_head(const void *data, size_t len, json_t **ret, struct err *err)
{
	int r = json_parse(data, len, COPY_HEAD_MAX, ret, err);
	long long format = r == 0 ? json_get_int(*ret, "format", 0) : 0;
	if (r < 0)
		return r;
	if (format > COPY_FORMAT)
		return err_set(err, ERR_UNSUPPORTED, "the copy has format %lld; this program reads format %d", format,
		               COPY_FORMAT);
	return json_is_object(json_object_get(*ret, "manifest")) && format > 0
	               ? 0
	               : err_set(err, ERR_INVALID, "the head of the copy is not one");
}

static int take_piece(void *context, uint64_t number, const void *data, size_t len, struct err *err)
{
	struct whole *w = context;

	if (number == 0)
		return take_head(data, len, &w->head, err);
	digest_update(w->digest, data, len);
	w->bytes += (int64_t)len;
	return w->put ? w->put(w->context, data, len, err) : 0;
}

static int read_whole(struct copy_place *p, const char *name, const struct pieces_key *key, struct whole *w,
                      struct err *err)
{
	struct pieces_reader *reader _cleanup_(pieces_reader_freep) = NULL;

	int r = pieces_reader_new(key, name, take_piece, w, &reader, err);
	if (r == 0)
		r = p->store->read(p, name, 0, feed, reader, err);
	return r < 0 ? r : pieces_read_end(reader, err);
}

int copy_check(struct copy_place *p, const char *name, const struct pieces_key *key, const char *digest,
               struct err *err)
{
	struct digest *running _cleanup_(digest_freep) = digest_new();
	struct whole w = {.digest = running};
	char hex[DIGEST_HEX];

	int r = read_whole(p, name, key, &w, err);
	digest_hex(running, hex);
	json_decref(w.head);
	if (r == 0 && digest && strcmp(digest, hex) != 0)
		r = err_set(err, ERR_CONFLICT, "what was read back is not what was written");
	return r < 0 ? err_wrap(err, r, "read the copy '%s' on '%s'", name, p->t->view.name) : 0;
}

/* ---- the head alone ---- */

struct first {
	json_t *head;
	bool done;
};

/* What follows is not asked for, and not an error. */
static int take_first(void *context, uint64_t number, const void *data, size_t len, struct err *err)
{
	struct first *f = context;

	int r = number == 0 ? take_head(data, len, &f->head, err) : 0;
	f->done = r == 0;
	return r;
}

int copy_read_head(struct copy_place *p, const char *name, const struct pieces_key *key, json_t **ret, struct err *err)
{
	static const int64_t looks[] = {FIRST_LOOK, PIECES_HEADER + PIECES_OVERHEAD + COPY_HEAD_MAX};
	struct first first = {0};
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(looks) && r == 0 && !first.done; i++) {
		struct pieces_reader *reader _cleanup_(pieces_reader_freep) = NULL;
		r = pieces_reader_new(key, name, take_first, &first, &reader, err);
		if (r == 0)
			r = p->store->read(p, name, looks[i], feed, reader, err);
		/* The rest was cut or never asked for. */
		if (r < 0 && first.done) {
			err_clear(err);
			r = 0;
		}
	}
	if (r == 0 && !first.done)
		r = err_set(err, ERR_AUTH, "it ends in its head");
	if (r < 0) {
		json_decref(first.head);
		return err_wrap(err, r, "read the copy '%s' on '%s'", name, p->t->view.name);
	}
	*ret = first.head;
	return 0;
}

/* ---- the one that is meant ---- */

/* One candidate: NULL in *ret where something else is in it. */
static int look_at(const struct source_call *s, struct copy_place *p, const char *full, const struct pieces_key *key,
                   const char *name, json_t **ret, struct err *err)
{
	_cleanup_json_ json_t *head = NULL;

	int r = copy_read_head(p, full, key, &head, err);
	if (r < 0)
		return r;
	const char *subject = json_get_string(head, "subject");
	const json_t *manifest = json_object_get(head, "manifest");
	if (subject == NULL || (*subject == '\0') != (s->source->subject == NULL))
		return 0;
	if (s->source->subject == NULL)
		*ret = source_only_paths(s, manifest);
	else if (source_is_meant(s, subject, name))
		*ret = json_incref((json_t *)(uintptr_t)manifest);
	return 0;
}

struct search {
	const json_t *from;
	bool elsewhere;
	char *dir;
};

/* Is it one that `from` may mean, as far as its name tells? */
static bool may_be_meant(const struct search *search, const struct view *v, const struct copy_name *one)
{
	const char *wanted = json_get_string(search->from, "snapshot"), *after = json_get_string(search->from, "after"),
		   *before = json_get_string(search->from, "before");
	int64_t place = json_get_int(search->from, "place", one->place);

	return (wanted == NULL || strcmp(wanted, one->id) == 0) && (after == NULL || source_is_after(one->id, after)) &&
	       (before == NULL || strcmp(one->id, before) < 0) && place == one->place &&
	       (search->elsewhere || strcmp(one->target, v->name) == 0);
}

/* Newest first, or oldest first; several of one deployment must not be meant. */
static int search_in(const struct source_call *s, struct view *v, struct copy_place *p, const struct search *search,
                     const struct strv *all, const struct pieces_key *key, struct copy_found *ret, struct err *err)
{
	const char *name = json_get_string(search->from, "name");
	bool oldest = json_get_string(search->from, "after") != NULL;
	/* Where it must be the inputs' own, its name tells. */
	bool same = s->source->subject && name == NULL && !search->elsewhere;
	char id[65] = "", subject[COPY_SUBJECT];
	size_t looked = 0;
	int r = 0;

	copy_subject(s, subject);
	for (size_t i = 0; r == 0 && i < all->count && looked < CANDIDATES_MAX; i++) {
		struct copy_name one;
		_cleanup_json_ json_t *head = NULL;
		const char *file = all->items[oldest ? i : all->count - 1 - i];
		if (!copy_name_read(file, &one) || !may_be_meant(search, v, &one) ||
		    (same && strcmp(one.subject, subject) != 0))
			continue;
		if (ret->name && strcmp(one.id, id) != 0)
			return 0;
		_cleanup_free_ char *full = fs_join(search->dir, file);
		looked++;
		r = look_at(s, p, full, key, name, &head, err);
		if (r < 0 || head == NULL)
			continue;
		if (ret->name)
			return err_set(err, ERR_REFUSED, "the copies '%s' and '%s' on '%s' are both meant", ret->name,
			               full, p->t->view.name);
		snprintf(id, sizeof(id), "%s", one.id);
		ret->name = TAKE(full);
		ret->head = TAKE(head);
		ret->bytes = json_get_int(ret->head, "bytes", 0);
		ret->target = xstrdup(p->t->view.name);
	}
	return r;
}

int copy_find(const struct source_call *s, struct view *v, const char *target, const json_t *from,
              struct copy_found *ret, struct err *err)
{
	const struct step_deployment *d = s->c->deployment;
	const char *deployment = json_get_string(from, "deployment"),
		   *environment = json_get_string(from, "environment");
	_cleanup_free_ char *dir =
		xasprintf("%s.%s", deployment ? deployment : d->name, environment ? environment : d->environment);
	const struct search search = {.from = from, .elsewhere = source_is_elsewhere(s, from), .dir = dir};
	struct copy_place p _cleanup_(copy_place_done) = {0};
	_cleanup_(strv_done) struct strv all = {0};
	struct pieces_key key = {0};

	int r = copy_place_open(s, target, NULL, &p, err);
	if (r == 0)
		r = p.store->list(&p, dir, &all, err);
	strv_sort(&all);
	if (r == 0 && all.count > 0)
		r = copy_key(s->c, copy_given_key(s), false, &key, err);
	if (r == 0)
		r = search_in(s, v, &p, &search, &all, &key, ret, err);
	pieces_key_done(&key);
	return r;
}

/* ---- unpacked ---- */

struct unpacking {
	struct target *t;
	const char *file;
};

static int append_piece(void *context, const void *data, size_t len, struct err *err)
{
	struct unpacking *u = context;
	return host_append(u->t, u->file, data, len, err);
}

static const char unpack_script[] = "x=; case $(tar --version 2>/dev/null) in *GNU*) x='--xattrs --acls';; esac\n"
				    "exec tar $x -xpf \"$1\" -C \"$2\"";

static int unpack(struct target *t, const char *file, const char *dir, struct err *err)
{
	const char *const argv[] = {"sh", "-c", unpack_script, "sh", file, dir, NULL};
	_cleanup_(target_result_done) struct target_result result = TARGET_RESULT_INIT;
	const struct target_command command = {.argv = argv, .timeout_ms = UNPACK_MS};

	int r = host_run(t, &command, &result, err);
	if (r == 0 && (result.status != 0 || result.timed_out)) {
		_cleanup_free_ char *shown = shown_text(str_peek(&result.err), MIN(result.err.len, (size_t)300), 300);
		r = err_set(err, ERR_FAILED, "tar on '%s': exit status %d: %s", t->view.name, result.status, shown);
	}
	return r;
}

static int fetch(const struct source_call *s, struct copy_place *p, struct target *t, const char *name,
                 const char *file, struct err *err)
{
	struct digest *running _cleanup_(digest_freep) = digest_new();
	struct unpacking u = {.t = t, .file = file};
	struct whole w = {.digest = running, .put = append_piece, .context = &u};
	struct pieces_key key = {0};

	int r = copy_key(s->c, copy_given_key(s), false, &key, err);
	if (r == 0)
		r = read_whole(p, name, &key, &w, err);
	pieces_key_done(&key);
	json_decref(w.head);
	return r;
}

int copy_fetch(const struct source_call *s, struct target *t, const char *target, const char *name, const char *dir,
               struct err *err)
{
	const struct node_attr attr = {.set_mode = true, .mode = 0700};
	_cleanup_free_ char *file = xasprintf("%s.tar", dir);
	struct copy_place p _cleanup_(copy_place_done) = {0};

	int r = copy_place_open(s, target, NULL, &p, err);
	/* of a try that broke */
	if (r == 0)
		r = host_remove_tree(t, dir, err);
	if (r == 0)
		r = host_remove_tree(t, file, err);
	if (r == 0)
		r = host_mkdir(t, dir, &attr, err);
	if (r == 0)
		r = fetch(s, &p, t, name, file, err);
	if (r == 0)
		r = unpack(t, file, dir, err);
	if (r == 0)
		r = host_remove_tree(t, file, err);
	if (r == 0)
		r = source_check(&t->view, dir, NULL, err);
	return r < 0 ? err_wrap(err, r, "fetch the copy '%s' from '%s'", name, target) : 0;
}
