/* Fills a release: unchanged files come from the previous release on the target itself, the rest as one stream. A broken connection
 * loses only data in transit: received files are found again by their digests, and the rest is sent. */
#include "steps/archive_upload/archive_upload.h"
#include "base/core/clock.h"
#include "base/sys/fs.h"
#include "steps/common/paths.h"
#include <inttypes.h>

/* The manifest on its way, in the release. */
#define CARRIED ".davit-manifest"
enum {
	FILL_TRIES = 6,
	FILL_FIRST_PAUSE_MS = 500,
	PROGRESS_EVERY_MS = 2000,
	LIVE_EVERY_MS = 200,
	CHOWN_MS = 10 * 60 * 1000,
	PROBE_FROM = 4 << 20
};

struct filling {
	const struct step_context *c;
	struct target *t;
	struct upload *u;
	bool *here;                    /* one for each entry: has arrived in a previous try */
	size_t *send;                  /* indices; room for one more */
	bool carries;                  /* the manifest is sent with the files */
	struct str text;               /* the manifest, from when it is put to the end */
	char carried[sizeof(CARRIED)]; /* its name in the release then */
	size_t send_count, files;
	int64_t raw, packed, sent; /* bytes to pack, packed, and given to the target */
	int64_t begun, next_report;
	archive_write_fn write; /* while it streams */
	void *write_context;
	enum archive_compression compression;
};

/* ---- the stream ---- */

static void report_progress(struct filling *f)
{
	_cleanup_(str_done) struct str line = STR_INIT(512);
	int64_t now = clock_mono_ms();
	char left[CLOCK_TEXT_SIZE];

	if (now < f->next_report || f->raw == 0)
		return;
	f->next_report = now + (f->c->live ? LIVE_EVERY_MS : PROGRESS_EVERY_MS);
	int64_t spent = MAX(now - f->begun, (int64_t)1);
	double share = MIN((double)f->packed / (double)f->raw, 1.0);
	int64_t remaining = share > 0.001 ? (int64_t)((double)spent * (1 - share) / share) : 0;
	str_append(&line, "sent ");
	upload_show_size(f->sent, &line);
	str_appendf(&line, ", %.0f %% of ", share * 100);
	upload_show_size(f->raw, &line);
	str_append(&line, ", ");
	upload_show_size(f->sent * 1000 / spent, &line);
	str_appendf(&line, "/s, %s left", remaining > 0 ? clock_duration(remaining, left) : "unknown time");
	if (f->c->live)
		f->c->live(f->c->engine, "%s: %s", f->c->display_name, str_peek(&line));
	else
		f->c->report(f->c->engine, "%s", str_peek(&line));
}

static void report_end(const struct filling *f)
{
	_cleanup_(str_done) struct str line = STR_INIT(512);
	int64_t spent = MAX(clock_mono_ms() - f->begun, (int64_t)1);
	char text[CLOCK_TEXT_SIZE];

	str_appendf(&line, "sent %zu file%s, ", f->files, f->files == 1 ? "" : "s");
	upload_show_size(f->raw, &line);
	str_append(&line, " as ");
	upload_show_size(f->sent, &line);
	str_appendf(&line, " in %s, ", clock_duration(spent, text));
	upload_show_size(f->sent * 1000 / spent, &line);
	str_append(&line, "/s");
	f->c->report(f->c->engine, "%s", str_peek(&line));
}

/* A forgotten exclude stands first. */
static void report_largest(const struct filling *f)
{
	_cleanup_(str_done) struct str s = STR_INIT(4096);
	size_t i;
	json_t *item;

	json_array_foreach(f->u->largest, i, item)
	{
		str_appendf(&s, "%s%s ", i ? ", " : "", json_get_string(item, "path"));
		upload_show_size(json_get_int(item, "bytes", 0), &s);
		if (json_get_int(item, "files", 1) > 1)
			str_appendf(&s, " in %" PRId64 " files", json_get_int(item, "files", 1));
	}
	if (s.len > 0)
		f->c->report(f->c->engine, "largest: %s", s.data);
}

static int count_and_write(void *context, const void *data, size_t len, struct err *err)
{
	struct filling *f = context;
	int r = f->write(f->write_context, data, len, err);

	if (r == 0) {
		f->sent += (int64_t)len;
		report_progress(f);
	}
	return r;
}

/* The source's entries and then the manifest, for which there is room behind them. */
static struct tree with_manifest(struct filling *f)
{
	struct tree *t = &f->u->source->tree;

	*tree_add(t) = (struct tree_entry){.path = f->carried,
	                                   .mode = S_IFREG | 0644,
	                                   .size = (int64_t)f->text.len,
	                                   .mtime_ns = clock_wall_ms() * 1000000,
	                                   .content = str_peek(&f->text)};
	struct tree whole = *t;
	t->count--;
	return whole;
}

static int produce(void *context, archive_write_fn write, void *write_context, struct err *err)
{
	struct filling *f = context;
	struct tree whole = f->carries ? with_manifest(f) : f->u->source->tree;

	f->write = write;
	f->write_context = write_context;
	int r = archive_pack(f->u->source->fd, &whole, f->send, f->send_count + f->carries, f->compression,
	                     count_and_write, f, &f->packed, f->c->wait, err);
	return r;
}

/* Chooses the format for the target and the level: a transfer needs speed. */
static enum archive_compression choose(const struct filling *f, enum archive_compression *ret_pack)
{
	const struct target_facts *facts = &f->t->view.facts;
	enum archive_upload_compression want = f->u->in->compression;

	*ret_pack = ARCHIVE_NONE;
	if (want == ARCHIVE_UPLOAD_COMPRESSION_NONE)
		return ARCHIVE_NONE;
	if (want == ARCHIVE_UPLOAD_COMPRESSION_AUTO && strcmp(f->t->view.kind->name, "local") == 0)
		return ARCHIVE_NONE;
	if (want == ARCHIVE_UPLOAD_COMPRESSION_AUTO && f->raw >= PROBE_FROM &&
	    !archive_packs_smaller(f->u->source->fd, &f->u->source->tree, f->send, f->send_count))
		return ARCHIVE_NONE;
	if (want != ARCHIVE_UPLOAD_COMPRESSION_GZIP && facts->has_zstd) {
		*ret_pack = ARCHIVE_ZSTD_FAST;
		return ARCHIVE_ZSTD;
	}
	if (want != ARCHIVE_UPLOAD_COMPRESSION_ZSTD && facts->has_gzip) {
		*ret_pack = ARCHIVE_GZIP;
		return ARCHIVE_GZIP;
	}
	return ARCHIVE_NONE;
}

/* A directory is made with its entries; an empty one has to be sent, and one with another mode than the default. */
static void mark_needless(const struct filling *f, bool *needless)
{
	const struct tree *t = &f->u->source->tree;
	const char *last = "";
	size_t last_len = 0;

	for (size_t i = 0; i < t->count && f->u->in->verify != ARCHIVE_UPLOAD_VERIFY_FULL; i++) {
		const char *path = t->entries[i].path, *slash = strrchr(path, '/');
		size_t len = slash ? (size_t)(slash - path) : 0;
		if (len == 0 || (len == last_len && memcmp(last, path, len) == 0))
			continue;
		_cleanup_free_ char *dir = xstrndup(path, len);
		const struct tree_entry *e = tree_find(t, dir);
		if (e && e->mode == (S_IFDIR | 0755))
			needless[e - t->entries] = true;
		last = path;
		last_len = len;
	}
}

static void choose_entries(struct filling *f)
{
	const struct tree *t = &f->u->source->tree;
	_cleanup_free_ bool *needless = xcalloc(t->count + 1, sizeof(*needless));

	mark_needless(f, needless);
	f->send_count = f->files = 0;
	f->raw = f->packed = f->sent = 0;
	for (size_t i = 0; i < t->count; i++) {
		const struct tree_entry *e = &t->entries[i];
		bool dir = S_ISDIR(e->mode);
		if (dir ? needless[i] : f->here[i] || f->u->same[i])
			continue;
		f->send[f->send_count++] = i;
		f->files += !dir;
		f->raw += e->size;
	}
}

static int send_rest(struct filling *f, struct err *err)
{
	enum archive_compression told;

	choose_entries(f);
	if (f->send_count == 0 && !f->carries)
		return 0;
	told = choose(f, &f->compression);
	f->begun = clock_mono_ms();
	f->next_report = f->begun + (f->c->live ? LIVE_EVERY_MS : PROGRESS_EVERY_MS);
	if (f->carries)
		f->send[f->send_count] = f->u->source->tree.count;
	int r = host_unpack(f->t, f->u->at.release, told, produce, f, err);
	if (r < 0)
		return err_wrap(err, r, "send %zu files to '%s' on '%s'", f->files, f->u->at.release, f->t->view.name);
	report_end(f);
	return 0;
}

/* ---- files taken over on the target ---- */

static bool is_fatal(int r)
{
	return r == ERR_NETWORK || r == ERR_UNKNOWN || r == ERR_CANCELLED || r == ERR_FENCED || r == ERR_TIMEOUT ||
	       r == ERR_NO_SPACE;
}

static void list_same(const struct filling *f, struct strv *ret)
{
	const struct tree *t = &f->u->source->tree;

	for (size_t i = 0; i < t->count; i++) {
		if (f->u->same[i] && !f->here[i] && !S_ISDIR(t->entries[i].mode))
			strv_add(ret, t->entries[i].path);
	}
}

/* A directory of the tree that its owner may not write to: it cannot be filled once it has its mode. */
static bool is_read_only(const struct tree_entry *e)
{
	return S_ISDIR(e->mode) && (e->mode & 0300) != 0300;
}

/* A previous try may have already set the mode of such directories. */
static int open_read_only(struct filling *f, struct err *err)
{
	const struct tree *t = &f->u->source->tree;

	for (size_t i = 0; i < t->count; i++) {
		if (!is_read_only(&t->entries[i]))
			continue;
		const struct node_attr attr = {.set_mode = true, .mode = (t->entries[i].mode & 07777) | 0700};
		_cleanup_free_ char *path = fs_join(f->u->at.release, t->entries[i].path);
		int r = host_set_attr(f->t, path, &attr, err);
		if (r < 0 && is_fatal(r))
			return r;
		if (r < 0)
			err_clear(err); /* not there yet */
	}
	return 0;
}

/* Copies by cp give each directory its mode at once: entries below a read-only one are sent. Links are made in open ones. */
static void send_below_read_only(struct filling *f)
{
	const struct tree *t = &f->u->source->tree;

	if ((f->u->in->hard_links && !f->u->other_owner) || f->t->view.facts.is_root)
		return;
	for (size_t i = 0; i < t->count; i++) {
		if (!is_read_only(&t->entries[i]))
			continue;
		for (size_t k = 0; k < t->count; k++)
			if (fs_below(t->entries[i].path, t->entries[k].path))
				f->u->same[k] = false;
	}
}

static bool is_lost(int r)
{
	return r == ERR_NETWORK || r == ERR_UNKNOWN;
}

/* Makes copies if links fail (another file system, too many of them, not the owner); if those fail too, everything is sent. */
static int take_over(struct filling *f, struct err *err)
{
	_cleanup_(strv_done) struct strv paths = {0};
	struct upload *u = f->u;
	char line[ERR_FRAME_SIZE];

	send_below_read_only(f);
	list_same(f, &paths);
	if (paths.count == 0)
		return 0;
	int r = host_clone_files(f->t, u->former_release, u->at.release, &paths, u->in->hard_links && !u->other_owner,
	                         err);
	if (r == 0 || is_fatal(r))
		return r;
	f->c->report(f->c->engine, "release %s cannot be built upon, everything is sent: %s", u->former_name,
	             err ? err_line(err, line, sizeof(line)) : "clone failed");
	err_clear(err);
	memset(u->same, 0, u->source->tree.count * sizeof(*u->same));
	return 0;
}

/* ---- shared paths ---- */

static int make_parents(struct filling *f, const char *name, struct err *err)
{
	const struct node_attr attr = {.set_mode = true, .mode = 0755};
	_cleanup_free_ char *dir = xstrdup(name);

	for (char *slash = strchr(dir, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		_cleanup_free_ char *path = fs_join(f->u->at.release, dir);
		int r = host_mkdir(f->t, path, &attr, err);
		if (r < 0 && r != ERR_EXISTS)
			return r;
		if (r < 0)
			err_clear(err);
		*slash = '/';
	}
	return 0;
}

static int link_shared(struct filling *f, struct err *err)
{
	for (size_t n = 0;; n++) {
		_cleanup_free_ char *name = upload_shared_name(f->u->in, n);
		if (!name)
			return 0;
		const char *place = f->u->places.items[n];
		_cleanup_free_ char *path = fs_join(f->u->at.release, place), *link = upload_shared_link(place, name);
		int r = make_parents(f, place, err);
		if (r == 0)
			r = host_symlink(f->t, path, link, err);
		if (r < 0)
			return err_wrap(err, r, "link the shared path '%s' on '%s'", name, f->t->view.name);
	}
}

/* ---- existing files ---- */

/* Finds files that a previous try has sent completely. */
static int find_arrived(struct filling *f, struct err *err)
{
	struct tree now = {0};
	struct tree *t = &f->u->source->tree;
	size_t found = 0;
	int64_t bytes = 0;

	int r = host_tree(&f->t->view, f->u->at.release, true, &now, err);
	if (r == ERR_NOT_FOUND) {
		err_clear(err);
		return 0;
	}
	if (r < 0)
		return r;
	for (size_t i = 0; i < t->count; i++) {
		const struct tree_entry *there = tree_find(&now, t->entries[i].path);
		f->here[i] = there && !S_ISDIR(there->mode) && manifest_same(&t->entries[i], there);
		/* Taking over again would leave half a copy as it is: the file is sent, which replaces it. */
		if (there && !f->here[i])
			f->u->same[i] = false;
		found += f->here[i];
		bytes += f->here[i] ? t->entries[i].size : 0;
	}
	tree_done(&now);
	_cleanup_(str_done) struct str line = STR_INIT(512);
	str_appendf(&line, "%zu file%s, ", found, found == 1 ? "" : "s");
	upload_show_size(bytes, &line);
	f->c->report(f->c->engine, "%s, %s there already", str_peek(&line), found == 1 ? "is" : "are");
	return 0;
}

/* ---- all of it ---- */

static int verify(struct filling *f, struct err *err)
{
	struct view *v = &f->t->view;

	if (f->u->in->verify == ARCHIVE_UPLOAD_VERIFY_FULL) {
		struct manifest m = {.tree = f->u->source->tree};
		return upload_verify_full(v, f->u->at.release, &m, err);
	}
	return upload_verify_sent(v, f->u, f->send, f->send_count, err);
}

/* Makes missing directories above the release, the shared ones, and the release. *ret_there: the release existed already. */
static int make_directories(struct filling *f, bool *ret_there, struct err *err)
{
	const struct node_attr attr = {.set_mode = true, .mode = 0755};
	const struct upload *u = f->u;
	const struct node_attr shared = {.set_mode = true,
	                                 .mode = (mode_t)u->in->shared_mode,
	                                 .owner = u->in->shared_owner,
	                                 .group = u->in->shared_group};
	_cleanup_free_ struct target_op *ops = xcalloc(u->made.count + 1, sizeof(*ops));

	for (size_t i = 0; i < u->made.count; i++) {
		/* PATH/shared itself is ours, so that the application cannot replace its entries by links to elsewhere. */
		bool below = strcmp(u->made.items[i], u->at.shared) != 0 && fs_below(u->at.shared, u->made.items[i]);
		ops[i] = (struct target_op){TARGET_MKDIR, .path = u->made.items[i], .attr = below ? &shared : &attr,
		                            .fine = ERR_EXISTS};
	}
	ops[u->made.count] = (struct target_op){TARGET_MKDIR, .path = u->at.release, .attr = &attr};
	int r = target_do(f->t, ops, u->made.count + 1, err);
	*ret_there = r == ERR_EXISTS;
	if (*ret_there) {
		err_clear(err);
		r = 0;
	}
	return r;
}

/* Most lines of the list are those of the previous release's. Without one it is sent with the files, compressed: that needs an unused
 * name in the release. */
static int put_manifest(struct filling *f, bool again, struct err *err)
{
	const struct node_attr attr = {.set_mode = true, .mode = 0644};
	struct upload *u = f->u;
	_cleanup_free_ char *former =
		u->former_name ? xasprintf("%s/.%s.manifest", u->at.releases, u->former_name) : NULL;
	_cleanup_free_ char *left = fs_join(u->at.release, CARRIED);
	const struct str *text = former ? upload_manifest_text(f->c, &f->t->view, former) : NULL;

	f->carries = false;
	if (f->text.len == 0)
		manifest_write(u->head, &u->source->tree, u->source->blobs, &f->text);
	if (f->text.failed)
		return err_set(err, ERR_LIMIT, "the release has too many files for its manifest");
	if (text)
		return target_put_like(f->t, u->at.manifest, &f->text, &attr, former, text, err);
	bool taken = tree_find(&u->source->tree, CARRIED) != NULL;
	if (!again && !taken) {
		f->carries = true;
		return 0;
	}
	int r = taken ? 0 : host_remove(f->t, left, err);
	if (r == ERR_NOT_FOUND)
		err_clear(err);
	else if (r < 0)
		return r;
	return host_put(f->t, u->at.manifest, str_peek(&f->text), f->text.len, &attr, err);
}

static int place_manifest(struct filling *f, struct err *err)
{
	_cleanup_free_ char *from = fs_join(f->u->at.release, CARRIED);

	return f->carries ? host_rename(f->t, from, f->u->at.manifest, err) : 0;
}

/* Links share their owner with the previous release: if that differs, files were copied (take_over). */
static int give_to_owner(struct filling *f, struct err *err)
{
	const struct archive_upload_in *in = f->u->in;

	if (!in->owner && !in->group)
		return 0;
	_cleanup_free_ char *whom =
		xasprintf("%s%s%s", in->owner ? in->owner : "", in->group ? ":" : "", in->group ? in->group : "");
	const char *const argv[] = {"chown", "-Rh", "--", whom, f->u->at.release, NULL};
	const struct target_command command = {.argv = argv, .timeout_ms = CHOWN_MS};
	_cleanup_(target_result_done) struct target_result said = TARGET_RESULT_INIT;
	int r = host_run(f->t, &command, &said, err);
	if (r == 0 && said.status != 0)
		r = err_set(err, ERR_FAILED, "give '%s' on '%s' to '%s': %s", f->u->at.release, f->t->view.name, whom,
		            str_peek(&said.err));
	return r;
}

static int fill_once(struct filling *f, bool again, struct err *err)
{
	bool there;
	int r = make_directories(f, &there, err);

	if (r == 0)
		r = put_manifest(f, again || there, err);
	if (r == 0 && (again || there))
		r = find_arrived(f, err);
	if (r == 0 && (again || there))
		r = open_read_only(f, err);
	if (r == 0)
		r = take_over(f, err);
	if (r == 0)
		r = send_rest(f, err);
	if (r == 0)
		r = place_manifest(f, err);
	if (r == 0)
		r = link_shared(f, err);
	if (r == 0)
		r = give_to_owner(f, err);
	if (r == 0)
		r = verify(f, err);
	return r;
}

static void tell(struct filling *f)
{
	json_t *out = f->c->outputs;

	json_object_set_new(out, "release", json_string(f->u->release));
	json_object_set_new(out, "path", json_string(f->u->at.release));
	json_object_set_new(out, "files", json_stringf("%zu", f->files));
	json_object_set_new(out, "bytes", json_stringf("%" PRId64, f->sent));
	f->c->event(f->c->engine, "uploaded",
	            json_pack("{s:s,s:s,s:s,s:I,s:I,s:I}", "target", f->t->view.name, "release", f->u->release, "path",
	                      f->u->at.path, "files", (json_int_t)f->files, "bytes", (json_int_t)f->raw, "sent",
	                      (json_int_t)f->sent));
}

int upload_fill(const struct step_context *c, struct target *t, struct upload *u, struct err *err)
{
	struct filling f = {.c = c, .t = t, .u = u, .carried = CARRIED, .text = STR_INIT(MANIFEST_MAX)};
	size_t count = MAX(u->source->tree.count, (size_t)1);
	_cleanup_free_ bool *here = xcalloc(count, sizeof(*here));
	_cleanup_free_ size_t *send = xcalloc(count + 1, sizeof(*send));
	int64_t pause = FILL_FIRST_PAUSE_MS;
	int r;

	report_largest(&f);
	f.here = here;
	f.send = send;
	for (int try = 1;; try++) {
		struct err local = ERR_INIT;
		r = fill_once(&f, try > 1, &local);
		if (r == 0 || !is_lost(r) || try == FILL_TRIES) {
			if (r < 0 && err)
				*err = local;
			break;
		}
		char line[ERR_FRAME_SIZE];
		c->report(c->engine, "try %d of %d: %s", try, FILL_TRIES, err_line(&local, line, sizeof(line)));
		r = wait_ms(c->wait, pause, err);
		if (r < 0)
			break;
		pause *= 2;
	}
	str_done(&f.text);
	if (r == 0)
		tell(&f);
	return r;
}
