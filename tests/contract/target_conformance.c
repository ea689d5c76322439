/* What engine/target/target.h promises, asked of every implementation: this process (local), a POSIX sh here, another sh, and a
 * sh behind a real sshd. TARGET_KINDS=local,sh,… chooses some. */
#include "contract/target_world.h"

/* ---- looking ---- */

static void the_facts_are_known_after_open(void **state)
{
	struct world *w = *state;
	struct target_facts *f = &w->t->view.facts;
	OK(target_open(V, &w->err));
	OK(target_open(V, &w->err));
	assert_string_equal(f->base, w->base);
	assert_string_equal(f->user, getpwuid(geteuid())->pw_name);
	assert_int_equal(f->is_root, geteuid() == 0);
	assert_string_equal(f->boot_id, proc_boot_id());
	assert_true(*f->machine_id != '\0' && *f->hostname != '\0');
	assert_true(f->has_tar && f->has_sha256sum && f->has_gzip);
	assert_true(str_starts(f->identity, strcmp(kind, "ssh") == 0 ? "SHA256:" : "local:"));
}

static void stat_tells_types_and_attributes(void **state)
{
	struct world *w = *state;
	struct node n = {0};
	write_here(w, "it's a file", "hello", 0640);
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1700000000, .tv_nsec = 123456789}};
	assert_int_equal(utimensat(AT_FDCWD, at(w, "it's a file"), times, 0), 0);
	assert_int_equal(symlink("no\nwhere ", at(w, "link")), 0);
	assert_int_equal(mkfifo(at(w, "pipe"), 0600), 0);
	OK(OP(stat)(V, at(w, "it's a file"), &n, &w->err));
	assert_int_equal(n.type, NODE_FILE);
	assert_int_equal(n.mode, 0640);
	assert_int_equal(n.size, 5);
	assert_int_equal(n.uid, geteuid());
	assert_string_equal(n.owner, getpwuid(geteuid())->pw_name);
	if (strcmp(kind, "busybox") != 0)
		assert_true(n.mtime_ns == 1700000000123456789);
	OK(OP(stat)(V, at(w, "link"), &n, &w->err));
	assert_int_equal(n.type, NODE_LINK);
	assert_string_equal(n.link, "no\nwhere ");
	node_done(&n);
	OK(OP(stat)(V, w->dir, &n, &w->err));
	assert_int_equal(n.type, NODE_DIR);
	OK(OP(stat)(V, at(w, "pipe"), &n, &w->err));
	assert_int_equal(n.type, NODE_OTHER);
	OK(OP(stat)(V, at(w, "nothing"), &n, &w->err));
	assert_int_equal(n.type, NODE_ABSENT);
	OK(OP(stat)(V, at(w, "it's a file/below"), &n, &w->err));
	assert_int_equal(n.type, NODE_ABSENT);
}

static void read_gives_all_bytes_up_to_its_ceiling(void **state)
{
	struct world *w = *state;
	enum { SIZE = 300000 };
	_cleanup_free_ char *data = xmalloc(SIZE);
	_cleanup_(str_done) struct str out = STR_INIT(1 << 20), more = STR_INIT(1 << 20);
	for (size_t i = 0; i < SIZE; i++)
		data[i] = (char)(i * 7919 >> 3);
	assert_int_equal(fs_write_replace(AT_FDCWD, at(w, "f"), data, SIZE, 0600, NULL), 0);
	OK(OP(read)(V, at(w, "f"), SIZE, &out, &w->err));
	assert_int_equal(out.len, SIZE);
	assert_memory_equal(out.data, data, SIZE);
	FAILS(ERR_LIMIT, OP(read)(V, at(w, "f"), SIZE - 1, &more, &w->err));
	FAILS(ERR_NOT_FOUND, OP(read)(V, at(w, "none"), 10, &more, &w->err));
	write_here(w, "empty", "", 0600);
	OK(OP(read)(V, at(w, "empty"), 10, &more, &w->err));
	assert_int_equal(more.len, 0);
}

static void list_gives_every_name_sorted(void **state)
{
	struct world *w = *state;
	_cleanup_(strv_done) struct strv names = {0}, none = {0};
	const char *const made[] = {"b", "a b", ".hidden", "..odd", "new\nline", "*", "-dash", "\xc3\xa4"};
	assert_int_equal(mkdir(at(w, "d"), 0700), 0);
	assert_int_equal(mkdir(at(w, "e"), 0700), 0);
	for (size_t i = 0; i < ARRAY_SIZE(made); i++) {
		_cleanup_free_ char *name = xasprintf("d/%s", made[i]);
		write_here(w, name, "", 0600);
	}
	assert_int_equal(symlink("nowhere", at(w, "d/dangling")), 0);
	OK(OP(list)(V, at(w, "d"), &names, &w->err));
	assert_int_equal(names.count, ARRAY_SIZE(made) + 1);
	for (size_t i = 1; i < names.count; i++)
		assert_true(strcmp(names.items[i - 1], names.items[i]) < 0);
	assert_true(strv_has(&names, "new\nline") && strv_has(&names, "*") && strv_has(&names, "..odd"));
	OK(OP(list)(V, at(w, "e"), &none, &w->err));
	assert_int_equal(none.count, 0);
	FAILS(ERR_NOT_FOUND, OP(list)(V, at(w, "nothing"), &none, &w->err));
	FAILS(ERR_NOT_FOUND, OP(list)(V, at(w, "d/b"), &none, &w->err));
}

static void digest_is_that_of_the_content(void **state)
{
	struct world *w = *state;
	char hex[65], want[65];
	write_here(w, "back\\slash", "content", 0600);
	digest_of("content", 7, want);
	OK(OP(digest)(V, at(w, "back\\slash"), hex, &w->err));
	assert_string_equal(hex, want);
	FAILS(ERR_NOT_FOUND, OP(digest)(V, at(w, "none"), hex, &w->err));
	assert_int_equal(symlink("back\\slash", at(w, "l")), 0);
	assert_true(OP(digest)(V, at(w, "l"), hex, &w->err) < 0);
}

static void make_tree(struct world *w)
{
	assert_int_equal(fs_mkdirs(AT_FDCWD, at(w, "tree/sub/deep"), 0755, NULL), 0);
	write_here(w, "tree/a", "aaa", 0644);
	write_here(w, "tree/sub/new\nline", "nl", 0600);
	write_here(w, "tree/sub/deep/x y", "", 0755);
	write_here(w, "tree/sub.txt", "s", 0644);
	assert_int_equal(symlink("../a b", at(w, "tree/sub/l")), 0);
}

static void a_tree_is_seen_as_this_machine_sees_it(void **state)
{
	struct world *w = *state;
	_cleanup_(tree_done) struct tree got = {0}, want = {0};
	if (strcmp(kind, "busybox") == 0)
		skip();
	make_tree(w);
	_cleanup_close_ int fd = open(at(w, "tree"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(tree_walk(fd, NULL, true, &w->wait, &want, &w->err), 0);
	OK(OP(tree)(V, at(w, "tree"), true, &got, &w->err));
	assert_int_equal(got.count, want.count);
	assert_int_equal(got.bytes, want.bytes);
	for (size_t i = 0; i < got.count; i++) {
		const struct tree_entry *g = &got.entries[i], *e = &want.entries[i];
		assert_string_equal(g->path, e->path);
		assert_int_equal(g->mode, e->mode);
		assert_int_equal(g->size, e->size);
		assert_true(g->mtime_ns == e->mtime_ns);
		assert_true(g->digest_from == TREE_DIGEST_NONE ? e->digest_from == TREE_DIGEST_NONE
		                                               : memcmp(g->digest, e->digest, sizeof(g->digest)) == 0);
		assert_int_equal(g->link == NULL, e->link == NULL);
		if (g->link != NULL)
			assert_string_equal(g->link, e->link);
	}
	FAILS(ERR_NOT_FOUND, OP(tree)(V, at(w, "none"), false, &got, &w->err));
	assert_int_equal(mkfifo(at(w, "tree/pipe"), 0600), 0);
	FAILS(ERR_INVALID, OP(tree)(V, at(w, "tree"), false, &got, &w->err));
}

static void space_of_what_does_not_exist_yet_is_its_parents(void **state)
{
	struct world *w = *state;
	int64_t there = 0, later = 0;
	OK(OP(space)(V, w->dir, &there, &w->err));
	OK(OP(space)(V, at(w, "not/yet/there"), &later, &w->err));
	assert_true(there > 0 && later > 0);
}

/* ---- changing ---- */

static void mkdir_makes_one_with_its_attributes(void **state)
{
	struct world *w = *state;
	struct node_attr attr = {.set_mode = true, .mode = 02750, .set_mtime = true, .mtime_ns = 1600000000500000000};
	struct stat st;
	OK(OP(mkdir)(w->t, at(w, "plain"), NULL, &w->err));
	assert_int_equal(mode_here(w, "plain"), 0755);
	OK(OP(mkdir)(w->t, at(w, "fine"), &attr, &w->err));
	assert_int_equal(lstat(at(w, "fine"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 02750);
	assert_int_equal(st.st_mtim.tv_sec, 1600000000);
	if (geteuid() == 0) {
		struct node_attr owned = {.owner = "nobody", .group = "2"};
		OK(OP(mkdir)(w->t, at(w, "owned"), &owned, &w->err));
		assert_int_equal(lstat(at(w, "owned"), &st), 0);
		assert_int_equal(st.st_uid, getpwnam("nobody")->pw_uid);
		assert_int_equal(st.st_gid, 2);
	}
	FAILS(ERR_EXISTS, OP(mkdir)(w->t, at(w, "plain"), NULL, &w->err));
	FAILS(ERR_EXISTS, OP(mkdir)(w->t, at(w, "plain"), &attr, &w->err));
	FAILS(ERR_NOT_FOUND, OP(mkdir)(w->t, at(w, "no/parent"), NULL, &w->err));
}

static void put_replaces_whole_and_keeps_what_is_not_set(void **state)
{
	struct world *w = *state;
	struct node_attr attr = {.set_mode = true, .mode = 0600, .set_mtime = true, .mtime_ns = 1500000000000000000};
	struct stat st;
	OK(OP(put)(w->t, at(w, "new file"), "one\n", 4, NULL, &w->err));
	expect_here(w, "new file", "one\n");
	assert_int_equal(mode_here(w, "new file"), 0644);
	assert_int_equal(chmod(at(w, "new file"), 0751), 0);
	OK(OP(put)(w->t, at(w, "new file"), "two", 3, NULL, &w->err));
	expect_here(w, "new file", "two");
	assert_int_equal(mode_here(w, "new file"), 0751);
	OK(OP(put)(w->t, at(w, "new file"), "", 0, &attr, &w->err));
	assert_int_equal(lstat(at(w, "new file"), &st), 0);
	assert_int_equal(st.st_size, 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_mtim.tv_sec, 1500000000);
	if (geteuid() == 0) {
		struct node_attr owned = {.owner = "nobody", .set_mode = true, .mode = 04711};
		OK(OP(put)(w->t, at(w, "new file"), "x", 1, &owned, &w->err));
		assert_int_equal(lstat(at(w, "new file"), &st), 0);
		assert_int_equal(st.st_uid, getpwnam("nobody")->pw_uid);
		assert_int_equal(st.st_mode & 07777, 04711);
		OK(OP(put)(w->t, at(w, "new file"), "y", 1, NULL, &w->err));
		assert_int_equal(lstat(at(w, "new file"), &st), 0);
		assert_int_equal(st.st_uid, getpwnam("nobody")->pw_uid);
		struct node_attr unknown = {.owner = "no-such-user"};
		FAILS(ERR_NOT_FOUND, OP(put)(w->t, at(w, "new file"), "z", 1, &unknown, &w->err));
		expect_here(w, "new file", "y");
	}
	_cleanup_(strv_done) struct strv names = {0};
	OK(OP(list)(V, w->dir, &names, &w->err));
	assert_int_equal(names.count, 2); /* base, new file: no private name is left */
}

static void put_takes_any_bytes_of_any_length(void **state)
{
	struct world *w = *state;
	enum { SIZE = 3000000 };
	_cleanup_free_ char *data = xmalloc(SIZE);
	_cleanup_(str_done) struct str got = STR_INIT(SIZE + 1);
	for (size_t i = 0; i < SIZE; i++)
		data[i] = (char)(i * 2654435761u >> 11);
	OK(OP(put)(w->t, at(w, "big"), data, SIZE, NULL, &w->err));
	assert_int_equal(fs_read(AT_FDCWD, at(w, "big"), SIZE, &got, NULL), 0);
	assert_int_equal(got.len, SIZE);
	assert_memory_equal(got.data, data, SIZE);
	FAILS(ERR_NOT_FOUND, OP(put)(w->t, at(w, "no/parent"), data, SIZE, NULL, &w->err));
	/* The shell behind it is still in step. */
	OK(OP(put)(w->t, at(w, "small"), "s", 1, NULL, &w->err));
	expect_here(w, "small", "s");
}

static void put_like_makes_a_text_out_of_another_one(void **state)
{
	struct world *w = *state;
	const struct node_attr attr = {.set_mode = true, .mode = 0640};
	_cleanup_(str_done) struct str from = STR_INIT(1 << 20), to = STR_INIT(1 << 20);
	str_append(&from, "head\n");
	str_append(&to, "another\n");
	for (int i = 0; i < 5000; i++) {
		str_appendf(&from, "line %d\n", i);
		str_appendf(&to, i % 100 == 3 ? "it's %d\xc3\xa4\n" : "line %d\n", i);
	}
	write_here(w, "from", str_peek(&from), 0600);
	OK(target_put_like(w->t, at(w, "to"), &to, &attr, at(w, "from"), &from, &w->err));
	expect_here(w, "to", str_peek(&to));
	assert_int_equal(mode_here(w, "to"), 0640);
	/* It is another text by now. */
	_cleanup_free_ char *source = xstrdup(at(w, "from"));
	write_here(w, "from", "short\n", 0600);
	OK(target_put_like(w->t, at(w, "to2"), &to, &attr, source, &from, &w->err));
	expect_here(w, "to2", str_peek(&to));
}

static void put_over_a_link_replaces_the_link(void **state)
{
	struct world *w = *state;
	write_here(w, "real", "keep", 0600);
	assert_int_equal(symlink("real", at(w, "l")), 0);
	OK(OP(put)(w->t, at(w, "l"), "new", 3, NULL, &w->err));
	expect_here(w, "real", "keep");
	expect_here(w, "l", "new");
	assert_int_equal(mkdir(at(w, "d"), 0700), 0);
	assert_true(OP(put)(w->t, at(w, "d"), "x", 1, NULL, &w->err) < 0);
	assert_true(here(w, "d"));
}

static void append_adds_behind_and_makes_a_private_file(void **state)
{
	struct world *w = *state;
	_cleanup_free_ char *big = xmalloc(100000);
	memset(big, 'b', 100000);
	big[50000] = '\0';
	OK(OP(append)(w->t, at(w, "log"), "one\n", 4, &w->err));
	assert_int_equal(mode_here(w, "log"), 0600);
	OK(OP(append)(w->t, at(w, "log"), "it's 'two' $HOME %s\\n\n", 22, &w->err));
	expect_here(w, "log", "one\nit's 'two' $HOME %s\\n\n");
	OK(OP(append)(w->t, at(w, "log"), big, 100000, &w->err));
	struct stat st;
	assert_int_equal(lstat(at(w, "log"), &st), 0);
	assert_int_equal(st.st_size, 26 + 100000);
	FAILS(ERR_NOT_FOUND, OP(append)(w->t, at(w, "no/parent"), "x", 1, &w->err));
	FAILS(ERR_NOT_FOUND, OP(append)(w->t, at(w, "no/parent"), big, 100000, &w->err));
}

static void symlink_replaces_a_link_or_nothing(void **state)
{
	struct world *w = *state;
	char text[64] = "";
	OK(OP(symlink)(w->t, at(w, "current"), "releases/1", &w->err));
	OK(OP(symlink)(w->t, at(w, "current"), "releases/2", &w->err));
	assert_int_equal(readlink(at(w, "current"), text, sizeof(text)), 10);
	assert_string_equal(text, "releases/2");
	assert_int_equal(mkdir(at(w, "d"), 0700), 0);
	OK(OP(symlink)(w->t, at(w, "to-d"), "d", &w->err));
	OK(OP(symlink)(w->t, at(w, "to-d"), "elsewhere", &w->err));
	assert_int_equal(readlink(at(w, "to-d"), text, sizeof(text)), 9);
	FAILS(ERR_EXISTS, OP(symlink)(w->t, at(w, "d"), "x", &w->err));
	write_here(w, "f", "x", 0600);
	FAILS(ERR_EXISTS, OP(symlink)(w->t, at(w, "f"), "x", &w->err));
}

static void link_new_never_replaces(void **state)
{
	struct world *w = *state;
	struct stat st;
	write_here(w, "a", "a", 0600);
	OK(OP(link_new)(w->t, at(w, "a"), at(w, "b"), &w->err));
	assert_int_equal(lstat(at(w, "b"), &st), 0);
	assert_int_equal(st.st_nlink, 2);
	FAILS(ERR_EXISTS, OP(link_new)(w->t, at(w, "a"), at(w, "b"), &w->err));
	assert_int_equal(mkdir(at(w, "d"), 0700), 0);
	FAILS(ERR_EXISTS, OP(link_new)(w->t, at(w, "a"), at(w, "d"), &w->err));
	FAILS(ERR_NOT_FOUND, OP(link_new)(w->t, at(w, "none"), at(w, "c"), &w->err));
	assert_false(here(w, "d/a"));
}

static void rename_moves_and_replaces_what_may_be_replaced(void **state)
{
	struct world *w = *state;
	write_here(w, "a", "a", 0600);
	write_here(w, "b", "b", 0600);
	assert_int_equal(mkdir(at(w, "d"), 0700), 0);
	assert_int_equal(mkdir(at(w, "full"), 0700), 0);
	write_here(w, "full/x", "x", 0600);
	OK(OP(rename)(w->t, at(w, "a"), at(w, "b"), &w->err));
	expect_here(w, "b", "a");
	assert_false(here(w, "a"));
	OK(OP(rename)(w->t, at(w, "d"), at(w, "e"), &w->err));
	assert_true(here(w, "e"));
	FAILS(ERR_EXISTS, OP(rename)(w->t, at(w, "e"), at(w, "full"), &w->err));
	FAILS(ERR_NOT_FOUND, OP(rename)(w->t, at(w, "none"), at(w, "x"), &w->err));
	assert_false(here(w, "full/e"));
}

static void remove_takes_one_thing_and_remove_tree_all_but_what_links_point_to(void **state)
{
	struct world *w = *state;
	make_tree(w);
	assert_int_equal(mkdir(at(w, "outside"), 0700), 0);
	write_here(w, "outside/keep", "k", 0600);
	assert_int_equal(symlink("../outside", at(w, "tree/out")), 0);
	FAILS(ERR_EXISTS, OP(remove)(w->t, at(w, "tree"), &w->err));
	OK(OP(remove)(w->t, at(w, "tree/a"), &w->err));
	FAILS(ERR_NOT_FOUND, OP(remove)(w->t, at(w, "tree/a"), &w->err));
	OK(OP(remove_tree)(w->t, at(w, "tree"), &w->err));
	OK(OP(remove_tree)(w->t, at(w, "tree"), &w->err));
	assert_false(here(w, "tree"));
	expect_here(w, "outside/keep", "k");
	assert_int_equal(symlink("outside", at(w, "l")), 0);
	OK(OP(remove)(w->t, at(w, "l"), &w->err));
	assert_int_equal(symlink("outside", at(w, "l")), 0);
	OK(OP(remove_tree)(w->t, at(w, "l"), &w->err));
	assert_false(here(w, "l"));
	expect_here(w, "outside/keep", "k");
	assert_int_equal(mkdir(at(w, "empty"), 0700), 0);
	OK(OP(remove)(w->t, at(w, "empty"), &w->err));
}

static void set_attr_sets_only_what_is_given(void **state)
{
	struct world *w = *state;
	struct node_attr mode = {.set_mode = true, .mode = 0440}, time = {.set_mtime = true, .mtime_ns = -500000000};
	struct stat st;
	write_here(w, "f", "f", 0600);
	OK(OP(set_attr)(w->t, at(w, "f"), &mode, &w->err));
	assert_int_equal(mode_here(w, "f"), 0440);
	if (strcmp(kind, "busybox") != 0 && strcmp(kind, "local") != 0) {
		OK(OP(set_attr)(w->t, at(w, "f"), &time, &w->err));
		assert_int_equal(lstat(at(w, "f"), &st), 0);
		assert_int_equal(st.st_mtim.tv_sec, -1);
	}
	assert_int_equal(mode_here(w, "f"), 0440);
	/* Never through a link. */
	assert_int_equal(symlink("f", at(w, "l")), 0);
	struct node_attr wide = {.set_mode = true, .mode = 0777};
	OK(OP(set_attr)(w->t, at(w, "l"), &wide, &w->err));
	assert_int_equal(mode_here(w, "f"), 0440);
	FAILS(ERR_NOT_FOUND, OP(set_attr)(w->t, at(w, "none"), &mode, &w->err));
}

static void copy_takes_a_tree_with_everything(void **state)
{
	struct world *w = *state;
	_cleanup_(tree_done) struct tree a = {0}, b = {0};
	make_tree(w);
	assert_int_equal(chmod(at(w, "tree/sub"), 0700), 0);
	OK(OP(copy)(w->t, at(w, "tree"), at(w, "copy"), &w->err));
	_cleanup_close_ int fa = open(at(w, "tree"), O_RDONLY | O_DIRECTORY | O_CLOEXEC),
			    fb = open(at(w, "copy"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	OK(tree_walk(fa, NULL, true, &w->wait, &a, &w->err));
	OK(tree_walk(fb, NULL, true, &w->wait, &b, &w->err));
	assert_int_equal(a.count, b.count);
	for (size_t i = 0; i < a.count; i++) {
		assert_string_equal(a.entries[i].path, b.entries[i].path);
		assert_memory_equal(a.entries[i].digest, b.entries[i].digest, TREE_DIGEST_BYTES);
		assert_int_equal(a.entries[i].mode, b.entries[i].mode);
		if (strcmp(kind, "busybox") != 0 && !S_ISLNK(a.entries[i].mode))
			assert_true(a.entries[i].mtime_ns == b.entries[i].mtime_ns);
	}
	FAILS(ERR_EXISTS, OP(copy)(w->t, at(w, "tree"), at(w, "copy"), &w->err));
	assert_false(here(w, "copy/tree"));
	FAILS(ERR_NOT_FOUND, OP(copy)(w->t, at(w, "none"), at(w, "x"), &w->err));
	assert_false(here(w, "x"));
	OK(OP(copy)(w->t, at(w, "tree/sub/l"), at(w, "l"), &w->err));
	assert_true(here(w, "l"));
}

static void clone_files_links_or_copies_by_list(void **state)
{
	struct world *w = *state;
	_cleanup_(strv_done) struct strv paths = {0}, outside = {0};
	struct stat a, b;
	if (strcmp(kind, "busybox") == 0)
		skip();
	make_tree(w);
	strv_add(&paths, "a");
	strv_add(&paths, "sub/new\nline");
	strv_add(&paths, "sub/l");
	strv_add(&paths, "sub/deep/x y");
	assert_int_equal(mkdir(at(w, "hard"), 0700), 0);
	assert_int_equal(mkdir(at(w, "soft"), 0700), 0);
	OK(OP(clone_files)(w->t, at(w, "tree"), at(w, "hard"), &paths, true, &w->err));
	OK(OP(clone_files)(w->t, at(w, "tree"), at(w, "soft"), &paths, false, &w->err));
	assert_int_equal(lstat(at(w, "tree/sub/new\nline"), &a), 0);
	assert_int_equal(lstat(at(w, "hard/sub/new\nline"), &b), 0);
	assert_int_equal(a.st_ino, b.st_ino);
	assert_int_equal(lstat(at(w, "soft/sub/new\nline"), &b), 0);
	assert_true(a.st_ino != b.st_ino);
	assert_int_equal(a.st_mode, b.st_mode);
	assert_true(a.st_mtim.tv_nsec == b.st_mtim.tv_nsec);
	assert_true(here(w, "hard/sub/l") && here(w, "soft/sub/l") && here(w, "hard/sub/deep/x y"));
	assert_false(here(w, "hard/sub.txt"));
	strv_add(&outside, "../outside");
	FAILS(ERR_REFUSED, OP(clone_files)(w->t, at(w, "tree"), at(w, "hard"), &outside, true, &w->err));
	strv_add(&paths, "gone");
	assert_int_equal(mkdir(at(w, "third"), 0700), 0);
	FAILS(ERR_NOT_FOUND, OP(clone_files)(w->t, at(w, "tree"), at(w, "third"), &paths, true, &w->err));
}

static void many_are_linked_by_list_as_a_few_are(void **state)
{
	enum { MANY = 2500 };
	struct world *w = *state;
	_cleanup_(strv_done) struct strv paths = {0};
	struct stat a, b;
	if (strcmp(kind, "busybox") == 0)
		skip();
	assert_int_equal(mkdir(at(w, "tree"), 0700), 0);
	for (int i = 0; i < MANY; i++) {
		_cleanup_free_ char *dir = xasprintf("tree/d%d", i / 100), *name = xasprintf("%s/f %d", dir, i);
		if (i % 100 == 0) {
			assert_int_equal(mkdir(at(w, dir), 0700), 0);
			assert_int_equal(chmod(at(w, dir), i == 0 ? 0755 : 02750), 0);
		}
		write_here(w, name, name, 0640);
		strv_add(&paths, name + strlen("tree/"));
	}
	assert_int_equal(mkdir(at(w, "new"), 0700), 0);
	OK(OP(clone_files)(w->t, at(w, "tree"), at(w, "new"), &paths, true, &w->err));
	for (size_t i = 0; i < paths.count; i++) {
		_cleanup_free_ char *from = fs_join("tree", paths.items[i]), *to = fs_join("new", paths.items[i]);
		assert_int_equal(lstat(at(w, from), &a), 0);
		assert_int_equal(lstat(at(w, to), &b), 0);
		assert_int_equal(a.st_ino, b.st_ino);
	}
	assert_int_equal(mode_here(w, "new/d0"), 0755);
}

static void several_are_looked_at_at_once(void **state)
{
	struct world *w = *state;
	struct node n[5] = {0};
	char hex[4][65], want[DIGEST_HEX];
	make_tree(w);
	assert_int_equal(symlink("some\nwhere", at(w, "tree/odd\nlink")), 0);
	_cleanup_free_ char *file = xstrdup(at(w, "tree/sub/new\nline")), *dir = xstrdup(at(w, "tree/sub")),
			    *gone = xstrdup(at(w, "tree/gone/x")), *odd = xstrdup(at(w, "tree/odd\nlink")),
			    *again = xstrdup(file);
	const char *const paths[] = {file, gone, odd, dir, again};
	OK(target_stat_all(V, paths, 5, n, &w->err));
	assert_int_equal(n[0].type, NODE_FILE);
	assert_int_equal(n[1].type, NODE_ABSENT);
	assert_int_equal(n[2].type, NODE_LINK);
	assert_string_equal(n[2].link, "some\nwhere");
	assert_int_equal(n[3].type, NODE_DIR);
	assert_int_equal(n[4].type, NODE_FILE);
	assert_int_equal(n[4].size, n[0].size);
	for (int i = 0; i < 5; i++)
		node_done(&n[i]);
	write_here(w, "tree/-", "dash", 0600);
	write_here(w, "tree/back\\slash", "back", 0600);
	const char *const names[] = {"-", "gone", "back\\slash", "sub/new\nline"};
	OK(target_digests(V, at(w, "tree"), names, 4, 0, hex, &w->err));
	digest_of("dash", 4, want);
	assert_string_equal(hex[0], want);
	assert_string_equal(hex[1], "");
	digest_of("back", 4, want);
	assert_string_equal(hex[2], want);
	assert_int_equal(strlen(hex[3]), 64);
}

static void many_are_looked_at_at_once(void **state)
{
	enum { MANY = 500 };
	struct world *w = *state;
	static struct node n[MANY];
	static char hex[MANY][65];
	char want[DIGEST_HEX];
	const char *names[MANY], *paths[MANY];
	_cleanup_(strv_done) struct strv owned = {0};
	assert_int_equal(mkdir(at(w, "many"), 0700), 0);
	for (size_t i = 0; i < MANY; i++) {
		_cleanup_free_ char *name = xasprintf("many/%s %zu", i % 3 == 0 ? "-it's" : "new\nline", i);
		if (i % 5 == 1)
			assert_int_equal(symlink("to\nhere", at(w, name)), 0);
		else if (i % 5 == 2)
			assert_int_equal(mkdir(at(w, name), 0750), 0);
		else if (i % 5 != 3)
			write_here(w, name, name, 0640);
		strv_add(&owned, name);
		names[i] = owned.items[owned.count - 1];
		strv_add(&owned, at(w, name));
		paths[i] = owned.items[owned.count - 1];
	}
	OK(target_stat_all(V, paths, MANY, n, &w->err));
	static const enum node_type types[] = {NODE_FILE, NODE_LINK, NODE_DIR, NODE_ABSENT, NODE_FILE};
	size_t files = 0;
	for (size_t i = 0; i < MANY; i++) {
		assert_int_equal(n[i].type, types[i % 5]);
		if (n[i].type == NODE_LINK)
			assert_string_equal(n[i].link, "to\nhere");
		if (n[i].type == NODE_FILE)
			assert_int_equal(n[i].size, strlen(names[i]));
		node_done(&n[i]);
		if (i % 5 == 0 || i % 5 > 2)
			names[files++] = names[i];
	}
	/* The same whichever program makes them. */
	for (int64_t bytes = 0; bytes <= 1 << 30; bytes += 1 << 30) {
		memset(hex, 0, sizeof(hex));
		OK(target_digests(V, w->dir, names, files, bytes, hex, &w->err));
		for (size_t i = 0; i < files; i++) {
			digest_of(names[i], strlen(names[i]), want);
			assert_string_equal(hex[i], i % 3 == 1 ? "" : want);
		}
	}
	/* Names without line feeds, which the fast one takes. */
	for (size_t i = 0, kept = 0; i < files; i++) {
		if (strchr(names[i], '\n') == NULL)
			names[kept++] = names[i];
		if (i + 1 == files)
			files = kept;
	}
	OK(target_digests(V, w->dir, names, files, 1 << 30, hex, &w->err));
	for (size_t i = 0; i < files; i++) {
		digest_of(names[i], strlen(names[i]), want);
		assert_true(hex[i][0] == '\0' ? access(at(w, names[i]), F_OK) != 0 : strcmp(hex[i], want) == 0);
	}
}

static void several_are_changed_in_order_up_to_the_first_that_fails(void **state)
{
	struct world *w = *state;
	const struct node_attr dir = {.set_mode = true, .mode = 0700}, file = {.set_mode = true, .mode = 0600};
	_cleanup_free_ char *d = xstrdup(at(w, "d")), *f = xstrdup(at(w, "d/f")), *l = xstrdup(at(w, "d/l")),
			    *big = xstrdup(at(w, "d/big")), *missing = xstrdup(at(w, "nowhere/f")),
			    *last = xstrdup(at(w, "d/last"));
	_cleanup_free_ char *much = xcalloc(1, 100000);
	memset(much, 'x', 99999);
	const struct target_op making[] = {
		{TARGET_MKDIR, .path = d, .attr = &dir, .fine = ERR_EXISTS},
		{TARGET_MKDIR, .path = d, .attr = &dir, .fine = ERR_EXISTS},
		{TARGET_PUT, .path = f, .data = "it's\n", .len = 5, .attr = &file},
		{TARGET_PUT, .path = big, .data = much, .len = 99999, .attr = &file},
		{TARGET_LINK_NEW, .path = l, .from = f},
		{TARGET_REMOVE, .path = missing, .fine = ERR_NOT_FOUND},
		{TARGET_REMOVE, .path = d, .fine = ERR_NOT_FOUND, .also_fine = ERR_EXISTS},
		{TARGET_LINK_NEW, .path = l, .from = f},
		{TARGET_PUT, .path = last, .data = "x", .len = 1, .attr = &file},
	};
	FAILS(ERR_EXISTS, target_do(w->t, making, ARRAY_SIZE(making), &w->err));
	assert_non_null(strstr(err_line(&w->err, w->line, sizeof(w->line)), "d/l"));
	expect_here(w, "d/f", "it's\n");
	expect_here(w, "d/big", much);
	expect_here(w, "d/l", "it's\n");
	assert_int_equal(mode_here(w, "d"), 0700);
	assert_int_equal(mode_here(w, "d/f"), 0600);
	assert_false(here(w, "d/last"));
	const struct target_op removing[] = {
		{TARGET_REMOVE, .path = l},
		{TARGET_REMOVE_TREE, .path = d},
		{TARGET_REMOVE, .path = d, .fine = ERR_NOT_FOUND},
		{TARGET_REMOVE, .path = d},
	};
	FAILS(ERR_NOT_FOUND, target_do(w->t, removing, ARRAY_SIZE(removing), &w->err));
	assert_false(here(w, "d"));
	write_lock(w, "fedcba9876543210");
	FAILS(ERR_FENCED, target_do(w->t, making, ARRAY_SIZE(making), &w->err));
	assert_false(here(w, "d"));
}

struct packing {
	int fd;
	struct tree tree;
	struct wait *wait;
	int fail_after;
	enum archive_compression compression;
};

static int pack(void *context, archive_write_fn write, void *write_context, struct err *err)
{
	struct packing *p = context;
	if (p->fail_after != 0)
		return err_set(err, p->fail_after, "the source is gone");
	return archive_pack(p->fd, &p->tree, NULL, 0, p->compression, write, write_context, NULL, p->wait, err);
}

static void unpack_fills_a_directory_while_it_arrives(void **state)
{
	struct world *w = *state;
	const enum archive_compression kinds[] = {ARCHIVE_NONE, ARCHIVE_GZIP, ARCHIVE_ZSTD};
	struct packing p = {.wait = &w->wait};
	make_tree(w);
	_cleanup_free_ char *big = xmalloc(2000000);
	for (size_t i = 0; i < 2000000; i++)
		big[i] = (char)(i * 2654435761u >> 11);
	assert_int_equal(fs_write_replace(AT_FDCWD,
	                                  at(w, "tree/gr\xc3\xb6\xc3\x9f"
	                                        "e"),
	                                  big, 2000000, 0600, NULL),
	                 0);
	assert_int_equal(chmod(at(w, "tree/sub"), 0711), 0);
	p.fd = open(at(w, "tree"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	OK(tree_walk(p.fd, NULL, true, &w->wait, &p.tree, &w->err));
	OK(target_open(V, &w->err));
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (kinds[i] == ARCHIVE_ZSTD && !w->t->view.facts.has_zstd)
			continue;
		_cleanup_free_ char *name = xasprintf("out%zu", i);
		_cleanup_(tree_done) struct tree got = {0};
		p.compression = kinds[i];
		assert_int_equal(mkdir(at(w, name), 0755), 0);
		OK(OP(unpack)(w->t, at(w, name), kinds[i], pack, &p, &w->err));
		_cleanup_close_ int fd = open(at(w, name), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		OK(tree_walk(fd, NULL, true, &w->wait, &got, &w->err));
		assert_int_equal(got.count, p.tree.count);
		for (size_t j = 0; j < got.count; j++) {
			assert_string_equal(got.entries[j].path, p.tree.entries[j].path);
			assert_memory_equal(got.entries[j].digest, p.tree.entries[j].digest, TREE_DIGEST_BYTES);
			assert_int_equal(got.entries[j].mode, p.tree.entries[j].mode);
		}
	}
	p.compression = ARCHIVE_GZIP;
	assert_true(OP(unpack)(w->t, at(w, "nowhere"), ARCHIVE_GZIP, pack, &p, &w->err) < 0);
	p.fail_after = ERR_IO;
	assert_int_equal(mkdir(at(w, "broken"), 0755), 0);
	FAILS(ERR_IO, OP(unpack)(w->t, at(w, "broken"), ARCHIVE_GZIP, pack, &p, &w->err));
	OK(OP(put)(w->t, at(w, "after"), "in step", 7, NULL, &w->err));
	expect_here(w, "after", "in step");
	close(p.fd);
	tree_done(&p.tree);
}

static void a_barrier_takes_paths_that_are_not_there_yet(void **state)
{
	struct world *w = *state;
	const char *const paths[] = {w->dir, "/tmp/davit-not/there"};
	OK(OP(barrier)(w->t, paths, 2, &w->err));
}

static void behind_a_barrier_a_file_is_read(void **state)
{
	struct world *w = *state;
	_cleanup_(str_done) struct str out = STR_INIT(100);
	_cleanup_free_ char *dir = xstrdup(at(w, "b")), *gone = xstrdup(at(w, "b/gone/x")), *f = xstrdup(at(w, "b/f"));
	const char *const paths[] = {dir, gone};
	assert_int_equal(mkdir(dir, 0700), 0);
	write_here(w, "b/f", "behind", 0600);
	OK(target_barrier_read(w->t, paths, 2, f, 99, &out, &w->err));
	assert_string_equal(str_peek(&out), "behind");
	FAILS(ERR_NOT_FOUND, target_barrier_read(w->t, paths, 2, gone, 99, &out, &w->err));
	FAILS(ERR_LIMIT, target_barrier_read(w->t, paths, 2, f, 3, &out, &w->err));
}

/* ---- the guard ---- */

static void a_former_owner_changes_nothing(void **state)
{
	struct world *w = *state;
	struct target_result r = TARGET_RESULT_INIT;
	_cleanup_(strv_done) struct strv none = {0};
	struct packing p = {.wait = &w->wait};
	write_here(w, "f", "mine", 0600);
	OK(OP(put)(w->t, at(w, "g"), "before", 6, NULL, &w->err));
	write_lock(w, "fedcba9876543210");
	FAILS(ERR_FENCED, OP(put)(w->t, at(w, "f"), "theirs", 6, NULL, &w->err));
	FAILS(ERR_FENCED, OP(mkdir)(w->t, at(w, "d"), NULL, &w->err));
	FAILS(ERR_FENCED, OP(append)(w->t, at(w, "f"), "x", 1, &w->err));
	FAILS(ERR_FENCED, OP(symlink)(w->t, at(w, "l"), "x", &w->err));
	FAILS(ERR_FENCED, OP(link_new)(w->t, at(w, "f"), at(w, "l"), &w->err));
	FAILS(ERR_FENCED, OP(rename)(w->t, at(w, "f"), at(w, "l"), &w->err));
	FAILS(ERR_FENCED, OP(remove)(w->t, at(w, "f"), &w->err));
	FAILS(ERR_FENCED, OP(remove_tree)(w->t, at(w, "f"), &w->err));
	FAILS(ERR_FENCED, OP(copy)(w->t, at(w, "f"), at(w, "l"), &w->err));
	assert_int_equal(mkdir(at(w, "dir"), 0700), 0);
	p.fd = open(at(w, "dir"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	FAILS(ERR_FENCED, OP(unpack)(w->t, at(w, "dir"), ARCHIVE_GZIP, pack, &p, &w->err));
	close(p.fd);
	_cleanup_free_ char *script = xasprintf("echo x >'%s'", at(w, "l"));
	FAILS(ERR_FENCED, run_script(w, script, &r));
	target_result_done(&r);
	expect_here(w, "f", "mine");
	assert_false(here(w, "l") || here(w, "d"));
	/* And with no lock at all. */
	_cleanup_free_ char *lock = fs_join(w->lock_dir, "lock");
	assert_int_equal(unlink(lock), 0);
	FAILS(ERR_FENCED, OP(put)(w->t, at(w, "f"), "theirs", 6, NULL, &w->err));
	assert_int_equal(fs_remove_tree(AT_FDCWD, w->lock_dir, NULL), 0);
	FAILS(ERR_FENCED, OP(put)(w->t, at(w, "f"), "theirs", 6, NULL, &w->err));
	assert_false(here(w, "base/open/shop.test"));
}

static void without_a_guard_only_base_can_be_changed(void **state)
{
	struct world *w = *state;
	struct target_result r = TARGET_RESULT_INIT;
	free(TAKE(w->t->lock_dir));
	free(TAKE(w->t->token));
	OK(target_open(V, &w->err));
	FAILS(ERR_INTERNAL, OP(put)(w->t, at(w, "f"), "x", 1, NULL, &w->err));
	FAILS(ERR_INTERNAL, run_script(w, "true", &r));
	OK(OP(put)(w->t, at(w, "base/f"), "x", 1, NULL, &w->err));
	OK(OP(mkdir)(w->t, at(w, "base/open/other.test"), NULL, &w->err));
	target_result_done(&r);
}

/* ---- all kinds ---- */

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_facts_are_known_after_open),
		T(stat_tells_types_and_attributes),
		T(read_gives_all_bytes_up_to_its_ceiling),
		T(list_gives_every_name_sorted),
		T(digest_is_that_of_the_content),
		T(a_tree_is_seen_as_this_machine_sees_it),
		T(space_of_what_does_not_exist_yet_is_its_parents),
		T(mkdir_makes_one_with_its_attributes),
		T(put_replaces_whole_and_keeps_what_is_not_set),
		T(put_takes_any_bytes_of_any_length),
		T(put_like_makes_a_text_out_of_another_one),
		T(put_over_a_link_replaces_the_link),
		T(append_adds_behind_and_makes_a_private_file),
		T(symlink_replaces_a_link_or_nothing),
		T(link_new_never_replaces),
		T(rename_moves_and_replaces_what_may_be_replaced),
		T(remove_takes_one_thing_and_remove_tree_all_but_what_links_point_to),
		T(set_attr_sets_only_what_is_given),
		T(copy_takes_a_tree_with_everything),
		T(clone_files_links_or_copies_by_list),
		T(many_are_linked_by_list_as_a_few_are),
		T(several_are_looked_at_at_once),
		T(many_are_looked_at_at_once),
		T(several_are_changed_in_order_up_to_the_first_that_fails),
		T(unpack_fills_a_directory_while_it_arrives),
		T(a_barrier_takes_paths_that_are_not_there_yet),
		T(behind_a_barrier_a_file_is_read),
		T(a_former_owner_changes_nothing),
		T(without_a_guard_only_base_can_be_changed),
	};
	RUN_ALL_KINDS(tests);
}
