/* archive-upload in the simulated world: a small source tree for each seed, the former release that it is built upon, what a target does with
 * a stream and with what it clones, and the worlds that are right before and afterwards. */
#include "sim/effects.h"

#include "base/secret/digest.h"
#include "base/sys/fs.h"
#include "steps/common/manifest.h"
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

enum { MEMBERS = 32, MEMBER_MAX = 16 << 10, TAR_MAX = 1 << 20, OLD_TIME = 1700000000 };

static const char release_dir[] = "/app/releases/ID", older_dir[] = "/app/releases/20250101T000000-old";

/* ---- what is sent, and what was sent before ---- */

/* In the order of strcmp. */
static const struct {
	const char *path;
	enum node_type type;
	uint16_t mode;
} kinds[] = {
	{"app.js", NODE_FILE, 0644},       {"assets", NODE_DIR, 0755}, {"assets/logo", NODE_FILE, 0644},
	{"assets/style", NODE_FILE, 0644}, {"bin", NODE_DIR, 0755},    {"bin/run", NODE_FILE, 0755},
	{"empty", NODE_DIR, 0755},         {"link", NODE_LINK, 0777},  {"outside", NODE_LINK, 0777},
	{"version", NODE_FILE, 0644},
};

static void digest_entry(const struct snode *n, struct tree_entry *e)
{
	char hex[65];
	digest_of(n->content->data, n->content->len, hex);
	tree_entry_set_hex(e, hex);
}

static struct snode *add(struct source_tree *s, size_t kind, const char *text)
{
	struct snode *n = &s->nodes[s->count++];
	memset(n, 0, sizeof(*n));
	n->type = (uint8_t)kinds[kind].type;
	n->mode = kinds[kind].mode;
	if (n->type != NODE_DIR)
		n->content = sim_blob(text, strlen(text));
	snprintf(n->path, sizeof(n->path), "%s", kinds[kind].path);
	return n;
}

static void choose_one(struct scenario *sc, size_t kind)
{
	const char *path = kinds[kind].path;
	bool is_version = strcmp(path, "version") == 0,
	     is_dir = kinds[kind].type == NODE_DIR && strcmp(path, "empty") != 0;
	bool is_link = kinds[kind].type == NODE_LINK;
	/* The version is always another; of the rest half stays as it was. */
	uint64_t which = is_version ? 3 : is_dir ? 0 : sim_more_below(6);
	char was[64], is[64];
	snprintf(was, sizeof(was),
	         strcmp(path, "outside") == 0 ? "../../was/%s"
	         : is_link                    ? "was/%s"
	                                      : "what %s was in the release before",
	         path);
	snprintf(is, sizeof(is),
	         strcmp(path, "outside") == 0 ? "../../is/%s"
	         : is_link                    ? "is/%s"
	                                      : "the new %s, which is longer than it was then",
	         path);
	if (which != 4)
		add(&sc->former, kind, was);
	if (which == 3 || which == 4)
		add(&sc->source, kind, is);
	else if (which != 5)
		add(&sc->source, kind, was);
}

void sim_upload_choose(struct scenario *sc, json_t *step)
{
	json_t *input = json_pack("{s:s, s:s}", "source", "src", "path", "/app");
	sc->has_upload = true;
	sc->former_unknown = sim_more_below(8) == 0;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		choose_one(sc, i);
	if (sim_more_below(3) == 0)
		json_object_set_new(input, "hard_links", json_false());
	if (sim_more_below(4) == 0)
		json_object_set_new(input, "verify", json_string("full"));
	if (sim_more_below(3) == 0)
		json_object_set_new(input, "keep", json_integer(2));
	if (sim_more_below(3) == 0)
		json_object_set_new(input, "shared", json_pack("[s]", "uploads"));
	json_object_set_new(step, "step", json_string("archive-upload"));
	json_object_set_new(step, "input", input);
	for (int i = 0; i < sc->target_count; i++) {
		struct starget *t = &world->targets[i];
		t->no_links = sim_more_below(4) == 0;
		t->breaks_at = sim_more_below(3) == 0 ? 1 + (int)sim_more_below(10) : 0;
		t->breaks_with_power = sim_more_below(3) == 0;
		t->clone_fails = sim_more_below(8) == 0 ? 1 + (int)sim_more_below(4) : 0;
	}
}

static int write_one(int dir, const struct snode *n)
{
	const struct timespec times[] = {{OLD_TIME, 0}, {OLD_TIME, 0}};
	if (n->type == NODE_DIR)
		return mkdirat(dir, n->path, n->mode);
	if (n->type == NODE_LINK)
		return symlinkat((const char *)n->content->data, dir, n->path);
	_cleanup_close_ int fd = openat(dir, n->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, n->mode);
	if (fd < 0 || write(fd, n->content->data, n->content->len) != (ssize_t)n->content->len)
		return -1;
	return futimens(fd, times);
}

/* On the disk of this machine: the step reads it as it would any other tree. */
void sim_upload_write_source(void)
{
	_cleanup_free_ char *path = xasprintf("%s/src", sim_work_dir);
	fs_remove_tree(AT_FDCWD, path, NULL);
	if (!world->sc.has_upload)
		return;
	int r = mkdir(path, 0755);
	_cleanup_close_ int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; r == 0 && i < world->sc.source.count; i++)
		r = write_one(dir, &world->sc.source.nodes[i]);
	if (r < 0 || chdir(sim_work_dir) != 0) {
		perror(path);
		exit(1);
	}
}

/* ---- the right worlds ---- */

static void put_node(struct stree *t, const char *dir, const struct snode *from)
{
	char path[SIM_PATH * 2];
	snprintf(path, sizeof(path), "%s/%s", dir, from->path);
	struct snode *n = stree_set(t, path, (enum node_type)from->type, from->mode, from->content);
	n->synced = from->content;
}

static void put_file(struct stree *t, const char *path, const char *text, size_t len)
{
	const struct blob *b = sim_blob(text, len);
	stree_set(t, path, NODE_FILE, 0644, b)->synced = b;
}

static void put_manifest(struct stree *t, const char *release, const struct source_tree *of)
{
	_cleanup_(str_done) struct str text = STR_INIT(64 << 10);
	_cleanup_free_ char *path = xasprintf("/app/releases/.%s.manifest", release);
	_cleanup_json_ json_t *head =
		json_pack("{s:i, s:s, s:s, s:s, s:n, s:b, s:[]}", "format", MANIFEST_FORMAT, "kind", "release",
	                  "deployment", "sim.world", "release", release, "commit", "dirty", 0, "shared");
	struct tree tree = {0};
	for (int i = 0; i < of->count; i++) {
		const struct snode *n = &of->nodes[i];
		struct tree_entry *e = tree_add(&tree);
		e->path = xstrdup(n->path);
		e->mode = (n->type == NODE_DIR ? S_IFDIR : n->type == NODE_LINK ? S_IFLNK : S_IFREG) | n->mode;
		e->link = n->type == NODE_LINK ? xstrdup((const char *)n->content->data) : NULL;
		if (n->type == NODE_FILE) {
			e->size = n->content->len;
			digest_entry(n, e);
		}
	}
	manifest_write(head, &tree, NULL, &text);
	put_file(t, path, text.data, text.len);
	tree_done(&tree);
}

/* Instead of the release that other scenarios start from. */
void sim_upload_old_world(struct scenario *sc, struct starget *st)
{
	struct stree *t = &st->now;
	stree_drop(t, stree_find(t, "/app/releases/r0/version"));
	for (int i = 0; i < sc->former.count; i++)
		put_node(t, "/app/releases/r0", &sc->former.nodes[i]);
	if (!sc->former_unknown)
		put_manifest(t, "r0", &sc->former);
	stree_set(t, older_dir, NODE_DIR, 0755, NULL);
	put_manifest(t, "20250101T000000-old", &(struct source_tree){0});
	stree_copy(&st->durable, t);
}

bool sim_upload_retention(const char *path)
{
	/* Removed last, it comes back with a power cut. */
	return is_within(older_dir, path) || is_within("/app/releases/.20250101T000000-old.removed", path) ||
	       strcmp(path, "/app/releases/.20250101T000000-old.manifest") == 0;
}

void sim_upload_model(struct stree *t, const json_t *input)
{
	char path[SIM_PATH];
	stree_set(t, release_dir, NODE_DIR, 0755, NULL);
	for (int i = 0; i < world->sc.source.count; i++)
		put_node(t, release_dir, &world->sc.source.nodes[i]);
	if (json_object_get(input, "shared")) {
		stree_set(t, "/app/shared", NODE_DIR, 0755, NULL);
		stree_set(t, "/app/shared/uploads", NODE_DIR, 0755, NULL);
		snprintf(path, sizeof(path), "%s/uploads", release_dir);
		stree_set(t, path, NODE_LINK, 0777, sim_blob("../../shared/uploads", 20));
	}
	stree_set(t, "/app/releases/.ID.manifest", NODE_FILE, 0644, sim_blob(sim_any_content, strlen(sim_any_content)));
	stree_set(t, "/app/current", NODE_LINK, 0777, sim_blob("releases/ID", 11));
}

static bool entry_is_there(struct stree *t, const char *dir, const struct tree_entry *e)
{
	char path[SIM_PATH * 2], hex[65], want[65];
	snprintf(path, sizeof(path), "%s/%s", dir, e->path);
	const struct snode *n = stree_find(t, path);
	if (n == NULL || n->mode != (e->mode & 07777))
		return false;
	if (n->type == NODE_LINK)
		return S_ISLNK(e->mode) && strcmp((const char *)n->content->data, e->link) == 0;
	if (n->type == NODE_DIR)
		return S_ISDIR(e->mode);
	digest_of(n->content->data, n->content->len, hex);
	tree_entry_hex(e, want);
	return S_ISREG(e->mode) && strcmp(hex, want) == 0;
}

/* The release that is valid is what its own manifest says. */
void check_manifests(void)
{
	for (int i = 0; world->sc.has_upload && i < world->sc.target_count; i++) {
		struct stree *t = &world->targets[i].now;
		const struct snode *current = stree_find(t, "/app/current");
		const char *name = current && current->type == NODE_LINK
		                           ? strrchr((const char *)current->content->data, '/')
		                           : NULL;
		_cleanup_free_ char *dir = xasprintf("/app/releases%s", name ? name : "");
		_cleanup_free_ char *path = xasprintf("/app/releases/.%s.manifest", name ? name + 1 : "");
		const struct snode *n = name ? stree_find(t, path) : NULL;
		struct manifest m = {0};
		if (n == NULL || n->type != NODE_FILE ||
		    manifest_parse(path, (const char *)n->content->data, n->content->len, &m, NULL) < 0) {
			sim_violation("t%d:%s cannot be read", i, path);
			continue;
		}
		for (size_t k = 0; k < m.tree.count; k++)
			if (!entry_is_there(t, dir, &m.tree.entries[k]))
				sim_violation("t%d:%s/%s is not as the manifest says", i, dir, m.tree.entries[k].path);
		manifest_done(&m);
	}
}

/* ---- looking at a tree ---- */

int sim_tree(struct view *v, const char *path, bool digests, struct tree *ret, struct err *err)
{
	int r = fx_before(v, "tree", path, false, err);
	if (r < 0)
		return r;
	const struct stree *t = &fx_of(v)->now;
	const struct snode *top = stree_find(&fx_of(v)->now, path);
	if (top == NULL || top->type != NODE_DIR)
		return err_set(err, ERR_NOT_FOUND, "'%s' is not there", path);
	struct tree tree = {0};
	for (int i = 0; i < t->count; i++) {
		const struct snode *n = &t->nodes[i];
		if (!is_within(path, n->path) || strcmp(path, n->path) == 0)
			continue;
		struct tree_entry *e = tree_add(&tree);
		e->path = xstrdup(n->path + strlen(path) + 1);
		e->mode = (n->type == NODE_DIR ? S_IFDIR : n->type == NODE_LINK ? S_IFLNK : S_IFREG) | n->mode;
		e->mtime_ns = n->mtime_ns;
		e->link = n->type == NODE_LINK ? xstrdup((const char *)n->content->data) : NULL;
		e->size = n->type == NODE_FILE ? n->content->len : 0;
		if (n->type == NODE_FILE && digests)
			digest_entry(n, e);
	}
	tree_sort(&tree);
	*ret = tree;
	return 0;
}

/* ---- cloning ---- */

static void make_parents(struct starget *st, const char *path)
{
	char dir[SIM_PATH * 2];
	snprintf(dir, sizeof(dir), "%s", path);
	for (char *slash = strchr(dir + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (stree_find(&st->now, dir) == NULL)
			stree_set(&st->now, dir, NODE_DIR, 0755, NULL);
		*slash = '/';
	}
}

/* A disk that fills, a line that breaks, a target that starts anew: in the middle of an operation of many parts. 0: it goes on. */
static int middle(struct target *t, const char *what, struct err *err)
{
	struct starget *st = fx_of(&t->view);
	int r = fx_go_on(t, what, true, err);
	if (r < 0)
		return r;
	if (st->remote && st->boots != ((const struct sim_target *)t)->boots)
		return err_set(err, ERR_UNKNOWN, "'%s' was started again", t->view.name);
	if (world->faults_on && sim_chance(world->sc.rates.full))
		st->full_until_op = world->ops + 1 + (int64_t)sim_below(60);
	r = fx_full(t, err);
	bool breaks = st->breaks_at > 0 && --st->breaks_at == 0;
	if (r == 0 && world->faults_on && st->remote && (breaks || sim_chance(world->sc.rates.after))) {
		world->nets++;
		sim_trace("  the connection breaks in the middle");
		if (breaks && st->breaks_with_power) {
			sim_trace("*** %s loses its power", t->view.name);
			world->target_powers++;
			stree_power_cut(st);
		}
		return err_set(err, ERR_UNKNOWN, "the connection to '%s' broke", t->view.name);
	}
	return r;
}

/* As cp does: a link where it can be, else a copy; with links, what is there already stays as it is. */
static int clone_one(struct target *t, const char *from, const char *to, bool hard_links, struct err *err)
{
	struct starget *st = fx_of(&t->view);
	const struct snode *n = stree_find(&st->now, from);
	if (n == NULL)
		return err_set(err, ERR_NOT_FOUND, "'%s' is not there", from);
	struct snode copy = *n;
	make_parents(st, to);
	bool link = hard_links && copy.type == NODE_FILE && !st->no_links;
	if (hard_links && stree_find(&st->now, to))
		return 0;
	if (!link && copy.type == NODE_FILE) {
		stree_set(&st->now, to, NODE_FILE, 0600, sim_blob(copy.content->data, copy.content->len / 2));
		int r = middle(t, "clone: half a copy", err);
		if (r < 0)
			return r;
	}
	struct snode *made = stree_set(&st->now, to, (enum node_type)copy.type, copy.mode, copy.content);
	made->uid = copy.uid;
	made->gid = copy.gid;
	made->mtime_ns = copy.mtime_ns;
	made->synced = link ? copy.synced : NULL;
	return 0;
}

int sim_clone_files(struct target *t, const char *from, const char *to, const struct strv *paths, bool hard_links,
                    struct err *err)
{
	struct starget *st = fx_of(&t->view);
	int r = fx_enter(t, "clone_files", to, err);
	for (size_t i = 0; r == 0 && i < paths->count; i++) {
		char a[SIM_PATH * 2], b[SIM_PATH * 2];
		snprintf(a, sizeof(a), "%s/%s", from, paths->items[i]);
		snprintf(b, sizeof(b), "%s/%s", to, paths->items[i]);
		r = middle(t, "clone", err);
		if (r == 0 && st->clone_fails > 0 && (size_t)st->clone_fails == i + 1)
			r = err_set(err, ERR_IO, "'%s' cannot be copied", a);
		if (r == 0 && (stree_find(&st->now, to) == NULL || stree_find(&st->now, from) == NULL))
			r = err_set(err, ERR_NOT_FOUND, "'%s' or '%s' is not there", from, to);
		if (r == 0)
			r = clone_one(t, a, b, hard_links, err);
	}
	return r < 0 ? r : fx_after(&t->view, 0, err);
}

/* ---- unpacking ---- */

struct member {
	struct snode node; /* path: relative */
	size_t at;         /* where its header begins in the stream */
};

/* The members of a tar, or of its end from a header on. */
static int read_members(const void *data, size_t len, struct member *ret)
{
	struct archive *a = archive_read_new();
	struct archive_entry *e;
	int count = 0;
	archive_read_support_format_tar(a);
	if (archive_read_open_memory(a, data, len) != ARCHIVE_OK)
		sim_violation("the stream cannot be read");
	while (count < MEMBERS && archive_read_next_header(a, &e) == ARCHIVE_OK) {
		struct member *m = &ret[count++];
		memset(m, 0, sizeof(*m));
		m->at = (size_t)archive_read_header_position(a);
		char text[MEMBER_MAX];
		mode_t type = archive_entry_filetype(e);
		m->node.type = type == AE_IFDIR ? NODE_DIR : type == AE_IFLNK ? NODE_LINK : NODE_FILE;
		m->node.mode = type == AE_IFLNK ? 0777 : (uint16_t)archive_entry_perm(e);
		m->node.mtime_ns = archive_entry_mtime(e) * 1000000000;
		snprintf(m->node.path, sizeof(m->node.path), "%s", archive_entry_pathname(e));
		size_t end = strlen(m->node.path);
		if (end > 0 && m->node.path[end - 1] == '/')
			m->node.path[end - 1] = '\0';
		ssize_t n = type == AE_IFREG ? archive_read_data(a, text, sizeof(text)) : 0;
		if (n == (ssize_t)sizeof(text))
			sim_violation("'%s' is too long for the world", m->node.path);
		if (type == AE_IFREG)
			m->node.content = sim_blob(text, n > 0 ? (size_t)n : 0);
		else if (type == AE_IFLNK)
			m->node.content = sim_blob(archive_entry_symlink(e), strlen(archive_entry_symlink(e)));
	}
	archive_read_free(a);
	return count;
}

/* tar leaves a link that points outside for the end: until then a file without rights stands there. */
static bool waits_for_the_end(const struct snode *n)
{
	return n->type == NODE_LINK && strstr((const char *)n->content->data, "..") != NULL;
}

static void extract(struct starget *st, const char *dir, const struct snode *m, bool whole)
{
	char path[SIM_PATH * 2];
	snprintf(path, sizeof(path), "%s/%s", dir, m->path);
	make_parents(st, path);
	if (m->type == NODE_FILE && !whole) {
		stree_set(&st->now, path, NODE_FILE, 0600, sim_blob(m->content->data, m->content->len / 2));
		return;
	}
	if (waits_for_the_end(m) && !whole) {
		stree_set(&st->now, path, NODE_FILE, 0, sim_blob("", 0));
		return;
	}
	if (m->type == NODE_DIR && !whole)
		return;
	struct snode *made = stree_set(&st->now, path, (enum node_type)m->type, m->mode, m->content);
	if (m->type == NODE_FILE)
		made->mtime_ns = m->mtime_ns;
}

void sim_unpack_late(struct starget *st, const char *dir, const struct blob *rest)
{
	static struct member members[MEMBERS];
	int count = read_members(rest->data, rest->len, members);
	const struct snode *top = stree_find(&st->now, dir);
	for (int i = 0; top && top->type == NODE_DIR && i < count; i++)
		extract(st, dir, &members[i].node, true);
}

static int add_bytes(void *context, const void *data, size_t len, struct err *err)
{
	return str_append_n(context, data, len) ? 0 : err_set(err, ERR_LIMIT, "the stream is too long");
}

/* What had been sent may still be unpacked when nobody listens any more. */
static void rest_goes_late(struct target *t, const char *dir, const struct str *tar, const struct member *at)
{
	if (sim_below(2) == 0)
		fx_late(t, LATE_UNPACK, dir, sim_blob(tar->data + at->at, tar->len - at->at));
}

static int unpack_members(struct target *t, const char *dir, const struct str *tar, const struct member *members,
                          int count, struct err *err)
{
	struct starget *st = fx_of(&t->view);
	for (int i = 0; i < count; i++) {
		const struct snode *top = stree_find(&st->now, dir);
		if (top == NULL || top->type != NODE_DIR)
			return err_set(err, ERR_NOT_FOUND, "'%s' is no directory", dir);
		extract(st, dir, &members[i].node, false);
		int r = middle(t, "unpack", err);
		if (r == ERR_UNKNOWN && i + 1 < count)
			rest_goes_late(t, dir, tar, &members[i + 1]);
		if (r < 0)
			return r;
		extract(st, dir, &members[i].node, !waits_for_the_end(&members[i].node));
	}
	for (int i = 0; i < count; i++)
		if (waits_for_the_end(&members[i].node))
			extract(st, dir, &members[i].node, true);
	return 0;
}

int sim_unpack(struct target *t, const char *dir, enum archive_compression compression, target_produce_fn produce,
               void *context, struct err *err)
{
	static struct member members[MEMBERS];
	_cleanup_(str_done) struct str tar = STR_INIT(TAR_MAX);
	int r = fx_enter(t, "unpack", dir, err);
	if (r == 0 && compression != ARCHIVE_NONE)
		sim_violation("a compressed stream for a target that has nothing to unpack it with");
	if (r == 0)
		r = produce(context, add_bytes, &tar, err);
	if (r < 0)
		return r;
	r = unpack_members(t, dir, &tar, members, read_members(tar.data, tar.len, members), err);
	return r < 0 ? r : fx_after(&t->view, 0, err);
}
